"""The quantities that claims are about: leads of accuracy, shares of weights that grew,
operations."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from gdwlib import weighting
from gdwlib.companion.evidence import Interval, auroc
from gdwlib.companion.paper_tables import TABLES, paper_numbers
from gdwlib.companion.sources import Cell, PrintedTables
from gdwlib.companion.verdicts import MORE, Finding, Scope
from gdwlib.methods import METHODS, Batch, MethodContext
from gdwlib.models import resnet32
from gdwlib.runs.config import RunConfig
from gdwlib.runs.records import RunRecord


def printed_relative_gain(table: int, dataset: str, level: float) -> float:
    """GDW's accuracy over the second best's in the printed table, percent of the latter."""
    cells = paper_numbers().query("table == @table and dataset == @dataset and value == @level")
    means = cells.set_index("method")["mean"]
    return float(100 * (means["gdw"] / means.drop("gdw").max() - 1))


def printed_lead(ours: Cell, theirs: Cell) -> Interval:
    """The difference of two printed cells, by Welch of five runs each."""
    found = PrintedTables().contrast({ours: 1.0, theirs: -1.0})
    if found is None:
        raise ValueError(f"the paper prints no {ours} or {theirs}")
    return found


def best_rival(
    scope: Scope,
    quantity: str,
    rivals: tuple[str, ...],
    level: dict,
    claimed: tuple[float, float] = MORE,
) -> Finding:
    """GDW's lead over the rival that is best on the mean over GDW's seeds; nothing unless every
    rival has records of all of them. That the best was picked by the same records is not corrected
    for."""
    ours = scope.cell("gdw", level)
    best = scope.source.best({rival: scope.cell(rival, level) for rival in rivals}, ours)
    if best is None:
        return Finding(quantity, None, claimed)
    return scope.lead(quantity, ours, scope.cell(best, level), claimed)


def lead_growth(scope: Scope, quantity: str) -> Finding:
    """How much GDW's lead over MWNet grows from 40% to 60% uniform noise, points."""
    contrast: dict[Cell, float] = {}
    for ratio, sign in ((0.4, -1.0), (0.6, 1.0)):
        level = TABLES[2].setting(ratio)
        contrast |= {scope.cell("gdw", level): sign, scope.cell("mwnet", level): -sign}
    return Finding(quantity, scope.source.contrast(contrast), contrast=contrast)


def share_increased(*names: str) -> Callable[[RunRecord], float | None]:
    """Percent of the weights that grew, the mean over epochs; of two kinds, the difference."""

    def value(record: RunRecord) -> float | None:
        lines = [line["increased"] for line in record.metrics]
        if None in lines or any(line[name] is None for line in lines for name in names):
            return None
        means = [float(np.mean([line[name] for line in lines])) for name in names]
        return means[0] - sum(means[1:])

    return value


def tail_increased(record: RunRecord) -> float | None:
    """Percent of ω of the second smallest class on the smallest class's examples that grew, the
    mean over epochs."""
    values = [line["increased_second_smallest"] for line in record.metrics]
    return None if None in values else float(np.mean(values))


def separation(record: RunRecord) -> float | None:
    """The probability, in percent, that a rightly labelled example's last ω_t exceeds a wrongly
    labelled one's."""
    examples = record.examples
    right, weights = examples["given_labels"] == examples["true_labels"], examples["target_weights"]
    if right.all() or np.isnan(weights).any():
        return None
    return 100 * auroc(weights, right)


def separation_by_epoch(record: RunRecord) -> list[float] | None:
    """`separation` after each epoch, from the epochs' histograms: two weights of one bin count as
    equal. None where no label is known to be wrong, or the method has no weights."""
    histograms = [line["weight_histogram"] for line in record.metrics]
    if None in histograms or not all(any(bins["mislabelled"]) for bins in histograms):
        return None
    found = []
    for bins in histograms:
        right, wrong = np.array(bins["clean"]), np.array(bins["mislabelled"])  # (40,), counts
        below = wrong.cumsum() - wrong / 2
        found.append(100 * float(right @ below / (right.sum() * wrong.sum())))
    return found


def last_five_over_best(record: RunRecord) -> float:
    """The final accuracy less that of the best epoch, points."""
    return record.result["final_accuracy"] - record.result["best_accuracy"]


@cache
def step_operations(method: str) -> int:
    """Floating-point operations of one step of a method on the paper's network, two images each:
    convolutions and matrix products, counted as they are dispatched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resnet32(10)
        x, y = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
        context = MethodContext(10, y, x, y, 0.4, lambda: resnet32(10))
        config = RunConfig(dataset="cifar10", preset="paper", method=method)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        made = METHODS[method](model, optimizer, context, config.settings, config.learning_rates)
        batch = Batch(x, y, x.flip(0), y.flip(0), torch.tensor([0, 1]))
        with FlopCounterMode(display=False) as counter:
            made.step(batch)
    return counter.get_total_flops()


def special_case(number: int) -> float:
    """The largest deviation, over a random batch in float64: of Eq. 2 with equal weights from the
    derivative of the weighted cross entropies (1), or of Σ_j ω_j (p_j - y_j) from zero after Eq. 4
    (5)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 10, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 10, (200,), generator=generator)
    w = torch.rand(200, 10, generator=generator, dtype=torch.float64)
    p = logits.softmax(1)
    d1 = weighting.logit_gradient(p, y)  # (200, 10)
    if number == 1:
        # (200, 10)
        weighted = torch.func.grad(lambda z: (w[:, 0] * weighting.cross_entropy(z, y)).sum())(
            logits
        )
        return float((weighting.manipulate(w[:, :1].expand_as(p), d1) - weighted).abs().max())
    return float(weighting.manipulate(weighting.zero_mean(w, p, y), d1).sum(1).abs().max())


def exact_value(value: float) -> Interval:
    """A number that has no spread: counted, or read from the printed tables."""
    return Interval(value, value, value, 0)
