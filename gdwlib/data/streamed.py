"""Images that do not fit into memory: files, decoded by worker processes a batch ahead of the
training step."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from gdwlib.data import image_files
from gdwlib.data.dataset import Lazy
from gdwlib.data.errors import DataError
from gdwlib.data.randomness import rng

MARGIN = 8 / 7  # the shorter side before cropping, over the crop's: 256 for 224


class Files(Lazy):
    """Image files as an array (N, 3, size, size) that is decoded where it is indexed by a batch.

    The shorter side becomes 8/7 of `size`; from that a square is cropped, in the middle or, where
    augmented, at a random place, and flipped left-right half the time.
    """

    def __init__(self, paths: np.ndarray, size: int):
        self.paths, self.size = np.asarray(paths, np.str_), size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.paths), 3, self.size, self.size)

    def __getitem__(self, positions: np.ndarray) -> "Files":
        return Files(self.paths[positions], self.size)

    def decoded(self, position: int, draw: np.random.Generator | None) -> np.ndarray:
        """One image, (3, size, size) uint8; augmented where there is a generator. DataError names a
        bad file."""
        path = Path(str(self.paths[position]))
        try:
            image = image_files.open_image(path, at_least=round(self.size * MARGIN)).convert("RGB")
        except OSError as error:
            raise DataError(
                f"{path}: {error}; mend it, or leave such images out with --skip-bad"
            ) from None
        scale = round(self.size * MARGIN) / min(image.size)
        width, height = (max(self.size, round(side * scale)) for side in image.size)
        left, top = ((side - self.size) / 2 for side in (width, height))
        if draw is not None:
            left, top = (int(draw.integers(side - self.size + 1)) for side in (width, height))
        x0, y0, x1, y1 = (edge / scale for edge in (left, top, left + self.size, top + self.size))
        wide, high = image.size
        box = min(x0, wide), min(y0, high), min(x1, wide), min(y1, high)
        array = np.asarray(
            image.resize((self.size, self.size), image_files.Image.Resampling.BILINEAR, box)
        )
        if draw is not None and draw.integers(2):
            array = array[:, ::-1]
        return np.ascontiguousarray(array.transpose(2, 0, 1))


class _Wanted(torch.utils.data.Dataset):
    """Decodes batches in the workers: item k is batch k of several streams, each a tensor (n, 3,
    size, size)."""

    def __init__(
        self, streams: Sequence[tuple[Files, Sequence[np.ndarray]]], augment: tuple[int, int] | None
    ):
        self.streams, self.augment = streams, augment

    def __len__(self) -> int:
        return len(self.streams[0][1])

    def __getitem__(self, k: int) -> list[torch.Tensor] | DataError:
        try:
            with image_files.quiet():
                return [
                    torch.from_numpy(
                        np.stack(
                            [
                                self._one(files, which, k, row, int(at))
                                for row, at in enumerate(of[k])
                            ]
                        )
                    )
                    for which, (files, of) in enumerate(self.streams)
                ]
        # handed over, so that it is raised without the worker's traceback
        except DataError as error:
            return error

    def _one(self, files: Files, which: int, k: int, row: int, position: int) -> np.ndarray:
        draw = (
            rng(self.augment[0], "crop", self.augment[1], which, k, row)
            if self.augment is not None
            else None
        )
        return files.decoded(position, draw)


def batches(
    streams: Sequence[tuple[Files, Sequence[np.ndarray]]],
    workers: int,
    augment: tuple[int, int] | None = None,
) -> Iterator[list[torch.Tensor]]:
    """Batches of positions, decoded in order: of each stream (n, 3, size, size) uint8 on the host.

    Args:
        streams: image files, and the positions (n,) of each batch; as many batches of each.
        workers: processes; 0 for this one.
        augment: (seed, epoch), which decide the random crops; None for the middle.
    """
    loader = torch.utils.data.DataLoader(
        _Wanted(streams, augment),
        batch_size=None,
        num_workers=min(workers, len(streams[0][1])),
        prefetch_factor=2 if workers and len(streams[0][1]) else None,
        pin_memory=torch.cuda.is_available(),
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch
