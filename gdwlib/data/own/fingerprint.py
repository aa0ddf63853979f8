"""Whether files are still what they were."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

from gdwlib.data.errors import DataError
from gdwlib.data.own.named import NamedFiles


def check_unchanged(files: NamedFiles, digest: Callable[[NamedFiles], str]) -> None:
    if digest(files) != files.fingerprint:
        place = files.data_folder or files.data_file
        raise DataError(
            f"{place}: has changed since this run was begun; train again with the same command"
        )


def content_digest(path: Path) -> bytes:
    try:
        state = path.stat()
        if not path.is_file():
            return b"not a regular file"
        return _content_digest(path, state.st_size, state.st_mtime_ns)
    except OSError as error:  # a broken link, no rights: named when it is read
        return f"{error.strerror}".encode()


@functools.lru_cache(maxsize=1_000_000)
def _content_digest(path: Path, size: int, changed: int) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()
