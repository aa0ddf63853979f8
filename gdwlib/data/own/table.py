"""Your own tables: a CSV file, or arrays `(features, labels)`, an example a row, numbers and
categories mixed.

A column of numbers is scaled by its median and interquartile range and cut at ±5; where cells are
missing it gets the median and a column beside it that says so. Other columns become one 0/1 column
for each value that two examples at least have in common, up to 50. Constant columns, and those with
another text in almost every row, are left out. All of it is learned from the training rows, and
kept with the model.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from gdwlib.data.dataset import Dataset, Images
from gdwlib.data.errors import DataError
from gdwlib.data.image_files import UnusableFile, refuse
from gdwlib.data.own.columns import Scaling
from gdwlib.data.own.fingerprint import check_unchanged, content_digest
from gdwlib.data.own.folder import dataset_of
from gdwlib.data.own.named import NamedFiles
from gdwlib.data.own.rows import Rows, corrected, rows_of_csv
from gdwlib.data.own.spelling import Classes, is_count


def build(
    train: Rows, trusted: Rows | None, test: Rows | None, where: object, skip_bad: bool
) -> Dataset:
    """The data set of a table. Trusted and test rows are taken out of the training rows."""
    named = {"rows": train, "trusted rows": trusted, "test rows": test}
    parts = {what: rows for what, rows in named.items() if rows is not None}
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
            "right column? Labels must be classes"
        )
    remarks: list[str | None] = list(classes.remarks)
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
        features, strange = scaling.features(rows, f"the {what}")
        loaded[what] = Images(
            features[kept], indices[what][kept], np.array(rows.ids, np.str_)[kept]
        )
        if rows is not train:  # of these `learn` has said it
            said += strange
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
        [*filter(None, remarks), *said],
        where,
    )
    return replace(dataset, columns=tuple(scaling.plan))


def open_table(files: NamedFiles) -> Dataset:
    """The data set that a `RunConfig` names by its fields data_file, labels, label_column, trusted,
    test, skip_bad."""
    check_unchanged(files, fingerprint)
    where = Path(files.data_file or "")
    trusted, test = (
        None if spec is None or is_count(spec) else rows_of_csv(Path(spec), files.label_column)
        for spec in (files.trusted, files.test)
    )
    train = rows_of_csv(where, files.label_column)
    if files.labels:
        train = corrected(train, Path(files.labels), files.label_column)
    return build(train, trusted, test, where, files.skip_bad)


def fingerprint(files: NamedFiles) -> str:
    """A digest of the files' contents."""
    whole = hashlib.blake2b(digest_size=8)
    named = {"data_file": files.data_file, "trusted": files.trusted, "test": files.test}
    if files.labels:
        named["labels"] = files.labels
    for what, spec in named.items():
        if spec is None or is_count(spec):
            whole.update(f"{what} {spec}\n".encode())
        elif Path(spec).is_file():
            whole.update(f"{what} ".encode() + content_digest(Path(spec)))
        else:
            raise DataError(f"{what}: {spec} is no file" + " nor a number" * (what == "trusted"))
    return whole.hexdigest()
