"""Figures of what a step costs, from `python -m gdwlib bench`."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gdwlib.companion.plots import COLOURS, OTHERS, PALETTE
from gdwlib.companion.tables import NAMES


def step_costs(rows: Sequence[dict]) -> Figure:
    """Time of each step over plain SGD's, the quickest first, with the quartiles of the rounds and
    diamonds where the counted operations alone would put it; and its peak memory. Rows as
    `bench.measure_steps` gives them."""
    rows = sorted(rows, key=lambda row: row["time_ratio"])
    names = [_name(row["step"]) for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 0.33 * len(rows) + 1.2), sharey=True)
    colours = [COLOURS.get(name.split(",")[0], OTHERS[0]) for name in names]
    times = [row["time_ratio"] for row in rows]
    low, high = zip(*(row["time_ratio_quartiles"] for row in rows), strict=True)
    spread = [
        [max(0, t - q) for t, q in zip(times, low, strict=True)],
        [max(0, q - t) for t, q in zip(times, high, strict=True)],
    ]
    left.barh(names, times, xerr=spread, color=colours, error_kw={"linewidth": 1, "ecolor": "0.2"})
    left.plot(
        [row["operations_ratio"] for row in rows],
        names,
        "D",
        color="black",
        markersize=4,
        label="counted operations",
    )
    right.barh(names, [row["peak_mib"] for row in rows], color=colours)
    left.invert_yaxis()
    left.set_xlabel("time, in plain SGD steps (thin lines: quartiles)")
    right.set_xlabel("peak memory (MiB)")
    left.axvline(1, color="0.3", linewidth=0.8)
    figure.legend(loc="outside upper left", fontsize=9, frameon=False)
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    return figure


def _name(step: str) -> str:
    return NAMES.get(step, step.replace("gdw", "GDW"))


def step_parts(rows: Sequence[dict]) -> Figure:
    """Seconds of a step by part, a bar for each method, the shortest first. Rows as
    `bench.measure_parts` gives them."""
    table = pd.DataFrame(rows).pivot(index="step", columns="part", values="seconds")
    table = table[list(dict.fromkeys(row["part"] for row in rows))]  # in the order of a step
    table.columns = table.columns.str.replace(
        ", for the virtual step or the last", " (virtual and real step)"
    )
    table = table.loc[table.sum(axis=1).sort_values(kind="stable").index].rename(index=NAMES)
    figure, axes = plt.subplots(figsize=(9.5, 0.33 * len(table) + 1.5))
    start = np.zeros(len(table))
    for part, colour in zip(table.columns, [*OTHERS, PALETTE[7]], strict=False):
        axes.barh(table.index, table[part], left=start, color=colour, label=part)
        start = start + table[part].to_numpy()
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds for one step")
    figure.legend(loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    return figure


def cost_growth(rows: Sequence[dict]) -> Figure:
    """GDW's and MWNet's time over plain SGD's, against classes, batch size and depth: lines, with
    the quartiles of the rounds; dotted: counted operations. Rows as `bench.measure_growth` gives
    them."""
    usual = {"num_classes": 10, "batch_size": 100, "depth": 32}
    labels = {"num_classes": "classes", "batch_size": "images a batch", "depth": "layers"}
    figure, grid = plt.subplots(1, 3, figsize=(9.5, 3.2), sharey=True)
    looks: dict[str, dict] = {  # MWNet's line stays visible below GDW's
        "mwnet": {"linewidth": 5, "markersize": 10, "alpha": 0.5},
        "gdw": {"linewidth": 1.6, "markersize": 5},
    }
    for axes, (key, label) in zip(grid, labels.items(), strict=True):
        for step, look in looks.items():
            others = usual.items() - {(key, usual[key])}
            chosen = sorted(
                (r for r in rows if r["step"] == step and all(r[k] == v for k, v in others)),
                key=lambda r: r[key],
            )
            xs, colour = [row[key] for row in chosen], COLOURS[NAMES[step]]
            times = [row["time_ratio"] for row in chosen]
            axes.plot(xs, times, "o-", color=colour, label=NAMES[step], **look)
            quartiles = np.array([row["time_ratio_quartiles"] for row in chosen]).T
            axes.fill_between(xs, *quartiles, color=colour, alpha=0.2)
            operations = [row["operations_ratio"] for row in chosen]
            name = "operations" if step == "gdw" else None
            axes.plot(xs, operations, ":", color="black", label=name)
        axes.set(xlabel=label, xscale="log")
        axes.set_xticks(xs, [str(x) for x in xs])
        axes.minorticks_off()
    grid[0].set(
        ylabel="time, in plain SGD steps", ylim=(0, 1.15 * max(row["time_ratio"] for row in rows))
    )
    grid[0].legend(fontsize=9, loc="lower left")
    return figure
