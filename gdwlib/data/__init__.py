"""Data sets, label noise, imbalance, the meta split, and batches resident on the device."""

from gdwlib.data.dataset import Dataset as Dataset
from gdwlib.data.dataset import Images as Images
from gdwlib.data.dataset import OwnData as OwnData
from gdwlib.data.datasets import DATASETS as DATASETS
from gdwlib.data.errors import DataError as DataError
from gdwlib.data.imbalance import long_tail_counts as long_tail_counts
from gdwlib.data.noise import NOISES as NOISES
from gdwlib.data.noise import corrupt_labels as corrupt_labels
from gdwlib.data.noise import wrong_rate as wrong_rate
from gdwlib.data.own.arrays import add_table as add_table
from gdwlib.data.split import Split as Split
from gdwlib.data.split import make_split as make_split
