"""The exact meta-gradient of one virtual SGD step, without a second-order graph.

With θ̂ = θ - (1/n) D Jᵀc (c the (n, C) logit gradient, J the Jacobian of all train logits, batch
norm's coupling included, D each parameter's learning rate), the virtual step is linear in c. Hence,
with v = ∇L_meta(θ̂),

    ∂L_meta/∂c = -(1/n) J D v,

one forward-mode product on the train batch. Everything here is functional (parameters and buffers
in, gradients and buffers out) and touches no module's state, so that it can be vmapped over
replicas.
"""

import contextlib
import functools
import importlib
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.func import functional_call, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from gdwlib._types import Float, Int, Tensor
from gdwlib.forward_mode import Recording, Reusing
from gdwlib.weighting import cross_entropy

# Forward mode's level, which attention is used and the random state belong to the process: what
# depends on them is done by one of its threads at a time
ONE_THREAD = threading.RLock()
State = dict[str, Tensor]  # parameters or buffers by name
RandomState = tuple[Tensor, Tensor | None]  # of the host's generator and the accelerator's


def apply(model: nn.Module, params: State, buffers: State, x: Tensor) -> tuple[Tensor, State]:
    """Logits (n, C) and the buffers as the pass leaves them (batch norm's running statistics);
    changes nothing."""
    state = params | {name: buffer.clone() for name, buffer in buffers.items()}
    # fused attention has no forward mode
    with ONE_THREAD, sdpa_kernel(SDPBackend.MATH), _uncompiled(model):
        out = functional_call(model, state, (x,))
    if not isinstance(out, Tensor):
        raise ValueError(f"model: must return a tensor of logits, not {type(out).__name__}")
    return out, {name: state[name] for name in buffers}  # a buffer may be another tensor now


def _uncompiled(model: nn.Module) -> contextlib.AbstractContextManager:
    """Run what `torch.compile` has compiled as it was written: it has no forward mode compiled."""
    for module in model.modules():
        if type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None:
            return torch.compiler.set_stance("force_eager")
    return contextlib.nullcontext()


class Activations(NamedTuple):
    """What a forward pass leaves for going through it again."""

    pullback: Callable[..., tuple[State]]
    outputs: list[Tensor]  # of the layers whose tangents can be had without them being run again
    intact: list[bool]  # which of them no later operation has overwritten


class TrainPass:
    """A forward pass over a train batch, to be pulled back, and pushed forward, as often as
    needed. Its four parts are how an engine makes them; `ForwardPass` makes them here."""

    n: int  # examples; replicas passed together have n each
    params: State  # θ, at which it was made
    logits: Float[Tensor, "n C"]
    buffers: State  # as the pass left them

    def pullback(self, c: Float[Tensor, "n C"], last: bool = False) -> tuple[State]:
        """(Jᵀc,), without a graph of its own. last=True: give each activation's memory back on the
        way."""
        raise NotImplementedError

    def release_activations(self) -> None:
        """Give the activations' memory back until they are needed again, unless they were to be
        kept."""
        raise NotImplementedError

    def meta_gradient(
        self, theta_hat: State, x_meta: Tensor, y_meta: Int[Tensor, " m"]
    ) -> tuple[State, Float[Tensor, " m"]]:
        """v = ∇L_meta at `theta_hat`, L_meta being the mean of the meta batch's cross entropies
        (Eq. 8); and these."""
        raise NotImplementedError

    def tangent(self, direction: State) -> Float[Tensor, "n C"]:
        """J·direction: how the logits move when the parameters move along `direction`."""
        raise NotImplementedError

    def look_ahead(
        self,
        lrs: dict[str, float | Tensor],
        c: Float[Tensor, "n C"] | None,
        x_meta: Tensor,
        y_meta: Int[Tensor, " m"],
    ) -> tuple[Float[Tensor, "n C"], Float[Tensor, " m"]]:
        """How the meta loss after one virtual SGD step depends on the logit gradient that makes the
        step.

        Args:
            lrs: D, the learning rate by parameter name.
            c: the logit gradient of each train example; None: a step of length zero, θ̂ = θ.

        Returns:
            ∂L_meta/∂c = -(1/n) J D v, shape (n, C); and the meta examples' losses at θ̂, shape (m,).
        """
        theta_hat = self.params
        if c is not None:
            theta_hat = virtual_step(self.params, lrs, self.pullback(c / self.n)[0])
        self.release_activations()
        v, meta_losses = self.meta_gradient(theta_hat, x_meta, y_meta)
        return -self.tangent({name: lrs[name] * v[name] for name in v}) / self.n, meta_losses


@functools.cache
def prepare_jvp() -> None:
    """Import what jvp imports when first used, which takes seconds, and hide that PyTorch warns of
    a deprecation of its own on the way."""
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        importlib.import_module("torch._decomp.decompositions_for_jvp")


class ForwardPass(TrainPass):
    """One pass of a whole batch. keep=False: it holds its activations only while they are used, for
    the price of a second pass when they are used again."""

    random: RandomState  # that it started from
    _activations: Activations | None

    def __init__(
        self, model: nn.Module, params: State, buffers: State, x: Tensor, keep: bool = True
    ):
        self.keep, self.n, self.params = keep, len(x), params
        self._inputs = model, params, buffers, x
        with ONE_THREAD:
            self.random = random_state(x)
            self.logits, self.buffers = self._run()

    def _run(self) -> tuple[Tensor, State]:
        model, params, buffers, x = self._inputs
        recording = Recording()

        def run(params: State) -> tuple:
            with recording:
                logits, moved = apply(model, params, buffers, x)
            return logits, (moved, recording.outputs)

        logits, pullback, (moved, outputs) = vjp(run, params, has_aux=True)  # type: ignore[misc]
        self._activations = Activations(torch.no_grad()(pullback), outputs, recording.intact)
        return logits, moved

    @property
    def activations(self) -> Activations:
        if self._activations is None:
            # dropout draws the same masks
            with random_state_replayed(self.random, self._inputs[-1]):
                self._run()
        return self._activations  # type: ignore[return-value]  # made by now

    def release_activations(self) -> None:
        if not self.keep:
            self._activations = None

    def pullback(self, c: Float[Tensor, "n C"], last: bool = False) -> tuple[State]:
        return self.activations.pullback(c, retain_graph=not last)

    @torch.no_grad()
    def meta_gradient(
        self,
        theta_hat: State,
        x_meta: Tensor,
        y_meta: Int[Tensor, " m"],
        count: int | None = None,
    ) -> tuple[State, Float[Tensor, " m"]]:
        """As in `TrainPass`; count: of the whole meta batch, where this is a part of it: its share
        of v."""
        model, _, buffers, _ = self._inputs

        def losses(params: State) -> Tensor:
            return cross_entropy(apply(model, params, buffers, x_meta)[0], y_meta)

        values, pullback = vjp(losses, theta_hat)  # type: ignore[misc]  # not torch.func.grad, which builds a graph of the gradient as well
        mean = torch.full_like(values, 1 / (count or len(x_meta)))
        # freed on the way back: the peak of a plain step's
        return pullback(mean, retain_graph=False)[0], values

    def tangent(self, direction: State) -> Float[Tensor, "n C"]:
        prepare_jvp()
        model, params, buffers, x = self._inputs
        _, outputs, intact = self.activations

        def run(params: State) -> Tensor:
            with Reusing(outputs, intact):
                return apply(model, params, buffers, x)[0]

        with random_state_replayed(self.random, x):  # dropout draws the same masks
            try:
                return jvp(run, (params,), (direction,))[1]
            except NotImplementedError as error:
                reason = str(error).splitlines()[0].split(". ")[0]
                raise NotImplementedError(
                    f"model: no forward mode for one of its operations ({reason})"
                ) from error


@torch.no_grad()
def forward(
    model: nn.Module, params: State, buffers: State, x: Tensor, keep: bool = True
) -> ForwardPass:
    """Run the model on a batch, in whatever mode it is in; `keep` as in `ForwardPass`."""
    return ForwardPass(model, params, buffers, x, keep)


def virtual_step(params: State, lrs: dict[str, float | Tensor], gradient: State) -> State:
    """θ̂ = θ - D·gradient, Eq. 9; uses the gradient up."""
    return {name: param - lrs[name] * gradient.pop(name) for name, param in params.items()}


def random_state(x: Tensor) -> RandomState:
    """The states of the generators that layers working on `x` draw from: the host's, and its
    accelerator's."""
    if x.device.type == "cpu" or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        # a captured step draws nothing on the device, see `capture`
        return torch.get_rng_state(), None
    return torch.get_rng_state(), torch.get_device_module(x.device).get_rng_state(*_index(x))


def _set_random_state(state: RandomState, x: Tensor) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.get_device_module(x.device).set_rng_state(state[1], *_index(x))


def _index(x: Tensor) -> tuple:
    return () if x.device.type == "mps" else (x.device,)


@contextlib.contextmanager
def random_state_replayed(state: RandomState, x: Tensor) -> Iterator[None]:
    """Draw once more the random numbers drawn since `state`, then go on from where the generators
    were; other threads wait."""
    with ONE_THREAD:
        now = random_state(x)
        _set_random_state(state, x)
        try:
            yield
        finally:
            _set_random_state(now, x)


def write_buffers(buffers: State, moved: State) -> None:
    """Write what a forward pass left of the buffers into the module's own."""
    for name, buffer in buffers.items():
        if buffer.shape == moved[name].shape:
            buffer.copy_(moved[name])
        else:  # the model has made it anew
            buffer.data = moved[name].to(buffer)
