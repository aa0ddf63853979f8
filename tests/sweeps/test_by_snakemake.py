"""Sweeps by Snakemake: killed, doubled, with damaged records and runs that fail; and who gets which
GPU."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import gdwlib
from gdwlib.cli.main import main
from gdwlib.engines import devices
from gdwlib.runs.folders import Folders
from gdwlib.runs.run_folder import RunFolder
from gdwlib.sweeps import by_snakemake
from gdwlib.sweeps.run_lists import to_line

pytest.importorskip("snakemake")

RUNS = [
    gdwlib.RunConfig(preset="smoke", method=method, seed=seed, noise="uniform", noise_ratio=0.6)
    for seed in range(2)
    for method in ("base", "gdw")
]


def a_list(folder: Path, runs=RUNS) -> Path:
    file = folder / "mine.jsonl"
    file.write_text("".join(to_line(config) + "\n" for config in runs))
    return file


def start(listed: Path, outputs: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-W", "ignore", "-m", "gdwlib", "sweep", str(listed), "--cores", "2"]
    command += ["--outputs", str(outputs), *more]
    # pytest's own shell may have SIGINT ignored, which a child would inherit
    restore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, **restore
    )


def result(outputs: Path, config) -> Path:
    return RunFolder(outputs, config).path / "result.json"


def trained(outputs: Path, config) -> int:
    """How often a run's first epoch was trained."""
    return len(
        re.findall("epoch 1/2", (outputs / "sweeps" / "logs" / f"{config.run_id}.log").read_text())
    )


def session(leader: int) -> list[int]:
    """Everything that a sweep has started, itself included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # state, parent, group, session
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(folder.name))
        except OSError:  # it has ended
            pass
    return found


@pytest.mark.ci
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_sweep_goes_on_with_exactly_what_is_missing(tmp_path, how):
    listed = a_list(tmp_path)
    sweep = start(listed, tmp_path)
    for line in sweep.stderr:
        if line.startswith("[2/4]"):
            break
    if how == signal.SIGKILL:  # of everything, as in a power cut
        while pids := session(sweep.pid):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
    else:  # it tells the others itself
        sweep.send_signal(how)
    sweep.communicate(timeout=120)
    assert sweep.returncode == (-9 if how == signal.SIGKILL else 130)
    assert not session(sweep.pid)
    done = {
        config: result(tmp_path, config).stat().st_mtime_ns
        for config in RUNS
        if result(tmp_path, config).exists()
    }
    assert 2 <= len(done) < len(RUNS)

    again = start(listed, tmp_path)
    told = again.communicate(timeout=300)[1]
    assert again.returncode == 0 and f"4 runs, {4 - len(done)} missing" in told
    assert f"{4 - len(done)} finished" in told and "0 failed" in told
    for config in RUNS:
        assert RunFolder(tmp_path, config).load()[0] is not None
        assert done.get(config) in (None, result(tmp_path, config).stat().st_mtime_ns)
    # one page for the table, one for all runs, one figure, and the report that holds them
    (report,) = (
        file.read_text()
        for file in (tmp_path / "sweeps").glob("*.html")
        if "-runs" not in file.name
    )
    assert "table2-fashion-smoke" in report and "snakemake" in report.lower()
    table = (tmp_path / "tables" / "table2-fashion-smoke.html").read_text()
    assert "GDW" in table and "± " in table
    assert (tmp_path / "figures" / "table2-fashion-smoke.png").stat().st_size > 10_000


@pytest.mark.ci
def test_two_sweeps_at_once_train_nothing_twice(tmp_path):
    listed = a_list(tmp_path)
    sweeps = [start(listed, tmp_path) for _ in range(2)]
    told = [sweep.communicate(timeout=300)[1] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], told
    assert [trained(tmp_path, config) for config in RUNS] == [1] * 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of two runs and one that diverges, over a damaged record of the first."""
    outputs = tmp_path_factory.mktemp("finished")
    diverging = gdwlib.RunConfig(preset="smoke", method="base", lr=1e30)
    gdwlib.run(RUNS[0], outputs=outputs, progress=False)
    (RunFolder(outputs, RUNS[0]).path / "examples.npz").write_bytes(b"altered")
    sweep = start(a_list(outputs, [*RUNS[:2], diverging]), outputs)
    told = sweep.communicate(timeout=300)[1]
    return outputs, sweep.returncode, told, diverging


def test_a_sweep_says_at_once_what_it_waits_for(tmp_path):
    folders, said = Folders.named(tmp_path), []
    sweep = by_snakemake.Sweep(
        by_snakemake.write_list(RUNS, "mine", tmp_path), list(RUNS), folders, [], said.append
    )
    sweep._say_what_others_train()
    assert not said and not any(RunFolder(tmp_path, config).path.exists() for config in RUNS)
    with RunFolder(tmp_path, RUNS[1]).locked():
        sweep._say_what_others_train()
    assert said[0].startswith("1 of them are being trained by other processes")
    assert said[1:] == [f"    {RUNS[1].run_id}: process {os.getpid()} on {socket.gethostname()}"]
    assert RunFolder(tmp_path, RUNS[1]).trained_by() is None


def test_a_failed_run_is_told_and_the_others_are_shown(finished):
    outputs, status, told, diverging = finished
    assert status == 1
    assert "1 failed: model: NaN or infinite logits on x; has training diverged?" in told
    assert f"    {diverging.run_id}" in told and "2 finished" in told
    assert "gdwlib sweep: 1 runs failed, see above; the same command tries them again" in told
    assert "examples.npz: altered or half-written; computing it again" in told
    assert all(RunFolder(outputs, config).load()[0] is not None for config in RUNS[:2])
    assert "fashion-base-uniform0.6" in next((outputs / "sweeps").glob("*-runs.html")).read_text()


def test_a_changed_rule_trains_nothing_again(finished, tmp_path):
    outputs = finished[0]
    root = by_snakemake.SNAKEFILE.parent
    text = by_snakemake.SNAKEFILE.read_text()
    (tmp_path / "Snakefile").write_text(text.replace("-m gdwlib run", "-W ignore -m gdwlib run"))
    shutil.copytree(root / "profiles", tmp_path / "profiles")
    listed = a_list(outputs, RUNS[:2]).relative_to(outputs)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(tmp_path / "Snakefile"),
        "--cores",
        "1",
    ]
    command += ["--directory", str(outputs), "--config", f"runs={listed}", "outputs=.", "--dry-run"]
    plan = subprocess.run(command, capture_output=True, text=True)
    assert plan.returncode == 0, plan.stderr
    planned = set(re.findall("^rule (\\w+):", plan.stdout + plan.stderr, re.M))
    assert "train" not in planned and "localrule train" not in plan.stderr
    result(outputs, RUNS[0]).rename(outputs / "aside")  # the plan can say otherwise
    try:
        plan = subprocess.run(command, capture_output=True, text=True)
        assert re.search(r"rule train:\n.*" + RUNS[0].run_id, plan.stdout + plan.stderr)
    finally:
        (outputs / "aside").rename(result(outputs, RUNS[0]))


def test_a_table_of_a_list(finished, capsys):
    outputs = finished[0]
    listed = a_list(outputs, RUNS)
    assert main(["table", str(listed), "--outputs", str(outputs), "--save"]) == 0
    told = capsys.readouterr().out
    accuracy = gdwlib.run(RUNS[0], outputs=outputs).final_accuracy
    assert (
        f"{accuracy:.2f}" in told and "mine-runs.html" in told and "fashion-gdw-uniform0.6" in told
    )


def test_what_snakemake_says_is_passed_on(tmp_path, capsys):
    command = [
        "sweep",
        str(a_list(tmp_path)),
        "--cores",
        "1",
        "--outputs",
        str(tmp_path),
        "--",
        "--no-such-thing",
    ]
    assert main(command) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        error.startswith("gdwlib sweep: Snakemake stopped: ")
        and "--no-such-thing" in error
        and ".log" in error
    )


def test_without_snakemake_it_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(by_snakemake.importlib.util, "find_spec", lambda name: None)
    assert main(["sweep", str(a_list(tmp_path)), "--cores", "1", "--outputs", str(tmp_path)]) == 1
    assert "pip install 'gdwlib[sweep]'" in capsys.readouterr().err


def test_a_run_may_wait_for_another_process(tmp_path):
    """And takes its record, or its place where it has given up."""
    config = RUNS[0]
    other = RunFolder(tmp_path, config)
    answers, held, let_go = [], threading.Event(), threading.Event()

    def hold():
        with other.locked():
            held.set()
            let_go.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with pytest.raises(gdwlib.RecordError, match="is training this run"):
        gdwlib.run(config, outputs=tmp_path, progress=False)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "gdwlib",
        "run",
        "--wait",
        "--outputs",
        str(tmp_path),
    ]
    line = json.loads(to_line(config))
    for name in ("preset", "method", "noise", "noise_ratio"):
        command += [f"--{name.replace('_', '-')}", str(line[name])]
    waiting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    answers.append(waiting.stderr.readline())
    assert "is training this run; waiting for it" in answers[0] and not other.load()[0]
    let_go.set()
    holder.join()
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 0 and other.load()[0] is not None, said


def test_each_gpu_is_used_before_one_is_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "gpu_names", lambda: ["one", "two"])
    monkeypatch.setattr(devices, "POLL", 0.01)
    chosen, said = [], []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    taken = [devices.gpu_slot(2, said.append, tmp_path) for _ in range(4)]
    assert [place.__enter__() for place in taken] == [0, 1, 0, 1] == chosen
    assert not said
    got = []

    def fifth():
        with devices.gpu_slot(2, said.append, tmp_path) as index:
            got.append(index)

    waiting = threading.Thread(target=fifth)
    waiting.start()
    time.sleep(0.3)
    assert not got and said == ["all 4 places on 2 GPUs are taken; waiting for one"]
    taken[1].__exit__(None, None, None)
    waiting.join(10)
    assert got == [1]
    taken[3].__exit__(None, None, None)  # both on the first GPU now
    with devices.gpu_slot(3, said.append, tmp_path) as index:
        assert index == 1
    for place in (taken[0], taken[2]):
        place.__exit__(None, None, None)


def test_runs_that_a_killed_snakemake_leaves_behind_have_not_failed(tmp_path):
    said = []
    logs = tmp_path / "sweeps" / "logs"
    logs.mkdir(parents=True)
    listed = by_snakemake.write_list(RUNS, "mine", tmp_path)
    folders = Folders(tmp_path, tmp_path)
    sweep = by_snakemake.Sweep(listed, RUNS, folders, ["--cores", "2"], said.append)
    said_by = ("fashion base seed 0: epoch 1/2", "gdwlib run: training diverged", "\n")
    for config, words in zip(RUNS, said_by, strict=False):  # the fourth was not begun
        (logs / f"{config.run_id}.log").write_text(words)
    with RunFolder(tmp_path, RUNS[0]).locked():
        failed, waiting = sweep._failures(RUNS, killed=True)
        assert failed == {"training diverged": [RUNS[1].run_id]} and waiting == 3
        assert len(said) == 1 and f"{os.getpid()} on" in said[0] and "still training" in said[0]
    failed, waiting = sweep._failures(RUNS, killed=False)
    assert sum(map(len, failed.values())) == 3 and waiting == 1
