"""Where records and data sets are: one object, made where a call or a command begins, and handed
down."""

import os
from dataclasses import dataclass
from pathlib import Path


def project_folder(name: str) -> Path:
    """Where "outputs" or "data" are where no folder is named: in $GDWLIB_OUTPUTS and $GDWLIB_DATA
    where these are set, else in the checkout gdwlib is imported from, else in the current
    folder."""
    if of_environment := os.environ.get(f"GDWLIB_{name.upper()}"):
        return Path(of_environment)
    root = Path(__file__).parents[2]
    return root / name if (root / "pyproject.toml").is_file() else Path(name)


@dataclass(frozen=True)
class Folders:
    """Where everything is read and written."""

    outputs: Path  # runs/, figures/, tables/, bench/, sweeps/
    data: Path  # the data sets

    @classmethod
    def named(cls, outputs: Path | str | None = None, data: Path | str | None = None) -> "Folders":
        """The folders that the user names; the project's own for those that are None."""
        return cls(
            project_folder("outputs") if outputs is None else Path(outputs),
            project_folder("data") if data is None else Path(data),
        )

    @property
    def figures(self) -> Path:
        """What figures are drawn from, where that takes long to compute; and figures."""
        return self.outputs / "figures"
