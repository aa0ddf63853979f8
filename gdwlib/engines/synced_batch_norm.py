"""Batch norm whose statistics are of the parts of a batch that several processes hold."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from gdwlib._types import Tensor
from gdwlib.engines.collective import all_reduce


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm over the parts of all processes, of any shape. (PyTorch's own is for GPUs alone
    and refuses `torch.func`.)"""

    def _check_input_dim(self, x: Tensor) -> None:  # the class it stands in for has done so
        pass

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return super().forward(x)
        average = None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            average = self.momentum
            if average is None:
                average = 1 / int(self.num_batches_tracked)
        channels = x.shape[1]
        affine = (
            (self.weight, self.bias)
            if self.weight is not None
            else (x.new_ones(channels), x.new_zeros(channels))
        )
        statistics = (self.running_mean, self.running_var) if average is not None else (None, None)
        return _Normalise.apply(x, *affine, *statistics, average, self.eps)[0]


class _Normalise(torch.autograd.Function):
    """x̂ = (x - μ)/σ over all processes' parts; γx̂ + β, its pullback and its tangent, the sums
    they need included. What is returned beside it is kept for these two."""

    @staticmethod
    def forward(x, weight, bias, running_mean, running_var, average, eps):
        axes = _axes(x)
        sums = torch.cat([x.sum(axes), x.new_full((1,), math.prod(x.shape) / x.shape[1])])
        all_reduce(sums)
        count = sums[-1]
        mean = sums[:-1] / count  # (c,)
        squares = (x - _along(mean, x)).square().sum(axes)  # (c,)
        var = all_reduce(squares) / count
        if average is not None:
            running_mean.lerp_(mean, average)
            running_var.lerp_(var * count / (count - 1).clamp(min=1), average)
        inv_std = (var + eps).rsqrt()
        out = F.batch_norm(x, mean, var, weight, bias, eps=eps)
        return out, mean, inv_std, count

    @staticmethod
    def setup_context(ctx, inputs, outputs):
        x, weight = inputs[:2]
        _, mean, inv_std, count = outputs
        ctx.mark_non_differentiable(mean, inv_std, count)
        ctx.save_for_backward(x, weight, mean, inv_std, count)
        ctx.save_for_forward(x, weight, mean, inv_std, count)

    @staticmethod
    def backward(ctx, gradient, *_):
        x, weight, mean, inv_std, count = ctx.saved_tensors
        normal = (x - _along(mean, x)) * _along(inv_std, x)
        axes = _axes(x)
        by_bias, by_weight = gradient.sum(axes), (gradient * normal).sum(axes)  # (c,), of this part
        along_one, along_normal = all_reduce(torch.stack([by_bias, by_weight])) / count  # (c,)
        centred = gradient - _along(along_one, x) - normal * _along(along_normal, x)
        return centred * _along(weight * inv_std, x), by_weight, by_bias, None, None, None, None

    @staticmethod
    def jvp(ctx, dx, d_weight, d_bias, *_):
        x, weight, mean, inv_std, count = ctx.saved_tensors
        normal = (x - _along(mean, x)) * _along(inv_std, x)
        tangent = torch.zeros_like(x)
        axes = _axes(x)
        if dx is not None:
            # (c,)
            along_one, along_normal = (
                all_reduce(torch.stack([dx.sum(axes), (dx * normal).sum(axes)])) / count
            )
            tangent = (dx - _along(along_one, x) - normal * _along(along_normal, x)) * _along(
                weight * inv_std, x
            )
        if d_weight is not None:
            tangent = tangent + normal * _along(d_weight, x)
        if d_bias is not None:
            tangent = tangent + _along(d_bias, x)
        return tangent, None, None, None


def _axes(x: Tensor) -> list[int]:
    """All but the channels."""
    return [0, *range(2, x.dim())]


def _along(value: Tensor, x: Tensor) -> Tensor:
    """(c,) → to be broadcast over x (n, c, …)."""
    return value.view(-1, *[1] * (x.dim() - 2))
