"""Your own tables: a CSV file, or arrays `(features, labels)`, an example a row, numbers and
categories mixed.

A column of numbers is scaled by its median and interquartile range and cut at ±5; where cells are
missing it gets the median and a column beside it that says so. Other columns become one 0/1 column
for each value that two examples at least have in common, up to 50. Constant columns, and those with
another text in almost every row, are left out. All of it is learned from the training rows, and
kept with the model.
"""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gdwlib.data.dataset import Dataset, Images
from gdwlib.data.errors import DataError
from gdwlib.data.image_files import UnusableFile, refuse
from gdwlib.data.own.folder import LABELS, check_unchanged, content_digest, dataset_of
from gdwlib.data.own.named import NamedFiles
from gdwlib.data.own.spelling import (
    MISSING,
    Classes,
    column,
    is_none_like,
    normalised_label,
    read_csv,
)

IDS = ("id", "index", "row", "row_id", "key", "uuid", "")
CUT = 5.0  # interquartile ranges from the median
LEVELS = 50  # values of a column of categories
DECIMAL = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+,\d+|\d*,(\d{1,2}|\d{4,})|0,\d+)")
MARKS = "%$€£¥"
NUMBERS = 0.8  # a column is one of numbers where so many of its cells are


class Rows:
    """A table as written: column name → its cells; ids (n,) and labels (n,), None where there is
    none."""

    def __init__(
        self,
        columns: Mapping[str, Sequence],
        labels: Sequence | None,
        ids: Sequence | None,
        bad: Sequence[UnusableFile] = (),
        remark: str | None = None,
    ):
        self.columns = {name: list(cells) for name, cells in columns.items()}
        if not self.columns:
            raise DataError("no column is left to learn from: there is nothing but ids and labels")
        lengths = {len(cells) for cells in self.columns.values()}
        self.count = lengths.pop() if lengths else 0
        if lengths:
            raise DataError("features: columns of different lengths")
        self.ids = [str(k) for k in (ids if ids is not None else range(self.count))]
        self.labels = [normalised_label(label) for label in labels] if labels is not None else None
        self.bad, self.remark = list(bad), remark
        for name, values in (("labels", self.labels), ("ids", self.ids)):
            if values is not None and len(values) != self.count:
                raise DataError(f"{name}: {len(values)} for {self.count} rows of features")

    def take(self, positions: Sequence[int] | np.ndarray) -> "Rows":
        columns = {name: [cells[k] for k in positions] for name, cells in self.columns.items()}
        labels = [self.labels[k] for k in positions] if self.labels is not None else None
        return Rows(columns, labels, [self.ids[k] for k in positions])


def rows_of_csv(path: Path, label_column: str | None, need_labels: bool = True) -> Rows:
    """A table with a header; the labels in the column that is named, else in one called label,
    class or target."""
    header, *body = read_csv(path)
    label_at = column(header, label_column, LABELS)
    if label_at is None and need_labels:
        raise DataError(
            f"{path}: has no column {label_column or 'label'!r}; name it with --label-column, "
            f"one of {', '.join(header)}"
        )
    id_at = column(header, None, IDS)
    names = [name or f"column {k + 1}" for k, name in enumerate(header)]
    names = distinct(names)
    whole, bad = [], []
    for number, row in enumerate(body, 2):
        row = [*row, *[""] * (len(header) - len(row))] if len(row) > len(header) // 2 else row
        while len(row) > len(header) and not row[-1]:
            row.pop()
        if len(row) == len(header):
            whole.append((number, row))
        else:
            bad.append(
                UnusableFile(f"line {number}", f"{len(row)} cells, the header has {len(header)}")
            )
    ids = [
        row[id_at] or f"line {number}" if id_at is not None else f"line {number}"
        for number, row in whole
    ]
    remark = None
    if again := [name for name, count in Counter(ids).items() if count > 1]:
        told = f"{len(again)} ids stand in several rows, as {again[0]!r}"
        remark = f"{path}: {told}; rows are named by their lines instead"
        ids = [f"line {number}" for number, _ in whole]
    columns = {
        name: [row[k] for _, row in whole]
        for k, name in enumerate(names)
        if k not in (id_at, label_at)
    }
    return Rows(
        columns,
        [row[label_at] for _, row in whole] if label_at is not None else None,
        ids,
        bad,
        remark,
    )


def distinct(names: Sequence[str]) -> list[str]:
    """Columns of one name are numbered, by numbers that are free."""
    often, made = Counter(names), []
    for name in names:
        numbered = (f"{name} ({k})" for k in itertools.count(1))
        free = (other for other in numbered if other not in often and other not in made)
        made.append(name if often[name] == 1 else next(free))
    return made


def rows_of_arrays(features: Any, labels: Any = None, ids: Any = None) -> Rows:
    """(n, F) numbers, or a data frame, with (n,) labels of any kind."""
    if hasattr(features, "columns"):  # pandas, polars
        names = [str(name) for name in features.columns]
        if again := [name for name, count in Counter(names).items() if count > 1]:
            raise DataError(
                f"features: two columns are called {again[0]!r}; give each a name of its own"
            )
        columns = dict(zip(names, (list(features[name]) for name in features.columns), strict=True))
    else:
        array = np.asarray(features.cpu() if hasattr(features, "cpu") else features)
        if array.ndim != 2:
            raise DataError(f"features: must be of shape (n, F), not {array.shape}")
        columns = {f"feature {k + 1}": array[:, k].tolist() for k in range(array.shape[1])}
    labels = labels.tolist() if hasattr(labels, "tolist") else labels
    return Rows(columns, labels, ids)


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


def decimal_comma(cells: Sequence) -> bool:
    """Whether a column writes 1,5 for one and a half: a comma that no group of three digits
    follows, or none before."""
    return any(isinstance(cell, str) and DECIMAL.fullmatch(bare(cell)) for cell in cells)


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
            comma = decimal_comma(there)
            values = np.array([number(cell, comma) for cell in there], float)
            valid = values[np.isfinite(values)]
            if len(there) and len(valid) >= NUMBERS * len(there):
                low, middle, high = np.quantile(valid, (0.25, 0.5, 0.75))
                scale = (high - low) or valid.std()
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
                )
                continue
            counts = Counter(_level(cell) for cell in there)
            common = [level for level, count in counts.most_common(LEVELS) if count > 1]
            covered = sum(counts[level] for level in common)
            if len(counts) <= 1 and len(there) == len(cells) or not there:
                dropped.setdefault("constant" if there else "empty", []).append(name)
            elif covered < 0.5 * len(there):
                dropped.setdefault("another text in most rows", []).append(name)
            else:
                plan.append(
                    {"name": name, "levels": sorted(common), "missing": len(there) < len(cells)}
                )
        remarks += [
            f"columns left out ({why}): {', '.join(names)}" for why, names in dropped.items()
        ]
        if not plan:
            raise DataError(
                "no column is left to learn from: each is constant, empty, or another text in most "
                "rows"
            )
        return cls(plan), remarks

    def features(self, rows: Rows) -> np.ndarray:
        """(n, F) float32. DataError names columns that are not there."""
        absent = [column["name"] for column in self.plan if column["name"] not in rows.columns]
        if absent:
            raise DataError(f"columns are missing that the training table has: {', '.join(absent)}")
        parts = []
        for column_ in self.plan:
            cells = rows.columns[column_["name"]]
            if "levels" in column_:
                found = np.array(
                    [None if is_missing(cell) else _level(cell) for cell in cells], object
                )
                parts += [(found == level).astype(float) for level in column_["levels"]]
                gaps = np.array([level is None for level in found])
            else:
                values = np.array(
                    [
                        np.nan if is_missing(cell) else number(cell, column_["comma"])
                        for cell in cells
                    ],
                    float,
                )
                gaps = np.isnan(values)
                scaled = (np.where(gaps, column_["middle"], values) - column_["middle"]) / column_[
                    "scale"
                ]
                parts.append(scaled.clip(-CUT, CUT))
            if column_["missing"]:
                parts.append(gaps.astype(float))
        return (
            np.stack(parts, 1).astype(np.float32)
            if rows.count
            else np.empty((0, len(parts)), np.float32)
        )


def _level(cell: object) -> str:
    return normalised_label(cell).casefold() if normalised_label(cell) is not None else ""


def build(
    train: Rows, trusted: Rows | None, test: Rows | None, where: object, skip_bad: bool
) -> Dataset:
    """The data set of a table. Trusted and test rows are taken out of the training rows."""
    parts = {"rows": train, "trusted rows": trusted, "test rows": test}
    parts = {what: rows for what, rows in parts.items() if rows is not None}
    known = [label for label in train.labels if label is not None]
    classes = Classes(known)
    if len(classes.names) < 2:
        raise DataError(
            f"{where}: its labels are of {len(classes.names)} classes, two are needed; is it the "
            "right column?"
        )
    if len(classes.names) > 20 and len(classes.names) > len(known) / 5:
        raise DataError(
            f"{where}: {len(classes.names)} different labels for {len(known)} rows; is it the "
            "right column? "
            "Labels must be classes"
        )
    remarks = list(classes.remarks)
    indices = {}  # what → the class of each of its rows, -1 where it is none
    for what, rows in parts.items():
        remarks.append(rows.remark)
        found = [classes.index(label) if label is not None else None for label in rows.labels]
        bad = rows.bad + [
            UnusableFile(
                k, "no label" if label is None else f"no class {label!r} in the training rows"
            )
            for k, label, c in zip(rows.ids, rows.labels, found, strict=True)
            if c is None
        ]
        remarks.append(
            refuse(
                where if rows is train else f"{what} of {where}",
                bad,
                rows.count + len(rows.bad),
                what,
                skip_bad,
            )
        )
        indices[what] = np.array([-1 if c is None else c for c in found], np.int64)
    scaling, said = Scaling.learn(train)
    loaded = {}
    for what, rows in parts.items():
        kept = indices[what] >= 0
        loaded[what] = Images(
            scaling.features(rows)[kept], indices[what][kept], np.array(rows.ids, np.str_)[kept]
        )
    own = loaded.pop("rows")
    contents = {
        what: [row.tobytes() for row in np.asarray(images.images)]
        for what, images in loaded.items()
    }
    here = [row.tobytes() for row in np.asarray(own.images)]
    apart = {row for rows_ in contents.values() for row in rows_}
    copies = np.array([row in apart for row in here], np.bool_)
    if copies.any() and len(set(here)) > 0.9 * len(here):
        remarks.append(f"{copies.sum()} rows are also trusted or test rows: not trained on")
        own = own.take(np.flatnonzero(~copies))
    elif copies.any():  # a table of few values, in which equal rows are not the same example
        remarks.append(
            f"{copies.sum()} rows are like trusted or test rows in every column; kept, as so many "
            "rows are alike"
        )
    dataset = dataset_of(
        classes.names,
        own,
        loaded.get("trusted rows"),
        loaded.get("test rows"),
        [*remarks, *said],
        where,
    )
    return replace(dataset, columns=tuple(scaling.plan))


def open_table(files: NamedFiles) -> Dataset:
    """The data set that a `RunConfig` names by its fields data_file, label_column, trusted, test,
    skip_bad."""
    check_unchanged(files, fingerprint)
    where = Path(files.data_file)
    trusted, test = (
        None if spec is None or spec.isdigit() else rows_of_csv(Path(spec), files.label_column)
        for spec in (files.trusted, files.test)
    )
    return build(rows_of_csv(where, files.label_column), trusted, test, where, files.skip_bad)


def fingerprint(files: NamedFiles) -> str:
    """A digest of the files' contents."""
    whole = hashlib.blake2b(digest_size=8)
    for what, spec in (
        ("data_file", files.data_file),
        ("trusted", files.trusted),
        ("test", files.test),
    ):
        if spec is None or spec.isdigit():
            whole.update(f"{what} {spec}\n".encode())
        elif Path(spec).is_file():
            whole.update(f"{what} ".encode() + content_digest(Path(spec)))
        else:
            raise DataError(f"{what}: {spec} is no file" + " nor a number" * (what == "trusted"))
    return whole.hexdigest()
