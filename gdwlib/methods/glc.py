"""GLC, gold loss correction (Hendrycks et al. 2018): estimate how labels are corrupted, then
correct the loss by it.

    1. Base for a whole schedule → g;
    2. Ĉ_kj = mean of g(x)_j over the meta ("gold") images of class k, in eval mode, not augmented;
    3. from the same initial weights, a whole schedule on training ∪ meta set:
       training images  ℓ_i = -log Σ_k Ĉ_{k,ỹ_i} p_ik,
                        ∂ℓ_i/∂logits = p_i - q_i,   q_ik ∝ Ĉ_{k,ỹ_i} p_ik;
       meta images      cross entropy.

q_i is the posterior of the true label, so that its entry at the given label stands where a target
weight does.

Source: arXiv 1802.05300, Algorithm 1. Hyperparameters: none but the length of both phases, the
paper's schedule each (the authors': as many epochs in both). Left open by the paper: whether its 80
epochs are one phase or both. A meta image comes about once an epoch, as in the union: n·M/N of
them, at least one, ride in every batch of n.
"""

from typing import Any

import torch

from gdwlib import weighting
from gdwlib.methods.base import Base
from gdwlib.methods.method import Batch, StepResult


class GLC(Base):
    title = "GLC"

    def __init__(self, model, optimizer, context, settings, schedule):
        super().__init__(model, optimizer, context, settings, schedule)
        self.initial = {name: value.clone() for name, value in model.state_dict().items()}
        self.corruption: Any = None  # (C, C) Ĉ, once estimated

    @classmethod
    def total_epochs(cls, epochs: int) -> int:
        return 2 * epochs

    def start_epoch(self, epoch: int) -> float:
        if epoch == self.schedule.epochs:
            self.corruption = self.estimate()
            self.model.load_state_dict(self.initial)
            self.optimizer.state.clear()
        self.phase = 1 if epoch < self.schedule.epochs else 2
        return super().start_epoch(epoch % self.schedule.epochs)

    @torch.no_grad()
    def estimate(self) -> torch.Tensor:
        """Ĉ (C, C): row k is the mean prediction for meta images of class k; a class without any
        counts as clean."""
        self.model.eval()
        p = torch.cat([self.model(x).softmax(1) for x in self.context.meta_parts()])  # (M, C)
        self.model.train()
        of_class = weighting.one_hot(self.context.y_meta, p)  # (M, C)
        counts = of_class.sum(0)[:, None]  # (C, 1)
        return torch.where(
            counts > 0, of_class.T @ p / counts.clamp(min=1), torch.eye(len(counts)).to(p)
        )

    def learn(self, batch: Batch) -> StepResult:
        if self.phase == 1:
            return super().learn(batch)
        n = len(batch.x)
        gold = max(1, round(n * len(self.context.y_meta) / len(self.context.labels)))
        x_gold, y_gold = batch.x_meta[:gold], batch.y_meta[:gold]
        forward_pass = self.learner.forward(torch.cat([batch.x, x_gold]))
        silver = forward_pass.logits[:n]  # (n, C)
        posterior = self.posterior(silver, batch)  # (n, C)
        c = torch.cat(
            [
                silver.softmax(1) - posterior,
                weighting.logit_gradient(forward_pass.logits[n:].softmax(1), y_gold),
            ]
        )
        forward_pass.descend(c / len(c))
        return StepResult(
            train_loss=weighting.cross_entropy(silver, batch.y).mean(),
            target_weights=posterior.gather(1, batch.y[:, None])[:, 0],
        )

    def log_corruption(self, batch: Batch) -> torch.Tensor:
        """log Ĉ_{k,ỹ_i}, (n, C); finite where a prediction has underflowed."""
        return self.corruption.clamp(min=torch.finfo(self.corruption.dtype).tiny).log().T[batch.y]

    def posterior(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """q (n, C): how probably each class is the true one, given the prediction and the label."""
        return (logits + self.log_corruption(batch)).softmax(1)

    def losses(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if self.corruption is None:
            return super().losses(logits, batch)
        return -(logits.log_softmax(1) + self.log_corruption(batch)).logsumexp(1)

    def logit_gradient(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if self.corruption is None:
            return super().logit_gradient(logits, batch)
        return logits.softmax(1) - self.posterior(logits, batch)

    def state_dict(self) -> dict:
        return super().state_dict() | {"corruption": self.corruption}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.corruption = state["corruption"]
