"""Algorithm 1 the slow way: Eq. 1-12 by double backward, with nothing else of gdwlib in it.

The tests hold the library to this, and `python -m gdwlib bench` times it. It wastes nothing a
second-order implementation can avoid (one train forward, one differentiable backward, one meta
forward, one backward through both, one last backward), but it builds the second-order graph that
gdwlib never needs.
"""

import copy

import torch
from torch.func import functional_call


class SecondOrderGDW:
    """One network, one weighting network, one `step` with the names of `gdwlib.StepOutput` as a
    dictionary.

    Args:
        wasteful: do besides what the published code does without need: a forward pass whose result
            nobody uses, a backward pass whose gradients are thrown away, and a second train forward
            for the last update (same numbers; needs a network without dropout).
    """

    def __init__(
        self,
        model,
        optimizer,
        num_classes,
        weight_net,
        weight_optimizer,
        class_lr=None,
        clip=0.2,
        zero_mean=True,
        level="class",
        wasteful=False,
    ):
        self.model, self.optimizer, self.C = model, optimizer, num_classes
        self.weight_net, self.weight_optimizer = weight_net, weight_optimizer
        self.class_lr, self.clip, self.zero_mean, self.level = class_lr, clip, zero_mean, level
        self.wasteful = wasteful

    def eq4(self, w, p, y):
        if not self.zero_mean or self.level == "instance":
            return w
        t = y[:, None]
        w_t = ((w * p).sum(1, keepdim=True) - (w * p).gather(1, t)) / (1 - p.gather(1, t))
        return w.scatter(1, t, w_t)

    def step(self, x, y, x_meta, y_meta):
        model = self.model.train()
        n = len(x)
        lr_of = {id(p): g["lr"] for g in self.optimizer.param_groups for p in g["params"]}
        theta = {k: p for k, p in model.named_parameters() if id(p) in lr_of and p.requires_grad}
        buffers = {k: b.clone() for k, b in model.named_buffers()}

        if self.wasteful:
            copy.deepcopy(model)(x)
        z = model(x)  # moves the running statistics, once
        p = z.softmax(1).detach().clamp(max=0.999)
        d1 = p - torch.eye(self.C, dtype=z.dtype, device=z.device)[y]
        loss = torch.nn.functional.cross_entropy(z.detach(), y, reduction="none")
        w = self.eq4(self.weight_net(loss[:, None]).repeat(1, self.C), p, y)

        if self.wasteful:
            torch.autograd.grad(z, list(theta.values()), d1 / n, retain_graph=True)
        # Eq. 9, kept differentiable in w: the gradient of Σ (w∘d1)·z / n with w∘d1 as the constant
        # it is in Eq. 2
        first = torch.autograd.grad(
            z, list(theta.values()), grad_outputs=w * d1 / n, create_graph=True
        )
        hat = {k: t - lr_of[id(t)] * g for (k, t), g in zip(theta.items(), first, strict=True)}
        z_meta = functional_call(
            model, {**{k: b.clone() for k, b in buffers.items()}, **hat}, (x_meta,)
        )
        meta_loss = torch.nn.functional.cross_entropy(z_meta, y_meta)
        phi = list(self.weight_net.parameters())
        # Eq. 10 and 11's g
        g, *phi_gradient = torch.autograd.grad(meta_loss, [w, *phi], retain_graph=True)

        self.weight_optimizer.zero_grad()
        for parameter, gradient in zip(phi, phi_gradient, strict=True):
            parameter.grad = gradient
        self.weight_optimizer.step()

        with torch.no_grad():
            if self.level == "instance":
                w_new = self.weight_net(loss[:, None]).repeat(1, self.C)
            else:
                class_lr = 0.1 * n * self.C if self.class_lr is None else self.class_lr
                norm = g.abs().sum()
                move = class_lr * g / norm if norm > 0 else torch.zeros_like(g)
                # Eq. 11, 4
                w_new = self.eq4((w - move.clip(-self.clip, self.clip)).clip(1e-6, 1e6), p, y)
        if self.wasteful:
            fresh = {k: b.clone() for k, b in buffers.items()}
            z = functional_call(model, {**theta, **fresh}, (x,))
        self.optimizer.zero_grad()
        for t, gradient in zip(
            theta.values(),
            torch.autograd.grad(z, list(theta.values()), w_new * d1 / n),
            strict=True,
        ):
            t.grad = gradient
        self.optimizer.step()  # Eq. 12
        return {
            "train_loss": loss.mean(),
            "meta_loss": meta_loss.detach(),
            "logits": z.detach(),
            "first_weights": w.detach(),
            "class_weights": w_new,
            "class_gradient": g,
        }
