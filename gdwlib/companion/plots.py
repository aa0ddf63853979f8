"""The look of all figures, and those of images, classes and matrices; run_figures.py has those of
runs, figures.py those of tables. Each function draws on axes of its own, returns the figure, and
says where its numbers come from. Percentages are percent, losses nats."""

import itertools
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from gdwlib.companion.html_tables import left_align_frames
from gdwlib.methods import NAMES as NAMES
from gdwlib.methods import title
from gdwlib.runs.records import RunRecord

PALETTE = sns.color_palette("colorblind")
# one colour for a method everywhere, one pair for right and wrong, and the rest for what is neither
COLOURS = {"GDW": PALETTE[0], "MWNet": PALETTE[1], "Base": PALETTE[7], "meta set only": PALETTE[4]}
CLEAN, WRONG = PALETTE[2], PALETTE[3]
OTHERS = [PALETTE[9], PALETTE[5], (0.2, 0.2, 0.2), PALETTE[8]]


def position(name: str) -> tuple[int, str]:
    """Sorts the four methods of the quickstart first, the others by name after them."""
    known = list(COLOURS)
    return (known.index(name) if name in known else len(known), name)


def method_colours(names: Iterable[str]) -> dict[str, Any]:
    """A colour for each method; one that has none of its own everywhere takes what is left."""
    left = [name for name in names if name not in COLOURS]
    others = itertools.cycle([*OTHERS[1:], OTHERS[0]])  # the first is much like GDW's
    return dict(zip(left, others, strict=False)) | COLOURS


def style() -> None:
    """The look all notebooks share, of figures and of tables: readable at notebook width,
    colour-blind-safe, small files."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.95)
    plt.rcParams.update(
        {"figure.dpi": 100, "savefig.bbox": "tight", "figure.constrained_layout.use": True}
    )
    pd.set_option(
        "display.max_colwidth", None, "display.max_rows", None, "display.max_columns", None
    )
    left_align_frames()


def provenance(figure: Figure, records: Sequence[RunRecord], extra: str = "") -> Figure:
    """A line under the figure: which runs, what code. Its files name them one by one."""
    seeds = sorted({record.config["seed"] for record in records})
    versions = sorted(
        {f"gdwlib {r.environment['gdwlib']}, torch {r.environment['torch']}" for r in records}
    )
    presets = sorted({f"{r.config['dataset']} {r.config['preset']}" for r in records})
    named = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    text = f"{', '.join(presets)}; {named}; {'; '.join(versions)}{extra}"
    figure.supxlabel(text, fontsize=8, color="0.35", x=0.01, ha="left")
    return set_provenance(figure, [record.path.name for record in records])


def set_provenance(figure: Figure, sources: Iterable[str]) -> Figure:
    """Name the runs, or the files in outputs/, that a figure shows, among the keywords of the files
    it is saved to."""
    keywords, plain = {"Keywords": " ".join(sources)}, figure.canvas.print_figure

    def print_figure(filename: Any, *args: Any, format: str | None = None, **how: Any) -> Any:
        suffix = (
            Path(filename).suffix.removeprefix(".") if isinstance(filename, str | PathLike) else ""
        )
        kind = format or suffix or plt.rcParams["savefig.format"]
        if kind.lower() in ("png", "pdf", "svg"):  # others have no such field
            how["metadata"] = keywords | (how.get("metadata") or {})
        return plain(filename, *args, **how | {"format": format})

    figure.canvas.print_figure = print_figure  # type: ignore[method-assign]
    return figure


def accuracy_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """A row for each method: each seed's final accuracy (mean of the last five epochs, percent),
    their mean and their standard deviation over seeds; the best epoch's mean beside it, for
    information."""
    rows = pd.DataFrame(
        {
            "method": title(record.config["method"]),
            "seed": record.config["seed"],
            "final": record.result["final_accuracy"],
            "best": record.result["best_accuracy"],
        }
        for record in records
    )
    table = rows.pivot(index="method", columns="seed", values="final").add_prefix("seed ")
    table["mean"] = rows.groupby("method")["final"].mean()
    table["std"] = rows.groupby("method")["final"].std()
    table["best epoch (mean)"] = rows.groupby("method")["best"].mean()
    order = sorted(table.index, key=position)
    table.columns.name = None
    return table.loc[order].round(2)


def gallery(
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    right: Sequence[bool | None],
    columns: int = 8,
    grey: str = "gray_r",
) -> Figure:
    """Images with captions, framed by whether the label is right, where that is known. images: N of
    (channels, H, W) uint8; `grey` is the colour map of those of one channel."""
    rows = -(-len(images) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(9.5, 1.62 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, caption, fine in zip(grid.flat, images, captions, right, strict=False):
        axes.axis("on")
        axes.imshow(
            image[0] if len(image) == 1 else image.transpose(1, 2, 0),
            cmap=grey if len(image) == 1 else None,
        )
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        colour = "0.4" if fine is None else CLEAN if fine else WRONG
        axes.set_title(caption, fontsize=8, color=colour)
        for side in axes.spines.values():
            side.set(visible=True, color=colour, linewidth=2)
    return figure


def noise_matrix(given: np.ndarray, true: np.ndarray, classes: Sequence[str]) -> Figure:
    """How often each class is labelled as each other: a row for each true class, in percent of its
    images. given, true: (N,)."""
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (true, given), 1)
    return _matrix(counts, classes, "label given")


def confusion_matrix(classes: Sequence[str], counts: np.ndarray) -> Figure:
    """What the network takes the test examples of each class for, in percent of the class; counts
    (C, C), a row for each true class."""
    return _matrix(counts, classes, "class by the network")


def _matrix(counts: np.ndarray, classes: Sequence[str], xlabel: str) -> Figure:
    shares = pd.DataFrame(100 * counts / np.maximum(counts.sum(1, keepdims=True), 1))
    few = len(classes) <= 20
    shares.columns = shares.index = pd.Index(classes)
    figure, axes = plt.subplots(figsize=(8.5, 6.2))
    sns.heatmap(
        shares,
        ax=axes,
        cmap="cividis",
        vmin=0,
        vmax=100,
        annot=few,
        fmt=".0f",
        annot_kws={"fontsize": 9},
        square=True,
        xticklabels=few,
        yticklabels=few,
        cbar_kws={"label": "examples of the true class (%)"},
    )
    axes.set(xlabel=xlabel, ylabel="true class")
    axes.tick_params(axis="x", labelrotation=45)
    axes.tick_params(axis="y", labelrotation=0)
    return figure


def class_bars(
    values: dict[str, np.ndarray], classes: Sequence[str], marked: dict[int, str], ylabel: str
) -> Figure:
    """A group of bars for each class, a colour for each series; `marked` classes get a note under
    their name."""
    figure, axes = plt.subplots(figsize=(9.5, 3.6))
    names = [f"{name}\n({marked[j]})" if j in marked else name for j, name in enumerate(classes)]
    frame = pd.DataFrame(values | {"class": names}).melt(
        "class", var_name="series", value_name="value"
    )
    palette = dict(zip(values, OTHERS, strict=False)) | COLOURS
    sns.barplot(frame, x="class", y="value", hue="series", ax=axes, palette=palette)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.set(xlabel=None, ylabel=ylabel)
    axes.tick_params(axis="x", labelsize=9)
    axes.legend(
        title=None,
        fontsize=9,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(values),
        frameon=False,
    )
    return figure
