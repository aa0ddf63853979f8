"""MWNet (Shu et al. 2019): one weight an example, from a weighting network V that is trained on the
meta set.

    w_i = V_φ(ℓ_i);    θ̂ = θ - (η/n) Σ_i w_i J_iᵀ(p_i - y_i);    φ ← Adam step on L_meta(θ̂);
    logit gradient V_φ(ℓ_i)·(p_i - y_i), with the new φ and the old losses.

with p clamped to 0.999, as in the official GDW code (the authors' own has no clamp, under either
recipe).

Source: arXiv 1902.07379 as the official GDW code runs it: `gdwlib.GDW` with `level="instance"`.
Hyperparameters: V 1-100-1, Adam 1e-3, weight decay 1e-4 (the authors', for noise).
`recipe="authors"`: their step schedule; under imbalance what they use there: V by SGD at 1e-5 with
Nesterov momentum and weight decay 5e-4, weights scaled to a mean of one (the paper ran its baseline
without all that), and 10 meta images a class at the paper preset. The authors evaluate V on a
second forward pass, and under imbalance do not detach its input; the official GDW code and we use
the first pass's detached losses. Left open by the paper: nothing but that.
"""

from dataclasses import dataclass

from gdwlib.methods.gdw import GDW
from gdwlib.methods.settings import WeightNetSettings, setting


@dataclass(frozen=True, kw_only=True)
class MWNetSettings(WeightNetSettings):
    normalise_weights: bool = setting(False, "scale a batch's weights to mean 1")


class MWNet(GDW):
    title = "MWNet"
    Settings = MWNetSettings

    @classmethod
    def authors_recipe(cls, imbalance, full_size):
        if imbalance == 1:
            return {"schedule": "mwnet"} | ({"epochs": 120} if full_size else {})
        fields = {  # their code for imbalance is another than that for noise
            "schedule": "mwnet-imbalance",
            "nesterov": True,
            "normalise_weights": True,
            "weight_optimizer": "sgd",
            "weight_lr": 1e-5,
            "weight_weight_decay": 5e-4,
        }
        return fields | ({"epochs": 100, "meta_per_class": 10} if full_size else {})

    def options(self) -> dict:
        return {"level": "instance", "normalise": self.settings.normalise_weights}
