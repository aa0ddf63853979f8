"""Every claim the paper makes, from the abstract to the conclusion, as data; what needs no run; and
what a careful reader should know besides. The rules for a verdict are in verdicts.py."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gdwlib.companion.paper_tables import PUBLISHED, TABLES, cell_elsewhere, paper_cell
from gdwlib.companion.quantities import (
    best_rival,
    exact_value,
    last_five_over_best,
    lead_growth,
    printed_lead,
    printed_relative_gain,
    separation,
    share_increased,
    special_case,
    step_operations,
    tail_increased,
)
from gdwlib.companion.verdicts import LESS, MORE, Claim, Finding, Scope
from gdwlib.data import wrong_rate
from gdwlib.methods import NAMES
from gdwlib.models import WeightNet
from gdwlib.runs.records import RunRecord
from gdwlib.sweeps.campaigns import FINETUNE_LRS, MIXED

U4, U6 = (TABLES[2].setting(ratio) for ratio in (0.4, 0.6))
F2, F4 = (TABLES[3].setting(ratio) for ratio in (0.2, 0.4))
MU1, MU01 = (TABLES[4].setting(mu) for mu in (0.1, 0.01))
NOISE = {"uniform 40%": U4, "uniform 60%": U6, "flip 20%": F2, "flip 40%": F4}
NOT_FLIP40 = {name: level for name, level in NOISE.items() if level != F4}
TAIL = {"μ = 0.1": MU1, "μ = 0.01": MU01}
NOISE_RIVALS = tuple(m for m in TABLES[2].methods if m not in ("gdw", "meta_only"))
TAIL_RIVALS = tuple(m for m in TABLES[4].methods if m not in ("gdw", "meta_only"))
CLOTHING_RIVALS = NOISE_RIVALS
CIFARS = tuple(PUBLISHED)
CLOTHING = ("clothing1m",)
Findings = Callable[[Scope], list[Finding]]


def _over(
    ours: str, rivals: tuple[str, ...], levels: dict[str, dict], claimed: tuple[float, float] = MORE
) -> Findings:
    return lambda scope: [
        scope.lead(
            f"{NAMES[ours]} − {NAMES[rival]}" + f", {name}" * bool(name),
            scope.cell(ours, level),
            scope.cell(rival, level),
            claimed,
        )
        for name, level in levels.items()
        for rival in rivals
    ]


def _printed(rival: str, level: dict, dataset: str = "cifar10") -> Findings:
    """GDW over a rival, by as much as the paper prints for the data set."""

    def findings(scope: Scope) -> list[Finding]:
        there = replace(scope, dataset=dataset)
        printed = printed_lead(there.cell("gdw", level), there.cell(rival, level))
        where = "".join(f", {name}" for name, known in (NOISE | TAIL).items() if known == level)
        found = scope.lead(
            f"GDW − {NAMES[rival]}{where}", scope.cell("gdw", level), scope.cell(rival, level)
        )
        return [replace(found, printed=printed)]

    return findings


def _abstract(scope: Scope) -> list[Finding]:
    there = replace(scope, dataset="cifar10")
    printed = printed_lead(there.cell("gdw", U6), there.cell("glc", U6))
    name = "GDW − best rival, uniform 60%"
    return [replace(best_rival(scope, name, NOISE_RIVALS, U6), printed=printed)]


def _variant(
    quantity: str,
    method: str,
    level: dict,
    ours_with: dict,
    theirs_with: dict,
    diverged: bool = False,
) -> Findings:
    """A method in one variant over the same in another."""
    return lambda scope: [
        scope.lead(
            quantity,
            scope.cell(method, level | ours_with),
            scope.cell(method, level | theirs_with),
            diverged=diverged,
        )
    ]


def _share(
    quantity: str,
    method: str,
    level: dict,
    value: Callable[[RunRecord], float | None],
    low: float,
    high: float,
) -> Findings:
    """A percentage of each record."""
    return lambda scope: [
        Finding(quantity, scope.source.mean(scope.cell(method, level), value), (low, high))
    ]


def _both(*several: Findings) -> Findings:
    return lambda scope: [finding for findings in several for finding in findings(scope)]


def _nontarget(claimed: tuple[float, float]) -> Findings:
    return _both(
        *(
            _share(
                f"{kind}, % increased", "gdw", U4, share_increased(f"{kind}_nontarget"), *claimed
            )
            for kind in ("clean", "mislabelled")
        )
    )


def _operations(scope: Scope) -> list[Finding]:
    return [
        Finding(
            f"a GDW step, % of a step of {NAMES[method]}",
            exact_value(100 * step_operations("gdw") / step_operations(method)),
            (0, 100.1),
        )
        for method in ("mwnet", "insw", "l2rw")
    ]


def _parameters(scope: Scope) -> list[Finding]:
    ours = sum(parameter.numel() for parameter in WeightNet().parameters())
    return [
        Finding(f"V's 301 parameters, % of {what}", exact_value(100 * ours / count), (0, 100))
        for what, count in (
            ("INSW's weights at N = 49,000", 49_000),
            ("Soft-label's labels at N·C", 490_000),
        )
    ]


def _elsewhere_over_here(method: str) -> float:
    here = paper_cell(4, "cifar10", 0.01, method)
    return cell_elsewhere(4, "cifar10", 0.01, method) - (here[0] if here else np.nan)


def _exactly(quantity: str, value: Callable[[], float], low: float, high: float) -> Findings:
    return lambda scope: [Finding(quantity, exact_value(value()), (low, high))]


CLAIMS = (
    Claim(
        "At 60% uniform noise on CIFAR-10, GDW beats every other method by 2.56 points",
        "abstract",
        _abstract,
        number=True,
    ),
    Claim(
        "GDW improves on plain training under label noise and under class imbalance",
        "abstract",
        _over("gdw", ("base",), {"uniform 60%": U6, "μ = 0.01": MU01}),
    ),
    Claim(
        "… and where the two come together",
        "abstract, Appendix F",
        _over("gdw", ("base",), {"uniform 40% at μ = 0.1": MIXED}),
        datasets=CIFARS,
    ),
    Claim(
        "… where it beats MWNet too (our reading of “verify the performance”)",
        "Section 4, Appendix F",
        _over("gdw", ("mwnet",), {"uniform 40% at μ = 0.1": MIXED}),
        datasets=CIFARS,
    ),
    Claim(
        "Without a clean set severe noise cannot be handled (our reading: Co-teaching is at most a "
        "point above plain training at 60% uniform noise)",
        "Section 2.1",
        _over("coteaching", ("base",), {"uniform 60%": U6}, (-np.inf, 1.0)),
        datasets=CIFARS,
    ),
    Claim(
        "Methods for label noise do not handle imbalance: Co-teaching, GLC, Soft-label, Gen-label "
        "(our reading: at most a point above plain training at μ = 0.01)",
        "Table 1",
        _both(
            *(
                _over(name, ("base",), {"μ = 0.01": MU01}, (-np.inf, 1.0))
                for name in ("coteaching", "glc", "soft_label", "gen_label")
            )
        ),
        datasets=CIFARS,
    ),
    Claim(
        "Focal and Balanced do not handle label noise (our reading: likewise, at 60% uniform "
        "noise)",
        "Table 1",
        _both(
            *(
                _over(name, ("base",), {"uniform 60%": U6}, (-np.inf, 1.0))
                for name in ("focal", "class_balanced")
            )
        ),
        datasets=CIFARS,
    ),
    Claim(
        "Class-level weighting beats instance weighting (MWNet) in every noise setting",
        "Section 4.1, Tables 2 and 3",
        _over("gdw", ("mwnet",), NOISE),
        many="every",
        datasets=CIFARS,
    ),
    Claim(
        "GDW beats nearly all methods in all noise settings but 40% flip",
        "Section 4.1, Tables 2 and 3",
        _over("gdw", NOISE_RIVALS, NOT_FLIP40),
        many="nearly",
        datasets=CIFARS,
    ),
    Claim(
        "At 40% flip noise GLC is best",
        "Section 4.1, Table 3",
        _over("glc", ("gdw", *(m for m in NOISE_RIVALS if m != "glc")), {"flip 40%": F4}),
        many="every",
        datasets=CIFARS,
    ),
    Claim(
        "GLC beats GDW nowhere else",
        "Section 4.1, Tables 2 and 3",
        _over("gdw", ("glc",), NOT_FLIP40),
        many="every",
        datasets=CIFARS,
    ),
    Claim(
        "GDW's lead over MWNet grows from 40% to 60% uniform noise",
        "Section 4.1, Table 2",
        lambda scope: [lead_growth(scope, "lead over MWNet at 60% − at 40%")],
        datasets=CIFARS,
    ),
    Claim(
        "GDW's lead over MWNet on CIFAR-10 is 1.68 points at 40% uniform noise",
        "Section 4.1, Table 2",
        _printed("mwnet", U4),
        number=True,
    ),
    Claim("… and 2.97 points at 60%", "Section 4.1, Table 2", _printed("mwnet", U6), number=True),
    Claim(
        "GDW's lead over MWNet on CIFAR-100 is 1.45 points at 40% uniform noise",
        "Section 4.1, Table 2",
        _printed("mwnet", U4, "cifar100"),
        number=True,
        datasets=("cifar100",),
    ),
    Claim(
        "… and 3.12 points at 60%, on CIFAR-100",
        "Section 4.1, Table 2",
        _printed("mwnet", U6, "cifar100"),
        number=True,
        datasets=("cifar100",),
    ),
    Claim(
        "GDW beats both methods that learn labels, in every noise setting",
        "Section 4.1, Tables 2 and 3",
        _over("gdw", ("soft_label", "gen_label"), NOISE),
        many="every",
        datasets=CIFARS,
    ),
    Claim(
        "ω_t can tell clean images from mislabelled ones (our reading: AUROC above 75%)",
        "Section 4.1, Figure 3",
        _share("AUROC, %", "gdw", U4, separation, 75, np.inf),
    ),
    Claim(
        "On a mislabelled image GDW raises the weights that are right, MWNet lowers all of them "
        "(our reading of one image: most, over all mislabelled ones)",
        "Section 4.1, Figure 4",
        _both(
            _share(
                "non-target, % increased",
                "gdw",
                U4,
                share_increased("mislabelled_nontarget"),
                50,
                np.inf,
            ),
            _share(
                "by MWNet, % increased",
                "mwnet",
                U4,
                share_increased("mislabelled_nontarget"),
                -np.inf,
                50,
            ),
        ),
    ),
    Claim(
        "Non-target weights mostly increase, on clean and on mislabelled images",
        "Section 4.1, Figure 5",
        _nontarget((50, np.inf)),
    ),
    Claim(
        "True-target weights of mislabelled images mostly decrease",
        "Section 4.1, Figure 5",
        _share("increased, %", "gdw", U4, share_increased("mislabelled_true_target"), -np.inf, 50),
    ),
    Claim(
        "About 65% of the non-target weights increase (our reading: 60 to 70)",
        "Section 4.1, Figure 5",
        _nontarget((60, 70)),
        number=True,
    ),
    Claim(
        "Fewer than 20% of the true-target weights increase",
        "Section 4.1, Figure 5",
        _share("increased, %", "gdw", U4, share_increased("mislabelled_true_target"), -np.inf, 20),
        number=True,
    ),
    Claim(
        "Non-target weights behave alike on clean and on mislabelled images (our reading: within "
        "2 points)",
        "Section 4.1, Figure 5",
        lambda scope: [
            Finding(
                "difference, points",
                scope.source.difference(
                    scope.cell("gdw", U4),
                    share_increased("clean_nontarget", "mislabelled_nontarget"),
                ),
                (-2, 2),
            )
        ],
    ),
    Claim(
        "Without the zero-mean constraint GDW does worse (a run that diverges without it counts as "
        "guessing)",
        "Section 4.1, Appendix B.2",
        _both(
            *(
                _variant(
                    f"GDW − GDW without Eq. 4, {name}",
                    "gdw",
                    level,
                    {},
                    {"zero_mean": False},
                    diverged=True,
                )
                for name, level in {"uniform 40%": U4, "uniform 60%": U6}.items()
            )
        ),
        datasets=CIFARS,
    ),
    Claim(
        "GDW performs best in nearly all settings under imbalance (our reading: it beats nearly "
        "all methods there)",
        "Section 4.2, Table 4",
        _over("gdw", TAIL_RIVALS, TAIL),
        many="nearly",
        datasets=CIFARS,
    ),
    Claim(
        "At μ = 0.01 GDW exceeds MWNet by 8.6 points on CIFAR-10",
        "Section 4.2, Table 4",
        _printed("mwnet", MU01),
        number=True,
    ),
    Claim(
        "INSW is competitive under imbalance (our reading: at most 2 points behind GDW)",
        "Section 4.2, Table 4",
        _over("insw", ("gdw",), TAIL, (-2, np.inf)),
        datasets=CIFARS,
    ),
    Claim(
        "Plain training is competitive under imbalance (our reading: at most 2 points behind GDW)",
        "Section 4.2, Table 4",
        _over("base", ("gdw",), TAIL, (-2, np.inf)),
        datasets=CIFARS,
    ),
    Claim(
        "Fine-tuning on the meta set hurts under imbalance",
        "Section 4.2, Table 4",
        _over("finetune", ("base",), TAIL, LESS),
        datasets=CIFARS,
    ),
    Claim(
        "… at every learning rate from 1e-7 to 1e-1",
        "Section 4.2",
        lambda scope: [
            scope.lead(
                f"Fine-tuning at {lr:g} − Base, μ = 0.01",
                scope.cell("finetune", MU01 | {"finetune_lr": lr}),
                scope.cell("base", MU01),
                LESS,
            )
            for lr in FINETUNE_LRS
        ],
        datasets=CIFARS,
    ),
    Claim(
        "GDW mostly decreases the second smallest class's weight on the smallest class",
        "Section 4.2, Figure 6",
        _share("increased, %", "gdw", MU1, tail_increased, -np.inf, 50),
    ),
    Claim(
        "… fewer than 10% of them increase",
        "Section 4.2, Figure 6",
        _share("increased, %", "gdw", MU1, tail_increased, -np.inf, 10),
        number=True,
    ),
    Claim(
        "Instance weighting increases that same weight",
        "Section 4.2, Figure 6",
        _share("increased by MWNet, %", "mwnet", MU1, tail_increased, 50, np.inf),
    ),
    Claim(
        "From scratch, INSW and MWNet are generally better than L2RW",
        "Section 4.3, Tables 2 to 4",
        _both(*(_over(ours, ("l2rw",), NOISE | TAIL) for ours in ("insw", "mwnet"))),
        many="nearly",
        datasets=CIFARS,
    ),
    Claim(
        "L2RW's weights are unstable (our proxy: its accuracy varies more over seeds than Base's)",
        "Section 4.3",
        lambda scope: [
            Finding(
                f"std of L2RW over Base's, {name}",
                scope.source.spread_ratio(scope.cell("l2rw", level), scope.cell("base", level)),
                (1, np.inf),
            )
            for name, level in {"uniform 60%": U6, "μ = 0.01": MU01}.items()
        ],
        datasets=CIFARS,
    ),
    Claim(
        "On Clothing1M GDW is best",
        "Section 4.3, Table 5",
        _over("gdw", CLOTHING_RIVALS, {"": {}}),
        many="every",
        datasets=CLOTHING,
    ),
    Claim(
        "… 0.93 points ahead of MWNet",
        "Section 4.3, Table 5",
        _printed("mwnet", {}, "clothing1m"),
        number=True,
        datasets=CLOTHING,
    ),
    Claim(
        "On Clothing1M, from a pre-trained network, L2RW beats INSW and MWNet",
        "Section 4.3, Table 5",
        _over("l2rw", ("insw", "mwnet"), {"": {}}),
        datasets=CLOTHING,
    ),
    Claim(
        "Under imbalance GDW's lead is not large (our reading: at most 2 points over the best "
        "rival)",
        "Section 5",
        lambda scope: [
            best_rival(scope, f"GDW − best rival, {name}", TAIL_RIVALS, level, (-np.inf, 2.0))
            for name, level in TAIL.items()
        ],
        datasets=CIFARS,
    ),
)

# what follows from counting or from the definition, and needs no run
COUNTED = (
    Claim(
        "GDW adds no computation to instance weighting (operations of a step; equal to a "
        "thousandth counts as none)",
        "abstract, Sections 1 and 3.4",
        _operations,
        fixed=True,
    ),
    Claim(
        "Its weights take 301 parameters; one weight or one label an example takes N or N·C",
        "Table 1, Section 3.4",
        _parameters,
        fixed=True,
    ),
    Claim(
        "Instance weighting is the special case of equal class weights",
        "Section 3.2, Eq. 2",
        _exactly("largest deviation × 10⁹", lambda: 1e9 * special_case(1), -1e-3, 1e-3),
        fixed=True,
    ),
    Claim(
        "The constraint makes the weighted gradient's mean over the classes zero",
        "Section 3.3, Eq. 4 and 5",
        _exactly("largest |sum| × 10⁹", lambda: 1e9 * special_case(5), -1e-3, 1e-3),
        fixed=True,
    ),
)

READERS_NOTES = (
    Claim(
        "At μ = 0.01 on CIFAR-10 another paper has baselines far above this one's, by their "
        "authors' recipes (FaMUS, Table 8)",
        "Table 4",
        lambda scope: [
            Finding(
                f"{NAMES[m]} there − here, points",
                exact_value(_elsewhere_over_here(m)),
                (5, np.inf),
            )
            for m in ("class_balanced", "l2rw", "mwnet")
        ],
        fixed=True,
    ),
    Claim(
        "“60% uniform noise” leaves 46% of ten classes' labels right",
        "official code",
        _exactly("right labels, %", lambda: 100 - 100 * wrong_rate("uniform", 0.6, 10), 45.9, 46.1),
        fixed=True,
    ),
    Claim(
        "The abstract's 2.56% are points, the “more than 3%” of Section 4.1 is relative: both "
        "are 84.11 over 81.55, consistent with the paper's own table",
        "abstract, Section 4.1",
        _exactly("relative gain, %", lambda: printed_relative_gain(2, "cifar10", 0.6), 3.13, 3.15),
        fixed=True,
    ),
    Claim(
        "… and so are the “6%” on CIFAR-100",
        "Section 4.1",
        _exactly("relative gain, %", lambda: printed_relative_gain(2, "cifar100", 0.6), 6, np.inf),
        fixed=True,
    ),
    Claim(
        "The official meta set, most of which stays in the training set, makes GDW look better",
        "official code",
        _variant("overlapping − disjoint, uniform 60%", "gdw", U6, {"meta_overlap": True}, {}),
        datasets=CIFARS,
    ),
    Claim(
        "… and MWNet",
        "official code",
        _variant("overlapping − disjoint, uniform 60%", "mwnet", U6, {"meta_overlap": True}, {}),
        datasets=CIFARS,
    ),
    Claim(
        "Baselines do better under imbalance by their authors' recipes than as the paper ran them",
        "Table 4",
        _both(
            *(
                _variant(
                    f"{NAMES[m]}, authors' − paper's, μ = 0.01", m, MU01, {"recipe": "authors"}, {}
                )
                for m in TABLES[4].recipes
            )
        ),
    ),
    Claim(
        "GDW's lead over MWNet at μ = 0.01 survives MWNet's own recipe",
        "Table 4",
        lambda scope: [
            scope.lead(
                "GDW − MWNet by its authors, μ = 0.01",
                scope.cell("gdw", MU01),
                scope.cell("mwnet", MU01 | {"recipe": "authors"}),
            )
        ],
    ),
    Claim(
        "GDW beats training on the meta set alone",
        "a baseline the paper lacks",
        _over(
            "gdw",
            ("meta_only",),
            {"uniform 60%": U6, "flip 40%": F4, "μ = 0.01": MU01, "uniform 40% at μ = 0.1": MIXED},
        ),
        datasets=CIFARS,
    ),
    Claim(
        "GDW's lead over Base shrinks where the best epoch is reported instead of the last five",
        "last-five rule",
        lambda scope: [
            Finding(
                "lead by last five − lead by best epoch, uniform 60%",
                scope.source.paired(
                    scope.cell("gdw", U6), scope.cell("base", U6), last_five_over_best
                ),
            )
        ],
    ),
)
