"""Hyperparameters as data: presets (how large), recipes (whose), schedules of the learning rate.

Presets
-------
`paper`  The official setting to the letter: ResNet-32, 80 epochs, batch 100, SGD lr 0.1 with
         momentum 0.9 and weight decay 5e-4 on every parameter, cosine decay once an epoch, V with
         Adam 1e-3 and weight decay 1e-4, 1,000 meta images, η_ω 100 (C = 10) and 1000 (C = 100),
         clip 0.2, reflect-pad-crop-flip augmentation, the mean of the last five test accuracies
         reported. It leaves the official code in these points: the meta set is disjoint from the
         training set (the official one mostly is not: `meta_overlap=True`); meta set, noise,
         imbalance, initial weights and order all vary with the seed (there the meta set never does,
         nor flip noise, nor which positions imbalance keeps); one train forward serves both stages
         (there a second one with the same result); g's ℓ₁ norm is guarded at zero.
`half`   The paper's setting to the letter but for the pixels: images are averaged over 2×2 of them
         (tables have none to average and are as at `paper`). What a CPU can carry of the paper's
         CIFAR: by the speed of its core one thread takes 0.25 to 0.92 s for a step of GDW or MWNet
         and 0.07 to 0.29 s for one of Base, hence 2.7 to 10 hours and 45 minutes to 3 hours for the
         39,200 steps of a run; a quarter of that at μ = 0.01. (The slower is a server core with
         AVX2, two runs at once; the faster one with AVX-512, alone.)
`small`  Real data at a size two CPU cores can carry: images averaged over 2×2 pixels, ResNet-8, a
         meta set of 2% of the images as in the paper. `fashion` takes 6,000 of the embedded images
         and 11 epochs, so that the slowest methods (GDW, INSW, Soft-label: 65 to 85 s on one thread
         of a 2020s server CPU, two runs at once and nothing else) stay below 90 s; CIFAR takes
         10,000 images and 15 epochs, within 240 s (GDW, MWNet, INSW: 205 s, so timed; records made
         beside other work took longer). Fewer images rather than fewer epochs, because the last
         five epochs are averaged and noise is memorised by repetition. CIFAR is augmented as in the
         paper; garments are centred and upright, so fashion is not. All else as in the paper. Sizes
         were chosen by running time; no comparison of methods went into them.
`smoke`  Seconds, to see that everything runs; its numbers mean nothing.

Recipes
-------
`paper`    The common setting in which the paper ran every method (its Appendix C).
`authors`  For four of the baselines that the paper ran otherwise than their authors did, theirs:
           mwnet, l2rw, focal, class_balanced; each stands in the method's file. (Co-teaching, GLC,
           INSW and Gen-label were run otherwise too, and have none here.) Under every preset the
           optimisation is theirs, a schedule's steps as shares of its length; how many epochs, meta
           images and images a batch are theirs at the presets paper and half alone, so that rows of
           a small table cost the same. A warm-up shorter than an epoch, as on short schedules, is
           none.
"""

from collections.abc import Callable
from math import cos, pi

from gdwlib.methods import METHODS

_SMALL = {"model": "resnet8", "pool": 2, "augment": False, "epochs": 15, "train_size": 10_000}
_SMALL_CIFAR = _SMALL | {"augment": True}
_SMOKE = _SMALL | {"epochs": 2, "train_size": 400, "meta_per_class": 4}
_PAPER = {"model": "resnet32", "pool": 1, "augment": True, "epochs": 80}
# of your own: small enough for minutes, with steps enough for a few hundred examples
_OWN = {"pool": 1, "batch_size": 50, "epochs": 30}
_FOLDER = _OWN | {"model": "resnet8", "augment": True, "image_size": 32}
# linear: chosen among eleven on trusted rows held out (benchmarks/tables.py --choose)
_TABLE = _OWN | {"model": "linear", "augment": False}
# the paper's Section 4.3; its meta set, η_ω and schedule are not told: all clean validation images,
# 0.1·n·C, the cosine
_CLOTHING = {
    "model": "resnet18",
    "pretrained": True,
    "image_size": 224,
    "pool": 1,
    "augment": True,
    "epochs": 5,
    "batch_size": 128,
    "lr": 1e-3,
    "weight_decay": 1e-3,
}
_CLOTHING_SMALL = {"model": "resnet8", "image_size": 32, "pool": 1, "augment": True, "epochs": 5}
# preset → data set ("" for every other one, also of your own, "table" for other tables) → the
# fields it sets
PRESETS: dict[str, dict[str, dict]] = {
    "smoke": {
        "": _SMOKE,
        "cifar100": _SMOKE | {"train_size": 1000},
        "folder": _FOLDER | {"epochs": 2, "image_size": 16},
        "table": _TABLE | {"epochs": 2},
        "clothing1m": _CLOTHING_SMALL | {"epochs": 2, "train_size": 140, "meta_per_class": 2},
    },
    "small": {
        # with all its images
        "": {"model": "resnet8", "pool": 1, "augment": True, "epochs": 15, "meta_per_class": 20},
        "cifar10": _SMALL_CIFAR | {"meta_per_class": 20},
        "cifar100": _SMALL_CIFAR | {"meta_per_class": 2},
        "fashion-full": _SMALL_CIFAR | {"meta_per_class": 20},
        "fashion": _SMALL | {"meta_per_class": 12, "train_size": 6_000, "epochs": 11},
        "folder": _FOLDER,
        "table": _TABLE,
        "clothing1m": _CLOTHING_SMALL | {"train_size": 9_996, "meta_per_class": 20},
    },
    "paper": {
        "": _PAPER | {"meta_per_class": 100},
        "fashion": _PAPER | {"meta_per_class": 20},  # 2% of the embedded images
        "cifar10": _PAPER | {"meta_per_class": 100, "class_lr": 100.0},
        "cifar100": _PAPER | {"meta_per_class": 10, "class_lr": 1000.0},
        "folder": _PAPER | {"image_size": 64},
        "table": _TABLE | {"epochs": 80, "batch_size": 100},
        "clothing1m": _CLOTHING,
    },
}
_POOLED = {
    name: fields | {"pool": 2} for name, fields in PRESETS["paper"].items() if name != "table"
}
PRESETS["half"] = PRESETS["paper"] | _POOLED
PRESETS = {name: PRESETS[name] for name in ("smoke", "small", "half", "paper")}  # by size
for _preset in PRESETS.values():  # the same images under labels of people
    _preset |= {f"{name}n": _preset[name] for name in ("cifar10", "cifar100") if name in _preset}


def _steps(*drops: tuple[float, float], warm_up: float = 0.0) -> Callable[[int, int], float]:
    """A piecewise constant schedule: from each share of the schedule on, the factor beside it;
    before, 1. A linear warm-up over the first share, epoch by epoch."""

    def factor(epoch: int, epochs: int) -> float:
        if epoch + 1 < warm_up * epochs:
            return (epoch + 1) / (warm_up * epochs)
        return min([1.0, *(value for share, value in drops if epoch >= share * epochs)])

    return factor


# name → (epoch from 0, epochs in all) → what the initial learning rate is multiplied by
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    # the paper's, for every method
    "cosine": lambda epoch, epochs: (1 + cos(pi * epoch / epochs)) / 2,
    "mwnet": _steps((80 / 120, 0.1), (100 / 120, 0.01)),  # ÷10 after epochs 80 and 100 of 120
    "mwnet-imbalance": _steps((0.8, 0.1), (0.9, 0.01)),  # ÷10 after epochs 80 and 90 of 100
    "l2rw": _steps((0.5, 0.1), (0.75, 0.01)),  # ÷10 after 40 and 60 of 80 thousand steps
    # after epochs 160 and 180 of 200 to a hundredth and a ten-thousandth, and a warm-up of 5 epochs
    "class-balanced": _steps((0.8, 0.01), (0.9, 0.0001), warm_up=5 / 200),
}
RECIPES = ("paper", "authors")
WITH_AUTHORS_RECIPE = tuple(
    name for name, method in METHODS.items() if method.authors_recipe(1.0, False) is not None
)


def recipe_fields(recipe: str, method: str, preset: str, imbalance: float) -> dict:
    """The fields a recipe sets beside the preset's. ValueError where the method has no such
    recipe."""
    if recipe == "paper":
        return {}
    fields = METHODS[method].authors_recipe(imbalance, preset in ("half", "paper"))
    if fields is None:
        there = ", ".join(WITH_AUTHORS_RECIPE)
        raise ValueError(f"recipe: the authors' own is there for {there}; not for {method}")
    return fields
