"""A cheaper forward-mode product: the tangent pass reuses what the forward pass has computed.

PyTorch's forward mode recomputes the network's outputs beside their tangents. Convolutions and
linear layers are nearly all of that arithmetic, and their outputs are known already, as are those
of ReLUs: `Recording` keeps them during the forward pass and `Reusing` hands them back, in the order
of the calls, with the tangent the product rule gives. Where batch norm follows a convolution, as in
ResNets, this costs no memory, since the backward pass holds these outputs anyway. Batch norm's
tangent is a dozen elementwise passes when PyTorch derives it and three fused ones here. Every other
operation, and a layer whose output a later one overwrites in place, takes PyTorch's own rule. The
numbers are the same up to the order of sums.
"""

import torch
from torch.autograd.forward_ad import make_dual, unpack_dual
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gdwlib._types import Tensor

AFFINE = {F.conv1d, F.conv2d, F.conv3d, F.linear}  # f(x, w, b): linear in x and, jointly, in (w, b)
RELU = {F.relu, torch.relu}
REUSED = AFFINE | RELU


class Recording(TorchFunctionMode):
    """Keep what the affine layers and ReLUs called within return, and whether it is still what it
    was at the end."""

    def __init__(self):
        super().__init__()
        self.outputs: list[Tensor] = []
        self.intact: list[bool] = []
        self._versions: list[int] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in REUSED:
            self.outputs.append(out)
            self._versions.append(out._version)
        return out

    def __exit__(self, *error):
        self.intact = [
            out._version == version
            for out, version in zip(self.outputs, self._versions, strict=True)
        ]
        return super().__exit__(*error)


class Reusing(TorchFunctionMode):
    """Within forward mode, on the same inputs: reuse the recorded outputs and compute only the
    tangents."""

    def __init__(self, outputs: list[Tensor], intact: list[bool]):
        super().__init__()
        self.outputs = zip(outputs, intact, strict=True)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in REUSED:
            out, intact = next(self.outputs)
            if intact:
                return (affine if func in AFFINE else relu)(func, out, *args, **kwargs)
        elif func is F.batch_norm:
            return batch_norm(*args, **kwargs)
        return func(*args, **kwargs)


def affine(
    func, out: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None, *rest, **options
) -> Tensor:
    """(f(x, w, b))′ = f(x′, w, 0) + f(x, w′, b′), beside the known f(x, w, b)."""
    (x, dx), (weight, dw) = unpack_dual(input), unpack_dual(weight)
    db = None if bias is None else unpack_dual(bias).tangent
    tangent = None
    if dx is not None:
        tangent = func(dx, weight, None, *rest, **options)
    if dw is not None:
        along_weight = func(x, dw, db, *rest, **options)
        tangent = along_weight if tangent is None else tangent.add_(along_weight)
    elif db is not None:
        # a convolution's channels stand before its positions
        along_bias = db.view(-1, *[1] * (weight.dim() - 2))
        tangent = along_bias.expand_as(out) if tangent is None else tangent + along_bias
    return out if tangent is None else make_dual(out, tangent)


def relu(func, out: Tensor, input: Tensor, inplace: bool = False) -> Tensor:
    """x′ where the known output is above 0."""
    dx = unpack_dual(input).tangent
    if inplace:  # who calls it so may go on with the input
        return func(input, inplace)
    return out if dx is None else make_dual(out, torch.ops.aten.threshold_backward(dx, out, 0))


def batch_norm(
    input: Tensor,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
) -> Tensor:
    """Batch norm and its tangent γσ⁻¹(x′ - mean x′ - x̂·mean(x̂x′)) + γ′x̂ + β′, over the batch's
    own statistics.

    The first term's Jacobian is symmetric within a channel, so that batch norm's backward kernel
    computes it. Running statistics are not touched: the forward pass has moved them.
    """
    x, dx = unpack_dual(input)
    # statistics that do not depend on the parameters: PyTorch's own rule
    if not training or dx is None:
        if training:
            running_mean = running_var = None
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    weight, d_weight = (None, None) if weight is None else unpack_dual(weight)
    bias, d_bias = (None, None) if bias is None else unpack_dual(bias)
    out, mean, inv_std = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
    tangent, _, _ = torch.ops.aten.native_batch_norm_backward(
        dx, x, weight, None, None, mean, inv_std, True, eps, [True, False, False]
    )
    if d_weight is not None or d_bias is not None:
        zero = torch.zeros_like(mean)
        scale = zero if d_weight is None else d_weight
        tangent.add_(
            F.batch_norm(
                x, mean, inv_std**-2 - eps, scale, zero if d_bias is None else d_bias, eps=eps
            )
        )
    return make_dual(out, tangent)
