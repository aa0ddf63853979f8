"""RunConfig: everything that decides a run's result, in one frozen dataclass; presets; the run id.

Presets
-------
`paper`  The official setting to the letter: ResNet-32, 80 epochs, batch 100, SGD lr 0.1 with momentum 0.9 and weight
         decay 5e-4 on every parameter, cosine decay once an epoch, V with Adam 1e-3 and weight decay 1e-4, 1,000 meta
         images, η_ω 100 (C = 10) and 1000 (C = 100), clip 0.2, reflect-pad-crop-flip augmentation, the mean of the
         last five test accuracies reported. It leaves the official code in these points:
         the meta set is disjoint from the training set (the official one mostly is not: `meta_overlap=True`);
         meta set, noise, imbalance, initial weights and order all vary with the seed (there the meta set never does,
         nor flip noise, nor which positions imbalance keeps);
         one train forward serves both stages (there a second one with the same result);
         g's ℓ₁ norm is guarded at zero.
`small`  Real data at a size two CPU cores can carry: images averaged over 2×2 pixels, ResNet-8, a meta set of 2% of
         the images as in the paper. `fashion` takes 6,000 of the embedded images and 11 epochs, so that a GDW run
         stays below 90 s on one thread of a 2020s server CPU; CIFAR takes 10,000 images and 15 epochs, within four
         minutes. Fewer images rather than fewer epochs, because the last five epochs are averaged and noise is
         memorised by repetition. CIFAR is augmented as in the paper; garments are centred and upright, so fashion is
         not. All else as in the paper. Sizes were chosen by running time; no comparison of methods went into them.
`smoke`  Seconds, to see that everything runs; its numbers mean nothing.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gdwlib.data import DATASETS, NOISES
from gdwlib.models import MODELS

ALGORITHM_VERSION = 1  # raised when results change by more than rounding; part of every run id
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
DEVICES = ("auto", "cpu", "cuda", "mps")
RECIPES = ("paper",)

_SMALL = {"model": "resnet8", "pool": 2, "augment": False, "epochs": 15, "train_size": 10_000}
_SMOKE = _SMALL | {"epochs": 2, "train_size": 400, "meta_per_class": 4}
_PAPER = {"model": "resnet32", "pool": 1, "augment": True, "epochs": 80}
# preset → data set ("" for every other one) → the fields it sets
PRESETS: dict[str, dict[str, dict]] = {
    "smoke": {"": _SMOKE, "cifar100": _SMOKE | {"train_size": 1000}},
    "small": {
        "": _SMALL | {"meta_per_class": 20, "augment": True},
        "fashion": _SMALL | {"meta_per_class": 12, "train_size": 6_000, "epochs": 11},
        "cifar100": _SMALL | {"meta_per_class": 2, "augment": True},
    },
    "paper": {
        "": _PAPER | {"meta_per_class": 100},
        "fashion": _PAPER | {"meta_per_class": 20},  # 2% of the embedded images
        "cifar10": _PAPER | {"meta_per_class": 100, "class_lr": 100.0},
        "cifar100": _PAPER | {"meta_per_class": 10, "class_lr": 1000.0},
    },
}


def nearest(name: str, valid: Iterable[str]) -> str:
    """'; did you mean 'noise'?', or the list of valid names where none is near."""
    valid = list(valid)
    close = difflib.get_close_matches(name, valid, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; one of {', '.join(valid)}"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run. Fields left at None take the preset's value for the data set (class_lr and train_size may stay None).

    `dataclasses.replace` keeps the values a preset has filled in; to change preset or data set, make a new RunConfig.

    Raises:
        TypeError: a field that does not exist, with the nearest that does.
        ValueError: a value out of range, with the field's name.
    """

    dataset: str = "fashion"  # a key of gdwlib.DATASETS
    method: str = "gdw"  # a key of gdwlib.METHODS
    noise: str = "none"  # a key of gdwlib.NOISES
    noise_ratio: float = 0.0  # the paper's p, 0 to 1
    imbalance: float = 1.0  # the paper's μ: smallest over largest class, in (0, 1]
    seed: int = 0  # of everything random
    preset: str = "small"  # smoke, small or paper
    recipe: str = "paper"  # whose hyperparameters
    meta_per_class: int | None = None  # clean meta images a class
    meta_overlap: bool = False  # repeat the official code's leak of meta images into the training set
    train_size: int | None = None  # published training images used, as many of each class, meta set included
    pool: int | None = None  # average over pool × pool pixels first; 1: leave as they are
    augment: bool | None = None  # reflect-pad 4, crop, flip
    model: str | None = None  # a key of gdwlib.models.MODELS
    epochs: int | None = None
    batch_size: int = 100  # train and meta
    lr: float = 0.1  # SGD's at epoch 0; cosine to 0, once an epoch
    momentum: float = 0.9
    weight_decay: float = 5e-4
    weight_lr: float = 1e-3  # Adam's, for the weighting network
    weight_weight_decay: float = 1e-4
    class_lr: float | None = None  # η_ω of Eq. 11; None: 0.1·n·C
    clip: float = 0.2  # of Eq. 11
    zero_mean: bool = True  # Eq. 4
    meta_every: int = 1  # a meta step every so many steps
    precision: str = "float32"
    device: str = "auto"  # auto, cpu, cuda, mps; changes only rounding, and is not part of the run id

    def __new__(cls, **fields):
        valid = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in valid:
                raise TypeError(f"RunConfig has no field {name!r}{nearest(name, valid)}")
        return super().__new__(cls)

    def __post_init__(self):
        from gdwlib.methods import METHODS  # the methods know their configuration

        for name, valid in (
            ("dataset", DATASETS), ("method", METHODS), ("noise", NOISES), ("preset", PRESETS), ("recipe", RECIPES),
            ("precision", PRECISIONS), ("device", DEVICES),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, str) or value not in valid:
                raise ValueError(f"{name}: unknown value {value!r}{nearest(str(value), valid)}")
        for name, value in self._preset_fields().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if not isinstance(self.model, str) or self.model not in MODELS:
            raise ValueError(f"model: unknown value {self.model!r}{nearest(str(self.model), MODELS)}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            value = value.item() if isinstance(value, np.generic) else value
            kinds = typing.get_args(field.type) or (field.type,)
            if float in kinds and type(value) is int and abs(value) < 2**53:
                value = float(value)
            if type(value) not in kinds:
                raise ValueError(f"{field.name}: must be of type {kinds[0].__name__}, not {value!r}")
            object.__setattr__(self, field.name, value)
        for name, valid, want in (
            ("noise_ratio", 0 <= self.noise_ratio <= 1, "in [0, 1]"),
            (
                "noise_ratio",
                self.noise != "none" or self.noise_ratio == 0,
                "0 where noise is 'none'; name a kind of noise",
            ),
            ("imbalance", 0 < self.imbalance <= 1, "in (0, 1]"),
            ("seed", 0 <= self.seed < 2**32, "in 0..2³²-1"),
            ("meta_per_class", self.meta_per_class >= 1, "at least 1"),
            ("train_size", self.train_size is None or self.train_size >= 1, "at least 1"),
            ("pool", self.pool >= 1, "at least 1"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 2, "at least 2"),
            ("lr", self.lr > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("weight_lr", self.weight_lr > 0, "above 0"),
            ("weight_weight_decay", self.weight_weight_decay >= 0, "at least 0"),
            ("class_lr", self.class_lr is None or self.class_lr > 0, "above 0, or None for 0.1·n·C"),
            ("clip", self.clip > 0, "above 0"),
            ("meta_every", self.meta_every >= 1, "at least 1"),
        ):
            value = getattr(self, name)
            if not valid or (isinstance(value, float) and not math.isfinite(value)):
                raise ValueError(f"{name}: must be {want}, not {value!r}")

    def _preset_fields(self) -> dict:
        by_dataset = PRESETS[self.preset]
        return by_dataset.get(self.dataset, by_dataset[""])

    @property
    def run_id(self) -> str:
        """The run's folder name: readable, and unique to what changes the result and to ALGORITHM_VERSION.

        A run that leaves its preset in a field that the preset sets is named after "small-changed" instead of "small".
        """
        # a field at its default is left out, so that a new one leaves the records there are alone
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}
        for name in ("device", "preset"):  # rounding; and a name for the other fields' values
            fields.pop(name, None)
        text = json.dumps([ALGORITHM_VERSION, fields], sort_keys=True)
        noise = "" if self.noise == "none" else f"-{self.noise}{self.noise_ratio:g}"
        imbalance = "" if self.imbalance == 1 else f"-mu{self.imbalance:g}"
        changed = any(getattr(self, name) != value for name, value in self._preset_fields().items())
        preset = self.preset + "-changed" * changed
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{self.dataset}-{self.method}{noise}{imbalance}-{preset}-s{self.seed}-{digest}"

    def torch_device(self) -> torch.device:
        """The device to run on. Raises ValueError where it is asked for by name and not there."""
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if self.device == "auto":
            return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
        if not there[self.device]:
            raise ValueError(f"device: {self.device!r} is not available here; use 'auto' or 'cpu'")
        return torch.device(self.device)


def check_parameters(namespace: dict, **parameters) -> None:
    """Check a notebook's parameters, right after the cell that sets them: `check_parameters(globals(), seeds=list)`.

    Args:
        namespace: the notebook's `globals()`.
        **parameters: each valid parameter, with a tuple of its valid values or its type. None is valid for a type.

    Raises:
        ValueError: a variable that is no parameter (a misspelt `papermill -p`), with the nearest that is; or a value
            that is not valid.
    """
    ipython = {"In": list, "Out": dict}
    for name, value in list(namespace.items()):
        foreign = name.startswith("_") or callable(value) or isinstance(value, types.ModuleType)
        set_here = not (foreign or isinstance(value, ipython.get(name, ())))
        if set_here and name not in parameters:
            raise ValueError(f"this notebook has no parameter {name!r}{nearest(name, parameters)}")
    for name, valid in parameters.items():
        if name not in namespace:
            raise ValueError(f"{name}: not set by the parameters cell")
        value = namespace[name]
        if isinstance(valid, tuple):
            if value not in valid:
                raise ValueError(f"{name}: unknown value {value!r}{nearest(str(value), map(str, valid))}")
        elif value is not None and (not isinstance(value, valid) or (isinstance(value, bool) and valid is not bool)):
            raise ValueError(f"{name}: must be of type {valid.__name__}, not {value!r}")


def project_folder(name: str) -> Path:
    """outputs/ or data/ of the checkout gdwlib is imported from, else of the current folder."""
    root = Path(__file__).parents[1]
    return root / name if (root / "pyproject.toml").is_file() else Path(name)
