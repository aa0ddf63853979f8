"""What is timed, and how two contestants' times are compared."""

import copy
import dataclasses
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from gdwlib.methods import METHODS, Batch, Method, MethodContext
from gdwlib.models import CifarResNet
from gdwlib.runs.config import PRECISIONS, RunConfig


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is timed: a ResNet of He et al. on random square images, channels_last, batch and meta
    batch alike."""

    depth: int = 32  # 6·blocks + 2
    num_classes: int = 10
    batch_size: int = 100
    size: int = 32  # of an image, pixels
    precision: str = "float32"
    device: str = "cpu"

    def model(self) -> nn.Module:
        model = CifarResNet(self.num_classes, blocks=(self.depth - 2) // 6)
        model.to(self.device, PRECISIONS[self.precision])
        return model.to(memory_format=torch.channels_last)

    def batch(self, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        n = self.batch_size
        x, x_meta = (
            torch.randn(
                n, 3, self.size, self.size, generator=generator, dtype=PRECISIONS[self.precision]
            )
            .to(self.device)
            .contiguous(memory_format=torch.channels_last)
            for _ in range(2)
        )
        y, y_meta = (
            torch.randint(self.num_classes, (n,), generator=generator).to(self.device)
            for _ in range(2)
        )
        return Batch(x, y, x_meta, y_meta, torch.arange(n, device=self.device))

    def synchronize(self) -> None:
        if self.device != "cpu":
            torch.get_device_module(self.device).synchronize()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """The paper's."""
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


def method(setting: Setting, name: str, model: nn.Module) -> Method:
    """A method as it is in the last epoch of a run: after GLC's and Gen-label's first phases,
    say."""
    config = RunConfig(
        dataset="cifar10", preset="paper", method=name, batch_size=setting.batch_size
    )
    some = setting.batch()
    context = MethodContext(
        setting.num_classes,
        some.y.repeat(49),
        some.x_meta,
        some.y_meta,
        0.4,
        lambda: copy.deepcopy(model),
    )
    made = METHODS[name](model, sgd(model), context, config.settings, config.learning_rates)
    for epoch in range(config.total_epochs):
        made.start_epoch(epoch)
    made.set_learning_rate(0.1)
    return made


def timed(setting: Setting, work: Callable[[], object]) -> float:
    """Seconds."""
    setting.synchronize()
    start = time.perf_counter()
    work()
    setting.synchronize()
    return time.perf_counter() - start


def ratios(name: str, times: list[float], others: list[float] | None) -> dict:
    """Median and quartiles of one contestant's time over another's in the same round."""
    if others is None:
        return {}
    pairs = [own / other for own, other in zip(times, others, strict=True)]
    low, middle, high = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3
    return {f"{name}_ratio": middle, f"{name}_ratio_quartiles": [low, high]}
