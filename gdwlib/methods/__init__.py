"""Every method by name. Add one with `gdwlib.METHODS["mine"] = MyMethod` (see method.py); the command line sees only
what is registered here. A run id knows a method by its name alone: delete a record to train it with edited code."""

from gdwlib.methods.base import Base
from gdwlib.methods.gdw import GDW
from gdwlib.methods.meta_only import MetaOnly
from gdwlib.methods.method import Batch as Batch
from gdwlib.methods.method import Method as Method
from gdwlib.methods.method import Outcome as Outcome
from gdwlib.methods.mwnet import MWNet

METHODS: dict[str, type[Method]] = {"base": Base, "meta_only": MetaOnly, "mwnet": MWNet, "gdw": GDW}
