"""Fine-tuning: Base to the end of its schedule, then cross entropy on the clean meta set.

    epochs 1..E:       p - y on the training set;
    epochs E+1..E+5:   p - y on the meta set, at a constant learning rate.

Source: the paper's Fine-tuning. Hyperparameters: `finetune_lr` 1e-3, ours, a hundredth of the first
learning rate. Left open by the paper: this learning rate (under imbalance it tried 1e-7 to 1e-1 and
found the results similar) and the length. Five epochs, each with as many steps as one over the
training set, so that the mean of the last five is over fine-tuned networks alone; momentum starts
anew.
"""

from dataclasses import dataclass

from gdwlib.methods.base import Base
from gdwlib.methods.method import Batch, StepResult
from gdwlib.methods.settings import Settings, above, setting

EPOCHS = 5


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings(Settings):
    finetune_lr: float = setting(
        1e-3, "learning rate after the schedule, constant (ours)", above(0)
    )


class FineTune(Base):
    title = "Fine-tuning"
    Settings = FineTuneSettings

    @classmethod
    def total_epochs(cls, epochs: int) -> int:
        return epochs + EPOCHS

    def start_epoch(self, epoch: int) -> float:
        if epoch < self.schedule.epochs:
            return super().start_epoch(epoch)
        if epoch == self.schedule.epochs:
            self.optimizer.state.clear()
        self.phase = 2
        return self.set_learning_rate(self.settings.finetune_lr)

    def learn(self, batch: Batch) -> StepResult:
        return super().learn(batch if self.phase == 1 else self.on_meta(batch))
