"""bench: time, memory and operations of every method's step."""

import argparse
import contextlib
import sys
from typing import Any

import torch

from gdwlib import bench
from gdwlib.bench.steps import STEPS
from gdwlib.cli.flags import at_least
from gdwlib.data import DATASETS
from gdwlib.methods import METHODS
from gdwlib.runs.config import DEVICES, PRECISIONS, PRESETS, RunConfig
from gdwlib.runs.machine import ieee_float32, keep_freed_memory

HELP = "time, memory and operations of every method's step"
SECTIONS = ("steps", "parts", "loop", "growth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sections", nargs="*", choices=SECTIONS, default=["steps", "loop"], metavar="SECTION",
        help="steps: plain SGD, every method, GDW by double backward; parts: of the methods' "
             "steps; loop: of an epoch; growth: with classes, batch and depth (default: steps "
             "loop)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", nargs="+", choices=STEPS, metavar="NAME", help="(default: every one)"
    )
    parser.add_argument("--rounds", type=int, default=10, help="(default: 10)")
    parser.add_argument(
        "--depth", type=int, default=32, help="6·blocks + 2 (default: 32, the paper's)"
    )
    parser.add_argument("--num-classes", type=int, default=10, help="(default: 10)")
    parser.add_argument("--batch-size", type=int, default=100, help="train and meta (default: 100)")
    parser.add_argument(
        "--dataset",
        choices=DATASETS,
        default="fashion",
        metavar="NAME",
        help="of the loop; needs no download: fashion (default)",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="paper",
        metavar="NAME",
        help="of the loop (default: paper)",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="(default: float32)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: auto)")
    parser.add_argument("--threads", type=int, help="(default: PyTorch's)")


def main(args: argparse.Namespace) -> None:
    at_least(args, 1, "rounds", "threads")
    at_least(args, 2, "num_classes", "batch_size")
    if args.depth < 8 or args.depth % 6 != 2:
        raise ValueError(f"--depth: must be 6·blocks + 2, as 8, 20, 32 or 56; not {args.depth}")
    if args.threads and args.threads > 4096:
        raise ValueError(f"--threads: at most 4096, not {args.threads}")
    if args.threads:
        torch.set_num_threads(args.threads)
    loop = RunConfig(
        dataset=args.dataset, preset=args.preset, precision=args.precision, device=args.device
    )
    device = loop.torch_device().type
    keep_freed_memory()  # as a run does
    setting = bench.Setting(
        args.depth, args.num_classes, args.batch_size, 32, args.precision, device
    )
    path = bench.result_path(args.folders.outputs, setting)

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    names = args.steps or list(bench.STEPS)
    rows: Any
    for section in args.sections:
        with ieee_float32():  # as in a run
            if section == "steps":
                rows = bench.measure_steps(setting, names, args.rounds, say)
            elif section == "parts":
                rows = bench.measure_parts(
                    setting, [name for name in names if name in METHODS], args.rounds, say
                )
            elif section == "growth":
                rows = bench.measure_growth(setting, args.rounds, say)
            else:
                rows = bench.measure_loop(loop, args.folders.data, 20, say)
        bench.keep(path, section, rows, setting)
        print(bench.as_text(section, rows))
        if section == "steps":
            with contextlib.suppress(ModuleNotFoundError):  # seaborn, on a bare node
                from gdwlib.companion import cost_figures, plots

                plots.style()
                cost_figures.step_costs(rows).savefig(path.with_suffix(".png"))
                print(path.with_suffix(".png"))
    print(path)
