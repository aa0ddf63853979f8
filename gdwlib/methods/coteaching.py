"""Co-teaching (Han et al. 2018): two networks, each trained on what the other finds easiest.

    I_1, I_2 = the ⌊R(e)·n⌋ examples of smallest cross entropy under f_1, f_2;
    f_1 descends on the mean over I_2 of p - y, f_2 on the mean over I_1;
    R(e) falls from 1 to 1 - τ over the first T_k epochs, linearly.

Source: arXiv 1804.06872, Algorithm 1, and the authors' code for R(e). Hyperparameters:
`forget_rate` τ, which must be told; by default the noise's true rate of wrong labels (36%, not 40%,
for the official "40% uniform" on ten classes), as the authors do. T_k = an eighth of the schedule:
the authors' 10 epochs, of the paper's 80. Left open by the paper: τ where its uniform noise keeps
some labels, T_k, and which network is reported (here the first). The authors' code divides the mean
by the number kept once more, which their Adam does not notice; here it is divided once.
"""

from dataclasses import dataclass

import torch

from gdwlib import weighting
from gdwlib.learner import Learner, LearnerPass
from gdwlib.methods.method import Batch, Method, StepResult
from gdwlib.methods.settings import Settings, between, setting


@dataclass(frozen=True, kw_only=True)
class CoTeachingSettings(Settings):
    forget_rate: float | None = setting(
        None,
        "τ, the share not trained on; where not given, the noise's true rate",
        between(0, 1, high_open=True),
    )


class CoTeaching(Method):
    title = "Co-teaching"
    Settings = CoTeachingSettings

    def __init__(self, model, optimizer, context, settings, schedule):
        super().__init__(model, optimizer, context, settings, schedule)
        self.forget_rate = (
            context.wrong_rate if settings.forget_rate is None else settings.forget_rate
        )
        if self.forget_rate is None:
            raise ValueError(
                "forget_rate: must be given, the rate of wrong labels is unknown here; try 0.2"
            )
        network = context.new_network()
        second = type(optimizer)(network.parameters(), **optimizer.defaults)
        self.second = Learner(network, second, context.num_classes)
        self.learners.append(self.second)
        self.kept = 1.0  # R(e)

    def start_epoch(self, epoch: int) -> float:
        rising = max(1, round(self.schedule.epochs / 8))  # T_k
        share = 1.0 if epoch >= rising else epoch / max(1, rising - 1)
        self.kept = 1 - self.forget_rate * share
        return super().start_epoch(epoch)

    def learn(self, batch: Batch) -> StepResult:
        passes = [learner.forward(batch.x) for learner in self.learners]
        losses = [weighting.cross_entropy(forward_pass.logits, batch.y) for forward_pass in passes]
        easy = [self.easiest(values) for values in losses]
        for forward_pass, chosen in zip(passes, reversed(easy), strict=True):
            self.descend_on(forward_pass, batch, chosen)
        return StepResult(train_loss=losses[0].mean(), target_weights=easy[1])

    def easiest(self, losses: torch.Tensor) -> torch.Tensor:
        """1 for the ⌊R·n⌋ (at least one) examples of smallest loss, 0 for the others, (n,)."""
        count = max(1, int(self.kept * len(losses) + 1e-9))
        return torch.zeros_like(losses).index_fill_(0, losses.topk(count, largest=False).indices, 1)

    def descend_on(self, forward_pass: LearnerPass, batch: Batch, chosen: torch.Tensor) -> None:
        d1 = weighting.logit_gradient(forward_pass.logits.softmax(1), batch.y)  # (n, C)
        forward_pass.descend(chosen[:, None] * d1 / chosen.sum())

    def state_dict(self) -> dict:
        second = {
            "model": self.second.model.state_dict(),
            "optimizer": self.second.optimizer.state_dict(),
        }
        return super().state_dict() | {"second": second}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.second.model.load_state_dict(state["second"]["model"])
        self.second.optimizer.load_state_dict(state["second"]["optimizer"])
