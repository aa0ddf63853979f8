"""Tables as pages by themselves, for a browser or a sweep's report."""

import io
from collections.abc import Iterable
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from gdwlib.companion import figures, plots
from gdwlib.companion.evidence import Evidence, final_accuracy
from gdwlib.companion.tables import headed, readable
from gdwlib.runs.config import RunConfig
from gdwlib.runs.files import write_file

# in a run's name
NAMED = ("dataset", "method", "recipe", "noise", "noise_ratio", "label_set", "imbalance", "preset")
STYLE = (
    "body{font:15px "
    "sans-serif;margin:2em;max-width:75em}h1{font-size:1.2em}table{border-collapse:collapse}td,th{p"
    "adding:.25em .7em;text-align:right;border-bottom:1px solid "
    "#ddd;white-space:nowrap;font-weight:normal}thead th{font-weight:bold}tbody "
    "th{text-align:left;vertical-align:top}"
)


def save_table(frame: pd.DataFrame, evidence: Evidence, outputs: Path) -> tuple[Path, Path]:
    """outputs/tables/table2-DATASET-PRESET.html and, of its gains over Base, outputs/figures/….png.
    → the paths."""
    plots.style()
    dataset, preset = frame.attrs["dataset"], frame.attrs["preset"]
    name = f"table{frame.attrs['number']}-{dataset}-{preset}"
    head, note = headed(frame)
    page = save(readable(frame), head, outputs / "tables" / f"{name}.html", note)
    figure = outputs / "figures" / f"{name}.png"
    drawn = io.BytesIO()
    figures.gains(frame, evidence).savefig(drawn, format="png")
    write_file(figure, drawn.getvalue())
    return page, figure


def of_list(runs: Iterable[RunConfig], evidence: Evidence) -> pd.DataFrame:
    """A row for each setting, from the records there are: final accuracy (percent) of the list's
    seeds, and a run's seconds. Under `fields` those in which settings of one name differ."""
    seeds: dict[RunConfig, set[int]] = {}
    for config in runs:
        seeds.setdefault(replace(config, seed=0), set()).add(config.seed)
    fields = dict.fromkeys(name for config in seeds for name in vars(config) if name not in NAMED)
    names = [
        name for name in fields if len({str(vars(c)[name]) for c in seeds if name in vars(c)}) > 1
    ]
    rows = {}
    for config in seeds:
        found = {
            seed: record for seed, record in evidence.runs(config).items() if seed in seeds[config]
        }
        finals = pd.Series([final_accuracy(record) for record in found.values()], dtype=float)
        rows[
            config.run_id.rsplit("-s0-", 1)[0],
            ", ".join(f"{name}={vars(config)[name]}" for name in names if name in vars(config)),
        ] = {
            "seeds": len(finals),
            "mean (%)": finals.mean(),
            "std": finals.std(),
            "best epoch": pd.Series(
                [record.result["best_accuracy"] for record in found.values()], dtype=float
            ).mean(),
            "seconds a run": np.mean([record.result["seconds"] for record in found.values()])
            if found
            else np.nan,
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").round(2)
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["run", "fields"])
    return frame


def save(frame: pd.DataFrame, head: str, path: Path, note: str = "") -> Path:
    """A table as a page by itself."""
    text = f"<!doctype html><meta charset=utf-8><title>{escape(head)}</title><style>{STYLE}</style>"
    text += f"<h1>{escape(head)}</h1><p>{escape(note)}</p>{frame.to_html(na_rep='–', border=0)}"
    write_file(path, text.encode())
    return path
