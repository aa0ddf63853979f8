"""suspects and predict: what a finished run is good for."""

import argparse
import sys
from pathlib import Path

import numpy as np

from gdwlib.data.own.spelling import as_csv
from gdwlib.runs.config import RunConfig
from gdwlib.runs.records import RunRecord, open_record, write_file

SHOWN = 10  # suspects printed
SHEET = 48  # suspects on the contact sheet


def suspects(args: argparse.Namespace) -> None:
    from gdwlib.runs.label_errors import suspects as ranked

    record = open_record(args.run, args.folders.outputs)
    found = ranked(record, args.folders.data)
    to = args.to or record.path / "suspects.csv"
    table = as_csv(found[0]._fields, found)
    if to.exists() and to.read_bytes() != table:
        raise ValueError(f"{to}: is there and says something else (corrected by hand?); name another file with --to")
    write_file(to, table)
    width = max(len(row.id) for row in found[:SHOWN])
    for row in found[:SHOWN]:
        print(f"{row.score:.3f}  {row.id:{width}}  {row.label} -> {row.proposed_label}")
    doubtful = sum(row.score > 0.5 for row in found)
    print(f"{doubtful} of {len(found)} labels are more probably wrong than right\n{to}")
    sheet = _contact_sheet(record, found[:SHEET], args.folders.data)
    if sheet is not None:
        write_file(to.with_suffix(".png"), sheet)
        print(to.with_suffix(".png"))


def _contact_sheet(record: RunRecord, worst: list, data: Path) -> bytes | None:
    """The worst as a picture; None for a table, and where there is no matplotlib."""
    config = RunConfig.of_record(record.config)
    if config.is_table:
        return None
    try:
        from gdwlib.companion import figures
    except ModuleNotFoundError as error:
        print(f"no contact sheet: {error.name} is needed; pip install 'gdwlib[notebooks]'", file=sys.stderr)
        return None
    return figures.as_png(figures.contact_sheet(config, worst, data))


def predict(args: argparse.Namespace) -> None:
    from gdwlib.runs.prediction import predict as labelled

    path = Path(args.run)
    holds_model = (path / "model.json").is_file()
    folder = path if holds_model else open_record(args.run, args.folders.outputs).path
    found, remarks = labelled(folder, args.source, skip_bad=args.skip_bad)
    for remark in remarks:
        print(remark, file=sys.stderr)
    to = args.to or folder / f"predictions-{args.source.resolve().stem}.csv"
    write_file(to, as_csv(found[0]._fields, found))
    names, counts = np.unique([row.label for row in found], return_counts=True)
    print(", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True)))
    print(to)
