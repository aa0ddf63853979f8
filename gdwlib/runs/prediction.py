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
from gdwlib.models import FOR_TABLES, MODELS
from gdwlib.runs.files import (
    RecordError,
    check_sum,
    naming_read_errors,
    read_file,
    read_json,
)
from gdwlib.runs.records import RunRecord, load_network

LARGEST_SIZE = 1024  # pixels a side of the images that a network is said to take


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
    check_unaltered(folder)
    about = description(folder)
    if not (folder / "model.pt").exists():
        raise RecordError(
            f"{folder / 'model.pt'}: missing, as of records from the repository; train the run "
            "again"
        )
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
    if not np.isfinite(probs).all():
        raise RecordError(f"{folder / 'model.pt'}: gives no probabilities but NaN; train it again")
    best = probs.argmax(1)
    labels = [about["classes"][c] for c in best]
    found = [Prediction(*row) for row in zip(ids, labels, map(float, probs.max(1)), strict=True)]
    return found, [remark for remark in remarks if remark]


def description(folder: Path) -> dict:
    """A network's model.json, checked. RecordError where it is missing or misread."""
    path = folder / "model.json"
    try:
        about = json.loads(read_file(path))
        network, columns = about["network"], about["columns"]
        wrong = (
            network["model"] not in MODELS
            or not isinstance(about["classes"], list)
            or {type(network["num_classes"]), type(network["channels"])} != {int}
            or len(about["classes"]) != network["num_classes"]
            or not all(isinstance(name, str) for name in about["classes"])
            or (columns is None) == (network["model"] in FOR_TABLES)
        )
        if columns is None:
            size, means = about["size"], [*about["mean"], *about["std"]]
            wrong = wrong or not (
                len(about["mean"]) == len(about["std"]) == network["channels"]
                and all(isinstance(value, float | int) for value in means)
                and (size is None or (isinstance(size, int) and 1 <= size <= LARGEST_SIZE))
                and isinstance(about["pool"], int)
                and 1 <= about["pool"] <= (size or LARGEST_SIZE)
            )
        else:
            scaling = Scaling(columns)
            scaling.check()
            wrong = wrong or scaling.width != network["channels"]
    except PermissionError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    except FileNotFoundError:
        raise RecordError(
            f"{path}: missing; a run writes it with model.pt when it is finished: train it again"
        ) from None
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise RecordError(
            f"{path}: does not describe a network ({type(error).__name__}: {error})"
        ) from error
    except (AttributeError, RecursionError) as error:
        raise RecordError(
            f"{path}: does not describe a network ({type(error).__name__}: {error})"
        ) from error
    if wrong:
        raise RecordError(f"{path}: does not describe a network")
    return about


def check_unaltered(folder: Path) -> None:
    """RecordError where there is a result.json, and the network or what describes it is not what
    that was written for."""
    path = folder / "result.json"
    with naming_read_errors():
        if not path.exists():
            return  # a network that was given away without its record
        read_file(path)
        sums = (read_json(path) or {}).get("sha256")
        for name in ("model.json", "model.pt"):
            if not (folder / name).exists():
                continue
            if not isinstance(sums, dict) or not isinstance(digest := sums.get(name), str):
                raise RecordError(
                    f"{path}: damaged, it has no check sum of {name}; train the run again"
                )
            check_sum(folder / name, digest)


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
