"""L2RW (Ren et al. 2018): an example counts as far as its gradient agrees with the meta set's, in
this very step.

    ε = 0, so θ̂ = θ;    u_i = -∂L_meta/∂ε_i = -(p_i - y_i)·∂L_meta/∂c_i;
    w_i = max(0, u_i) / Σ_k max(0, u_k)   (all zero where no example helps);
    logit gradient w_i (p_i - y_i).

The weights of a batch sum to one, so Σ_i w_i ℓ_i is a mean; reported is n·w_i, which is 1 in a
plain mean.

Source: arXiv 1803.09050, Algorithm 1. Hyperparameters: none; the learning rate cancels in w.
`recipe="authors"`, their recipe for noisy CIFAR, which is the one there is for CIFAR: weight decay
2e-4, learning rate ÷10 at half and three quarters of the schedule; at the paper preset 160 epochs
(80 thousand steps on the whole of CIFAR; fewer under imbalance) and 10 meta images a class (their
code's 100 on CIFAR-10; their paper says 1,000). Left open by the paper: nothing. Where no example
helps, weight decay and momentum still move the network. Our batch norm in the look-ahead is the
network's own; the authors' has no scale there.
"""

import torch

from gdwlib import weighting
from gdwlib.methods.method import Batch, Method, StepResult


class L2RW(Method):
    title = "L2RW"

    @classmethod
    def authors_recipe(cls, imbalance, full_size):
        size = {"epochs": 160, "meta_per_class": 10} if full_size else {}
        return {"schedule": "l2rw", "weight_decay": 2e-4} | size

    def learn(self, batch: Batch) -> StepResult:
        forward_pass = self.learner.forward(batch.x)
        d1 = weighting.logit_gradient(forward_pass.logits.softmax(1), batch.y)  # (n, C)
        # (n, C) ∂L_meta/∂c at θ
        response, meta_loss = forward_pass.look_ahead(None, batch.x_meta, batch.y_meta)
        helpful = (-(d1 * response).sum(1)).clamp(min=0)  # (n,) max(0, u)
        total = helpful.sum()  # ()
        w = helpful / torch.where(total > 0, total, 1)  # (n,)
        forward_pass.descend(w[:, None] * d1)
        losses = weighting.cross_entropy(forward_pass.logits, batch.y)
        return StepResult(losses.mean(), meta_loss, target_weights=len(w) * w)
