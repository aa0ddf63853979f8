"""What the records say: finding them by configuration, and the statistics over their seeds."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from gdwlib.runs.config import HOW_FIELDS, RunConfig
from gdwlib.runs.files import RecordError, read_file
from gdwlib.runs.folders import Folders
from gdwlib.runs.records import RunRecord
from gdwlib.runs.run_folder import RunFolder

CONFIDENCE = 0.95
NAMED = 10  # records that cannot be used, of which is said why
COMMITTED = "committed.sha256"  # in outputs/: what belongs to the project there
Runs = dict[int, RunRecord]  # by seed


class Interval(NamedTuple):
    """An estimate over seeds with its two-sided 95% interval; infinite where one seed is all there
    is."""

    mean: float
    low: float
    high: float
    seeds: int
    p: float = np.nan  # two-sided, that the truth is 0; NaN where not tested
    error: float = np.nan  # the standard error of the mean, and its degrees of freedom
    df: float = np.nan

    @property
    def p_text(self) -> str:
        return "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"

    def within(self, low: float, high: float) -> "Interval":
        """The same, no wider than what the quantity can be; that of one seed stays as it is."""
        if self.seeds < 2:
            return self
        return self._replace(low=max(self.low, low), high=min(self.high, high))

    def __str__(self) -> str:
        if self.seeds < 2:
            return f"{self.mean:+.2f} (1 seed)"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


class Evidence:
    """All complete records of an outputs folder, or those of some methods and seeds. Which ones are
    there but cannot be used, and why, is said on standard error."""

    def __init__(
        self,
        outputs: Path | str | None = None,
        methods: Collection[str] | None = None,
        seeds: Collection[int] | None = None,
    ):
        self.outputs = Folders.named(outputs).outputs
        self._runs: dict[tuple, Runs] = {}
        self._diverged: dict[tuple, set[int]] = {}
        for path in sorted(self.outputs.glob("runs/*/diverged.json")):
            config = _config(path.with_name("config.json"))
            if config is not None and config.run_id == path.parent.name:
                self._diverged.setdefault(_key(config), set()).add(config.seed)
        unusable: list[str] = []
        for path in sorted(self.outputs.glob("runs/*/result.json")):
            config = _config(path.with_name("config.json"))
            if config is None:
                unusable.append(
                    f"{path.with_name('config.json')}: damaged, or of another version of gdwlib"
                )
                continue
            if config.run_id != path.parent.name:
                unusable.append(f"{path.parent}: its config.json is that of {config.run_id}")
                continue
            if (methods is None or config.method in methods) and (
                seeds is None or config.seed in seeds
            ):
                try:
                    record, wrong = RunFolder(self.outputs, config).load()
                except RecordError as error:
                    record, wrong = None, str(error)
                if record is not None:
                    self._runs.setdefault(_key(config), {})[config.seed] = record
                elif wrong:
                    unusable.append(wrong)
        for why in unusable[:NAMED]:
            print(f"left out: {why}", file=sys.stderr)
        if len(unusable) > NAMED:
            print(f"and {len(unusable) - NAMED} more records are left out", file=sys.stderr)

    def runs(self, config: RunConfig) -> Runs:
        """The records that differ from a configuration in nothing but the seed, by seed."""
        return dict(sorted(self._runs.get(_key(config), {}).items()))

    def diverged(self, config: RunConfig) -> set[int]:
        """The seeds with which such a run has ended in NaN or infinity, and left no record."""
        return self._diverged.get(_key(config), set()) - set(self.runs(config))

    def run_ids(self, dataset: str, preset: str) -> list[str]:
        """The run ids of a data set's records at a preset."""
        wanted = {"dataset": dataset, "preset": preset}
        return [
            name
            for name, record in self.records().items()
            if wanted.items() <= record.config.items()
        ]

    def datasets(self) -> set[str]:
        """The data sets with records."""
        return {dict(key)["dataset"] for key in self._runs}

    def records(self) -> dict[str, RunRecord]:
        """All of them, by run id."""
        return {
            record.path.name: record for runs in self._runs.values() for record in runs.values()
        }


def copy_committed(outputs: Path, to: Path) -> None:
    """Copy what the project itself keeps in outputs/, and nothing of a reader's, into an outputs
    folder of its own.

    outputs/committed.sha256 lists it as `sha256sum` does: of a run its result.json, which has the
    other files' sums.

    Raises:
        RecordError: there is no list; or a listed file is missing or not as listed, with the way to
            get it back.
    """
    if not (outputs / COMMITTED).is_file():
        raise RecordError(
            f"{outputs}: has no {COMMITTED}, which lists the project's own records; unset "
            "GDWLIB_OUTPUTS"
        )
    for line in (outputs / COMMITTED).read_text().splitlines():
        digest, name = line.split("  ", 1)
        _copy_unaltered(outputs, to, name, digest)
        if name.endswith("/result.json"):
            for part, of_part in json.loads((to / name).read_text())["sha256"].items():
                if not part.endswith(".pt"):  # networks are not committed
                    _copy_unaltered(outputs, to, f"{Path(name).parent}/{part}", of_part)


def _copy_unaltered(outputs: Path, to: Path, name: str, digest: str) -> None:
    file = outputs / name
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        state = "not as committed" if file.is_file() else "missing, though it was committed"
        raise RecordError(
            f"{file}: {state}; get it back: git checkout -- outputs/{Path(name).parent}"
        )
    (to / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, to / name)


class RepeatedRun(NamedTuple):
    """A run that was trained twice."""

    run_id: str
    equal: bool  # every epoch's losses and accuracy, bit for bit
    before: RunRecord
    after: RunRecord

    @property
    def gap(self) -> float | None:
        """How much the final accuracy differs, in points; None without a test set."""
        before, after = self.before.final_accuracy, self.after.final_accuracy
        return None if before is None or after is None else after - before


def repeated_runs(before: Evidence, after: Evidence) -> list[RepeatedRun]:
    """The runs of which both folders have a record, by run id. What may differ on another machine,
    another number of threads or another torch is the order of sums, which training amplifies."""
    ours, theirs = before.records(), after.records()
    return [
        RepeatedRun(
            run_id,
            _numbers(ours[run_id]) == _numbers(theirs[run_id]),
            ours[run_id],
            theirs[run_id],
        )
        for run_id in sorted(ours.keys() & theirs.keys())
    ]


def _numbers(record: RunRecord) -> list[dict]:
    """What the epochs came to, without how long they took."""
    times = ("seconds", "per_second")
    return [
        {name: value for name, value in line.items() if not name.endswith(times)}
        for line in record.metrics
    ]


def _config(path: Path) -> RunConfig | None:
    """None where the file is damaged, or of another version of the code."""
    try:
        return RunConfig.of_record(json.loads(read_file(path))["config"] | {"device": "auto"})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _key(config: RunConfig) -> tuple:
    return tuple(
        sorted(
            (name, value)
            for name, value in vars(config).items()
            if name not in ("seed", *HOW_FIELDS)
        )
    )


def final_accuracy(record: RunRecord) -> float:
    """The mean test accuracy of the last five epochs, percent. For `paired`, of runs that have a
    test set."""
    return record.result["final_accuracy"]


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive example's score exceeds a negative one's (ties count half)."""
    return float(
        stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
        / (positive.sum() * (~positive).sum())
    )


def mean_interval(values: Iterable[float | None]) -> Interval | None:
    """Mean and t interval of a value a seed; None where there is none."""
    known = np.array([value for value in values if value is not None], float)
    if not len(known):
        return None
    mean = float(known.mean())
    if len(known) == 1:
        return Interval(mean, -np.inf, np.inf, 1)
    if np.ptp(known) == 0:  # no spread, of which t is not defined
        return Interval(mean, mean, mean, len(known), float(mean == 0), 0.0, len(known) - 1.0)
    test = stats.ttest_1samp(known, 0)
    low, high = test.confidence_interval(CONFIDENCE)
    error = float(stats.sem(known))
    return Interval(
        mean, float(low), float(high), len(known), float(test.pvalue), error, len(known) - 1.0
    )


def paired(
    ours: Runs, theirs: Runs, value: Callable[[RunRecord], float] = final_accuracy
) -> Interval | None:
    """The mean difference over common seeds, paired: a seed means the same images, noise and order
    for both, unless they differ in a field that decides these (meta set, batch size)."""
    common = sorted(set(ours) & set(theirs))
    return mean_interval(value(ours[seed]) - value(theirs[seed]) for seed in common)


def spread_ratio(ours: Runs, theirs: Runs) -> Interval | None:
    """The ratio of two methods' standard deviations of accuracy over seeds."""
    a, b = (
        np.array([final_accuracy(record) for record in runs.values()]) for runs in (ours, theirs)
    )
    if min(len(a), len(b)) < 2:
        return None
    return ratio_interval(float(a.std(ddof=1)), len(a), float(b.std(ddof=1)), len(b))


def ratio_interval(ours: float, n: int, theirs: float, m: int) -> Interval | None:
    """The ratio of two standard deviations, of n and m seeds, with the interval of an F test."""
    if ours == 0 or theirs == 0:
        return None
    ratio = (ours / theirs) ** 2
    low, high = (
        ratio / stats.f.ppf(q, n - 1, m - 1) for q in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2)
    )
    return Interval(ratio**0.5, float(low**0.5), float(high**0.5), min(n, m))
