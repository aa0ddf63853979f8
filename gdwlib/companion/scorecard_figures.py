"""The scorecard for a notebook: its verdicts in their colours, as a table and as intervals."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gdwlib.companion.html_tables import Table
from gdwlib.companion.plots import PALETTE
from gdwlib.companion.verdicts import CONTRADICTED, REPRODUCED, UNDECIDED

VERDICTS = {REPRODUCED: PALETTE[2], CONTRADICTED: PALETTE[3], UNDECIDED: PALETTE[7]}


def verdict_table(card: pd.DataFrame, folded: str = "") -> Table:
    """A scorecard (`scorecard.scorecard`) for a notebook, its verdicts in their colours; with
    `folded` folded away under this line."""
    colours = {verdict: to_hex(colour) for verdict, colour in VERDICTS.items()}
    return Table(card, folded, colours | {UNDECIDED: "#666666"})


def verdict_intervals(found: pd.DataFrame, xlabel: str) -> Figure:
    """The findings of a scorecard that are differences in accuracy (`scorecard.differences`), each
    with its interval, by its own verdict; the claim says which side of zero it is on. In front of
    each stands the claim's number."""
    texts = [
        textwrap.fill(f"{row.claim}. {row.quantity}", 62) for row in found.itertuples(index=False)
    ]
    lines = sum(text.count("\n") + 1 for text in texts)
    figure, axes = plt.subplots(figsize=(9.5, 1.2 + 0.25 * max(lines, 2)))
    for verdict, colour in VERDICTS.items():
        part = found[found["verdict"] == verdict]
        half = part["high"] - part["mean"]
        axes.errorbar(
            part["mean"],
            part.index,
            xerr=half.where(np.isfinite(half), 0),
            fmt="o",
            color=colour,
            capsize=3,
            label=verdict,
        )
    axes.axvline(0, color="0.3", linewidth=0.9)
    axes.set_yticks(found.index, texts, fontsize=8.5)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlabel(xlabel)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    return figure
