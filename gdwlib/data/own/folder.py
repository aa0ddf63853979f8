"""Your own images: a folder of them for each class, or a CSV file of labels; a few of them trusted.

    cat/001.jpg  cat/002.png  dog/anything.jpg …   torchvision's ImageFolder layout, or deeper
    id,label                                       besides or instead: a CSV file, one row per image

Trusted and test images are named by a folder in that layout, or by a CSV file; they are never
trained on, whether as the same file or as a copy of it.
"""

import hashlib
from pathlib import Path

import numpy as np

from gdwlib.data import image_files
from gdwlib.data.dataset import Dataset, Images
from gdwlib.data.errors import DataError
from gdwlib.data.image_files import UnusableFile
from gdwlib.data.own.fingerprint import check_unchanged, content_digest
from gdwlib.data.own.listing import (
    UNREADABLE,
    files_below,
    images_in_csv,
    images_in_folder,
    is_hidden,
    named_images,
    relabelled,
    select,
    without_unlabelled,
)
from gdwlib.data.own.named import NamedFiles
from gdwlib.data.own.spelling import Classes, is_count


def open_folder(files: NamedFiles) -> Dataset:
    """The data set that a `RunConfig` names by its fields data_folder, labels, trusted, test,
    image_size, skip_bad.

    Raises:
        DataError: of one line that counts and names what is wrong.
    """
    check_unchanged(files, fingerprint)
    root, skip = Path(files.data_folder or ""), files.skip_bad
    trusted, test = (
        named_images(spec, root, files.label_column) for spec in (files.trusted, files.test)
    )
    outside = [Path(spec) for spec in (files.trusted, files.test) if spec and Path(spec).is_dir()]
    train = images_in_folder(root, outside)
    if files.labels:
        listed = images_in_csv(Path(files.labels), root, files.label_column)
        train = relabelled(train, listed, Path(files.labels))
    train = without_unlabelled(train)
    remarks = list(train.remarks)
    set_apart = {path.resolve() for part in (trusted, test) if part for path in part.paths}
    kept = [path.resolve() not in set_apart for path in train.paths]
    train = train._replace(
        **{name: select(getattr(train, name), kept) for name in ("paths", "names", "labels")}
    )

    classes = Classes(train.labels)
    remarks += classes.remarks
    if len(classes.names) < 2:
        inner = [
            path for path in sorted(root.iterdir()) if path.is_dir() and not is_hidden(path.name)
        ]
        hint = f"; is it {inner[0]} that is meant?" if len(inner) == 1 else ""
        raise DataError(
            f"{root}: has images of {len(classes.names)} classes, two are needed: one folder for "
            f"each class, or --labels with a CSV file{hint}"
        )
    parts = {"images": train} | {
        f"{name} images": part for name, part in (("trusted", trusted), ("test", test)) if part
    }
    grey = [image_files.is_grayscale(path) for part in parts.values() for path in part.paths]
    channels = 1 if all(mode is not False for mode in grey) and any(grey) else 3
    loaded, digests = {}, {}
    for what, part in parts.items():
        known = [classes.index(label) for label in part.labels]
        strange = [
            UnusableFile(n, f"no class {label!r} in the training images")
            for n, label, c in zip(part.names, part.labels, known, strict=True)
            if c is None
        ]
        images, found, bad = image_files.read(
            part.paths, part.names, files.image_size or 0, channels
        )
        where, count = (
            root if part is train else f"{what} of {root}",
            len(part.names) + len(part.bad),
        )
        unreadable = [item for item in part.bad if item.why in UNREADABLE] + bad
        wrong = [item for item in part.bad if item.why not in UNREADABLE] + strange
        if skip and wrong:  # what cannot be read is left out when asked, and nothing else
            image_files.refuse(where, wrong, count, f"labels of {what}", skip_bad=None)
        remarks.append(image_files.refuse(where, wrong + unreadable, count, what, skip))
        readable = [digest is not None for digest in found]
        usable = [
            digest is not None and c is not None for digest, c in zip(found, known, strict=True)
        ]
        labels = np.array(select(known, usable), np.int64)
        images = images[np.array(select(usable, readable), bool)]
        digests[what] = select(found, usable)
        loaded[what] = Images(images, labels, np.array(select(part.names, usable), np.str_))
    own = loaded.pop("images")
    elsewhere = {digest for what in loaded for digest in digests[what]}
    copies = np.array([digest in elsewhere for digest in digests["images"]], bool)
    if copies.any():
        remarks.append(
            f"{copies.sum()} images are copies of trusted or test images: not trained on"
        )
    remarks += _on_copies(own, digests["images"], classes.names)
    own = own.take(np.flatnonzero(~copies))
    return dataset_of(
        classes.names, own, loaded.get("trusted images"), loaded.get("test images"), remarks, root
    )


def _on_copies(images: Images, digests: list, names: tuple[str, ...]) -> list[str]:
    """Remarks on files of equal content, and those among them that have different labels."""
    copies: dict[object, list[int]] = {}
    for k, digest in enumerate(digests):
        copies.setdefault(digest, []).append(k)
    groups = [group for group in copies.values() if len(group) > 1]

    def named(groups: list[list[int]], with_labels: bool) -> str:
        some = "; ".join(
            " = ".join(
                str(images.ids[k]) + f" ({names[images.labels[k]]})" * with_labels for k in group
            )
            for group in groups[: image_files.NAMED]
        )
        return some + "; …" * (len(groups) > image_files.NAMED)

    odd = [group for group in groups if len(set(images.labels[group])) > 1]
    remarks = []
    if groups:
        remarks.append(
            f"{sum(map(len, groups))} images are there more than once; each file is kept, and "
            f"ranked, by itself: {named(groups, False)}"
        )
    if odd:
        remarks.append(
            f"{sum(map(len, odd))} of them have labels that contradict each other, and come first "
            f"among the suspects: {named(odd, True)}"
        )
    return remarks


def dataset_of(
    names: tuple[str, ...],
    train: Images,
    trusted: Images | None,
    test: Images | None,
    remarks: list[str],
    where: object,
) -> Dataset:
    """A data set of arrays in memory, whose training labels may be wrong."""
    missing = [name for c, name in enumerate(names) if not (train.labels == c).any()]
    if missing:
        raise DataError(f"{where}: no training examples are left of {', '.join(missing)}")
    if trusted is not None:
        if not len(trusted.labels):
            raise DataError(f"{where}: none of the trusted examples can be used")
        bare = [name for c, name in enumerate(names) if not (trusted.labels == c).any()]
        if bare:
            remarks.append(
                f"no trusted examples of {', '.join(bare)}: their labels will be learned less well"
            )
    if isinstance(train.images, np.ndarray) and train.images.ndim == 4:
        scaled = train.images.reshape(*train.images.shape[:2], -1)
        mean = scaled.mean((0, 2), dtype=np.float64) / 255
        std = np.maximum(scaled.std((0, 2), dtype=np.float64) / 255, 0.01)
    else:  # features, which are scaled already
        mean, std = np.zeros(train.images.shape[1]), np.ones(train.images.shape[1])
    unknown = np.full(len(train.labels), -1)
    train = Images(train.images, unknown, train.ids, train.labels)
    return Dataset(
        names,
        tuple(map(float, mean)),
        tuple(map(float, std)),
        load=lambda folder, wanted: train if wanted else test,
        trusted=(lambda folder: trusted) if trusted is not None else None,
        remarks=tuple(remark for remark in remarks if remark),
    )


def fingerprint(files: NamedFiles) -> str:
    """A digest of all that the files say: the same wherever they lie, another when a file or its
    class changes."""
    root = Path(files.data_folder or "")
    if not root.is_dir():
        raise DataError(f"data_folder: {root} is no folder")
    whole = hashlib.blake2b(digest_size=8)
    for what, spec in (
        ("data", root),
        ("labels", files.labels),
        ("trusted", files.trusted),
        ("test", files.test),
    ):
        if spec is None or is_count(str(spec)):
            whole.update(f"{what} {spec}\n".encode())
        elif (path := Path(spec)).is_dir():
            for name, file in files_below(path):
                place = f"{what} {name} ".encode(errors="surrogateescape")
                whole.update(place + content_digest(file))
        elif path.is_file():
            whole.update(f"{what} ".encode() + content_digest(path))
        else:
            raise DataError(
                f"{what}: {path} is neither a folder nor a file"
                + " nor a number" * (what == "trusted")
            )
    return whole.hexdigest()
