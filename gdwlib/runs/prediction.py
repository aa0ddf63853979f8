"""Labels for new images or rows, by a trained network: a folder with model.pt and model.json is all
it takes."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gdwlib.data.batches import normalised, pooled
from gdwlib.data.errors import DataError
from gdwlib.data.image_files import read, refuse
from gdwlib.data.own.columns import Scaling
from gdwlib.data.own.listing import list_images
from gdwlib.data.own.rows import Rows, rows_of_arrays, rows_of_csv
from gdwlib.models import MODELS
from gdwlib.runs.files import RecordError
from gdwlib.runs.records import RunRecord, load_network


class Prediction(NamedTuple):
    """What a network makes of an example."""

    id: str
    label: str
    probability: float


def predict(
    model: RunRecord | Path | str, source: Any, *, skip_bad: bool = False
) -> tuple[list[Prediction], list[str]]:
    """Label new examples.

    Args:
        model: a run's record, or a folder with its model.pt and model.json.
        source: of a network for images, a folder of them (or one file); of one for tables, a CSV
            file with the columns of the training table, or features (n, F).
        skip_bad: leave out images that cannot be read instead of stopping.

    Returns:
        a prediction for each example, in order, and remarks on what was left out or alone.

    Raises:
        RecordError: model.pt or model.json is missing or no network of ours; it is not executed.
        DataError: the source is missing or bad, by name.
    """
    folder = model.path if isinstance(model, RunRecord) else Path(model)
    about = description(folder)
    network = load_network(folder, about["network"])
    if about["columns"] is not None:
        rows = source if isinstance(source, Rows) else _rows(source)
        features, strange = Scaling(about["columns"]).features(rows)
        x, ids = torch.from_numpy(features), rows.ids
        skipped = refuse(source, rows.bad, rows.count + len(rows.bad), "rows", skip_bad)
        remarks = [rows.remark or "", skipped, *strange]
    else:
        images, ids, remarks = _images(Path(source), about, skip_bad)
        mean, std = (torch.tensor(about[name])[:, None, None] for name in ("mean", "std"))
        parts = [
            normalised(pooled(part, about["pool"]), mean, std)
            for part in torch.from_numpy(images).split(1000)
        ]
        x = torch.cat(parts) if parts else torch.empty(0)
    if not len(ids):
        raise DataError(f"{source}: has nothing to label")
    with torch.inference_mode():
        # (n, C)
        probs = torch.cat([network(part).double().softmax(1) for part in x.split(1000)]).numpy()
    best = probs.argmax(1)
    labels = [about["classes"][c] for c in best]
    found = [Prediction(*row) for row in zip(ids, labels, map(float, probs.max(1)), strict=True)]
    return found, [remark for remark in remarks if remark]


def description(folder: Path) -> dict:
    """A network's model.json, checked. RecordError where it is missing or misread."""
    path = folder / "model.json"
    try:
        about = json.loads(path.read_text())
        network = about["network"]
        wrong = (
            network["model"] not in MODELS
            or len(about["classes"]) != network["num_classes"]
            or (about["columns"] is None and len(about["mean"]) != network["channels"])
        )
    except FileNotFoundError:
        raise RecordError(
            f"{path}: missing; a run writes it with model.pt when it is finished: train it again"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"{path}: does not describe a network ({type(error).__name__}: {error})"
        ) from error
    if wrong:
        raise RecordError(f"{path}: does not describe a network")
    return about


def _images(source: Path, about: dict, skip_bad: bool) -> tuple[np.ndarray, list[str], list[str]]:
    if source.is_dir():
        found, remarks = list_images(source)
    elif source.is_file():
        found, remarks = [(source.name, source)], []
    else:
        raise DataError(f"{source}: no such folder or file")
    if about["size"] is None:
        raise DataError(
            f"{source}: this network is one of a published data set of "
            f"{about['images']} images; to label your own, train with --dataset folder"
        )
    names, paths = [name for name, _ in found], [path for _, path in found]
    images, digests, bad = read(paths, names, about["size"], about["network"]["channels"])
    remarks.append(refuse(source, bad, len(names), "images", skip_bad))
    return (
        images,
        [name for name, digest in zip(names, digests, strict=True) if digest is not None],
        remarks,
    )


def _rows(source: Any) -> Rows:
    if not isinstance(source, str | Path):
        return rows_of_arrays(source)
    if not Path(source).is_file():
        raise DataError(f"{source}: no such file; a table's network labels the rows of a CSV file")
    return rows_of_csv(Path(source), None, need_labels=False)
