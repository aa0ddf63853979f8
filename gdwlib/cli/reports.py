"""table, compare, bench and data."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from gdwlib.cli.runs import at_least
from gdwlib.data import DATASETS, OwnData
from gdwlib.methods import METHODS
from gdwlib.runs.config import RunConfig
from gdwlib.sweeps.campaigns import from_file


def table(args: argparse.Namespace) -> None:
    try:
        from gdwlib.companion import pages, tables
        from gdwlib.companion.evidence import Evidence
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is needed for tables; pip install 'gdwlib[notebooks]'") from error
    listed = Path(args.table) if args.table.endswith(".jsonl") else None
    if listed is None and args.table not in ("2", "3", "4", "5"):
        raise ValueError(f"N: must be 2 to 5, or a list of runs in a .jsonl file, not {args.table!r}")
    if args.table == "5":
        print("Table 5. Test accuracy (%) on Clothing1M, as the paper prints it; there are no records of ours")
        print(tables.paper_numbers().query("table == 5").set_index("method")["mean"].rename(tables.NAMES).to_string())
        return
    if args.outputs is not None and not args.outputs.is_dir():
        raise ValueError(f"--outputs {args.outputs}: no such folder")
    outputs = args.folders.outputs
    evidence = Evidence(outputs)
    if listed is not None:
        frame = pages.of_list(from_file(listed), evidence)
        print(frame.to_string())
        if args.save:
            print(pages.save(frame, f"The runs of {listed.name}", outputs / "sweeps" / f"{listed.stem}-runs.html"))
        return
    if args.dataset and not tables.can_have(args.dataset):
        raise ValueError(
            f"--dataset {args.dataset}: no noise is drawn there, so that the paper's tables have no place for it; "
            "table FILE.jsonl shows the runs of a list"
        )
    for name in (args.dataset,) if args.dataset else tables.PUBLISHED:
        frame = tables.largest(tables.TABLES[int(args.table)], evidence, name, args.preset)
        print(tables.as_text(frame))
        if args.save:
            print("\n".join(str(path) for path in pages.save_table(frame, evidence, outputs)))
    there = evidence.datasets() - {*tables.PUBLISHED, args.dataset}
    others = [
        name
        for name in DATASETS
        if name in there
        and tables.can_have(name)
        and tables.largest(tables.TABLES[int(args.table)], evidence, name)["seeds"].any()
    ]
    if others:
        print(f"Records of this table on other data: --dataset {' or '.join(others)}")


def compare(args: argparse.Namespace) -> None:
    try:
        from gdwlib.companion.evidence import Evidence, trained_twice
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is needed to compare; pip install 'gdwlib[notebooks]'") from error
    outputs = args.folders.outputs
    if args.again.resolve() == outputs.resolve():
        raise ValueError(f"{args.again}: is the folder to compare with; name one that was trained into again")
    before = Evidence(outputs)
    twice = trained_twice(before, Evidence(args.again))
    if not twice:
        raise ValueError(f"{args.again}: has no complete record of a run that {outputs} has one of")
    other = [run for run in twice if not run.equal]
    for run in other:
        gap = f" ({run.gap:+.2f})" if run.gap is not None else ""
        print(f"{run.run_id}: {run.before.told} before, {run.after.told} again{gap}")
    print(f"{len(twice)} runs trained twice: {len(twice) - len(other)} equal bit for bit in every epoch's numbers")
    if absent := len(before.records()) - len(twice):
        print(f"{absent} records of {outputs} have no second one")
    if gaps := [run.gap for run in other if run.gap is not None]:
        far = max(map(abs, gaps))
        print(
            f"the others' final accuracies differ by {far:.2f} points at most, {sum(gaps) / len(gaps):+.2f} on average"
        )


def bench(args: argparse.Namespace) -> None:
    import torch

    from gdwlib import bench as measure
    from gdwlib.runs.machine import ieee_float32, keep_freed_memory

    at_least(args, 1, "rounds", "threads")
    at_least(args, 2, "num_classes", "batch_size")
    if args.depth < 8 or args.depth % 6 != 2:
        raise ValueError(f"--depth: must be 6·blocks + 2, as 8, 20, 32 or 56; not {args.depth}")
    if args.threads:
        torch.set_num_threads(args.threads)
    loop = RunConfig(dataset=args.dataset, preset=args.preset, precision=args.precision, device=args.device)
    device = loop.torch_device().type
    keep_freed_memory()  # as a run does
    setting = measure.Setting(args.depth, args.num_classes, args.batch_size, 32, args.precision, device)
    path = measure.result_path(args.folders.outputs, setting)

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    names = args.steps or list(measure.STEPS)
    rows: Any
    for section in args.sections:
        with ieee_float32():  # as in a run
            if section == "steps":
                rows = measure.measure_steps(setting, names, args.rounds, say)
            elif section == "parts":
                rows = measure.measure_parts(setting, [name for name in names if name in METHODS], args.rounds, say)
            elif section == "growth":
                rows = measure.measure_growth(setting, args.rounds, say)
            else:
                rows = measure.measure_loop(loop, args.folders.data, 20, say)
        measure.keep(path, section, rows, setting)
        print(measure.as_text(section, rows))
        if section == "steps":
            with contextlib.suppress(ModuleNotFoundError):  # seaborn, on a bare node
                from gdwlib.companion import plots

                plots.style()
                plots.step_costs(rows).savefig(path.with_suffix(".png"))
                print(path.with_suffix(".png"))
    print(path)


def data(args: argparse.Namespace) -> None:
    folder = args.folders.data
    source = DATASETS[args.name]
    if isinstance(source, OwnData):
        raise ValueError(f"NAME: {args.name} is data of your own; nothing to fetch")
    for train in (True, False):
        split = source.load(folder, train)
        print(
            f"{args.name} {'train' if train else 'test'}: {len(split.ids)} images, {split.images.shape[1:]}, verified"
        )
        for name, given in source.label_sets.items() if train else ():
            wrong = 100 * (given(folder, split.labels) != split.labels).mean()
            print(f"{args.name} {name}: {wrong:.2f}% of the labels that people gave are wrong")
