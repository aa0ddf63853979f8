"""Label noise by a transition matrix T: T[i, j] is the probability that an image of class i is
labelled j."""

from collections.abc import Callable
from numbers import Integral, Real

import numpy as np
import torch

from gdwlib.data.randomness import rng


def uniform(ratio: float, num_classes: int) -> np.ndarray:
    """As the official code draws it, and the paper's numbers were made: with probability `ratio`
    any class, the image's own included. The rate of wrong labels is ratio·(C-1)/C: 36% at "40%" on
    ten classes."""
    return (1 - ratio) * np.eye(num_classes) + ratio / num_classes


def uniform_other(ratio: float, num_classes: int) -> np.ndarray:
    """As the paper's text says it: with probability `ratio` one of the other classes."""
    return (1 - ratio) * np.eye(num_classes) + ratio / (num_classes - 1) * (1 - np.eye(num_classes))


def flip(ratio: float, num_classes: int) -> np.ndarray:
    """With probability `ratio` the one class that the official code's map names for the image's own
    (`flip_map`)."""
    matrix = (1 - ratio) * np.eye(num_classes)
    matrix[np.arange(num_classes), flip_map(num_classes)] += ratio
    return matrix


def flip_map(num_classes: int) -> np.ndarray:
    """The official map: legacy NumPy seed 1, then for each class in order one choice among the
    others. (C,)"""
    legacy = np.random.RandomState(1)
    return np.array(
        [legacy.choice(np.delete(np.arange(num_classes), c)) for c in range(num_classes)]
    )


NOISES: dict[str, Callable[[float, int], np.ndarray]] = {
    "none": lambda ratio, num_classes: np.eye(num_classes),
    "uniform": uniform,
    "uniform-other": uniform_other,
    "flip": flip,
}


def transition_matrix(kind: str, ratio: float, num_classes: int) -> np.ndarray:
    """T (C, C) of a registered noise, checked.

    Raises:
        ValueError: it is no matrix of probabilities, each row summing to one.
    """
    matrix = np.asarray(NOISES[kind](ratio, num_classes))
    what = f"noise {kind!r}: its transition matrix"
    if matrix.shape != (num_classes, num_classes) or not np.issubdtype(matrix.dtype, np.number):
        raise ValueError(
            f"{what} must be (C, C) = {(num_classes, num_classes)} numbers, not {matrix.dtype} of "
            f"shape {matrix.shape}"
        )
    wrong = ~np.isfinite(matrix) | (matrix < 0)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise ValueError(f"{what} must hold probabilities, has {matrix[i, j]:g} at [{i}, {j}]")
    sums = matrix.sum(1)
    if (abs(sums - 1) > 1e-6).any():
        row = int(abs(sums - 1).argmax())
        raise ValueError(f"{what} must have rows that sum to 1; row {row} sums to {sums[row]:g}")
    return matrix


def wrong_rate(kind: str, ratio: float, num_classes: int) -> float:
    """The expected share of wrong labels among as many examples of each class: 0.36 for uniform 0.4
    on ten classes."""
    return 1 - float(transition_matrix(kind, ratio, num_classes).diagonal().mean())


def corrupt_labels(
    labels: np.ndarray | torch.Tensor, kind: str, ratio: float, num_classes: int, seed: int
) -> np.ndarray | torch.Tensor:
    """Noisy copies of `labels`, each drawn by itself from its class's row of the noise's transition
    matrix.

    Args:
        labels: (N,) int64 array or tensor of true labels in 0..num_classes-1.
        kind: a key of `gdwlib.NOISES`.
        ratio: the paper's p, 0 to 1.
        num_classes: C, at least 2.
        seed: the same seed gives the same labels, whatever was drawn before.

    Returns:
        What it was given: an int64 array, or an int64 tensor on the same device.

    Example:
        >>> corrupt_labels(np.arange(10), "flip", ratio=0.4, num_classes=10, seed=0)
        array([6, 1, 2, 3, 0, 5, 6, 6, 2, 9])
    """
    if not isinstance(kind, str) or kind not in NOISES:
        raise ValueError(f"kind: unknown label noise {kind!r}; one of {', '.join(NOISES)}")
    if not isinstance(ratio, Real) or not 0 <= ratio <= 1:
        raise ValueError(f"ratio: must lie in [0, 1], not {ratio!r}")
    if kind == "none" and ratio > 0:
        raise ValueError(f"ratio: must be 0 where kind is 'none', not {ratio!r}")
    if not isinstance(num_classes, Integral) or num_classes < 2:
        raise ValueError(f"num_classes: must be an integer, at least 2, not {num_classes!r}")
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed: must be an integer, at least 0, not {seed!r}")
    true = labels.cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if true.ndim != 1 or not np.issubdtype(true.dtype, np.integer):
        raise ValueError(
            f"labels: must be a vector of integers, not {true.dtype} of shape {true.shape}"
        )
    if true.size and not 0 <= true.min() <= true.max() < num_classes:
        raise ValueError(
            f"labels: must lie in 0..{num_classes - 1}, found {true.min()} to {true.max()}"
        )
    cumulative = transition_matrix(kind, ratio, num_classes).cumsum(1)  # (C, C)
    draws = rng(seed, "noise").random(len(true))  # (N,)
    # (N,) inverse distribution
    noisy = np.minimum((draws[:, None] >= cumulative[true]).sum(1), num_classes - 1)
    return (
        torch.as_tensor(noisy, device=labels.device) if isinstance(labels, torch.Tensor) else noisy
    )
