"""How a claim is put to the test: quantities over records, their intervals, and the verdict that
follows.

A claim is one or several `Finding`s: a quantity with its 95% interval over seeds, and the range the
claim puts it in.

    reproduced           every finding's interval lies inside its range, ends excluded
    contradicted         some finding's interval lies outside its range altogether
    not enough evidence  otherwise; also where a record is missing, or one seed is all there is

A claim that holds for "nearly all" comparisons is reproduced by four fifths of them, none against
it, and contradicted where more than half are against it. A claim that names a number
(`number=True`) is decided by records at the paper's own scale alone: a difference of printed
accuracies by the range that their standard errors allow, "about 65%" by 60 to 70. Elsewhere the
quantity is shown and nothing is decided. Where a word of the paper had to be given a measure, the
claim's text says "our reading".
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from gdwlib import weighting
from gdwlib.companion.evidence import (
    Evidence,
    Interval,
    Runs,
    auroc,
    final_accuracy,
    mean_interval,
    paired,
)
from gdwlib.companion.paper_tables import PUBLISHED, TABLES, paper_numbers
from gdwlib.gdw import GDW
from gdwlib.models import resnet32
from gdwlib.runs.config import RunConfig
from gdwlib.runs.records import RunRecord

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "not enough evidence"
MORE, LESS = (0.0, np.inf), (-np.inf, 0.0)  # ranges of a difference: better, worse


@dataclass(frozen=True)
class Finding:
    """A quantity, what was found of it (None: nothing), and the range that the claim puts it in."""

    quantity: str
    found: Interval | None
    claimed: tuple[float, float] = MORE

    @property
    def verdict(self) -> str:
        if self.found is None or not np.isfinite([self.found.low, self.found.high]).all():
            return UNDECIDED
        low, high = self.claimed
        if low < self.found.low and self.found.high < high:
            return REPRODUCED
        return CONTRADICTED if self.found.high <= low or self.found.low >= high else UNDECIDED


@dataclass(frozen=True)
class Scope:
    """Where a claim is put to the test: a data set at a preset."""

    evidence: Evidence
    dataset: str
    preset: str

    def runs(self, method: str, **fields: Any) -> Runs:
        return self.evidence.runs(
            RunConfig(dataset=self.dataset, preset=self.preset, method=method, **fields)
        )

    def gap(
        self,
        ours: str,
        theirs: str,
        level: dict,
        ours_with: dict | None = None,
        theirs_with: dict | None = None,
    ) -> Interval | None:
        """How much better `ours` is than `theirs`, in points, paired by seed."""
        return paired(
            self.runs(ours, **level, **(ours_with or {})),
            self.runs(theirs, **level, **(theirs_with or {})),
        )

    def mean(
        self, method: str, level: dict, value: Callable[[RunRecord], float | None]
    ) -> Interval | None:
        """A record's value, over seeds."""
        return mean_interval(value(record) for record in self.runs(method, **level).values())


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, in our words."""

    text: str
    where: str
    findings: Callable[[Scope], list[Finding]]
    number: bool = False  # decided at the paper's scale alone
    nearly: bool = False  # of nearly all comparisons
    datasets: tuple[str, ...] = ("cifar10",)  # the paper's own evidence
    fixed: bool = False  # follows from the printed tables or from counting, whatever the records

    def at_paper_scale(self, evidence: Evidence) -> tuple[str, list[Finding]]:
        """The verdict on records of the paper's own data sets at the paper preset, and the findings
        it follows from."""
        findings = []
        for name in self.datasets:
            which = f"{PUBLISHED.get(name, name)}, " if len(self.datasets) > 1 else ""
            for finding in self.findings(Scope(evidence, name, "paper")):
                findings.append(replace(finding, quantity=which + finding.quantity))
        return self._verdict(findings), findings

    def verdict_on(
        self, evidence: Evidence, dataset: str, preset: str
    ) -> tuple[str, list[Finding]]:
        """The verdict on one data set and preset; it stands in for CIFAR-10, and for no other."""
        stands_in = "cifar10" in self.datasets or dataset in self.datasets
        findings = self.findings(
            Scope(evidence, dataset if stands_in else self.datasets[0], preset)
        )
        at_scale = preset == "paper" and dataset in self.datasets
        decidable = self.fixed or (at_scale if self.number else stands_in)
        return (self._verdict(findings) if decidable else UNDECIDED), findings

    def _verdict(self, findings: list[Finding]) -> str:
        verdicts = [finding.verdict for finding in findings]
        yes, no = verdicts.count(REPRODUCED), verdicts.count(CONTRADICTED)
        if no > (len(verdicts) / 2 if self.nearly else 0):
            return CONTRADICTED
        enough = 4 / 5 * len(verdicts) if self.nearly else len(verdicts)
        return REPRODUCED if not no and yes >= enough else UNDECIDED


def printed_relative_gain(table: int, dataset: str, level: float) -> float:
    """GDW's accuracy over the second best's in the printed table, percent of the latter."""
    cells = paper_numbers().query("table == @table and dataset == @dataset and value == @level")
    means = cells.set_index("method")["mean"]
    return float(100 * (means["gdw"] / means.drop("gdw").max() - 1))


def best_rival(scope: Scope, rivals: tuple[str, ...], level: dict) -> Interval | None:
    """GDW's lead over the rival that is best on the mean over GDW's seeds; None unless every rival
    has records of all of them. That the best was picked by the same records is not corrected
    for."""
    gdw = scope.runs("gdw", **level)
    runs = {rival: scope.runs(rival, **level) for rival in rivals}
    if not gdw or not all(set(gdw) <= set(of) for of in runs.values()):
        return None
    best = max(runs, key=lambda rival: np.mean([runs[rival][seed].final_accuracy for seed in gdw]))
    return paired(gdw, runs[best])


def without_zero_mean(scope: Scope, level: dict) -> Interval | None:
    """GDW with Eq. 4 over GDW without; None unless both finished from the same seeds, for a run
    that diverged leaves no record and must not be left out of the comparison."""
    ours, theirs = scope.runs("gdw", **level), scope.runs("gdw", **level, zero_mean=False)
    return paired(ours, theirs) if set(ours) == set(theirs) else None


def lead_growth(scope: Scope) -> Interval | None:
    """How much GDW's lead over MWNet grows from 40% to 60% uniform noise, seed by seed, points."""
    leads = []
    for ratio in (0.4, 0.6):
        gdw, mwnet = (scope.runs(method, **TABLES[2].setting(ratio)) for method in ("gdw", "mwnet"))
        leads.append(
            {s: final_accuracy(gdw[s]) - final_accuracy(mwnet[s]) for s in set(gdw) & set(mwnet)}
        )
    return mean_interval(
        leads[1][seed] - leads[0][seed] for seed in sorted(set(leads[0]) & set(leads[1]))
    )


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


@cache
def step_operations(level: str) -> int:
    """Floating-point operations of one step of `gdwlib.GDW` on the paper's network, two images
    each: convolutions and matrix products, counted as they are dispatched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resnet32(10)
        gdw = GDW(model, torch.optim.SGD(model.parameters(), 0.1), 10, level=level)
        x, y = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
        with FlopCounterMode(display=False) as counter:
            gdw.step(x, y, x.flip(0), y.flip(0))
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
