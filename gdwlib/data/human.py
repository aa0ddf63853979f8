"""CIFAR-10N and CIFAR-100N (Wei et al. 2022, arXiv 2110.12088): labels that people gave CIFAR's
training images.

The published files are pickles of NumPy arrays. They are read by PyTorch's restricted unpickler,
which builds integer arrays and nothing else: what a tampered file asks to be called is refused, not
called.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch

from gdwlib.data.errors import DataError

SITE = "https://github.com/UCSC-REAL/cifar-10-100n"
# file → MD5 of the published one
FILES = {
    "CIFAR-10_human.pt": "96644db5574813cae939af5f7f2a0aec",
    "CIFAR-100_human.pt": "a67b45c1d7992051865b5c755bd68bb1",
}
# label set → its key in the file; `aggregate` is the majority of three people, `worst` a wrong
# label where any gave one
CIFAR10N = {
    "worst": "worse_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "aggregate": "aggre_label",
}
CIFAR100N = {"noisy": "noisy_label"}


def human_labels(path: Path, key: str, true_labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The labels under `key`, (N,) int64, once the file's clean labels are seen to be the data
    set's in its order.

    Raises:
        DataError: missing and not to be downloaded, damaged, of other contents than arrays, or for
            another order.
    """
    if not path.exists():
        _fetch(path)
    _hold_to_published(path)
    arrays = _arrays(path)
    for name in ("clean_label", key):
        labels = arrays.get(name)
        if (
            not isinstance(labels, np.ndarray)
            or labels.dtype.kind not in "iu"
            or labels.shape != true_labels.shape
        ):
            found = (
                f"{labels.dtype} {labels.shape}"
                if isinstance(labels, np.ndarray)
                else "nothing of the kind"
            )
            raise DataError(
                f"{path}: {name!r} must be {len(true_labels)} integers, found {found}; {_get(path)}"
            )
    if (differ := int((arrays["clean_label"] != true_labels).sum())) > 0:
        raise DataError(
            f"{path}: its clean labels differ from the data set's at {differ} of "
            f"{len(true_labels)} images, so that its order is not to be trusted; {_get(path)}"
        )
    labels = arrays[key].astype(np.int64)
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise DataError(f"{path}: {key!r} must lie in 0..{num_classes - 1}; {_get(path)}")
    return labels


def _hold_to_published(path: Path) -> None:
    """DataError where the file is another than the published one."""
    try:
        found = hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else "of no file"
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if found != (published := FILES[path.name]):
        raise DataError(
            f"{path}: altered or truncated (MD5 {found}, expected {published}); {_get(path)}"
        )


def _arrays(path: Path) -> dict:
    """What is in the file, read by the restricted unpickler with just enough allowed to build
    arrays of integers."""
    rebuild = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    integers = [type(np.dtype(name)) for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]
    names = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    encode = __import__("_codecs").encode  # NumPy pickles bytes as text in protocol 2
    try:
        with torch.serialization.safe_globals([*names, np.ndarray, np.dtype, *integers, encode]):
            arrays = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(arrays, dict):
            raise TypeError("not a dictionary")
    # whatever a damaged or hostile file makes zipfile, pickle or torch raise
    except Exception as error:
        raise DataError(
            f"{path}: not a file of label arrays, and refused without being executed "
            f"({type(error).__name__}); {_get(path)}"
        ) from error
    return arrays


def _fetch(path: Path) -> None:
    import torchvision  # takes seconds, and is seldom needed

    try:
        url = f"{SITE}/raw/main/data/{path.name}"
        torchvision.datasets.utils.download_url(url, str(path.parent), path.name, FILES[path.name])
    except (OSError, RuntimeError, ValueError) as error:  # no network, full disk, other contents
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path}: missing, and could not be downloaded ({reason}); {_get(path)}"
        ) from error


def _get(path: Path) -> str:
    return f"put the published {path.name} there, from {SITE}"
