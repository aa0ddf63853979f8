"""How the columns of a table become numbers."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gdwlib.data.errors import DataError
from gdwlib.data.own.dates import ORDERS, date_order, days
from gdwlib.data.own.rows import Rows
from gdwlib.data.own.spelling import (
    MISSING,
    is_none_like,
    normalised_label,
)

LARGEST = float(np.finfo(float).max)
CUT = 5.0  # interquartile ranges from the median
LEVELS = 50  # values of a column of categories
# what cannot be read in two ways: no group of three digits follows, or none stands before
COMMA = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+,\d+|\d*,(\d{1,2}|\d{4,})|0,\d+|\d{4,},\d+)")
POINT = re.compile(r"[-+]?(\d{1,3}(,\d{3})+\.\d+|\d*\.(\d{1,2}|\d{4,})|0\.\d+|\d{4,}\.\d+)")
MARKS = "%$€£¥"
FEW = 20  # rows, in which whole numbers are all different by chance
DENSE = 3  # ids count rows: they lie within so many times as many numbers
NUMBERS = 0.8  # a column is one of numbers where so many of its cells are


def bare(cell: str) -> str:
    """Without spaces, percent and currency; a minus sign is ASCII's."""
    text = "".join(cell.replace("\u2212", "-").split()).strip(MARKS)
    return text[0] + text[1:].lstrip(MARKS) if text[:1] in ("-", "+") else text


def number(cell: object, comma: bool = False) -> float:
    """The cell's number, NaN where it has none. Infinities are none; 12% and $12 are 12, and
    1,234.5 or (where `comma` says that decimals follow a comma) 1.234,5 are one number."""
    if isinstance(cell, bool | np.bool_):
        return float(cell)
    if isinstance(cell, int | float | np.number):
        value = float(cell)
        return value if np.isfinite(value) else np.nan
    text = bare(str(cell))
    text = text.replace(".", "").replace(",", ".") if comma else text.replace(",", "")
    try:
        value = float(text.replace("_", "x"))  # float() takes 1_000
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan


def decimal_comma(name: str, cells: Sequence) -> bool | None:
    """Whether a column writes 1,5 for one and a half (False: 1.5); None where no cell tells, as
    1,234 does not.

    Raises:
        DataError: it writes both.
    """
    texts = [(cell, bare(cell)) for cell in cells if isinstance(cell, str)]
    by_comma = next((cell for cell, text in texts if COMMA.fullmatch(text)), None)
    by_point = next((cell for cell, text in texts if POINT.fullmatch(text)), None)
    if by_comma is not None and by_point is not None:
        read = [np.isfinite(number(cell)) or np.isfinite(number(cell, True)) for cell in cells]
        if sum(read) < NUMBERS * len(read):
            return None  # a text, in which numbers occur
        raise DataError(
            f"column {name!r}: decimals follow a comma in some cells and a point in others, as "
            f"{by_comma!r} and {by_point!r}; write all of them in one way"
        )
    return None if by_comma is None and by_point is None else by_comma is not None


def like_an_id(values: np.ndarray, rows: int) -> bool:
    """Whether a column (n,) has another whole number in each row."""
    whole = len(values) == rows >= FEW and bool((values == np.round(values)).all())
    return whole and len(np.unique(values)) == rows


def is_missing(cell: object) -> bool:
    return is_none_like(cell) or str(cell).strip().casefold() in MISSING


class Scaling:
    """How a table becomes numbers. `plan` is plain data, a dict a column, to be kept as JSON."""

    def __init__(self, plan: list[dict]):
        self.plan = plan

    @classmethod
    def learn(cls, rows: Rows) -> tuple["Scaling", list[str]]:
        """From the training rows, with remarks on columns left out and cells taken for missing."""
        plan: list[dict] = []
        remarks: list[str] = []
        dropped: dict[str, list[str]] = {}
        for name, cells in rows.columns.items():
            there = [cell for cell in cells if not is_missing(cell)]
            order, comma = date_order(there), bool(decimal_comma(name, there))
            values = np.array(
                [days(cell, order) if order else number(cell, comma) for cell in there], float
            )
            valid = values[np.isfinite(values)]
            if order:
                remarks.append(f"column {name!r}: dates ({ORDERS[order]}), taken as days")
            elif like_an_id(valid, len(cells)):
                if np.ptp(valid) < DENSE * len(valid):
                    dropped.setdefault("another whole number in each row, as ids are", []).append(
                        name
                    )
                    continue
                remarks.append(
                    f"column {name!r}: another whole number in each row; if it is an id, take it "
                    "out, for labels can be learned by heart from it"
                )
            if len(there) and len(valid) >= NUMBERS * len(there):
                # halved, so that between numbers near 1e308 nothing overflows
                low, middle, high = 2 * np.quantile(valid / 2, (0.25, 0.5, 0.75))
                with np.errstate(over="ignore", invalid="ignore"):  # of numbers near 1e308
                    scale = min((high - low) or valid.std(), LARGEST)
                if valid.min() == valid.max() and len(valid) == len(cells):
                    dropped.setdefault("constant", []).append(name)
                    continue
                if len(valid) < len(there):
                    odd = next(
                        cell
                        for cell, value in zip(there, values, strict=True)
                        if not np.isfinite(value)
                    )
                    others = f"{len(there) - len(valid)} cells are no numbers, as {str(odd)[:20]!r}"
                    remarks.append(f"column {name!r}: {others}: taken for missing")
                gaps = len(valid) < len(cells)
                plan.append(
                    {
                        "name": name,
                        "middle": float(middle),
                        "scale": float(scale or 1),
                        "comma": comma,
                        "missing": gaps,
                    }
                    | ({"dates": order} if order else {})
                )
                continue
            counts = Counter(level_of(cell) for cell in there)
            common = [level for level, count in counts.most_common(LEVELS) if count > 1]
            single = sum(count == 1 for count in counts.values())
            if len(counts) <= 1 and len(there) == len(cells) or not there:
                dropped.setdefault("constant" if there else "empty", []).append(name)
            elif single > 0.5 * len(there):
                dropped.setdefault("another text in most rows", []).append(name)
            else:
                if len(counts) > LEVELS:
                    remarks.append(
                        f"column {name!r}: of its {len(counts)} values the {len(common)} commonest "
                        "are told apart, and all others are one"
                    )
                plan.append(
                    {"name": name, "levels": sorted(common), "missing": len(there) < len(cells)}
                )
        remarks += [
            f"columns left out ({why}): {', '.join(names)}" for why, names in dropped.items()
        ]
        if not plan:
            raise DataError(
                "no column is left to learn from: each is constant, empty, an id, or another text "
                "in most rows"
            )
        return cls(plan), remarks

    def check(self) -> None:
        """ValueError where the plan, as read from a file, is none."""
        for column in self.plan:
            name, levels = column["name"], column.get("levels")
            numbers = [column[key] for key in ("middle", "scale")] if levels is None else [1.0]
            if (
                not isinstance(name, str)
                or not isinstance(column["missing"], bool)
                or (levels is not None and not all(isinstance(level, str) for level in levels))
                or not all(isinstance(n, float | int) and np.isfinite(float(n)) for n in numbers)
                or not numbers[-1] > 0
            ):
                raise ValueError(f"column {name!r:.40}")

    @property
    def width(self) -> int:
        """F, how many features a row has."""
        own = [len(column["levels"]) if "levels" in column else 1 for column in self.plan]
        return sum(own) + sum(bool(column["missing"]) for column in self.plan)

    def features(self, rows: Rows, what: str = "") -> tuple[np.ndarray, list[str]]:
        """(n, F) float32, and remarks on cells that the training table has nothing like; `what`
        names the rows in them. Decimals are read as these rows write them.

        Raises:
            DataError: columns are not there, or write decimals in two ways.
        """
        absent = [column["name"] for column in self.plan if column["name"] not in rows.columns]
        if absent:
            raise DataError(f"columns are missing that the training table has: {', '.join(absent)}")
        parts, remarks = [], []
        for column_ in self.plan:
            name, cells = column_["name"], rows.columns[column_["name"]]
            missing = np.array([is_missing(cell) for cell in cells], bool)
            if "levels" in column_:
                found = np.array(
                    [
                        None if gap else level_of(cell)
                        for cell, gap in zip(cells, missing, strict=True)
                    ],
                    object,
                )
                parts += [(found == level).astype(float) for level in column_["levels"]]
                gaps = missing
                known = set(column_["levels"])
                strange = ~missing & np.array([level not in known for level in found], bool)
                why = "have none of the values that were learned from the training table"
            else:
                there = [cell for cell, gap in zip(cells, missing, strict=True) if not gap]
                read, said = self._reading(column_, there, what or "these rows")
                remarks += said
                values = np.array(
                    [
                        np.nan if gap else read(cell)
                        for cell, gap in zip(cells, missing, strict=True)
                    ],
                    float,
                )
                gaps = np.isnan(values)
                kind = "dates" if "dates" in column_ else "numbers"
                strange, why = gaps & ~missing, f"are no {kind}: taken for missing"
                with np.errstate(over="ignore"):
                    away = np.where(gaps, column_["middle"], values) - column_["middle"]
                    scaled = away / column_["scale"]
                parts.append(scaled.clip(-CUT, CUT))
            if column_["missing"]:
                parts.append(gaps.astype(float))
            if strange.any():
                first = str(cells[int(strange.argmax())])[:20]
                remarks.append(
                    f"column {name!r}: {strange.sum()} of {rows.count} cells in "
                    f"{what or 'these rows'}, as {first!r}, {why}"
                )
        features = (
            np.stack(parts, 1).astype(np.float32)
            if rows.count
            else np.empty((0, len(parts)), np.float32)
        )
        return features, remarks

    @staticmethod
    def _reading(
        column_: dict, there: Sequence, what: str
    ) -> tuple[Callable[[object], float], list[str]]:
        """How these cells of a column of numbers or dates are read: as they write it, and where
        they do not tell as the training table does. And a remark where the two differ."""
        name = column_["name"]
        if trained := column_.get("dates"):
            order = date_order(there) or trained
            remark = (
                f"column {name!r}: dates are {ORDERS[order]} in {what}, and {ORDERS[trained]} in "
                "the training table: each is read by its own"
            )
            return partial(days, order=order), [remark] if order != trained else []
        own = decimal_comma(name, there)
        comma = column_["comma"] if own is None else own
        here, before = ("comma", "point") if comma else ("point", "comma")
        remark = (
            f"column {name!r}: decimals follow a {here} in {what}, and a {before} in the training "
            "table: each is read by its own"
        )
        return partial(number, comma=comma), [remark] if comma != column_["comma"] else []


def level_of(cell: object) -> str:
    return (normalised_label(cell) or "").casefold()
