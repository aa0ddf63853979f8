"""One run over several processes: the numbers of one, and what happens when one is lost."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import torch.distributed as dist
from torch import nn

import gdwlib
from gdwlib import bilevel, weighting
from gdwlib.data import make_split
from gdwlib.methods import METHODS, Batch, Task
from gdwlib.processes import SyncedBatchNorm, Team

N, M, C = 11, 7, 4  # batches that two processes cannot share evenly


def network(norm: str) -> nn.Module:
    torch.manual_seed(0)
    middle = {
        "group": nn.GroupNorm(2, 6),
        "batch": nn.BatchNorm2d(6),
        "plain": nn.BatchNorm2d(6, affine=False, track_running_stats=False),
        "average": nn.BatchNorm2d(6, momentum=None),
    }[norm]
    layers = nn.Conv2d(3, 6, 3, padding=1), middle, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    last = [nn.BatchNorm1d(24)] if norm == "batch" else []
    return nn.Sequential(*layers, *last, nn.Linear(24, C)).double()


def steps(method: str, norm: str, engine=None, count: int = 3, last: int | None = None) -> list[torch.Tensor]:
    """Everything a method's steps leave and report, float64."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(count, N, 3, 6, 6, generator=draw, dtype=torch.float64)
    x_meta = torch.randn(count, M, 3, 6, 6, generator=draw, dtype=torch.float64)
    y, y_meta = (torch.randint(C, (count, size), generator=draw) for size in (N, M))
    model = network(norm)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    task = Task(C, y.flatten(), x_meta[0], y_meta[0], 0.4, lambda: network(norm))
    config = gdwlib.RunConfig(method=method, preset="smoke", gen_label_warm_up=0.0, gen_label_lr=10.0, epochs=1)
    learnt = METHODS[method](model, optimizer, task, config)
    learnt.start_epoch(0)
    if method == "glc":
        learnt.start_epoch(1)
    for learner in learnt.learners:
        learner.engine = engine or learner.engine
    outcomes = []
    for step in range(count):
        size = last if last is not None and step == count - 1 else N
        index = torch.arange(size) + step * N
        outcome = learnt.step(Batch(x[step, :size], y[step, :size], x_meta[step], y_meta[step], index))
        outcomes += [value for value in vars(outcome).values() if value is not None]
    state = [value for learner in learnt.learners for value in learner.model.state_dict().values()]
    if "weight_net" in learnt.networks():
        state += [*learnt.networks()["weight_net"].state_dict().values()]
    return [value.double() for value in (*outcomes, *state)]


CASES = [
    *((method, norm, None) for method in METHODS for norm in ("group", "batch")),
    ("gdw", "plain", None), ("gdw", "average", None), ("gdw", "batch", 3), ("gdw", "average", 1), ("base", "group", 1),
]  # fmt: skip


def take_part(rank: int, port: int, results) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    team = Team()
    found = [steps(method, norm, team, last=last) for method, norm, last in CASES]
    if rank == 1:  # the process that records nothing has the same numbers
        torch.save(found, results)
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    port, file = 20000 + os.getpid() % 20000, tmp_path_factory.mktemp("shared") / "found.pt"
    torch.multiprocessing.spawn(take_part, (port, file), nprocs=2)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("case", range(len(CASES)), ids=["-".join(map(str, case)) for case in CASES])
def test_two_processes_give_the_numbers_of_one(shared, case):
    method, norm, last = CASES[case]
    alone = steps(method, norm, last=last)
    assert len(shared[case]) == len(alone)
    for mine, whole in zip(shared[case], alone, strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-10, atol=1e-10)
