"""One run over several processes, started by `torchrun --nproc-per-node=N -m gdwlib run …`.

Every process holds the network, the data and the method's state, and passes its own part of each train and meta batch
through the network. The logits of all parts are gathered, and from them every process computes the same weights: a
method sees the whole batch, so that its sums over it (Eq. 11's ℓ₁ norm, the weighting network's gradient) need no
change. Summed over the processes are the gradients with respect to θ: of the virtual step, before θ̂ is formed; of the
meta loss, v; and of the update. Batch norm takes its statistics over all parts (`SyncedBatchNorm`). So all processes
keep the same θ and φ, and a run has the numbers that one process gives it, up to the order of sums.
"""

import contextlib
import copy
import math
import os
import signal
import zlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from gdwlib import bilevel
from gdwlib._types import Tensor
from gdwlib.learner import HERE, Engine

LOST = "a process of this run has ended; finished epochs are kept, and the same command goes on from there"


class ProcessLost(Exception):
    """Another process of this run has ended, or all are asked to."""


class Shared:
    """A forward pass of which each process has made its part; the counterpart of `bilevel.Forward`."""

    def __init__(self, team: "Team", part: bilevel.Forward, count: int):
        self.team, self.part, self.count = team, part, count
        self.buffers = part.buffers  # the same everywhere, as batch norm's statistics are
        self.logits = team.gathered(part.logits, count)  # (n, C)

    def pullback(self, c: Tensor, last: bool = False) -> tuple[bilevel.State]:
        (gradient,) = self.part.pullback(c[self.team.rows(self.count)], last=last)
        return (self.team.summed(gradient),)


class Team(Engine):
    """The processes of a run, in the place of `Engine`: this one's rank, and what they do together."""

    def __init__(self):
        self.rank, self.processes = dist.get_rank(), dist.get_world_size()
        self._synced: dict[nn.Module, nn.Module] = {}

    def rows(self, count: int) -> slice:
        """Which of a batch's rows are this process's."""
        return slice(count * self.rank // self.processes, count * (self.rank + 1) // self.processes)

    def forward(self, model: nn.Module, params, buffers, x: Tensor, keep: bool = True) -> Shared:
        part = bilevel.forward(self.synced(model), params, buffers, x[self.rows(len(x))], keep)
        return Shared(self, part, len(x))

    def look_ahead(self, model, params, buffers, lrs, c, x, x_meta, y_meta, done: Shared) -> tuple[Tensor, Tensor]:
        """As `bilevel.look_ahead`."""
        n, m = len(x), len(x_meta)
        theta_hat = params
        if c is not None:
            (gradient,) = done.pullback(c / n)
            theta_hat = {name: param - lrs[name] * gradient.pop(name) for name, param in params.items()}  # Eq. 9
        done.part.rest()
        network, mine = self.synced(model), self.rows(m)
        v, meta_losses = bilevel.meta_gradient(network, theta_hat, buffers, x_meta[mine], y_meta[mine], m)
        v = self.summed(v)
        d_v = {name: lrs[name] * v[name] for name in v}
        pushed = bilevel.tangent(network, params, buffers, x[self.rows(n)], d_v, done.part)
        return -self.gathered(pushed, n) / n, self.gathered(meta_losses, m)

    def synced(self, model: nn.Module) -> nn.Module:
        """The network's structure, with batch norm over all processes' parts."""
        if model not in self._synced:
            synced = copy.deepcopy(model)
            for module in synced.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.__class__ = SyncedBatchNorm
            self._synced[model] = synced
        self._synced[model].train(model.training)
        return self._synced[model]

    def gathered(self, part: Tensor, count: int) -> Tensor:
        """(n_r, …) of every process → (n, …)."""
        whole = part.new_zeros(count, *part.shape[1:])
        whole[self.rows(count)] = part
        return self.total(whole)

    def summed(self, gradient: bilevel.State) -> bilevel.State:
        """Over the processes, in one message."""
        flat = self.total(torch.cat([value.reshape(-1) for value in gradient.values()]))
        parts = flat.split([value.numel() for value in gradient.values()])
        return {name: part.view_as(value) for (name, value), part in zip(gradient.items(), parts, strict=True)}

    def total(self, value: Tensor) -> Tensor:
        """`value`, summed over the processes in place."""
        with _lost():
            dist.all_reduce(value)
        return value

    def agreed(self, value: int) -> int:
        """Rank 0's value."""
        there = torch.tensor(value, device="cuda" if dist.get_backend() == "nccl" else "cpu")
        with _lost():
            dist.broadcast(there, 0)
        return int(there)

    def check_alike(self, networks: dict[str, nn.Module]) -> None:
        """ProcessLost where a process's networks are no longer those of rank 0."""
        sums = 0
        for network in networks.values():
            for value in network.state_dict().values():
                sums = zlib.crc32(value.contiguous().cpu().numpy().tobytes(), sums)
        different = torch.tensor(int(self.agreed(sums) != sums), device=value.device)
        if self.total(different):
            raise ProcessLost("the processes' networks have drifted apart; run them on machines of one kind")


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the parts of all processes, of any shape. (PyTorch's own is for GPUs alone and refuses
    `torch.func`.)"""

    def _check_input_dim(self, x: Tensor) -> None:  # the class it stands in for has done so
        pass

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return super().forward(x)
        average = None
        if self.training and self.running_mean is not None:
            self.num_batches_tracked.add_(1)
            average = self.momentum
            if average is None:
                average = 1 / int(self.num_batches_tracked)
        weight, bias = self.weight, self.bias
        if weight is None:
            weight, bias = x.new_ones(x.shape[1]), x.new_zeros(x.shape[1])
        statistics = (self.running_mean, self.running_var) if average is not None else (None, None)
        return _Normalise.apply(x, weight, bias, *statistics, average, self.eps)[0]


class _Normalise(torch.autograd.Function):
    """x̂ = (x - μ)/σ over all processes' parts; γx̂ + β, its pullback and its tangent, the sums they need included.
    What is returned beside it is kept for these two."""

    @staticmethod
    def forward(x, weight, bias, running_mean, running_var, average, eps):
        axes = _axes(x)
        sums = torch.cat([x.sum(axes), x.new_tensor([math.prod(x.shape) / x.shape[1]])])
        _total(sums)
        count = sums[-1]
        mean = sums[:-1] / count  # (c,)
        squares = (x - _along(mean, x)).square().sum(axes)  # (c,)
        var = _total(squares) / count
        if average is not None:
            running_mean.lerp_(mean, average)
            running_var.lerp_(var * count / (count - 1).clamp(min=1), average)
        inv_std = (var + eps).rsqrt()
        out = F.batch_norm(x, mean, var, weight, bias, eps=eps)
        return out, mean, inv_std, count

    @staticmethod
    def setup_context(ctx, inputs, outputs):
        x, weight = inputs[:2]
        _, mean, inv_std, count = outputs
        ctx.mark_non_differentiable(mean, inv_std, count)
        ctx.save_for_backward(x, weight, mean, inv_std, count)
        ctx.save_for_forward(x, weight, mean, inv_std, count)

    @staticmethod
    def backward(ctx, gradient, *_):
        x, weight, mean, inv_std, count = ctx.saved_tensors
        normal = (x - _along(mean, x)) * _along(inv_std, x)
        axes = _axes(x)
        by_bias, by_weight = gradient.sum(axes), (gradient * normal).sum(axes)  # (c,), of this part
        along_one, along_normal = _total(torch.stack([by_bias, by_weight])) / count  # (c,)
        centred = gradient - _along(along_one, x) - normal * _along(along_normal, x)
        return centred * _along(weight * inv_std, x), by_weight, by_bias, None, None, None, None

    @staticmethod
    def jvp(ctx, dx, d_weight, d_bias, *_):
        x, weight, mean, inv_std, count = ctx.saved_tensors
        normal = (x - _along(mean, x)) * _along(inv_std, x)
        tangent = torch.zeros_like(x)
        axes = _axes(x)
        if dx is not None:
            along_one, along_normal = _total(torch.stack([dx.sum(axes), (dx * normal).sum(axes)])) / count  # (c,)
            tangent = (dx - _along(along_one, x) - normal * _along(along_normal, x)) * _along(weight * inv_std, x)
        if d_weight is not None:
            tangent = tangent + normal * _along(d_weight, x)
        if d_bias is not None:
            tangent = tangent + _along(d_bias, x)
        return tangent, None, None, None


def _axes(x: Tensor) -> list[int]:
    """All but the channels."""
    return [0, *range(2, x.dim())]


def _along(value: Tensor, x: Tensor) -> Tensor:
    """(c,) → to be broadcast over x (n, c, …)."""
    return value.view(-1, *[1] * (x.dim() - 2))


def _total(value: Tensor) -> Tensor:
    with _lost():
        dist.all_reduce(value)
    return value


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's, of a connection that has closed
        raise ProcessLost(LOST) from error


def started() -> bool:
    """Whether torchrun has started several processes for this run."""
    return dist.is_torchelastic_launched() and os.environ["WORLD_SIZE"] != "1"


@contextlib.contextmanager
def team(device: torch.device) -> Iterator[Engine]:
    """This process's engine: a `Team` where torchrun has started several, each on its own GPU where there are GPUs.

    Raises:
        ValueError: there are fewer GPUs than processes, or a device that processes cannot share.
        ProcessLost: once another process has ended.
    """
    if not started():
        yield HERE
        return
    if device.type == "cuda":
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise ValueError(f"torchrun: {os.environ['LOCAL_WORLD_SIZE']} processes for {there} GPUs; start one a GPU")
        torch.cuda.set_device(local)
    elif device.type != "cpu":
        raise ValueError(f"device: several processes work on cpu or cuda, not on {device.type}")
    signal.signal(signal.SIGTERM, _end)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield Team()
    dist.destroy_process_group()


def _end(*_) -> None:  # what torchrun sends to the others when one has ended
    raise ProcessLost(LOST)


def first_to_tell() -> bool:
    """Of an error that ends all processes of a run: whether it is for this one to say so. (torchrun's own process
    keeps the count.)"""
    if not started():
        return True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is ending by itself
    with contextlib.suppress(RuntimeError):
        store, _, _ = next(dist.rendezvous("env://"))
        return store.add("gdwlib: told", 1) == 1
    return True
