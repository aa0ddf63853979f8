"""gdwlib: Generalized Data Weighting via Class-level Gradient Manipulation (NeurIPS 2021), exact and usable.

    gdw = gdwlib.GDW(model, optimizer, num_classes)      # in your own training loop
    record = gdwlib.run(gdwlib.RunConfig(method="gdw"))  # an experiment of the paper

Names are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what _HOME says, for type checkers and editors
    from gdwlib.config import ALGORITHM_VERSION as ALGORITHM_VERSION
    from gdwlib.config import RunConfig as RunConfig
    from gdwlib.data import DATASETS as DATASETS
    from gdwlib.data import NOISES as NOISES
    from gdwlib.data import DataError as DataError
    from gdwlib.data import add_table as add_table
    from gdwlib.data import corrupt_labels as corrupt_labels
    from gdwlib.data import long_tail_counts as long_tail_counts
    from gdwlib.gdw import GDW as GDW
    from gdwlib.gdw import StepOutput as StepOutput
    from gdwlib.label_errors import suspects as suspects
    from gdwlib.loss_pulls import pulls as pulls
    from gdwlib.methods import METHODS as METHODS
    from gdwlib.notebook import check_parameters as check_parameters
    from gdwlib.one_image import anatomy as anatomy
    from gdwlib.one_image import pictures as pictures
    from gdwlib.prediction import predict as predict
    from gdwlib.records import RecordError as RecordError
    from gdwlib.records import RunRecord as RunRecord
    from gdwlib.records import open_record as open_record
    from gdwlib.sweep import run_replicas as run_replicas
    from gdwlib.training import OutOfTime as OutOfTime
    from gdwlib.training import load_split as load_split
    from gdwlib.training import run as run
    from gdwlib.weighting import zero_mean as zero_mean

__version__ = "0.1.0"

_HOME = {
    "GDW": "gdwlib.gdw",
    "StepOutput": "gdwlib.gdw",
    "zero_mean": "gdwlib.weighting",
    "RunConfig": "gdwlib.config",
    "ALGORITHM_VERSION": "gdwlib.config",
    "check_parameters": "gdwlib.notebook",
    "run": "gdwlib.training",
    "run_replicas": "gdwlib.sweep",
    "OutOfTime": "gdwlib.training",
    "load_split": "gdwlib.training",
    "anatomy": "gdwlib.one_image",
    "pictures": "gdwlib.one_image",
    "pulls": "gdwlib.loss_pulls",
    "RunRecord": "gdwlib.records",
    "RecordError": "gdwlib.records",
    "DataError": "gdwlib.data",
    "DATASETS": "gdwlib.data",
    "NOISES": "gdwlib.data",
    "corrupt_labels": "gdwlib.data",
    "long_tail_counts": "gdwlib.data",
    "METHODS": "gdwlib.methods",
    "add_table": "gdwlib.data",
    "suspects": "gdwlib.label_errors",
    "predict": "gdwlib.prediction",
    "open_record": "gdwlib.records",
}
_MODULES = (
    "bench",
    "models",
    "weighting",
    "bilevel",
    "data",
    "methods",
    "evidence",
    "tables",
    "paper",
    "contents",
    "plots",
    "figures",
    "explorer",
)

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"gdwlib.{name}")
    raise AttributeError(f"module 'gdwlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
