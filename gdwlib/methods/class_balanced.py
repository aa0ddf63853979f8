"""Balanced: the class-balanced loss (Cui et al. 2019), weights by the effective number of examples
of a class.

    E_c = (1 - β^{n_c}) / (1 - β);    w_c ∝ 1/E_c with Σ_c w_c = C;    ℓ_i = w_{y_i}·cross entropy,
    logit gradient w_{y_i} (p_i - y_i).

The batch's loss is its mean over n, not over Σ w (which `F.cross_entropy(weight=…)` would give): at
μ = 0.01 the mean weight of an example is near 0.2, and the two differ fivefold in step size. n_c
counts the labels as given, which is what one has. Reported is w_{y_i}.

Source: arXiv 1901.05555 with softmax. Hyperparameters: `cb_beta` β = 0.9999, the authors'.
`recipe="authors"`: weight decay 2e-4, a warm-up over the first 5 of 200 epochs (none on schedules
below 40 epochs), learning rate ×0.01 and ×0.0001 from epochs 160 and 180; batches of 128 at the
paper preset. Left open by the paper: β, and softmax, sigmoid or focal.
"""

from dataclasses import dataclass

import torch

from gdwlib.methods.base import Base
from gdwlib.methods.method import Batch
from gdwlib.methods.settings import Settings, between, setting


def effective_number_weights(counts: torch.Tensor, beta: float) -> torch.Tensor:
    """w (C,), float64, from the examples of each class (C,); a class without examples counts as one
    with one."""
    counts = counts.clamp(min=1).double()
    weights = (1 - beta) / (1 - beta**counts)
    return len(counts) * weights / weights.sum()


@dataclass(frozen=True, kw_only=True)
class ClassBalancedSettings(Settings):
    cb_beta: float = setting(0.9999, "β (Cui et al. 2019)", between(0, 1, high_open=True))


class ClassBalanced(Base):
    title = "Balanced"
    Settings = ClassBalancedSettings

    @classmethod
    def authors_recipe(cls, imbalance, full_size):
        size = {"epochs": 200, "batch_size": 128} if full_size else {}
        return {"schedule": "class-balanced", "weight_decay": 2e-4} | size

    def __init__(self, model, optimizer, context, settings, schedule):
        super().__init__(model, optimizer, context, settings, schedule)
        counts = torch.bincount(context.labels.cpu(), minlength=context.num_classes)
        # (C,)
        self.class_weights = effective_number_weights(counts, settings.cb_beta).to(context.x_meta)

    def losses(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self.target_weights(logits, batch) * super().losses(logits, batch)

    def logit_gradient(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self.target_weights(logits, batch)[:, None] * super().logit_gradient(logits, batch)

    def target_weights(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self.class_weights[batch.y]
