"""gdwlib: Generalized Data Weighting via Class-level Gradient Manipulation (NeurIPS 2021), exact
and usable.

    gdw = gdwlib.GDW(model, optimizer, num_classes)      # in your own training loop
    record = gdwlib.run(gdwlib.RunConfig(method="gdw"))  # an experiment of the paper

What the notebooks use besides, tables and figures of the paper among it, is in `gdwlib.companion`.
"""

from types import ModuleType as _Module

from gdwlib import bilevel as bilevel
from gdwlib import data as data
from gdwlib import methods as methods
from gdwlib import models as models
from gdwlib import weighting as weighting
from gdwlib.companion.alignment import gradient_alignment as gradient_alignment
from gdwlib.companion.notebook import check_parameters as check_parameters
from gdwlib.companion.one_image import single_image_step as single_image_step
from gdwlib.companion.one_image import training_images as training_images
from gdwlib.data import DATASETS as DATASETS
from gdwlib.data import NOISES as NOISES
from gdwlib.data import DataError as DataError
from gdwlib.data import corrupt_labels as corrupt_labels
from gdwlib.data import long_tail_counts as long_tail_counts
from gdwlib.data.own.arrays import add_table as add_table
from gdwlib.engines.micro_batches import MicroBatches as MicroBatches
from gdwlib.gdw import GDW as GDW
from gdwlib.gdw import StepOutput as StepOutput
from gdwlib.methods import METHODS as METHODS
from gdwlib.runs.config import ALGORITHM_VERSION as ALGORITHM_VERSION
from gdwlib.runs.config import RunConfig as RunConfig
from gdwlib.runs.files import RecordError as RecordError
from gdwlib.runs.label_errors import suspects as suspects
from gdwlib.runs.prediction import predict as predict
from gdwlib.runs.records import RunRecord as RunRecord
from gdwlib.runs.run_folder import open_record as open_record
from gdwlib.runs.training import OutOfTime as OutOfTime
from gdwlib.runs.training import load_split as load_split
from gdwlib.runs.training import run as run
from gdwlib.sweeps.in_process import run_replicas as run_replicas
from gdwlib.weighting import zero_mean as zero_mean

__version__ = "0.1.0"
__all__ = [
    name
    for name, thing in globals().items()
    if not name.startswith("_") and not isinstance(thing, _Module)
]
