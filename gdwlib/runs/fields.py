"""Every field of RunConfig, described for the command line's help and for pages."""

import dataclasses
import typing
from typing import Any

from gdwlib.methods import METHODS
from gdwlib.runs.config import RunConfig, methods_with
from gdwlib.runs.presets import PRESETS


class Described(typing.NamedTuple):
    """A field of RunConfig, for flags and pages."""

    kind: type
    meaning: str
    default: str  # "" where there is none
    methods: tuple[str, ...]  # that have it; () of what all runs have


def fields_described() -> dict[str, Described]:
    """Every field of RunConfig, what all runs have first, then the methods' settings."""
    of_presets = {
        name for by_dataset in PRESETS.values() for preset in by_dataset.values() for name in preset
    }
    found = {}
    settings: list[Any] = [method.Settings for method in METHODS.values()]
    for declared in (RunConfig, *dict.fromkeys(settings)):
        for field in dataclasses.fields(declared):
            default = (
                "the preset's" * (field.name in of_presets)
                if field.default is None
                else str(field.default)
            )
            kind = (typing.get_args(field.type) or (field.type,))[0]
            found[field.name] = Described(
                kind, field.metadata["meaning"], default, tuple(methods_with(field.name))
            )
    return found
