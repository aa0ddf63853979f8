"""Many runs in this process, one after the other or seeds together: as many as fit in a budget of
time.

    python -m gdwlib sweep --preset small --budget 30m

trains what is missing of a campaign (campaigns.py) in its order, and stops in time; the same
command goes on from there. (A budget must hold an epoch; one of GDW at the paper preset takes nine
minutes on two threads.) It needs nothing but PyTorch, and several may work on the same folder at
once. For a whole machine or a cluster see by_snakemake.py.
"""

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gdwlib.data import DataError
from gdwlib.engines.replicas import train_replicas
from gdwlib.runs.config import RunConfig
from gdwlib.runs.files import RecordError, RunLocked
from gdwlib.runs.folders import Folders
from gdwlib.runs.machine import ieee_float32
from gdwlib.runs.records import RunRecord
from gdwlib.runs.run_folder import RunFolder
from gdwlib.runs.training import ONE_RUN, OutOfTime, run


def seconds_of(text: str) -> float:
    """'90s', '9m', '1.5h' or a number of seconds. ValueError for anything else, and for nothing."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or float(match[1]) == 0:
        raise ValueError(f"--budget: a time like 90s, 9m or 1.5h, not {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def run_replicas(
    configs: Sequence[RunConfig],
    *,
    outputs: Path | str | None = None,
    data: Path | str | None = None,
    **how: Any,
) -> list[RunRecord]:
    """`run` for configurations that differ only in their seed, trained together: see
    `gdwlib.engines.replicas`.

    Each run leaves the record it would leave alone, up to the order of sums; its `seconds` are
    those of all of them together, and its environment says how many there were when it was last
    begun or resumed. Finished runs are loaded, interrupted ones go on.

    Args:
        outputs, data: folders, as of `run`.
        how: `run`'s progress, until.

    Raises:
        ValueError: they differ in more than the seed.
        Exception: what `run` raises, for the first run that failed, when the others are done.
    """
    records = []
    for end in attempt_replicas(configs, Folders.named(outputs, data), **how):
        if isinstance(end, BaseException):
            raise end
        records.append(end)
    return records


def attempt_replicas(
    configs: Sequence[RunConfig], folders: Folders, *, progress: bool = True, **how: Any
) -> list[RunRecord | BaseException]:
    """`run_replicas`, but what a run raises is returned in its record's place."""
    if len({dataclasses.replace(config, seed=0) for config in configs}) > 1 or len(
        set(configs)
    ) < len(configs):
        raise ValueError("replicas: must be of different seeds, and differ in nothing else")
    if len(configs) > 1 and configs[0].capture:
        raise ValueError(
            "capture: a step of one run alone can be captured, not of replicas; leave one of them "
            "off"
        )
    missing = [config for config in configs if RunFolder(folders.outputs, config).load()[0] is None]
    how |= {"outputs": folders.outputs, "data": folders.data}

    def job(config: RunConfig) -> Callable:
        return lambda engine: run(
            config, progress=progress and config is missing[0], engine=engine, **how
        )

    errors: dict[RunConfig, BaseException | None] = {}
    if len(missing) > 1:
        with ONE_RUN, ieee_float32():  # of the process, so not in each thread
            errors = dict(
                zip(missing, train_replicas([job(config) for config in missing]), strict=True)
            )
    ends: list[RunRecord | BaseException] = []
    for config in configs:
        try:
            ends.append(errors.get(config) or run(config, progress=progress, **how))
        except Exception as error:
            ends.append(error)
    return ends


STATES = ("finished", "interrupted", "not begun", "being trained elsewhere", "failed")


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What became of one run in a sweep."""

    config: RunConfig
    state: str  # one of STATES
    text: str = ""  # the accuracy; or the reason
    seconds: float = 0.0


def sweep(
    runs: Sequence[RunConfig],
    folders: Folders,
    *,
    until: float | None = None,
    replicas: int = 1,
    runs_per_gpu: int | None = None,
) -> Iterator[Attempt]:
    """Train the runs in this process, in order, and tell of each when it is over.

    Args:
        until: the time (as of `time.time`) to stop by: those under way stop there with their
            finished epochs kept, and once one had to stop no other is begun.
        replicas: train so many seeds together, see `gdwlib.engines.replicas`.
        runs_per_gpu: as of `run`, counting those of other processes on this machine.
    """
    if until is not None:  # by a clock that nobody sets
        until += time.monotonic() - time.time()
    over = False
    for group in group_seeds(runs, replicas):
        if over:
            attempts = [Attempt(config, "not begun") for config in group]
        else:
            attempts = _attempt(group, until, folders, runs_per_gpu=runs_per_gpu)
        over = over or any(attempt.state == "interrupted" for attempt in attempts)
        yield from attempts


def group_seeds(runs: Sequence[RunConfig], replicas: int) -> list[list[RunConfig]]:
    """Runs that differ only in their seed together, at most so many, each group where its first run
    stood."""
    groups: dict[RunConfig, list[list[RunConfig]]] = {}
    ordered = []
    for config in runs:
        same = groups.setdefault(dataclasses.replace(config, seed=0), [])
        if not same or len(same[-1]) == replicas:
            same.append([])
            ordered.append(same[-1])
        same[-1].append(config)
    return ordered


def _attempt(
    configs: list[RunConfig], until: float | None, folders: Folders, **how: Any
) -> list[Attempt]:
    start = time.monotonic()
    if until is not None and start > until:
        return [Attempt(config, "not begun") for config in configs]
    then = None if until is None else until - start + time.time()
    ends = attempt_replicas(configs, folders, until=then, **how)
    seconds = time.monotonic() - start
    return [
        Attempt(config, *_outcome(end), seconds) for config, end in zip(configs, ends, strict=True)
    ]


def _outcome(end: RunRecord | BaseException) -> tuple[str, str]:
    """State and text of a run that ended so."""
    if isinstance(end, RunRecord):
        return "finished", end.accuracy_text
    text = " ".join(str(end).split())
    if isinstance(end, OutOfTime):
        return "interrupted", text
    if isinstance(end, RunLocked):
        return "being trained elsewhere", text
    known = isinstance(end, DataError | RecordError | ValueError | FloatingPointError)
    return "failed", text if known else f"{type(end).__name__}: {text}"


def report_attempts(
    attempts: Iterator[Attempt], total: int, say: Callable[[str], None]
) -> dict[str, int]:
    """Tell of each attempt as it ends; → how many runs became what."""
    counts = dict.fromkeys(STATES, 0)
    for attempt in attempts:
        counts[attempt.state] += 1
        if attempt.state != "not begun":
            place = f"[{sum(counts.values())}/{total}]"
            say(
                f"{place} {attempt.config.run_id}: {attempt.state}, {attempt.text} "
                f"({attempt.seconds:.0f} s)"
            )
    return counts
