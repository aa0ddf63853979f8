"""Which GPU a run takes, where several runs share a machine's. (Schedulers count GPUs, but on one
machine none assigns them.)"""

import contextlib
import getpass
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import torch

POLL = 1.0  # seconds between two looks for a free place


def gpu_names() -> list[str]:
    """The GPUs that this process may use, each by a name that every process has for it."""
    return [
        str(torch.cuda.get_device_properties(index).uuid)
        for index in range(torch.cuda.device_count())
    ]


@contextlib.contextmanager
def gpu_slot(
    runs_per_gpu: int, say: Callable[[str], None], folder: Path | None = None
) -> Iterator[int]:
    """Be one of at most so many runs on a GPU of this machine: the least used one becomes the
    process's current device, and no other run may take the place until it is left. Waits for one;
    the operating system frees a dead owner's.

    Args:
        say: told when there is no free place.
        folder: of the lock files, one a place; the same for all who share the GPUs. Default: the
            user's own among the machine's temporary files.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"gdwlib-{getpass.getuser()}"
    folder.mkdir(parents=True, exist_ok=True)
    gpus = gpu_names()
    waiting = False
    while (taken := _emptiest_gpu(gpus, runs_per_gpu, folder)) is None:
        if not waiting:
            say(
                f"all {runs_per_gpu * len(gpus)} places on {len(gpus)} GPUs are taken; waiting for "
                "one"
            )
            waiting = True
        time.sleep(POLL)
    index, lock = taken
    try:
        torch.cuda.set_device(index)
        yield index
    finally:
        lock.release()


def _emptiest_gpu(
    gpus: list[str], runs_per_gpu: int, folder: Path
) -> tuple[int, filelock.FileLock] | None:
    """A place on the GPU that has most of them free, and its lock, taken."""
    with filelock.FileLock(folder / "choosing.lock"):  # one process at a time
        free: list[list[filelock.FileLock]] = []  # of each GPU
        for name in gpus:
            locks = [
                filelock.FileLock(folder / f"gpu-{name}-{k}.lock", timeout=0)
                for k in range(runs_per_gpu)
            ]
            free.append([lock for lock in locks if _taken(lock)])
        most = max(range(len(gpus)), key=lambda index: len(free[index]))
        chosen = free[most].pop() if free[most] else None
        for lock in (lock for locks in free for lock in locks):
            lock.release()
    return None if chosen is None else (most, chosen)


def _taken(lock: filelock.FileLock) -> bool:
    try:
        lock.acquire()
    except filelock.Timeout:
        return False
    return True
