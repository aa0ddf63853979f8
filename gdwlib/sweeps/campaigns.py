"""Which runs, and in what order: those of the paper, of its tables and sections, and those behind
the committed notebooks. (Any other list is a file: `run_lists`.)"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from gdwlib.methods import METHODS, NAMES
from gdwlib.runs.config import RunConfig
from gdwlib.runs.presets import WITH_AUTHORS_RECIPE

Fields = dict[str, Any]  # of RunConfig
UNIFORM_40: Fields = {"noise": "uniform", "noise_ratio": 0.4}
UNIFORM_60: Fields = {"noise": "uniform", "noise_ratio": 0.6}
FLIP_40: Fields = {"noise": "flip", "noise_ratio": 0.4}
FLIP_20: Fields = {"noise": "flip", "noise_ratio": 0.2}
MU_001: Fields = {"imbalance": 0.01}
# the columns of Tables 2 to 4, those that decide most claims first
COLUMNS: tuple[Fields, ...] = (
    UNIFORM_40,
    UNIFORM_60,
    FLIP_40,
    FLIP_20,
    MU_001,
    {"imbalance": 0.1},
    {},
)
FIRST = ("gdw", "mwnet", "base")  # what every claim is about
VARIANTS: tuple[Fields, ...] = ({"zero_mean": False, **UNIFORM_40},)  # of GDW
FINETUNE_LRS = (1e-7, 1e-5, 1e-3, 1e-1)  # Section 4.2 tried so many under imbalance
MIXED: Fields = {"imbalance": 0.1, **UNIFORM_40}  # Appendix F: noise and imbalance at once
# what the paper compares only under label noise (Tables 2 and 3), or only under imbalance (Table 4)
NOISE_ONLY = ("coteaching", "glc", "soft_label", "gen_label")
IMBALANCE_ONLY = ("focal", "class_balanced")


def methods_in_column(column: dict) -> list[str]:
    """The methods that the paper compares there."""
    left_out = NOISE_ONLY if "imbalance" in column else IMBALANCE_ONLY if "noise" in column else ()
    return [name for name in METHODS if name not in left_out]


def table_runs(
    preset: str,
    datasets: Sequence[str],
    methods: Collection[str],
    seeds: Iterable[int],
    columns: Sequence[dict] = COLUMNS,
    variants: Sequence[dict] = VARIANTS,
) -> list[RunConfig]:
    """The runs of Tables 2 to 4, or of some of their columns, and of variants of GDW, the most
    valuable first: GDW, MWNet and Base on each data set in turn, one seed of everything before the
    next, then the other methods likewise."""
    seeds = list(seeds)
    first, others = (
        [name for name in (*FIRST, *METHODS) if name in methods and (name in FIRST) == wanted]
        for wanted in (True, False)
    )
    runs = []
    for group in (list(dict.fromkeys(first)), others):
        for dataset in datasets:
            if dataset == "clothing1m":  # whose noise is its own
                continue
            for seed in seeds:
                common: Fields = {"dataset": dataset, "preset": preset, "seed": seed}
                for column in columns:
                    there = methods_in_column(column)
                    runs += [
                        RunConfig(method=name, **common, **column)
                        for name in group
                        if name in there
                    ]
                if "gdw" in group:
                    runs += [RunConfig(method="gdw", **common, **variant) for variant in variants]
    return runs


def appendix_runs(
    preset: str, datasets: Sequence[str], methods: Collection[str], seeds: Iterable[int]
) -> list[RunConfig]:
    """What the paper has beside its Tables 2 to 4, and what it takes to judge them: GDW, MWNet and
    Base under labels by people (for Clothing1M's, CIFAR-10N's worst); noise and imbalance at once
    (Appendix F); GDW without Eq. 4 at 60% noise too (B.2); the methods of Table 4 by their authors'
    recipes."""
    seeds = list(seeds)
    people = [
        RunConfig(dataset="cifar10n", label_set="worst", method=name, preset=preset, seed=seed)
        for seed in seeds
        for name in FIRST
        if "cifar10" in datasets and name in methods
    ]
    fields: list[Fields] = [{"method": name, **MIXED} for name in (*FIRST, "meta_only")]
    fields += [{"method": "gdw", "zero_mean": False, **UNIFORM_60}]
    fields += [{"method": name, "meta_overlap": True, **UNIFORM_60} for name in ("gdw", "mwnet")]
    fields += [{"method": name, **MU_001} for name in NOISE_ONLY]  # Table 1's crosses
    fields += [{"method": name, **UNIFORM_60} for name in IMBALANCE_ONLY]
    fields += [
        {"method": "finetune", "finetune_lr": lr, **MU_001} for lr in FINETUNE_LRS if lr != 1e-3
    ]
    fields += [
        {"method": name, "recipe": "authors", "imbalance": mu}
        for mu in (0.1, 0.01)
        for name in WITH_AUTHORS_RECIPE
    ]
    return people + [
        RunConfig(dataset=dataset, preset=preset, seed=seed, **of)
        for seed in seeds
        for dataset in datasets
        if dataset != "clothing1m"
        for of in fields
        if of["method"] in methods
    ]


def paper_runs(
    preset: str, datasets: Sequence[str], methods: Collection[str], seeds: Iterable[int]
) -> list[RunConfig]:
    """Everything: Tables 2 to 4, then the appendices, then Table 5 (Clothing1M)."""
    seeds = list(seeds)
    clothing = [
        RunConfig(dataset="clothing1m", method=name, preset=preset, seed=seed)
        for seed in seeds
        for name in methods_in_column(UNIFORM_40)
        if "clothing1m" in datasets and name in methods
    ]
    tables = table_runs(preset, datasets, methods, seeds)
    return tables + appendix_runs(preset, datasets, methods, seeds) + clothing


def evidence_runs(
    preset: str, datasets: Sequence[str], methods: Collection[str], seeds: Iterable[int]
) -> list[RunConfig]:
    """The runs behind the committed notebooks (there: `small`, three seeds), one seed after the
    other.

    On `fashion`: every cell of Tables 2 to 4, the baselines of Table 4 also by their authors'
    recipes; at 60% uniform noise, 40% flip noise and μ = 0.01 the methods that the paper leaves out
    there as well; noise and imbalance at once; GDW without the zero-mean constraint, GDW and MWNet
    with the official code's overlapping meta set; GDW, MWNet and Base four times as long at 40%
    flip noise and at μ = 0.01, where MWNet and GDW fall short of the paper. On `cifar10`: four
    methods at 60% uniform and 40% flip noise, and the network of Figures 1 and 4. On `cifar10n`:
    GDW, MWNet and Base under three sets of labels by people.
    """
    of = {
        "fashion": _fashion_evidence,
        "cifar10": _cifar10_evidence,
        "cifar10n": _cifar10n_evidence,
    }
    return [
        RunConfig(dataset=dataset, preset=preset, seed=seed, **fields)
        for seed in seeds
        for dataset in datasets
        if dataset in of
        for fields in of[dataset](preset, seed)
        if fields["method"] in methods
    ]


def half_runs(
    preset: str, datasets: Sequence[str], methods: Collection[str], seeds: Iterable[int]
) -> list[RunConfig]:
    """What a CPU carries of the paper's CIFAR (the preset `half`), the most valuable first: GDW,
    MWNet and Base at 60% uniform and 40% flip noise, one seed after the other; these, the meta set
    alone and Balanced at μ = 0.01; then, of the first seed only, 40% uniform noise, there GDW
    without Eq. 4 too (B.2), and four baselines at 60%."""
    seeds = list(seeds)
    common = [
        (seed, column | {"method": name})
        for seed in seeds
        for column in (UNIFORM_60, FLIP_40)
        for name in FIRST
    ]
    rare = [
        (seed, MU_001 | {"method": name})
        for seed in seeds
        for name in (*FIRST, "meta_only", "class_balanced")
    ]
    once = [UNIFORM_40 | {"method": name} for name in FIRST] + [
        UNIFORM_40 | {"method": "gdw", "zero_mean": False}
    ]
    once += [UNIFORM_60 | {"method": name} for name in ("finetune", "coteaching", "glc", "l2rw")]
    return [
        RunConfig(dataset=dataset, preset=preset, seed=seed, **fields)
        for dataset in datasets
        for seed, fields in (
            *common,
            *rare,
            *((seed, fields) for seed in seeds[:1] for fields in once),
        )
        if fields["method"] in methods
    ]


def _fashion_evidence(preset: str, seed: int) -> Iterator[dict]:
    for column in COLUMNS:
        every = column in ({}, UNIFORM_60, FLIP_40, MU_001)
        yield from (
            {"method": name, **column}
            for name in NAMES
            if every or name in methods_in_column(column)
        )
        if "imbalance" in column:
            yield from (
                {"method": name, "recipe": "authors", **column} for name in WITH_AUTHORS_RECIPE
            )
    yield from ({"method": name, **MIXED} for name in (*FIRST, "meta_only"))
    yield from (
        {"method": "gdw", "zero_mean": False, **column} for column in (UNIFORM_40, UNIFORM_60)
    )
    yield from ({"method": name, "meta_overlap": True, **UNIFORM_60} for name in ("gdw", "mwnet"))
    yield from (
        {"method": "finetune", "finetune_lr": lr, **MU_001} for lr in FINETUNE_LRS if lr != 1e-3
    )
    longer = 4 * RunConfig(dataset="fashion", preset=preset).epochs
    yield from (
        {"method": name, "epochs": longer, **column}
        for column in (MU_001, FLIP_40)
        for name in FIRST
    )


def _cifar10_evidence(preset: str, seed: int) -> Iterator[dict]:
    for column in (UNIFORM_60, FLIP_40):
        yield from ({"method": name, **column} for name in (*FIRST, "l2rw"))
    if seed == 0:
        yield {"method": "gdw", **UNIFORM_40}


def _cifar10n_evidence(preset: str, seed: int) -> Iterator[dict]:
    yield from (
        {"method": name, "label_set": of}
        for of in ("worst", "random1", "aggregate")
        for name in FIRST
    )


class Campaign(NamedTuple):
    """A list of runs, and for which data sets, how many seeds and at which preset it is made where
    nothing else is said."""

    runs: Callable[[str, Sequence[str], Collection[str], Iterable[int]], list[RunConfig]]
    datasets: tuple[str, ...]
    seeds: int
    preset: str = "small"


BOTH = ("cifar10", "cifar100")
CAMPAIGNS = {
    "paper": Campaign(paper_runs, BOTH, 5),
    "tables": Campaign(table_runs, BOTH, 5),
    "table2": Campaign(
        partial(table_runs, columns=(UNIFORM_40, UNIFORM_60, {}), variants=()), BOTH, 5
    ),
    "table3": Campaign(partial(table_runs, columns=(FLIP_40, FLIP_20, {}), variants=()), BOTH, 5),
    "table4": Campaign(
        partial(table_runs, columns=(MU_001, {"imbalance": 0.1}, {}), variants=()), BOTH, 5
    ),
    "appendices": Campaign(appendix_runs, BOTH, 5),
    "evidence": Campaign(evidence_runs, ("fashion", "cifar10", "cifar10n"), 3),
    "half": Campaign(half_runs, ("cifar10",), 3, "half"),
}
