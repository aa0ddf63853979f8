"""table: one of the paper's tables, ours beside it; or the runs of a list."""

import argparse
from pathlib import Path

from gdwlib.data import DATASETS
from gdwlib.runs.config import PRESETS
from gdwlib.sweeps.run_lists import read_runs

HELP = "one of the paper's tables, ours beside it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "table", metavar="N", help="2 to 5; or FILE.jsonl: the runs of a list, as a sweep writes it"
    )
    parser.add_argument(
        "--dataset", choices=DATASETS, metavar="NAME", help="one data set (default: both CIFARs)"
    )
    parser.add_argument(
        "--preset", choices=PRESETS, metavar="NAME", help="(default: the largest that has records)"
    )
    parser.add_argument(
        "--save",
        action="store_true",
        help="also as HTML and its gains as a figure, in outputs/tables and outputs/figures",
    )


def main(args: argparse.Namespace) -> None:
    try:
        from gdwlib.companion import paper_tables, tables
        from gdwlib.companion.evidence import Evidence
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is needed for tables; pip install 'gdwlib[notebooks]'"
        ) from error
    listed = Path(args.table) if args.table.endswith(".jsonl") else None
    if listed is None and args.table not in ("2", "3", "4", "5"):
        raise ValueError(
            f"N: must be 2 to 5, or a list of runs in a .jsonl file, not {args.table!r}"
        )
    if args.table == "5":
        print(
            "Table 5. Test accuracy (%) on Clothing1M, as the paper prints it; there are no "
            "records of ours"
        )
        print(
            paper_tables.paper_numbers()
            .query("table == 5")
            .set_index("method")["mean"]
            .rename(tables.NAMES)
            .to_string()
        )
        return
    if args.outputs is not None and not args.outputs.is_dir():
        raise ValueError(f"--outputs {args.outputs}: no such folder")
    outputs = args.folders.outputs
    evidence = Evidence(outputs)
    if listed is not None:
        from gdwlib.companion import pages  # and what draws, which takes seconds to import

        frame = pages.of_list(read_runs(listed), evidence)
        print(frame.to_string())
        if args.save:
            print(
                pages.save(
                    frame,
                    f"The runs of {listed.name}",
                    outputs / "sweeps" / f"{listed.stem}-runs.html",
                )
            )
        return
    if args.dataset and not paper_tables.can_have(args.dataset):
        raise ValueError(
            f"--dataset {args.dataset}: no noise is drawn there, so that the paper's tables have "
            "no place for it; table FILE.jsonl shows the runs of a list"
        )
    for name in (args.dataset,) if args.dataset else paper_tables.PUBLISHED:
        frame = tables.largest(paper_tables.TABLES[int(args.table)], evidence, name, args.preset)
        print(tables.as_text(frame))
        if args.save:
            from gdwlib.companion import pages

            print("\n".join(str(path) for path in pages.save_table(frame, evidence, outputs)))
    there = evidence.datasets() - {*paper_tables.PUBLISHED, args.dataset}
    others = [
        name
        for name in DATASETS
        if name in there
        and paper_tables.can_have(name)
        and tables.largest(paper_tables.TABLES[int(args.table)], evidence, name)["seeds"].any()
    ]
    if others:
        print(f"Records of this table on other data: --dataset {' or '.join(others)}")
