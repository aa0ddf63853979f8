"""From a published data set to what a run trains on: subset, meta set, label noise, imbalance, in
that order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gdwlib.data.dataset import Dataset, Images, OwnData
from gdwlib.data.datasets import DATASETS
from gdwlib.data.errors import DataError
from gdwlib.data.imbalance import long_tail
from gdwlib.data.noise import corrupt_labels, wrong_rate
from gdwlib.data.randomness import rng


@dataclass(frozen=True)
class Split:
    """`train` carries true labels, -1 where unknown; `given` (N,) are the labels that training
    sees, of which `wrong_rate` are expected to be wrong (None: unknown). Meta and test sets are
    clean; there may be no test set."""

    train: Images
    given: np.ndarray
    meta: Images
    test: Images | None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    wrong_rate: float | None = None
    remarks: tuple[str, ...] = ()
    columns: tuple[dict, ...] | None = None  # of a table, see `gdwlib.data.Dataset`


def make_split(
    dataset: str | Dataset,
    folder: Path,
    *,
    meta_per_class: int | None,
    noise: str = "none",
    noise_ratio: float = 0.0,
    label_set: str | None = None,
    imbalance: float = 1.0,
    meta_overlap: bool = False,
    train_size: int | None = None,
    seed: int = 0,
) -> Split:
    """Load and split a data set, everything drawn from `seed` alone.

    The meta set is balanced, clean and disjoint from the training set. As in the official code,
    labels are noised over the balanced rest, which is then thinned by true label.

    Args:
        dataset: a key of `gdwlib.DATASETS`, or what it holds.
        meta_per_class: None takes all images that the data set has as trusted ones; where it has
            none, a number must be given.
        noise: a key of `gdwlib.NOISES`; or "human", for the labels that people gave, of which
            `label_set` names one of the data set's. Where published labels may be wrong, "none"
            leaves them as they are.
        train_size: use this many images (as many of each class, ± 1) of the published training set,
            meta set included; None for all.
        meta_overlap: repeat the official code's leak: as many images are removed from the training
            set, but others than the meta set's, most of which therefore stay in it with noisy
            labels.

    Raises:
        DataError: a file is missing or damaged, or a class has too few images.
    """
    source, name = (
        (DATASETS[dataset], dataset) if isinstance(dataset, str) else (dataset, "the data set")
    )
    if isinstance(source, OwnData):
        raise DataError(
            f"{name}: is data of your own; open it by gdwlib.load_split(gdwlib.RunConfig(…))"
        )
    num_classes = len(source.classes)
    asked = f"meta_per_class: {name}" if isinstance(dataset, str) else "trusted"
    published = source.load(folder, True)
    if published is None:
        raise DataError(f"{name}: has no training images")
    channels = published.images.shape[1]
    if len(source.mean) != channels or len(source.std) != channels:
        raise DataError(
            f"{name}: mean and std must have a number for each of the images' {channels} channels, "
            f"have {len(source.mean)} and {len(source.std)}"
        )
    if label_set is not None:
        published = replace(published, given=source.label_sets[label_set](folder, published.labels))
    # noise on top: what was given counts as true
    if published.given is not None and noise not in ("none", "human"):
        published = replace(published, labels=published.given, given=None)
    # by which labels classes are counted: the true ones, the given where these are unknown
    labels = published.labels
    if published.given is not None:
        labels = np.where(labels < 0, published.given, labels)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"{name}: labels must lie in 0..{num_classes - 1}")
    pool = _balanced(labels, train_size, rng(seed, "subset"), f"train_size: {name}", source.classes)
    labels = labels[pool]
    rest = np.arange(len(labels))
    if source.trusted is not None:
        meta = source.trusted(folder)
        if meta_per_class is not None:
            draw = rng(seed, "meta")
            meta = meta.take(
                _balanced(meta.labels, meta_per_class * num_classes, draw, asked, source.classes)
            )
    elif meta_per_class is None:
        raise DataError(f"{asked}: must say how many images of each class make the meta set")
    else:
        meta_size = meta_per_class * num_classes
        chosen = _balanced(labels, meta_size, rng(seed, "meta"), asked, source.classes)
        removed = chosen
        if meta_overlap:
            removed = _balanced(labels, meta_size, rng(seed, "leak"), asked, source.classes)
        rest = np.setdiff1d(rest, removed)
        meta = replace(published.take(pool[chosen]), labels=labels[chosen], given=None)
    if len(np.unique(labels[rest])) < num_classes:
        raise DataError(
            f"{asked}: {meta_per_class} images a class leave a class without training images"
        )
    if published.given is not None:
        given = published.given[pool[rest]]
    else:
        given = corrupt_labels(labels[rest], noise, noise_ratio, num_classes, seed)
    kept = long_tail(labels[rest], imbalance, num_classes, seed)
    train = published.take(pool[rest[kept]])
    if published.given is not None:
        rate = _wrong_share(given[kept], train.labels)
    else:
        rate = wrong_rate(noise, noise_ratio, num_classes)
    counts = np.bincount(labels[rest[kept]], minlength=num_classes)
    alone = ", ".join(repr(source.classes[c]) for c in np.flatnonzero(counts == 1))
    remarks = (f"a single training example is left of {alone}",) if alone else ()
    return Split(
        train=train,
        given=given[kept],
        meta=meta,
        test=source.load(folder, False),
        classes=source.classes,
        mean=source.mean,
        std=source.std,
        wrong_rate=rate,
        remarks=(*source.remarks, *remarks),
        columns=source.columns,
    )


def _wrong_share(given: np.ndarray, true: np.ndarray) -> float | None:
    """Of the labels of which the true one is known."""
    known = true >= 0
    return float((given != true)[known].mean()) if known.any() else None


def _balanced(
    labels: np.ndarray, size: int | None, draw: np.random.Generator, what: str, names: Sequence[str]
) -> np.ndarray:
    """`size` random positions, in order, with as many of each class as evenly goes; None: all."""
    if size is None:
        return np.arange(len(labels))
    classes = np.unique(labels)
    shares = np.full(len(classes), size // len(classes))
    shares[: size % len(classes)] += 1
    chosen = []
    for c, share in zip(classes, shares, strict=True):
        where = np.flatnonzero(labels == c)
        if len(where) < share:
            least = min(int((labels == other).sum()) for other in classes)
            way = f"; ask for at most {least - 1} of each class" if least > 1 else ""
            raise DataError(
                f"{what}: class {c}, {names[c]!r}, has {len(where)} images, {share} are asked for"
                f"{way}, or give this class more images, or take it out"
            )
        chosen.append(draw.choice(where, share, replace=False))
    return np.sort(np.concatenate(chosen))
