"""CSV files and labels as people write them: separators, encodings, headers, spellings."""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from gdwlib.data.errors import DataError

MISSING = {
    "",
    "?",
    "na",
    "n/a",
    "#n/a",
    "<na>",
    "nan",
    "null",
    "none",
    "nil",
    "missing",
    "unknown",
    "-",
    "--",
    ".",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of one
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # what a terminal obeys
WHOLE = re.compile("-?[0-9]{1,18}")
NO_LABEL = MISSING - {"unknown", "none", "missing", "-", "."}  # a class may be called "none"


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a text table, cells stripped, empty lines left out; the first may be a header.

    The separator is a comma, semicolon, tab or bar, whichever splits the lines alike; the encoding
    UTF-8 or UTF-16 (with or without its mark), else Latin-1.

    Raises:
        DataError: missing, not text, or empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
    if "\0" in text:
        raise DataError(
            f"{path}: not a text file; a CSV file is asked for (from Excel: save as CSV)"
        )
    candidates = []
    for order, separator in enumerate(",;\t|"):
        try:
            rows = list(
                csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=False)
            )
        except csv.Error as error:
            raise DataError(f"{path}: not a table of text ({error})") from error
        rows = [[cell.strip() for cell in row] for row in rows]
        rows = [row for row in rows if any(row)]
        widths = Counter(map(len, rows[:1000]))
        width, alike = widths.most_common(1)[0] if widths else (0, 0)
        candidates.append(((width > 1) * alike, width, -order, rows))
    rows = max(candidates, key=lambda item: item[:3])[3]
    if not rows:
        raise DataError(f"{path}: empty")
    return rows


def as_csv(header: Sequence[str], rows: Iterable[Sequence]) -> bytes:
    """A CSV file; numbers with six digits, and before a text that a spreadsheet would take for a
    formula the apostrophe that tells it not to (`plain` takes it away again)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_cell, header))
    writer.writerows(map(_cell, row) for row in rows)
    return buffer.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, str) and _like_a_formula(value.lstrip("'")):
        return f"'{value}"
    return value


def _like_a_formula(text: str) -> bool:
    if len(text) < 2 or not text.startswith(FORMULA):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def plain(cell: str) -> str:
    """A cell that `as_csv` wrote, as it was."""
    return cell[1:] if cell.startswith("'") and _like_a_formula(cell.lstrip("'")) else cell


def is_whole(text: str) -> bool:
    """Whether `int` reads it: digits, of a number that a computer counts to, with or without a
    minus sign."""
    return WHOLE.fullmatch(text) is not None


def is_count(text: str) -> bool:
    """Likewise, without one."""
    return is_whole(text) and not text.startswith("-")


def is_none_like(cell: object) -> bool:
    """None, NaN, pandas' NA and NaT."""
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell


def normalised_label(label: object) -> str | None:
    """A label as text: spaces trimmed and single, without control characters (which a terminal
    would obey), Unicode composed, 3.0 as 3; None where there is none."""
    if is_none_like(label):
        return None
    text = " ".join(unicodedata.normalize("NFC", str(label)).split())
    text = CONTROL.sub("", text)
    if text.casefold() in NO_LABEL:
        return None
    whole, dot, fraction = text.lstrip("+").partition(".")
    if dot and not fraction.strip("0") and is_whole(whole):
        return whole
    return text


class Classes:
    """The classes that a set of labels has: spellings that differ in case, or in space, - and _,
    are one class, named as most of its labels are. In order of their numbers where all are numbers,
    else of the alphabet."""

    def __init__(self, labels: Iterable[str]):
        spellings: dict[str, Counter] = {}
        for label in labels:
            spellings.setdefault(_key(label), Counter())[label] += 1
        named = {key: max(sorted(seen), key=seen.__getitem__) for key, seen in spellings.items()}
        whole = all(map(is_whole, named.values()))
        keys = sorted(
            named,
            key=(lambda key: (int(named[key]), key))
            if whole
            else (lambda key: named[key].casefold()),
        )
        self.names = tuple(named[key] for key in keys)
        self.remarks = [
            f"{', '.join(repr(other) for other in sorted(seen))} are taken for one class, "
            f"{named[key]!r}"
            for key, seen in spellings.items()
            if len(seen) > 1
        ]
        self._index = {key: position for position, key in enumerate(keys)}

    def index(self, label: str) -> int | None:
        """Its class's position, None where there is no such class."""
        return self._index.get(_key(label))


def _key(label: str) -> str:
    if len(label) == 1 or is_whole(label):  # a and A, 1 and -1
        return label
    inner = label[1:-1].replace("_", " ").replace("-", " ")  # but A- is not A
    return f"{label[0]}{inner}{label[-1]}".casefold()


def column(header: Sequence[str], asked: str | None, usual: Sequence[str]) -> int | None:
    """The position of the column called `asked`, else of the first of the usual names; None where
    there is none."""
    names = [name.strip().casefold() for name in header]
    for name in (asked,) if asked else usual:
        if name.casefold() in names:
            return names.index(name.casefold())
    return None
