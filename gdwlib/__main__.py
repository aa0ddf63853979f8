"""The command line: `python -m gdwlib COMMAND --help`."""

import argparse
import dataclasses
import inspect
import re
import sys
import time
import typing
from pathlib import Path

from gdwlib.config import PRESETS, RunConfig, nearest, project_folder
from gdwlib.data import DATASETS, NOISES, DataError
from gdwlib.methods import METHODS
from gdwlib.models import MODELS
from gdwlib.recipes import OPTIMIZERS, SCHEDULES
from gdwlib.records import RecordError


class Parser(argparse.ArgumentParser):
    """One line for every error, naming the nearest valid flag."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args=None, namespace=None):
        parsed, unknown = super().parse_known_args(args, namespace)
        for word in unknown:
            if word.startswith("-"):
                flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
                self.error(f"unknown flag {word.split('=')[0]}{nearest(word.split('=')[0], flags)}")
        return parsed, unknown

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            valid = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(action, f"unknown value {str(value)!r}{nearest(str(value), valid)}")

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> Parser:
    top = Parser(prog="gdwlib", description="Generalized Data Weighting: run the paper's experiments.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    folders = argparse.ArgumentParser(add_help=False)
    folders.add_argument("--outputs", type=Path, metavar="DIR", help="where records are (default: outputs/)")
    folders.add_argument("--data", type=Path, metavar="DIR", help="where data sets are (default: data/)")

    about = dict(re.findall(r"^    (\w+): .*  # (.+)$", inspect.getsource(RunConfig), re.M))  # the fields' comments
    named = {"dataset": DATASETS, "method": METHODS, "noise": NOISES, "preset": PRESETS, "model": MODELS}
    named |= {"schedule": SCHEDULES, "weight_optimizer": OPTIMIZERS}
    run = commands.add_parser("run", parents=[folders], help="train one run, resume it, or show its record")
    for field in dataclasses.fields(RunConfig):
        kind = (typing.get_args(field.type) or (field.type,))[0]
        options = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        meaning = ", ".join(named[field.name]) if field.name in named else about.get(field.name, "")
        default = "the preset's" if field.default is None else field.default
        shown = "" if "where n" in meaning else f" (default: {default})"
        text = f"{meaning}{shown}".strip().replace("%", "%%")
        run.add_argument(f"--{field.name.replace('_', '-')}", default=argparse.SUPPRESS, help=text, **options)

    table = commands.add_parser("table", parents=[folders], help="one of the paper's tables, ours beside it")
    table.add_argument("number", type=int, choices=(2, 3, 4, 5), metavar="N", help="2 to 5")
    table.add_argument("--dataset", choices=DATASETS, metavar="NAME", help="one data set (default: both CIFARs)")
    table.add_argument("--preset", choices=PRESETS, metavar="NAME", help="(default: the largest that has records)")

    data = commands.add_parser("data", parents=[folders], help="fetch and verify a data set")
    data.add_argument("name", choices=DATASETS, metavar="NAME", help=", ".join(DATASETS))
    return top


def run(args: argparse.Namespace) -> None:
    from gdwlib.training import run as train

    fields = {field.name for field in dataclasses.fields(RunConfig)}
    config = RunConfig(**{name: value for name, value in vars(args).items() if name in fields})
    outputs = args.outputs or project_folder("outputs")
    before = time.time()
    record = train(config, outputs=outputs, data=args.data)
    if (record.path / "result.json").stat().st_mtime < before:
        print("a finished record; nothing was trained (delete its folder to train it again)", file=sys.stderr)
    print(
        f"{record.path}\n"
        f"test accuracy: {record.final_accuracy:.2f}% (mean of the last {min(5, config.epochs)} epochs), "
        f"last {record.result['last_accuracy']:.2f}%, best {record.result['best_accuracy']:.2f}%, "
        f"{record.result['seconds']:.0f} s"
    )


def table(args: argparse.Namespace) -> None:
    try:
        from gdwlib.evidence import Evidence
        from gdwlib.tables import NAMES, PUBLISHED, TABLES, as_text, paper_numbers
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is needed for tables; pip install 'gdwlib[notebooks]'") from error
    if args.number == 5:
        print("Table 5. Test accuracy (%) on Clothing1M, as the paper prints it; there are no records of ours")
        print(paper_numbers().query("table == 5").set_index("method")["mean"].rename(NAMES).to_string())
        return
    if args.outputs is not None and not args.outputs.is_dir():
        raise ValueError(f"--outputs {args.outputs}: no such folder")
    evidence = Evidence(args.outputs)
    for name in (args.dataset,) if args.dataset else PUBLISHED:
        print(as_text(TABLES[args.number], evidence, name, args.preset))
    others = [name for name in DATASETS if name in evidence.datasets() - {*PUBLISHED, args.dataset}]
    if others:
        print(f"Records of other data sets: --dataset {' or '.join(others)}")


def data(args: argparse.Namespace) -> None:
    folder = args.data or project_folder("data")
    for train in (True, False):
        images = DATASETS[args.name].load(folder, train).images
        print(f"{args.name} {'train' if train else 'test'}: {len(images)} images, {images.shape[1:]}, verified")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        {"run": run, "table": table, "data": data}[args.command](args)
    except (DataError, RecordError, ValueError, FloatingPointError) as error:
        print(f"gdwlib {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"gdwlib {args.command}: stopped; the same command goes on after the last finished epoch", file=sys.stderr
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
