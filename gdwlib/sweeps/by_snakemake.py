"""Many runs at once, on this machine or a cluster: a list of runs handed to Snakemake, and what a
person sees of it."""

import contextlib
import hashlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gdwlib.runs.config import RunConfig
from gdwlib.runs.files import RecordError, write_file
from gdwlib.runs.folders import Folders
from gdwlib.runs.progress import duration
from gdwlib.runs.records import RunRecord
from gdwlib.runs.run_folder import RunFolder
from gdwlib.sweeps.run_lists import to_line

SNAKEFILE = Path(__file__).parents[2] / "Snakefile"
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE)]
LOOK_EVERY = 1.0  # seconds between two looks at the records


def write_list(runs: Sequence[RunConfig], name: str, outputs: Path) -> Path:
    """outputs/sweeps/NAME-….jsonl, a run a line; the same runs have the same file. → its path."""
    text = "".join(to_line(config) + "\n" for config in runs)
    name = re.sub(r"[^\w.-]", "_", name)
    path = outputs / "sweeps" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.jsonl"
    if not path.exists():
        write_file(path, text.encode())
    return path


@dataclass
class Sweep:
    """A list of runs and how Snakemake is to train them.

    Args:
        listed: the list's file, in sweeps/ of the outputs.
        missing: which of the list had no record.
        how: Snakemake's own arguments: `--cores N` or `--profile DIR`, and others.
        settings: more of the Snakefile's: runs_per_gpu.
        say: told what happens, line by line.
    """

    listed: Path
    missing: list[RunConfig]
    folders: Folders
    how: list[str]
    say: Callable[[str], None]
    settings: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if importlib.util.find_spec("snakemake") is None:
            raise ValueError(
                "--cores, --profile: need Snakemake; pip install 'gdwlib[sweep]', or leave them off"
            )
        if not SNAKEFILE.is_file():
            raise ValueError(
                f"--cores, --profile: need {SNAKEFILE.name} of a checkout; install gdwlib with pip "
                "-e"
            )
        self.log = self.listed.with_suffix(".log")
        # bytes; what follows is this sweep's
        self.before = {config: self._log_size(config) for config in self.missing}

    def train(self) -> int:
        """Train what is missing, then draw the tables and the report. → how many runs have
        failed."""
        self._say_what_others_train()
        self._discard_damaged()
        start = time.monotonic()
        finished, left = 0, list(self.missing)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with open(self.log, "w") as log:
            command = [*SNAKEMAKE, *self._settings(), *self.how]
            # a group of its own: Ctrl-C reaches it once, by `_stop`
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, process_group=0
            )
            try:
                over = False
                while not over:
                    over = process.poll() is not None
                    for record in self._newly_finished(left):
                        finished += 1
                        time_left = self._time_left(finished, start)
                        self.say(f"[{finished}/{len(self.missing)}] {_outcome(record)}{time_left}")
                    time.sleep(0 if over else LOOK_EVERY)
            except BaseException:
                self._stop(process)
                raise
        failed, waiting = self._failures(left, killed=process.returncode < 0)
        for reason, names in failed.items():
            self.say(f"{len(names)} failed: {reason}")
            for name in names:
                self.say(f"    {name}")
        count = sum(map(len, failed.values()))
        if count:
            self.say(f"their logs: {self.folders.outputs / 'sweeps' / 'logs'}")
        if waiting and process.returncode and not count:
            raise RecordError(
                f"Snakemake stopped: {_last_words(self.log)}; {self.log} has the rest"
            )
        took = duration(time.monotonic() - start)
        self.say(f"{finished} finished in {took}, {count} failed, {waiting} not begun")
        self._draw(partly=bool(left))
        return count

    def _settings(self, **more: str | int) -> list[str]:
        settings = {
            "runs": self.listed.relative_to(self.folders.outputs),
            "outputs": ".",
            "data": self.folders.data,
        }
        settings |= self.settings | more
        return [
            "--directory",
            str(self.folders.outputs),
            "--config",
            *(f"{k}={v}" for k, v in settings.items() if v != ""),
        ]

    def _log(self, config: RunConfig) -> Path:
        return self.folders.outputs / "sweeps" / "logs" / f"{config.run_id}.log"

    def _log_size(self, config: RunConfig) -> int:
        return self._log(config).stat().st_size if self._log(config).exists() else 0

    def _say_what_others_train(self) -> None:
        """What is waited for, as after a sweep that was killed and has left its runs behind."""
        folders = {c.run_id: RunFolder(self.folders.outputs, c) for c in self.missing}
        held = {name: by for name, folder in folders.items() if (by := folder.trained_by())}
        if held:
            self.say(
                f"{len(held)} of them are being trained by other processes (of a sweep that was "
                "killed?) and are waited for:"
            )
        for name, by in held.items():
            self.say(f"    {name}: {by}")

    def _discard_damaged(self) -> None:
        """Snakemake takes a result.json for a finished run; `missing` says that these are not."""
        for config in self.missing:
            folder = RunFolder(self.folders.outputs, config)
            if (folder.path / "result.json").exists():
                with folder.locked(self.say):
                    record, wrong = folder.load()
                    if record is None and wrong:
                        self.say(f"{wrong}; computing it again")
                        folder.discard()

    def _newly_finished(self, left: list[RunConfig]) -> Iterator[RunRecord]:
        for config in list(left):
            folder = RunFolder(self.folders.outputs, config)
            if (folder.path / "result.json").exists() and (record := folder.load()[0]) is not None:
                left.remove(config)
                yield record

    def _time_left(self, finished: int, start: float) -> str:
        left = len(self.missing) - finished
        if not left or not finished:
            return ""
        return f"; about {duration((time.monotonic() - start) / finished * left)} left"

    def _failures(self, left: list[RunConfig], killed: bool) -> tuple[dict[str, list[str]], int]:
        """Of the runs without a record: by reason those that were begun; how many were not, or may
        go on, as where Snakemake was `killed` and left them behind."""
        failed: dict[str, list[str]] = {}
        waiting = 0
        for config in left:
            by = RunFolder(self.folders.outputs, config).trained_by()
            if by is not None:
                self.say(f"{config.run_id}: {by} is still training it")
            if by is not None or self._log_size(config) <= self.before[config]:
                waiting += 1
                continue
            words = _last_words(self._log(config), self.before[config])
            known = words.startswith("gdwlib run: ")
            if killed and not known:
                waiting += 1
                continue
            reason = (
                words.removeprefix("gdwlib run: ")
                if known
                else f"ended without a word, killed? Its last: {words}"
            )
            failed.setdefault(reason, []).append(config.run_id)
        return failed, waiting

    def _draw(self, partly: bool) -> None:
        """The tables, and Snakemake's report; of the finished runs where some have failed."""
        report = self.listed.with_suffix(".html")
        pages = [*self._settings(finished=1 if partly else ""), "--cores", "1"]
        written = [*pages, "--report", str(report.relative_to(self.folders.outputs))]
        ok = self._snakemake(pages) and (
            self._snakemake(written) or (self._accept_results() and self._snakemake(written))
        )
        if ok:
            self.say(f"tables and figures: {report}")
        else:
            self.say(f"no report could be made: {_last_words(self.log)}; {self.log} has the rest")

    def _snakemake(self, arguments: list[str]) -> bool:
        """Whether it did what it was told; what it says goes into the log."""
        with open(self.log, "a") as log:
            return not subprocess.run(
                [*SNAKEMAKE, *arguments], stdout=log, stderr=subprocess.STDOUT
            ).returncode

    def _accept_results(self) -> bool:
        """For results whose Snakemake was killed before it saw them: they are whole, or they would
        not be there."""
        _, incomplete, listed = self.log.read_text(errors="replace").rpartition(
            "Incomplete files:\n"
        )
        if incomplete:
            self._snakemake([*self._settings(), "--cleanup-metadata", *listed.split()])
        return bool(incomplete)

    def _stop(self, process: subprocess.Popen) -> None:
        """End Snakemake and what it has started; on a cluster, it cancels its jobs."""
        self.say("stopping; finished epochs are kept")
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _outcome(record: RunRecord) -> str:
    return f"{record.path.name}: {record.accuracy_text} ({record.result['seconds']:.0f} s)"


def _last_words(log: Path, after: int = 0) -> str:
    """The last line of a log, of what stands behind so many bytes."""
    text = log.read_bytes()[after:].decode(errors="replace").replace("\r", "\n")
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "nothing")
