"""GDW (the paper): one weight an example and class, from the meta set. Algorithm 1; see
`gdwlib.GDW`.

    ω_i = V_φ(ℓ_i) for every class, then Eq. 4
    θ̂ = θ - (η/n) Σ_i J_iᵀ(ω_i ∘ (p_i - y_i))               (Eq. 9)
    φ ← Adam step on L_meta(θ̂)                              (Eq. 10)
    ω′ = ω - clip(η_ω g/‖g‖₁, ±c), then Eq. 4               (Eq. 11)
    logit gradient ω′_i ∘ (p_i - y_i)                       (Eq. 12)

Source: the paper and its official code. Hyperparameters, all theirs: V 1-100-1, Adam 1e-3, weight
decay 1e-4; `class_lr` η_ω 100 and 1000 for 10 and 100 classes (else 0.1·n·C, of which these are
cases); `clip` c = 0.2; `zero_mean=False` is Appendix B.2. Left open by the paper and taken from the
code: η_ω, Eq. 4 in both stages, the clamps of p and ω′, and that g has a target column, which Eq. 4
then overrides.
"""

from dataclasses import dataclass

import gdwlib.gdw
from gdwlib.methods.method import Batch, Method, StepResult
from gdwlib.methods.settings import WeightNetSettings, above, setting


@dataclass(frozen=True, kw_only=True)
class GDWSettings(WeightNetSettings):
    class_lr: float | None = setting(
        None, "η_ω of Eq. 11; where no preset sets it, 0.1·n·C", above(0)
    )
    clip: float = setting(0.2, "of Eq. 11", above(0))
    zero_mean: bool = setting(True, "Eq. 4; without it, Appendix B.2")


class GDW(Method):
    title = "GDW"
    Settings: type[WeightNetSettings] = GDWSettings

    def __init__(self, model, optimizer, context, settings, schedule):
        super().__init__(model, optimizer, context, settings, schedule)
        weight_net = gdwlib.gdw.default_weight_net(model)
        self.gdw = gdwlib.gdw.GDW(
            model,
            optimizer,
            context.num_classes,
            weight_net=weight_net,
            weight_optimizer=gdwlib.gdw.make_weight_optimizer(
                weight_net,
                settings.weight_optimizer,
                settings.weight_lr,
                settings.weight_weight_decay,
            ),
            meta_every=settings.meta_every,
            **self.options(),
        )
        self.learners = [self.gdw.learner]

    def options(self) -> dict:
        """What `gdwlib.GDW` is told besides."""
        of = self.settings
        return {
            "level": "class",
            "class_lr": of.class_lr,
            "clip": of.clip,
            "zero_mean": of.zero_mean,
        }

    def step(self, batch: Batch) -> StepResult:
        meta_step = self.gdw.steps % self.gdw.meta_every == 0
        out = self.gdw.step(batch.x, batch.y, batch.x_meta, batch.y_meta)
        return StepResult(
            out.train_loss,
            out.meta_loss if meta_step else None,
            target_weights=out.class_weights.gather(1, batch.y[:, None])[:, 0],  # (n,)
            first_weights=out.first_weights if meta_step else None,
            class_weights=out.class_weights if meta_step else None,
        )

    def state_dict(self) -> dict:
        return self.gdw.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.gdw.load_state_dict(state)

    def optimizers(self) -> list:
        return [*super().optimizers(), self.gdw.weight_optimizer]

    def networks(self) -> dict:
        return super().networks() | {"weight_net": self.gdw.weight_net}
