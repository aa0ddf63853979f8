"""A run's files while it is trained: who may write them, and when they are whole."""

import contextlib
import hashlib
import io
import json
import os
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import nn

from gdwlib.data import DATASETS, OwnData
from gdwlib.data.own.arrays import BUILT_IN
from gdwlib.runs.config import HOW_FIELDS, RunConfig
from gdwlib.runs.files import (
    RecordError,
    RunLocked,
    check_sum,
    naming_read_errors,
    naming_write_errors,
    read_file,
    read_json,
    write_file,
)
from gdwlib.runs.folders import Folders
from gdwlib.runs.records import RunRecord

ALWAYS = ("config.json", "metrics.jsonl", "examples.npz")  # a record's files beside result.json
NETWORK = ("model.pt",)  # where it was not taken away
SOMETIMES = ("trusted.csv", "confusion.csv")  # of one's own data
WRITE_ADVICE = (
    "make room or rights there, or choose another folder with --outputs; finished epochs are kept"
)


class RunFolder:
    """Reads and writes one run's files. Every write is atomic; every failure is a RecordError of
    one line."""

    def __init__(self, outputs: Path, config: RunConfig):
        self.config, self.path = config, Path(outputs) / "runs" / config.run_id

    @contextlib.contextmanager
    def locked(self, wait: Callable[[str], None] | None = None) -> Iterator[None]:
        """Be the only process that trains this run. The operating system frees a dead owner's lock.

        Args:
            wait: where another process has it, wait until that one ends, and say so by this. None:
                raise RunLocked.
        """
        owner = self.path / "owner.json"
        lock = filelock.FileLock(self.path / "lock")
        patience = 0
        with naming_write_errors(self.path, WRITE_ADVICE):
            while not lock.is_locked:
                try:
                    self.path.mkdir(parents=True, exist_ok=True)
                    lock.acquire(timeout=patience, poll_interval=0.5)
                except (FileNotFoundError, FileExistsError):
                    # its owner had nothing to keep and took the folder away, perhaps between two
                    # looks of mkdir
                    if self.path.exists() and not self.path.is_dir():
                        raise
                except filelock.Timeout:
                    who = f"{self._owner()} is training this run"
                    if wait is None:
                        raise RunLocked(f"{self.path}: {who}; wait for it or stop it") from None
                    wait(f"{who}; waiting for it")
                    patience = -1
        try:
            self.write_json("owner.json", {"pid": os.getpid(), "host": socket.gethostname()})
            yield
        finally:
            with contextlib.suppress(OSError):  # as on a file system that has become read-only
                owner.unlink(missing_ok=True)
                # while held: who waits on it starts over
                (self.path / "lock").unlink(missing_ok=True)
                self.path.rmdir()  # where nothing has come of it, as when the data are missing
            lock.release()

    def _owner(self) -> str:
        by = read_json(self.path / "owner.json") or {}
        return f"process {by.get('pid', '?')} on {by.get('host', '?')}"

    def trained_by(self) -> str | None:
        """Which process is training this run now; None where none is."""
        lock = filelock.FileLock(self.path / "lock")
        try:
            if (self.path / "lock").exists():
                lock.acquire(timeout=0)
                lock.release()
        except filelock.Timeout:
            return self._owner()
        return None

    def load(self) -> tuple[RunRecord | None, str | None]:
        """The complete record, or None and, where files are there but wrong, what is wrong with
        them.

        Raises:
            RecordError: they cannot be read, so that nobody knows.
        """
        try:
            with naming_read_errors():
                return self._read()
        except FileNotFoundError as error:
            return None, f"{error.filename}: missing"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return None, f"{self.path}: not a readable record ({type(error).__name__}: {error})"

    def _read(self) -> tuple[RunRecord | None, str | None]:
        """As `load`, with the errors of files that are not as they should be."""
        if not (self.path / "result.json").exists():
            return None, None
        result = json.loads(read_file(self.path / "result.json"))
        sums = result["sha256"]
        if missing := {*ALWAYS, *NETWORK} - sums.keys():
            names = ", ".join(sorted(missing))
            return None, f"{self.path / 'result.json'}: names no check sum of {names}"
        for name, digest in sums.items():
            if name.endswith(".pt") and not (self.path / name).exists():
                continue  # not committed with a record
            try:
                check_sum(self.path / name, digest)
            except RecordError as error:
                if name not in SOMETIMES:
                    return None, str(error).removesuffix("; train the run again")
                raise  # a table to be read, for which nothing is trained again
        written = json.loads(read_file(self.path / "config.json"))
        lines = read_file(self.path / "metrics.jsonl").decode().splitlines()
        metrics = [json.loads(line) for line in lines]
        computed = {name: getattr(self.config, name) for name in HOW_FIELDS}
        if RunConfig.of_record(written["config"] | computed) != self.config:
            return None, f"{self.path}: the record of another configuration"
        if (
            len(metrics) != self.config.total_epochs
            or result | summary(metrics, self.config.epochs) != result
        ):
            return None, f"{self.path}: result.json and metrics.jsonl do not agree"
        name = self.config.dataset
        published = name in BUILT_IN and not isinstance(DATASETS[name], OwnData)
        if result["final_accuracy"] is None and published:
            return None, f"{self.path}: has no test accuracies"
        about = written["config"], written["environment"]
        return RunRecord(self.path, *about, metrics, result), None

    def discard(self) -> None:
        """Forget a broken record, the proof of completeness first."""
        with naming_write_errors(self.path, WRITE_ADVICE):
            for name in (
                "result.json",
                "metrics.jsonl",
                "examples.npz",
                "model.pt",
                "model.json",
                "weight_net.pt",
                "confusion.csv",
            ):
                (self.path / name).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what a process killed just after completing the record has left beside it, where
        that is allowed."""
        left = [self.path / name for name in ("checkpoint.pt", "owner.json", "lock")]
        with contextlib.suppress(OSError):
            if any(path.exists() for path in left) and self.trained_by() is None:
                for path in left:
                    path.unlink(missing_ok=True)

    def load_checkpoint(self, device: torch.device) -> tuple[dict | None, str | None]:
        """The last epoch's checkpoint, or None and, where there is a damaged one, what is wrong
        with it. RecordError where it cannot be read."""
        path = self.path / "checkpoint.pt"
        with naming_read_errors():
            if not path.exists():
                return None, None
            path.open("rb").close() if path.is_file() else read_file(path)
        try:
            with zipfile.ZipFile(path) as archive:  # torch.load does not compare the check sums
                if (bad := archive.testzip()) is not None:
                    return None, f"{path}: damaged at {bad}"
            state = torch.load(path, map_location=device, weights_only=True)
            if state["run_id"] != self.config.run_id:
                return None, f"{path}: damaged (of another run)"
            metrics, epochs = state["metrics"], self.config.total_epochs
            summary(metrics, self.config.epochs)
            if [line["epoch"] for line in metrics] != [*range(1, len(metrics) + 1)][:epochs]:
                return None, f"{path}: damaged (not epochs 1 to at most {epochs})"
            return state, None
        except Exception as error:  # whatever a damaged file makes zipfile, pickle or torch raise
            return None, f"{path}: damaged ({type(error).__name__})"

    def save_checkpoint(self, state: dict) -> None:
        self.write("checkpoint.pt", _saved({"run_id": self.config.run_id} | state))

    def write_metrics(self, metrics: list[dict]) -> None:
        self.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in metrics).encode())

    def complete(
        self,
        metrics: list[dict],
        examples: dict[str, np.ndarray],
        networks: dict[str, nn.Module],
        about: dict,
    ) -> None:
        """Write what remains, `about` the network in model.json, `result.json` last, and remove the
        checkpoint."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **examples)  # type: ignore[arg-type]  # stubs take every name for allow_pickle
        self.write("examples.npz", buffer.getvalue())
        for name, network in networks.items():
            self.write(f"{name}.pt", _saved(network.state_dict()))
        self.write_metrics(metrics)
        self.write_json("model.json", about)
        there = (name for name in SOMETIMES if (self.path / name).exists())
        names = (*ALWAYS, "model.json", *(f"{name}.pt" for name in networks), *there)
        sums = {name: hashlib.sha256((self.path / name).read_bytes()).hexdigest() for name in names}
        self.write_json("result.json", summary(metrics, self.config.epochs) | {"sha256": sums})
        (self.path / "checkpoint.pt").unlink(missing_ok=True)
        (self.path / "diverged.json").unlink(missing_ok=True)  # as before an edit of the method
        for half in self.path.glob(".*.partial"):  # of processes killed while they wrote
            half.unlink(missing_ok=True)

    def write_config(self, environment: dict, epochs: int) -> None:
        """Write config.json. Where so many `epochs` are kept that were trained in another
        environment, as on a GPU, or at another revision, its "earlier" says which, and up to which
        epoch."""
        before = (read_json(self.path / "config.json") or {}).get("environment") if epochs else None
        if isinstance(before, dict):
            earlier = before.pop("earlier", [])
            earlier = earlier if isinstance(earlier, list) else []
            if before != environment:
                earlier.append({"epochs": epochs} | before)
            environment = environment | ({"earlier": earlier} if earlier else {})
        self.write_json("config.json", {"config": vars(self.config), "environment": environment})

    def write_json(self, name: str, content: dict) -> None:
        self.write(name, (json.dumps(content, indent=1) + "\n").encode())

    def write(self, name: str, content: bytes) -> None:
        write_file(self.path / name, content, WRITE_ADVICE)


class ReadOnlyFolder(RunFolder):
    """Of a process that takes part in a run which another one records: it reads what there is and
    writes nothing."""

    @contextlib.contextmanager
    def locked(self, wait: Callable[[str], None] | None = None) -> Iterator[None]:
        yield

    def discard(self) -> None:
        pass

    def tidy(self) -> None:
        pass

    def complete(self, *_: Any) -> None:
        pass

    def write(self, name: str, content: bytes) -> None:
        pass


def summary(metrics: list[dict], epochs: int) -> dict[str, float]:
    """What `result.json` says of a run's epochs: accuracies in percent, seconds. The mean is over
    the last min(5, epochs) of a schedule of so many `epochs` (None without a test set); the best
    epoch is sought in the last phase, since what came before is another method's network."""
    accuracies = [line["test_accuracy"] for line in metrics]
    last_phase = [
        line["test_accuracy"] for line in metrics if line.get("phase") == metrics[-1].get("phase")
    ]
    tested = None not in accuracies
    return {
        "final_accuracy": float(np.mean(accuracies[-min(5, epochs) :])) if tested else None,
        "best_accuracy": max(last_phase) if tested else None,
        "last_accuracy": accuracies[-1],
        "seconds": sum(line["seconds"] for line in metrics),
    }


def _saved(state: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def open_record(run: Path | str, outputs: Path | str | None = None) -> RunRecord:
    """A finished run, by its folder or by its id in `outputs` (default: the project's). RecordError
    says why there is none."""
    runs = Folders.named(outputs).outputs / "runs"
    path = next((path for path in (Path(run), runs / str(run)) if path.is_dir()), None)
    if path is None:
        raise RecordError(f"{run}: no such run, neither as a folder nor in {runs}")
    path = path.resolve()
    if not (path / "config.json").exists():
        raise RecordError(
            f"{path}: not a run's folder, it has no config.json; name a folder below outputs/runs"
        )
    with naming_read_errors():
        read_file(path / "config.json")
    try:
        config = RunConfig.of_record((read_json(path / "config.json") or {})["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(
            f"{path / 'config.json'}: damaged, or of another version ({type(error).__name__}: "
            f"{error}); train it again"
        ) from error
    if config.run_id != path.name:
        raise RecordError(
            f"{path}: its config.json is that of {config.run_id}; name the folder so, or train it "
            "again"
        )
    record, wrong = RunFolder(path.parents[1], config).load()
    if record is None:
        raise RecordError(
            wrong or f"{path}: not finished; `run` with the same flags goes on with it"
        )
    return record
