"""Every claim the paper makes, from the abstract to the conclusion, as data; what a careful reader should know besides;
and the scorecard that puts them to the records. How a verdict comes about is in verdicts.py."""

import numpy as np
import pandas as pd

from gdwlib.data import wrong_rate
from gdwlib.evidence import Evidence, spread_ratio
from gdwlib.models import WeightNet
from gdwlib.records import RunRecord
from gdwlib.tables import NAMES, TABLES
from gdwlib.verdicts import (
    CONTRADICTED,
    LESS,
    MORE,
    REPRODUCED,
    Claim,
    Finding,
    Scope,
    below_clean_median,
    best_rival,
    exactly,
    growth,
    increased,
    printed_gap,
    printed_second,
    tail_increased,
    time_ratio,
    uniform,
)


def _flip(ratio: float) -> dict:
    return {"noise": "flip", "noise_ratio": ratio}


def _mu(mu: float) -> dict:
    return {"imbalance": mu}


U4, U6, F4, MU1, MU01 = uniform(0.4), uniform(0.6), _flip(0.4), _mu(0.1), _mu(0.01)
NOISE = {"uniform 40%": U4, "uniform 60%": U6, "flip 20%": _flip(0.2), "flip 40%": F4}
NOT_FLIP40 = {name: level for name, level in NOISE.items() if level != F4}
TAIL = {"μ = 0.1": MU1, "μ = 0.01": MU01}
NOISE_RIVALS = tuple(m for m in TABLES[2].methods if m not in ("gdw", "meta_only"))
TAIL_RIVALS = tuple(m for m in TABLES[4].methods if m not in ("gdw", "meta_only"))


def _over(ours: str, rivals: tuple[str, ...], levels: dict[str, dict], claimed: tuple[float, float] = MORE):
    return lambda scope: scope.beats(ours, rivals, levels, claimed)


def _printed(table: int, dataset: str, level: float, rival: str, setting: dict):
    """GDW over a rival, by as much as the table prints."""
    return lambda scope: [
        Finding(
            f"GDW − {NAMES[rival]}", scope.gap("gdw", rival, setting), printed_gap(table, dataset, level, "gdw", rival)
        )
    ]


def _second(dataset: str, least: float):
    return lambda scope: [
        Finding("GDW − second best, as printed in Table 2", exactly(printed_second(2, dataset, 0.6)), (least, np.inf))
    ]


def _share(quantity: str, method: str, level: dict, value, *claimed: float):
    return lambda scope: [Finding(quantity, scope.mean(method, level, value), claimed)]


def _nontarget(claimed: tuple[float, float]):
    return lambda scope: [
        Finding(f"{kind}, % increased", scope.mean("gdw", U4, increased(f"{kind}_nontarget")), claimed)
        for kind in ("clean", "mislabelled")
    ]


def _best_epoch_lead_smaller(record_of: dict[str, RunRecord]) -> float:
    gdw, base = record_of["gdw"].result, record_of["base"].result
    return (gdw["final_accuracy"] - base["final_accuracy"]) - (gdw["best_accuracy"] - base["best_accuracy"])


CLAIMS = (
    Claim("At 60% uniform noise on CIFAR-10, GDW beats every other method by 2.56 points", "abstract",
          lambda scope: [Finding("GDW − best rival", best_rival(scope, NOISE_RIVALS, U6),
                                 printed_gap(2, "cifar10", 0.6, "gdw", "glc"))], number=True),
    Claim("GDW improves on plain training under label noise and under class imbalance", "abstract",
          _over("gdw", ("base",), {"uniform 60%": U6, "μ = 0.01": MU01})),
    Claim("GDW costs no more than instance weighting", "abstract, Sections 1 and 3.4",
          lambda scope: [Finding("GDW's epoch over MWNet's, % of time", time_ratio(scope), (-np.inf, 105.0))]),
    Claim("GDW scales: its weights take a network whose size does not depend on the data", "Table 1, Section 3.4",
          lambda scope: [Finding("parameters of V, % of INSW's 49,000 weights",
                                 exactly(100 * sum(p.numel() for p in WeightNet().parameters()) / 49_000), (0, 100))],
          fixed=True),
    Claim("Without a clean set, severe noise cannot be handled: Co-teaching falls behind", "Section 2.1",
          _over("gdw", ("coteaching",), {"uniform 60%": U6})),
    Claim("Class-level weighting beats instance weighting (MWNet) in every noise setting", "Section 4.1",
          _over("gdw", ("mwnet",), NOISE)),
    Claim("GDW is the best method in every noise setting but 40% flip", "Section 4.1, Tables 2 and 3",
          _over("gdw", NOISE_RIVALS, NOT_FLIP40)),
    Claim("At 40% flip noise GLC is best", "Section 4.1, Table 3",
          lambda scope: scope.beats("glc", ("gdw", "mwnet", "base"), {"flip 40%": F4})),
    Claim("GLC beats GDW nowhere else", "Section 4.1, Tables 2 and 3", _over("gdw", ("glc",), NOT_FLIP40)),
    Claim("GDW's lead over MWNet grows from 40% to 60% uniform noise", "Section 4.1",
          lambda scope: [Finding("lead at 60% − lead at 40%", growth(scope))]),
    Claim("GDW's lead over MWNet on CIFAR-10 is 1.68 points at 40% uniform noise", "Section 4.1",
          _printed(2, "cifar10", 0.4, "mwnet", U4), number=True),
    Claim("… and 2.97 points at 60%", "Section 4.1", _printed(2, "cifar10", 0.6, "mwnet", U6), number=True),
    Claim("GDW's lead over MWNet on CIFAR-100 is 1.45 points at 40% uniform noise", "Section 4.1",
          _printed(2, "cifar100", 0.4, "mwnet", U4), number=True, dataset="cifar100"),
    Claim("… and 3.12 points at 60%", "Section 4.1", _printed(2, "cifar100", 0.6, "mwnet", U6), number=True,
          dataset="cifar100"),
    Claim("At 60% uniform noise GDW gains more than 3% over the second best on CIFAR-10", "Section 4.1",
          _second("cifar10", 3.0), fixed=True),
    Claim("… and more than 6% on CIFAR-100", "Section 4.1", _second("cifar100", 6.0), fixed=True),
    Claim("GDW beats both methods that learn labels, in every noise setting", "Section 4.1",
          _over("gdw", ("soft_label", "gen_label"), NOISE)),
    Claim("ω_t separates: most clean images weigh more than most mislabelled ones", "Section 4.1, Figure 3",
          _share("mislabelled below the clean median, %", "gdw", U4, below_clean_median, 50, 100)),
    Claim("Non-target weights mostly increase, on clean and on mislabelled images", "Section 4.1, Figure 5",
          _nontarget((50, 100))),
    Claim("True-target weights of mislabelled images mostly decrease", "Section 4.1, Figure 5",
          _share("increased, %", "gdw", U4, increased("mislabelled_true_target"), 0, 50)),
    Claim("About 65% of the non-target weights increase", "Section 4.1, Figure 5",
          _nontarget((60, 70)), number=True),
    Claim("Fewer than 20% of the true-target weights increase", "Section 4.1, Figure 5",
          _share("increased, %", "gdw", U4, increased("mislabelled_true_target"), 0, 20), number=True),
    Claim("Non-target weights behave alike on clean and on mislabelled images (within 2 points)",
          "Section 4.1, Figure 5",
          _share("difference, points", "gdw", U4, increased("clean_nontarget", "mislabelled_nontarget"), -2, 2)),
    Claim("Without the zero-mean constraint GDW does poorly", "Section 4.1, Appendix B.2",
          lambda scope: [Finding(f"with − without, {name}", found) for name, level in
                         {"uniform 40%": U4, "uniform 60%": U6}.items()
                         if (found := scope.gap("gdw", "gdw", level, theirs_with={"zero_mean": False}))]
          or [Finding("with − without", None)]),
    Claim("GDW is best in nearly all imbalance settings", "Section 4.2, Table 4", _over("gdw", TAIL_RIVALS, TAIL)),
    Claim("At μ = 0.01 GDW exceeds MWNet by 8.6 points on CIFAR-10", "Section 4.2",
          _printed(4, "cifar10", 0.01, "mwnet", MU01), number=True),
    Claim("INSW is competitive under imbalance: ahead of MWNet", "Section 4.2", _over("insw", ("mwnet",), TAIL)),
    Claim("Plain training is competitive under imbalance: ahead of the losses made for it", "Section 4.2",
          _over("base", ("focal", "class_balanced"), {"μ = 0.01": MU01})),
    Claim("Fine-tuning on the meta set hurts under imbalance", "Section 4.2", _over("finetune", ("base",), TAIL, LESS)),
    Claim("GDW mostly decreases the second smallest class's weight on the smallest class", "Section 4.2, Figure 6",
          _share("increased, %", "gdw", MU1, tail_increased, 0, 50)),
    Claim("… fewer than 10% of them increase", "Section 4.2, Figure 6",
          _share("increased, %", "gdw", MU1, tail_increased, 0, 10), number=True),
    Claim("Instance weighting increases that same weight", "Section 4.2",
          _share("increased by MWNet, %", "mwnet", MU1, tail_increased, 50, 100)),
    Claim("L2RW is unstable: its accuracy varies more over seeds than Base's", "Section 4.3, Tables 2 to 4",
          lambda scope: [Finding(f"std of L2RW over Base's, {name}",
                                 spread_ratio(scope.runs("l2rw", **level), scope.runs("base", **level)), (1, np.inf))
                         for name, level in {"uniform 60%": U6, "μ = 0.01": MU01}.items()]),
    Claim("On Clothing1M GDW is best, 0.93 points ahead of MWNet", "Section 4.3, Table 5",
          lambda scope: [Finding("GDW − MWNet", None)], number=True, dataset="clothing1m"),
    Claim("On Clothing1M, from a pre-trained network, L2RW beats INSW and MWNet", "Section 4.3, Table 5",
          lambda scope: [Finding("L2RW − MWNet", None)], dataset="clothing1m"),
    Claim("Under imbalance GDW's lead over the best rival is not large (at most 2 points)", "Section 5",
          lambda scope: [Finding(f"GDW − best rival, {name}", best_rival(scope, TAIL_RIVALS, level), (-np.inf, 2.0))
                         for name, level in TAIL.items()]),
)  # fmt: skip

READERS_NOTES = (
    Claim("“60% uniform noise” leaves 46% of ten classes' labels right", "official code",
          lambda scope: [Finding("right labels, %", exactly(100 - 100 * wrong_rate("uniform", 0.6, 10)), (45.9, 46.1))],
          fixed=True),
    Claim("The official meta set, most of which stays in the training set, makes GDW look better", "official code",
          lambda scope: [Finding("overlapping − disjoint, uniform 60%",
                                 scope.gap("gdw", "gdw", U6, ours_with={"meta_overlap": True}))]),
    Claim("… and MWNet", "official code",
          lambda scope: [Finding("overlapping − disjoint, uniform 60%",
                                 scope.gap("mwnet", "mwnet", U6, ours_with={"meta_overlap": True}))]),
    Claim("Baselines do better under imbalance by their authors' recipes than as the paper ran them", "Table 4",
          lambda scope: [Finding(f"{NAMES[m]}, authors' − paper's, μ = 0.01",
                                 scope.gap(m, m, MU01, ours_with={"recipe": "authors"})) for m in TABLES[4].recipes]),
    Claim("GDW's lead over MWNet at μ = 0.01 survives MWNet's own recipe", "Table 4",
          lambda scope: [Finding("GDW − MWNet by its authors, μ = 0.01",
                                 scope.gap("gdw", "mwnet", MU01, theirs_with={"recipe": "authors"}))]),
    Claim("GDW beats training on the meta set alone", "a baseline the paper lacks",
          _over("gdw", ("meta_only",), {"uniform 60%": U6, "flip 40%": F4, "μ = 0.01": MU01})),
    Claim("Base has the most to gain from reporting the best epoch: GDW's lead over it shrinks", "last-five rule",
          lambda scope: [Finding("lead by last five − lead by best epoch, uniform 60%", scope.paired_value(
              ("gdw", "base"), U6, _best_epoch_lead_smaller))]),
)  # fmt: skip


def scorecard(
    evidence: Evidence, dataset: str = "fashion", preset: str = "small", claims: tuple[Claim, ...] = CLAIMS
) -> pd.DataFrame:
    """A row a claim: `claim`, `where`, the verdict `at paper scale` and `here`, and what was `found` here.

    Args:
        dataset, preset: "here"; the data set stands in for CIFAR-10. Claims on CIFAR-100 are put to its own records at
            the preset, claims on Clothing1M to none.
    """
    rows = []
    for claim in claims:
        paper_scale, _ = claim.judge(Scope(evidence, claim.dataset, "paper"))
        here, findings = claim.judge(Scope(evidence, dataset if claim.dataset == "cifar10" else claim.dataset, preset))
        rows.append(
            {
                "claim": claim.text,
                "where": claim.where,
                "at paper scale": paper_scale,
                f"{dataset}, {preset}": here,
                "found": _found(findings),
            }
        )
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))


def differences(
    evidence: Evidence, dataset: str = "fashion", preset: str = "small", claims: tuple[Claim, ...] = CLAIMS
) -> pd.DataFrame:
    """A row a finding that is a difference in accuracy and has records: `claim` number, `quantity`, `mean`, `low`,
    `high` (points), `verdict`."""
    rows = []
    for number, claim in enumerate(claims, 1):
        scope = Scope(evidence, dataset if claim.dataset == "cifar10" else claim.dataset, preset)
        for finding in _lowest(claim.findings(scope)):
            if finding.found is not None and finding.claimed in (MORE, LESS):
                quantity = f"{finding.quantity} {'< 0' if finding.claimed == LESS else '> 0'}? ({number})"
                found = finding.found
                rows.append((number, quantity, found.mean, found.low, found.high, finding.verdict))
    frame = pd.DataFrame(rows, columns=["claim", "quantity", "mean", "low", "high", "verdict"])
    return frame.astype({"mean": float, "low": float, "high": float})


def _lowest(findings: list[Finding]) -> list[Finding]:
    """Of more than six comparisons the one that has records and speaks most against the claim."""
    known = [finding for finding in findings if finding.found is not None]
    if len(findings) <= 6 or not known:
        return findings[:6]
    return [min(known, key=lambda finding: finding.found.mean if finding.claimed != LESS else -finding.found.mean)]


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
