"""A split as batches on the device: resident there as a whole, or streamed from image files."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from gdwlib._types import Tensor
from gdwlib.data import Split
from gdwlib.data.batches import augmented, epoch_indices, normalised, pooled
from gdwlib.data.dataset import Lazy
from gdwlib.data.randomness import torch_rng
from gdwlib.data.streamed import batches
from gdwlib.learner import LOCAL_ENGINE, Engine
from gdwlib.methods import Batch, MethodContext
from gdwlib.runs.config import PRECISIONS, RunConfig
from gdwlib.runs.machine import cores

EVAL_BATCH_SIZE = 1000  # images of a forward pass without gradients


class DeviceLoader:
    """A split on the device: uint8 images (or a table's features) and labels, and batches made of
    them there."""

    def __init__(self, config: RunConfig, split: Split, device: torch.device):
        if config.pool > min(split.train.images.shape[2:], default=1):
            raise ValueError(
                f"pool: {config.pool} is larger than the images, {split.train.images.shape[2:]} "
                "pixels"
            )
        self.config, self.device = config, device
        self.augment, self.wrong_rate = config.augment, split.wrong_rate
        dtype = PRECISIONS[config.precision]
        # (c, 1, 1); (F,) of a table
        trailing = (slice(None), *[None] * (split.train.images.ndim - 2))
        self.mean, self.std = (
            torch.tensor(values, dtype=dtype, device=device)[trailing]
            for values in (split.mean, split.std)
        )
        self.given = torch.as_tensor(split.given, device=device)  # (N,)
        self.meta_labels = torch.as_tensor(split.meta.labels, device=device)  # (M,)
        self.test_labels = (
            torch.as_tensor(split.test.labels, device=device) if split.test is not None else None
        )
        self.train, self.meta = self.images(split.train.images), self.images(split.meta.images)
        self.test = self.images(split.test.images) if split.test is not None else None

    def images(self, of: Any) -> Any:
        """What batches are taken from: uint8 images or features on the device; files where they are
        streamed."""
        return pooled(torch.as_tensor(of, device=self.device), self.config.pool)

    def context(
        self, config: RunConfig, new_network: Callable[[], nn.Module], num_classes: int
    ) -> MethodContext:
        x_meta = normalised(self.meta, self.mean, self.std)
        return MethodContext(
            num_classes, self.given, x_meta, self.meta_labels, self.wrong_rate, new_network
        )

    def batches(self, epoch: int) -> Iterator[Batch]:
        """An epoch's, in its order."""
        config = self.config
        generator = torch_rng(config.seed, "augmentation", epoch)
        counts = len(self.train), len(self.meta)
        for index, meta_index in epoch_indices(
            *counts, config.batch_size, config.seed, epoch, self.device
        ):
            yield self.batch(index, meta_index, generator)

    def batch(
        self, index: torch.Tensor, meta_index: torch.Tensor, generator: torch.Generator
    ) -> Batch:
        x, x_meta = (
            normalised(augmented(part, generator) if self.augment else part, self.mean, self.std)
            for part in (self.train[index], self.meta[meta_index])
        )
        return Batch(x, self.given[index], x_meta, self.meta_labels[meta_index], index)

    def parts(self, images: Any, rank: int = 0, step: int = 1) -> Iterator[Tensor]:
        """Normalised images (n, c, H, W) in their order and not augmented; every `step`th part from
        `rank` on."""
        for part in images.split(EVAL_BATCH_SIZE)[rank::step]:
            yield normalised(part, self.mean, self.std)

    @torch.inference_mode()
    def test_accuracy(self, model: nn.Module, engine: Engine = LOCAL_ENGINE) -> float | None:
        """Percent of the test images, in eval mode; each process counts a part of them. None: there
        is no test set."""
        if self.test is None:
            return None
        right = torch.zeros((), dtype=torch.int64, device=self.device)
        for y, predicted in self._tested(model, engine):
            right += (predicted == y).sum()
        return 100 * int(engine.all_reduce(right)) / len(self.test)

    @torch.inference_mode()
    def test_confusion(
        self, model: nn.Module, num_classes: int, engine: Engine = LOCAL_ENGINE
    ) -> np.ndarray:
        """How many test images of each class (row) the network takes for each (column), (C, C)."""
        counts = torch.zeros((num_classes, num_classes), dtype=torch.int64)
        for y, predicted in self._tested(model, engine):
            counts.index_put_((y.cpu(), predicted.cpu()), torch.tensor(1), accumulate=True)
        return engine.all_reduce(counts.to(self.device)).cpu().numpy()

    def _tested(self, model: nn.Module, engine: Engine) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's test labels and what the network, in eval mode, takes their images for,
        each (n,)."""
        assert self.test_labels is not None
        model.eval()
        labels = self.test_labels.split(EVAL_BATCH_SIZE)[engine.rank :: engine.world_size]
        for x, y in zip(self.parts(self.test, engine.rank, engine.world_size), labels, strict=True):
            yield y, model(x).argmax(1)

    @torch.inference_mode()
    def probabilities(self, model: nn.Module, images: Any = None) -> np.ndarray:
        """(N, C) float64 of the training images, or of others of this loader, in eval mode and not
        augmented, in their order."""
        model.eval()
        parts = self.parts(self.train if images is None else images)
        return torch.cat([model(x).double().softmax(1).cpu() for x in parts]).numpy()


class StreamingLoader(DeviceLoader):
    """A split whose images are files: worker processes decode them a batch ahead."""

    def images(self, of: Any) -> Any:
        return of

    @property
    def workers(self) -> int:
        return cores() if self.config.workers is None else self.config.workers

    def context(
        self, config: RunConfig, new_network: Callable[[], nn.Module], num_classes: int
    ) -> MethodContext:
        context = MethodContext(
            num_classes,
            self.given,
            self.mean.new_zeros(0),
            self.meta_labels,
            self.wrong_rate,
            new_network,
        )
        return context._replace(stream=lambda: self.parts(self.meta))

    def batches(self, epoch: int) -> Iterator[Batch]:
        config = self.config
        counts = len(self.train), len(self.meta)
        order = list(
            epoch_indices(*counts, config.batch_size, config.seed, epoch, torch.device("cpu"))
        )
        if not order:
            return
        index, meta_index = ([part.numpy() for part in parts] for parts in zip(*order, strict=True))
        augment = (config.seed, epoch) if self.augment else None
        decoded = batches([(self.train, index), (self.meta, meta_index)], self.workers, augment)
        for (at, meta_at), (x, x_meta) in zip(order, decoded, strict=True):
            x, x_meta = (normalised(self._moved(part), self.mean, self.std) for part in (x, x_meta))
            at, meta_at = at.to(self.device), meta_at.to(self.device)
            yield Batch(x, self.given[at], x_meta, self.meta_labels[meta_at], at)

    def batch(
        self, index: torch.Tensor, meta_index: torch.Tensor, generator: torch.Generator
    ) -> Batch:
        raise ValueError("images that are streamed come in epochs; use `batches`")

    def parts(self, images: Any, rank: int = 0, step: int = 1) -> Iterator[Tensor]:
        positions = np.split(
            np.arange(len(images)), range(EVAL_BATCH_SIZE, len(images), EVAL_BATCH_SIZE)
        )[rank::step]
        for (part,) in batches([(images, positions)], self.workers) if positions else ():
            yield normalised(self._moved(part), self.mean, self.std)

    def _moved(self, images: Tensor) -> Tensor:
        return pooled(images.to(self.device, non_blocking=True), self.config.pool)


def make_loader(config: RunConfig, split: Split, device: torch.device) -> DeviceLoader:
    """DeviceLoader where the images are in memory already, streamed where they are files."""
    return (StreamingLoader if isinstance(split.train.images, Lazy) else DeviceLoader)(
        config, split, device
    )
