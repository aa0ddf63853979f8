"""Tables in a notebook: text to the left, numbers to the right, long ones folded away. The style
stands in every cell, where forges and JupyterLab keep it also in a notebook they do not trust."""

import re
import sys
from collections.abc import Mapping
from html import escape

import pandas as pd


class Table:
    """A frame as a notebook shows it.

    Args:
        folded: where it is a long one, the line under which it is folded away.
        colours: CSS colours of cells, by their whole text.
    """

    def __init__(
        self, frame: pd.DataFrame, folded: str = "", colours: Mapping[str, str] | None = None
    ):
        self.frame, self.folded, self.colours = frame, folded, colours or {}

    def _repr_html_(self) -> str:
        table = as_html(self.frame, self.colours)
        if not self.folded:
            return table
        return f"<details><summary>{escape(self.folded)}</summary>{table}</details>"

    def __repr__(self) -> str:
        return f"{self.folded}\n{self.frame.to_string()}".removeprefix("\n")


class Sentence(str):
    """A text that a notebook shows without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def as_html(frame: pd.DataFrame, colours: Mapping[str, str] | None = None) -> str:
    """A frame as HTML; `colours` as for `Table`."""
    sides = ["right" if pd.api.types.is_numeric_dtype(kind) else "left" for kind in frame.dtypes]
    text = frame.to_html(border=0, na_rep="–", justify="left", index_names=False)
    head, body = text.split("<tbody>")
    if frame.columns.nlevels == 1:
        names = [str(name or "") for name in frame.index.names]
        heads = iter([*((name, "left") for name in names), *(("", side) for side in sides)])

        def named(match: re.Match) -> str:
            name, side = next(heads)
            return f'<th style="text-align: {side}">{escape(name)}{match[1]}</th>'

        head = re.sub("<th>(.*?)</th>", named, head, flags=re.DOTALL)
    places = iter(range(frame.size))

    def cell(match: re.Match) -> str:
        style = f"text-align: {sides[next(places) % len(sides)]}"
        if colour := (colours or {}).get(match[1]):
            style += f"; color: {colour}; font-weight: bold"
        return f'<td style="{style}">{match[1]}</td>'

    body = re.sub("<td>(.*?)</td>", cell, body, flags=re.DOTALL)
    body = re.sub("<th(?=[ >])", '<th style="text-align: left"', body)
    return f"{head}<tbody>{body}"


def left_align_frames() -> None:
    """Show every frame like this from now on, where this is a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.display_formatter.formatters["text/html"].for_type(pd.DataFrame, as_html)
