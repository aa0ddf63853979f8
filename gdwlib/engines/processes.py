"""One run over several processes, started by `torchrun --nproc-per-node=N -m gdwlib run …`.

Every process holds the network, the data and the method's state, and passes its own part of each
train and meta batch through the network. The logits of all parts are gathered, and from them every
process computes the same weights: a method sees the whole batch, so that its sums over it (Eq. 11's
ℓ₁ norm, the weighting network's gradient) need no change. Summed over the processes are the
gradients with respect to θ: of the virtual step, before θ̂ is formed; of the meta loss, v; and of
the update. Batch norm takes its statistics over all parts (`SyncedBatchNorm`). So all processes
keep the same θ and φ, and a run has the numbers that one process gives it, up to the order of sums.
"""

import contextlib
import copy
import os
import signal
import zlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import nn

from gdwlib import bilevel
from gdwlib._types import Tensor
from gdwlib.engines.collective import (
    LOST,
    ProcessLost,
    all_reduce,
    process_lost_on_closed_connection,
)
from gdwlib.engines.synced_batch_norm import SyncedBatchNorm
from gdwlib.learner import LOCAL_ENGINE, Engine


class ShardedPass(bilevel.TrainPass):
    """A forward pass of which each process has made its part."""

    def __init__(self, engine: "DataParallelEngine", part: bilevel.ForwardPass, n: int):
        self.engine, self.part, self.n, self.params = engine, part, n, part.params
        self.buffers = part.buffers  # the same everywhere, as batch norm's statistics are
        self.logits = engine.all_gather(part.logits, n)  # (n, C)

    def pullback(self, c: Tensor, last: bool = False) -> tuple[bilevel.State]:
        (gradient,) = self.part.pullback(c[self.engine.shard(self.n)], last=last)
        return (self.engine.all_reduce_gradient(gradient),)

    def release_activations(self) -> None:
        self.part.release_activations()

    def meta_gradient(self, theta_hat, x_meta: Tensor, y_meta: Tensor):
        m = len(x_meta)
        mine = self.engine.shard(m)
        v, losses = self.part.meta_gradient(theta_hat, x_meta[mine], y_meta[mine], m)
        return self.engine.all_reduce_gradient(v), self.engine.all_gather(losses, m)

    def tangent(self, direction: bilevel.State) -> Tensor:
        return self.engine.all_gather(self.part.tangent(direction), self.n)


class DataParallelEngine(Engine):
    """The processes of a run, in the place of `Engine`: this one's rank, and what they do
    together."""

    def __init__(self):
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self._synced: dict[nn.Module, nn.Module] = {}

    def shard(self, count: int) -> slice:
        """Which of a batch's rows are this process's."""
        return slice(
            count * self.rank // self.world_size, count * (self.rank + 1) // self.world_size
        )

    def forward(
        self, model: nn.Module, params, buffers, x: Tensor, keep: bool = True
    ) -> ShardedPass:
        part = bilevel.forward(
            self.with_synced_batch_norm(model), params, buffers, x[self.shard(len(x))], keep
        )
        return ShardedPass(self, part, len(x))

    def with_synced_batch_norm(self, model: nn.Module) -> nn.Module:
        """The network's structure, with batch norm over all processes' parts."""
        if model not in self._synced:
            synced = copy.deepcopy(model)
            for module in synced.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.__class__ = SyncedBatchNorm
            self._synced[model] = synced
        self._synced[model].train(model.training)
        return self._synced[model]

    def all_gather(self, part: Tensor, count: int) -> Tensor:
        """(n_r, …) of every process → (n, …)."""
        whole = part.new_zeros(count, *part.shape[1:])
        whole[self.shard(count)] = part
        return self.all_reduce(whole)

    def all_reduce_gradient(self, gradient: bilevel.State) -> bilevel.State:
        """Over the processes, in one message."""
        flat = self.all_reduce(torch.cat([value.reshape(-1) for value in gradient.values()]))
        parts = flat.split([value.numel() for value in gradient.values()])
        return {
            name: part.view_as(value)
            for (name, value), part in zip(gradient.items(), parts, strict=True)
        }

    def all_reduce(self, value: Tensor) -> Tensor:
        """`value`, summed over the processes in place."""
        return all_reduce(value)

    def broadcast(self, value: int) -> int:
        """Rank 0's value."""
        there = torch.tensor(value, device="cuda" if dist.get_backend() == "nccl" else "cpu")
        with process_lost_on_closed_connection():
            dist.broadcast(there, 0)
            return int(there)

    def check_alike(self, networks: dict[str, nn.Module]) -> None:
        """ProcessLost where a process's networks are no longer those of rank 0."""
        sums = 0
        for network in networks.values():
            for value in network.state_dict().values():
                sums = zlib.crc32(value.contiguous().cpu().numpy().tobytes(), sums)
        different = torch.tensor(int(self.broadcast(sums) != sums), device=value.device)
        if self.all_reduce(different):
            raise ProcessLost(
                "the processes' networks have drifted apart; run them on machines of one kind"
            )


def launched_by_torchrun() -> bool:
    """Whether torchrun has started several processes for this run."""
    return dist.is_torchelastic_launched() and os.environ["WORLD_SIZE"] != "1"


@contextlib.contextmanager
def data_parallel_engine(device: torch.device) -> Iterator[Engine]:
    """This process's engine: a `DataParallelEngine` where torchrun has started several, each on its
    own GPU where there are GPUs.

    Raises:
        ValueError: there are fewer GPUs than processes, or a device that processes cannot share.
        ProcessLost: once another process has ended.
    """
    if not launched_by_torchrun():
        yield LOCAL_ENGINE
        return
    if device.type == "cuda":
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise ValueError(
                f"torchrun: {os.environ['LOCAL_WORLD_SIZE']} processes for {there} GPUs; start one "
                "a GPU"
            )
        torch.cuda.set_device(local)
    elif device.type != "cpu":
        raise ValueError(f"device: several processes work on cpu or cuda, not on {device.type}")
    signal.signal(signal.SIGTERM, _end)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield DataParallelEngine()
    except dist.DistError as error:  # NCCL tells late
        raise ProcessLost(LOST) from error
    dist.destroy_process_group()


def _end(*_) -> None:  # what torchrun sends to the others when one has ended
    raise ProcessLost(LOST)


def first_to_report() -> bool:
    """Of an error that ends all processes of a run: whether it is for this one to say so.
    (torchrun's own process keeps the count.)"""
    if not launched_by_torchrun():
        return True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is ending by itself
    with contextlib.suppress(RuntimeError):
        store, _, _ = next(dist.rendezvous("env://"))
        return store.add("gdwlib: told", 1) == 1
    return True
