"""What the processes of one run do together, and how one learns that another has ended."""

import contextlib
from collections.abc import Iterator

import torch.distributed as dist

from gdwlib._types import Tensor

LOST = "a process of this run has ended; finished epochs are kept, and the same command goes on from there"


class ProcessLost(Exception):
    """Another process of this run has ended, or all are asked to."""


def total(value: Tensor) -> Tensor:
    """Summed over the processes, in place."""
    with lost():
        dist.all_reduce(value)
    return value


@contextlib.contextmanager
def lost() -> Iterator[None]:
    """Name what a closed connection means."""
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's, of a connection that has closed
        raise ProcessLost(LOST) from error
