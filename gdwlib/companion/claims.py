"""Every claim the paper makes, from the abstract to the conclusion, as data; what a careful reader
should know besides; and the scorecard that puts them to the records. How a verdict comes about is
in verdicts.py."""

from collections.abc import Callable

import numpy as np

from gdwlib.companion.evidence import paired, spread_ratio
from gdwlib.companion.paper_tables import PUBLISHED, TABLES, printed_gap
from gdwlib.companion.tables import NAMES
from gdwlib.companion.verdicts import (
    LESS,
    MORE,
    Claim,
    Finding,
    Scope,
    best_rival,
    exact_value,
    lead_growth,
    printed_relative_gain,
    separation,
    share_increased,
    special_case,
    step_operations,
    tail_increased,
    without_zero_mean,
)
from gdwlib.data import wrong_rate
from gdwlib.models import WeightNet
from gdwlib.runs.records import RunRecord

U4, U6 = (TABLES[2].setting(ratio) for ratio in (0.4, 0.6))
F2, F4 = (TABLES[3].setting(ratio) for ratio in (0.2, 0.4))
MU1, MU01 = (TABLES[4].setting(mu) for mu in (0.1, 0.01))
NOISE = {"uniform 40%": U4, "uniform 60%": U6, "flip 20%": F2, "flip 40%": F4}
NOT_FLIP40 = {name: level for name, level in NOISE.items() if level != F4}
TAIL = {"μ = 0.1": MU1, "μ = 0.01": MU01}
NOISE_RIVALS = tuple(m for m in TABLES[2].methods if m not in ("gdw", "meta_only"))
TAIL_RIVALS = tuple(m for m in TABLES[4].methods if m not in ("gdw", "meta_only"))
CIFARS = tuple(PUBLISHED)
Findings = Callable[[Scope], list[Finding]]


def _over(
    ours: str, rivals: tuple[str, ...], levels: dict[str, dict], claimed: tuple[float, float] = MORE
) -> Findings:
    return lambda scope: [
        Finding(f"{NAMES[ours]} − {NAMES[rival]}, {name}", scope.gap(ours, rival, level), claimed)
        for name, level in levels.items()
        for rival in rivals
    ]


def _printed(table: int, dataset: str, level: float, rival: str, setting: dict) -> Findings:
    """GDW over a rival, by as much as the table prints."""
    claimed = printed_gap(table, dataset, level, "gdw", rival)
    return lambda scope: [
        Finding(f"GDW − {NAMES[rival]}", scope.gap("gdw", rival, setting), claimed)
    ]


def _relative(dataset: str, least: float) -> Findings:
    gain = exact_value(printed_relative_gain(2, dataset, 0.6))
    return lambda scope: [
        Finding("GDW over the second best as printed in Table 2, % of it", gain, (least, np.inf))
    ]


def _share(
    quantity: str,
    method: str,
    level: dict,
    value: Callable[[RunRecord], float | None],
    low: float,
    high: float,
) -> Findings:
    return lambda scope: [Finding(quantity, scope.mean(method, level, value), (low, high))]


def _nontarget(claimed: tuple[float, float]) -> Findings:
    return lambda scope: [
        Finding(
            f"{kind}, % increased",
            scope.mean("gdw", U4, share_increased(f"{kind}_nontarget")),
            claimed,
        )
        for kind in ("clean", "mislabelled")
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


def _last_five_over_best(record: RunRecord) -> float:
    return record.result["final_accuracy"] - record.result["best_accuracy"]


CLAIMS = (
    Claim(
        "At 60% uniform noise on CIFAR-10, GDW beats every other method by 2.56 points",
        "abstract",
        lambda scope: [
            Finding(
                "GDW − best rival",
                best_rival(scope, NOISE_RIVALS, U6),
                printed_gap(2, "cifar10", 0.6, "gdw", "glc"),
            )
        ],
        number=True,
    ),
    Claim(
        "GDW improves on plain training under label noise and under class imbalance",
        "abstract",
        _over("gdw", ("base",), {"uniform 60%": U6, "μ = 0.01": MU01}),
    ),
    Claim(
        "GDW adds no computation to instance weighting",
        "abstract, Sections 1 and 3.4",
        lambda scope: [
            Finding(
                "operations of a GDW step, % of an MWNet step's",
                exact_value(100 * step_operations("class") / step_operations("instance")),
                (0, 100),
            )
        ],
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
        lambda scope: [
            Finding("largest deviation × 10⁹", exact_value(1e9 * special_case(1)), (-1e-3, 1e-3))
        ],
        fixed=True,
    ),
    Claim(
        "The constraint makes the weighted gradient's mean over the classes zero",
        "Section 3.3, Eq. 4 and 5",
        lambda scope: [
            Finding("largest |sum| × 10⁹", exact_value(1e9 * special_case(5)), (-1e-3, 1e-3))
        ],
        fixed=True,
    ),
    Claim(
        "Without a clean set, severe noise cannot be handled: Co-teaching falls behind",
        "Section 2.1",
        _over("gdw", ("coteaching",), {"uniform 60%": U6}),
        datasets=CIFARS,
    ),
    Claim(
        "Class-level weighting beats instance weighting (MWNet) in every noise setting",
        "Section 4.1, Tables 2 and 3",
        _over("gdw", ("mwnet",), NOISE),
        datasets=CIFARS,
    ),
    Claim(
        "GDW beats nearly all methods in all noise settings but 40% flip",
        "Section 4.1, Tables 2 and 3",
        _over("gdw", NOISE_RIVALS, NOT_FLIP40),
        nearly=True,
        datasets=CIFARS,
    ),
    Claim(
        "At 40% flip noise GLC is best",
        "Section 4.1, Table 3",
        _over("glc", ("gdw", *(m for m in NOISE_RIVALS if m != "glc")), {"flip 40%": F4}),
        datasets=CIFARS,
    ),
    Claim(
        "GLC beats GDW nowhere else",
        "Section 4.1, Tables 2 and 3",
        _over("gdw", ("glc",), NOT_FLIP40),
        datasets=CIFARS,
    ),
    Claim(
        "GDW's lead over MWNet grows from 40% to 60% uniform noise",
        "Section 4.1, Table 2",
        lambda scope: [Finding("lead at 60% − lead at 40%", lead_growth(scope))],
        datasets=CIFARS,
    ),
    Claim(
        "GDW's lead over MWNet on CIFAR-10 is 1.68 points at 40% uniform noise",
        "Section 4.1, Table 2",
        _printed(2, "cifar10", 0.4, "mwnet", U4),
        number=True,
    ),
    Claim(
        "… and 2.97 points at 60%",
        "Section 4.1, Table 2",
        _printed(2, "cifar10", 0.6, "mwnet", U6),
        number=True,
    ),
    Claim(
        "GDW's lead over MWNet on CIFAR-100 is 1.45 points at 40% uniform noise",
        "Section 4.1, Table 2",
        _printed(2, "cifar100", 0.4, "mwnet", U4),
        number=True,
        datasets=("cifar100",),
    ),
    Claim(
        "… and 3.12 points at 60%, on CIFAR-100",
        "Section 4.1, Table 2",
        _printed(2, "cifar100", 0.6, "mwnet", U6),
        number=True,
        datasets=("cifar100",),
    ),
    Claim(
        "At 60% uniform noise GDW gains more than 3% over the second best on CIFAR-10 (relative, "
        "by its table)",
        "Section 4.1, Table 2",
        _relative("cifar10", 3.0),
        fixed=True,
    ),
    Claim("… and 6% on CIFAR-100", "Section 4.1, Table 2", _relative("cifar100", 6.0), fixed=True),
    Claim(
        "GDW beats both methods that learn labels, in every noise setting",
        "Section 4.1, Tables 2 and 3",
        _over("gdw", ("soft_label", "gen_label"), NOISE),
        datasets=CIFARS,
    ),
    Claim(
        "ω_t can tell clean images from mislabelled ones (our reading: AUROC above 75%)",
        "Section 4.1, Figure 3",
        _share("AUROC, %", "gdw", U4, separation, 75, np.inf),
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
        "About 65% of the non-target weights increase",
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
        _share(
            "difference, points",
            "gdw",
            U4,
            share_increased("clean_nontarget", "mislabelled_nontarget"),
            -2,
            2,
        ),
    ),
    Claim(
        "On one image GDW raises the “not bird” weight from 0.45 to 0.63, MWNet lowers all to 0.43",
        "Section 4.1, Figure 4",
        lambda scope: [Finding("these weights on one image (notebook 03 shows another)", None)],
        number=True,
    ),
    Claim(
        "Without the zero-mean constraint GDW does worse",
        "Section 4.1, Appendix B.2",
        lambda scope: [
            Finding(f"with − without, {name}", without_zero_mean(scope, level))
            for name, level in {"uniform 40%": U4, "uniform 60%": U6}.items()
        ],
    ),
    Claim(
        "GDW beats nearly all methods under imbalance",
        "Section 4.2, Table 4",
        _over("gdw", TAIL_RIVALS, TAIL),
        nearly=True,
        datasets=CIFARS,
    ),
    Claim(
        "At μ = 0.01 GDW exceeds MWNet by 8.6 points on CIFAR-10",
        "Section 4.2, Table 4",
        _printed(4, "cifar10", 0.01, "mwnet", MU01),
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
        lambda scope: [
            f for ours in ("insw", "mwnet") for f in _over(ours, ("l2rw",), NOISE | TAIL)(scope)
        ],
        nearly=True,
        datasets=CIFARS,
    ),
    Claim(
        "L2RW's weights are unstable (our proxy: its accuracy varies more over seeds than Base's)",
        "Section 4.3",
        lambda scope: [
            Finding(
                f"std of L2RW over Base's, {name}",
                spread_ratio(scope.runs("l2rw", **level), scope.runs("base", **level)),
                (1, np.inf),
            )
            for name, level in {"uniform 60%": U6, "μ = 0.01": MU01}.items()
        ],
        datasets=CIFARS,
    ),
    Claim(
        "On Clothing1M GDW is best, 0.93 points ahead of MWNet",
        "Section 4.3, Table 5",
        lambda scope: [Finding("GDW − MWNet", None)],
        number=True,
        datasets=("clothing1m",),
    ),
    Claim(
        "On Clothing1M, from a pre-trained network, L2RW beats INSW and MWNet",
        "Section 4.3, Table 5",
        lambda scope: [Finding("L2RW − MWNet", None)],
        datasets=("clothing1m",),
    ),
    Claim(
        "Under imbalance GDW's lead is not large "
        "(our reading: at most 2 points over the best rival)",
        "Section 5",
        lambda scope: [
            Finding(
                f"GDW − best rival, {name}", best_rival(scope, TAIL_RIVALS, level), (-np.inf, 2.0)
            )
            for name, level in TAIL.items()
        ],
        datasets=CIFARS,
    ),
)
READERS_NOTES = (
    Claim(
        "“60% uniform noise” leaves 46% of ten classes' labels right",
        "official code",
        lambda scope: [
            Finding(
                "right labels, %",
                exact_value(100 - 100 * wrong_rate("uniform", 0.6, 10)),
                (45.9, 46.1),
            )
        ],
        fixed=True,
    ),
    Claim(
        "The abstract's 2.56% are points, the “more than 3%” of Section 4.1 is relative: both "
        "are 84.11 over 81.55",
        "abstract, Section 4.1",
        lambda scope: [
            Finding(
                "relative gain, %",
                exact_value(printed_relative_gain(2, "cifar10", 0.6)),
                (3.13, 3.15),
            )
        ],
        fixed=True,
    ),
    Claim(
        "The official meta set, most of which stays in the training set, makes GDW look better",
        "official code",
        lambda scope: [
            Finding(
                "overlapping − disjoint, uniform 60%",
                scope.gap("gdw", "gdw", U6, ours_with={"meta_overlap": True}),
            )
        ],
    ),
    Claim(
        "… and MWNet",
        "official code",
        lambda scope: [
            Finding(
                "overlapping − disjoint, uniform 60%",
                scope.gap("mwnet", "mwnet", U6, ours_with={"meta_overlap": True}),
            )
        ],
    ),
    Claim(
        "Baselines do better under imbalance by their authors' recipes than as the paper ran them",
        "Table 4",
        lambda scope: [
            Finding(
                f"{NAMES[m]}, authors' − paper's, μ = 0.01",
                scope.gap(m, m, MU01, ours_with={"recipe": "authors"}),
            )
            for m in TABLES[4].recipes
        ],
    ),
    Claim(
        "GDW's lead over MWNet at μ = 0.01 survives MWNet's own recipe",
        "Table 4",
        lambda scope: [
            Finding(
                "GDW − MWNet by its authors, μ = 0.01",
                scope.gap("gdw", "mwnet", MU01, theirs_with={"recipe": "authors"}),
            )
        ],
    ),
    Claim(
        "GDW beats training on the meta set alone",
        "a baseline the paper lacks",
        _over("gdw", ("meta_only",), {"uniform 60%": U6, "flip 40%": F4, "μ = 0.01": MU01}),
    ),
    Claim(
        "GDW's lead over Base shrinks where the best epoch is reported instead of the last five",
        "last-five rule",
        lambda scope: [
            Finding(
                "lead by last five − lead by best epoch, uniform 60%",
                paired(scope.runs("gdw", **U6), scope.runs("base", **U6), _last_five_over_best),
            )
        ],
    ),
)
