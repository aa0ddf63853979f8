"""How a claim is put to the test: quantities over records, their intervals, and the verdict that follows.

A claim is one or several `Finding`s: a quantity with its 95% interval over seeds, and the range the claim puts it in.

    reproduced           every finding's interval lies inside its range
    contradicted         some finding's interval lies outside its range altogether
    not enough evidence  otherwise; also where a record is missing, or one seed is all there is

A claim that names a number (`number=True`) is decided by records at the paper's own scale alone, and its range is what
the paper's own standard errors allow around the number. Elsewhere the quantity is shown and nothing is decided.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gdwlib.config import RunConfig
from gdwlib.evidence import Evidence, Interval, Runs, mean_interval, paired
from gdwlib.records import RunRecord
from gdwlib.tables import NAMES, paper_cell, paper_numbers

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "not enough evidence"
MORE, LESS = (0.0, np.inf), (-np.inf, 0.0)  # ranges of a difference: better, worse


@dataclass(frozen=True)
class Finding:
    """A quantity, what was found of it (None: nothing), and the range that the claim puts it in."""

    quantity: str
    found: Interval | None
    claimed: tuple[float, float] = MORE

    @property
    def verdict(self) -> str:
        if self.found is None or not np.isfinite([self.found.low, self.found.high]).all():
            return UNDECIDED
        low, high = self.claimed
        if low <= self.found.low and self.found.high <= high:
            return REPRODUCED
        return CONTRADICTED if self.found.high < low or self.found.low > high else UNDECIDED


@dataclass(frozen=True)
class Scope:
    """Where a claim is put to the test: a data set at a preset."""

    evidence: Evidence
    dataset: str
    preset: str

    def runs(self, method: str, **fields) -> Runs:
        return self.evidence.runs(RunConfig(dataset=self.dataset, preset=self.preset, method=method, **fields))

    def gap(self, ours: str, theirs: str, level: dict, ours_with: dict | None = None, theirs_with: dict | None = None):
        """How much better `ours` is than `theirs`, in points, paired by seed."""
        return paired(self.runs(ours, **level, **(ours_with or {})), self.runs(theirs, **level, **(theirs_with or {})))

    def beats(self, ours: str, rivals: tuple[str, ...], levels: dict[str, dict], claimed=MORE) -> list[Finding]:
        return [
            Finding(f"{NAMES[ours]} − {NAMES[rival]}, {name}", self.gap(ours, rival, level), claimed)
            for name, level in levels.items()
            for rival in rivals
        ]

    def mean(self, method: str, level: dict, value: Callable[[RunRecord], float | None]) -> Interval | None:
        """A record's value, over seeds."""
        return mean_interval(value(record) for record in self.runs(method, **level).values())

    def paired_value(self, methods: tuple[str, ...], level: dict, value: Callable[[dict], float]) -> Interval | None:
        """A value of several methods' records of the same seed, over seeds."""
        runs = {method: self.runs(method, **level) for method in methods}
        common = sorted(set.intersection(*(set(of) for of in runs.values())))
        return mean_interval(value({method: of[seed] for method, of in runs.items()}) for seed in common)


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, in our words."""

    text: str
    where: str
    findings: Callable[[Scope], list[Finding]]
    number: bool = False  # decided at the paper's scale alone
    dataset: str = "cifar10"  # of the paper's own evidence
    fixed: bool = False  # follows from the printed tables or from counting, whatever the records

    def judge(self, scope: Scope) -> tuple[str, list[Finding]]:
        """The verdict on a scope, and the findings it follows from."""
        findings = self.findings(scope)
        verdicts = {finding.verdict for finding in findings}
        if self.number and not self.fixed and (scope.preset != "paper" or scope.dataset != self.dataset):
            return UNDECIDED, findings
        if CONTRADICTED in verdicts:
            return CONTRADICTED, findings
        return (REPRODUCED if verdicts == {REPRODUCED} else UNDECIDED), findings


def uniform(ratio: float) -> dict:
    return {"noise": "uniform", "noise_ratio": ratio}


def printed_gap(table: int, dataset: str, level: float, ours: str, theirs: str) -> tuple[float, float]:
    """The range around the difference of two printed cells: two standard errors, of five runs a cell."""
    a, b = (paper_cell(table, dataset, level, method) for method in (ours, theirs))
    margin = 2 * float(np.sqrt((a[1] ** 2 + b[1] ** 2) / 5))
    return a[0] - b[0] - margin, a[0] - b[0] + margin


def printed_second(table: int, dataset: str, level: float) -> float:
    """GDW's lead over the second best in the printed table, points."""
    cells = paper_numbers().query("table == @table and dataset == @dataset and value == @level")
    means = cells.set_index("method")["mean"]
    return float(means["gdw"] - means.drop("gdw").max())


def best_rival(scope: Scope, rivals: tuple[str, ...], level: dict) -> Interval | None:
    """GDW's lead over the best of its rivals by mean over seeds; None unless every rival has records."""
    runs = {rival: scope.runs(rival, **level) for rival in rivals}
    if not all(runs.values()):
        return None
    best = max(runs, key=lambda rival: np.mean([r.final_accuracy for r in runs[rival].values()]))
    return paired(scope.runs("gdw", **level), runs[best])


def growth(scope: Scope) -> Interval | None:
    """How much GDW's lead over MWNet grows from 40% to 60% uniform noise, seed by seed, points."""
    leads = []
    for ratio in (0.4, 0.6):
        gdw, mwnet = scope.runs("gdw", **uniform(ratio)), scope.runs("mwnet", **uniform(ratio))
        leads.append({s: gdw[s].final_accuracy - mwnet[s].final_accuracy for s in set(gdw) & set(mwnet)})
    return mean_interval(leads[1][seed] - leads[0][seed] for seed in sorted(set(leads[0]) & set(leads[1])))


def increased(*names: str) -> Callable[[RunRecord], float | None]:
    """Percent of the weights that grew, the mean over epochs; of two kinds, the difference."""

    def value(record: RunRecord) -> float | None:
        lines = [line["increased"] for line in record.metrics]
        if None in lines or any(line[name] is None for line in lines for name in names):
            return None
        means = [float(np.mean([line[name] for line in lines])) for name in names]
        return means[0] - sum(means[1:])

    return value


def tail_increased(record: RunRecord) -> float | None:
    """Percent of ω of the second smallest class on the smallest class's examples that grew, the mean over epochs."""
    values = [line["increased_second_smallest"] for line in record.metrics]
    return None if None in values else float(np.mean(values))


def below_clean_median(record: RunRecord) -> float | None:
    """Percent of mislabelled examples whose last ω_t is below the clean examples' median."""
    examples = record.examples
    wrong, weights = examples["given_labels"] != examples["true_labels"], examples["target_weights"]
    return 100 * float((weights[wrong] < np.median(weights[~wrong])).mean()) if wrong.any() else None


def time_ratio(scope: Scope) -> Interval | None:
    """GDW's training time over MWNet's, percent, over the seeds both have at 60% uniform noise."""
    gdw, mwnet = scope.runs("gdw", **uniform(0.6)), scope.runs("mwnet", **uniform(0.6))
    seconds = lambda record: np.median([line["train_seconds"] for line in record.metrics])  # noqa: E731
    return mean_interval(100 * seconds(gdw[s]) / seconds(mwnet[s]) for s in sorted(set(gdw) & set(mwnet)))


def exactly(value: float) -> Interval:
    """A number that has no spread: counted, or read from the printed tables."""
    return Interval(value, value, value, 0)
