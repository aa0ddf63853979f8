"""Image data sets by name: what they are, and how their arrays get into memory.

A user adds one with `gdwlib.DATASETS["mine"] = gdwlib.data.Dataset(...)`.
"""

import gzip
import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gdwlib.data.clothing1m import CLOTHING1M
from gdwlib.data.dataset import Dataset, Images, OwnData
from gdwlib.data.errors import DataError
from gdwlib.data.human import CIFAR10N, CIFAR100N, human_labels
from gdwlib.data.own.folder import fingerprint as folder_fingerprint
from gdwlib.data.own.folder import open_folder
from gdwlib.data.own.table import fingerprint as table_fingerprint
from gdwlib.data.own.table import open_table

# in a checkout a link to data/, in a wheel the file
EMBEDDED = Path(__file__).with_name("fashion-mnist-subset.npz")


def fashion_subset(folder: Path, train: bool) -> Images:
    """The embedded 10,000 + 2,000 images of Fashion-MNIST."""
    path = folder / EMBEDDED.name
    if not path.is_file() and EMBEDDED.is_file():
        path = EMBEDDED
    restore = "it is part of this repository: restore it with `git checkout -- data/`, "
    restore += "or name its folder with --data"
    if not path.is_file():
        raise DataError(f"{path}: missing; {restore}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != FASHION_SHA256:
        raise DataError(
            f"{path}: altered or truncated (sha256 {digest[:12]}…, "
            f"expected {FASHION_SHA256[:12]}…); {restore}"
        )
    split = "train" if train else "test"
    with np.load(path, allow_pickle=False) as arrays:
        images, labels, ids = (arrays[f"{split}_{name}"] for name in ("images", "labels", "ids"))
    return Images(images[:, None], labels.astype(np.int64), ids.astype(np.int64))


FASHION_SHA256 = "a88f4f17cf3752ecab6a8b2a0c8164f95245f836ba7d67932bb129b186cac1a0"


def fashion_full(folder: Path, train: bool) -> Images:
    """All 60,000 + 10,000 images of Fashion-MNIST, through torchvision: what its published archives
    hold, and nothing else."""
    raw, split = folder / "FashionMNIST" / "raw", "train" if train else "t10k"
    published = dict(_published("FashionMNIST").resources)  # archive → MD5 sum
    names = [f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"]
    for name in names:
        file, archive = raw / name, raw / f"{name}.gz"
        if file.exists() and not archive.exists():
            raise DataError(
                f"{file}: cannot be checked without {archive.name}, of which the MD5 sum is "
                "published; put that beside it, or delete it and run `python -m gdwlib data "
                "fashion-full`"
            )
        if archive.exists():
            _hold_to_archive(file, archive, published[archive.name])
    if not all((raw / name).is_file() for name in names):
        _fetched("FashionMNIST", folder, train, "fashion-full")
        for name in names:
            _hold_to_archive(raw / name, raw / f"{name}.gz", published[f"{name}.gz"])
    images, labels = (
        np.frombuffer((raw / name).read_bytes(), np.uint8, offset=header)
        for name, header in zip(names, (16, 8), strict=True)
    )
    shape = (len(labels), 1, 28, 28)
    return Images(images.reshape(shape).copy(), labels.astype(np.int64), np.arange(len(labels)))


def _hold_to_archive(file: Path, archive: Path, md5: str) -> None:
    """DataError where a file is not what its archive holds, or that is not the published one."""
    try:
        packed = archive.read_bytes()
        found, expected = hashlib.md5(packed).hexdigest(), md5
        if found == expected:
            archive = file
            content = gzip.decompress(packed)
            if not file.exists():
                beside = file.with_name(f".{file.name}.{os.getpid()}")
                beside.write_bytes(content)
                beside.replace(file)
            found, expected = (
                hashlib.md5(part).hexdigest() for part in (file.read_bytes(), content)
            )
    except OSError as error:
        raise DataError(f"{archive}: cannot be read ({error.strerror or error})") from error
    if found != expected:
        raise DataError(_altered(archive, f"MD5 {found}", expected, "fashion-full"))


def cifar(class_name: str, name: str) -> Callable[[Path, bool], Images]:
    """A loader for torchvision's CIFAR10 or CIFAR100, every file compared with its published MD5
    sum."""

    def load(folder: Path, train: bool) -> Images:
        published = _published(class_name)
        for file, md5 in published.train_list if train else published.test_list:
            path = folder / published.base_folder / file
            if path.is_file() and (found := hashlib.md5(path.read_bytes()).hexdigest()) != md5:
                raise DataError(_altered(path, f"MD5 {found}", md5, name))
        full = _fetched(class_name, folder, train, name)
        images = np.ascontiguousarray(full.data.transpose(0, 3, 1, 2))  # (N, 3, 32, 32)
        return Images(images, np.array(full.targets, np.int64), np.arange(len(images)))

    return load


def _altered(path: Path, found: str, expected: str, name: str) -> str:
    return (
        f"{path}: altered or truncated ({found}, expected {expected}); "
        f"delete it and run `python -m gdwlib data {name}`"
    )


def _published(class_name: str) -> Any:
    """A class of torchvision.datasets. What only names data sets does not wait the seconds that
    torchvision takes to import."""
    import torchvision

    return getattr(torchvision.datasets, class_name)


def _fetched(class_name: str, folder: Path, train: bool, name: str) -> Any:
    try:
        return _published(class_name)(folder, train=train, download=True)
    except (
        OSError,
        RuntimeError,
        EOFError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:  # no network, full disk, bad archive
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{name}: not complete in {folder} and could not be downloaded ({reason}); "
            f"put torchvision's {class_name} files there, or run "
            f"`python -m gdwlib data {name}` with a network"
        ) from error


# official code's
CIFAR_MEAN, CIFAR_STD = (
    (125.3 / 255, 123.0 / 255, 113.9 / 255),
    (63.0 / 255, 62.1 / 255, 66.7 / 255),
)
FASHION_CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
FASHION_MEAN, FASHION_STD = (0.2860,), (0.3530,)
CIFAR100_CLASSES = tuple(
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach "
    "couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster "
    "house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree "
    "motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
    "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket "
    "rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip "
    "turtle wardrobe whale willow_tree wolf woman worm".split()
)
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR10 = Dataset(CIFAR10_CLASSES, CIFAR_MEAN, CIFAR_STD, cifar("CIFAR10", "cifar10"))
CIFAR100 = Dataset(CIFAR100_CLASSES, CIFAR_MEAN, CIFAR_STD, cifar("CIFAR100", "cifar100"))


def with_human_labels(dataset: Dataset, file: str, keys: dict[str, str]) -> Dataset:
    """A data set with the label sets that people gave it, from a published file."""

    def labels(key: str, folder: Path, true_labels: np.ndarray) -> np.ndarray:
        return human_labels(folder / file, key, true_labels, len(dataset.classes))

    return replace(dataset, label_sets={name: partial(labels, key) for name, key in keys.items()})


DATASETS: dict[str, Dataset | OwnData] = {
    "fashion": Dataset(FASHION_CLASSES, FASHION_MEAN, FASHION_STD, fashion_subset),
    "fashion-full": Dataset(FASHION_CLASSES, FASHION_MEAN, FASHION_STD, fashion_full),
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
    "cifar10n": with_human_labels(CIFAR10, "CIFAR-10_human.pt", CIFAR10N),
    "cifar100n": with_human_labels(CIFAR100, "CIFAR-100_human.pt", CIFAR100N),
    "clothing1m": CLOTHING1M,
    "folder": OwnData(
        "data_folder",
        ("labels", "label_column", "trusted", "test", "image_size"),
        open_folder,
        folder_fingerprint,
    ),
    "table": OwnData(
        "data_file", ("labels", "label_column", "trusted", "test"), open_table, table_fingerprint
    ),
}
