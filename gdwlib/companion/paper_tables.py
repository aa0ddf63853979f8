"""The paper's Tables 2 to 5 as data: their rows, columns and printed numbers."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from gdwlib.data import DATASETS, OwnData
from gdwlib.methods import METHODS, NAMES
from gdwlib.runs.presets import WITH_AUTHORS_RECIPE
from gdwlib.sweeps.campaigns import IMBALANCE_ONLY, NOISE_ONLY

# by the name in the paper
METHOD_OF = {name: method for method, name in NAMES.items()} | {"Base Model": "base"}
PUBLISHED = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}  # the data sets of Tables 2 to 4


def own_methods() -> list[str]:
    """Those that have been added to `gdwlib.METHODS`."""
    return [method for method in METHODS if method not in NAMES]


@dataclass(frozen=True)
class Table:
    """One of the paper's tables: what it varies and what it compares."""

    number: int
    title: str
    levels: tuple[float, ...]  # noise ratios, or μ; the first is the clean, balanced setting
    methods: tuple[str, ...]
    recipes: tuple[str, ...] = ()  # methods shown by their authors' recipe as well
    others: tuple[str, ...] = ()  # methods the paper leaves out here, shown where there are records

    def setting(self, level: float) -> dict:
        """The fields of a run at a level."""
        if self.number == 4:
            return {"imbalance": level}
        kind = {2: "uniform", 3: "flip"}[self.number]
        return {"noise": kind, "noise_ratio": level} if level else {}

    def label(self, level: float) -> str:
        return f"μ = {level:g}" if self.number == 4 else f"{100 * level:g}%"


_NOISE = (
    "base",
    "finetune",
    "coteaching",
    "glc",
    "l2rw",
    "insw",
    "mwnet",
    "soft_label",
    "gen_label",
    "gdw",
)
_IMBALANCE = ("base", "finetune", "focal", "class_balanced", "l2rw", "insw", "mwnet", "gdw")
TABLES = {
    2: Table(
        2,
        "Test accuracy with uniform label noise",
        (0.0, 0.4, 0.6),
        (*_NOISE, "meta_only"),
        others=IMBALANCE_ONLY,
    ),
    3: Table(
        3,
        "Test accuracy with flip label noise",
        (0.0, 0.2, 0.4),
        (*_NOISE, "meta_only"),
        others=IMBALANCE_ONLY,
    ),
    4: Table(
        4,
        "Test accuracy on long-tailed data",
        (1.0, 0.1, 0.01),
        (*_IMBALANCE, "meta_only"),
        tuple(name for name in _IMBALANCE if name in WITH_AUTHORS_RECIPE),
        NOISE_ONLY,
    ),
}


def can_have(dataset: str) -> bool:
    """Whether a data set's noise and imbalance are drawn, as the tables want it: not labels by
    people, not files of the user's own."""
    source = DATASETS[dataset]
    return not isinstance(source, OwnData) and not source.label_sets


@cache
def paper_numbers() -> pd.DataFrame:
    """Every cell of Tables 2 to 5: table, dataset, noise ("imbalance" for μ), value, method (the
    library's name), mean and std over the paper's five runs, percent."""
    frame = pd.read_csv(Path(__file__).with_name("paper_tables.csv"))
    return frame.assign(method=frame["method"].map(METHOD_OF))


@cache
def elsewhere() -> pd.DataFrame:
    """Cells of the same tables as other papers print them: source, dataset, noise, value, method
    (the library's name), mean and std (percent; NaN where none is printed), note."""
    frame = pd.read_csv(Path(__file__).with_name("published_elsewhere.csv"))
    return frame.assign(method=frame["method"].map(METHOD_OF))


@cache
def cell_elsewhere(number: int, dataset: str, level: float, method: str) -> float:
    """The mean that another paper prints, percent; NaN where none does."""
    cells, noise = elsewhere(), {2: "uniform", 3: "flip", 4: "imbalance"}[number]
    chosen = _in_cell(cells[cells.noise == noise], dataset, level, method)
    return float(chosen["mean"].iloc[0]) if len(chosen) else float("nan")


@cache
def paper_cell(number: int, dataset: str, level: float, method: str) -> tuple[float, float] | None:
    """Mean and std that the paper prints, percent; None where it prints none."""
    cells = paper_numbers()
    chosen = _in_cell(cells[cells.table == number], dataset, level, method)
    return (float(chosen["mean"].iloc[0]), float(chosen["std"].iloc[0])) if len(chosen) else None


def _in_cell(cells: pd.DataFrame, dataset: str, level: float, method: str) -> pd.DataFrame:
    wanted = (cells.dataset == dataset) & (cells.value == level) & (cells.method == method)
    return cells[wanted]


def printed_gap(
    table: int, dataset: str, level: float, ours: str, theirs: str
) -> tuple[float, float]:
    """The range around the difference of two printed cells: two standard errors, of five runs a
    cell."""
    a, b = (paper_cell(table, dataset, level, method) for method in (ours, theirs))
    if a is None or b is None:
        raise ValueError(f"Table {table}: prints no {ours} or {theirs} on {dataset} at {level}")
    margin = 2 * float(np.sqrt((a[1] ** 2 + b[1] ** 2) / 5))
    return a[0] - b[0] - margin, a[0] - b[0] + margin
