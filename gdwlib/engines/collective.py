"""What the processes of one run do together, and how one learns that another has ended."""

import contextlib
from collections.abc import Iterator

import torch.distributed as dist

from gdwlib._types import Tensor

LOST = (
    "a process of this run has ended; finished epochs are kept, "
    "and the same command goes on from there"
)


class ProcessLost(Exception):
    """Another process of this run has ended, or all are asked to."""


def all_reduce(value: Tensor) -> Tensor:
    """Summed over the processes, in place."""
    with process_lost_on_closed_connection():
        dist.all_reduce(value)
    return value


@contextlib.contextmanager
def process_lost_on_closed_connection() -> Iterator[None]:
    """Name what a closed connection means."""
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's, of a connection that has closed
        raise ProcessLost(LOST) from error
