"""sweep: train what is missing of many runs, in this process or by Snakemake."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import torch

from gdwlib.cli.flags import at_least
from gdwlib.data import DATASETS, OwnData
from gdwlib.methods import METHODS
from gdwlib.runs.config import DEVICES, PRESETS, RunConfig, suggestion
from gdwlib.runs.files import RecordError
from gdwlib.runs.folders import Folders
from gdwlib.runs.machine import cores
from gdwlib.runs.progress import duration
from gdwlib.sweeps import by_snakemake, in_process
from gdwlib.sweeps.campaigns import CAMPAIGNS
from gdwlib.sweeps.run_lists import expected_seconds, missing, read_runs

HELP = "train what is missing of many runs"


CAMPAIGN_HELP = """\
table2, table3, table4 (notebooks 04 to 06); tables: 2 to 4, and a variant of GDW (default);
appendices (08, and variants); paper: everything; evidence: the short runs behind the committed
notebooks; half: the paper's CIFAR-10 on images of half the side, hours a run on one thread; or
FILE.jsonl, an object of RunConfig's fields a line"""


# fields to whose values a sweep can be limited: their type, and what stands for it in the help
LEVELS = {"noise": (str, "KIND"), "noise_ratio": (float, "P"), "imbalance": (float, "MU")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "campaign", nargs="?", default="tables", metavar="CAMPAIGN", help=CAMPAIGN_HELP
    )
    parser.add_argument(
        "--preset", choices=PRESETS, metavar="NAME", help="(default: small; of half, half)"
    )
    parser.add_argument(
        "--budget", metavar="TIME", help="stop in time, as 90s, 9m, 1.5h; the same command goes on"
    )
    parser.add_argument(
        "--datasets",
        nargs="+",
        choices=DATASETS,
        metavar="NAME",
        help="(default: cifar10 cifar100; of evidence, fashion cifar10 cifar10n; of half, cifar10)",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=[*METHODS],
        metavar="NAME",
        help="(default: all)",
    )
    for name, (kind, what) in LEVELS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            nargs="+",
            metavar=what,
            help="only the campaign's runs with such a value (default: all)",
        )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="seeds 0..N-1 (default: 5; of evidence and half, 3)"
    )
    parser.add_argument(
        "--cores",
        type=int,
        nargs="?",
        const=0,
        metavar="N",
        help="N runs at once, by Snakemake (no N: as many as there are cores; default: one after "
        "the other, in this process)",
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="DIR",
        help="a Snakemake profile: on a cluster, profiles/slurm",
    )
    parser.add_argument(
        "--runs-per-gpu",
        type=int,
        metavar="R",
        help="where there are GPUs: at most R runs on one, other sweeps' included (default: with "
        "--cores 1, else no limit)",
    )
    parser.add_argument(
        "--replicas", type=int, default=1, metavar="K", help="seeds trained together (default: 1)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: auto)")
    parser.add_argument("--capture", action="store_true", help="cuda: replay steps as CUDA graphs")
    parser.add_argument("--list", action="store_true", help="say what is missing and train nothing")
    parser.epilog = "What follows a lone -- is handed to Snakemake."


def main(args: argparse.Namespace) -> None:
    at_least(args, 1, "seeds", "replicas", "runs_per_gpu")
    at_least(args, 0, "cores")
    elsewhere = args.cores is not None or args.profile is not None
    if args.capture and args.replicas > 1:
        raise ValueError("--capture: of one run alone, not of --replicas; leave one of them off")
    if elsewhere and (args.budget or args.replicas > 1):
        raise ValueError(
            "--budget, --replicas: of a sweep in this process; leave --cores and --profile off"
        )
    if args.replicas > 1 and args.runs_per_gpu:
        raise ValueError(
            "--runs-per-gpu: of runs one by one, not of --replicas; leave one of them off"
        )
    if args.profile is not None and not (args.profile / "config.yaml").is_file():
        raise ValueError(
            f"--profile {args.profile}: has no config.yaml; profiles/slurm is one that has"
        )
    if args.profile is not None and args.runs_per_gpu is not None:
        raise ValueError(
            "--runs-per-gpu: of --cores, on one machine; a cluster gives out its GPUs itself"
        )
    if args.snakemake and not elsewhere:
        raise ValueError(
            f"{' '.join(args.snakemake)}: is for Snakemake; give --cores or --profile as well"
        )
    until = time.time() + in_process.seconds_of(args.budget) if args.budget else None
    runs = runs_of(args)
    # on a cluster it is the nodes that may have a GPU
    device = runs[0].torch_device().type if args.profile is None else args.device
    if args.capture and device != "cuda":
        raise ValueError(f"--capture: needs a CUDA device, this is {device}; leave it off")
    left = missing(runs, args.folders.outputs)
    at_once = (args.cores or cores()) if elsewhere else 1
    time_needed = expected_time(left, at_once) if device == "cpu" and args.replicas == 1 else ""
    print(f"{len(runs)} runs, {len(left)} missing{time_needed}", file=sys.stderr)
    if args.list:
        print("\n".join(config.run_id for config in left))
    elif elsewhere:
        run_by_snakemake(args, runs, left, at_once, device)
    else:
        how = {"replicas": args.replicas, "runs_per_gpu": args.runs_per_gpu}
        going = in_process.sweep(left, args.folders, until=until, **how)
        counts = in_process.report_attempts(
            going, len(left), lambda text: print(text, file=sys.stderr)
        )
        print(
            ", ".join(f"{count} {state}" for state, count in counts.items() if count)
            or "nothing to do"
        )
        if counts["interrupted"] and not counts["finished"]:
            print(
                "nothing was finished in this time; a larger --budget gets further at once",
                file=sys.stderr,
            )
        if counts["failed"]:
            raise RecordError(
                f"{counts['failed']} runs failed, see above; the same command tries them again"
            )


def runs_of(args: argparse.Namespace) -> list[RunConfig]:
    """A sweep's runs: of a campaign, or of a list in a file."""
    if args.campaign.endswith(".jsonl"):
        runs = read_runs(Path(args.campaign))
    elif args.campaign in CAMPAIGNS:
        campaign = CAMPAIGNS[args.campaign]
        seeds = range(args.seeds or campaign.seeds)
        datasets = args.datasets or list(campaign.datasets)
        if args.campaign == "paper" and not args.datasets:  # where its authors have given it out
            there = (args.folders.data / "clothing1m").is_dir()
            datasets += ["clothing1m"] * there
        runs = campaign.runs(args.preset or campaign.preset, datasets, args.methods, seeds)
    else:
        near = suggestion(args.campaign, CAMPAIGNS)
        raise ValueError(f"CAMPAIGN: unknown value {args.campaign!r}{near}, or a .jsonl file")
    for name in LEVELS:
        asked_for = getattr(args, name)
        there = dict.fromkeys(getattr(config, name) for config in runs)
        for value in asked_for or ():
            if value not in there:
                near = suggestion(str(value), map(str, there))
                flag = f"--{name.replace('_', '-')}"
                raise ValueError(f"{flag}: {args.campaign} has no run with {value!r}{near}")
        if asked_for:
            runs = [config for config in runs if getattr(config, name) in asked_for]
    if not runs:
        raise ValueError(
            "--datasets, --methods, --noise, --noise-ratio, --imbalance: no such runs among the "
            f"{args.campaign}"
        )
    asked = {"device": args.device} if args.device != "auto" else {}
    asked |= {"capture": True} if args.capture else {}
    return [dataclasses.replace(config, **asked) for config in runs] if asked else runs


def run_by_snakemake(
    args: argparse.Namespace,
    runs: list[RunConfig],
    left: list[RunConfig],
    at_once: int,
    device: str,
) -> None:
    """The runs to Snakemake, here or on a cluster."""
    how, settings = [], {}
    if args.profile is not None:
        how += ["--profile", str(args.profile.resolve())]
    if args.cores is not None:
        how += ["--cores", str(at_once)]
        if device == "cuda" and args.profile is None:
            settings["runs_per_gpu"] = args.runs_per_gpu or 1
            how += [
                "--resources",
                f"gpu_places={settings['runs_per_gpu'] * torch.cuda.device_count()}",
            ]
    # once, before many want it at the same time
    for name in sorted({config.dataset for config in left}):
        source = DATASETS[name]
        if not isinstance(source, OwnData):
            for train in (True, False):
                source.load(args.folders.data, train)
    folders = Folders(args.folders.outputs.resolve(), args.folders.data.resolve())
    listed = by_snakemake.write_list(runs, Path(args.campaign).stem, folders.outputs)
    going = by_snakemake.Sweep(
        listed,
        left,
        folders,
        how + args.snakemake,
        lambda text: print(text, file=sys.stderr),
        settings,
    )
    if failed := going.train():
        raise RecordError(f"{failed} runs failed, see above; the same command tries them again")


def expected_time(runs: list[RunConfig], at_once: int) -> str:
    """How long they will take on a CPU, where all of them have records in the project's own
    outputs/."""
    seconds = expected_seconds(runs, Folders.named().outputs)
    if not seconds:
        return ""
    at_once = min(at_once, cores(), len(runs))
    needed = duration(seconds / at_once)
    return f"; about {needed}, {at_once} at once, by the times of the records in outputs/"
