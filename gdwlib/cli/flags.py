"""What the commands' flags have in common: one line for every error."""

import argparse

from gdwlib.runs.config import suggestion


class Parser(argparse.ArgumentParser):
    """One line for every error, naming the nearest valid flag."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args=None, namespace=None):
        parsed, unknown = super().parse_known_args(args, namespace)
        for word in unknown:
            if word.startswith("-"):
                flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
                self.error(
                    f"unknown flag {word.split('=')[0]}{suggestion(word.split('=')[0], flags)}"
                )
        return parsed, unknown

    def _check_value(self, action, value):
        if (
            action.choices is not None
            and value is not action.default
            and value not in action.choices
        ):
            valid = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f"unknown value {str(value)!r}{suggestion(str(value), valid)}"
            )

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}\n")


def at_least(args: argparse.Namespace, least: int, *names: str) -> None:
    """Refuse a number below the least, by its flag."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')}: must be at least {least}, not {value}")
