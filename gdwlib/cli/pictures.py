"""Pictures that commands leave beside what they print, where what draws them is installed."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gdwlib.runs.files import write_file


def write_picture(path: Path, what: str, draw: Callable[[], Any]) -> None:
    """Write the figure that `draw` imports and draws as PNG and print its path; a line says where
    something is not installed."""
    try:
        figure = draw()
    except ModuleNotFoundError as error:
        print(
            f"no {what}: {error.name} is needed; pip install 'gdwlib[notebooks]'", file=sys.stderr
        )
        return
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    write_file(path, buffer.getvalue())
    print(path)
