"""suspects: which training labels are probably wrong, by a finished run."""

import argparse
import sys
from pathlib import Path
from typing import Any

from gdwlib.cli.flags import at_least
from gdwlib.cli.pictures import write_picture
from gdwlib.data.own.spelling import as_csv
from gdwlib.runs.config import RunConfig
from gdwlib.runs.files import write_file
from gdwlib.runs.label_errors import suspects
from gdwlib.runs.run_folder import open_record

HELP = "which training labels are probably wrong, by a finished run"
SHOWN = 10  # suspects printed
SHEET = 48  # suspects on the contact sheet, unless told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder or id")
    parser.add_argument(
        "--to", type=Path, metavar="FILE.csv", help="(default: suspects.csv in the run's folder)"
    )
    parser.add_argument(
        "--sheet",
        type=int,
        default=SHEET,
        metavar="N",
        help=f"images on the contact sheet; 0: none (default: {SHEET})",
    )
    parser.add_argument(
        "--by-folds",
        action="store_true",
        help="by five networks trained anew, each asked about examples that it has not seen",
    )


def main(args: argparse.Namespace) -> None:
    at_least(args, 0, "sheet")
    record = open_record(args.run, args.folders.outputs)
    found = suspects(record, args.folders.data, by_folds=args.by_folds)
    to = args.to or record.path / "suspects.csv"
    table = as_csv(found[0]._fields, found)
    if to.is_dir():
        raise ValueError(f"--to: {to} is a folder; name a file in it")
    if to.exists() and to.read_bytes() != table:
        raise ValueError(
            f"{to}: is there and says something else (corrected by hand?); name another file with "
            "--to"
        )
    write_file(to, table)
    width = max(len(row.id) for row in found[:SHOWN])
    for row in found[:SHOWN]:
        print(f"{row.score:.3f}  {row.id:{width}}  {row.label} -> {row.proposed_label}")
    doubtful = sum(row.score > 0.5 for row in found)
    print(f"{doubtful} of {len(found)} labels are more probably wrong than right\n{to}")
    if doubtful < len(found) / 200:
        print(
            "hardly any label is doubted: either nearly all are right, or the network has learned "
            "them by heart, the wrong ones too, and this list says nothing; a column that gives "
            "the label away does that, and a long training without augmentation; --by-folds asks "
            "networks that have not seen the label",
            file=sys.stderr,
        )
    worst, config = found[: args.sheet], RunConfig.of_record(record.config)
    if worst and not config.is_table:

        def contact_sheet() -> Any:
            from gdwlib.companion import suspect_figures

            return suspect_figures.contact_sheet(config, worst, args.folders.data)

        write_picture(to.with_suffix(".png"), "contact sheet", contact_sheet)
