"""A table as written: a CSV file, or arrays, an example a row."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdwlib.data.errors import DataError, suggestion
from gdwlib.data.image_files import UnusableFile, refuse
from gdwlib.data.own.listing import LABELS
from gdwlib.data.own.spelling import (
    Classes,
    column,
    normalised_label,
    plain,
    read_csv,
)

IDS = ("id", "index", "row", "row_id", "key", "uuid", "")


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
        labels = labels if labels is not None else [None] * self.count
        self.labels = [normalised_label(label) for label in labels]
        self.bad, self.remark = list(bad), remark
        for name, values in (("labels", self.labels), ("ids", self.ids)):
            if len(values) != self.count:
                raise DataError(f"{name}: {len(values)} for {self.count} rows of features")

    def take(self, positions: Sequence[int] | np.ndarray) -> "Rows":
        columns = {name: [cells[k] for k in positions] for name, cells in self.columns.items()}
        labels = [self.labels[k] for k in positions]
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
        repeated = f"{len(again)} ids stand in several rows, as {again[0]!r}"
        remark = f"{path}: {repeated}; rows are named by their lines instead"
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


def corrected(rows: Rows, path: Path, label_column: str | None) -> Rows:
    """The table with the labels of a CSV file of id and label, as a list of suspects with some of
    them corrected, in the place of its own.

    Raises:
        DataError: ids that no row has, labels that are no class of the table, by name.
    """
    header, *body = read_csv(path)
    id_at, label_at = column(header, None, IDS), column(header, label_column, LABELS)
    if id_at is None or label_at is None:
        raise DataError(
            f"{path}: needs a column of ids and one of labels, has {', '.join(header)}; name the "
            "latter with --label-column"
        )
    classes = Classes(label for label in rows.labels if label is not None)
    position = {id_: k for k, id_ in enumerate(rows.ids)}
    labels, bad = list(rows.labels), []
    given: dict[str, str] = {}  # by id
    for row in body:
        id_ = row[id_at] if id_at < len(row) else ""
        id_ = id_ if id_ in position else plain(id_)
        cell = row[label_at] if label_at < len(row) else None
        label = normalised_label(cell)
        if cell is not None and label is not None and classes.index(label) is None:
            label = normalised_label(plain(cell))
        if id_ not in position:
            bad.append(UnusableFile(id_ or "a row without an id", "no row of the table"))
        elif label is None:
            bad.append(UnusableFile(id_, "no label"))
        elif classes.index(label) is None:
            known = suggestion(label, classes.names)
            bad.append(UnusableFile(id_, f"no class {label!r} in the table{known}"))
        elif given.setdefault(id_, label) != label:
            bad.append(UnusableFile(id_, f"listed twice, as {given[id_]!r} and {label!r}"))
        else:
            labels[position[id_]] = label
    refuse(path, bad, len(body), "corrections", skip_bad=None)
    return Rows(rows.columns, labels, rows.ids, rows.bad, rows.remark)


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
