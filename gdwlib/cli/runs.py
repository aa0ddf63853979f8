"""run and sweep."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from gdwlib.data import DATASETS, OwnData
from gdwlib.runs.config import RunConfig, fields_described, nearest
from gdwlib.runs.folders import Folders
from gdwlib.runs.progress import duration
from gdwlib.runs.records import RecordError, RunRecord
from gdwlib.sweeps.campaigns import CAMPAIGNS, expected_seconds, from_file, missing


def at_least(args: argparse.Namespace, least: int, *names: str) -> None:
    for name in names:
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')}: must be at least {least}, not {value}")


def run(args: argparse.Namespace) -> None:
    from gdwlib.engines import processes
    from gdwlib.runs import training
    from gdwlib.sweeps.in_process import run_replicas

    fields = fields_described()
    config = RunConfig(**{name: value for name, value in vars(args).items() if name in fields})
    at_least(args, 1, "replicas", "runs_per_gpu")
    configs = [dataclasses.replace(config, seed=config.seed + k) for k in range(args.replicas)]
    if args.replicas > 1 and (args.wait or args.runs_per_gpu):
        raise ValueError("--wait, --runs-per-gpu: of one run alone, not of --replicas; leave one of them off")
    before = time.time()
    with processes.team(config.torch_device()) as engine:
        if engine.processes > 1:
            for name, given in (("replicas", args.replicas > 1), ("capture", config.capture), ("wait", args.wait)):
                if given:
                    raise ValueError(f"--{name}: of a run in one process alone; leave it off")
        how = {"outputs": args.folders.outputs, "data": args.folders.data}
        if args.replicas > 1:
            records = run_replicas(configs, **how)
        else:
            places = args.runs_per_gpu if engine.processes == 1 else None  # processes have a GPU each
            records = [training.run(config, wait=args.wait, runs_per_gpu=places, engine=engine, **how)]
        if engine.rank == 0:
            for record in records:
                say_of(record, before)


def say_of(record: RunRecord, before: float) -> None:
    """A finished run, in three lines at most."""
    if (record.path / "result.json").stat().st_mtime < before:
        print("a finished record; nothing was trained (delete its folder to train it again)", file=sys.stderr)
    if record.final_accuracy is None:
        told = f"{record.result['seconds']:.0f} s; no accuracy: name test examples with --test to have it measured"
    else:
        told = (
            f"test accuracy: {record.final_accuracy:.2f}% (mean of the last {min(5, record.config['epochs'])} epochs), "
            f"last {record.result['last_accuracy']:.2f}%, best {record.result['best_accuracy']:.2f}%, "
            f"{record.result['seconds']:.0f} s"
        )
    print(f"{record.path}\n{told}")
    if isinstance(DATASETS[record.config["dataset"]], OwnData):
        print(f"which labels are probably wrong: python -m gdwlib suspects {record.path}")


def sweep(args: argparse.Namespace) -> None:
    from gdwlib.runs.machine import cores
    from gdwlib.sweeps import in_process as sweeps

    at_least(args, 1, "seeds", "replicas", "runs_per_gpu")
    at_least(args, 0, "cores")
    elsewhere = args.cores is not None or args.profile is not None
    if args.capture and args.replicas > 1:
        raise ValueError("--capture: of one run alone, not of --replicas; leave one of them off")
    if elsewhere and (args.budget or args.replicas > 1):
        raise ValueError("--budget, --replicas: of a sweep in this process; leave --cores and --profile off")
    if args.replicas > 1 and args.runs_per_gpu:
        raise ValueError("--runs-per-gpu: of runs one by one, not of --replicas; leave one of them off")
    if args.profile is not None and not (args.profile / "config.yaml").is_file():
        raise ValueError(f"--profile {args.profile}: has no config.yaml; profiles/slurm is one that has")
    if args.profile is not None and args.runs_per_gpu is not None:
        raise ValueError("--runs-per-gpu: of --cores, on one machine; a cluster gives out its GPUs itself")
    if args.snakemake and not elsewhere:
        raise ValueError(f"{' '.join(args.snakemake)}: is for Snakemake; give --cores or --profile as well")
    until = time.time() + sweeps.seconds_of(args.budget) if args.budget else None
    runs = runs_of(args)
    # on a cluster it is the nodes that may have a GPU
    device = runs[0].torch_device().type if args.profile is None else args.device
    if args.capture and device != "cuda":
        raise ValueError(f"--capture: needs a CUDA device, this is {device}; leave it off")
    left = missing(runs, args.folders.outputs)
    at_once = (args.cores or cores()) if elsewhere else 1
    time_needed = expected(left, at_once) if device == "cpu" and args.replicas == 1 else ""
    print(f"{len(runs)} runs, {len(left)} missing{time_needed}", file=sys.stderr)
    if args.list:
        print("\n".join(config.run_id for config in left))
    elif elsewhere:
        hand_over(args, runs, left, at_once, device)
    else:
        how = {"replicas": args.replicas, "runs_per_gpu": args.runs_per_gpu}
        going = sweeps.sweep(left, args.folders, until=until, **how)
        counts = sweeps.report(going, len(left), lambda text: print(text, file=sys.stderr))
        print(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing to do")
        if counts["interrupted"] and not counts["finished"]:
            print("nothing was finished in this time; a larger --budget gets further at once", file=sys.stderr)
        if counts["failed"]:
            raise RecordError(f"{counts['failed']} runs failed, see above; the same command tries them again")


def runs_of(args: argparse.Namespace) -> list[RunConfig]:
    """A sweep's runs: of a campaign, or of a list in a file."""
    if args.campaign.endswith(".jsonl"):
        runs = from_file(Path(args.campaign))
    elif args.campaign in CAMPAIGNS:
        campaign = CAMPAIGNS[args.campaign]
        seeds = range(args.seeds or campaign.seeds)
        runs = campaign.runs(args.preset or campaign.preset, args.datasets or campaign.datasets, args.methods, seeds)
    else:
        near = nearest(args.campaign, CAMPAIGNS)
        raise ValueError(f"CAMPAIGN: unknown value {args.campaign!r}{near}, or a .jsonl file")
    if not runs:
        raise ValueError(f"--datasets, --methods: no such runs among the {args.campaign}")
    asked = {"device": args.device} if args.device != "auto" else {}
    asked |= {"capture": True} if args.capture else {}
    return [dataclasses.replace(config, **asked) for config in runs] if asked else runs


def hand_over(
    args: argparse.Namespace, runs: list[RunConfig], left: list[RunConfig], at_once: int, device: str
) -> None:
    """The runs to Snakemake, here or on a cluster."""
    from gdwlib.sweeps import by_snakemake as workflow

    how, settings = [], {}
    if args.profile is not None:
        how += ["--profile", str(args.profile.resolve())]
    if args.cores is not None:
        how += ["--cores", str(at_once)]
        if device == "cuda" and args.profile is None:
            import torch

            settings["runs_per_gpu"] = args.runs_per_gpu or 1
            how += ["--resources", f"gpu_places={settings['runs_per_gpu'] * torch.cuda.device_count()}"]
    for name in sorted({config.dataset for config in left}):  # once, before many want it at the same time
        source = DATASETS[name]
        if not isinstance(source, OwnData):
            for train in (True, False):
                source.load(args.folders.data, train)
    folders = Folders(args.folders.outputs.resolve(), args.folders.data.resolve())
    listed = workflow.write_list(runs, Path(args.campaign).stem, folders.outputs)
    going = workflow.Sweep(
        listed, left, folders, how + args.snakemake, lambda text: print(text, file=sys.stderr), settings
    )
    if failed := going.train():
        raise RecordError(f"{failed} runs failed, see above; the same command tries them again")


def expected(runs: list[RunConfig], at_once: int) -> str:
    """How long they will take on a CPU, where all of them have records in the project's own outputs/."""
    from gdwlib.runs.machine import cores

    seconds = expected_seconds(runs, Folders.named().outputs)
    if not seconds:
        return ""
    at_once = min(at_once, cores(), len(runs))
    needed = duration(seconds / at_once)
    return f"; about {needed}, {at_once} at once, by the times of the records in outputs/"
