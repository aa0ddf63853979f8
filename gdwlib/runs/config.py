"""RunConfig: everything that decides a run's result, in one frozen dataclass, and the run id. See also recipes.py."""

import dataclasses
import difflib
import functools
import hashlib
import inspect
import json
import math
import os
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gdwlib.data import DATASETS, NOISES, OwnData
from gdwlib.models import MODELS
from gdwlib.runs.presets import OPTIMIZERS, PRESETS, RECIPES, SCHEDULES, recipe_fields

ALGORITHM_VERSION = 1  # raised when results change by more than rounding; part of every run id
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
HUMAN = "human"  # the noise of labels that were given by people, not drawn
PLACES = ("data_folder", "data_file", "labels", "trusted", "test")  # of files; what is in them is the fingerprint's
COMPUTED = ("device", "save_memory", "capture", "workers", *PLACES)  # fields that say how or where, not what
DEVICES = ("auto", "cpu", "cuda", "mps")


def nearest(name: str, valid: Iterable[str]) -> str:
    """'; did you mean 'noise'?', or the list of valid names where none is near."""
    valid = list(valid)
    close = difflib.get_close_matches(name, valid, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; one of {', '.join(valid)}"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run. Fields left at None take the preset's value for the data set (class_lr and train_size may stay None);
    fields not given take the recipe's value, where it has one.

    `dataclasses.replace` keeps the values that were filled in; to change preset, recipe, method or data set, make a
    new RunConfig.

    Raises:
        TypeError: a field that does not exist, with the nearest that does.
        ValueError: a value out of range, with the field's name.
    """

    dataset: str = "fashion"  # a key of gdwlib.DATASETS
    method: str = "gdw"  # a key of gdwlib.METHODS
    noise: str = "none"  # a key of gdwlib.NOISES; human, of cifar10n and cifar100n: the labels that people gave
    label_set: str | None = None  # cifar10n: worst, random1, random2, random3, aggregate; cifar100n: noisy
    noise_ratio: float = 0.0  # the paper's p, 0 to 1
    imbalance: float = 1.0  # the paper's μ: smallest over largest class, in (0, 1]
    seed: int = 0  # decides every random draw: subset, noise, initial weights, order, augmentation
    preset: str = "small"  # smoke, small, half or paper
    recipe: str = "paper"  # whose hyperparameters: paper, or authors (of a baseline the paper ran otherwise)
    data_folder: str | None = None  # folder: your pictures, a folder of them for each class
    data_file: str | None = None  # table: a CSV file with a header, a row an example
    labels: str | None = None  # folder: a CSV file of picture and label, before what the folders say
    label_column: str | None = None  # folder, table: of CSV files; where not given, label, class or target
    trusted: str | None = None  # folder, table: examples with right labels: a folder, a CSV file, or how many a class
    test: str | None = None  # folder, table: a folder or CSV file to measure accuracy on; where not given, none is
    image_size: int | None = None  # folder, clothing1m: pixels, of the square that images are brought to
    skip_bad: bool = False  # folder, table, clothing1m: leave out what cannot be used instead of stopping
    fingerprint: str | None = None  # folder, table: of the files' contents; filled in
    meta_per_class: int | None = None  # clean meta images a class; where they come by themselves, None is all of them
    meta_overlap: bool = False  # repeat the official code's leak of meta images into the training set
    train_size: int | None = None  # published training images used, as many of each class, meta set included
    pool: int | None = None  # average over pool × pool pixels first; 1: leave as they are
    augment: bool | None = None  # reflect-pad 4, crop, flip
    model: str | None = None  # a key of gdwlib.models.MODELS
    pretrained: bool = False  # resnet18: start from torchvision's ImageNet weights
    epochs: int | None = None  # of the schedule; glc runs it twice, finetune adds 5
    batch_size: int = 100  # train and meta
    lr: float = 0.1  # SGD's, at the start
    schedule: str = "cosine"  # of the learning rate, once an epoch: a key of gdwlib.runs.presets.SCHEDULES
    momentum: float = 0.9  # SGD's
    nesterov: bool = False  # SGD's momentum as Nesterov's
    weight_decay: float = 5e-4  # SGD's, on every parameter
    weight_optimizer: str = "adam"  # gdw, mwnet: of the weighting network; adam, or sgd with Nesterov momentum 0.9
    weight_lr: float = 1e-3  # gdw, mwnet: its learning rate
    weight_weight_decay: float = 1e-4  # gdw, mwnet: its weight decay
    normalise_weights: bool = False  # mwnet: scale a batch's weights to mean 1
    class_lr: float | None = None  # gdw: η_ω of Eq. 11; where no preset sets it, 0.1·n·C
    clip: float = 0.2  # gdw: of Eq. 11
    zero_mean: bool = True  # gdw: Eq. 4
    meta_every: int = 1  # gdw, mwnet: a meta step every so many steps
    finetune_lr: float = 1e-3  # finetune: constant, after the schedule
    forget_rate: float | None = None  # coteaching: τ, the share not trained on; where not given, the noise's true rate
    focal_gamma: float = 2.0  # focal: γ
    focal_sigmoid: bool = False  # focal: of one sigmoid a class instead of the softmax
    cb_beta: float = 0.9999  # class_balanced: β
    insw_decay: float = 2.0  # insw: γ, which divides a weight at each visit
    soft_label: str = "labels"  # soft_label: learn labels (N×C) or smoothing (N×1)
    soft_label_lr: float = 0.1  # soft_label: λ, mean ℓ₁ change of an example's label (or of its smoothing), a visit
    gen_label_warm_up: float = 44 / 120  # gen_label: share of the schedule with cross entropy
    gen_label_virtual_lr: float = 0.5  # gen_label: α, of the virtual step
    gen_label_lr: float = 4000.0  # gen_label: β, of the labels
    gen_label_entropy: float = 1.0  # gen_label: γ, weight of the entropy
    precision: str = "float32"  # float32 (without TF32, on GPUs too), float64
    # how it is computed; changes only rounding, and is not part of the run id
    device: str = "auto"  # auto, cpu, cuda, mps
    save_memory: bool = False  # hold one batch's activations at a time, for one more forward pass a step
    capture: bool = False  # cuda: replay the step as a CUDA graph
    workers: int | None = None  # clothing1m: processes that decode images; where not given, one a core

    if typing.TYPE_CHECKING:
        _given: typing.ClassVar[set[str]]  # of each instance, until it is complete: the fields that were given

    def __new__(cls, **fields: Any) -> "RunConfig":
        valid = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in valid:
                raise TypeError(f"RunConfig has no field {name!r}{nearest(name, valid)}")
        config = super().__new__(cls)
        object.__setattr__(config, "_given", set(fields))
        return config

    def __reduce__(self) -> tuple:  # as when it is sent to another process
        return functools.partial(type(self), **vars(self)), ()

    def __post_init__(self) -> None:
        from gdwlib.methods import METHODS  # the methods know their configuration

        for name, valid in (
            ("dataset", DATASETS), ("method", METHODS), ("noise", (*NOISES, HUMAN)), ("preset", PRESETS),
            ("recipe", RECIPES), ("precision", PRECISIONS), ("device", DEVICES), ("schedule", SCHEDULES),
            ("weight_optimizer", OPTIMIZERS), ("soft_label", ("labels", "smoothing")),
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, str) or value not in valid:
                raise ValueError(f"{name}: unknown value {value!r}{nearest(str(value), valid)}")
        for name, value in self._preset_fields().items():
            if getattr(self, name) is None or name not in self._given:
                object.__setattr__(self, name, value)
        self._human_labels()
        self._own_data()
        object.__delattr__(self, "_given")
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
        for name, fine, want in (
            ("noise_ratio", 0 <= self.noise_ratio <= 1, "in [0, 1]"),
            (
                "noise_ratio",
                self.noise not in ("none", HUMAN) or self.noise_ratio == 0,
                "0 where noise is 'none' or 'human'; name a kind of noise",
            ),
            ("imbalance", 0 < self.imbalance <= 1, "in (0, 1]"),
            ("seed", 0 <= self.seed < 2**32, "in 0..2³²-1"),
            ("meta_per_class", self.meta_per_class is None or self.meta_per_class >= 1, "at least 1"),
            ("meta_overlap", not (self.meta_overlap and self.fingerprint), "false for data of your own"),
            ("image_size", self.image_size is None or 8 <= self.image_size <= 1024, "in 8..1024"),
            ("model", (self.model == "mlp") == self.is_table, "mlp for a table, and for images another"),
            ("pretrained", not self.pretrained or self.model == "resnet18", "false for models but resnet18"),
            ("workers", self.workers is None or self.workers >= 0, "at least 0"),
            ("train_size", self.train_size is None or self.train_size >= 1, "at least 1"),
            ("pool", self.pool >= 1, "at least 1"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 2, "at least 2"),
            ("lr", self.lr > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("nesterov", not self.nesterov or self.momentum > 0, "false where momentum is 0"),
            ("normalise_weights", not self.normalise_weights or self.method == "mwnet", "false for methods but mwnet"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("weight_lr", self.weight_lr > 0, "above 0"),
            ("weight_weight_decay", self.weight_weight_decay >= 0, "at least 0"),
            ("class_lr", self.class_lr is None or self.class_lr > 0, "above 0, or None for 0.1·n·C"),
            ("clip", self.clip > 0, "above 0"),
            ("meta_every", self.meta_every >= 1, "at least 1"),
            ("capture", not self.capture or self.meta_every == 1, "off where meta_every is not 1: steps differ"),
            ("finetune_lr", self.finetune_lr > 0, "above 0"),
            ("forget_rate", self.forget_rate is None or 0 <= self.forget_rate < 1, "in [0, 1), or None"),
            ("focal_gamma", self.focal_gamma >= 0, "at least 0"),
            ("cb_beta", 0 <= self.cb_beta < 1, "in [0, 1)"),
            ("insw_decay", self.insw_decay >= 1, "at least 1"),
            ("soft_label_lr", self.soft_label_lr > 0, "above 0"),
            ("gen_label_warm_up", 0 <= self.gen_label_warm_up <= 1, "in [0, 1]"),
            ("gen_label_virtual_lr", self.gen_label_virtual_lr > 0, "above 0"),
            ("gen_label_lr", self.gen_label_lr > 0, "above 0"),
            ("gen_label_entropy", self.gen_label_entropy >= 0, "at least 0"),
        ):
            value = getattr(self, name)
            if not fine or (isinstance(value, float) and not math.isfinite(value)):
                raise ValueError(f"{name}: must be {want}, not {value!r}")

    def _human_labels(self) -> None:
        """Fill in noise and label_set where the data set comes with labels that people gave."""
        sets = list(DATASETS[self.dataset].label_sets)
        if sets:
            for name, value in (("noise", HUMAN), ("label_set", sets[0])):
                if name not in self._given or getattr(self, name) is None:
                    object.__setattr__(self, name, value)
        there = f"people gave {self.dataset} its labels"
        for name, valid, want in (
            ("noise", bool(sets) == (self.noise == HUMAN), f"'human': {there}" if sets else "another kind here"),
            ("label_set", self.label_set in (sets or [None]), f"one of {', '.join(sets)}" if sets else "left out here"),
        ):
            if not valid:
                raise ValueError(f"{name}: must be {want}; not {getattr(self, name)!r}")

    def _own_data(self) -> None:
        """Check what names files of the user's own, and fill in what they contain."""
        source = DATASETS[self.dataset]
        if isinstance(source, OwnData):
            taken = (source.needs, *source.others)
        else:
            taken = ("image_size",) if self.dataset == "clothing1m" else ()
        for name in (*PLACES, "label_column", "image_size"):
            if getattr(self, name) is not None and name not in taken:
                holders = ["clothing1m"] if name == "image_size" else []
                holders += [
                    k for k, of in DATASETS.items() if isinstance(of, OwnData) and name in (of.needs, *of.others)
                ]
                raise ValueError(f"{name}: is for dataset {' and '.join(holders)}; leave it out with {self.dataset}")
        if not isinstance(source, OwnData):
            object.__setattr__(self, "fingerprint", getattr(source, "digest", None))
            return
        if isinstance(self.trusted, int) and not isinstance(self.trusted, bool):
            object.__setattr__(self, "trusted", str(self.trusted))
        for name in PLACES:
            value = getattr(self, name)
            if value is not None and not (name == "trusted" and str(value).isdigit()):
                object.__setattr__(self, name, str(Path(value).expanduser().absolute()))
        trusted = "a folder or CSV file of examples with right labels, or how many a class to take for right"
        for name, what in ((source.needs, "what to train on"), ("trusted", trusted)):
            if not getattr(self, name):
                raise ValueError(f"{name}: must name {what}")
        if self.trusted.isdigit():
            object.__setattr__(self, "meta_per_class", int(self.trusted))
        if self.fingerprint is None:
            object.__setattr__(self, "fingerprint", source.fingerprint(self))

    def _preset_fields(self) -> dict:
        """What preset and recipe set."""
        by_dataset = PRESETS[self.preset]
        fields = by_dataset.get(self.dataset, by_dataset["table" if self.is_table else ""])
        return fields | recipe_fields(self.recipe, self.method, self.preset, self.imbalance)

    @property
    def is_table(self) -> bool:
        """Of features, not of images."""
        return self.dataset == "table" or getattr(DATASETS[self.dataset], "columns", None) is not None

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole run, a line of metrics each; more than `epochs` for methods of two phases."""
        from gdwlib.methods import METHODS

        return METHODS[self.method].total_epochs(self)

    def learning_rate(self, epoch: int) -> float:
        """SGD's in an epoch (from 0) of the schedule."""
        return self.lr * SCHEDULES[self.schedule](epoch, self.epochs)

    @property
    def run_id(self) -> str:
        """The run's folder name: readable, and unique to what changes the result and to ALGORITHM_VERSION.

        A run that leaves its preset in a field that the preset sets is named after "small-changed" instead of "small".
        """
        # a field at its default is left out, so that a new one leaves the records there are alone
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}
        for name in (*COMPUTED, "preset", "recipe"):  # rounding; and names for the other fields' values
            fields.pop(name, None)
        text = json.dumps([ALGORITHM_VERSION, fields], sort_keys=True)
        noise = "" if self.noise == "none" else f"-{self.noise}{self.noise_ratio:g}"
        noise = f"-{self.label_set}" if self.noise == HUMAN else noise
        imbalance = "" if self.imbalance == 1 else f"-mu{self.imbalance:g}"
        changed = any(getattr(self, name) != value for name, value in self._preset_fields().items())
        preset = self.preset + "-changed" * changed
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        recipe = "" if self.recipe == "paper" else f"-{self.recipe}"
        return f"{self.dataset}-{self.method}{recipe}{noise}{imbalance}-{preset}-s{self.seed}-{digest}"

    def torch_device(self) -> torch.device:
        """The device to run on. Raises ValueError where it is asked for by name and not there."""
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if self.device == "auto":
            return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
        if not there[self.device]:
            raise ValueError(f"device: {self.device!r} is not available here; use 'auto' or 'cpu'")
        return torch.device(self.device)


def fields_described() -> dict[str, tuple[str, str]]:
    """Of each field of RunConfig its meaning, the comment beside it, and its default; "" where there is none."""
    about = dict(re.findall(r"^    (\w+): .*  # (.+)$", inspect.getsource(RunConfig), re.M))
    fields = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    of_presets = {name for by_dataset in PRESETS.values() for preset in by_dataset.values() for name in preset}
    return {
        name: (about.get(name, ""), "the preset's" * (name in of_presets) if default is None else str(default))
        for name, default in fields.items()
    }


def project_folder(name: str) -> Path:
    """Where "outputs" or "data" are where no folder is named: in $GDWLIB_OUTPUTS and $GDWLIB_DATA where these are set,
    else in the checkout gdwlib is imported from, else in the current folder."""
    if of_environment := os.environ.get(f"GDWLIB_{name.upper()}"):
        return Path(of_environment)
    root = Path(__file__).parents[2]
    return root / name if (root / "pyproject.toml").is_file() else Path(name)
