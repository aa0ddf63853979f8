"""Writing a file whole or not at all."""

import contextlib
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


def read_json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
