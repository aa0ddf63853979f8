"""Which training labels are probably wrong, by a network that was trained with a method that
resists them."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gdwlib.data.dataset import Lazy
from gdwlib.data.errors import DataError
from gdwlib.data.split import Split
from gdwlib.runs.config import RunConfig
from gdwlib.runs.files import RecordError
from gdwlib.runs.folds import out_of_fold
from gdwlib.runs.loading import make_loader
from gdwlib.runs.records import RunRecord
from gdwlib.runs.training import load_split


class Suspect(NamedTuple):
    """A training example; `id` is the data set's, or the file below your folder, or the row's."""

    id: str
    label: str  # as given
    proposed_label: str
    score: float  # 0 to 1, higher = more probably wrong


def suspects(
    record: RunRecord, data: Path | str | None = None, *, by_folds: bool = False
) -> list[Suspect]:
    """Every training example of a finished run, the most suspect first. Before all others stand
    equal images whose labels contradict each other: one of them must be wrong.

    The run's network looks at each image once, as it is, and `posterior` weighs what it says by how
    often each class has come out as each label.

    Args:
        record: of a run that has its network (model.pt), as every run just trained has.
        data: the data folder; default data/ of the project.
        by_folds: ask not the run's network but five others, trained as it was on four fifths of
            the examples, each about those that it has not seen; for networks that have learned
            their labels by heart. Takes as long as four runs.

    Raises:
        RecordError: the network is not there.
        DataError: the training data are not there, or others than the run was trained on.
    """
    config = RunConfig.of_record(record.config)
    split = load_split(config, data)
    if not np.array_equal(split.given, record.examples["given_labels"]):
        raise DataError(
            f"{record.path}: was trained on other labels than the data have now; train again"
        )
    probs = out_of_fold(config, split) if by_folds else predicted_probabilities(record, split)
    order, after, score = rank_label_errors(probs, split.given)
    names = split.classes
    certain = contradicting(split.train.images, split.given)
    order = order[np.argsort(~certain[order], kind="stable")]
    return [
        Suspect(
            str(split.train.ids[k]),
            names[split.given[k]],
            names[after[k].argmax()],
            float(score[k]),
        )
        for k in order
    ]


def contradicting(images: np.ndarray | Lazy, labels: np.ndarray) -> np.ndarray:
    """Of images (N, channels, H, W) in memory: which have an equal with another label, (N,) bool.
    Rows of a table are not looked at, for equal ones need not be the same example."""
    found = np.zeros(len(labels), bool)
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        return found
    equal: dict[bytes, list[int]] = {}
    for k, image in enumerate(images):
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        equal.setdefault(digest, []).append(k)
    for group in equal.values():
        found[group] = len(set(labels[group])) > 1
    return found


def predicted_probabilities(record: RunRecord, split: Split) -> np.ndarray:
    """(N, C) of a run's network on its own training images, as they are."""
    config = RunConfig.of_record(record.config)
    device = torch.device("cpu") if config.device != "cuda" else config.torch_device()
    loader = make_loader(config, split, device)
    if not (record.path / "model.pt").is_file():
        raise RecordError(
            f"{record.path / 'model.pt'}: missing, as of records from the repository; train the "
            "run again into another folder with --outputs"
        )
    model = record.model(len(split.classes), len(split.mean)).to(loader.mean)
    probs = loader.probabilities(model)
    if not np.isfinite(probs).all():
        raise RecordError(
            f"{record.path / 'model.pt'}: gives no probabilities but NaN; train the run again"
        )
    return probs


def rank_label_errors(
    probs: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of examples with predicted probabilities (N, C) and given labels (N,).

    Returns:
        their positions, most suspect first (N,); the probability of each class to be the true one
        (N, C); and that of the given label to be wrong (N,).
    """
    after = posterior(probs, labels)
    score = 1 - after[np.arange(len(labels)), labels]
    return np.argsort(-score, kind="stable"), after, score


def posterior(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """P(true class j | image, given label k) ∝ p_j · T_jk, (N, C), from probs (N, C) and labels
    (N,).

    T_jk, how often class j is labelled k, is estimated from the same: T ∝ Σ_i p_ij 1[label_i = k],
    each row summing to 1. So a class that is often taken for another speaks for the other's label
    being wrong, and a rare mistake is suspected less. Without T the score would be 1 - p of the
    given label, which finds mistakes with a pattern less well.
    """
    given = np.eye(probs.shape[1])[labels]  # (N, C)
    transition = probs.T @ given  # (C, C)
    transition /= np.maximum(transition.sum(1, keepdims=True), 1e-12)
    after = probs * transition[:, labels].T + 1e-300  # (N, C)
    return after / after.sum(1, keepdims=True)
