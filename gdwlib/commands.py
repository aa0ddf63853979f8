"""What each command of the command line does with its arguments."""

import argparse
import contextlib
import dataclasses
import sys
import time
from pathlib import Path

from gdwlib.campaign import CAMPAIGNS, expected_seconds, from_file, missing
from gdwlib.config import RunConfig, nearest, project_folder
from gdwlib.data import DATASETS
from gdwlib.methods import METHODS
from gdwlib.progress import duration
from gdwlib.records import RecordError


def at_least(args: argparse.Namespace, least: int, *names: str) -> None:
    for name in names:
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')}: must be at least {least}, not {value}")


def run(args: argparse.Namespace) -> None:
    from gdwlib import processes, training
    from gdwlib.sweep import run_replicas

    fields = {field.name for field in dataclasses.fields(RunConfig)}
    config = RunConfig(**{name: value for name, value in vars(args).items() if name in fields})
    outputs = args.outputs or project_folder("outputs")
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
        how = {"outputs": outputs, "data": args.data}
        if args.replicas > 1:
            records = run_replicas(configs, **how)
        else:
            places = args.runs_per_gpu if engine.processes == 1 else None  # processes have a GPU each
            records = [training.run(config, wait=args.wait, runs_per_gpu=places, engine=engine, **how)]
        if engine.rank == 0:
            for record in records:
                say_of(record, before)


def say_of(record, before: float) -> None:
    """A finished run, in three lines at most."""
    if (record.path / "result.json").stat().st_mtime < before:
        print("a finished record; nothing was trained (delete its folder to train it again)", file=sys.stderr)
    print(
        f"{record.path}\n"
        f"test accuracy: {record.final_accuracy:.2f}% (mean of the last {min(5, record.config['epochs'])} epochs), "
        f"last {record.result['last_accuracy']:.2f}%, best {record.result['best_accuracy']:.2f}%, "
        f"{record.result['seconds']:.0f} s"
    )


def sweep(args: argparse.Namespace) -> None:
    from gdwlib import sweep as sweeps
    from gdwlib.machine import cores

    at_least(args, 1, "seeds", "replicas", "runs_per_gpu")
    at_least(args, 0, "cores")
    elsewhere = args.cores is not None or args.profile is not None
    if args.capture and args.replicas > 1:
        raise ValueError("--capture: of one run alone, not of --replicas; leave one of them off")
    if elsewhere and (args.budget or args.replicas > 1):
        raise ValueError("--budget, --replicas: of a sweep in this process; leave --cores and --profile off")
    if args.profile is not None and not (args.profile / "config.yaml").is_file():
        raise ValueError(f"--profile {args.profile}: has no config.yaml; profiles/slurm is one that has")
    if args.profile is not None and args.runs_per_gpu is not None:
        raise ValueError("--runs-per-gpu: of --cores, on one machine; a cluster gives out its GPUs itself")
    if args.snakemake and not elsewhere:
        raise ValueError(f"{' '.join(args.snakemake)}: is for Snakemake; give --cores or --profile as well")
    until = time.time() + sweeps.seconds_of(args.budget) if args.budget else None
    outputs = args.outputs or project_folder("outputs")
    runs = runs_of(args)
    # on a cluster it is the nodes that may have a GPU
    device = runs[0].torch_device().type if args.profile is None else args.device
    if args.capture and device != "cuda":
        raise ValueError(f"--capture: needs a CUDA device, this is {device}; leave it off")
    left = missing(runs, outputs)
    at_once = (args.cores or cores()) if elsewhere else 1
    time_needed = expected(left, at_once) if device == "cpu" and args.replicas == 1 else ""
    print(f"{len(runs)} runs, {len(left)} missing{time_needed}", file=sys.stderr)
    if args.list:
        print("\n".join(config.run_id for config in left))
    elif elsewhere:
        hand_over(args, runs, left, outputs, at_once, device)
    else:
        going = sweeps.sweep(left, outputs=outputs, data=args.data, until=until, replicas=args.replicas)
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
        runs = campaign.runs(args.preset, args.datasets or campaign.datasets, args.methods, seeds)
    else:
        near = nearest(args.campaign, CAMPAIGNS)
        raise ValueError(f"CAMPAIGN: unknown value {args.campaign!r}{near}, or a .jsonl file")
    if not runs:
        raise ValueError(f"--datasets, --methods: no such runs among the {args.campaign}")
    asked = {"device": args.device} if args.device != "auto" else {}
    asked |= {"capture": True} if args.capture else {}
    return [dataclasses.replace(config, **asked) for config in runs] if asked else runs


def hand_over(
    args: argparse.Namespace, runs: list[RunConfig], left: list[RunConfig], outputs: Path, at_once: int, device: str
) -> None:
    """The runs to Snakemake, here or on a cluster."""
    from gdwlib import workflow

    how, settings = [], {}
    if args.profile is not None:
        how += ["--profile", str(args.profile.resolve())]
    if args.cores is not None:
        how += ["--cores", str(at_once)]
        if device == "cuda" and args.profile is None:
            import torch

            settings["runs_per_gpu"] = args.runs_per_gpu or 1
            how += ["--resources", f"gpu_places={settings['runs_per_gpu'] * torch.cuda.device_count()}"]
    if args.data is not None:
        settings["data"] = args.data.resolve()
    for name in sorted({config.dataset for config in left}):  # once, before many want it at the same time
        for train in (True, False):
            DATASETS[name].load(args.data or project_folder("data"), train)
    outputs = outputs.resolve()
    listed = workflow.write_list(runs, Path(args.campaign).stem, outputs)
    going = workflow.Sweep(
        listed, left, outputs, how + args.snakemake, lambda text: print(text, file=sys.stderr), settings
    )
    if failed := going.train():
        raise RecordError(f"{failed} runs failed, see above; the same command tries them again")


def expected(runs: list[RunConfig], at_once: int) -> str:
    """How long they will take on a CPU, where all of them have records in the project's own outputs/."""
    from gdwlib.machine import cores

    seconds = expected_seconds(runs, project_folder("outputs"))
    if not seconds:
        return ""
    at_once = min(at_once, cores(), len(runs))
    needed = duration(seconds / at_once)
    return f"; about {needed}, {at_once} at once, by the times of the records in outputs/"


def table(args: argparse.Namespace) -> None:
    try:
        from gdwlib import pages, tables
        from gdwlib.evidence import Evidence
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
    evidence, outputs = Evidence(args.outputs), args.outputs or project_folder("outputs")
    if listed is not None:
        frame = pages.of_list(from_file(listed), evidence)
        print(frame.to_string())
        if args.save:
            print(pages.save(frame, f"The runs of {listed.name}", outputs / "sweeps" / f"{listed.stem}-runs.html"))
        return
    for name in (args.dataset,) if args.dataset else tables.PUBLISHED:
        frame = tables.largest(tables.TABLES[int(args.table)], evidence, name, args.preset)
        print(tables.as_text(frame))
        if args.save:
            print("\n".join(str(path) for path in pages.save_table(frame, evidence, outputs)))
    others = [name for name in DATASETS if name in evidence.datasets() - {*tables.PUBLISHED, args.dataset}]
    if others:
        print(f"Records of other data sets: --dataset {' or '.join(others)}")


def compare(args: argparse.Namespace) -> None:
    try:
        from gdwlib.evidence import Evidence, trained_twice
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is needed to compare; pip install 'gdwlib[notebooks]'") from error
    outputs = args.outputs or project_folder("outputs")
    if args.again.resolve() == outputs.resolve():
        raise ValueError(f"{args.again}: is the folder to compare with; name one that was trained into again")
    before = Evidence(outputs)
    twice = trained_twice(before, Evidence(args.again))
    if not twice:
        raise ValueError(f"{args.again}: has no complete record of a run that {outputs} has one of")
    other = [run for run in twice if not run.equal]
    for run in other:
        print(f"{run.run_id}: {run.before:.2f}% before, {run.after:.2f}% again ({run.after - run.before:+.2f})")
    print(f"{len(twice)} runs trained twice: {len(twice) - len(other)} equal bit for bit in every epoch's numbers")
    if absent := len(before.records()) - len(twice):
        print(f"{absent} records of {outputs} have no second one")
    if other:
        gaps = [run.after - run.before for run in other]
        far = max(map(abs, gaps))
        print(
            f"the others' final accuracies differ by {far:.2f} points at most, {sum(gaps) / len(gaps):+.2f} on average"
        )


def bench(args: argparse.Namespace) -> None:
    import torch

    from gdwlib import bench as measure
    from gdwlib.machine import keep_freed_memory

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
    path = measure.result_path(args.outputs or project_folder("outputs"), setting)

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    names = args.steps or list(measure.STEPS)
    for section in args.sections:
        if section == "steps":
            rows = measure.measure_steps(setting, names, args.rounds, say)
        elif section == "parts":
            rows = measure.measure_parts(setting, [name for name in names if name in METHODS], args.rounds, say)
        elif section == "growth":
            rows = measure.measure_growth(setting, args.rounds, say)
        else:
            rows = measure.measure_loop(loop, args.data, 20, say)
        measure.keep(path, section, rows, setting)
        print(measure.as_text(section, rows))
        if section == "steps":
            with contextlib.suppress(ModuleNotFoundError):  # seaborn, on a bare node
                from gdwlib import plots

                plots.style()
                plots.step_costs(rows).savefig(path.with_suffix(".png"))
                print(path.with_suffix(".png"))
    print(path)


def data(args: argparse.Namespace) -> None:
    folder = args.data or project_folder("data")
    for train in (True, False):
        images = DATASETS[args.name].load(folder, train).images
        print(f"{args.name} {'train' if train else 'test'}: {len(images)} images, {images.shape[1:]}, verified")
