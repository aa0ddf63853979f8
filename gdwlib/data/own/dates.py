"""Dates in a table's cells, as numbers: days since 1970, with their fraction."""

import datetime
import re
from collections.abc import Sequence

import numpy as np

YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[T ](.*))?")
ORDERS = {"ymd": "year, month, day", "dmy": "day, month, year", "mdy": "month, day, year"}
EPOCH = datetime.datetime(1970, 1, 1)


def date_order(cells: Sequence) -> str | None:
    """How a column writes dates, a key of ORDERS; None where not all of its cells are dates.

    Of 3/4/2024 the other cells decide whether the day or the month stands first; where none of them
    does, the month does with slashes, and the day with points and hyphens.
    """
    if not len(cells):
        return None
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    for order, pattern in (("ymd", YEAR_FIRST), ("", YEAR_LAST)):
        found = [pattern.fullmatch(text) for text in texts]
        if not all(found):
            continue
        if not order:
            first, second = (
                max((int(match[place]) for match in found if match), default=0) for place in (1, 3)
            )
            slashes = any(match and match[2] == "/" for match in found)
            order = "dmy" if first > 12 or (second <= 12 and not slashes) else "mdy"
        if all(np.isfinite(days(cell, order)) for cell in cells):
            return order
    return None


def days(cell: object, order: str) -> float:
    """A date's number, NaN where the cell is none."""
    try:
        if isinstance(cell, np.datetime64):
            return float((cell - np.datetime64("1970-01-01")) / np.timedelta64(1, "D"))
        if isinstance(cell, datetime.datetime):  # pandas' Timestamp is one
            return (cell.replace(tzinfo=None) - EPOCH) / datetime.timedelta(days=1)
        if isinstance(cell, datetime.date):
            return float((cell - EPOCH.date()).days)
        if not isinstance(cell, str):
            return np.nan
        text = cell.strip()
        if order == "ymd" and (match := YEAR_FIRST.fullmatch(text)):
            year, month, day = int(match[1]), int(match[3]), int(match[4])
            time = text[match.end(4) + 1 :]
        elif order != "ymd" and (match := YEAR_LAST.fullmatch(text)):
            year, parts, time = int(match[4]), (int(match[1]), int(match[3])), match[5] or ""
            day, month = parts if order == "dmy" else parts[::-1]
        else:
            return np.nan
        moment = datetime.datetime(year, month, day)
        if time:
            clock = datetime.time.fromisoformat(time.strip())
            moment = datetime.datetime.combine(moment, clock.replace(tzinfo=None))
        return (moment - EPOCH) / datetime.timedelta(days=1)
    except (ValueError, OverflowError):  # no such day
        return np.nan
