"""Batches passed through the network in pieces: a large batch in the memory of a small one."""

import torch
from torch import nn

from gdwlib import bilevel
from gdwlib._types import Float, Int, Tensor
from gdwlib.learner import Engine


class MicroBatchPass:
    """A forward pass in pieces, of which one at a time holds its activations; the counterpart of
    `bilevel.ForwardPass`."""

    def __init__(self, parts: list[bilevel.ForwardPass]):
        self.parts, self.buffers = parts, parts[-1].buffers
        self.sizes = [len(part.logits) for part in parts]
        self.logits = torch.cat([part.logits for part in parts])  # (n, C)

    def pullback(self, c: Float[Tensor, "n C"], last: bool = False) -> tuple[bilevel.State]:
        """(Jᵀc,), the sum over the pieces."""
        total: bilevel.State = {}
        for part, c_part in zip(self.parts, c.split(self.sizes), strict=True):
            (gradient,) = part.pullback(c_part, last=True)
            part.release_activations()
            for name, value in gradient.items():
                total[name] = total[name].add_(value) if name in total else value
        return (total,)


class MicroBatches(Engine):
    """Passes a batch through the network in pieces of `size` examples, in less memory and for three
    more forward passes in each step::

        gdw = gdwlib.GDW(model, optimizer, 10, engine=gdwlib.MicroBatches(32))

    The numbers are those of the whole batch, up to the order of sums, unless batch norm ties its
    examples together: its statistics are those of the pieces.
    """

    def __init__(self, size: int):
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"size: must be an integer, at least 1, not {size!r}")
        self.size = size

    def forward(
        self,
        model: nn.Module,
        params: bilevel.State,
        buffers: bilevel.State,
        x: Tensor,
        keep: bool = True,
    ) -> MicroBatchPass:
        """As `bilevel.forward`, of x (n, ...); the activations are never kept."""
        parts = []
        for piece in x.split(self.size):
            parts.append(bilevel.forward(model, params, buffers, piece, keep=False))
            parts[-1].release_activations()
            buffers = parts[-1].buffers
        return MicroBatchPass(parts)

    def look_ahead(
        self,
        model: nn.Module,
        params: bilevel.State,
        buffers: bilevel.State,
        lrs: dict[str, float | Tensor],
        c: Float[Tensor, "n C"] | None,
        x: Tensor,
        x_meta: Tensor,
        y_meta: Int[Tensor, " m"],
        forward_pass: MicroBatchPass,
    ) -> tuple[Float[Tensor, "n C"], Float[Tensor, " m"]]:
        """As `bilevel.look_ahead`, of x (n, ...) and x_meta (m, ...)."""
        n, m = len(x), len(x_meta)
        theta_hat = params
        if c is not None:
            theta_hat = bilevel.virtual_step(params, lrs, forward_pass.pullback(c / n)[0])
        v: bilevel.State = {}
        losses = []
        for x_part, y_part in zip(x_meta.split(self.size), y_meta.split(self.size), strict=True):
            part, values = bilevel.meta_gradient(model, theta_hat, buffers, x_part, y_part, m)
            losses.append(values)
            v = {name: v[name] + value if name in v else value for name, value in part.items()}
        d_v = {name: lrs[name] * v[name] for name in v}
        tangents = []
        for piece, done in zip(x.split(self.size), forward_pass.parts, strict=True):
            tangents.append(bilevel.tangent(model, params, buffers, piece, d_v, done))
            done.release_activations()
        return -torch.cat(tangents) / n, torch.cat(losses)
