"""gdwlib: Generalized Data Weighting via Class-level Gradient Manipulation (NeurIPS 2021), exact and usable.

    gdw = gdwlib.GDW(model, optimizer, num_classes)      # in your own training loop
    record = gdwlib.run(gdwlib.RunConfig(method="gdw"))  # an experiment of the paper

Names are imported when first used.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "GDW": "gdwlib.gdw",
    "StepOutput": "gdwlib.gdw",
    "zero_mean": "gdwlib.weighting",
    "RunConfig": "gdwlib.config",
    "ALGORITHM_VERSION": "gdwlib.config",
    "check_parameters": "gdwlib.config",
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
)

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"gdwlib.{name}")
    raise AttributeError(f"module 'gdwlib' has no attribute {name!r}")


def __dir__():
    return [*globals(), *__all__]
