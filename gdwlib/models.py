"""Networks: the paper's CIFAR ResNets, torchvision's ResNet-18, one for tables, and the weighting
network.

All map images (n, channels, H, W), or `linear` and `mlp` features (n, F), to logits (n, C). Any
other `nn.Module` works as well; these are the ones a `RunConfig` can name.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from gdwlib._types import Float, Tensor


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, and a parameter-free shortcut (option A of He et al.
    2016)."""

    replicas = 1  # networks side by side in the channels; see gdwlib.engines.replicas

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.new_channels = stride, channels - channels_in

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.new_channels == 0:
            return x
        before = self.new_channels // 2
        padding = (0, 0, 0, 0, before, self.new_channels - before)
        x = x[:, :, :: self.stride, :: self.stride]
        if self.replicas == 1:
            return F.pad(x, padding)
        return torch.cat([F.pad(own, padding) for own in x.chunk(self.replicas, 1)], 1)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))  # (n, channels, H/stride, W/stride)
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """The three-stage ResNet of He et al. for small images: 6·blocks + 2 layers, widths w, 2w,
    4w."""

    def __init__(self, num_classes: int, blocks: int = 5, width: int = 16, channels: int = 3):
        super().__init__()
        widths = [width, width, 2 * width, 4 * width]
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = nn.Sequential(
            *(
                BasicBlock(
                    channels_in=widths[stage - 1] if block == 0 else widths[stage],
                    channels=widths[stage],
                    stride=2 if block == 0 and stage > 1 else 1,
                )
                for stage in (1, 2, 3)
                for block in range(blocks)
            )
        )
        self.fc = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n C"]:
        x = F.relu(self.bn1(self.conv1(x)))  # (n, w, H, W)
        return self.fc(self.stages(x).mean((2, 3)))  # (n, 4w, H/4, W/4) → (n, C)


def resnet32(num_classes: int, channels: int = 3) -> nn.Module:
    """The paper's network: 464,154 parameters for 10 classes.

    Example:
        >>> sum(parameter.numel() for parameter in resnet32(10).parameters())
        464154
    """
    return CifarResNet(num_classes, blocks=5, channels=channels)


def resnet8(num_classes: int, channels: int = 3) -> nn.Module:
    """One block a stage instead of five: 75 thousand parameters, for runs of minutes on a CPU."""
    return CifarResNet(num_classes, blocks=1, channels=channels)


def resnet18(num_classes: int, channels: int = 3) -> nn.Module:
    """torchvision's ResNet-18, randomly initialised; three channels only."""
    if channels != 3:
        raise ValueError(
            f"model: resnet18 takes images of 3 channels, these have {channels}; use resnet32 or "
            "resnet8"
        )
    import torchvision  # takes seconds, and is seldom needed

    return torchvision.models.resnet18(num_classes=num_classes)


def mlp(num_classes: int, features: int) -> nn.Module:
    """For tables: features (n, F) through two hidden layers of 128 with batch norm."""
    widths = (features, 128, 128)
    hidden = [
        layer
        for w_in, w_out in zip(widths, widths[1:], strict=False)
        for layer in (nn.Linear(w_in, w_out, bias=False), nn.BatchNorm1d(w_out), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], num_classes))


def linear(num_classes: int, features: int) -> nn.Module:
    """For tables: multinomial logistic regression of the features (n, F)."""
    return nn.Linear(features, num_classes)


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "linear": linear,
    "mlp": mlp,
    "resnet8": resnet8,
    "resnet18": resnet18,
    "resnet32": resnet32,
}


FOR_TABLES = ("linear", "mlp")


class WeightNet(nn.Module):
    """V: an example's loss (n, 1) → its weight in (0, 1), (n, 1). One hidden layer, as in MWNet and
    GDW."""

    def __init__(self, hidden: int = 100):
        super().__init__()
        self.hidden = nn.Linear(1, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, loss: Float[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
        return torch.sigmoid(self.out(F.relu(self.hidden(loss))))
