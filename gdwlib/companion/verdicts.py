"""How a claim is put to the test: by `RULES`, which the scorecard prints."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from gdwlib.companion.evidence import CONFIDENCE, Evidence, Interval
from gdwlib.companion.paper_tables import PUBLISHED
from gdwlib.companion.sources import Cell, Contrast, PrintedTables, Records, Source

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "not enough evidence"
MORE, LESS = (0.0, np.inf), (-np.inf, 0.0)  # ranges of a difference: better, worse
POINT = 1.0  # the least margin, in points, within which two numbers count as equal
MOST_SEEDS = 100  # more are not worth counting
RULES = f"""\
Every quantity has a 95% interval over seeds (t; differences paired by seed).

- **A claim of one or a few quantities**, each said to lie in a range ("better": above zero), is
  *reproduced* where every interval lies inside its range, and *contradicted* where some interval
  lies outside.
- **A claim about every setting** is decided by the mean lead over the settings: *reproduced* where
  its interval lies above zero and no single comparison is clearly against the claim (at 5% for all
  of them together, Bonferroni); *contradicted* where the mean lies below zero or one is.
- **A claim about nearly all methods** is decided by the mean lead over all of them in all settings:
  *reproduced* where its interval lies above zero and at least four fifths of the methods are behind
  on the mean of their settings; *contradicted* where it lies below zero or more than a fifth of the
  methods are ahead by more than chance.
  Of both, how many comparisons are for the claim, against it and open stands beside the verdict.
- **A claim that names a lead** is *reproduced* where there is a lead (its interval lies above zero)
  and it equals the printed one: the difference of the two, with the standard errors of both, lies
  within a margin by two one-sided tests at 5%. It is *contradicted* where the difference is clear
  of zero (Welch, 5%). The margin is {POINT:g} point, or what two measurements of the printed
  precision need to be found equal 99 times in a hundred, whichever is more.
- Anything else is *not enough evidence*: also where a record is missing, and where one seed is all
  there is. Beside it stands how many seeds would decide, if what was found is the truth.

A claim that names a number is decided on the paper's own data sets at its own scale alone. The
column "by the paper's own table" puts the printed means, standard deviations and five runs of each
cell to the same rules. Where a word of the paper had to be given a measure, the claim
says "our reading"."""


def quantile(df: float, two_sided: float = 0.05) -> float:
    """Of Student's t."""
    return float(stats.t.ppf(1 - two_sided / 2, df))


def joined_df(a: Interval, b: Interval) -> float:
    """Welch–Satterthwaite, of the difference of two estimates."""
    parts = [(one.error**2, one.df) for one in (a, b) if one.error > 0]
    total = sum(variance for variance, _ in parts)
    return total**2 / sum(variance**2 / df for variance, df in parts) if parts else math.inf


@dataclass(frozen=True)
class Finding:
    """A quantity, what was found of it (None: nothing), and the range that the claim puts it in, or
    the printed number that it is said to equal."""

    quantity: str
    found: Interval | None
    claimed: tuple[float, float] = MORE
    printed: Interval | None = None
    contrast: Contrast | None = None  # where it is one of accuracies
    rival: str = ""  # over whom it is a lead

    @property
    def verdict(self) -> str:
        if self.found is None or not np.isfinite([self.found.low, self.found.high]).all():
            return UNDECIDED
        low, high = self.claimed
        if self.printed is not None:
            return self._equality(self.found, self.printed)
        if low < self.found.low and self.found.high < high:
            return REPRODUCED
        return CONTRADICTED if self.found.high <= low or self.found.low >= high else UNDECIDED

    def _equality(self, found: Interval, printed: Interval) -> str:
        error = math.hypot(found.error, printed.error if printed.error > 0 else 0.0)
        df, gap = joined_df(found, printed), abs(found.mean - printed.mean)
        if found.low > 0 and gap + quantile(df, 0.10) * error < margin(printed):
            return REPRODUCED
        return CONTRADICTED if gap > quantile(df) * error else UNDECIDED

    @property
    def seeds_needed(self) -> int | None:
        """How many seeds would decide, if the found mean and spread are the truth; None: more than
        a hundred, or nothing is known."""
        found = self.found
        if found is None or not found.error > 0 or found.seeds < 2:
            return None
        deviation = found.error * math.sqrt(found.seeds)
        for seeds in range(2, MOST_SEEDS + 1):
            error = deviation / math.sqrt(seeds)
            half = quantile(seeds - 1) * error
            so = replace(
                self,
                found=found._replace(
                    low=found.mean - half, high=found.mean + half, error=error, df=seeds - 1.0
                ),
            )
            if so.verdict != UNDECIDED:
                return seeds
        return None


def margin(printed: Interval) -> float:
    """In points: see the rules."""
    if not printed.error > 0:
        return POINT
    both = math.sqrt(2) * printed.error
    df = 2 * printed.df
    return max(POINT, (quantile(df, 0.10) + float(stats.norm.ppf(0.995))) * both)


@dataclass(frozen=True)
class Scope:
    """Where a claim is put to the test: a data set, in the records of a preset or in the
    printed tables."""

    source: Source
    dataset: str

    def cell(self, method: str, level: Mapping[str, Any]) -> Cell:
        return Cell(self.dataset, method, tuple(sorted(level.items())))

    def lead(
        self,
        quantity: str,
        ours: Cell,
        theirs: Cell,
        claimed: tuple[float, float] = MORE,
        diverged: bool = False,
    ) -> Finding:
        """How much better one cell is than another, in points."""
        contrast = {ours: 1.0, theirs: -1.0}
        found = self.source.contrast(contrast, diverged)
        rival = f"{ours.method} over {theirs.method}"
        return Finding(quantity, found, claimed, contrast=contrast, rival=rival)


@dataclass(frozen=True)
class Result:
    """What came of a claim somewhere."""

    verdict: str
    findings: list[Finding]
    together: Interval | None = None  # the mean lead, of a claim over many comparisons
    decidable: bool = True  # there, by records of that data set and preset

    def counts(self) -> tuple[int, int, int]:
        """How many findings are for the claim, against it, and open."""
        verdicts = [finding.verdict for finding in self.findings]
        known = [f.verdict for f in self.findings if f.found is not None]
        return (
            verdicts.count(REPRODUCED),
            verdicts.count(CONTRADICTED),
            known.count(UNDECIDED),
        )


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, in our words."""

    text: str
    where: str
    findings: Callable[[Scope], list[Finding]]
    number: bool = False  # decided at the paper's scale alone
    many: str = ""  # "every" or "nearly": a claim over many comparisons
    datasets: tuple[str, ...] = ("cifar10",)  # the paper's own evidence
    fixed: bool = False  # follows from counting or from print, whatever the records

    def at_paper_scale(self, evidence: Evidence) -> Result:
        """On records of the paper's own data sets at the paper preset."""
        return self._judged(Records(evidence, "paper"))

    def by_the_papers_table(self) -> Result | None:
        """The same rule on the printed numbers; None where they say nothing of it."""
        result = self._judged(PrintedTables())
        return (
            result if any(f.found is not None and f.found.seeds for f in result.findings) else None
        )

    def verdict_on(self, evidence: Evidence, dataset: str, preset: str) -> Result:
        """On one data set and preset; it stands in for CIFAR-10, and for no other."""
        source = Records(evidence, preset)
        stands_in = "cifar10" in self.datasets or dataset in self.datasets
        findings = self.findings(Scope(source, dataset if stands_in else self.datasets[0]))
        at_scale = preset == "paper" and dataset in self.datasets
        decidable = self.fixed or (at_scale if self.number else stands_in)
        result = self._of(findings, source)
        return result if decidable else replace(result, verdict=UNDECIDED, decidable=False)

    def _judged(self, source: Source) -> Result:
        findings = []
        for name in self.datasets:
            which = f"{PUBLISHED.get(name, name)}, " if len(self.datasets) > 1 else ""
            for finding in self.findings(Scope(source, name)):
                findings.append(replace(finding, quantity=which + finding.quantity))
        return self._of(findings, source)

    def _of(self, findings: list[Finding], source: Source) -> Result:
        if self.many:
            return self._of_many(findings, source)
        verdicts = [finding.verdict for finding in findings]
        if CONTRADICTED in verdicts:
            return Result(CONTRADICTED, findings)
        agreed = all(verdict == REPRODUCED for verdict in verdicts)
        return Result(REPRODUCED if agreed else UNDECIDED, findings)

    def _of_many(self, findings: list[Finding], source: Source) -> Result:
        contrasts = [f.contrast for f in findings if f.found is not None and f.contrast]
        together = source.contrast(mean_contrast(contrasts)) if contrasts else None
        overall = Finding("", together).verdict
        if self.many == "every":
            against, enough = one_is_against(findings), True
        else:
            leads = [
                source.contrast(mean_contrast([f.contrast for f in findings if f.rival == rival]))
                for rival in dict.fromkeys(finding.rival for finding in findings)
            ]
            ahead = sum(Finding("", lead).verdict == CONTRADICTED for lead in leads)
            behind = sum(lead is not None and lead.mean > 0 for lead in leads)
            against, enough = ahead > len(leads) / 5, behind >= 4 / 5 * len(leads)
        verdict = UNDECIDED
        if against or overall == CONTRADICTED:
            verdict = CONTRADICTED
        elif overall == REPRODUCED and enough and len(contrasts) == len(findings):
            verdict = REPRODUCED
        return Result(verdict, findings, together)


def mean_contrast(contrasts: Sequence[Contrast | None]) -> Contrast:
    """The mean of several."""
    mean: dict[Cell, float] = {}
    for contrast in contrasts:
        for cell, k in (contrast or {}).items():
            mean[cell] = mean.get(cell, 0.0) + k / len(contrasts)
    return mean


def one_is_against(findings: Sequence[Finding]) -> bool:
    """Whether a comparison is against the claim, at 5% for all of them together (Bonferroni)."""
    level = (1 - CONFIDENCE) / len(findings)
    known = [finding.found for finding in findings if finding.found is not None]
    return any(found.mean < 0 and found.p <= level for found in known)
