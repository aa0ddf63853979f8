"""INSW (Hu et al. 2019, "Learning Data Manipulation"): one learned weight φ_i for every training
example.

    δ_i = -(η/n) J_iᵀ(p_i - y_i),   the SGD step on example i as it enters the batch's mean;
    θ̂ = θ + Σ_i φ_i δ_i;
    φ_i ← max(φ_i/γ - ∂L_meta(θ̂)/∂φ_i, 1e-5),   φ_i = 1 at first;
    w_i = φ_i / Σ_k φ_k over the batch;
    logit gradient w_i (p_i - y_i).

Reported is n·w_i, which is 1 in a plain mean.

Source: arXiv 1910.12795 and the authors' code (linear normalisation, floor 1e-5). Hyperparameters:
`insw_decay` γ = 2, the authors'. Left open by the paper: everything. The authors' L_meta is over
the whole meta set and in eval mode; here it is over the meta batch and in train mode, as for every
method. Their δ_i, at learning rate 1e-3, is of the size of ours at 0.1 and n = 100. Theirs is the
optimizer's whole step; ours leaves out momentum and weight decay, as every virtual step here does:
they would move θ̂ a little, and add the same number to every φ_i of a batch. γ halves what φ was at
every visit: were an example's gradient g the same each time, φ would tend to -2g, or to the floor,
so that the weights follow the gradients of the last few visits and not their number.
"""

from dataclasses import dataclass

import torch

from gdwlib import weighting
from gdwlib.methods.method import Batch, Method, StepResult
from gdwlib.methods.settings import Settings, at_least, setting

FLOOR = 1e-5


@dataclass(frozen=True, kw_only=True)
class INSWSettings(Settings):
    insw_decay: float = setting(2.0, "γ, which divides a weight at each visit", at_least(1))


class INSW(Method):
    title = "INSW"
    Settings = INSWSettings

    def __init__(self, model, optimizer, context, settings, schedule):
        super().__init__(model, optimizer, context, settings, schedule)
        # (N,)
        self.phi = torch.ones(
            len(context.labels), dtype=context.x_meta.dtype, device=context.labels.device
        )

    def learn(self, batch: Batch) -> StepResult:
        forward_pass = self.learner.forward(batch.x)
        d1 = weighting.logit_gradient(forward_pass.logits.softmax(1), batch.y)  # (n, C)
        phi = self.phi[batch.index]  # (n,)
        # (n, C)
        response, meta_loss = forward_pass.look_ahead(phi[:, None] * d1, batch.x_meta, batch.y_meta)
        gradient = (d1 * response).sum(1)  # (n,) ∂L_meta/∂φ
        new = (phi / self.settings.insw_decay - gradient).clamp(min=FLOOR)  # (n,)
        self.phi[batch.index] = new
        w = new / new.sum()  # (n,)
        forward_pass.descend(w[:, None] * d1)
        losses = weighting.cross_entropy(forward_pass.logits, batch.y)
        return StepResult(losses.mean(), meta_loss, target_weights=len(w) * w)

    def state_dict(self) -> dict:
        return super().state_dict() | {"phi": self.phi}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.phi.copy_(state["phi"])
