"""predict: label new images or rows by a finished run."""

import argparse
import sys
from pathlib import Path

import numpy as np

from gdwlib.data.own.spelling import as_csv
from gdwlib.runs.files import write_file
from gdwlib.runs.prediction import predict
from gdwlib.runs.run_folder import open_record

HELP = "label new images or rows by a finished run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        metavar="RUN",
        help="a run's folder or id, or a folder with its model.pt and model.json",
    )
    parser.add_argument(
        "source", type=Path, metavar="FOLDER", help="of images; for a table, a CSV file"
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE.csv",
        help="(default: predictions-NAME.csv in the run's folder)",
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out what cannot be read instead of stopping"
    )


def main(args: argparse.Namespace) -> None:
    path = Path(args.run)
    holds_model = (path / "model.json").is_file()
    folder = path if holds_model else open_record(args.run, args.folders.outputs).path
    found, remarks = predict(folder, args.source, skip_bad=args.skip_bad)
    for remark in remarks:
        print(remark, file=sys.stderr)
    to = args.to or folder / f"predictions-{args.source.resolve().stem}.csv"
    write_file(to, as_csv(found[0]._fields, found))
    names, counts = np.unique([row.label for row in found], return_counts=True)
    print(", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True)))
    print(to)
