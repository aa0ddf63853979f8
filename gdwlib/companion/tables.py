"""The paper's Tables 2 to 5 as data, and ours beside them."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from gdwlib.companion import paper_tables
from gdwlib.companion.evidence import Evidence, Interval, final_accuracy, paired
from gdwlib.companion.paper_tables import (
    PUBLISHED,
    TABLES,
    Table,
    cell_elsewhere,
    own_methods,
    paper_cell,
    printed_gap,
)
from gdwlib.methods import NAMES as NAMES
from gdwlib.methods import title
from gdwlib.runs.config import RunConfig, suggestion
from gdwlib.runs.presets import PRESETS
from gdwlib.runs.records import RunRecord

SAME, OPPOSITE, OPEN = "same sign", "opposite", "open"  # the paper's gain over Base and ours


def table_configs(
    number: int,
    dataset: str,
    preset: str,
    *,
    methods: Sequence[str] | None = None,
    levels: Sequence[float] | None = None,
    seeds: Iterable[int] = (0, 1, 2),
) -> list[RunConfig]:
    """The runs of a table: level by level, method by method, the authors' recipes last, seed by
    seed.

    Args:
        methods, levels: some of the table's, or methods of your own; None for all of the table's.

    Raises:
        ValueError: a method or a level that the table does not have.
    """
    table = TABLES[number]
    there_are = (*table.methods, *own_methods())
    for name, asked, there in (("methods", methods, there_are), ("levels", levels, table.levels)):
        for value in asked or ():
            if value not in there:
                raise ValueError(
                    f"{name}: Table {number} has no "
                    f"{value!r}{suggestion(str(value), map(str, there))}"
                )
    chosen = [
        method
        for method in there_are
        if (method in table.methods if methods is None else method in methods)
    ]
    rows = [(method, "paper") for method in chosen] + [
        (m, "authors") for m in table.recipes if m in chosen
    ]
    return [
        RunConfig(
            dataset=dataset,
            preset=preset,
            method=method,
            recipe=recipe,
            seed=seed,
            **table.setting(level),
        )
        for level in (table.levels if levels is None else levels)
        for method, recipe in rows
        for seed in seeds
        if not (recipe == "authors" and level == table.levels[0])  # a recipe for imbalance
    ]


def compare(
    number: int,
    evidence: Evidence,
    dataset: str,
    preset: str,
    *,
    methods: Sequence[str] | None = None,
    levels: Sequence[float] | None = None,
) -> pd.DataFrame:
    """A row for each level and method, from records; numbers in percent, differences in points, NaN
    where there is none. The table's methods, and where they have records its `others` and methods
    of your own.

    Columns: `level`, `method`, `recipe`; `paper`, `paper std` (of CIFAR-10 where the data set is
    not the paper's), and `elsewhere`, what another paper prints; `ours`, `std`, `seeds`: mean and
    standard deviation over seeds of the mean of the last five epochs; `difference` to the paper's,
    at its size (its own data sets, preset `paper`); `best epoch`, for information; `GDW over
    it`, `over Base`: paired intervals (`Interval` or None); `paper over Base`; `sign of gain`: SAME
    or OPPOSITE, the signs of the paper's and ours, OPEN where one of them is not clear of chance
    (ours by its 95% interval, the paper's by two standard errors), else "".
    """
    table = TABLES[number]
    published = dataset if dataset in PUBLISHED else "cifar10"
    at_its_size = published == dataset and preset == "paper"
    rows = {}
    for level, config in _cells(
        table, evidence, dataset, preset, methods, table.levels if levels is None else levels
    ):
        own = config.recipe == "paper"  # the paper's row, not the authors'
        common = {"dataset": dataset, "preset": preset} | table.setting(level)
        gdw, base = (evidence.runs(RunConfig(method=name, **common)) for name in ("gdw", "base"))
        runs = evidence.runs(config)
        finals = np.array([final_accuracy(record) for record in runs.values()])
        paper = paper_cell(number, published, level, config.method) if own else None
        paper_base = paper_cell(number, published, level, "base")
        gain = None if config.method == "base" else paired(runs, base)
        rows[level, config.method, config.recipe] = {
            "paper": paper[0] if paper else np.nan,
            "paper std": paper[1] if paper else np.nan,
            "elsewhere": cell_elsewhere(number, published, level, config.method) if own else np.nan,
            "ours": finals.mean() if len(finals) else np.nan,
            "std": finals.std(ddof=1) if len(finals) > 1 else np.nan,
            "seeds": len(finals),
            "difference": finals.mean() - paper[0]
            if paper and len(finals) and at_its_size
            else np.nan,
            "best epoch": np.mean([record.result["best_accuracy"] for record in runs.values()])
            if runs
            else np.nan,
            "GDW over it": None if own and config.method == "gdw" else paired(gdw, runs),
            "over Base": gain,
            "paper over Base": paper[0] - paper_base[0] if paper and paper_base else np.nan,
            "sign of gain": _agreement(
                gain, printed_gap(number, published, level, config.method, "base")
            )
            if paper and gain
            else "",
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(rows, names=["level", "method", "recipe"])
    frame = frame.reset_index()
    frame.attrs = {"number": number, "dataset": dataset, "preset": preset, "published": published}
    return frame


def _cells(
    table: Table,
    evidence: Evidence,
    dataset: str,
    preset: str,
    methods: Sequence[str] | None,
    levels: Sequence[float],
) -> Iterator[tuple[float, RunConfig]]:
    """Level by level, the table's rows and the others that have records."""
    for level in levels:
        for config in table_configs(
            table.number, dataset, preset, methods=methods, levels=[level], seeds=[0]
        ):
            yield level, config
        for method in (*table.others, *own_methods()) if methods is None else ():
            config = RunConfig(
                dataset=dataset, preset=preset, method=method, **table.setting(level)
            )
            if evidence.runs(config):
                yield level, config


def records_of(frame: pd.DataFrame, evidence: Evidence) -> list[RunRecord]:
    """The records behind `compare`'s frame."""
    table = TABLES[frame.attrs["number"]]
    common = {name: frame.attrs[name] for name in ("dataset", "preset")}
    cells = frame[["level", "method", "recipe"]].itertuples(index=False)
    configs = [
        RunConfig(method=m, recipe=recipe, **common, **table.setting(level))
        for level, m, recipe in cells
    ]
    return [record for config in configs for record in evidence.runs(config).values()]


def _agreement(ours: Interval, printed: tuple[float, float]) -> str:
    signs = [(low > 0) - (high < 0) for low, high in ((ours.low, ours.high), printed)]
    return OPEN if 0 in signs else SAME if signs[0] == signs[1] else OPPOSITE


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """`compare`'s frame as text for eyes: two decimals, – where there is nothing."""

    def number(value: float, sign: bool = False) -> str:
        return "–" if np.isnan(value) else f"{value:+.2f}" if sign else f"{value:.2f}"

    def spread(mean: float, std: float) -> str:
        return f"{number(mean)} ± {std:.2f}" if not np.isnan(std) else number(mean)

    def test(interval: Interval | None) -> str:
        if interval is None:
            return "–"
        return str(interval) + (f", {interval.p_text}" if interval.seeds > 1 else "")

    table, here = TABLES[frame.attrs["number"]], frame.attrs["published"] == frame.attrs["dataset"]
    other = PUBLISHED[frame.attrs["published"]]
    shown = pd.DataFrame(
        {
            "μ" if table.number == 4 else "noise": [
                table.label(level).removeprefix("μ = ") for level in frame["level"]
            ],
            "method": [row_name(row.method, row.recipe) for row in frame.itertuples()],
            "paper" if here else f"paper, {other}": map(spread, frame["paper"], frame["paper std"]),
            "published elsewhere": frame["elsewhere"].map(number),
            "ours" if here else f"ours, {frame.attrs['dataset']}": map(
                spread, frame["ours"], frame["std"]
            ),
            "seeds": frame["seeds"].map(lambda count: str(count) if count else "–"),
            "difference": [
                number(value, True)
                + (f" ({abs(value) / std:.1f} std)" if abs(value) >= 0 < std else "")
                for value, std in zip(frame["difference"], frame["paper std"], strict=True)
            ],
            "best epoch": frame["best epoch"].map(number),
            "GDW over it, 95%": frame["GDW over it"].map(test),
            "over Base, 95%": frame["over Base"].map(test),
            "paper over Base": [number(value, True) for value in frame["paper over Base"]],
            "sign of gain": frame["sign of gain"].replace("", "–"),
        }
    )
    at_its_size = here and frame.attrs["preset"] == "paper"
    left_out = [] if at_its_size else ["difference"]
    left_out += ["published elsewhere"] * bool(frame["elsewhere"].isna().all())
    return shown.drop(columns=left_out).set_index(list(shown.columns[:2]))


def row_name(method: str, recipe: str = "paper") -> str:
    """A method as tables and figures name it."""
    return title(method) + (", authors' recipe" if recipe == "authors" else "")


def largest(
    table: Table, evidence: Evidence, dataset: str, preset: str | None = None
) -> pd.DataFrame:
    """`compare`, by default of the largest preset that has records."""
    frames = (
        compare(table.number, evidence, dataset, name)
        for name in ([preset] if preset else reversed(PRESETS))
    )
    first = next(frames)
    there = (frame for frame in itertools.chain([first], frames) if frame["seeds"].any())
    return next(there, first)


def short(frame: pd.DataFrame, rows: int = 6) -> pd.DataFrame:
    """What a reader of `readable` needs first: of the last level that has records Base, MWNet, GDW
    and the methods with the highest means, `rows` together; accuracies, gains over Base and GDW's
    leads."""
    known = frame[frame["seeds"] > 0]
    level = known["level"].iloc[-1] if len(known) else frame["level"].iloc[-1]
    there = frame[(frame["level"] == level) & (frame["recipe"] == "paper")]
    first = there["method"].isin(("base", "mwnet", "gdw"))
    others = there[~first].nlargest(max(0, rows - int(first.sum())), "ours")
    chosen = pd.concat([there[first], others]).sort_values("ours", ascending=False)
    chosen.attrs = frame.attrs
    text = readable(chosen)
    wanted = ("paper", "ours", "over Base", "GDW over it", "paper over Base", "sign of gain")
    text = text[[name for name in text.columns if name.startswith(wanted)]]
    return text.replace(r", p .*", "", regex=True)


def as_text(frame: pd.DataFrame) -> str:
    """`compare`'s whole table for a terminal or a pipe: nothing is cut."""
    return "{}\n{}\n\n{}\n".format(*headed(frame), readable(frame).to_string())


def headed(frame: pd.DataFrame) -> tuple[str, str]:
    """What stands above a table: its title, and how it is to be read."""
    table, dataset = TABLES[frame.attrs["number"]], frame.attrs["dataset"]
    there = frame["seeds"].any()
    head = f"Table {table.number}. {table.title} (%): {dataset}"
    note = "ours: mean ± std over seeds of the mean of the last five epochs "
    note += "(all, where there are fewer)"
    note += "; what one method has over another is paired by seed, in points"
    note += "; “sign of gain”: the paper's gain over Base and ours; "
    note += "open: one of them is not clear of chance"
    if not frame["elsewhere"].isna().all():
        sources = paper_tables.elsewhere().query("dataset == @frame.attrs['published']")
        kinds = {2: "uniform", 4: "imbalance"}[table.number]
        (source,) = set(sources[sources["noise"] == kinds]["source"])
        note += f"; published elsewhere: {source}"
        note += ", by the authors' own recipes" * (table.number == 4)
    if not there:
        flags = {
            2: "--noise uniform --noise-ratio 0.6",
            3: "--noise flip --noise-ratio 0.4",
            4: "--imbalance 0.01",
        }
        note = (
            "no records of ours; make one with, for example, "
            f"python -m gdwlib run --dataset {dataset} --method gdw {flags[table.number]} --preset "
            "small"
        )
    elif frame.attrs["preset"] == "smoke":
        note += "; preset smoke: these numbers mean nothing"
    else:
        head += f", preset {frame.attrs['preset']}"
        if frame.attrs["preset"] == "paper":
            note += (
                "; “difference”: from the paper's, in brackets in the paper's standard deviations"
            )
        elif frame.attrs["preset"] == "half":
            note += "; ours are of images with a quarter of the pixels: "
            note += "compare gains, not accuracies"
        else:
            note += "; ours are shorter trainings on fewer images than the paper's: "
            note += "compare signs, not sizes"
    return head, note
