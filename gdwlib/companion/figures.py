"""The paper's tables and its Figures 5 and 6, drawn from our records. The look is in plots.py, and
what is drawn of runs in run_figures.py. Accuracies and shares are percent, gains points."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gdwlib.companion import tables
from gdwlib.companion.evidence import Evidence
from gdwlib.companion.paper_tables import PUBLISHED, TABLES
from gdwlib.companion.plots import (
    CLEAN,
    COLOURS,
    OTHERS,
    WRONG,
    provenance,
)
from gdwlib.companion.tables import row_name
from gdwlib.runs.records import RunRecord


def gains(frame: pd.DataFrame, evidence: Evidence) -> Figure:
    """A table (`tables.compare`) at a glance: how much each method gains over Base, the paper's and
    ours, the largest of ours in the last panel first. A panel for each level; ours with the 95%
    interval of the paired difference, where there are several seeds. "meta set only" is a baseline
    that lies far from the rest: where it does not fit, an arrow says its number."""
    table = TABLES[frame.attrs["number"]]
    levels = list(dict.fromkeys(frame["level"]))
    known = frame["paper over Base"].notna() | frame["over Base"].notna()
    shown = frame[known & (frame["method"] != "base")]
    rows = _largest_first(shown, levels[-1])
    figure, grid = plt.subplots(
        1,
        len(levels),
        figsize=(9.5 if len(levels) > 1 else 7.5, 1.1 + 0.36 * len(rows)),
        sharey=True,
        squeeze=False,
    )
    for axes, level in zip(grid[0], levels, strict=True):
        here = shown[shown["level"] == level].set_index(["method", "recipe"])
        far = []
        for place, row in enumerate(rows):
            if row not in here.index:
                continue
            cell = here.loc[row]
            axes.plot(
                cell["paper over Base"], place, "D", markersize=7, mfc="none", mec="0.25", mew=1.4
            )
            gain, colour = cell["over Base"], COLOURS.get(row_name(*row), OTHERS[0])
            if gain is None:
                continue
            half = gain.high - gain.mean if gain.seeds > 1 else 0
            bar = dict(xerr=half, fmt="o", color=colour, markersize=6, capsize=3, lw=1.4)
            if row[0] == "meta_only":
                far.append((place, gain.mean, bar))
            else:
                axes.errorbar(gain.mean, place, **bar)
        axes.axvline(0, color="0.3", linewidth=0.9)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high)  # what follows does not widen it
        for place, mean, bar in far:
            if low <= mean <= high:
                axes.errorbar(mean, place, **bar)
                continue
            end, side = (low, "left") if mean < low else (high, "right")
            arrow = f" ← {mean:+.1f} " if mean < low else f" {mean:+.1f} → "
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
            axes.text(end, place, arrow, ha=side, va="center", fontsize=9, bbox=box)
        axes.set_xlabel("gain over Base (points)")
        if len(levels) > 1:
            axes.set_title(table.label(level), fontsize=11)
    grid[0, 0].set_yticks(range(len(rows)), [row_name(*row) for row in rows])
    grid[0, 0].set_ylim(len(rows) - 0.4, -0.6)
    published = PUBLISHED[frame.attrs["published"]]
    ours = f"ours, {frame.attrs['dataset']} at {frame.attrs['preset']}"
    handles = [
        plt.Line2D([], [], marker="D", ls="", mfc="none", mec="0.25", label=f"paper, {published}"),
        plt.Line2D([], [], marker="o", color="0.45", label=ours),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    bars = "; bars: 95% intervals, paired by seed" if frame["seeds"].max() > 1 else ""
    return provenance(figure, tables.records_of(frame, evidence), bars)


def _largest_first(shown: pd.DataFrame, level: float) -> list[tuple[str, str]]:
    """The methods of `gains`, by our gain at a level; those without one there at the end."""
    there = shown[shown["level"] == level]
    gain = {
        (row.method, row.recipe): row.gain.mean
        for row in there.rename(columns={"over Base": "gain"}).itertuples()
        if row.gain is not None
    }
    rows = dict.fromkeys(zip(shown["method"], shown["recipe"], strict=True))
    return sorted(rows, key=lambda row: -gain.get(row, -np.inf))


def increased_ratios(records: Sequence[RunRecord]) -> Figure:
    """Figure 5 from our records: the share of weights that the meta step increased, epoch by epoch.
    Thin lines are seeds, dotted ones what the paper reports on CIFAR-10 with 40% uniform noise."""
    labels = {
        "clean_nontarget": "non-target, label right",
        "mislabelled_nontarget": "non-target, label wrong",
        "mislabelled_true_target": "true target, label wrong",
    }
    _require_statistics(records, "increased")
    figure, axes = plt.subplots(figsize=(8.5, 4))
    frame = pd.DataFrame(
        {
            "epoch": m["epoch"],
            "seed": r.config["seed"],
            "position": label,
            "percent": m["increased"][key],
        }
        for r in records
        for m in r.metrics
        for key, label in labels.items()
    )
    _seeds_and_mean(axes, frame, "position", "percent", [CLEAN, OTHERS[0], WRONG])
    for level, text in (
        (65, "paper: non-target\nabout 65%"),
        (20, "paper: true target\nbelow 20%"),
    ):
        axes.axhline(level, color="0.35", linestyle=":", linewidth=1.3)
        _note(axes, level, text)
    axes.set(xlabel="epoch", ylabel="weights increased (%)", ylim=(0, 100))
    return provenance(figure, records, "; thin lines: single seeds")


def messages(case: dict[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """The idea in one figure: the messages that one wrong label sends, and how far each is heard.
    `case` is what `gdwlib.single_image_step` returns; a bar is what multiplies class j's part of
    the gradient, p_j - y_j. Under the bars stands how well the two runs' weights tell right labels
    from wrong ones over the whole training set (AUROC of their last ω_t, percent; 50 is chance)."""
    i = int(case["shown"])
    true, given = int(case["true"][i]), int(case["given"][i])
    texts = [("" if j == given else "not ") + name for j, name in enumerate(classes)]
    wrong = [j in (true, given) for j in range(len(classes))]
    columns = {
        "plain training:\nevery message in full": np.ones(len(classes)),
        "one weight (MWNet):\nthe same for every message": case["mwnet_weights"][i],
        "ten weights (GDW):\none for each message": case["class_weights"][i],
    }
    aurocs = (None, case["mwnet_auroc"], case["auroc"])
    figure, (left, *bars) = plt.subplots(
        1, 4, figsize=(9.5, 3.9), width_ratios=(1.1, 1.25, 1.25, 1.25)
    )
    image = case["images"][i]
    left.imshow(image.transpose(1, 2, 0) if len(image) == 3 else image[0], cmap="gray_r")
    left.set_title(f"a {classes[true]},\nlabelled “{classes[given]}”", fontsize=11)
    left.axis("off")
    for axes, (title, weights), auroc in zip(bars, columns.items(), aurocs, strict=True):
        axes.barh(texts, weights, color=[WRONG if bad else CLEAN for bad in wrong], height=0.72)
        for j, weight in enumerate(weights):
            axes.text(
                weight - 0.02,
                j,
                f"{weight:.2f}",
                va="center",
                ha="right",
                color="white",
                fontsize=8,
            )
        axes.set_title(title, fontsize=9.5)
        axes.set(xlim=(0, 1.05), xticks=[])
        below = "" if auroc is None else f"\nAUROC of the run: {float(auroc):.1f}%"
        axes.set_xlabel(f"weight of the message{below}", fontsize=9.5)
        axes.grid(False)
        axes.invert_yaxis()
        if axes is not bars[0]:
            axes.set_yticks([])
    for text, bad in zip(bars[0].get_yticklabels(), wrong, strict=True):
        text.set_color(WRONG if bad else CLEAN)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (CLEAN, WRONG)]
    names = ["right message", "wrong message"]
    figure.legend(handles, names, loc="outside lower left", ncols=2, fontsize=9, frameon=False)
    return figure


def second_smallest(records: Sequence[RunRecord]) -> Figure:
    """Figure 6 from our records: on the smallest class's images, the share of the second smallest
    class's weights that the meta step increased."""
    _require_statistics(records, "increased_second_smallest")
    figure, axes = plt.subplots(figsize=(8.5, 3.8))
    frame = pd.DataFrame(
        {
            "epoch": m["epoch"],
            "seed": r.config["seed"],
            "method": row_name(r.config["method"], r.config["recipe"]),
            "percent": m["increased_second_smallest"],
        }
        for r in records
        for m in r.metrics
    )
    _seeds_and_mean(axes, frame, "method", "percent", [COLOURS["GDW"], COLOURS["MWNet"]])
    axes.axhline(10, color="0.35", linestyle=":", linewidth=1.3)
    _note(axes, 10, "paper: GDW\nbelow 10%")
    axes.set(
        xlabel="epoch",
        ylabel="images of the smallest class on which\nthe second smallest's weight rose (%)",
        ylim=(-3, 103),
    )
    return provenance(figure, records, "; thin lines: single seeds")


def alignment_by_loss(found: dict[str, list[dict]], epochs: Sequence[int]) -> Figure:
    """What the meta step asks of images by their loss (`gdwlib.gradient_alignment`): a row for
    each setting, a column for each epoch. Each point is a fifth of the training images; the
    number below it is how many percent of their labels are wrong."""
    figure, grid = plt.subplots(
        len(found), len(epochs), figsize=(9.5, 0.9 + 2.6 * len(found)), sharey=True, squeeze=False
    )
    lines = (
        ("alignment_right", CLEAN, "label right"),
        ("alignment_wrong", WRONG, "label wrong"),
        ("alignment", "black", "all"),
    )
    for row, (name, rows) in zip(grid, found.items(), strict=True):
        for axes, epoch in zip(row, epochs, strict=True):
            part = pd.DataFrame([line for line in rows if line["epoch"] == epoch]).astype(float)
            for column, colour, label in lines:
                thick = (
                    {"marker": "o", "linewidth": 2.4}
                    if column == "alignment"
                    else {"marker": ".", "linewidth": 1.2}
                )
                axes.plot(part["loss"], part[column], color=colour, label=label, **thick)
            for loss, wrong in part[["loss", "wrong"]].itertuples(index=False):
                axes.text(
                    *(loss, 0.03, f"{wrong:.0f}%"),
                    transform=axes.get_xaxis_transform(),
                    ha="center",
                    fontsize=8,
                )
            axes.axhline(0, color="0.3", linewidth=0.9)
            axes.set_title(f"{name}, epoch {epoch}", fontsize=10)
            axes.margins(x=0.08, y=0.15)
        row[0].set_ylabel("alignment (nats)")
    for axes in grid[-1]:
        axes.set_xlabel("loss (nats)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    labels[-1] = "all; along the bottom, how many of the labels are wrong"
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    return figure


def _require_statistics(records: Sequence[RunRecord], name: str) -> None:
    if not records or any(line[name] is None for record in records for line in record.metrics):
        raise ValueError(f"records: need runs of gdw or mwnet whose epochs have {name!r}")


def _seeds_and_mean(axes: Axes, frame: pd.DataFrame, hue: str, y: str, palette: Sequence) -> None:
    """A thin line for each seed, a thick one for their mean; a colour and a dash pattern for each
    value of `hue`."""
    order = list(dict.fromkeys(frame[hue]))
    common = dict(
        data=frame,
        x="epoch",
        y=y,
        hue=hue,
        hue_order=order,
        palette=list(palette)[: len(order)],
        ax=axes,
    )
    sns.lineplot(**common, units="seed", estimator=None, linewidth=0.8, alpha=0.45, legend=False)
    sns.lineplot(**common, style=hue, style_order=order, errorbar=None, linewidth=2.4)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.legend(title=None, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _note(axes: Axes, level: float, text: str) -> None:
    """A word on a horizontal line, beyond its right end."""
    place: Any = dict(xycoords=("axes fraction", "data"), textcoords="offset points", va="center")
    axes.annotate(text, (1, level), xytext=(6, 0), fontsize=9, color="0.25", **place)
