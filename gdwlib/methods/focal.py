"""Focal loss (Lin et al. 2017): the surer the network is of the given label, the less the example
counts.

    ℓ_i = -(1-p_it)^γ log p_it;    ∂ℓ_i/∂logits = a_i (p_i - y_i),
    a_i = (1-p_it)^γ - γ p_it (1-p_it)^(γ-1) log p_it.

With `focal_sigmoid` every class has a sigmoid of its own, ℓ_i is summed over them, and a is a
weight an example *and class*: a_ij (σ_ij - y_ij) with p_t the probability that class j's sigmoid
gives to the truth. Everything is in log space, so that no γ, also below one, gives NaN where the
network is certain. Reported is a at the given label.

Source: arXiv 1708.02002; for several classes by softmax, since that is what the paper compares in.
Hyperparameters: `focal_gamma` γ = 2, Lin et al.'s; no α. `recipe="authors"`: the class-balanced
loss authors' focal baseline under imbalance, which other papers' numbers come from: sigmoids, γ =
1, the last layer's bias begins at -log(C-1) and is not decayed, their schedule and weight decay
(see class_balanced). Left open by the paper: γ, and softmax or sigmoid.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from gdwlib import weighting
from gdwlib.methods.base import Base
from gdwlib.methods.class_balanced import ClassBalanced
from gdwlib.methods.method import Batch
from gdwlib.methods.settings import Settings, at_least, setting


@dataclass(frozen=True, kw_only=True)
class FocalSettings(Settings):
    focal_gamma: float = setting(2.0, "γ (Lin et al. 2017)", at_least(0))
    focal_sigmoid: bool = setting(False, "one sigmoid a class instead of the softmax")


class Focal(Base):
    title = "Focal"
    Settings = FocalSettings

    @classmethod
    def authors_recipe(cls, imbalance, full_size):
        return ClassBalanced.authors_recipe(imbalance, full_size) | {
            "focal_sigmoid": True,
            "focal_gamma": 1.0,
        }

    def __init__(self, model, optimizer, context, settings, schedule):
        super().__init__(model, optimizer, context, settings, schedule)
        if settings.focal_sigmoid:
            self._start_rare()

    def _start_rare(self) -> None:
        """Begin with each class at probability 1/C, and leave the bias that says so out of weight
        decay."""
        layers = [
            m for m in self.model.modules() if isinstance(m, nn.Linear) and m.bias is not None
        ]
        if not layers or len(layers[-1].bias) != self.context.num_classes:
            raise ValueError("focal_sigmoid: needs a model that ends in a linear layer with a bias")
        bias = layers[-1].bias
        nn.init.constant_(bias, -math.log(self.context.num_classes - 1))
        (group,) = self.optimizer.param_groups
        group["params"] = [p for p in group["params"] if p is not bias]
        self.optimizer.add_param_group({"params": [bias], "weight_decay": 0.0})

    def log_probabilities(
        self, logits: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """log p_t and log(1 - p_t) of what is to be predicted, (n, 1), or (n, C) by sigmoids."""
        target = weighting.one_hot(batch.y, logits)  # (n, C)
        if self.settings.focal_sigmoid:
            z = (2 * target - 1) * logits
            return F.logsigmoid(z), F.logsigmoid(-z)
        log_p = (target * logits.log_softmax(1)).sum(1, keepdim=True)
        others = logits.masked_fill(target.bool(), -torch.inf).logsumexp(1, keepdim=True)
        return log_p, others - logits.logsumexp(1, keepdim=True)

    def losses(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        log_p, log_rest = self.log_probabilities(logits, batch)
        return -((self.settings.focal_gamma * log_rest).exp() * log_p).sum(1)

    def weights(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """a, (n, 1) or (n, C)."""
        log_p, log_rest = self.log_probabilities(logits, batch)
        rest = log_rest.exp()  # 1 - p_t
        some = rest.clamp(min=torch.finfo(rest.dtype).tiny)
        # -log p_t / (1 - p_t), which is 1 at p_t = 1, without cancellation
        ratio = torch.where(rest < 0.5, -torch.log1p(-some.clamp(max=0.5)), -log_p) / some
        gamma = self.settings.focal_gamma
        return (gamma * log_rest).exp() * (1 + gamma * log_p.exp() * ratio)

    def logit_gradient(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        p = logits.sigmoid() if self.settings.focal_sigmoid else logits.softmax(1)
        return self.weights(logits, batch) * weighting.logit_gradient(p, batch.y)

    def target_weights(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self.weights(logits, batch).expand_as(logits).gather(1, batch.y[:, None])[:, 0]
