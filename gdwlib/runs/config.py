"""RunConfig: everything that decides a run's result, in one frozen dataclass, and the run id. See
also presets.py."""

import dataclasses
import difflib
import functools
import hashlib
import json
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gdwlib.data import DATASETS, NOISES, OwnData
from gdwlib.data.own.spelling import is_count
from gdwlib.methods import METHODS
from gdwlib.methods.settings import (
    Range,
    Schedule,
    Settings,
    above,
    at_least,
    between,
    check,
    setting,
    suggestion,
)
from gdwlib.models import FOR_TABLES, MODELS
from gdwlib.runs.presets import PRESETS, RECIPES, SCHEDULES, recipe_fields

ALGORITHM_VERSION = 1  # raised when results change by more than rounding; part of every run id
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
HUMAN = "human"  # the noise of labels that were given by people, not drawn
PATH_FIELDS = (
    "data_folder",
    "data_file",
    "labels",
    "trusted",
    "test",
)  # of files; what is in them is the fingerprint's
# fields that say how or where, not what
HOW_FIELDS = ("device", "save_memory", "capture", "workers", *PATH_FIELDS)
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: what all runs have, and the settings of its method (gdwlib/methods), which are
    fields as well.

    Fields left at None take the preset's value for the data set (class_lr and train_size may stay
    None); fields not given take the recipe's value, where it has one.

    `dataclasses.replace` keeps the values that were filled in; to change preset, recipe, method or
    data set, make a new RunConfig.

    Example:
        >>> RunConfig(method="gdw", noise="uniform", noise_ratio=0.6, preset="small").run_id
        'fashion-gdw-uniform0.6-small-s0-c2ba48aa34'

    Raises:
        TypeError: a field that does not exist, with the nearest that does.
        ValueError: a value out of range, with the field's name; a setting of another method, with
            that method.
    """

    dataset: str = setting("fashion", "a key of gdwlib.DATASETS")
    method: str = setting("gdw", "a key of gdwlib.METHODS")
    noise: str = setting(
        "none",
        "a key of gdwlib.NOISES; human, of cifar10n and cifar100n: the labels that people gave",
    )
    label_set: str | None = setting(
        None, "cifar10n: worst, random1, random2, random3, aggregate; cifar100n: noisy"
    )
    noise_ratio: float = setting(0.0, "the paper's p, 0 to 1", between(0, 1))
    imbalance: float = setting(
        1.0, "the paper's μ: smallest over largest class, in (0, 1]", between(0, 1, low_open=True)
    )
    seed: int = setting(
        0,
        "decides every random draw: subset, noise, initial weights, order, augmentation",
        Range(lambda seed: 0 <= seed < 2**32, "in 0..2³²-1"),
    )
    preset: str = setting("small", "smoke, small, half or paper")
    recipe: str = setting(
        "paper", "whose hyperparameters: paper, or authors (of a baseline the paper ran otherwise)"
    )
    data_folder: str | None = setting(None, "folder: your images, a folder of them for each class")
    data_file: str | None = setting(None, "table: a CSV file with a header, a row for each example")
    labels: str | None = setting(
        None,
        "folder, table: a CSV file of id and label, before what the folders or the table say",
    )
    label_column: str | None = setting(
        None, "folder, table: of CSV files; where not given, label, class or target"
    )
    trusted: str | None = setting(
        None, "folder, table: examples with right labels: a folder, a CSV file, or how many a class"
    )
    test: str | None = setting(
        None, "folder, table: a folder or CSV file to measure accuracy on; where not given, none is"
    )
    image_size: int | None = setting(
        None,
        "folder, clothing1m: pixels, of the square that images are brought to",
        between(8, 1024),
    )
    skip_bad: bool = setting(
        False, "folder, table, clothing1m: leave out what cannot be used instead of stopping"
    )
    fingerprint: str | None = setting(None, "folder, table: of the files' contents; filled in")
    meta_per_class: int | None = setting(
        None,
        "clean meta images a class; where they come by themselves, None is all of them",
        at_least(1),
    )
    meta_overlap: bool = setting(
        False, "repeat the official code's leak of meta images into the training set"
    )
    train_size: int | None = setting(
        None,
        "published training images used, as many of each class, meta set included",
        at_least(1),
    )
    pool: int = setting(
        None, "average over pool × pool pixels first; 1: leave as they are", at_least(1)
    )
    augment: bool = setting(None, "reflect-pad 4, crop, flip")
    model: str = setting(None, "a key of gdwlib.models.MODELS")
    pretrained: bool = setting(False, "resnet18: start from torchvision's ImageNet weights")
    epochs: int = setting(None, "of the schedule; glc runs it twice, finetune adds 5", at_least(1))
    batch_size: int = setting(100, "train and meta", at_least(2))
    lr: float = setting(0.1, "SGD's, at the start", above(0))
    schedule: str = setting(
        "cosine", "of the learning rate, once an epoch: a key of gdwlib.runs.presets.SCHEDULES"
    )
    momentum: float = setting(0.9, "SGD's", between(0, 1, high_open=True))
    nesterov: bool = setting(False, "SGD's momentum as Nesterov's")
    weight_decay: float = setting(5e-4, "SGD's, on every parameter", at_least(0))
    precision: str = setting("float32", "float32 (without TF32, on GPUs too), float64")
    # how it is computed; changes only rounding, and is not part of the run id
    device: str = setting("auto", "auto, cpu, cuda, mps")
    save_memory: bool = setting(
        False, "hold one batch's activations at a time, for one more forward pass a step"
    )
    capture: bool = setting(False, "cuda: replay the step as a CUDA graph")
    workers: int | None = setting(
        None, "clothing1m: processes that decode images; where not given, one a core", at_least(0)
    )

    if typing.TYPE_CHECKING:
        # of each instance, until it is complete: the fields that were given
        _given: typing.ClassVar[set[str]]

        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...  # the method's settings

    def __new__(cls, **fields: Any) -> "RunConfig":
        method = fields.get("method", RunConfig.method)
        if not isinstance(method, str) or method not in METHODS:
            raise ValueError(f"method: unknown value {method!r}{suggestion(str(method), METHODS)}")
        settings: Any = METHODS[method].Settings
        kind = _with_settings(settings)
        if cls not in (RunConfig, kind):
            raise ValueError("method: make a new RunConfig to change it")
        valid = [field.name for field in dataclasses.fields(kind)]
        for name in fields:
            if name not in valid:
                if owners := methods_with(name):
                    raise ValueError(
                        f"{name}: a setting of {' and '.join(owners)}, which {method} does not have"
                    )
                near = difflib.get_close_matches(name, _all_settings(), 1, 0.8)
                hint = suggestion(name, near or valid)
                raise TypeError(f"RunConfig has no field {name!r}{hint}")
        config = super().__new__(kind)
        object.__setattr__(config, "_given", set(fields))
        return config

    def __reduce__(self) -> tuple:  # as when it is sent to another process
        return functools.partial(RunConfig, **vars(self)), ()

    def __post_init__(self) -> None:
        for name, valid in (
            ("dataset", DATASETS),
            ("noise", (*NOISES, HUMAN)),
            ("preset", PRESETS),
            ("recipe", RECIPES),
            ("precision", PRECISIONS),
            ("device", DEVICES),
            ("schedule", SCHEDULES),
        ):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in valid:
                raise ValueError(f"{name}: unknown value {value!r}{suggestion(str(value), valid)}")
        own = {field.name for field in dataclasses.fields(self)}
        for name, value in self._preset_fields().items():
            if name in own and (getattr(self, name) is None or name not in self._given):
                object.__setattr__(self, name, value)
        self._human_labels()
        self._own_data()
        object.__delattr__(self, "_given")
        if not isinstance(self.model, str) or self.model not in MODELS:
            raise ValueError(
                f"model: unknown value {self.model!r}{suggestion(str(self.model), MODELS)}"
            )
        check(self)
        for name, fine, want in (
            (
                "noise_ratio",
                self.noise not in ("none", HUMAN) or self.noise_ratio == 0,
                "0 where noise is 'none' or 'human'; name a kind of noise",
            ),
            (
                "meta_overlap",
                not (self.meta_overlap and self.fingerprint),
                "false for data of your own",
            ),
            (
                "model",
                (self.model in FOR_TABLES) == self.is_table,
                f"{' or '.join(FOR_TABLES)} for a table, and for images another",
            ),
            (
                "pretrained",
                not self.pretrained or self.model == "resnet18",
                "false for models but resnet18",
            ),
            ("nesterov", not self.nesterov or self.momentum > 0, "false where momentum is 0"),
            (
                "capture",
                not self.capture or getattr(self, "meta_every", 1) == 1,
                "off where meta_every is not 1: steps differ",
            ),
        ):
            if not fine:
                raise ValueError(f"{name}: must be {want}, not {getattr(self, name)!r}")

    @staticmethod
    def of_record(fields: dict) -> "RunConfig":
        """The configuration that a record names. One that was written when every run had the
        settings of all methods has those of others besides, which are left out."""
        settings = (
            METHODS[fields["method"]].Settings if fields.get("method") in METHODS else Settings
        )
        foreign = {
            field.name
            for method in METHODS.values()
            for field in dataclasses.fields(method.Settings)
        }
        foreign -= {field.name for field in dataclasses.fields(settings)}
        return RunConfig(**{name: value for name, value in fields.items() if name not in foreign})

    def _human_labels(self) -> None:
        """Fill in noise and label_set where the data set comes with labels that people gave."""
        sets = list(DATASETS[self.dataset].label_sets)
        if sets:
            for name, value in (("noise", HUMAN), ("label_set", sets[0])):
                if name not in self._given or getattr(self, name) is None:
                    object.__setattr__(self, name, value)
        there = f"people gave {self.dataset} its labels"
        for name, valid, want in (
            (
                "noise",
                bool(sets) == (self.noise == HUMAN),
                f"'human': {there}" if sets else "another kind here",
            ),
            (
                "label_set",
                self.label_set in (sets or [None]),
                f"one of {', '.join(sets)}" if sets else "left out here",
            ),
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
        for name in (*PATH_FIELDS, "label_column", "image_size"):
            if getattr(self, name) is not None and name not in taken:
                holders = ["clothing1m"] if name == "image_size" else []
                holders += [
                    k
                    for k, of in DATASETS.items()
                    if isinstance(of, OwnData) and name in (of.needs, *of.others)
                ]
                raise ValueError(
                    f"{name}: is for dataset {' and '.join(holders)}; leave it out with "
                    f"{self.dataset}"
                )
        if not isinstance(source, OwnData):
            object.__setattr__(self, "fingerprint", getattr(source, "digest", None))
            return
        if isinstance(self.trusted, int) and not isinstance(self.trusted, bool):
            object.__setattr__(self, "trusted", str(self.trusted))
        for name in PATH_FIELDS:
            value = getattr(self, name)
            if value is not None and not (name == "trusted" and is_count(str(value))):
                object.__setattr__(self, name, str(Path(value).expanduser().absolute()))
        trusted = "a folder or CSV file of examples with right labels, or how many a class to "
        trusted += "take for right"
        for name, what in ((source.needs, "what to train on"), ("trusted", trusted)):
            if not getattr(self, name):
                raise ValueError(f"{name}: must name {what}")
        if is_count(str(self.trusted)):
            object.__setattr__(self, "meta_per_class", int(str(self.trusted)))
        if self.fingerprint is None:
            try:
                object.__setattr__(self, "fingerprint", source.fingerprint(self))
            except OSError as error:  # as of a name that is too long
                where = str(error.filename)[:80]
                raise ValueError(f"{where}: cannot be read ({error.strerror})") from error

    def _preset_fields(self) -> dict:
        """What preset and recipe set."""
        by_dataset = PRESETS[self.preset]
        fields = by_dataset.get(self.dataset, by_dataset["table" if self.is_table else ""])
        return fields | recipe_fields(self.recipe, self.method, self.preset, self.imbalance)

    @property
    def is_table(self) -> bool:
        """Of features, not of images."""
        return (
            self.dataset == "table" or getattr(DATASETS[self.dataset], "columns", None) is not None
        )

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole run, a line of metrics each; more than `epochs` for methods of two
        phases."""
        return METHODS[self.method].total_epochs(self.epochs)

    @property
    def settings(self) -> Settings:
        """The method's hyperparameters."""
        kind = METHODS[self.method].Settings
        return kind(**{field.name: getattr(self, field.name) for field in dataclasses.fields(kind)})

    @property
    def learning_rates(self) -> Schedule:
        """SGD's learning rate over the epochs."""
        return Schedule(self.lr, self.epochs, SCHEDULES[self.schedule])

    @property
    def run_id(self) -> str:
        """The run's folder name: readable, and unique to what changes the result and to
        ALGORITHM_VERSION.

        A run that leaves its preset in a field that the preset sets is named after "small-changed"
        instead of "small".
        """
        # a field at its default is left out, so that a new one leaves the records there are alone
        fields = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        }
        # What a preset sets counts for every method, also where the method has no such setting:
        # class_lr, at `paper`.
        fields |= {
            name: value for name, value in self._preset_fields().items() if name not in vars(self)
        }
        # rounding; and names for the other fields' values
        for name in (*HOW_FIELDS, "preset", "recipe"):
            fields.pop(name, None)
        text = json.dumps([ALGORITHM_VERSION, fields], sort_keys=True)
        noise = "" if self.noise == "none" else f"-{self.noise}{self.noise_ratio:g}"
        noise = f"-{self.label_set}" if self.noise == HUMAN else noise
        imbalance = "" if self.imbalance == 1 else f"-mu{self.imbalance:g}"
        changed = any(
            getattr(self, name, value) != value for name, value in self._preset_fields().items()
        )
        preset = self.preset + "-changed" * changed
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        recipe = "" if self.recipe == "paper" else f"-{self.recipe}"
        return (
            f"{self.dataset}-{self.method}{recipe}{noise}{imbalance}-{preset}-s{self.seed}-{digest}"
        )

    def torch_device(self) -> torch.device:
        """The device to run on. Raises ValueError where it is asked for by name and not there."""
        there = {
            "cpu": True,
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
        }
        if self.device == "auto":
            return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
        if not there[self.device]:
            raise ValueError(f"device: {self.device!r} is not available here; use 'auto' or 'cpu'")
        return torch.device(self.device)


@functools.cache
def _with_settings(settings: Any) -> type[RunConfig]:
    """RunConfig with a method's settings among its fields."""
    names = {"__module__": __name__, "__qualname__": "RunConfig", "__doc__": RunConfig.__doc__}
    return dataclass(frozen=True, kw_only=True)(type("RunConfig", (settings, RunConfig), names))


def _all_settings() -> list[str]:
    """The names of every field, those of all methods among them."""
    settings: list[Any] = [method.Settings for method in METHODS.values()]
    return [field.name for of in (RunConfig, *settings) for field in dataclasses.fields(of)]


def methods_with(name: str) -> list[str]:
    """The methods that have a setting of that name."""
    return [
        key
        for key, method in METHODS.items()
        if name in {f.name for f in dataclasses.fields(method.Settings)}
    ]
