"""Long-tailed class imbalance: class c keeps n·μ^{c/(C-1)} of its n examples."""

from numbers import Integral, Real

import numpy as np

from gdwlib.data.randomness import rng


def long_tail_counts(largest: int, mu: float, num_classes: int) -> list[int]:
    """Examples per class, class 0 the largest; μ is the smallest class's size over the largest's
    (Section 4.2).

    Rounded down as the official code does, but never to zero.

    Example:
        >>> long_tail_counts(5000, 0.01, 10)
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    """
    if not isinstance(mu, Real) or not 0 < mu <= 1:
        raise ValueError(f"mu: must lie in (0, 1], not {mu!r}")
    for name, value, least in (("largest", largest, 1), ("num_classes", num_classes, 2)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name}: must be an integer, at least {least}, not {value!r}")
    return [max(1, int(largest * mu ** (c / (num_classes - 1)))) for c in range(num_classes)]


def long_tail(true_labels: np.ndarray, mu: float, num_classes: int, seed: int) -> np.ndarray:
    """Positions, in order, of a long-tailed random subset chosen by true label. The largest count
    is the smallest class's size, so that every class can give its share."""
    if mu == 1.0:
        return np.arange(len(true_labels))
    draw = rng(seed, "imbalance")
    of_class = [np.flatnonzero(true_labels == c) for c in range(num_classes)]
    counts = long_tail_counts(min(map(len, of_class)), mu, num_classes)
    kept = [
        draw.choice(where, count, replace=False)
        for where, count in zip(of_class, counts, strict=True)
    ]
    return np.sort(np.concatenate(kept))
