"""Batches that live on the device: images stay uint8, whole batches are augmented and normalised
there."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F

from gdwlib._types import Float, Int, Tensor, UInt8
from gdwlib.data.randomness import rng

PAD = 4  # pixels, the paper's


def pooled(images: Tensor, pool: int) -> Tensor:
    """Images (N, c, H, W) uint8 averaged over pool × pool pixels and rounded; 1 leaves them as they
    are."""
    return images if pool == 1 else F.avg_pool2d(images.float(), pool).round().byte()


def normalised(
    images: UInt8[Tensor, "n c H W"] | Float[Tensor, "n F"],
    mean: Float[Tensor, "..."],
    std: Float[Tensor, "..."],
) -> Float[Tensor, "n c H W"] | Float[Tensor, "n F"]:
    """(x/255 - mean)/std, channels last, in the dtype of `mean`. A table's features are scaled
    already."""
    if images.ndim == 2:
        return images.to(mean.dtype)
    return ((images.to(mean.dtype) / 255 - mean) / std).contiguous(
        memory_format=torch.channels_last
    )


def augmented(
    images: UInt8[Tensor, "n c H W"], generator: torch.Generator
) -> UInt8[Tensor, "n c H W"]:
    """Each image reflect-padded by 4, cropped to its size at a random place, and flipped left-right
    half the time.

    One gather for the whole batch: row r of the result is row |r + shift|, reflected at the
    borders, of the image. `generator` is the host's, so that a seed means the same crops on every
    device.
    """
    n, _, height, width = images.shape
    device = images.device
    # down, right
    shift = torch.randint(-PAD, PAD + 1, (2, n, 1), generator=generator).to(
        device, non_blocking=True
    )
    # (n, 1)
    flip = torch.randint(0, 2, (n, 1), generator=generator).to(device, non_blocking=True).bool()
    rows = reflected(torch.arange(height, device=device) + shift[0], height)  # (n, H)
    columns = reflected(torch.arange(width, device=device) + shift[1], width)  # (n, W)
    columns = torch.where(flip, columns.flip(1), columns)
    which = torch.arange(n, device=device)[:, None, None]
    # (n, H, W, c)
    channels_last = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
    return channels_last.permute(0, 3, 1, 2)


def reflected(index: Int[Tensor, "n L"], length: int) -> Int[Tensor, "n L"]:
    """Indices outside 0..length-1 mirrored at the first and last one, as padding_mode='reflect'
    does."""
    return length - 1 - (length - 1 - index.abs()).abs()


def train_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch visits the training examples, (count,)."""
    return rng(seed, "order", epoch).permutation(count)


def meta_order(count: int, length: int, seed: int, epoch: int) -> np.ndarray:
    """`length` positions in the meta set: shuffled passes, one after the other, anew every
    epoch."""
    draw = rng(seed, "meta order", epoch)
    return np.concatenate([draw.permutation(count) for _ in range(-(-length // count))])[:length]


def epoch_indices(
    train_count: int, meta_count: int, batch_size: int, seed: int, epoch: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of index tensors on the device, a train and a meta batch a step. The last train batch
    may be smaller, but a single example, of which batch norm knows no variance, joins the batch
    before; meta batches are as large as the batch size or the meta set allows."""
    meta_size = min(batch_size, meta_count)
    train = torch.as_tensor(train_order(train_count, seed, epoch), device=device)
    parts = list(train.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    meta = torch.as_tensor(
        meta_order(meta_count, len(parts) * meta_size, seed, epoch), device=device
    )
    yield from zip(parts, meta.split(meta_size), strict=True)
