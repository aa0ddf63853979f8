"""Every command's flags, and what becomes of errors."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gdwlib.bench.steps import STEPS
from gdwlib.cli import answers, reports, runs
from gdwlib.data import DATASETS, NOISES, DataError
from gdwlib.engines.collective import ProcessLost
from gdwlib.methods import METHODS
from gdwlib.models import MODELS
from gdwlib.runs.config import DEVICES, PRECISIONS, PRESETS, fields_described, nearest
from gdwlib.runs.folders import Folders
from gdwlib.runs.presets import SCHEDULES
from gdwlib.runs.records import RecordError

COMMANDS = {
    "run": runs.run,
    "sweep": runs.sweep,
    "table": reports.table,
    "compare": reports.compare,
    "bench": reports.bench,
    "data": reports.data,
    "suspects": answers.suspects,
    "predict": answers.predict,
}
SECTIONS = ("steps", "parts", "loop", "growth")


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
        if action.choices is not None and value is not action.default and value not in action.choices:
            valid = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(action, f"unknown value {str(value)!r}{nearest(str(value), valid)}")

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> Parser:
    top = Parser(prog="gdwlib", description="Generalized Data Weighting: run the paper's experiments.")
    add = top.add_subparsers(dest="command", required=True, metavar="COMMAND").add_parser
    folders = Parser(add_help=False)
    folders.add_argument("--outputs", type=Path, metavar="DIR", help="where records are (default: outputs/)")
    folders.add_argument("--data", type=Path, metavar="DIR", help="where data sets are (default: data/)")

    named: dict[str, Iterable[str]] = {
        "dataset": DATASETS, "method": METHODS, "noise": NOISES, "preset": PRESETS, "model": MODELS,
        "schedule": SCHEDULES,
    }  # fmt: skip
    run = add("run", parents=[folders], help="train one run, resume it, or show its record")
    groups: dict[tuple[str, ...], Any] = {(): run}
    for name, field in fields_described().items():
        if field.methods not in groups:
            groups[field.methods] = run.add_argument_group(", ".join(field.methods))
        options = {"action": argparse.BooleanOptionalAction} if field.kind is bool else {"type": field.kind}
        meaning = ", ".join(named[name]) if name in named else field.meaning
        text = f"{meaning}{f' (default: {field.default})' if field.default else ''}".replace("%", "%%")
        flag = f"--{name.replace('_', '-')}"
        groups[field.methods].add_argument(flag, default=argparse.SUPPRESS, help=text, **options)

    run.add_argument("--replicas", type=int, default=1, metavar="K", help="train the seeds SEED..SEED+K-1 together "
                     "as one network in groups (default: 1)")  # fmt: skip
    run.add_argument("--wait", action="store_true", help="where another process is training this run, wait for it")
    run.add_argument("--runs-per-gpu", type=int, metavar="R", help="cuda: take a GPU that fewer than R runs are on, "
                     "wait for one (default: the first GPU, whoever is on it)")  # fmt: skip

    sweep = add("sweep", parents=[folders], help="train what is missing of many runs")
    sweep.add_argument("campaign", nargs="?", default="tables", metavar="CAMPAIGN",
                       help="table2, table3, table4 (notebooks 04 to 06); tables: 2 to 4, "
                       "and variants of GDW (default); appendices (08, and variants); paper: everything; "
                       "evidence: the short runs behind the committed notebooks; half: the paper's CIFAR-10 with "
                       "half the pixels, hours a run on one thread; or FILE.jsonl, an object of "
                       "RunConfig's fields a line")  # fmt: skip
    sweep.add_argument("--preset", choices=PRESETS, metavar="NAME", help="(default: small; of half, half)")
    sweep.add_argument("--budget", metavar="TIME", help="stop in time, as 90s, 9m, 1.5h; the same command goes on")
    sweep.add_argument("--datasets", nargs="+", choices=DATASETS, metavar="NAME",
                       help="(default: cifar10 cifar100; of evidence, fashion cifar10 cifar10n; of half, "
                       "cifar10)")  # fmt: skip
    sweep.add_argument(
        "--methods", nargs="+", choices=METHODS, default=[*METHODS], metavar="NAME", help="(default: all)"
    )
    sweep.add_argument("--seeds", type=int, metavar="N", help="seeds 0..N-1 (default: 5; of evidence and half, 3)")
    sweep.add_argument("--cores", type=int, nargs="?", const=0, metavar="N", help="N runs at once, by Snakemake (no N: "
                       "as many as there are cores; default: one after the other, in this process)")  # fmt: skip
    sweep.add_argument("--profile", type=Path, metavar="DIR", help="a Snakemake profile: on a cluster, profiles/slurm")
    sweep.add_argument("--runs-per-gpu", type=int, metavar="R", help="where there are GPUs: at most R runs on one, "
                       "other sweeps' included (default: with --cores 1, else no limit)")  # fmt: skip
    sweep.add_argument("--replicas", type=int, default=1, metavar="K", help="seeds trained together (default: 1)")
    sweep.add_argument("--device", choices=DEVICES, default="auto", help="(default: auto)")
    sweep.add_argument("--capture", action="store_true", help="cuda: replay steps as CUDA graphs")
    sweep.add_argument("--list", action="store_true", help="say what is missing and train nothing")
    sweep.epilog = "What follows a lone -- is handed to Snakemake."

    table = add("table", parents=[folders], help="one of the paper's tables, ours beside it")
    table.add_argument("table", metavar="N", help="2 to 5; or FILE.jsonl: the runs of a list, as a sweep writes it")
    table.add_argument("--dataset", choices=DATASETS, metavar="NAME", help="one data set (default: both CIFARs)")
    table.add_argument("--preset", choices=PRESETS, metavar="NAME", help="(default: the largest that has records)")
    table.add_argument("--save", action="store_true", help="also as HTML and its gains as a picture, in outputs/tables "
                       "and outputs/figures")  # fmt: skip

    compare = add("compare", parents=[folders], help="records trained again, beside those of outputs/")
    compare.add_argument("again", type=Path, metavar="DIR", help="the --outputs they were trained into")

    bench = add("bench", parents=[folders], help="time, memory and operations of every method's step")
    bench.add_argument(
        "sections", nargs="*", choices=SECTIONS, default=["steps", "loop"], metavar="SECTION",
        help="steps: plain SGD, every method, GDW by double backward; parts: of the methods' steps; loop: of an epoch; "
        "growth: with classes, batch and depth (default: steps loop)",
    )  # fmt: skip
    bench.add_argument("--steps", nargs="+", choices=STEPS, metavar="NAME", help="(default: every one)")
    bench.add_argument("--rounds", type=int, default=10, help="(default: 10)")
    bench.add_argument("--depth", type=int, default=32, help="6·blocks + 2 (default: 32, the paper's)")
    bench.add_argument("--num-classes", type=int, default=10, help="(default: 10)")
    bench.add_argument("--batch-size", type=int, default=100, help="train and meta (default: 100)")
    bench.add_argument(
        "--dataset",
        choices=DATASETS,
        default="fashion",
        metavar="NAME",
        help="of the loop; needs no download: fashion (default)",
    )
    bench.add_argument(
        "--preset", choices=PRESETS, default="paper", metavar="NAME", help="of the loop (default: paper)"
    )
    bench.add_argument("--precision", choices=PRECISIONS, default="float32", help="(default: float32)")
    bench.add_argument("--device", choices=DEVICES, default="auto", help="(default: auto)")
    bench.add_argument("--threads", type=int, help="(default: PyTorch's)")

    suspects = add("suspects", parents=[folders], help="which training labels are probably wrong, by a finished run")
    suspects.add_argument("run", metavar="RUN", help="a run's folder or id")
    suspects.add_argument("--to", type=Path, metavar="FILE.csv", help="(default: suspects.csv in the run's folder)")

    predict = add("predict", parents=[folders], help="label new images or rows by a finished run")
    predict.add_argument(
        "run", metavar="RUN", help="a run's folder or id, or a folder with its model.pt and model.json"
    )
    predict.add_argument("source", type=Path, metavar="FOLDER", help="of images; for a table, a CSV file")
    predict.add_argument(
        "--to", type=Path, metavar="FILE.csv", help="(default: predictions-NAME.csv in the run's folder)"
    )
    predict.add_argument("--skip-bad", action="store_true", help="leave out what cannot be read instead of stopping")

    data = add("data", parents=[folders], help="fetch and verify a data set")
    data.add_argument("name", choices=DATASETS, metavar="NAME", help=", ".join(DATASETS))
    return top


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    own = argv.index("--") if "--" in argv else len(argv)
    args = parser().parse_args(argv[:own])
    args.snakemake = argv[own + 1 :]
    args.folders = Folders.named(args.outputs, args.data)
    try:
        COMMANDS[args.command](args)
    except (DataError, RecordError, ValueError, FloatingPointError, ProcessLost) as error:
        text = " ".join(str(error).split())
        status = 1
    except KeyboardInterrupt:
        text = "stopped; the same command goes on after the last finished epoch"
        status = 130
    else:
        return 0
    from gdwlib.engines.processes import first_to_tell

    if first_to_tell():
        print(f"gdwlib {args.command}: {text}", file=sys.stderr)
    return status
