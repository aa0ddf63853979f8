"""The scorecard: every claim of the paper with its verdicts, and the numbers behind them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from gdwlib.companion.claims import CLAIMS
from gdwlib.companion.evidence import Evidence, Interval
from gdwlib.companion.verdicts import (
    LESS,
    MORE,
    UNDECIDED,
    Claim,
    Finding,
    Result,
)

SHOWN = 4  # comparisons of a claim that are written out


def scorecard(
    evidence: Evidence,
    dataset: str = "fashion",
    preset: str = "small",
    claims: tuple[Claim, ...] = CLAIMS,
) -> pd.DataFrame:
    """A row for each claim: `claim`, `where`, the verdict `by the paper's own table`, `at paper
    scale` and on `dataset` at `preset`, and what was `found`, first at the paper's scale where
    there are records. The data set stands in for CIFAR-10; claims on CIFAR-100 or Clothing1M
    alone are not put to it."""
    rows = []
    for claim in claims:
        printed = claim.by_the_papers_table()
        at_scale = claim.at_paper_scale(evidence)
        here = claim.verdict_on(evidence, dataset, preset)
        found = in_words(here)
        scaled = any(f.found is not None and f.found.seeds for f in at_scale.findings)
        if scaled and (preset != "paper" or at_scale.findings != here.findings):
            found = f"at paper scale: {in_words(at_scale)}. {dataset}, {preset}: {found}"
        rows.append(
            {
                "claim": claim.text,
                "where": claim.where,
                "by the paper's own table": printed.verdict if printed is not None else "–",
                "at paper scale": at_scale.verdict,
                f"{dataset}, {preset}": here.verdict,
                "found": found,
            }
        )
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))


def differences(
    evidence: Evidence,
    dataset: str = "fashion",
    preset: str = "small",
    claims: tuple[Claim, ...] = CLAIMS,
) -> pd.DataFrame:
    """A row for each claim over many comparisons, by their mean, and one for every other finding
    that is a difference in accuracy and has records: `claim` number, `quantity`, `mean`, `low`,
    `high` (points), `verdict`."""
    rows = []
    for number, claim in enumerate(claims, 1):
        result = claim.verdict_on(evidence, dataset, preset)
        shown = result.findings
        if claim.many:
            known = sum(finding.found is not None for finding in shown)
            of = f" of {len(shown)}" * (known < len(shown))
            said = claim.text.split(" (our reading")[0]
            shown = [Finding(f"{said}: mean of {known}{of} comparisons", result.together)]
        for finding in shown:
            found = finding.found
            of_accuracies = finding.contrast is not None or finding.claimed in (MORE, LESS)
            if found is not None and of_accuracies:
                low, high = finding.claimed
                side = f"< {high:g}" if np.isfinite(high) else f"> {low:g}"
                # of a printed lead, whether there is one at all
                alone = replace(finding, printed=None).verdict
                verdict = result.verdict if claim.many else alone
                rows.append(
                    (
                        number,
                        finding.quantity if claim.many else f"{finding.quantity} {side}?",
                        found.mean,
                        found.low,
                        found.high,
                        verdict,
                    )
                )
    frame = pd.DataFrame(rows, columns=["claim", "quantity", "mean", "low", "high", "verdict"])
    return frame.astype({"mean": float, "low": float, "high": float})


def in_words(result: Result) -> str:
    """What was found: each quantity, or of many comparisons their mean, how many are for and
    against, and those that reach furthest either way."""
    known = [finding for finding in result.findings if finding.found is not None]
    if len(result.findings) <= SHOWN:
        return "; ".join(_of(finding, result.decidable) for finding in result.findings)
    if not known:
        return f"{len(result.findings)} comparisons, no records"
    yes, no, unclear = result.counts()
    text = f"{len(result.findings)} comparisons"
    if len(known) < len(result.findings):
        text += f", {len(known)} with records"
    if result.together is not None:
        text += f", mean {result.together}"
    ordered = sorted(known, key=lambda finding: _value(finding).mean)
    ends = f"from {_of(ordered[0], False)} to {_of(ordered[-1], False)}"
    return f"{text}: {yes} for, {no} against, {unclear} open; {ends}"


def _value(finding: Finding) -> Interval:
    assert finding.found is not None
    return finding.found


def _of(finding: Finding, decidable: bool) -> str:
    """A quantity and what was found of it; how many seeds would decide, where they could."""
    text, found = f"{finding.quantity}: {_found(finding)}", finding.found
    if found is None or not decidable or finding.verdict != UNDECIDED or not found.error > 0:
        return text
    return f"{text} ({finding.seeds_needed or 'more than 100'} seeds would decide)"


def _found(finding: Finding) -> str:
    found = finding.found
    if found is None:
        return "no records"
    if found.seeds == 0:
        return f"{found.mean:g}" if found.mean == int(found.mean) else f"{found.mean:.2f}"
    return f"{found}" if finding.claimed in (MORE, LESS) else f"{found}".replace("+", "")
