"""meta_only: training on the clean meta set alone, as many steps as the others. The baseline the paper lacks: a
method that uses a clean meta set should beat what the meta set gives by itself."""

from gdwlib.methods.base import Base
from gdwlib.methods.method import Batch, Outcome


class MetaOnly(Base):
    def step(self, batch: Batch) -> Outcome:
        return self.descend_on(batch.x_meta, batch.y_meta)
