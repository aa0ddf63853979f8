"""What the paper's Figures 3, 5 and 6 need of the weights, an epoch at a time, counted on the
device."""

import numpy as np
import torch

from gdwlib.data import Split
from gdwlib.methods import StepResult
from gdwlib.runs.config import RunConfig

BINS = 40


class WeightStatistics:
    """Sees every step's outcome; `read` sums an epoch up and starts the next.

    Positions of a weight, as in Section 4.1: *target*, at the given label; *true target*, at the
    true label of a mislabelled example; *non-target*, everywhere else.
    """

    def __init__(self, config: RunConfig, split: Split, device: torch.device):
        given, true = split.given, split.train.labels
        # (N,)
        self.given, self.true = (torch.as_tensor(labels, device=device) for labels in (given, true))
        # (N,) examples of unknown true label are in no statistic by kind
        self.known = self.true >= 0
        self.wrong = self.given != self.true  # (N,)
        self.num_classes = len(split.classes)
        sizes = np.bincount(true[true >= 0], minlength=self.num_classes)
        # by size; of classes of one size the last first, as in a long tail
        by_size = np.lexsort((-np.arange(self.num_classes), sizes))
        self.smallest = int(by_size[0]) if config.imbalance < 1 else None
        self.second = int(by_size[1]) if config.imbalance < 1 else None
        # of weights: increased, in all
        self.counts = torch.zeros(6, 2, dtype=torch.int64, device=device)

    def update(self, outcome: StepResult, index: torch.Tensor) -> None:
        """Count which class-level weights the meta step increased (ω′ > ω), where the outcome
        tells."""
        if outcome.first_weights is None or outcome.class_weights is None:
            return
        up = outcome.class_weights > outcome.first_weights  # (n, C)
        # (n,)
        given, true, known = self.given[index], self.true[index].clamp(min=0), self.known[index]
        wrong, right = known & self.wrong[index], known & ~self.wrong[index]
        at_given = up.gather(1, given[:, None])[:, 0]  # (n,)
        at_true = up.gather(1, true[:, None])[:, 0]
        others = up.sum(1) - at_given.long()  # (n,)
        of_smallest = (
            given == self.smallest if self.smallest is not None else torch.zeros_like(wrong)
        )
        at_second = up[:, self.second or 0]
        increased = (
            right * others,
            right * at_given,
            wrong * (others - at_true.long()),
            wrong * at_true,
            wrong * at_given,
            of_smallest * at_second,
        )
        n_right, n_wrong = right.sum(), wrong.sum()
        rest = self.num_classes - 1
        totals = (
            n_right * rest,
            n_right,
            n_wrong * (rest - 1),
            n_wrong,
            n_wrong,
            of_smallest.sum(),
        )
        self.counts[:, 0] += torch.stack([part.sum() for part in increased])
        self.counts[:, 1] += torch.stack(totals)

    def compute(self, target_weights: torch.Tensor) -> dict:
        """The epoch's statistics, keys of a line of metrics; synchronises the device.

        Args:
            target_weights: (N,) ω_t as each example was last weighted, NaN where it was not.

        Returns:
            `clean_weight`, `mislabelled_weight`: mean ω_t of rightly and wrongly labelled examples;
            `weight_histogram`: {"top": upper end of the last of 40 equal bins from 0, "clean",
                "mislabelled": counts};
            `increased`: percent of the weights that grew, by position and kind of example;
            `increased_second_smallest`: of the second smallest class's weight on the examples
                labelled as the smallest class (by true size), under imbalance. What does not exist
                is None.
        """
        names = (
            "clean_nontarget", "clean_target",
            "mislabelled_nontarget", "mislabelled_true_target", "mislabelled_target",
            "second_smallest",
        )  # fmt: skip
        counted = self.counts.tolist()
        self.counts.zero_()
        ratios = {
            name: 100 * up / all_ if all_ else None
            for name, (up, all_) in zip(names, counted, strict=True)
        }
        tail = ratios.pop("second_smallest")
        # (N,), on the host: not every accelerator has float64
        weights = target_weights.cpu().double().numpy()
        known, wrong = self.known.cpu().numpy(), self.wrong.cpu().numpy()
        groups = {
            name: (chosen := weights[mask])[~np.isnan(chosen)]
            for name, mask in (("clean", known & ~wrong), ("mislabelled", known & wrong))
        }
        return {
            "clean_weight": float(groups["clean"].mean()) if len(groups["clean"]) else None,
            "mislabelled_weight": float(groups["mislabelled"].mean())
            if len(groups["mislabelled"])
            else None,
            "weight_histogram": self._histogram(groups),
            "increased": ratios if any(all_ for _, all_ in counted) else None,
            "increased_second_smallest": tail,
        }

    @staticmethod
    def _histogram(groups: dict[str, np.ndarray]) -> dict | None:
        values = np.concatenate([*groups.values()])
        if not len(values) or not np.isfinite(values).all():
            return None
        top = max(1.0, float(values.max()))
        return {"top": top} | {
            name: np.histogram(of, BINS, (0, top))[0].tolist() for name, of in groups.items()
        }
