"""Random numbers from one seed, by purpose, independent of every global generator and of each
other."""

import zlib

import numpy as np
import torch


def rng(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A NumPy generator for `purpose` (and, say, an epoch), the same on every machine."""
    return np.random.default_rng(
        np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *index])
    )


def torch_rng(seed: int, purpose: str, *index: int) -> torch.Generator:
    """The same as a torch generator, on the host."""
    return torch.Generator().manual_seed(torch_seed(seed, purpose, *index))


def torch_seed(seed: int, purpose: str, *index: int) -> int:
    """A 63-bit seed for `purpose`."""
    return int(rng(seed, purpose, *index).integers(2**63))
