"""Writing a file whole or not at all, and reading what has been written so."""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


class RecordError(RuntimeError):
    """A run's files cannot be written, or another process is writing them; the message says what to
    do."""


class RunLocked(RecordError):
    """Another process is training this very run."""


def write_file(
    path: Path, content: bytes, advice: str = "make room or rights there, or name another place"
) -> None:
    """Put a whole file in place, or leave what was there. RecordError with an advice where it
    cannot be."""
    # two processes may write the same
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    if path.exists() and not path.is_file():
        raise RecordError(f"{path}: is no regular file, and is not written over; {advice}")
    with naming_write_errors(path, advice):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(beside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def naming_write_errors(path: Path, advice: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be written ({error.strerror or error}); {advice}"
        ) from error


def read_file(path: Path) -> bytes:
    """A regular file's content. OSError where it is none: a pipe or a device might never end."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def read_json(path: Path) -> dict | None:
    """The object in a file; None where there is none."""
    try:
        content = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


@contextlib.contextmanager
def naming_read_errors() -> Iterator[None]:
    """RecordError where a file is there and cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RecordError(
            f"{error.filename}: cannot be read ({error.strerror or error}), so that nobody knows "
            "what is there, and nothing was changed; mend that, or choose another folder with "
            "--outputs"
        ) from error


def check_sum(path: Path, digest: str) -> None:
    """RecordError where a file's SHA-256 sum is another than its record says."""
    if hashlib.sha256(read_file(path)).hexdigest() != digest:
        raise RecordError(f"{path}: altered or half-written; train the run again")
