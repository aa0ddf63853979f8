"""Figures of suspected labels: the sheet of images for `python -m gdwlib suspects`, and how good
such lists are."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from gdwlib.companion.plots import COLOURS, OTHERS, gallery, set_provenance, style
from gdwlib.data.image_files import open_image
from gdwlib.runs.config import RunConfig
from gdwlib.runs.label_errors import Suspect
from gdwlib.runs.training import load_split


def contact_sheet(
    config: RunConfig,
    worst: Sequence[Suspect],
    data: Path | str | None = None,
    true: Sequence[str] | None = None,
) -> Figure:
    """The most suspect images of a run's training set: the file's name, the label given, the score
    and the label proposed; where the `true` labels are known, also these, and frames in their
    colours."""
    style()
    if config.data_folder is not None:
        images = [_thumbnail(Path(config.data_folder, row.id)) for row in worst]
    else:
        split = load_split(config, data)
        at = {str(id_): k for k, id_ in enumerate(split.train.ids)}
        images = [np.asarray(split.train.images)[at[row.id]] for row in worst]
    captions = [
        f"{_short(Path(row.id).name)}\n{_short(row.label)}\n{row.score:.2f}"
        + f" → {_short(row.proposed_label)}" * (row.proposed_label != row.label)
        for row in worst
    ]
    if true is not None:
        captions = [f"{text}\nis {name}" for text, name in zip(captions, true, strict=True)]
    figure = gallery(
        images,
        captions,
        [None] * len(worst)
        if true is None
        else [row.label == name for row, name in zip(worst, true, strict=True)],
        grey="gray_r" if config.dataset.startswith("fashion") else "gray",
    )
    figure.supxlabel(
        f"{config.run_id}: file; label given; how probably it is wrong → the label proposed",
        fontsize=8,
        color="0.35",
        x=0.01,
        ha="left",
    )
    return set_provenance(figure, [config.run_id])


def _thumbnail(path: Path) -> np.ndarray:
    image = open_image(path, at_least=120)
    image.thumbnail((120, 120))
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _short(label: str) -> str:
    return label if len(label) <= 16 else f"{label[:15]}…"


def detectors(rows: pd.DataFrame) -> Figure:
    """How well wrong labels are found (benchmarks/detectors.py): a panel for each measure, a
    colour for each detector, a dot for each seed."""
    measures = {"auroc": "AUROC (%)", "precision": "precision at the true noise rate (%)"}
    figure, grid = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    for axes, (name, head) in zip(grid, measures.items(), strict=True):
        sns.stripplot(
            rows.assign(**{name: 100 * rows[name]}),
            x=name,
            y="setting",
            hue="detector",
            dodge=True,
            jitter=False,
            size=7,
            alpha=0.8,
            palette=[COLOURS["GDW"], COLOURS["Base"], *OTHERS[:2]],
            ax=axes,
            legend=axes is grid[0],
        )
        axes.set(xlabel=head, ylabel=None)
        for edge in range(1, rows["setting"].nunique()):
            axes.axhline(edge - 0.5, color="0.85", linewidth=0.8)
    handles, names = grid[0].get_legend_handles_labels()
    grid[0].get_legend().remove()
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.supxlabel(
        "small preset; each dot is a seed; python benchmarks/detectors.py",
        fontsize=8,
        color="0.35",
        x=0.01,
        ha="left",
    )
    return set_provenance(figure, ["figures/detectors.json"])
