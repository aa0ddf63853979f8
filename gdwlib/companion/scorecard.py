"""The scorecard: every claim of the paper with its verdict, and the numbers behind it."""

import pandas as pd

from gdwlib.companion.claims import CLAIMS
from gdwlib.companion.evidence import Evidence
from gdwlib.companion.verdicts import (
    CONTRADICTED,
    LESS,
    MORE,
    REPRODUCED,
    Claim,
    Finding,
)


def scorecard(
    evidence: Evidence,
    dataset: str = "fashion",
    preset: str = "small",
    claims: tuple[Claim, ...] = CLAIMS,
) -> pd.DataFrame:
    """A row a claim: `claim`, `where`, the verdict `at paper scale` and on `dataset` at `preset`,
    and what was `found`, first at the paper's scale where there are records. The data set stands in
    for CIFAR-10; claims on CIFAR-100 or Clothing1M alone are not put to it.
    """
    rows = []
    for claim in claims:
        paper_scale, at_scale = claim.at_paper_scale(evidence)
        here, findings = claim.verdict_on(evidence, dataset, preset)
        found = _found(findings)
        if (
            any(finding.found is not None and finding.found.seeds for finding in at_scale)
            and at_scale != findings
        ):
            found = f"at paper scale: {_found(at_scale)}. {dataset}, {preset}: {found}"
        rows.append(
            {
                "claim": claim.text,
                "where": claim.where,
                "at paper scale": paper_scale,
                f"{dataset}, {preset}": here,
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
    """A row a finding that is a difference in accuracy and has records: `claim` number, `quantity`,
    `mean`, `low`, `high` (points), `verdict`."""
    rows = []
    for number, claim in enumerate(claims, 1):
        _, findings = claim.verdict_on(evidence, dataset, preset)
        for finding in _lowest(findings):
            if finding.found is not None and finding.claimed in (MORE, LESS):
                quantity = (
                    f"{finding.quantity} {'< 0' if finding.claimed == LESS else '> 0'}? ({number})"
                )
                found = finding.found
                rows.append((number, quantity, found.mean, found.low, found.high, finding.verdict))
    frame = pd.DataFrame(rows, columns=["claim", "quantity", "mean", "low", "high", "verdict"])
    return frame.astype({"mean": float, "low": float, "high": float})


def _lowest(findings: list[Finding]) -> list[Finding]:
    """Of more than six comparisons the one that has records and whose interval reaches furthest
    against the claim."""
    reach = [
        (found.low if finding.claimed != LESS else -found.high, finding)
        for finding in findings
        if (found := finding.found) is not None
    ]
    if len(findings) <= 6 or not reach:
        return findings[:6]
    return [min(reach, key=lambda pair: pair[0])[1]]


def _found(findings: list[Finding]) -> str:
    """What was found, in words."""
    text = "; ".join(f"{finding.quantity}: {_shown(finding)}" for finding in _lowest(findings))
    if len(findings) <= 6:
        return text
    verdicts = [finding.verdict for finding in findings]
    known = sum(finding.found is not None for finding in findings)
    if not known:
        return f"{len(findings)} comparisons, no records"
    return (
        f"{len(findings)} comparisons, {known} with records: {verdicts.count(REPRODUCED)} for, "
        f"{verdicts.count(CONTRADICTED)} against; lowest: {text}"
    )


def _shown(finding: Finding) -> str:
    found = finding.found
    if found is None:
        return "no records"
    if found.seeds == 0:
        return f"{found.mean:g}" if found.mean == int(found.mean) else f"{found.mean:.2f}"
    return f"{found}" if finding.claimed in (MORE, LESS) else f"{found}".replace("+", "")
