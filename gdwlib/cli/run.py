"""run: train one run, resume it, or show its record."""

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gdwlib.cli.flags import at_least
from gdwlib.cli.pictures import write_picture
from gdwlib.data import DATASETS, NOISES, OwnData
from gdwlib.engines import processes
from gdwlib.methods import METHODS
from gdwlib.models import MODELS
from gdwlib.runs import training
from gdwlib.runs.config import PRESETS, RunConfig
from gdwlib.runs.fields import fields_described
from gdwlib.runs.presets import SCHEDULES
from gdwlib.runs.records import RunRecord
from gdwlib.runs.run_folder import RunFolder
from gdwlib.sweeps.in_process import run_replicas

HELP = "train one run, resume it, or show its record"
SHOWN = 3  # classes whose accuracy is printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    named: dict[str, Iterable[str]] = {
        "dataset": DATASETS, "method": METHODS, "noise": NOISES, "preset": PRESETS, "model": MODELS,
        "schedule": SCHEDULES,
    }  # fmt: skip
    groups: dict[tuple[str, ...], Any] = {(): parser}
    for name, field in fields_described().items():
        if field.methods not in groups:
            groups[field.methods] = parser.add_argument_group(", ".join(field.methods))
        options = (
            {"action": argparse.BooleanOptionalAction}
            if field.kind is bool
            else {"type": field.kind}
        )
        meaning = ", ".join(named[name]) if name in named else field.meaning
        text = f"{meaning}{f' (default: {field.default})' if field.default else ''}".replace(
            "%", "%%"
        )
        flag = f"--{name.replace('_', '-')}"
        groups[field.methods].add_argument(flag, default=argparse.SUPPRESS, help=text, **options)
    parser.add_argument(
        "--replicas",
        type=int,
        default=1,
        metavar="K",
        help="train the seeds SEED..SEED+K-1 together as one network in groups (default: 1)",
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="where another process is training this run, wait for it",
    )
    parser.add_argument(
        "--runs-per-gpu",
        type=int,
        metavar="R",
        help="cuda: take a GPU that "
        "fewer than R runs are on, "
        "wait for one (default: the "
        "first GPU, whoever is on "
        "it)",
    )


def main(args: argparse.Namespace) -> None:
    fields = fields_described()
    config = RunConfig(**{name: value for name, value in vars(args).items() if name in fields})
    at_least(args, 1, "replicas", "runs_per_gpu")
    configs = [dataclasses.replace(config, seed=config.seed + k) for k in range(args.replicas)]
    if args.replicas > 1 and (args.wait or args.runs_per_gpu):
        raise ValueError(
            "--wait, --runs-per-gpu: of one run alone, not of --replicas; leave one of them off"
        )
    there = [
        config.run_id
        for config in configs
        if RunFolder(args.folders.outputs, config).load()[0] is not None
    ]
    with processes.data_parallel_engine(config.torch_device()) as engine:
        if engine.world_size > 1:
            for name, given in (
                ("replicas", args.replicas > 1),
                ("capture", config.capture),
                ("wait", args.wait),
            ):
                if given:
                    raise ValueError(f"--{name}: of a run in one process alone; leave it off")
        how = {"outputs": args.folders.outputs, "data": args.folders.data}
        if args.replicas > 1:
            records = run_replicas(configs, **how)
        else:
            # processes have a GPU each
            places = args.runs_per_gpu if engine.world_size == 1 else None
            records = [
                training.run(config, wait=args.wait, runs_per_gpu=places, engine=engine, **how)
            ]
        if engine.rank == 0:
            for record in records:
                print_record(record, record.path.name not in there)


def print_record(record: RunRecord, trained: bool) -> None:
    """A finished run, in a few lines."""
    if not trained:
        print(
            "a finished record; nothing was trained (delete its folder to train it again)",
            file=sys.stderr,
        )
    if record.final_accuracy is None:
        seconds = f"{record.result['seconds']:.0f} s"
        summary_text = f"{seconds}; no accuracy: name test examples with --test to have it measured"
    else:
        summary_text = (
            f"test accuracy: {record.final_accuracy:.2f}% (mean of the last "
            f"{min(5, record.config['epochs'])} epochs), last "
            f"{record.result['last_accuracy']:.2f}%, best {record.result['best_accuracy']:.2f}%, "
            f"{record.result['seconds']:.0f} s"
        )
    print(f"{record.path}\n{summary_text}")
    if record.confusion is not None:
        for line in confusion_in_words(*record.confusion):
            print(line)
        draw = partial(_drawn, *record.confusion)
        write_picture(record.path / "confusion.png", "confusion matrix", draw)
    if isinstance(DATASETS[record.config["dataset"]], OwnData):
        print(f"which labels are probably wrong: python -m gdwlib suspects {record.path}")


def _drawn(classes: Sequence[str], counts: np.ndarray) -> Any:
    from gdwlib.companion import plots

    plots.style()
    return plots.confusion_matrix(classes, counts)


def confusion_in_words(classes: Sequence[str], counts: np.ndarray) -> Iterator[str]:
    """The classes that the network knows least, of those with test examples, and what they are
    taken for; counts (C, C)."""
    tested = np.flatnonzero(counts.sum(1)).tolist()
    lowest = sorted(tested, key=lambda c: counts[c, c] / counts[c].sum())
    shown = lowest if len(lowest) <= SHOWN + 1 else lowest[:SHOWN]
    said = [f"{classes[c]} {100 * counts[c, c] / counts[c].sum():.0f}%" for c in shown]
    of = "" if len(shown) == len(lowest) else f", the lowest {len(shown)} of {len(lowest)}"
    yield f"accuracy by class after the last epoch{of}: {', '.join(said)}"
    wrong = counts - np.diag(counts.diagonal())
    true, taken = divmod(int(wrong.argmax()), len(wrong))
    if wrong[true, taken]:
        yield (
            f"most often mistaken: {classes[true]} for {classes[taken]}, {wrong[true, taken]} of "
            f"{counts[true].sum()}"
        )
