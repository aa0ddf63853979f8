"""What a claim is put to: the records of a preset, or the paper's own printed tables.

Both answer the same questions. A *cell* is a method in a setting on a data set, the accuracies of
a few seeds; a *contrast* is a sum of cells with coefficients, as +1 GDW, -1 MWNet. Of records it is
taken seed by seed (a seed means the same images, noise and order for every method), of printed
cells from their means and standard deviations over five runs (Welch).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from gdwlib.companion.evidence import (
    CONFIDENCE,
    Evidence,
    Interval,
    Runs,
    final_accuracy,
    mean_interval,
    paired,
    ratio_interval,
    spread_ratio,
)
from gdwlib.companion.paper_tables import TABLES, paper_cell, paper_numbers
from gdwlib.data import DATASETS
from gdwlib.runs.config import RunConfig
from gdwlib.runs.records import RunRecord

PAPER_RUNS = 5  # behind every printed cell


class Cell(NamedTuple):
    """A method in a setting on a data set."""

    dataset: str
    method: str
    fields: tuple[tuple[str, Any], ...]  # of RunConfig, besides: noise, imbalance, a variant


Contrast = Mapping[Cell, float]


@dataclass(frozen=True)
class Records:
    """The records of a preset."""

    evidence: Evidence
    preset: str

    def runs(self, cell: Cell) -> Runs:
        return self.evidence.runs(self._config(cell))

    def accuracies(self, cell: Cell, diverged: bool = False) -> dict[int, float]:
        """Final accuracy by seed, percent; `diverged`: a run that did counts as guessing."""
        found = {seed: final_accuracy(record) for seed, record in self.runs(cell).items()}
        if diverged:
            classes = getattr(DATASETS[cell.dataset], "classes", ())
            chance = 100 / len(classes)
            found |= dict.fromkeys(self.evidence.diverged(self._config(cell)), chance)
        return found

    def contrast(self, contrast: Contrast, diverged: bool = False) -> Interval | None:
        """Over the seeds that all of its cells have; None where there are none."""
        cells = [(self.accuracies(cell, diverged), k) for cell, k in contrast.items()]
        common = set.intersection(*(set(found) for found, _ in cells))
        return mean_interval(sum(k * found[seed] for found, k in cells) for seed in sorted(common))

    def mean(self, cell: Cell, value: Callable[[RunRecord], float | None]) -> Interval | None:
        """A percentage of a record, over seeds."""
        found = mean_interval(value(record) for record in self.runs(cell).values())
        return found and found.within(0, 100)

    def difference(self, cell: Cell, value: Callable[[RunRecord], float | None]) -> Interval | None:
        """A difference of percentages within a record, over seeds."""
        return mean_interval(value(record) for record in self.runs(cell).values())

    def paired(
        self, ours: Cell, theirs: Cell, value: Callable[[RunRecord], float]
    ) -> Interval | None:
        """The difference of a value of two cells, paired by seed."""
        return paired(self.runs(ours), self.runs(theirs), value)

    def best(self, rivals: Mapping[str, Cell], ours: Cell) -> str | None:
        """The rival of the highest mean over the seeds of ours; None unless every one has all of
        them."""
        seeds = set(self.accuracies(ours))
        found = {name: self.accuracies(cell) for name, cell in rivals.items()}
        if not seeds or not all(seeds <= set(of) for of in found.values()):
            return None
        return max(found, key=lambda name: float(np.mean([found[name][s] for s in seeds])))

    def spread_ratio(self, ours: Cell, theirs: Cell) -> Interval | None:
        return spread_ratio(self.runs(ours), self.runs(theirs))

    def _config(self, cell: Cell) -> RunConfig:
        fields = dict(cell.fields)
        return RunConfig(dataset=cell.dataset, preset=self.preset, method=cell.method, **fields)


@dataclass(frozen=True)
class PrintedTables:
    """The paper's Tables 2 to 5, five runs a cell; Table 5 prints no spread."""

    def printed(self, cell: Cell) -> tuple[float, float] | None:
        """Mean and standard deviation, percent; None where the cell is not printed."""
        return _printed(cell)

    def contrast(self, contrast: Contrast, diverged: bool = False) -> Interval | None:
        """None where a cell is not printed."""
        cells = [(self.printed(cell), k) for cell, k in contrast.items()]
        known = [(printed, k) for printed, k in cells if printed is not None]
        if len(known) < len(cells):
            return None
        mean = sum(k * printed[0] for printed, k in known)
        variances = np.array([k**2 * printed[1] ** 2 / PAPER_RUNS for printed, k in known])
        if np.isnan(variances).any():
            return Interval(mean, -np.inf, np.inf, 1)
        return welch(mean, variances, np.full(len(known), PAPER_RUNS - 1.0), PAPER_RUNS)

    def mean(self, cell: Cell, value: Callable[[RunRecord], float | None]) -> None:
        """The tables print nothing but accuracies."""

    def difference(self, cell: Cell, value: Callable[[RunRecord], float | None]) -> None:
        """Likewise."""

    def paired(self, ours: Cell, theirs: Cell, value: Callable[[RunRecord], float]) -> None:
        """Likewise."""

    def best(self, rivals: Mapping[str, Cell], ours: Cell) -> str | None:
        found = {name: self.printed(cell) for name, cell in rivals.items()}
        known = {name: printed[0] for name, printed in found.items() if printed is not None}
        return max(known, key=known.__getitem__) if len(known) == len(rivals) else None

    def spread_ratio(self, ours: Cell, theirs: Cell) -> Interval | None:
        a, b = self.printed(ours), self.printed(theirs)
        return (
            None if a is None or b is None else ratio_interval(a[1], PAPER_RUNS, b[1], PAPER_RUNS)
        )


Source = Records | PrintedTables


@cache
def _printed(cell: Cell) -> tuple[float, float] | None:
    fields = dict(cell.fields)
    if cell.dataset == "clothing1m":
        rows = paper_numbers().query("table == 5 and method == @cell.method")
        return (float(rows["mean"].iloc[0]), np.nan) if len(rows) and not fields else None
    for table in TABLES.values():
        for level in table.levels:
            if table.setting(level) == fields or (not fields and level in (0.0, 1.0)):
                return paper_cell(table.number, cell.dataset, level, cell.method)
    return None


def welch(mean: float, variances: np.ndarray, dfs: np.ndarray, seeds: int) -> Interval:
    """The t interval of a sum of independent estimates, from the variances of their means and their
    degrees of freedom (Welch–Satterthwaite)."""
    error = float(np.sqrt(variances.sum()))
    if error == 0:
        return Interval(mean, mean, mean, seeds, float(mean == 0), 0.0, float(dfs.sum()))
    df = float(variances.sum() ** 2 / (variances**2 / dfs).sum())
    half = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, df))
    p = float(2 * stats.t.sf(abs(mean) / error, df))
    return Interval(mean, mean - half, mean + half, seeds, p, error, df)
