"""Which runs, in what order, and within what time."""

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import gdwlib
from gdwlib.cli.main import main
from gdwlib.companion.evidence import RepeatedRun
from gdwlib.companion.tables import table_configs
from gdwlib.methods import METHODS, NAMES
from gdwlib.runs import training
from gdwlib.runs.folders import Folders, project_folder
from gdwlib.runs.run_folder import RunFolder
from gdwlib.sweeps import campaigns, run_lists
from gdwlib.sweeps import in_process as sweeps
from gdwlib.sweeps.campaigns import CAMPAIGNS


def campaign(preset="smoke", datasets=("fashion",), methods=METHODS, seeds=range(5)):
    return campaigns.table_runs(preset, datasets, methods, seeds)


def test_the_paper_campaign_starts_with_what_decides_most():
    runs = campaign("paper", ("cifar10", "cifar100"))
    assert len({config.run_id for config in runs}) == len(runs)
    first = [(c.method, c.noise, c.noise_ratio, c.imbalance, c.seed, c.dataset) for c in runs]
    for place, (noise, ratio, mu) in enumerate(
        [
            ("uniform", 0.4, 1.0),
            ("uniform", 0.6, 1.0),
            ("flip", 0.4, 1.0),
            ("flip", 0.2, 1.0),
            ("none", 0.0, 0.01),
            ("none", 0.0, 0.1),
            ("none", 0.0, 1.0),
        ]
    ):
        expected = [(method, noise, ratio, mu, 0, "cifar10") for method in ("gdw", "mwnet", "base")]
        assert first[3 * place : 3 * place + 3] == expected
    assert not runs[21].zero_mean
    assert (
        runs[22].seed == 1
        and runs[5 * 22].dataset == "cifar100"
        and runs[10 * 22].method not in campaigns.FIRST
    )
    pairs = {(c.method, c.noise != "none", c.imbalance < 1) for c in runs}
    assert ("glc", False, True) not in pairs and ("focal", True, False) not in pairs
    assert {c.method for c in runs} == set(METHODS)


def test_the_evidence_is_what_is_committed():
    """Every run behind the notebooks has a record; nothing else is kept but runs at the paper's
    scale and `half`."""
    evidence = campaigns.CAMPAIGNS["evidence"]
    runs = evidence.runs("small", evidence.datasets, METHODS, range(evidence.seeds))
    assert len({config.run_id for config in runs}) == len(runs)
    outputs = project_folder("outputs")
    assert [config.run_id for config in run_lists.missing(runs, outputs)] == []
    assert run_lists.expected_seconds(runs, outputs) > 3600
    large = CAMPAIGNS["paper"].runs("paper", CAMPAIGNS["paper"].datasets, METHODS, range(5))
    large += CAMPAIGNS["half"].runs("half", CAMPAIGNS["half"].datasets, METHODS, range(3))
    more = {path.name for path in outputs.glob("runs/*")} - {config.run_id for config in runs}
    assert more <= {config.run_id for config in large}


def test_half_is_the_papers_setting_but_for_the_pixels(capsys, tmp_path):
    """The runs are listed seed by seed, what decides most first; `sweep half` needs no --preset."""
    assert main(["sweep", "half", "--list", "--outputs", str(tmp_path)]) == 0
    listed = capsys.readouterr().out.split()
    runs = CAMPAIGNS["half"].runs("half", ("cifar10",), METHODS, range(3))
    assert listed == [config.run_id for config in runs] and len(set(listed)) == 41
    for config in runs:
        paper_runs = gdwlib.RunConfig(
            **{
                f.name: getattr(config, f.name)
                for f in dataclasses.fields(config)
                if f.name not in ("preset", "pool")
            },
            preset="paper",
        )
        assert (config.pool, paper_runs.pool) == (2, 1) and dataclasses.replace(
            paper_runs, pool=2, preset="half"
        ) == config
    first = [(c.seed, c.noise, c.method) for c in runs[:18]]
    methods = ("gdw", "mwnet", "base")
    assert first == [
        (seed, noise, name)
        for seed in range(3)
        for noise in ("uniform", "flip")
        for name in methods
    ]
    assert {c.imbalance for c in runs[18:33]} == {0.01} and {c.seed for c in runs[33:]} == {0}


def test_the_paper_is_its_tables_and_its_appendices():
    of = {
        name: campaign.runs("paper", campaign.datasets, NAMES, range(5))
        for name, campaign in CAMPAIGNS.items()
    }
    assert len(of["paper"]) == len(set(of["paper"])) == 1015
    assert of["paper"] == of["tables"] + of["appendices"]
    variants = {
        config
        for config in of["tables"]
        if config.meta_overlap or not getattr(config, "zero_mean", True)
    }
    assert set(of["table2"]) | set(of["table3"]) | set(of["table4"]) == set(of["tables"]) - variants
    assert len(variants) == 2 * 5  # of GDW, without Eq. 4: both data sets, five seeds
    for number in (2, 3, 4):  # every cell that `table N` shows
        cells = table_configs(number, "cifar10", "paper", seeds=range(5))
        assert set(cells) <= set(of[f"table{number}"] + of["appendices"])


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_list_of_runs_is_read_as_it_was_written(tmp_path, name):
    campaign, file = CAMPAIGNS[name], tmp_path / "runs.jsonl"
    runs = campaign.runs("small", campaign.datasets, METHODS, range(2))
    file.write_text("\n".join(map(run_lists.to_line, runs)))
    assert run_lists.read_runs(file) == runs
    assert all(
        json.loads(line).keys() >= {"run_id", "dataset", "method", "seed"}
        for line in file.read_text().splitlines()
    )


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"method": "gwd"}', "line 2: method: unknown value 'gwd'; did you mean 'gdw'?"),
        ('{"metod": "gdw"}', "line 2: RunConfig has no field 'metod'; did you mean 'method'?"),
        ("[1]", "line 2: "),
        ("gdw", "line 2: Expecting value"),
        ('{"run_id": "fashion-gdw-small-s0-0123456789"}', "is now fashion-gdw-small-s0-"),
    ],
)
def test_a_line_that_is_no_run_is_named(tmp_path, line, message):
    (tmp_path / "runs.jsonl").write_text(f'{{"preset": "smoke"}}\n{line}\n')
    with pytest.raises(ValueError) as error:
        run_lists.read_runs(tmp_path / "runs.jsonl")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [{"weight_decay": 5e-4}, {"epochs": 3}, {"lr": 0.2}, {"focal_gamma": 2.0}, {"device": "cpu"}],
)
def test_a_line_tells_what_differs_from_preset_and_recipe(tmp_path, fields):
    """Also where it is the default again, as the weight decay and γ, which this recipe has
    changed."""
    config = gdwlib.RunConfig(method="focal", recipe="authors", preset="paper", imbalance=0.1)
    config = dataclasses.replace(config, **fields)
    (tmp_path / "runs.jsonl").write_text(run_lists.to_line(config))
    assert run_lists.read_runs(tmp_path / "runs.jsonl") == [config]


def test_a_campaign_of_nothing_is_an_error(tmp_path, capsys):
    assert main(["sweep", "evidence", "--datasets", "cifar100", "--outputs", str(tmp_path)]) == 1
    assert "no such runs among the evidence" in capsys.readouterr().err


@pytest.mark.ci
def test_a_leased_machine_goes_on_where_the_last_one_stopped(tmp_path):
    """Nothing but the kept folder passes from one to the other; the first machine is called back
    before its time."""
    script = project_folder("profiles") / "leased-gpu.sh"
    flags = ["--preset", "smoke", "--datasets", "fashion", "--methods", "mwnet", "--seeds", "1"]
    there = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
    }
    runs = {c.run_id for c in CAMPAIGNS["paper"].runs("smoke", ["fashion"], ["mwnet"], range(1))}
    kept, told = tmp_path / "kept", []
    for machine in ("one", "another"):
        environment = os.environ | there | {"WORK": str(tmp_path / machine)}
        command = ["bash", script, "5", "2", kept, *flags]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            while machine == "one" and process.poll() is None:
                if any((tmp_path / machine / "runs").glob("*-smoke-*/result.json")):
                    process.terminate()
                    break
                time.sleep(0.02)
            told.append(process.communicate()[0].splitlines()[-1])
        assert process.returncode == 0
    first = int(told[0].split()[0])
    assert 0 < first < len(runs) and told[1].startswith(f"{len(runs)} runs finished, 0 unfinished")
    assert [path.name for path in kept.iterdir()] == ["records.tgz.00"]
    with tarfile.open(kept / "records.tgz.00") as archive:
        names = {name.split("/")[1] for name in archive.getnames() if name.endswith("/result.json")}
    assert names == runs
    before = {
        p.parent.name: p.stat().st_mtime for p in (tmp_path / "one").glob("runs/*/result.json")
    }
    again = {
        name: (tmp_path / "another" / "runs" / name / "result.json").stat().st_mtime
        for name in before
    }
    # kept, not trained again
    assert all(int(again[name]) == int(before[name]) for name in set(before) & runs)


def test_runs_trained_twice_are_compared(tmp_path, capsys):
    command = [
        "sweep",
        "evidence",
        "--preset",
        "smoke",
        "--datasets",
        "fashion",
        "--methods",
        "class_balanced",
    ]
    once, again = str(tmp_path / "once"), str(tmp_path / "again")
    runs = campaigns.evidence_runs("smoke", ["fashion"], ["class_balanced"], range(1))
    assert len(runs) == 7  # clean, two kinds of noise, two μ by two recipes
    assert main([*command, "--seeds", "1", "--outputs", once]) == 0
    assert main(["compare", again, "--outputs", once]) == 1
    assert "no complete record" in capsys.readouterr().err
    assert main(["compare", once, "--outputs", once]) == 1
    assert "is the folder to compare with" in capsys.readouterr().err
    shutil.copytree(once, again)
    assert main(["compare", again, "--outputs", once]) == 0
    assert "7 runs trained twice: 7 equal bit for bit" in capsys.readouterr().out
    shutil.rmtree(RunFolder(tmp_path / "again", runs[1]).path)
    folder = RunFolder(tmp_path / "again", runs[0])
    record = folder.load()[0]
    examples = record.examples
    shutil.rmtree(folder.path)
    # not in both
    other = gdwlib.run(dataclasses.replace(runs[0], seed=1), outputs=again, progress=False)
    with folder.locked():
        folder.write_json("config.json", {"config": vars(runs[0]), "environment": {}})
        metrics = [line | {"seconds": 99.0} for line in record.metrics]
        metrics[-1]["test_accuracy"] += 2
        folder.complete(metrics, examples, {"model": torch.nn.Linear(1, 1)}, {})
    untested = dataclasses.replace(record, result=record.result | {"final_accuracy": None})
    assert RepeatedRun(runs[0].run_id, False, untested, untested).gap is None
    assert main(["compare", again, "--outputs", once]) == 0
    told = capsys.readouterr().out
    assert (
        "6 runs trained twice: 5 equal" in told
        and "1 records of" in told
        and f"{runs[0].run_id}: " in told
        and "(+1.00)" in told
    )
    assert "differ by 1.00 points at most, +1.00 on average" in told and other.path.name not in told


def test_groups_are_of_seeds_and_keep_the_order():
    runs = campaign(methods=["gdw", "base"], seeds=range(5))
    groups = sweeps.group_seeds(runs, 2)
    assert sorted(c.run_id for group in groups for c in group) == sorted(c.run_id for c in runs)
    assert [config.seed for config in groups[0]] == [0, 1] and groups[0][0] == runs[0]
    assert {len(group) for group in groups} == {1, 2}
    assert sweeps.group_seeds(runs, 1) == [[config] for config in runs]


@pytest.mark.parametrize("text, seconds", [("90", 90), ("90s", 90), ("9m", 540), ("1.5h", 5400)])
def test_budgets(text, seconds):
    assert sweeps.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1m", "9 minutes", "1d", "m"])
def test_budgets_that_are_none(text):
    with pytest.raises(ValueError, match="--budget"):
        sweeps.seconds_of(text)


def told_by(monkeypatch, tick):
    """Have runs and sweeps look at this clock, the one of the day and the one nobody sets alike."""
    clock = SimpleNamespace(time=tick, monotonic=tick, perf_counter=time.perf_counter)
    for module in (training, sweeps):
        monkeypatch.setattr(module, "time", clock)


def test_a_run_stops_in_time_and_goes_on_with_the_same_numbers(tmp_path, monkeypatch):
    """The clock is told here by the number of times it was looked at: once a step and once an
    epoch."""
    config = gdwlib.RunConfig(preset="smoke", method="base")
    whole = gdwlib.run(config, outputs=tmp_path / "whole", progress=False)
    ticks = itertools.count()
    told_by(monkeypatch, lambda: next(ticks))
    with pytest.raises(gdwlib.OutOfTime, match=r"after epoch 1 of 2|during epoch 2 of 2"):
        gdwlib.run(config, outputs=tmp_path, progress=False, until=9.5)
    monkeypatch.undo()
    folder = RunFolder(tmp_path, config)
    assert (
        folder.load()[0] is None
        and len((folder.path / "metrics.jsonl").read_text().splitlines()) == 1
    )
    with pytest.raises(gdwlib.OutOfTime):
        gdwlib.run(config, outputs=tmp_path, progress=False, until=time.time() - 1)
    resumed = gdwlib.run(config, outputs=tmp_path, progress=False)
    for ours, theirs in zip(resumed.metrics, whole.metrics, strict=True):
        assert (
            ours["train_loss"] == theirs["train_loss"]
            and ours["test_accuracy"] == theirs["test_accuracy"]
        )


def test_the_command_trains_what_is_missing_and_stops_in_time(tmp_path, capsys):
    command = [
        "sweep",
        "--preset",
        "smoke",
        "--datasets",
        "fashion",
        "--methods",
        "base",
        "meta_only",
        "--seeds",
        "1",
    ]
    command += ["--outputs", str(tmp_path)]
    runs = campaign(methods=["base", "meta_only"], seeds=range(1))
    assert main([*command, "--list"]) == 0
    assert capsys.readouterr().out.split() == [config.run_id for config in runs]

    start = time.time()
    assert main([*command, "--budget", "2s"]) == 0
    assert time.time() - start < 12
    told = capsys.readouterr().out
    assert "finished" in told or "interrupted" in told
    assert "not begun" in told and not all(RunFolder(tmp_path, config).load()[0] for config in runs)

    done = {config.run_id: RunFolder(tmp_path, config).load()[0] for config in runs}
    stamps = {
        name: (r.path / "result.json").stat().st_mtime_ns
        for name, r in done.items()
        if r is not None
    }
    assert main(command) == 0
    assert f"{len(runs) - len(stamps)} finished" in capsys.readouterr().out
    for config in runs:
        record = RunFolder(tmp_path, config).load()[0]
        assert record is not None
        assert stamps.get(config.run_id) in (None, (record.path / "result.json").stat().st_mtime_ns)
    assert main(command) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_run_that_fails_or_is_taken_does_not_stop_the_others(tmp_path, capsys):
    runs = campaign(methods=["base"], seeds=range(1))[:2]
    broken = gdwlib.RunConfig(preset="smoke", method="base", lr=1e30, seed=7)
    taken = gdwlib.RunConfig(preset="smoke", method="base", seed=8)
    said = []
    with RunFolder(tmp_path, taken).locked():
        counts = sweeps.report_attempts(
            sweeps.sweep([broken, taken, *runs], Folders.named(tmp_path)), 4, said.append
        )
    assert (
        counts["failed"] == 1 and counts["being trained elsewhere"] == 1 and counts["finished"] == 2
    )
    assert "diverged" in said[0] and len(said) == 4


def test_a_budget_that_holds_no_epoch_is_told_soon(tmp_path, monkeypatch):
    """After a few steps, not when the time is up; and nothing else is begun."""
    ticks = itertools.count(0, 100)
    runs = campaign(methods=["base"], seeds=range(1))[:3]
    told_by(monkeypatch, lambda: next(ticks))
    attempts = list(sweeps.sweep(runs, Folders.named(tmp_path), until=1100.0))
    assert [attempt.state for attempt in attempts] == ["interrupted", "not begun", "not begun"]
    assert "an epoch takes about 400 s" in attempts[0].text  # four steps, a look each


def test_a_slow_start_is_not_taken_for_the_pace(tmp_path, monkeypatch):
    """As on a GPU, where the first step loads or records kernels: here it takes 1000 s, each other
    step one."""
    looks = itertools.count()
    # the first six looks are at the times that were given
    told_by(monkeypatch, lambda: k if (k := next(looks)) < 7 else 1000 + k)
    runs = campaign(methods=["base"], seeds=range(1))[:1]
    assert [
        attempt.state for attempt in sweeps.sweep(runs, Folders.named(tmp_path), until=1100.0)
    ] == ["finished"]
    assert next(looks) > 16  # it was looked at once a step


def test_replicas_end_each_on_its_own(tmp_path):
    """One is being trained elsewhere; the others finish, and are told so."""
    runs = [gdwlib.RunConfig(preset="smoke", method="base", seed=seed) for seed in range(3)]
    with RunFolder(tmp_path, runs[1]).locked():
        attempts = list(sweeps.sweep(runs, Folders.named(tmp_path), replicas=3))
    assert [attempt.state for attempt in attempts] == [
        "finished",
        "being trained elsewhere",
        "finished",
    ]
    assert [attempt.config for attempt in attempts] == runs


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--budget", "soon"], "--budget"),
        (["--cores", "-1"], "--cores: must be at least 0"),
        (["papper"], "CAMPAIGN: unknown value 'papper'; did you mean 'paper'?"),
        (["nowhere.jsonl"], "nowhere.jsonl: not a readable list of runs"),
        (["--cores", "2", "--budget", "1h"], "--budget, --replicas: of a sweep in this process"),
        (["--profile", "nowhere"], "--profile nowhere: has no config.yaml"),
        (["--", "--dry-run"], "--dry-run: is for Snakemake"),
        (["--seeds", "0"], "--seeds: must be at least 1"),
        (["--capture", "--replicas", "2"], "--capture: of one run alone"),
        (["--runs-per-gpu", "2", "--replicas", "2"], "--runs-per-gpu: of runs one by one"),
        (["--capture", "--device", "cpu"], "--capture: needs a CUDA device"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, arguments, message):
    assert main(["sweep", "--preset", "smoke", "--outputs", str(tmp_path), *arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_a_sweep_is_limited_to_levels(tmp_path, capsys):
    def listed(*flags):
        command = ["sweep", "table2", "--list", "--datasets", "fashion", "--seeds", "1"]
        assert main([*command, "--outputs", str(tmp_path), *flags]) == 0
        return capsys.readouterr().out.split()

    every = listed()
    assert {
        name.split("-small")[0].split("-", 2)[-1] for name in listed("--noise-ratio", "0.6")
    } == {"uniform0.6"}
    assert listed("--noise", "uniform", "none") == every
    assert len(listed("--noise-ratio", "0.4", "0.6")) + len(listed("--noise", "none")) == len(every)
    assert main(["sweep", "table4", "--imbalance", "0.02", "--list"]) == 1
    assert (
        "--imbalance: table4 has no run with 0.02; did you mean '0.01'?" in capsys.readouterr().err
    )
