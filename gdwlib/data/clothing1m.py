"""Clothing1M (Xiao et al. 2015): a million images of clothes from shops, labelled by the words
around them.

Its published layout, in data/clothing1m (annotations there or in annotations/):

    images/0/00/….jpg …                  images, in ten times a hundred folders
    noisy_train_key_list.txt             an image a line, as images/0/00/….jpg: the training set
    clean_val_key_list.txt               the trusted images, of which the meta set is taken
    clean_test_key_list.txt              the test set
    noisy_label_kv.txt                   an image and its label by the words, 0 to 13, a line
    clean_label_kv.txt                   likewise, by people; of some training images too
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from gdwlib.data import image_files
from gdwlib.data.dataset import Dataset, Images
from gdwlib.data.errors import DataError
from gdwlib.data.image_files import UnusableFile
from gdwlib.data.own.spelling import is_count
from gdwlib.data.streamed import Files

CLASSES = (
    "T-Shirt",
    "Shirt",
    "Knitwear",
    "Chiffon",
    "Sweater",
    "Hoodie",
    "Windbreaker",
    "Jacket",
    "Downcoat",
    "Suit",
    "Shawl",
    "Dress",
    "Vest",
    "Underwear",
)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SITE = "https://github.com/Cysu/noisy_label"


def clothing1m(root: Path, part: str, size: int = 224, skip_bad: bool = False) -> Images:
    """The `noisy_train`, `clean_val` or `clean_test` images, decoded when they are wanted.

    Every image is decoded once, the first time it is loaded from, and what was bad kept in
    `checked.json`.

    Raises:
        DataError: a file of the layout is missing or misread; or images are missing, truncated or
            without a label, counted and named, unless `skip_bad`.
    """
    root = Path(root) / "clothing1m"
    noisy, clean = (
        _labels(_annotation(root, f"{kind}_label_kv.txt")) for kind in ("noisy", "clean")
    )
    listed = _annotation(root, f"{part}_key_list.txt")
    keys = list(
        dict.fromkeys(line.strip() for line in listed.read_text().splitlines() if line.strip())
    )
    if not keys:
        raise DataError(f"{listed}: empty; take it from the published archive, see {SITE}")
    labels = noisy if part.startswith("noisy") else clean
    unlabelled = [UnusableFile(key, "no label") for key in keys if key not in labels]
    damaged = _damaged(root, part, keys)
    bad = unlabelled + [UnusableFile(key, why) for key, why in damaged.items() if key in labels]
    remark = image_files.refuse(listed, bad, len(keys), "images", skip_bad)
    if remark:
        left_out = {item.name for item in bad}
        keys = [key for key in keys if key not in left_out]
    files = Files(np.array([os.path.join(root, key) for key in keys], np.str_), size)
    given = np.array([labels[key] for key in keys], np.int64)
    true = np.array([clean.get(key, -1) for key in keys], np.int64)
    ids = np.array(keys, np.str_)
    return Images(files, true, ids, given) if part.startswith("noisy") else Images(files, true, ids)


def _annotation(root: Path, name: str) -> Path:
    for path in (root / name, root / "annotations" / name):
        if path.is_file():
            return path
    raise DataError(
        f"{root / name}: missing; Clothing1M is given out by its authors on request ({SITE}), put "
        f"its images/ and annotation files into {root}"
    )


def _labels(path: Path) -> dict[str, int]:
    labels = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        key, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not key or not is_count(label) or int(label) >= len(CLASSES):
            raise DataError(
                f"{path}, line {number}: must be an image and a label in 0..{len(CLASSES) - 1}, is "
                f"{line!r}"
            )
        labels[key.strip()] = int(label)
    return labels


def _damaged(root: Path, part: str, keys: list[str]) -> dict[str, str]:
    """Why each image that is missing or cannot be decoded is bad; those found good before are not
    decoded again."""
    keep = root / "checked.json"
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    try:
        known = json.loads(keep.read_text())
    except (OSError, ValueError):
        known = {}
    before = known.get(part, {})
    again = list(before["bad"]) if before.get("keys") == digest else keys

    def why(key: str) -> str | None:
        try:
            image_files.open_image(root / key, at_least=64)
            return None
        except OSError as error:
            return str(error)

    with image_files.quiet(), ThreadPoolExecutor() as pool:
        found = dict(zip(again, pool.map(why, again, chunksize=100), strict=True))
    bad = {key: text for key, text in found.items() if text is not None}
    if before != {"keys": digest, "bad": bad}:
        try:
            beside = keep.with_name(f".checked.{os.getpid()}.partial")
            beside.write_text(json.dumps(known | {part: {"keys": digest, "bad": bad}}, indent=1))
            os.replace(beside, keep)
        except OSError:  # a data folder that may only be read: checked again next time
            pass
    return bad


def with_size(size: int, skip_bad: bool) -> Dataset:
    """The data set with images of `size` × `size` pixels."""
    part = partial(clothing1m, size=size, skip_bad=skip_bad)
    return Dataset(
        CLASSES,
        IMAGENET_MEAN,
        IMAGENET_STD,
        load=lambda folder, train: part(folder, "noisy_train" if train else "clean_test"),
        trusted=lambda folder: part(folder, "clean_val"),
        sized=with_size,
    )


CLOTHING1M = with_size(224, False)
