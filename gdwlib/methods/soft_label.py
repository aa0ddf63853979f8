"""Soft-label (Vyas, Saxena and Voice 2020): labels are parameters, learned from the meta set.

    logit gradient c_i = p_i - ỹ_i,  ỹ_i = y_i at first;    θ̂ = θ - (η/n) Σ_i J_iᵀ c_i;
    ∂L_meta/∂ỹ_i = -∂L_meta/∂c_i;    ỹ ← Π(ỹ - λ·normalised gradient);    the update uses the new ỹ.

`soft_label="labels"` learns all of ỹ (N×C); Π keeps it on the simplex: the gradient without its
mean over the classes, negative entries cut, rows scaled to sum one. `soft_label="smoothing"` learns
one α_i in [0, 1] an example, ỹ_i = (1-α_i) y_i + α_i/C. GDW's text speaks of "a label smoothing
parameter for every instance", its Table 1 counts the method among the class-level ones; the default
follows the table and the source's title. Reported is the given label's share of ỹ.

Source: arXiv 2009.09496. Hyperparameters: `soft_label_lr` λ = 0.1, ours: as ∂L_meta/∂ỹ is of the
size of η/n, the gradient is scaled to a mean ℓ₁ norm of one over the batch's examples, so that λ is
what a visit moves of an example's label on average before Π, however many classes there are. Left
open by the paper: λ, which of the two is learned, and every detail of the update; no code was
published.
"""

from dataclasses import dataclass

import torch

from gdwlib import weighting
from gdwlib.methods.method import Batch, Method, StepResult
from gdwlib.methods.settings import Settings, above, one_of, setting


@dataclass(frozen=True, kw_only=True)
class SoftLabelSettings(Settings):
    soft_label: str = setting(
        "labels", "learn labels (N×C) or smoothing (N×1)", one_of("labels", "smoothing")
    )
    soft_label_lr: float = setting(
        0.1,
        "λ, mean ℓ₁ change of an example's label (or of its smoothing), a visit (ours)",
        above(0),
    )


class SoftLabel(Method):
    title = "Soft-label"
    Settings = SoftLabelSettings

    def __init__(self, model, optimizer, context, settings, schedule):
        super().__init__(model, optimizer, context, settings, schedule)
        self.hard = context.one_hot()  # (N, C)
        self.smoothing = settings.soft_label == "smoothing"
        # α or ỹ
        self.learned = (
            self.hard.new_zeros(len(self.hard), 1) if self.smoothing else self.hard.clone()
        )

    def learn(self, batch: Batch) -> StepResult:
        forward_pass = self.learner.forward(batch.x)
        logits = forward_pass.logits
        response, meta_loss = forward_pass.look_ahead(
            self.logit_gradient(logits, batch), batch.x_meta, batch.y_meta
        )  # (n, C)
        self.update(batch, response)
        forward_pass.descend(self.logit_gradient(logits, batch) / len(logits))
        return StepResult(
            weighting.cross_entropy(logits, batch.y).mean(),
            meta_loss,
            target_weights=self.soft(batch).gather(1, batch.y[:, None])[:, 0],
        )

    def soft(self, batch: Batch) -> torch.Tensor:
        """ỹ of the batch, (n, C)."""
        learned = self.learned[batch.index]
        if not self.smoothing:
            return learned
        return (1 - learned) * self.hard[batch.index] + learned / self.context.num_classes

    def gradient(self, batch: Batch, response: torch.Tensor) -> torch.Tensor:
        """∂L_meta with respect to what is learned, (n, C) or (n, 1), from ∂L_meta/∂c (n, C)."""
        if not self.smoothing:
            return -response
        return -(response * (1 / self.context.num_classes - self.hard[batch.index])).sum(
            1, keepdim=True
        )

    def update(self, batch: Batch, response: torch.Tensor) -> None:
        g = self.gradient(batch, response)
        if not self.smoothing:
            g = g - g.mean(1, keepdim=True)  # along the simplex
        size = g.abs().sum(1).mean()
        new = self.learned[batch.index] - self.settings.soft_label_lr * g / torch.where(
            size > 0, size, 1
        )
        new = (
            new.clamp(0, 1)
            if self.smoothing
            else new.clamp(min=0) / new.clamp(min=0).sum(1, keepdim=True)
        )
        self.learned[batch.index] = new

    def losses(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Cross entropy with the soft labels, (n,)."""
        return -(self.soft(batch) * logits.log_softmax(1)).sum(1)

    def logit_gradient(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return logits.softmax(1) - self.soft(batch)

    def state_dict(self) -> dict:
        return super().state_dict() | {"learned": self.learned}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.learned.copy_(state["learned"])
