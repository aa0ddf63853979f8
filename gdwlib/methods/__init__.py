"""Every method by name. Add one with `gdwlib.METHODS["mine"] = MyMethod` (see method.py); the
command line sees only what is registered here. A run id knows a method by its name alone: delete a
record to train it with edited code."""

from gdwlib.methods.base import Base
from gdwlib.methods.class_balanced import ClassBalanced
from gdwlib.methods.coteaching import CoTeaching
from gdwlib.methods.finetune import FineTune
from gdwlib.methods.focal import Focal
from gdwlib.methods.gdw import GDW
from gdwlib.methods.gen_label import GenLabel
from gdwlib.methods.glc import GLC
from gdwlib.methods.insw import INSW
from gdwlib.methods.l2rw import L2RW
from gdwlib.methods.meta_only import MetaOnly
from gdwlib.methods.method import Batch as Batch
from gdwlib.methods.method import Method as Method
from gdwlib.methods.method import MethodContext as MethodContext
from gdwlib.methods.method import StepResult as StepResult
from gdwlib.methods.mwnet import MWNet
from gdwlib.methods.soft_label import SoftLabel

METHODS: dict[str, type[Method]] = {  # in the order of the paper's tables
    "base": Base,
    "finetune": FineTune,
    "coteaching": CoTeaching,
    "glc": GLC,
    "l2rw": L2RW,
    "insw": INSW,
    "mwnet": MWNet,
    "soft_label": SoftLabel,
    "gen_label": GenLabel,
    "focal": Focal,
    "class_balanced": ClassBalanced,
    "gdw": GDW,
    "meta_only": MetaOnly,
}
# the paper's, and the meta set alone, which its tables lack; what is added later is not among them
OF_THE_PAPER = (
    *("base", "finetune", "coteaching", "glc", "l2rw", "insw", "mwnet", "soft_label", "gen_label"),
    *("focal", "class_balanced", "gdw", "meta_only"),
)


def title(name: str) -> str:
    """What tables and figures call a method: its class's own `title`, else its key."""
    method = METHODS.get(name)
    return (vars(method).get("title") if method is not None else None) or name


NAMES = {name: title(name) for name in OF_THE_PAPER}
