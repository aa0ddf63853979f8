"""The step: time, memory and operations of plain SGD, of every method, and of GDW by double
backward."""

import copy
import dataclasses
import statistics
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

import gdwlib
from gdwlib.bench.second_order import SecondOrderGDW
from gdwlib.bench.setting import Setting, method, ratios, sgd, timed
from gdwlib.engines.capture import Captured, CudaGraph
from gdwlib.methods import METHODS, Batch
from gdwlib.models import WeightNet
from gdwlib.runs.config import PRECISIONS

PLAIN, SECOND_ORDER, PUBLISHED, SAVING = (
    "plain SGD",
    "gdw, double backward",
    "gdw, as published",
    "gdw, save_memory",
)
CAPTURED = "gdw, CUDA graph"
STEPS = (*METHODS, SAVING, SECOND_ORDER, PUBLISHED)  # what can be timed beside plain SGD


def contestants(setting: Setting, names: list[str]) -> dict[str, Callable[[Batch], object]]:
    """name → step(batch), each on its own copy of one network: plain SGD, the methods, GDW in less
    memory and by double backward, without and with what the published code does besides."""
    torch.manual_seed(0)
    model = setting.model()
    plain = copy.deepcopy(model)
    optimizer = sgd(plain)

    def plain_step(batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(plain(batch.x), batch.y).backward()
        optimizer.step()

    def second_order(wasteful: bool) -> Callable[[Batch], object]:
        network = copy.deepcopy(model)
        weight_net = WeightNet().to(setting.device, PRECISIONS[setting.precision])
        adam = torch.optim.Adam(weight_net.parameters(), 1e-3, weight_decay=1e-4)
        slow = SecondOrderGDW(
            network, sgd(network), setting.num_classes, weight_net, adam, wasteful=wasteful
        )
        return lambda batch: slow.step(*batch[:4])

    def saving() -> Callable[[Batch], object]:
        network = copy.deepcopy(model)
        gdw = gdwlib.GDW(network, sgd(network), setting.num_classes, save_memory=True)
        return lambda batch: gdw.step(*batch[:4])

    steps: dict[str, Callable[[Batch], object]] = {PLAIN: plain_step}
    if setting.device == "cuda" and "gdw" in names:
        steps[CAPTURED] = Captured(method(setting, "gdw", copy.deepcopy(model)).step, CudaGraph())
    for name in names:
        if name == SECOND_ORDER or name == PUBLISHED:
            steps[name] = second_order(wasteful=name == PUBLISHED)
        else:
            steps[name] = (
                saving() if name == SAVING else method(setting, name, copy.deepcopy(model)).step
            )
    return steps


def measure_steps(
    setting: Setting, names: list[str], rounds: int, say: Callable[[str], None]
) -> list[dict]:
    """A row for each contestant: median seconds, images per second, ratios to plain SGD (median and
    quartiles of the rounds) in time, peak memory (MiB) and operations (of convolutions and matrix
    products)."""
    steps, batch = contestants(setting, names), setting.batch()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds + 2):  # two to warm up
        for name, step in steps.items():
            taken = timed(setting, partial(step, batch))
            if round_ >= 2:
                seconds[name].append(taken)
        say(
            f"depth {setting.depth}, C = {setting.num_classes}, n = {setting.batch_size}: round "
            f"{round_ + 1} of {rounds + 2}"
        )
    rows = []
    for name, step in steps.items():
        with FlopCounterMode(display=False) as operations:
            # a replay is not seen by the counter
            (steps["gdw"] if name == CAPTURED else step)(batch)
        rows.append(
            {
                "step": name,
                "seconds": statistics.median(seconds[name]),
                "images_per_second": setting.batch_size / statistics.median(seconds[name]),
                "peak_mib": peak_memory(setting, partial(step, batch)) / 2**20,
                "operations": operations.get_total_flops(),
                **ratios("time", seconds[name], seconds[PLAIN]),
                **(ratios("time_of_second_order", seconds[name], seconds.get(SECOND_ORDER))),
                **(ratios("time_of_mwnet", seconds[name], seconds.get("mwnet"))),
            }
        )
    for row in rows:
        row |= {f"{what}_ratio": row[what] / rows[0][what] for what in ("peak_mib", "operations")}
        if row["step"] == CAPTURED:  # its memory was taken at the recording
            row |= dict.fromkeys(("peak_mib", "peak_mib_ratio"), float("nan"))
    return rows


class LiveBytes(TorchDispatchMode):
    """The most bytes that tensors made within held at one moment."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.alive: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.alive:
                    self.alive.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return out

    def _freed(self, key: int, size: int) -> None:
        self.alive.discard(key)
        self.now -= size


def peak_memory(setting: Setting, step: Callable[[], object]) -> int:
    """Bytes a step holds at its peak beyond what stays: on CUDA by the allocator, elsewhere of its
    tensors."""
    if setting.device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with LiveBytes() as live:
        step()
    return live.peak


def measure_growth(setting: Setting, rounds: int, say: Callable[[str], None]) -> list[dict]:
    """GDW and MWNet beside plain SGD, with one of classes, batch and depth changed at a time."""
    changes: list[dict[str, Any]] = [
        *({"num_classes": value} for value in (10, 100, 1000)),
        *({"batch_size": value} for value in (25, 50, 200)),
        *({"depth": value} for value in (8, 20, 56)),
    ]
    rows = []
    for change in changes:
        own = dataclasses.replace(setting, **change)
        settings = {
            "depth": own.depth,
            "num_classes": own.num_classes,
            "batch_size": own.batch_size,
        }
        rows += [settings | row for row in measure_steps(own, ["mwnet", "gdw"], rounds, say)]
    return rows
