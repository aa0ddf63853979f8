"""Which images a folder or a CSV file names, and the label that each has there."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gdwlib.data import image_files
from gdwlib.data.errors import DataError, suggestion
from gdwlib.data.image_files import UnusableFile
from gdwlib.data.own.spelling import (
    Classes,
    column,
    is_count,
    normalised_label,
    plain,
    read_csv,
)

SUFFIXES = set(
    ".jpg .jpeg .jpe .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm .tga .jp2 .avif "
    ".heic".split()
)
IDS = (
    *("id", "file", "filename", "file_name", "file name", "path", "filepath", "image", "image_id"),
    *("image_path", "img", "name", "key"),
)
LABELS = ("label", "class", "labels", "category", "target", "class_name", "y")
NO_FILE = "no such file"
UNREADABLE = (NO_FILE, image_files.NOT_UTF8)  # which `skip_bad` leaves out
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class Labelled(NamedTuple):
    """Images with labels as written: where they are, what they are called, and what could not be
    used."""

    paths: list[Path]
    names: list[str]  # ids: the path below the folder
    labels: list[str]
    bad: list[UnusableFile]
    remarks: list[str]


def files_below(root: Path) -> Iterator[tuple[str, Path]]:
    """All files below, with their paths from there, in order; without hidden ones and what systems
    leave behind."""
    seen = set()
    for folder, inner, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back
            inner.clear()
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        for name in sorted(files):
            if not is_hidden(name):
                path = Path(folder, name)
                yield path.relative_to(root).as_posix(), path


def is_hidden(name: str) -> bool:
    return name.startswith((".", "@", "__MACOSX")) or name.lower() in ("thumbs.db", "desktop.ini")


def list_images(root: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """Name and path of every image below a folder, and a remark on other files."""
    found: list[tuple[str, Path]] = []
    others: list[tuple[str, Path]] = []
    with image_files.quiet():
        for name, path in files_below(root):
            good = path.suffix.lower() in SUFFIXES or image_files.is_grayscale(path) is not None
            (found if good else others).append((name, path))
    some = ", ".join(
        image_files.printable(name) for name, _ in others[: image_files.NAMED]
    ) + ", …" * (len(others) > image_files.NAMED)
    return found, [f"{len(others)} files are no images, left alone: {some}"] if others else []


def images_in_folder(root: Path, outside: Iterable[Path] = ()) -> Labelled:
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
    bad = [
        UnusableFile(image_files.printable(name), image_files.NOT_UTF8)
        for name, _ in found
        if not image_files.is_utf8(name)
    ]
    found = [(name, path) for name, path in found if image_files.is_utf8(name)]
    labels = [
        (normalised_label(name.split("/")[0]) or name.split("/")[0]) if "/" in name else ""
        for name, _ in found
    ]
    return Labelled([path for _, path in found], [name for name, _ in found], labels, bad, remarks)


def without_unlabelled(part: Labelled) -> Labelled:
    kept = [label != "" for label in part.labels]
    if all(kept):
        return part
    remark = f"{len(kept) - sum(kept)} images lie in no class's folder and have no label: left out"
    return Labelled(
        select(part.paths, kept),
        select(part.names, kept),
        select(part.labels, kept),
        part.bad,
        [*part.remarks, remark],
    )


def images_in_csv(path: Path, root: Path, label_column: str | None) -> Labelled:
    """The images that a CSV file lists, found below `root` or beside the file."""
    rows = read_csv(path)
    there = dict(files_below(root))
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
        label = normalised_label(plain(row[label_at])) if label_at < len(row) else None
        found = (find(entry) or find(plain(entry))) if entry else None
        if found is None:
            bad.append(UnusableFile(entry or "a row without a file name", NO_FILE))
        elif label is None:
            bad.append(UnusableFile(entry, "no label"))
        elif found[0] in listed and listed[found[0]][1] != label:
            bad.append(
                UnusableFile(entry, f"listed twice, as {listed[found[0]][1]!r} and {label!r}")
            )
        else:
            listed[found[0]] = (found[1], label)
    if bad and all(item.why == NO_FILE for item in bad) and not listed:
        raise DataError(
            f"{path}: none of its {len(rows)} rows names an image below {root}; the column taken "
            f"for file names, {header[at]!r}, starts with {bad[0].name!r}"
        )
    twice = {item.name for item in bad if "twice" in item.why}
    listed = {name: value for name, value in listed.items() if name not in twice}
    return Labelled(
        [p for p, _ in listed.values()],
        list(listed),
        [label for _, label in listed.values()],
        bad,
        [],
    )


def relabelled(folder: Labelled, listed: Labelled, where: Path) -> Labelled:
    """The labels of the CSV file `where` before the folders'. Where it names other classes than the
    folders do, images that it does not list are left out.

    Raises:
        DataError: most of its labels are classes of the folders, and some are not.
    """
    by_folder = Classes(label for label in folder.labels if label)
    strange = Counter(label for label in listed.labels if by_folder.index(label) is None)
    corrects = len(by_folder.names) > 1 and strange.total() < len(listed.labels) / 2
    if corrects and strange:
        names = ", ".join(
            f"{label!r} in {count} rows{suggestion(label, by_folder.names)}"
            for label, count in strange.most_common(image_files.NAMED)
        )
        raise DataError(
            f"{where}: {strange.total()} of {len(listed.labels)} labels are no class of the "
            f"folders: {names}. Correct them, or make a folder of that name"
        )
    named = dict(zip(listed.names, listed.labels, strict=True))
    broken = {item.name for item in listed.bad}
    unlisted = [
        (path, name, label)
        for path, name, label in zip(folder.paths, folder.names, folder.labels, strict=True)
        if name not in named and name not in broken
    ]
    rest = unlisted if corrects else []
    remarks = [*folder.remarks]
    if unlisted and not corrects:
        why = (
            "whose classes are not the folders'" if len(by_folder.names) > 1 else "with the labels"
        )
        remarks.append(f"{len(unlisted)} images are not listed in {where}, {why}: left out")
    together = Labelled(
        listed.paths + [path for path, _, _ in rest],
        listed.names + [name for _, name, _ in rest],
        listed.labels + [label for _, _, label in rest],
        listed.bad + folder.bad,
        remarks,
    )
    order = np.argsort(together.names)
    return together._replace(
        **{
            name: [getattr(together, name)[k] for k in order]
            for name in ("paths", "names", "labels")
        }
    )


def named_images(spec: str | None, root: Path, label_column: str | None) -> Labelled | None:
    """Trusted or test images; None where none are named, or by their number."""
    if spec is None or is_count(spec):
        return None
    return (
        without_unlabelled(images_in_folder(Path(spec)))
        if Path(spec).is_dir()
        else images_in_csv(Path(spec), root, label_column)
    )


def select(items: list, kept: list[bool]) -> list:
    return [item for item, keep in zip(items, kept, strict=True) if keep]
