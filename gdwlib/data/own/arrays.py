"""A table that is in memory already, as a data set by name."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from gdwlib.data.dataset import Dataset
from gdwlib.data.datasets import DATASETS
from gdwlib.data.errors import DataError
from gdwlib.data.own.rows import Rows, rows_of_arrays
from gdwlib.data.own.spelling import Classes
from gdwlib.data.own.table import build
from gdwlib.data.randomness import rng

BUILT_IN = frozenset(DATASETS)


def add_table(
    name: str,
    features: Any,
    labels: Any,
    *,
    trusted: int | tuple[Any, Any],
    test: tuple[Any, Any] | None = None,
    ids: Any = None,
    skip_bad: bool = False,
) -> Dataset:
    """Make `RunConfig(dataset=name)` train on features and labels.

    Args:
        features: (n, F) array or tensor of numbers, or a data frame; `gdwlib.data.own.table` says
            what is made of them.
        labels: (n,) of any kind, possibly wrong.
        trusted: a pair (features, labels) of examples with right labels; or an integer, how many of
            each class to take out of the training examples for such.
        test: likewise a pair, to measure accuracy on; None for none.
        ids: (n,) names of the examples, in the list of suspects; default their positions.
        skip_bad: leave out examples without a label instead of stopping.

    Raises:
        ValueError: the name of a data set that is built in.
        DataError: what is wrong with the data, in one line.
    """
    if name in BUILT_IN:
        raise ValueError(f"name: {name!r} is built in; choose another")
    rows = rows_of_arrays(features, labels, ids)
    if isinstance(trusted, int):
        rows, apart = _taken_out(rows, trusted)
    else:
        apart = rows_of_arrays(*trusted)
    tested = rows_of_arrays(*test) if test is not None else None
    content = hashlib.blake2b(digest_size=8)
    for part in (rows, apart, tested):
        content.update(
            repr((part.columns, part.labels, part.ids) if part is not None else None).encode()
        )
    dataset = dataclasses.replace(
        build(rows, apart, tested, name, skip_bad), digest=content.hexdigest()
    )
    DATASETS[name] = dataset
    return dataset


def _taken_out(rows: Rows, per_class: int) -> tuple[Rows, Rows]:
    """The others, and `per_class` rows of each label, drawn once and for all."""
    draw, chosen = rng(0, "trusted"), []
    classes = Classes(label for label in rows.labels if label is not None)
    found = [None if label is None else classes.index(label) for label in rows.labels]
    for c, label in enumerate(classes.names):
        where = [k for k, own in enumerate(found) if own == c]
        if len(where) <= per_class:
            raise DataError(
                f"trusted: {label!r} has {len(where)} examples, {per_class} are to be taken out"
            )
        chosen += draw.choice(where, per_class, replace=False).tolist()
    others = np.setdiff1d(np.arange(rows.count), chosen)
    return rows.take(others), rows.take(np.sort(chosen))
