"""A network that learns from logit gradients: the one engine under `GDW` and every method.

One step, from one forward pass:

    forward_pass = learner.forward(x)  # kept, to be gone through again
    response, meta_loss = forward_pass.look_ahead(c, x_meta, y_meta)  # by the virtual step along c
    forward_pass.descend(c)  # the optimizer's step along c

`response` is ∂L_meta/∂c, (n, C).
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from gdwlib import bilevel, optimizers
from gdwlib._types import Float, Int, Tensor


class Engine:
    """Where learners' passes are made: here, by `bilevel`. Others in its place: a
    `replicas.Replica`, a `processes.DataParallelEngine`."""

    num_replicas = 1  # runs that are trained as one network
    rank, world_size = 0, 1  # which process of a run this is, of how many

    forward: Callable[..., bilevel.TrainPass] = staticmethod(bilevel.forward)

    def all_reduce(self, value: Tensor) -> Tensor:
        """Summed over the processes."""
        return value

    def broadcast(self, value: int) -> int:
        """Rank 0's value."""
        return value

    def check_alike(self, networks: dict[str, nn.Module]) -> None:
        """That every process has the same networks."""


LOCAL_ENGINE = Engine()


class Learner:
    """A network and its optimizer.

    Args:
        model: any module mapping x to (n, C) logits.
        optimizer: over (some of) its parameters.
        num_classes: C.
        max_grad_norm: clip the gradient to this ℓ₂ norm.
        save_memory: give the train batch's activations up during the meta pass and make them again
            after it.
        virtual_lr: the virtual step's learning rate, or a function that makes it of the optimizer's
            current one; None: the optimizer's.
        virtual: "sgd": the virtual step is plain descent; "optimizer": it is preconditioned as the
            optimizer's step would be (`optimizers.preconditioners`).

    Attributes:
        engine: where the passes are made.

    Raises:
        ValueError: the optimizer owns none of the model's parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        num_classes: int,
        max_grad_norm: float | None = None,
        save_memory: bool = False,
        virtual_lr: float | Callable[[float], float] | None = None,
        virtual: str = "sgd",
    ):
        self.model, self.optimizer, self.num_classes = model, optimizer, num_classes
        self.virtual_lr, self.virtual = virtual_lr, virtual
        self.max_grad_norm, self.save_memory, self.engine = max_grad_norm, save_memory, LOCAL_ENGINE
        optimizers.trainable_parameters(model, optimizer)  # raises
        self._pending: dict[str, tuple[Tensor, Exception]] = {}

    @torch.no_grad()
    def forward(self, x: Tensor) -> "LearnerPass":
        """One pass over a train batch, each layer in the mode it is in; changes nothing yet.

        Raises:
            ValueError: the model cannot take this batch, or gives something else than (n, C)
                logits.
            FloatingPointError: non-finite logits (on an accelerator at the next `check`).
        """
        params, lrs = optimizers.trainable_parameters(self.model, self.optimizer)
        buffers = dict(self.model.named_buffers())
        with _named("x", x):
            forward_pass = self.engine.forward(
                self.model, params, buffers, x, keep=not self.save_memory
            )
        if forward_pass.logits.shape != (len(x), self.num_classes):
            want, got = (len(x), self.num_classes), tuple(forward_pass.logits.shape)
            raise ValueError(f"model: must return (n, C) = {want} logits, gave {got}")
        self._require_finite("x", forward_pass.logits)
        return LearnerPass(self, self._virtual_rates(lrs), buffers, forward_pass)

    def _virtual_rates(self, lrs: dict[str, float]) -> dict[str, float | Tensor]:
        """D, by parameter name, from the optimizer's current learning rates."""
        rates: dict[str, float | Tensor] = dict(lrs)
        if callable(self.virtual_lr):
            rates = {name: self.virtual_lr(lr) for name, lr in lrs.items()}
        elif self.virtual_lr is not None:
            rates = dict.fromkeys(lrs, self.virtual_lr)
        if self.virtual == "optimizer":
            own = {name: param for name, param in self.model.named_parameters() if name in lrs}
            factors = optimizers.preconditioners(self.optimizer, own)
            rates = {name: rate * factors[name] for name, rate in rates.items()}
        return rates

    def check(self) -> None:
        """Raise what was found wrong on an accelerator since the last check; synchronises the
        device."""
        pending, self._pending = self._pending, {}
        for ok, error in pending.values():
            if not ok:
                raise error

    def check_batches(self, x: Tensor, y: Tensor, x_meta: Tensor, y_meta: Tensor) -> None:
        """Refuse what cannot be a train and a meta batch.

        Raises:
            ValueError: shapes, types or labels that cannot be, named.
            FloatingPointError: non-finite images. (What would synchronise an accelerator waits for
                `check`.)
        """
        for x_name, inputs, y_name, labels in (
            ("x", x, "y", y),
            ("x_meta", x_meta, "y_meta", y_meta),
        ):
            for name, value in ((x_name, inputs), (y_name, labels)):
                if not isinstance(value, Tensor):
                    raise ValueError(f"{name}: must be a tensor, not {type(value).__name__}")
            if not inputs.is_floating_point() and inputs.dtype not in (torch.int64, torch.int32):
                raise ValueError(
                    f"{x_name}: must hold floating-point numbers, or token ids as int64 or int32, "
                    f"not {inputs.dtype}"
                )
            if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
                raise ValueError(f"{y_name}: labels must be integers, not {labels.dtype}")
            if (
                labels.dim() != 1
                or inputs.dim() < 1
                or len(inputs) != len(labels)
                or len(labels) == 0
            ):
                raise ValueError(
                    f"{x_name}, {y_name}: expected a non-empty batch of n inputs and n labels, "
                    f"got shapes {tuple(inputs.shape)} and {tuple(labels.shape)}"
                )
            inside = ((labels >= 0) & (labels < self.num_classes)).all()
            self._require(
                inside, ValueError(f"{y_name}: labels must lie in 0..{self.num_classes - 1}")
            )
            self._require(
                inputs.isfinite().all(),
                FloatingPointError(f"{x_name}: holds NaN or infinite values"),
            )
        if x_meta.shape[1:] != x.shape[1:] or x_meta.dtype != x.dtype:
            raise ValueError(
                f"x_meta: must be like x but for the batch size, {tuple(x.shape)} {x.dtype}; "
                f"is {tuple(x_meta.shape)} {x_meta.dtype}"
            )

    def _require(self, ok: Tensor, error: Exception) -> None:
        if ok.device.type == "cpu":
            if not ok:
                raise error
        else:
            before, _ = self._pending.setdefault(str(error), (torch.ones_like(ok), error))
            before.logical_and_(ok)  # in place, so that a captured step adds to what was found

    def _require_finite(self, name: str, values: Tensor) -> None:
        error = FloatingPointError(
            f"model: NaN or infinite logits on {name}; has training diverged?"
        )
        self._require(values.isfinite().all(), error)


@dataclass(frozen=True)
class LearnerPass:
    """One forward pass of a learner over a train batch, to look ahead from and to descend
    through."""

    learner: Learner
    lrs: dict[str, float | Tensor]  # D
    buffers: bilevel.State
    forward_pass: bilevel.TrainPass

    @property
    def logits(self) -> Float[Tensor, "n C"]:
        """At θ, detached."""
        return self.forward_pass.logits

    @torch.no_grad()
    def look_ahead(
        self,
        c: Float[Tensor, "n C"] | None,
        x_meta: Tensor,
        y_meta: Int[Tensor, " m"],
        lr: float | None = None,
    ) -> tuple[Float[Tensor, "n C"], Float[Tensor, ""]]:
        """∂L_meta/∂c after one virtual SGD step along the examples' logit gradients, and L_meta
        there.

        Args:
            c: each example's logit gradient; θ̂ = θ - (1/n) D Jᵀc. None: θ̂ = θ.
            lr: the virtual step's learning rate; None: each parameter group's own.
        """
        lrs: dict[str, float | Tensor] = {
            name: own if lr is None else lr for name, own in self.lrs.items()
        }
        with _named("x_meta", x_meta):
            response, meta_losses = self.forward_pass.look_ahead(lrs, c, x_meta, y_meta)
            meta_loss = meta_losses.mean()
        self.learner._require_finite("x_meta", meta_loss)
        return response, meta_loss

    @torch.no_grad()
    def descend(self, c: Float[Tensor, "n C"]) -> None:
        """The optimizer's step along Jᵀc: c is the gradient of the batch's loss with respect to the
        logits, an average's 1/n included. The running statistics become what this pass left, and
        the pass is used up."""
        learner = self.learner
        gradient = self._pull_back(c)
        optimizers.optimizer_step(learner.model, learner.optimizer, gradient, learner.max_grad_norm)

    @torch.no_grad()
    def backward(self, c: Float[Tensor, "n C"], scale: float = 1.0) -> None:
        """As `descend`, but instead of a step Jᵀc, times `scale`, is added to the parameters'
        `.grad`."""
        optimizers.add_gradient(self.learner.model, self._pull_back(c), scale)

    def _pull_back(self, c: Float[Tensor, "n C"]) -> bilevel.State:
        (gradient,) = self.forward_pass.pullback(c, last=True)
        bilevel.write_buffers(self.buffers, self.forward_pass.buffers)
        return gradient


@contextlib.contextmanager
def _named(name: str, inputs: Tensor) -> Iterator[None]:
    """Name the argument in what a layer says of a wrong shape, dtype or batch size."""
    try:
        yield
    except (torch.OutOfMemoryError, NotImplementedError):
        raise
    except (RuntimeError, ValueError) as error:
        if str(error).startswith("model:"):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        shape, kind = tuple(inputs.shape), inputs.dtype
        if "more than 1 value per channel" in reason:  # batch norm's words
            reason += "; give the loader drop_last=True, or batches of two examples at least"
        raise ValueError(
            f"{name}: the model's forward pass failed on {shape} {kind} ({reason})"
        ) from error
