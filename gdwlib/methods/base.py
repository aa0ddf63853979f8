"""Base: plain cross entropy on the labels as given. The logit gradient is p - y."""

import torch

from gdwlib import bilevel, weighting
from gdwlib.methods.method import Batch, Method, Outcome


class Base(Method):
    def step(self, batch: Batch) -> Outcome:
        return self.descend_on(batch.x, batch.y)

    def descend_on(self, x: torch.Tensor, y: torch.Tensor) -> Outcome:
        params, _ = bilevel.trained(self.model, self.optimizer)
        buffers = dict(self.model.named_buffers())
        done = bilevel.forward(self.model.train(), params, buffers, x)
        (gradient,) = done.pullback(weighting.logit_gradient(done.logits.softmax(1), y) / len(x))  # p - y
        bilevel.descend(self.model, self.optimizer, gradient)
        bilevel.put(buffers, done.buffers)
        return Outcome(train_loss=weighting.cross_entropy(done.logits, y).mean())
