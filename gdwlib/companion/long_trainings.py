"""The records of trainings as long as the paper's, at its size (the preset `paper`) and at half the
side of its images (`half`)."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from gdwlib.companion import run_figures, tables
from gdwlib.companion.evidence import Evidence
from gdwlib.companion.html_tables import Sentence
from gdwlib.companion.paper_tables import PUBLISHED, TABLES

PIXELS = {"paper": "32×32", "half": "16×16"}  # an image of CIFAR, by preset


def frames(number: int, evidence: Evidence) -> Iterator[pd.DataFrame]:
    """`tables.compare`'s frames of the records there are for Table `number`, those at half the side
    last."""
    for preset in PIXELS:
        for dataset in PUBLISHED:
            frame = tables.compare(number, evidence, dataset, preset)
            if frame["seeds"].any():
                yield frame[frame["seeds"] > 0]


def table(number: int, evidence: Evidence) -> pd.DataFrame | str:
    """`tables.readable` rows of these records, ours beside the paper's; where there are none, a
    sentence that says how to make them."""
    there = {
        (PIXELS[frame.attrs["preset"]], frame.attrs["dataset"]): tables.readable(frame)
        for frame in frames(number, evidence)
    }
    command = f"python -m gdwlib sweep table{number} --preset paper"
    return (
        pd.concat(there, names=["pixels", "data set"]).fillna("–")
        if there
        else Sentence(
            f"At the paper's length there are no records yet; this command makes them: {command} "
            "(with --preset half, a quarter of the pixels, a CPU takes hours for a run)"
        )
    )


def curves(number: int, evidence: Evidence) -> Figure | None:
    """`run_figures.trainings` of these records, a column for each setting; None where there are
    none."""
    columns = {
        f"{PUBLISHED[frame.attrs['dataset']]}, {PIXELS[frame.attrs['preset']]} pixels, "
        f"{TABLES[number].label(level)}": tables.records_of(part, evidence)
        for frame in frames(number, evidence)
        for level, part in frame.groupby("level")
    }
    return run_figures.trainings(columns) if columns else None
