"""What the tests hold the methods to, by double backward. For GDW and MWNet themselves:
`gdwlib.bench.second_order`."""

import torch
from torch.func import functional_call


def hyper_gradient(model, lr, first_loss, hyper, x, x_meta, y_meta):
    """∂L_meta(θ̂)/∂hyper with θ̂ = θ - lr·∇first_loss(logits, *hyper), by double backward; and
    L_meta.

    `hyper`: tensors with requires_grad. The model is left as it was.
    """
    theta = dict(model.named_parameters())
    buffers = {k: b.clone() for k, b in model.named_buffers()}

    def call(params, batch):
        return functional_call(model, {k: b.clone() for k, b in buffers.items()} | params, batch)

    first = torch.autograd.grad(
        first_loss(call(theta, (x,)), *hyper), list(theta.values()), create_graph=True
    )
    hat = {k: t - lr * g for (k, t), g in zip(theta.items(), first, strict=True)}
    meta_loss = torch.nn.functional.cross_entropy(call(hat, (x_meta,)), y_meta)
    return torch.autograd.grad(meta_loss, hyper), meta_loss.detach()
