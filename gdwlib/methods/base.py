"""Base: plain cross entropy on the labels as given,

    ℓ_i = -log p_it,    ∂ℓ_i/∂logits = p_i - y_i.

Source: the paper's Base Model. Hyperparameters: none. Left open by the paper: nothing.
"""

import torch

from gdwlib import weighting
from gdwlib.methods.method import Batch, Method, StepResult


class Base(Method):
    title = "Base"

    def learn(self, batch: Batch) -> StepResult:
        forward_pass = self.learner.forward(batch.x)
        forward_pass.descend(self.logit_gradient(forward_pass.logits, batch) / len(batch.x))
        return StepResult(
            train_loss=weighting.cross_entropy(forward_pass.logits, batch.y).mean(),
            target_weights=self.target_weights(forward_pass.logits, batch),
        )

    def losses(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The batch's losses (n,), nats."""
        return weighting.cross_entropy(logits, batch.y)

    def logit_gradient(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """∂ℓ_i/∂logits_i, (n, C)."""
        return weighting.logit_gradient(logits.softmax(1), batch.y)

    def target_weights(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        """What multiplies p_t - y_t in it, (n,); None where everything counts alike."""
        return None

    def on_meta(self, batch: Batch) -> Batch:
        """The meta batch in the train batch's place."""
        return batch._replace(x=batch.x_meta, y=batch.y_meta)
