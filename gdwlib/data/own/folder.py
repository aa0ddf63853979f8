"""Your own images: a folder of them for each class, or a CSV file of labels; a few of them trusted.

    cat/001.jpg  cat/002.png  dog/anything.jpg …   torchvision's ImageFolder layout, or deeper
    id,label                                       besides or instead: a CSV file, a row an image

Trusted and test images are named by a folder in that layout, or by a CSV file; they are never
trained on, whether as the same file or as a copy of it.
"""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gdwlib.data import image_files
from gdwlib.data.dataset import Dataset, Images
from gdwlib.data.errors import DataError
from gdwlib.data.image_files import UnusableFile
from gdwlib.data.own.named import NamedFiles
from gdwlib.data.own.spelling import Classes, column, normalised_label, read_csv

SUFFIXES = set(
    ".jpg .jpeg .jpe .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .tga .jp2 .avif "
    ".heic".split()
)
IDS = (
    *("id", "file", "filename", "file_name", "file name", "path", "filepath", "image", "image_id"),
    *("image_path", "img", "name", "key"),
)
LABELS = ("label", "class", "labels", "category", "target", "class_name", "y")
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class Labelled(NamedTuple):
    """Images with labels as written: where they are, what they are called, and what could not be
    used."""

    paths: list[Path]
    names: list[str]  # ids: the path below the folder
    labels: list[str]
    bad: list[UnusableFile]
    remarks: list[str]


def open_folder(files: NamedFiles) -> Dataset:
    """The data set that a `RunConfig` names by its fields data_folder, labels, trusted, test,
    image_size, skip_bad.

    Raises:
        DataError: of one line that counts and names what is wrong.
    """
    check_unchanged(files, fingerprint)
    root, skip = Path(files.data_folder), files.skip_bad
    trusted, test = (_part(spec, root, files.label_column) for spec in (files.trusted, files.test))
    outside = [Path(spec) for spec in (files.trusted, files.test) if spec and Path(spec).is_dir()]
    train = _in_folder(root, outside)
    if files.labels:
        train = _relabelled(train, _in_csv(Path(files.labels), root, files.label_column))
    train = _unlabelled_left_out(train)
    remarks = list(train.remarks)
    set_apart = {path.resolve() for part in (trusted, test) if part for path in part.paths}
    kept = [path.resolve() not in set_apart for path in train.paths]
    train = train._replace(
        **{name: _where(getattr(train, name), kept) for name in ("paths", "names", "labels")}
    )

    classes = Classes(train.labels)
    remarks += classes.remarks
    if len(classes.names) < 2:
        inner = [
            path for path in sorted(root.iterdir()) if path.is_dir() and not _hidden(path.name)
        ]
        hint = f"; is it {inner[0]} that is meant?" if len(inner) == 1 else ""
        raise DataError(
            f"{root}: has images of {len(classes.names)} classes, two are needed: one folder for "
            "each class, or "
            f"--labels with a CSV file{hint}"
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
        images, found, bad = image_files.read(part.paths, part.names, files.image_size, channels)
        left_out = {item.name for item in strange}
        bad = [*part.bad, *strange, *(item for item in bad if item.name not in left_out)]
        remarks.append(
            image_files.refuse(
                root if part is train else f"{what} of {root}",
                bad,
                len(part.names) + len(part.bad),
                what,
                skip,
            )
        )
        readable = [digest is not None for digest in found]
        usable = [
            digest is not None and c is not None for digest, c in zip(found, known, strict=True)
        ]
        labels = np.array(_where(known, usable), np.int64)
        images = images[np.array(_where(usable, readable), bool)]
        digests[what] = _where(found, usable)
        loaded[what] = Images(images, labels, np.array(_where(part.names, usable), np.str_))
    own = loaded.pop("images")
    elsewhere = {digest for what in loaded for digest in digests[what]}
    copies = np.array([digest in elsewhere for digest in digests["images"]], bool)
    if copies.any():
        remarks.append(
            f"{copies.sum()} images are copies of trusted or test images: not trained on"
        )
    seen = Counter(digests["images"])
    twins = sum(count for count in seen.values() if count > 1)
    if twins:
        remarks.append(
            f"{twins} images are there more than once; each file is kept, and ranked, by itself"
        )
    own = own.take(np.flatnonzero(~copies))
    return dataset_of(
        classes.names, own, loaded.get("trusted images"), loaded.get("test images"), remarks, root
    )


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
    root = Path(files.data_folder)
    if not root.is_dir():
        raise DataError(f"data_folder: {root} is no folder")
    whole = hashlib.blake2b(digest_size=8)
    for what, spec in (
        ("data", root),
        ("labels", files.labels),
        ("trusted", files.trusted),
        ("test", files.test),
    ):
        if spec is None or str(spec).isdigit():
            whole.update(f"{what} {spec}\n".encode())
        elif (path := Path(spec)).is_dir():
            for name, file in _files(path):
                whole.update(f"{what} {name} ".encode() + content_digest(file))
        elif path.is_file():
            whole.update(f"{what} ".encode() + content_digest(path))
        else:
            raise DataError(
                f"{what}: {path} is neither a folder nor a file"
                + " nor a number" * (what == "trusted")
            )
    return whole.hexdigest()


def check_unchanged(files: NamedFiles, digest: Callable[[NamedFiles], str]) -> None:
    if digest(files) != files.fingerprint:
        place = files.data_folder or files.data_file
        raise DataError(
            f"{place}: has changed since this run was begun; train again with the same command"
        )


def content_digest(path: Path) -> bytes:
    try:
        state = path.stat()
        return _content_digest(path, state.st_size, state.st_mtime_ns)
    except OSError as error:  # a broken link, no rights: named when it is read
        return f"{error.strerror}".encode()


@functools.lru_cache(maxsize=1_000_000)
def _content_digest(path: Path, size: int, changed: int) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """All files below, with their paths from there, in order; without hidden ones and what systems
    leave behind."""
    seen = set()
    for folder, inner, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not _hidden(name))
        for name in sorted(files):
            if not _hidden(name):
                path = Path(folder, name)
                yield path.relative_to(root).as_posix(), path


def _hidden(name: str) -> bool:
    return name.startswith((".", "@", "__MACOSX")) or name.lower() in ("thumbs.db", "desktop.ini")


def list_images(root: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """Name and path of every image below a folder, and a remark on other files."""
    found: list[tuple[str, Path]] = []
    others: list[tuple[str, Path]] = []
    with image_files.quiet():
        for name, path in _files(root):
            good = path.suffix.lower() in SUFFIXES or image_files.is_grayscale(path) is not None
            (found if good else others).append((name, path))
    some = ", ".join(name for name, _ in others[: image_files.NAMED]) + ", …" * (
        len(others) > image_files.NAMED
    )
    return found, [f"{len(others)} files are no images, left alone: {some}"] if others else []


def _in_folder(root: Path, outside: Iterable[Path] = ()) -> Labelled:
    """The images below a folder, labelled by its own folders; "" where they lie in none of them."""
    apart = [path.resolve() for path in outside]
    found, remarks = list_images(root)
    found = [
        (name, path)
        for name, path in found
        if not any(path.resolve().is_relative_to(other) for other in apart)
    ]
    tops = {name.split("/")[0] for name, _ in found if "/" in name}
    if tops and {top.casefold() for top in tops} <= SPLITS:
        first = sorted(tops, key=lambda top: (not top.casefold().startswith("train"), top))
        rest = f" and --test {root / first[1]}" if len(first) > 1 else ""
        way = f"give --data-folder {root / first[0]}{rest}"
        raise DataError(
            f"{root}: holds {', '.join(first)} instead of a folder for each class; {way}"
        )
    labels = [
        (normalised_label(name.split("/")[0]) or name.split("/")[0]) if "/" in name else ""
        for name, _ in found
    ]
    return Labelled([path for _, path in found], [name for name, _ in found], labels, [], remarks)


def _unlabelled_left_out(part: Labelled) -> Labelled:
    kept = [label != "" for label in part.labels]
    if all(kept):
        return part
    remark = f"{len(kept) - sum(kept)} images lie in no class's folder and have no label: left out"
    return Labelled(
        _where(part.paths, kept),
        _where(part.names, kept),
        _where(part.labels, kept),
        part.bad,
        [*part.remarks, remark],
    )


def _in_csv(path: Path, root: Path, label_column: str | None) -> Labelled:
    """The images that a CSV file lists, found below `root` or beside the file."""
    rows = read_csv(path)
    there = dict(_files(root))
    by_name: dict[str, list[str]] = {}
    by_stem: dict[str, list[str]] = {}
    for name, file in there.items():
        by_name.setdefault(file.name, []).append(name)
        by_stem.setdefault(file.stem, []).append(name)

    def find(entry: str) -> tuple[str, Path] | None:
        entry = entry.replace("\\", "/").removeprefix("./")
        if entry in there:
            return entry, there[entry]
        below = Path(entry)
        if below.is_absolute() and below.is_relative_to(root) and below.is_file():
            return below.relative_to(root).as_posix(), below
        if (path.parent / entry).is_file():
            return entry, path.parent / entry
        for known, key in ((by_name, below.name), (by_stem, entry)):
            if len(known.get(key, ())) == 1:
                return known[key][0], there[known[key][0]]
        return None

    header = rows[0]
    at, label_at = column(header, None, IDS), column(header, label_column, LABELS)
    if at is None and label_at is None and len(header) >= 2 and find(header[0]) is not None:
        at, label_at = 0, 1  # no header
    else:
        rows = rows[1:]
        if label_at is not None and at is None:
            at = next((k for k in range(len(header)) if k != label_at), None)
        if at is not None and label_at is None and len(header) == 2:
            label_at = 1 - at
    if at is None or label_at is None:
        raise DataError(
            f"{path}: needs a column of file names and one of labels, has {', '.join(header)}; "
            "name the latter with --label-column"
        )
    listed: dict[str, tuple[Path, str]] = {}
    bad = []
    for row in rows:
        entry = row[at] if at < len(row) else ""
        label = normalised_label(row[label_at]) if label_at < len(row) else None
        found = find(entry) if entry else None
        if found is None:
            bad.append(UnusableFile(entry or "a row without a file name", "no such file"))
        elif label is None:
            bad.append(UnusableFile(entry, "no label"))
        elif found[0] in listed and listed[found[0]][1] != label:
            bad.append(
                UnusableFile(entry, f"listed twice, as {listed[found[0]][1]!r} and {label!r}")
            )
        else:
            listed[found[0]] = (found[1], label)
    twice = {item.name for item in bad if "twice" in item.why}
    listed = {name: value for name, value in listed.items() if name not in twice}
    return Labelled(
        [p for p, _ in listed.values()],
        list(listed),
        [label for _, label in listed.values()],
        bad,
        [],
    )


def _relabelled(folder: Labelled, listed: Labelled) -> Labelled:
    """The CSV file's labels before the folders'. Where the file names other classes than the
    folders do, images that it does not list have no label."""
    by_folder = Classes(label for label in folder.labels if label)
    corrects = len(by_folder.names) > 1 and all(
        by_folder.index(label) is not None for label in listed.labels
    )
    named = dict(zip(listed.names, listed.labels, strict=True))
    broken = {item.name for item in listed.bad}
    rest = [
        (path, name, label if corrects else "")
        for path, name, label in zip(folder.paths, folder.names, folder.labels, strict=True)
        if name not in named and name not in broken
    ]
    paths, names, labels = (
        (list(part) for part in zip(*rest, strict=True)) if rest else ([], [], [])
    )
    together = Labelled(
        listed.paths + paths,
        listed.names + names,
        listed.labels + labels,
        listed.bad,
        folder.remarks,
    )
    order = np.argsort(together.names)
    return together._replace(
        **{
            name: [getattr(together, name)[k] for k in order]
            for name in ("paths", "names", "labels")
        }
    )


def _part(spec: str | None, root: Path, label_column: str | None) -> Labelled | None:
    """Trusted or test images; None where none are named, or by their number."""
    if spec is None or spec.isdigit():
        return None
    return (
        _unlabelled_left_out(_in_folder(Path(spec)))
        if Path(spec).is_dir()
        else _in_csv(Path(spec), root, label_column)
    )


def _where(items: list, kept: list[bool]) -> list:
    return [item for item, keep in zip(items, kept, strict=True) if keep]
