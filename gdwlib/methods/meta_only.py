"""meta_only: cross entropy on the clean meta set alone, as many steps as the others make.

Source: none; the baseline the paper lacks. A method that uses a clean meta set should beat what the
meta set gives by itself. Hyperparameters: none.
"""

from gdwlib.methods.base import Base
from gdwlib.methods.method import Batch, StepResult


class MetaOnly(Base):
    title = "meta set only"

    def learn(self, batch: Batch) -> StepResult:
        return super().learn(self.on_meta(batch))
