"""Many runs: which, in what order, and as many as fit in a budget of time.

    python -m gdwlib sweep --preset paper --budget 9m

trains what is missing of the paper's Tables 2 to 4, the most valuable first, and stops in time; the same command goes
on from there. On a CPU each run has one thread and there are as many at once as there are cores, which
`benchmarks/replicas.py` found to be the fastest way; several sweeps may work on the same folder at once.
"""

import concurrent.futures.process
import dataclasses
import multiprocessing
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch

from gdwlib.config import RunConfig
from gdwlib.data import DataError
from gdwlib.machine import cores
from gdwlib.methods import METHODS
from gdwlib.records import RecordError, RunFolder, RunTaken
from gdwlib.training import OutOfTime, run, run_replicas

# the columns of Tables 2 to 4, those that decide most claims first
COLUMNS = (
    {"noise": "uniform", "noise_ratio": 0.4},
    {"noise": "uniform", "noise_ratio": 0.6},
    {"noise": "flip", "noise_ratio": 0.4},
    {"noise": "flip", "noise_ratio": 0.2},
    {"imbalance": 0.01},
    {"imbalance": 0.1},
    {},
)
FIRST = ("gdw", "mwnet", "base")  # what every claim is about
VARIANTS = ({"zero_mean": False}, {"meta_overlap": True})  # of GDW, in the first column
# what the paper compares only under label noise (Tables 2 and 3), or only under imbalance (Table 4)
NOISE_ONLY = ("coteaching", "glc", "soft_label", "gen_label")
IMBALANCE_ONLY = ("focal", "class_balanced")


def campaign(preset: str, datasets: Sequence[str], methods: Sequence[str], seeds: Iterable[int]) -> list[RunConfig]:
    """The runs of Tables 2 to 4 and of two variants of GDW, the most valuable first: GDW, MWNet and Base on each data
    set in turn, one seed of everything before the next, then the other methods likewise."""
    seeds = list(seeds)
    first, others = (
        [name for name in (*FIRST, *METHODS) if name in methods and (name in FIRST) == wanted]
        for wanted in (True, False)
    )
    runs = []
    for group in (list(dict.fromkeys(first)), others):
        for dataset in datasets:
            for seed in seeds:
                common = {"dataset": dataset, "preset": preset, "seed": seed}
                for column in COLUMNS:
                    left_out = NOISE_ONLY if "imbalance" in column else IMBALANCE_ONLY if "noise" in column else ()
                    runs += [RunConfig(method=name, **common, **column) for name in group if name not in left_out]
                if "gdw" in group:
                    runs += [RunConfig(method="gdw", **common, **COLUMNS[0], **variant) for variant in VARIANTS]
    return runs


def missing(runs: Iterable[RunConfig], outputs: Path) -> list[RunConfig]:
    """Those without a complete record."""
    return [config for config in runs if RunFolder(outputs, config).load()[0] is None]


def seconds_of(text: str) -> float:
    """'90s', '9m', '1.5h' or a number of seconds. ValueError for anything else, and for nothing."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match or float(match[1]) == 0:
        raise ValueError(f"--budget: a time like 90s, 9m or 1.5h, not {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


STATES = ("finished", "interrupted", "not begun", "being trained elsewhere", "failed")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a run, or of replicas trained together, in a sweep."""

    configs: list[RunConfig]
    state: str  # one of STATES
    text: str  # the accuracies; or the reason
    seconds: float


def sweep(
    runs: Sequence[RunConfig],
    *,
    outputs: Path,
    data: Path | None = None,
    until: float | None = None,
    jobs: int = 1,
    replicas: int = 1,
) -> Iterator[Outcome]:
    """Train the runs, in order, and tell of each when it is over.

    Args:
        until: the time (as of `time.time`) to stop by: no run is begun after it, and those under way stop there with
            their finished epochs kept.
        jobs: processes at once, sharing the CPU's cores; one alone shows the progress of its runs.
        replicas: train so many seeds together, see `gdwlib.replicas`.
    """
    groups = grouped(runs, replicas)
    threads = max(1, cores() // jobs)
    work = [(group, outputs, data, until, jobs == 1) for group in groups]
    if jobs == 1:
        yield from (_train(*arguments) for arguments in work)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context, torch.set_num_threads, (threads,)) as pool:
        futures = [pool.submit(_train, *arguments) for arguments in work]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise RecordError(
                "a worker process was killed (out of memory?); what it finished is kept, and the same command goes on; "
                "fewer --jobs need less memory"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def grouped(runs: Sequence[RunConfig], replicas: int) -> list[list[RunConfig]]:
    """Runs that differ only in their seed together, at most so many, each group where its first run stood."""
    groups: dict[RunConfig, list[list[RunConfig]]] = {}
    ordered = []
    for config in runs:
        same = groups.setdefault(dataclasses.replace(config, seed=0), [])
        if not same or len(same[-1]) == replicas:
            same.append([])
            ordered.append(same[-1])
        same[-1].append(config)
    return ordered


def _train(configs: list[RunConfig], outputs: Path, data: Path | None, until: float | None, progress: bool) -> Outcome:
    start = time.time()
    if until is not None and start > until:
        return Outcome(configs, "not begun", "", 0.0)
    state = "finished"
    where: dict = {"outputs": outputs, "data": data, "progress": progress, "until": until}
    try:
        records = run_replicas(configs, **where) if len(configs) > 1 else [run(configs[0], **where)]
        text = ", ".join(f"{record.final_accuracy:.2f}%" for record in records)
    except OutOfTime as error:
        state, text = "interrupted", str(error)
    except RunTaken as error:
        state, text = "being trained elsewhere", str(error)
    except Exception as error:  # one run's trouble is not the others'
        known = isinstance(error, DataError | RecordError | ValueError | FloatingPointError)
        state, text = "failed", " ".join(f"{'' if known else type(error).__name__ + ': '}{error}".split())
    return Outcome(configs, state, text, time.time() - start)


def report(outcomes: Iterator[Outcome], total: int, say: Callable[[str], None]) -> dict[str, int]:
    """Tell of each outcome as it comes; → how many runs became what."""
    counts = dict.fromkeys(STATES, 0)
    for outcome in outcomes:
        counts[outcome.state] += len(outcome.configs)
        if outcome.state != "not begun":
            names = ", ".join(config.run_id for config in outcome.configs)
            say(f"[{sum(counts.values())}/{total}] {names}: {outcome.state}, {outcome.text} ({outcome.seconds:.0f} s)")
    return counts
