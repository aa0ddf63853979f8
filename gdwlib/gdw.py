"""GDW: Algorithm 1 of the paper, as an object for any training loop. MWNet is the same with
`level="instance"`."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.func import vjp

from gdwlib import bilevel, optimizers, weighting
from gdwlib._types import Float, Tensor
from gdwlib.learner import LOCAL_ENGINE, Engine, Learner, LearnerPass
from gdwlib.models import WeightNet


@dataclass(frozen=True)
class StepOutput:
    """What one step saw and used. Everything is detached and on the device; `float()`
    synchronises."""

    # unweighted mean cross entropy of the train batch at θ_{τ-1}, nats
    train_loss: Float[Tensor, ""]
    # mean cross entropy of the meta batch at θ̂, nats; NaN where no meta step was made
    meta_loss: Float[Tensor, ""]
    logits: Float[Tensor, "n C"]  # of the train batch at θ_{τ-1}
    first_weights: Float[Tensor, "n C"]  # ω after the first Eq. 4
    # ω′ after Eq. 11 and the second Eq. 4: what the model's update used
    class_weights: Float[Tensor, "n C"]
    class_gradient: Float[Tensor, "n C"]  # g = ∂L_meta/∂ω; zero where no meta step was made


def _check_trainable(model: nn.Module) -> None:
    """ValueError for what a step could only do wrongly."""
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ValueError(
            f"model: is wrapped in {type(model).__name__}, which a step cannot go through; give "
            "model.module"
        )
    if any(param.dtype == torch.float16 and param.requires_grad for param in model.parameters()):
        raise ValueError(
            "model: has float16 parameters, whose range is too small for the meta-gradient; use "
            "float32 or bfloat16"
        )


def default_weight_net(model: nn.Module) -> WeightNet:
    """The paper's V, on the device and in the dtype of the model."""
    anchor = next(model.parameters())
    return WeightNet().to(anchor.device, anchor.dtype)


def make_weight_optimizer(
    weight_net: nn.Module, kind: str = "adam", lr: float = 1e-3, weight_decay: float = 1e-4
) -> torch.optim.Optimizer:
    """The paper's Adam for V; or "sgd", with Nesterov momentum 0.9."""
    if kind == "sgd":
        return torch.optim.SGD(
            weight_net.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
        )
    return torch.optim.Adam(weight_net.parameters(), lr, weight_decay=weight_decay)


class GDW:
    """Generalized Data Weighting around an unmodified model and optimizer::

        gdw = GDW(model, optimizer, num_classes=10)
        # meta_batches must not end first
        for (x, y), (x_meta, y_meta) in zip(train_loader, meta_batches):
            out = gdw.step(x, y, x_meta, y_meta)

    or, with gradient accumulation, clipping and the step in one's own hands, `gdw.backward` in the
    place of `loss.backward`.

    Works with batch norm, dropout, attention and embeddings as they are, each in the mode it is in:
    after an evaluation call `model.train()`, as in any training loop. What `torch.compile` has
    compiled runs as it was written; hooks on parameters are called. Objects in several threads wait
    for each other; to train at once, start processes. Two kinds of layers cannot be used:
    operations that PyTorch has no forward mode for (`spectral_norm` and `weight_norm`
    parametrizations, `EmbeddingBag`, `LSTM` on a CPU unless `torch.backends.mkldnn` is off,
    checkpointed modules; an error says so and nothing is updated), and layers that draw random
    numbers from elsewhere than PyTorch's generators. A parameter that the model does not use counts
    as one with gradient zero, so that weight decay still acts on it.

    Args:
        model: any module mapping x to (n, C) logits.
        optimizer: a `torch.optim` optimizer over (some of) its parameters. The virtual step uses
            each parameter group's current learning rate, without momentum or weight decay (see
            `virtual_lr` and `virtual`). Parameters that are frozen or not in the optimizer stay as
            they are.
        num_classes: C, at least 2.
        weight_net: maps (n, 1) detached losses to (n, 1) weights; default `WeightNet()` (1-100-1,
            sigmoid).
        weight_optimizer: an optimizer over its parameters; default Adam(lr=1e-3,
            weight_decay=1e-4).
        class_lr: η_ω of Eq. 11; default 0.1·n·C, which is the paper's 100 and 1000 at n = 100, C =
            10 and 100.
        clip: the largest change of a weight in one step (Eq. 11).
        zero_mean: impose Eq. 4; False is the paper's Appendix B.2.
        level: "class" (GDW) or "instance" (MWNet: one weight an example, from the updated weighting
            network).
        normalise: at the instance level, scale the weights of a batch to a mean of one (MWNet's
            authors' recipe for imbalance).
        meta_every: make the meta step every so many steps and use the weighting network as it is in
            between.
        max_grad_norm: clip the model's gradient to this ℓ₂ norm before `step` makes the optimizer's
            step.
        save_memory: hold one batch's activations at a time instead of two, for one more forward
            pass in each step.
        engine: where the passes through the network are made; `gdwlib.MicroBatches(size)` makes
            them in pieces.
        virtual_lr: the learning rate of the virtual step (Eq. 9), or a function that makes it of a
            parameter group's current one, as `lambda lr: 10 * lr`. Default the group's own, as in
            the paper.
        virtual: "sgd", plain descent as in the paper; or "optimizer", the direction that Adam,
            AdamW, RMSprop or Adagrad would take: each entry of the gradient is scaled as the
            optimizer's last step left its second moments, which the meta-gradient holds fixed (so
            it stays exact). An optimizer of this kind has a small learning rate, and plain descent
            with it hardly moves; under flip noise MWNet gained much by looking further, GDW did not
            (benchmarks/look_ahead.py).

    Raises:
        ValueError: an argument out of range, named.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        num_classes: int,
        *,
        weight_net: nn.Module | None = None,
        weight_optimizer: torch.optim.Optimizer | None = None,
        class_lr: float | None = None,
        clip: float = 0.2,
        zero_mean: bool = True,
        level: str = "class",
        normalise: bool = False,
        meta_every: int = 1,
        max_grad_norm: float | None = None,
        save_memory: bool = False,
        engine: Engine | None = None,
        virtual_lr: float | Callable[[float], float] | None = None,
        virtual: str = "sgd",
    ):
        _check_trainable(model)
        if virtual not in ("sgd", "optimizer"):
            raise ValueError(f"virtual: must be 'sgd' or 'optimizer', not {virtual!r}")
        switches = {"zero_mean": zero_mean, "normalise": normalise, "save_memory": save_memory}
        for name, switch in switches.items():
            if not isinstance(switch, bool):
                raise ValueError(f"{name}: must be True or False, not {switch!r}")
        if virtual == "optimizer":
            optimizers.check_preconditioned(optimizer)
        if level not in ("class", "instance"):
            raise ValueError(f"level: must be 'class' or 'instance', not {level!r}")
        value: Any
        for name, value, kind, least, want in (
            ("num_classes", num_classes, int, 2, "an integer, at least 2"),
            ("meta_every", meta_every, int, 1, "an integer, at least 1"),
            ("clip", clip, float, 0, "a number above 0"),
            ("class_lr", class_lr, float, 0, "a number above 0, or None for 0.1·n·C"),
            ("max_grad_norm", max_grad_norm, float, 0, "a number above 0, or None"),
            ("virtual_lr", virtual_lr, float, 0, "a number above 0, a function, or None"),
        ):
            if callable(value) and "function" in want:
                continue
            if value is None and "None" in want:
                continue
            number = isinstance(value, int | kind) and not isinstance(value, bool)
            if not number or not 0 < value <= 1e30 or value < least:  # float32 ends at 3.4e38
                raise ValueError(f"{name}: must be {want}, not {value!r}")
        if normalise and level != "instance":
            raise ValueError(
                "normalise: for level='instance' only; Eq. 4 ties the weights of level='class' "
                "together"
            )
        if weight_optimizer is not None and weight_net is None:
            raise ValueError(
                "weight_optimizer: give the weight_net whose parameters it optimizes as well"
            )
        self.learner = Learner(
            model, optimizer, num_classes, max_grad_norm, save_memory, virtual_lr, virtual
        )
        self.learner.engine = engine or LOCAL_ENGINE
        self.weight_net = weight_net or default_weight_net(model)
        self.weight_optimizer = weight_optimizer or make_weight_optimizer(self.weight_net)
        optimizers.trainable_parameters(self.weight_net, self.weight_optimizer, "weight_optimizer")
        self.num_classes, self.level = num_classes, level
        self.zero_mean, self.normalise = zero_mean, normalise
        self.class_lr, self.clip, self.meta_every = class_lr, clip, meta_every
        self.steps = 0

    @property
    def model(self) -> nn.Module:
        """The network that is trained. To train another one, make a new GDW."""
        return self.learner.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of the network."""
        return self.learner.optimizer

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor, x_meta: Tensor, y_meta: Tensor) -> StepOutput:
        """One iteration of Algorithm 1: updates the model, the optimizers and the weighting
        network.

        Args:
            x, y: the train batch, (n, ...) floats or token ids and (n,) integer labels in 0..C-1,
                possibly wrong.
            x_meta, y_meta: the meta batch, likewise, of any size m, with labels to be trusted.

        Raises:
            ValueError: shapes, types or labels that cannot be, named; nothing is updated.
            FloatingPointError: non-finite images or logits; nothing is updated. On an accelerator
                what would need a synchronisation (label range, finiteness) is raised by the next
                `check()` or `state_dict()`.
        """
        forward_pass, c, out = self._weigh(x, y, x_meta, y_meta)
        forward_pass.descend(c)  # Step 3, Eq. 12
        return out

    @torch.no_grad()
    def backward(
        self, x: Tensor, y: Tensor, x_meta: Tensor, y_meta: Tensor, scale: float = 1.0
    ) -> StepOutput:
        """All of `step` but `optimizer.step()`: the gradient of Eq. 12 is *added* to the
        parameters' `.grad`, as `loss.backward()` does. Zeroing it, clipping, schedules and the step
        are the caller's::

            optimizer.zero_grad()
            for x, y in micro_batches:  # k of them
                gdw.backward(x, y, *next(meta_batches), scale=1 / k)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
            optimizer.step()

        The weighting network makes its step here, and each call looks ahead along its own batch
        alone. So k accumulated batches have the weights that each would have by itself. To pass one
        large batch through in pieces, with the weights of the whole, give
        `engine=gdwlib.MicroBatches(size)` instead: without batch norm that is exact.

        Args:
            x, y: the train batch, (n, ...) and (n,), as of `step`.
            x_meta, y_meta: the meta batch, (m, ...) and (m,), as of `step`.
            scale: multiplies what is added.
        """
        forward_pass, c, out = self._weigh(x, y, x_meta, y_meta)
        forward_pass.backward(c, scale)
        return out

    def _weigh(
        self, x: Tensor, y: Tensor, x_meta: Tensor, y_meta: Tensor
    ) -> tuple[LearnerPass, Tensor, StepOutput]:
        """Steps 1 and 2: the pass over the train batch, the gradient at its logits (n, C) for step
        3, and what there was to see."""
        if torch.is_inference_mode_enabled():
            raise RuntimeError(
                "step: stands within torch.inference_mode, where nothing can be trained; call it "
                "outside"
            )
        self.learner.check_batches(x, y, x_meta, y_meta)
        phi, _ = optimizers.trainable_parameters(
            self.weight_net, self.weight_optimizer, "weight_optimizer"
        )
        make_meta_step = self.steps % self.meta_every == 0
        n = len(x)

        # Step 1: one forward pass; first-stage weights from the losses; the virtual step's gradient
        forward_pass = self.learner.forward(x)
        logits = forward_pass.logits  # (n, C)
        losses = weighting.cross_entropy(logits, y)  # (n,)
        p = weighting.probabilities(logits)  # (n, C)
        dtype = next(iter(phi.values())).dtype
        own = isinstance(self.weight_net, WeightNet)  # another one may cast for itself
        if own and dtype != losses.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ValueError(
                f"weight_net: is {dtype}, and the model gives {losses.dtype}; bring it there, "
                f"gdw.weight_net.to({losses.dtype}), or cast the model's logits"
            )
        d1 = weighting.logit_gradient(p, y)  # (n, C) Eq. 1
        weights_of = partial(self._weights, losses=losses, p=p, y=y)
        w, pull_weights, v_moved = vjp(weights_of, phi, has_aux=True)  # type: ignore[misc]  # (n, C) Eq. 4

        if make_meta_step:
            # Step 2: the gradient of the meta loss after the virtual step, with respect to ω (g)
            # and, by the chain rule, to φ
            c = weighting.manipulate(w, d1)  # (n, C) Eq. 2
            # (n, C) ∂L_meta/∂c, Eq. 9
            response, meta_loss = forward_pass.look_ahead(c, x_meta, y_meta)
            g = d1 * response  # (n, C) ∂L_meta/∂ω
            # Eq. 10
            optimizers.optimizer_step(self.weight_net, self.weight_optimizer, pull_weights(g)[0])

            if self.level == "instance":
                # (n, C) MWNet: V at φ_τ, which φ's tensors now hold
                w_new, _ = self._weights(phi, losses, p, y)
            else:
                class_lr = 0.1 * n * self.num_classes if self.class_lr is None else self.class_lr
                # (n, C) Eq. 11, 4
                w_new = self._constrain(weighting.update_weights(w, g, class_lr, self.clip), p, y)
        else:
            w_new, g, meta_loss = w, torch.zeros_like(w), losses.new_tensor(torch.nan)

        bilevel.write_buffers(dict(self.weight_net.named_buffers()), v_moved)
        self.steps += 1
        out = StepOutput(losses.mean(), meta_loss, logits, w, w_new, g)
        # for step 3: it goes back through the same forward pass
        return forward_pass, weighting.manipulate(w_new, d1) / n, out

    def _weights(
        self, phi: bilevel.State, losses: Tensor, p: Tensor, y: Tensor
    ) -> tuple[Tensor, bilevel.State]:
        """First-stage ω(φ): V's output for each example, repeated over the classes, then Eq. 4; V's
        new buffers."""
        weight, moved = bilevel.apply(
            self.weight_net, phi, dict(self.weight_net.named_buffers()), losses[:, None]
        )
        if weight.shape != (len(losses), 1):
            raise ValueError(
                f"weight_net: must map (n, 1) losses to (n, 1) weights, gave {tuple(weight.shape)}"
            )
        if self.normalise:
            total = weight.sum()
            weight = len(losses) * weight / torch.where(total > 0, total, 1)
        return self._constrain(weight.expand_as(p), p, y), moved  # (n, C)

    def _constrain(self, w: Tensor, p: Tensor, y: Tensor) -> Tensor:
        return weighting.zero_mean(w, p, y) if self.zero_mean and self.level == "class" else w

    def state_dict(self) -> dict:
        """Everything a resume needs: model, optimizer, weighting network, its optimizer, the step
        count; and the settings, to be compared."""
        self.check()
        return {name: part.state_dict() for name, part in self._parts().items()} | {
            "steps": self.steps,
            "settings": self._settings(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from a `state_dict()`.

        Raises:
            ValueError: it is of a GDW with other settings, or of another model; nothing is loaded.
        """
        settings = self._settings()
        given = state.get("settings", settings)  # version 0.1.0 wrote none
        expected = {*self._parts(), "steps"}
        if set(state) - {"settings"} != expected or not isinstance(given, dict):
            raise ValueError(f"state: expected the keys {sorted(expected)}, got {sorted(state)}")
        if not isinstance(state["steps"], int) or state["steps"] < 0:
            raise ValueError(f"state: steps must be a number of steps, not {state['steps']!r}")
        if differ := [name for name in settings if given.get(name) != settings[name]]:
            first = differ[0]
            raise ValueError(
                f"state: was saved with {first}={given.get(first)!r}, and this GDW has "
                f"{settings[first]!r}; make it with the same settings"
            )
        before = {name: copy.deepcopy(part.state_dict()) for name, part in self._parts().items()}
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except Exception as error:
            for kept, part in self._parts().items():
                part.load_state_dict(before[kept])
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"state: is of another {name} ({reason}); nothing is loaded"
            ) from error
        self.steps = state["steps"]

    def _settings(self) -> dict:
        """What a state must be loaded with."""
        return {
            "num_classes": self.num_classes,
            "level": self.level,
            "clip": float(self.clip),
            "zero_mean": self.zero_mean,
            "normalise": self.normalise,
            "meta_every": self.meta_every,
        }

    def check(self) -> None:
        """Raise what was found wrong on an accelerator since the last check; synchronises the
        device."""
        self.learner.check()

    def _parts(self) -> dict:
        names = ("model", "optimizer", "weight_net", "weight_optimizer")
        return {name: getattr(self, name) for name in names}
