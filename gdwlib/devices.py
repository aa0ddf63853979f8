"""Which GPU a run takes, where several runs share a machine's. (Schedulers count GPUs, but on one machine none assigns
them.)"""

import contextlib
import getpass
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import torch

POLL = 1.0  # seconds between two looks for a free place


def names() -> list[str]:
    """The GPUs that this process may use, each by a name that every process has for it."""
    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]


@contextlib.contextmanager
def place(runs_per_gpu: int, say: Callable[[str], None], folder: Path | None = None) -> Iterator[int]:
    """Be one of at most so many runs on a GPU of this machine: the least used one becomes the process's current device,
    and no other run may take the place until it is left. Waits for one; the operating system frees a dead owner's.

    Args:
        say: told when there is no free place.
        folder: of the lock files, one a place; the same for all who share the GPUs. Default: the user's own among the
            machine's temporary files.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"gdwlib-{getpass.getuser()}"
    folder.mkdir(parents=True, exist_ok=True)
    gpus = names()
    told = False
    while True:
        for number in range(runs_per_gpu):
            for index, name in enumerate(gpus):
                lock = filelock.FileLock(folder / f"gpu-{name}-{number}.lock", timeout=0)
                try:
                    lock.acquire()
                except filelock.Timeout:
                    continue
                try:
                    torch.cuda.set_device(index)
                    yield index
                finally:
                    lock.release()
                return
        if not told:
            say(f"all {runs_per_gpu * len(gpus)} places on {len(gpus)} GPUs are taken; waiting for one")
            told = True
        time.sleep(POLL)
