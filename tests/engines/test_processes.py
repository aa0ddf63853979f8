"""One run over several processes: the numbers of one, and what happens when one is lost."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

import gdwlib
from gdwlib.engines.collective import ProcessLost
from gdwlib.engines.processes import DataParallelEngine
from gdwlib.methods import METHODS, Batch, MethodContext
from gdwlib.runs.run_folder import RunFolder

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


def steps(
    method: str, norm: str, engine=None, count: int = 3, last: int | None = None
) -> list[torch.Tensor]:
    """Everything a method's steps leave and report, float64."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(count, N, 3, 6, 6, generator=draw, dtype=torch.float64)
    x_meta = torch.randn(count, M, 3, 6, 6, generator=draw, dtype=torch.float64)
    y, y_meta = (torch.randint(C, (count, size), generator=draw) for size in (N, M))
    model = network(norm)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    context = MethodContext(C, y.flatten(), x_meta[0], y_meta[0], 0.4, lambda: network(norm))
    own = {"gen_label_warm_up": 0.0, "gen_label_lr": 10.0} if method == "gen_label" else {}
    config = gdwlib.RunConfig(method=method, preset="smoke", epochs=1, **own)
    learnt = METHODS[method](model, optimizer, context, config.settings, config.learning_rates)
    learnt.start_epoch(0)
    if method == "glc":
        learnt.start_epoch(1)
    for learner in learnt.learners:
        learner.engine = engine or learner.engine
    outcomes = []
    for step in range(count):
        size = last if last is not None and step == count - 1 else N
        index = torch.arange(size) + step * N
        outcome = learnt.step(
            Batch(x[step, :size], y[step, :size], x_meta[step], y_meta[step], index)
        )
        outcomes += [value for value in vars(outcome).values() if value is not None]
    state = [value for learner in learnt.learners for value in learner.model.state_dict().values()]
    if "weight_net" in learnt.networks():
        state += [*learnt.networks()["weight_net"].state_dict().values()]
    return [value.double() for value in (*outcomes, *state)]


CASES = [
    *((method, norm, None) for method in METHODS for norm in ("group", "batch")),
    ("gdw", "plain", None),
    ("gdw", "average", None),
    ("gdw", "batch", 3),
    ("gdw", "average", 1),
    ("base", "group", 1),
]


def take_part(rank: int, port: int, results) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    team = DataParallelEngine()
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


@pytest.mark.parametrize(
    "case", range(len(CASES)), ids=["-".join(map(str, case)) for case in CASES]
)
def test_two_processes_give_the_numbers_of_one(shared, case):
    method, norm, last = CASES[case]
    alone = steps(method, norm, last=last)
    assert len(shared[case]) == len(alone)
    for mine, whole in zip(shared[case], alone, strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-10, atol=1e-10)


RUN = [
    "--method",
    "gdw",
    "--noise",
    "uniform",
    "--noise-ratio",
    "0.6",
    "--preset",
    "smoke",
    "--precision",
    "float64",
]


def torchrun(*flags: str, outputs: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
    ]
    command += ["-m", "gdwlib", "run", *RUN, *flags, "--outputs", str(outputs)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def rank_of(outputs: Path, rank: int) -> int:
    """The process of a run of that rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(outputs) in (folder / "cmdline").read_text() and f"\0RANK={rank}\0" in (
                folder / "environ"
            ).read_text(errors="replace"):
                return int(folder.name)
        except OSError:
            pass
    raise AssertionError(f"no process of rank {rank}")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    config = gdwlib.RunConfig(
        method="gdw",
        noise="uniform",
        noise_ratio=0.6,
        preset="smoke",
        precision="float64",
        epochs=4,
    )
    return gdwlib.run(config, outputs=tmp_path_factory.mktemp("alone"), progress=False)


@pytest.mark.ci
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_with_one_line_and_the_same_command_goes_on(
    tmp_path, alone, rank
):
    job = torchrun("--epochs", "4", outputs=tmp_path)
    told = []
    for line in job.stderr:
        told.append(line)
        if "epoch 1/4" in line:
            os.kill(rank_of(tmp_path, rank), signal.SIGKILL)
            break
    told += job.communicate(timeout=60)[1].splitlines(keepends=True)
    assert job.returncode != 0
    ours = [line for line in told if line.startswith("gdwlib run:")]
    assert ours == [
        "gdwlib run: a process of this run has ended; finished epochs are kept, and "
        "the same command goes "
        "on from there\n"
    ], "".join(told)
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "checkpoint.pt").exists() and not (folder / "result.json").exists()

    again = torchrun("--epochs", "4", outputs=tmp_path)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0 and err.count("resuming after epoch") == 1, err
    assert out.count("test accuracy:") == 1  # one of them speaks
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(metrics) == 4
    for mine, whole in zip(metrics, alone.metrics, strict=True):
        assert (
            mine["test_accuracy"] == whole["test_accuracy"]
            and mine["increased"] == whole["increased"]
        )
        for name in ("train_loss", "meta_loss", "clean_weight"):
            assert mine[name] == pytest.approx(whole[name], rel=1e-10)
    assert json.loads((folder / "config.json").read_text())["environment"]["processes"] == 2


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--noise-ratio", "2"], "noise_ratio: must be in [0, 1]"),
        pytest.param(
            ["--replicas", "2"], "--replicas: of a run in one process alone", marks=pytest.mark.ci
        ),
        pytest.param(["--wait"], "--wait: of a run in one process alone", marks=pytest.mark.ci),
    ],
)
def test_what_is_wrong_is_said_once(tmp_path, flags, message):
    job = torchrun(*flags, outputs=tmp_path)
    err = job.communicate(timeout=60)[1]
    assert job.returncode != 0 and err.count(message) == 1, err


def test_a_run_that_another_has_is_refused_once(tmp_path):
    config = gdwlib.RunConfig(
        method="gdw", noise="uniform", noise_ratio=0.6, preset="smoke", precision="float64"
    )
    with RunFolder(tmp_path, config).locked():
        err = torchrun(outputs=tmp_path).communicate(timeout=60)[1]
    assert (
        err.count("gdwlib run:") == err.count("is training this run; wait for it or stop it") == 1
    ), err


def test_networks_that_drift_apart_end_the_run(monkeypatch):
    """As on machines of different kinds, whose sums differ in the last bits."""
    team = object.__new__(DataParallelEngine)
    monkeypatch.setattr(DataParallelEngine, "broadcast", lambda self, value: value + 1)
    monkeypatch.setattr(DataParallelEngine, "all_reduce", lambda self, value: value)
    with pytest.raises(ProcessLost, match="drifted apart"):
        team.check_alike({"model": network("group")})
    monkeypatch.setattr(DataParallelEngine, "broadcast", lambda self, value: value)
    team.check_alike({"model": network("group")})
