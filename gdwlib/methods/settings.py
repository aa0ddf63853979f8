"""How a hyperparameter is declared: once, with its default, its range and what it means; and the
learning rate's schedule. Checks, flags, help and run ids follow from the declarations."""

import dataclasses
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gdwlib.data.errors import suggestion as suggestion

LARGEST = 1e30  # of a number: float32, in which networks compute, ends at 3.4e38


class Range(NamedTuple):
    """What a value must be: a test of it, and its words after "must be"."""

    holds: Callable[[Any], bool]
    text: str
    names: tuple[str, ...] = ()  # where it is one of some


def above(low: int | float) -> Range:
    return Range(lambda value: value > low, f"above {low:g}")


def at_least(low: int | float) -> Range:
    return Range(lambda value: value >= low, f"at least {low:g}")


def between(
    low: int | float, high: int | float, *, low_open: bool = False, high_open: bool = False
) -> Range:
    """An interval; an open end is not part of it."""
    text = f"in {'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
    return Range(
        lambda v: (low < v if low_open else low <= v) and (v < high if high_open else v <= high),
        text,
    )


def one_of(*names: str) -> Range:
    return Range(lambda value: value in names, f"one of {', '.join(names)}", names)


def setting(default: Any, meaning: str, within: Range | None = None) -> Any:
    """A field of a dataclass: its default, what it means (and where that is from), and its range.
    Where the type allows None, None is always valid."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "within": within})


def check(config: Any) -> None:
    """Bring every declared value of a frozen dataclass to its type and hold it against its range.

    Raises:
        ValueError: the first value that is not of its type or outside its range, by its name.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        kinds = typing.get_args(field.type) or (field.type,)
        # NumPy's scalars
        value = value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value
        if float in kinds and type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) not in kinds:
            raise ValueError(f"{field.name}: must be of type {kinds[0].__name__}, not {value!r}")
        object.__setattr__(config, field.name, value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name}: must be finite, not {value!r}")
        if isinstance(value, float) and abs(value) > LARGEST:
            raise ValueError(f"{field.name}: must be at most {LARGEST:g}, not {value!r}")
    for field in dataclasses.fields(config):
        value, within = getattr(config, field.name), field.metadata.get("within")
        if within is not None and value is not None and not within.holds(value):
            if within.names:
                raise ValueError(
                    f"{field.name}: unknown value {value!r}{suggestion(value, within.names)}"
                )
            none = ", or None" * (type(None) in typing.get_args(field.type))
            raise ValueError(f"{field.name}: must be {within.text}{none}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A method's hyperparameters. Subclasses declare them by `setting`; this one has none."""


@dataclass(frozen=True, kw_only=True)
class WeightNetSettings(Settings):
    """Of the methods that learn a weighting network V; the paper's and MWNet's values."""

    weight_optimizer: str = setting(
        "adam", "V's optimizer; sgd has Nesterov momentum 0.9", one_of("adam", "sgd")
    )
    weight_lr: float = setting(1e-3, "V's learning rate", above(0))
    weight_weight_decay: float = setting(1e-4, "V's weight decay", at_least(0))
    meta_every: int = setting(1, "a meta step every so many steps; 1 is the paper's", at_least(1))


class Schedule(NamedTuple):
    """SGD's learning rate over the epochs of a run."""

    lr: float  # at the start
    epochs: int  # of the schedule; a method may pass over the data longer
    factor: Callable[[int, int], float]  # (epoch from 0, epochs) → what lr is multiplied by

    def learning_rate(self, epoch: int) -> float:
        """In an epoch, from 0."""
        return self.lr * self.factor(epoch, self.epochs)
