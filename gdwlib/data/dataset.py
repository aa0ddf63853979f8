"""What a data set is: images or features in memory, and where to get them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gdwlib.data.errors import DataError


class Lazy:
    """Images (N, channels, H, W) uint8 that are decoded when they are asked for; see
    `gdwlib.data.streamed`."""

    ndim, dtype = 4, np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, positions: np.ndarray) -> "Lazy":
        raise NotImplementedError


@dataclass(frozen=True)
class Images:
    """One split: images (N, channels, H, W) uint8, labels (N,) int64, and each image's id in the
    published files. In the images' place there may be features (N, F) float32, or files decoded
    when they are wanted.

    Where the labels that were published may be wrong, these are `given`, and `labels` the true
    ones, -1 where unknown.
    """

    images: np.ndarray | Lazy
    labels: np.ndarray
    ids: np.ndarray
    given: np.ndarray | None = None

    def __post_init__(self) -> None:
        images = self.images
        features = images.ndim == 2 and images.dtype == np.float32
        if not features and (images.ndim != 4 or images.dtype != np.uint8):
            raise DataError(
                f"images must be (N, channels, H, W) uint8, not {images.shape} {images.dtype}"
            )
        if not np.issubdtype(self.labels.dtype, np.integer):
            raise DataError(
                f"labels must be integers, the classes' positions, not {self.labels.dtype}"
            )
        if self.labels.shape != (len(images),) or self.ids.shape != self.labels.shape:
            raise DataError(
                f"{len(images)} images with {self.labels.shape} labels and {self.ids.shape} ids"
            )

    def take(self, positions: np.ndarray) -> "Images":
        given = self.given[positions] if self.given is not None else None
        return Images(self.images[positions], self.labels[positions], self.ids[positions], given)


@dataclass(frozen=True)
class Dataset:
    """A data set: class names, the channels' mean and standard deviation (0 to 1), and how to load
    a split.

    `load(folder, train)` returns `Images`, fetching what is missing, or raises `DataError`; for the
    test split it may return None, where there is none. `label_sets` names labels that people gave
    the training images: of each, a function of the folder and the true labels (N,) to the given
    ones. `trusted(folder)` loads clean images apart from the training images, where there are such;
    else the meta set is taken out of these.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    load: Callable[[Path, bool], Images | None]
    label_sets: Mapping[str, Callable[[Path, np.ndarray], np.ndarray]] = field(default_factory=dict)
    trusted: Callable[[Path], Images] | None = None
    remarks: tuple[str, ...] = ()  # what a reader of the run's log should know of the data
    columns: tuple[dict, ...] | None = None  # of a table: how its columns become features
    sized: Callable[[int, bool], "Dataset"] | None = (
        None  # the same with images of so many pixels, bad ones left out or not
    )
    digest: str | None = None  # of contents that the name alone does not tell


@dataclass(frozen=True)
class OwnData:
    """Files of the user's own, which `RunConfig` names: the fields that do so (`needs` one of them,
    and takes the `others`), how to open them, and a digest of what is in them."""

    needs: str
    others: tuple[str, ...]
    open: Callable[..., Dataset]  # of the RunConfig
    fingerprint: Callable[..., str]
    label_sets: Mapping = field(default_factory=dict)
