"""Figures of runs: their curves over the epochs, and their last weights. Accuracies are percent,
losses nats."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gdwlib.companion.evidence import auroc
from gdwlib.companion.plots import (
    CLEAN,
    WRONG,
    method_colours,
    position,
    provenance,
)
from gdwlib.companion.quantities import separation_by_epoch
from gdwlib.companion.tables import row_name
from gdwlib.methods import title
from gdwlib.runs.records import RunRecord


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
    order = sorted(set(frame["method"]), key=position)
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
    methods = sorted({r.config["method"] for r in records}, key=lambda m: position(title(str(m))))
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


def trainings(columns: Mapping[str, list[RunRecord]]) -> Figure:
    """Runs epoch by epoch, a column for each setting: test accuracy, the best epoch marked; below
    it, where labels are known to be wrong, how well ω_t tells them (AUROC, percent; 50 is chance).
    A line is a seed."""
    records = sum(columns.values(), [])
    separated = {record.path: separation_by_epoch(record) for record in records}
    rows = {"accuracy": "test accuracy (%)"}
    if any(separated.values()):
        rows["separation"] = "AUROC of $\\omega_t$ (%)"
    figure, grid = plt.subplots(
        *(len(rows), len(columns)),
        figsize=(9.5, 0.5 + 3 * len(rows)),
        sharex="col",
        sharey="row",
        squeeze=False,
    )
    names = {r.path: row_name(r.config["method"], r.config["recipe"]) for r in records}
    shown = list(dict.fromkeys(names.values()))
    colours = method_colours(shown)
    for column, (setting, runs) in zip(grid.T, columns.items(), strict=True):
        column[0].set_title(setting, fontsize=10)
        column[-1].set_xlabel("epoch")
        for record in runs:
            colour = colours[names[record.path]]
            epochs = [line["epoch"] for line in record.metrics]
            accuracy = [line["test_accuracy"] for line in record.metrics]
            best = int(np.argmax(accuracy))
            column[0].plot(epochs, accuracy, color=colour, linewidth=1.2)
            column[0].plot(epochs[best], accuracy[best], "o", color=colour, mec="white", zorder=3)
            if found := separated[record.path]:
                column[1].plot(epochs, found, color=colour, linewidth=1.2)
    for axes, label in zip(grid[:, 0], rows.values(), strict=True):
        axes.set_ylabel(label)
    for axes in grid[1:].flat:
        axes.axhline(50, color="0.35", linestyle=":", linewidth=1.3)
    handles = [plt.Line2D([], [], color=colours[name], label=name) for name in shown]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(shown), fontsize=9, frameon=False
    )
    return provenance(figure, records, "; a line is a seed, a dot its best epoch")


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
    for axes, column in zip(grid[0], columns, strict=True):
        sns.lineplot(
            frame,
            x=x,
            y=column,
            hue="series",
            style="series",
            units=units,
            estimator=None,
            palette=method_colours(frames),
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
