"""What is committed is judged by what is committed, and the checks that say so do find what is
wrong."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_paper import README, readme_holds

import gdwlib
from gdwlib.companion.evidence import COMMITTED, Evidence, copy_committed
from gdwlib.runs.files import RecordError
from gdwlib.runs.folders import project_folder
from gdwlib.runs.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
SETTING = {"method": "gdw", "noise": "uniform", "noise_ratio": 0.6}  # a cell of the README's table


def test_the_list_is_what_git_has():
    listed = {
        line.split("  ", 1)[1] for line in (ROOT / "outputs" / COMMITTED).read_text().splitlines()
    }
    git = ["git", "-C", str(ROOT / "outputs"), "ls-files", "runs", "figures", "bench"]
    tracked = subprocess.run(git, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("needs the git checkout, this is a copy without it")
    files = set(tracked) - {
        name for name in tracked if name.startswith("runs/") and not name.endswith("/result.json")
    }
    assert listed == files, "make keep RUN=… writes the list again"
    assert {name.split("/")[1] for name in tracked if name.startswith("runs/")} == {
        name.split("/")[1] for name in listed if name.startswith("runs/")
    }


@pytest.fixture
def outputs(tmp_path):
    """The committed outputs/, to which a test may do what a reader does."""
    copied = tmp_path / "outputs"
    shutil.copytree(project_folder("outputs"), copied)
    shutil.copy(ROOT / "outputs" / COMMITTED, copied)
    return copied


def plant(outputs: Path) -> None:
    """A reader's own: a finished run that would change every table it is in, an unfinished and a
    damaged one."""
    committed = RunFolder(outputs, gdwlib.RunConfig(**SETTING)).path
    for seed in (3, 4):
        foreign = RunFolder(outputs, gdwlib.RunConfig(**SETTING, seed=seed))
        shutil.copytree(committed, foreign.path)
        written = json.loads((foreign.path / "config.json").read_text())
        written["config"]["seed"] = seed
        (foreign.path / "config.json").write_text(json.dumps(written))
        result = json.loads((foreign.path / "result.json").read_text())
        result["sha256"]["config.json"] = hashlib.sha256(
            (foreign.path / "config.json").read_bytes()
        ).hexdigest()
        (foreign.path / "result.json").write_text(json.dumps(result))
        assert foreign.load()[0] is not None
    (foreign.path / "examples.npz").write_bytes(b"damaged")
    unfinished = RunFolder(outputs, gdwlib.RunConfig(**SETTING, seed=5)).path
    unfinished.mkdir()
    (unfinished / "checkpoint.pt").write_bytes(b"of the last epoch")
    (outputs / "bench" / "a-machine-of-ones-own.json").write_text("{}")


def test_a_readers_own_runs_change_no_check(outputs, tmp_path):
    plant(outputs)
    text = README.read_text()
    with pytest.raises(AssertionError):  # else the plants would prove nothing
        readme_holds(text, Evidence(outputs))
    copy_committed(outputs, tmp_path / "copy")
    readme_holds(text, Evidence(tmp_path / "copy"))
    there, copied = (
        {path.name for path in (of / "runs").iterdir()} for of in (outputs, tmp_path / "copy")
    )
    assert len(there) == len(copied) + 3 and copied < there
    assert not (tmp_path / "copy" / "bench" / "a-machine-of-ones-own.json").exists()


@pytest.mark.ci
def test_a_readers_own_runs_change_no_notebook(outputs):
    """The scorecard, which shows every record there is, checked among them; and shown them where a
    reader runs it."""
    plant(outputs)
    checked = check("notebooks/11_scorecard.ipynb", GDWLIB_OUTPUTS=str(outputs))
    assert checked.returncode == 0, checked.stdout
    mine = Evidence(outputs).runs(gdwlib.RunConfig(**SETTING))
    assert list(mine) == [0, 1, 2, 3]


@pytest.mark.parametrize("change", ["altered", "missing"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "result.json"])
def test_a_committed_record_that_was_changed_is_named(outputs, tmp_path, name, change):
    file = RunFolder(outputs, gdwlib.RunConfig(**SETTING)).path / name
    if change == "altered":
        file.write_text(file.read_text() + " ")
    else:
        file.unlink()
    with pytest.raises(
        RecordError, match=rf"{name}: (not as|missing, .*) committed; get it back: git checkout"
    ):
        copy_committed(outputs, tmp_path / "copy")


def test_a_folder_without_the_list_is_named(tmp_path):
    with pytest.raises(RecordError, match="has no committed.sha256"):
        copy_committed(tmp_path, tmp_path / "copy")


def check(*notebooks: str, **environment: str) -> subprocess.CompletedProcess:
    """The step of `make test` that holds a notebook's stored outputs against what its code
    gives."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    clean.pop("GDWLIB_OUTPUTS")  # of these tests
    command = [sys.executable, "tests/check_notebooks.py", *notebooks]
    return subprocess.run(
        command, cwd=ROOT, env=clean | environment, capture_output=True, text=True
    )


@pytest.fixture
def canary():
    """→ a function that writes a notebook of one cell within the project, for as long as the test
    runs."""
    folder = ROOT / "build" / f"canaries-{os.getpid()}"
    folder.mkdir(parents=True)

    def write(name: str, stored: str, count: int | None) -> str:
        output = {"output_type": "execute_result", "execution_count": count, "metadata": {}}
        output["data"] = {"text/plain": [stored]}
        cell = {
            "cell_type": "code",
            "execution_count": count,
            "id": "one",
            "metadata": {},
            "source": ["1 + 1"],
        }
        cell["outputs"] = [output] if count else []
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = {
            "cells": [cell],
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook))
        return str(folder / f"{name}.ipynb")

    yield write
    shutil.rmtree(folder)


def test_a_wrong_stored_output_is_found(canary):
    found = check(canary("right", "2", 1), canary("wrong", "3", 1))
    assert (
        found.returncode == 1
        and "1 failed, 1 passed" in found.stdout
        and "wrong.ipynb" in found.stdout
    )


def test_a_cell_that_was_not_executed_is_found(canary):
    found = check(canary("right", "2", 1), canary("not-executed", "2", None))
    assert (
        found.returncode == 4
        and "not-executed.ipynb" in found.stderr
        and "a cell not executed" in found.stderr
    )


def test_own_runs_are_shown_where_no_check_is_made(outputs):
    """GDWLIB_OUTPUTS is where everything is read and written for who names no other folder."""
    plant(outputs)
    program = "from gdwlib.companion.evidence import Evidence; "
    program += "import gdwlib; print(len(Evidence().records()))"
    environment = os.environ | {"GDWLIB_OUTPUTS": str(outputs), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert int(done.stdout) == len(Evidence().records()) + 1
    assert (
        dataclasses.asdict(Evidence(outputs).runs(gdwlib.RunConfig(**SETTING))[3])["config"]["seed"]
        == 3
    )
