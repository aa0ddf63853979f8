"""The look of all figures, and those of runs and of speed; figures.py has those of tables, claims
and single images. Each function draws on axes of its own, returns the figure, and says where its
numbers come from. Percentages are percent, losses nats."""

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
from matplotlib.ticker import MaxNLocator

from gdwlib.companion.evidence import auroc
from gdwlib.companion.html_tables import left_align_frames
from gdwlib.methods import NAMES as NAMES
from gdwlib.methods import title
from gdwlib.runs.records import RunRecord

PALETTE = sns.color_palette("colorblind")
# one colour for a method everywhere, one pair for right and wrong, and the rest for what is neither
COLOURS = {"GDW": PALETTE[0], "MWNet": PALETTE[1], "Base": PALETTE[7], "meta set only": PALETTE[4]}
CLEAN, WRONG = PALETTE[2], PALETTE[3]
OTHERS = [PALETTE[9], PALETTE[5], (0.2, 0.2, 0.2), PALETTE[8]]


def _position(name: str) -> tuple[int, str]:
    """Sorts the four methods of the quickstart first, the others by name after them."""
    known = list(COLOURS)
    return (known.index(name) if name in known else len(known), name)


def method_colours(names: Iterable[str]) -> dict[str, Any]:
    """A colour for each method; one that has none of its own everywhere takes what is left."""
    left = [name for name in names if name not in COLOURS]
    return dict(zip(left, itertools.cycle(OTHERS), strict=False)) | COLOURS


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
    order = sorted(table.index, key=_position)
    table.columns.name = None
    return table.loc[order].round(2)


def learning_curves(
    records: Sequence[RunRecord], pointed_out: tuple[str, int] | None = None
) -> Figure:
    """Test accuracy after each epoch: a thin line for each seed, a thick one for their mean.
    `pointed_out`, a method and a seed, gets its name at its line."""
    figure, axes = plt.subplots(figsize=(8.5, 4.2))
    frame = pd.DataFrame(
        {
            "method": title(r.config["method"]),
            "seed": r.config["seed"],
            "epoch": m["epoch"],
            "accuracy": m["test_accuracy"],
        }
        for r in records
        for m in r.metrics
    )
    order = sorted(set(frame["method"]), key=_position)
    common = dict(
        data=frame,
        x="epoch",
        y="accuracy",
        hue="method",
        hue_order=order,
        palette=method_colours(order),
        ax=axes,
    )
    sns.lineplot(**common, units="seed", estimator=None, linewidth=0.9, alpha=0.5, legend=False)
    sns.lineplot(**common, style="method", style_order=order, errorbar=None, linewidth=2.4)
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", xlim=(1, frame["epoch"].max()))
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.legend(title=None, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    if pointed_out is not None:
        method, seed = title(pointed_out[0]), pointed_out[1]
        lines = frame.pivot(index="epoch", columns=["method", "seed"], values="accuracy")
        if (method, seed) in lines:
            # where, in the second half, it is easiest to tell from all others
            late = lines[lines.index > lines.index.max() / 2]
            own = late.pop((method, seed))
            epoch = late.sub(own, axis=0).abs().min(axis=1).idxmax()
            axes.annotate(
                f"{method}, seed {seed}",
                (epoch, own[epoch]),
                xytext=(16, -14),
                textcoords="offset points",
                fontsize=9,
                arrowprops={"arrowstyle": "->", "color": "0.3"},
            )
    return provenance(figure, records, "; thin lines: single seeds")


def target_weight_histograms(records: Sequence[RunRecord]) -> Figure:
    """Figure 3 from our records: ω_t of rightly and wrongly labelled training images in the last
    epoch. A row for each method, a column for each seed; the title gives the AUROC of ω_t as a
    detector of right labels."""
    methods = sorted({r.config["method"] for r in records}, key=lambda m: _position(title(str(m))))
    seeds = sorted({record.config["seed"] for record in records})
    figure, grid = plt.subplots(
        len(methods),
        len(seeds),
        figsize=(9.5, 2.7 * len(methods)),
        sharex="row",
        sharey="row",
        squeeze=False,
    )
    for row, method in zip(grid, methods, strict=True):
        for axes, seed in zip(row, seeds, strict=True):
            (record,) = (
                r for r in records if (r.config["method"], r.config["seed"]) == (method, seed)
            )
            weights = record.examples["target_weights"]
            right = record.examples["given_labels"] == record.examples["true_labels"]
            bins = np.linspace(
                0,
                max(
                    r.examples["target_weights"].max()
                    for r in records
                    if r.config["method"] == method
                ),
                41,
            )
            for chosen, colour, label in (
                (right, CLEAN, "label right"),
                (~right, WRONG, "label wrong"),
            ):
                share = np.full(chosen.sum(), 100 / chosen.sum())
                common = dict(bins=bins, weights=share, color=colour)
                axes.hist(weights[chosen], **common, alpha=0.35, label=label)
                # the outline stays readable where one group covers the other
                axes.hist(weights[chosen], **common, histtype="step", linewidth=1.4)
            axes.set_title(
                f"{title(method)}, seed {seed}: AUROC {100 * auroc(weights, right):.1f}%",
                fontsize=10,
            )
        row[0].set_ylabel("images of the group (%)")
    for axes in grid[-1]:
        axes.set_xlabel("target weight $\\omega_t$")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    return provenance(figure, records, "; last epoch")


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


def by_epoch(records: Sequence[RunRecord], columns: dict[str, str]) -> pd.DataFrame:
    """A row for each run and epoch, for `curves_by`: `epoch`, `seed` and, under names of one's own,
    some of what an epoch leaves in metrics.jsonl. `columns`: its names there → names here."""
    return pd.DataFrame(
        {"epoch": line["epoch"], "seed": record.config["seed"]}
        | {here: line[there] for there, here in columns.items()}
        for record in records
        for line in record.metrics
    )


def curves_by(
    frames: dict[str, pd.DataFrame],
    columns: Sequence[str],
    x: str,
    units: str | None = None,
    log: Sequence[str] = (),
) -> Figure:
    """A panel for each column over `x`, a colour for each frame, a line for each unit (a seed). A
    frame named as a method has the method's colour. `log`: columns on a logarithmic axis."""
    figure, grid = plt.subplots(1, len(columns), figsize=(9.5, 3.4), squeeze=False)
    frame = pd.concat(
        [part.assign(series=name) for name, part in frames.items()], ignore_index=True
    )
    others = itertools.cycle([*OTHERS[1:], OTHERS[0]])  # the first is much like GDW's
    palette = {name: COLOURS[name] if name in COLOURS else next(others) for name in frames}
    for axes, column in zip(grid[0], columns, strict=True):
        sns.lineplot(
            frame,
            x=x,
            y=column,
            hue="series",
            style="series",
            units=units,
            estimator=None,
            palette=palette,
            ax=axes,
            linewidth=1.8,
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        if column in log:
            axes.set_yscale("log")
        handles, labels = axes.get_legend_handles_labels()
        axes.get_legend().remove()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(frames), fontsize=9, frameon=False
    )
    return figure
