"""What goes wrong with data."""


class DataError(RuntimeError):
    """A file of a data set is missing, truncated or altered; the message says which and what to
    do."""
