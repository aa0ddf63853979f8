"""What goes wrong with data, and how it is told."""

import difflib
from collections.abc import Iterable


class DataError(RuntimeError):
    """A file of a data set is missing, truncated or altered; the message says which and what to
    do."""


def suggestion(name: str, valid: Iterable[str]) -> str:
    """'; did you mean 'noise'?', or the list of valid names where none is near."""
    valid = list(valid)
    close = difflib.get_close_matches(name, valid, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; one of {', '.join(valid)}"
