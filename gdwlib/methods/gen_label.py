"""Gen-label = MSLG, meta soft label generation (Algan and Ulusoy 2021): labels softmax(s_i),
learned from the meta set.

    s_i = K·y_i at first, K = 10;  ỹ_i = softmax(s_i);
    warm-up: cross entropy on the given labels;  then
    ℓ_i(s) = (1/C) Σ_j p_ij (log p_ij - log ỹ_ij),   reverse KL, its mean over the classes;
    θ̂ = θ - (α/n) Σ_i J_iᵀ ∂ℓ_i/∂logits;
    s ← s - β ∂L_meta(θ̂)/∂s;
    the update descends on ℓ_i(new s) + γ·H_i,  H_i = -(1/C) Σ_j p_ij log p_ij.

With r = ∂L_meta/∂c, ∂L_meta/∂s_ik = (1/C) p_ik (Σ_j r_ij p_ij - r_ik). Reported is ỹ's entry at the
given label.

Source: arXiv 2007.05836 and the authors' code. Hyperparameters, the authors' for CIFAR-10:
`gen_label_virtual_lr` α = 0.5, `gen_label_lr` β = 4000, `gen_label_entropy` γ = 1,
`gen_label_warm_up` 44/120 of the schedule (for CIFAR-100 theirs is 21/60; for Clothing1M β = 1500
and 1/10). Left open by the paper: all of them beside its own optimiser and schedule. The switch
matters: the authors make it just after their learning rate has fallen to a tenth; under the paper's
cosine it is still 0.07 there. The authors take meta images from the test set and select on them; we
do not.
"""

from dataclasses import dataclass

import torch

from gdwlib import weighting
from gdwlib.methods.method import Batch, Method, StepResult
from gdwlib.methods.settings import Settings, above, at_least, between, setting

SHARPNESS = 10.0  # K


@dataclass(frozen=True, kw_only=True)
class GenLabelSettings(Settings):
    gen_label_warm_up: float = setting(
        44 / 120, "share of the schedule with cross entropy", between(0, 1)
    )
    gen_label_virtual_lr: float = setting(0.5, "α, of the virtual step", above(0))
    gen_label_lr: float = setting(4000.0, "β, of the labels", above(0))
    gen_label_entropy: float = setting(1.0, "γ, weight of the entropy", at_least(0))


class GenLabel(Method):
    title = "Gen-label"
    Settings = GenLabelSettings

    def __init__(self, model, optimizer, context, settings, schedule):
        super().__init__(model, optimizer, context, settings, schedule)
        self.label_logits = SHARPNESS * context.one_hot()  # (N, C) s

    def start_epoch(self, epoch: int) -> float:
        self.phase = (
            1 if epoch < round(self.settings.gen_label_warm_up * self.schedule.epochs) else 2
        )
        return super().start_epoch(epoch)

    def learn(self, batch: Batch) -> StepResult:
        forward_pass = self.learner.forward(batch.x)
        logits, n = forward_pass.logits, len(batch.x)
        train_loss, meta_loss = weighting.cross_entropy(logits, batch.y).mean(), None
        if self.phase == 2:
            c = self.logit_gradient(logits, batch, entropy=0.0)
            response, meta_loss = forward_pass.look_ahead(
                c, batch.x_meta, batch.y_meta, lr=self.settings.gen_label_virtual_lr
            )  # (n, C)
            self.label_logits[batch.index] -= self.settings.gen_label_lr * self.label_gradient(
                logits, response
            )
        forward_pass.descend(self.logit_gradient(logits, batch) / n)
        labels = self.label_logits[batch.index].softmax(1)  # (n, C)
        return StepResult(
            train_loss, meta_loss, target_weights=labels.gather(1, batch.y[:, None])[:, 0]
        )

    def losses(
        self, logits: torch.Tensor, batch: Batch, entropy: float | None = None
    ) -> torch.Tensor:
        """(n,) nats; `entropy` is γ, the setting by default."""
        if self.phase == 1:
            return weighting.cross_entropy(logits, batch.y)
        # (n, C)
        log_p, log_labels = logits.log_softmax(1), self.label_logits[batch.index].log_softmax(1)
        gamma = self.settings.gen_label_entropy if entropy is None else entropy
        return (log_p.exp() * ((1 - gamma) * log_p - log_labels)).mean(1)

    def logit_gradient(
        self, logits: torch.Tensor, batch: Batch, entropy: float | None = None
    ) -> torch.Tensor:
        if self.phase == 1:
            return weighting.logit_gradient(logits.softmax(1), batch.y)
        # (n, C)
        log_p, log_labels = logits.log_softmax(1), self.label_logits[batch.index].log_softmax(1)
        gamma = self.settings.gen_label_entropy if entropy is None else entropy
        # (n, C), the constant 1 - γ cancels below
        p, slope = log_p.exp(), (1 - gamma) * log_p - log_labels
        return p * (slope - (p * slope).sum(1, keepdim=True)) / p.shape[1]

    def label_gradient(self, logits: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
        """∂L_meta/∂s (n, C) from ∂L_meta/∂c (n, C)."""
        p = logits.softmax(1)
        return p * ((p * response).sum(1, keepdim=True) - response) / p.shape[1]

    def state_dict(self) -> dict:
        return super().state_dict() | {"label_logits": self.label_logits}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.label_logits.copy_(state["label_logits"])
