"""The command line: `python -m gdwlib COMMAND --help`."""

import argparse
import contextlib
import dataclasses
import inspect
import re
import sys
import time
import typing
from pathlib import Path

from gdwlib.bench.steps import STEPS
from gdwlib.campaign import CAMPAIGNS, expected_seconds, from_file, missing
from gdwlib.config import DEVICES, PRECISIONS, PRESETS, RunConfig, nearest, project_folder
from gdwlib.data import DATASETS, NOISES, DataError
from gdwlib.methods import METHODS
from gdwlib.models import MODELS
from gdwlib.progress import duration
from gdwlib.recipes import OPTIMIZERS, SCHEDULES
from gdwlib.records import RecordError

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

    run.add_argument("--replicas", type=int, default=1, metavar="K", help="train the seeds SEED..SEED+K-1 together "
                     "as one network in groups (default: 1)")  # fmt: skip
    run.add_argument("--wait", action="store_true", help="where another process is training this run, wait for it")
    run.add_argument("--runs-per-gpu", type=int, metavar="R", help="cuda: take a GPU that fewer than R runs are on, "
                     "wait for one (default: the first GPU, whoever is on it)")  # fmt: skip

    sweep = commands.add_parser("sweep", parents=[folders], help="train what is missing of many runs")
    sweep.add_argument("campaign", nargs="?", default="tables", metavar="CAMPAIGN",
                       help="table2, table3, table4 (notebooks 04 to 06); appendices (08, and variants); tables: 2 "
                       "to 4 (default); paper: everything; evidence: the runs behind the committed notebooks; or "
                       "FILE.jsonl, an object of RunConfig's fields a line")  # fmt: skip
    sweep.add_argument("--preset", choices=PRESETS, default="small", help="(default: small)")
    sweep.add_argument("--budget", metavar="TIME", help="stop in time, as 90s, 9m, 1.5h; the same command goes on")
    sweep.add_argument("--datasets", nargs="+", choices=DATASETS, metavar="NAME",
                       help="(default: cifar10 cifar100; of the evidence, fashion cifar10)")  # fmt: skip
    sweep.add_argument(
        "--methods", nargs="+", choices=METHODS, default=[*METHODS], metavar="NAME", help="(default: all)"
    )
    sweep.add_argument("--seeds", type=int, metavar="N", help="seeds 0..N-1 (default: 5; of the evidence, 3)")
    sweep.add_argument("--cores", type=int, nargs="?", const=0, metavar="N", help="N runs at once, by Snakemake (no N: "
                       "as many as there are cores; default: one after the other, in this process)")  # fmt: skip
    sweep.add_argument("--profile", type=Path, metavar="DIR", help="a Snakemake profile: on a cluster, profiles/slurm")
    sweep.add_argument("--runs-per-gpu", type=int, default=1, metavar="R", help="of --cores, where there are GPUs "
                       "(default: 1)")  # fmt: skip
    sweep.add_argument("--replicas", type=int, default=1, metavar="K", help="seeds trained together (default: 1)")
    sweep.add_argument("--device", choices=DEVICES, default="auto", help="(default: auto)")
    sweep.add_argument("--capture", action="store_true", help="cuda: replay steps as CUDA graphs")
    sweep.add_argument("--list", action="store_true", help="say what is missing and train nothing")
    sweep.epilog = "What follows a lone -- is handed to Snakemake."

    table = commands.add_parser("table", parents=[folders], help="one of the paper's tables, ours beside it")
    table.add_argument("table", metavar="N", help="2 to 5; or FILE.jsonl: the runs of a list, as a sweep writes it")
    table.add_argument("--dataset", choices=DATASETS, metavar="NAME", help="one data set (default: both CIFARs)")
    table.add_argument("--preset", choices=PRESETS, metavar="NAME", help="(default: the largest that has records)")
    table.add_argument("--save", action="store_true", help="also as HTML and its gains as a picture, in outputs/tables "
                       "and outputs/figures")  # fmt: skip

    compare = commands.add_parser("compare", parents=[folders], help="records trained again, beside those of outputs/")
    compare.add_argument("again", type=Path, metavar="DIR", help="the --outputs they were trained into")

    bench = commands.add_parser("bench", parents=[folders], help="time, memory and operations of every method's step")
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

    data = commands.add_parser("data", parents=[folders], help="fetch and verify a data set")
    data.add_argument("name", choices=DATASETS, metavar="NAME", help=", ".join(DATASETS))
    return top


def at_least(args: argparse.Namespace, least: int, *names: str) -> None:
    for name in names:
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')}: must be at least {least}, not {value}")


def run(args: argparse.Namespace) -> None:
    from gdwlib import devices, processes, training
    from gdwlib.sweep import run_replicas

    fields = {field.name for field in dataclasses.fields(RunConfig)}
    config = RunConfig(**{name: value for name, value in vars(args).items() if name in fields})
    outputs = args.outputs or project_folder("outputs")
    at_least(args, 1, "replicas", "runs_per_gpu")
    configs = [dataclasses.replace(config, seed=config.seed + k) for k in range(args.replicas)]
    before, device = time.time(), config.torch_device()
    with processes.team(device) as engine:
        for name in ("replicas", "capture", "runs_per_gpu", "wait"):
            several = {"capture": config.capture, "replicas": args.replicas > 1}.get(name, getattr(args, name, None))
            if several and (engine.processes > 1 or (name == "runs_per_gpu" and args.replicas > 1)):
                raise ValueError(f"--{name.replace('_', '-')}: of a run in one process alone; leave it off")
        with contextlib.ExitStack() as stack:
            if args.runs_per_gpu and device.type == "cuda":
                stack.enter_context(devices.place(args.runs_per_gpu, lambda text: print(text, file=sys.stderr)))
            if args.replicas > 1:
                records = run_replicas(configs, outputs=outputs, data=args.data, wait=args.wait)
            else:
                records = [training.run(config, outputs=outputs, data=args.data, wait=args.wait, engine=engine)]
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

            settings["runs_per_gpu"] = args.runs_per_gpu
            how += ["--resources", f"gpu_places={args.runs_per_gpu * torch.cuda.device_count()}"]
    if args.data is not None:
        settings["data"] = args.data.resolve()
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
        from gdwlib import tables
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
        frame = tables.of_list(from_file(listed), evidence)
        print(frame.to_string())
        if args.save:
            print(tables.save(frame, f"The runs of {listed.name}", outputs / "sweeps" / f"{listed.stem}-runs.html"))
        return
    for name in (args.dataset,) if args.dataset else tables.PUBLISHED:
        frame = tables.largest(tables.TABLES[int(args.table)], evidence, name, args.preset)
        print(tables.as_text(frame))
        if args.save:
            print("\n".join(str(path) for path in tables.save_table(frame, evidence, outputs)))
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

    names = args.steps or list(STEPS)
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


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    own = argv.index("--") if "--" in argv else len(argv)
    args = parser().parse_args(argv[:own])
    args.snakemake = argv[own + 1 :]
    from gdwlib.processes import ProcessLost, first_to_tell

    try:
        commands = {"run": run, "sweep": sweep, "table": table, "compare": compare, "bench": bench, "data": data}
        commands[args.command](args)
    except (DataError, RecordError, ValueError, FloatingPointError, ProcessLost) as error:
        text = " ".join(str(error).split())
        status = 1
    except KeyboardInterrupt:
        text = "stopped; the same command goes on after the last finished epoch"
        status = 130
    else:
        return 0
    if first_to_tell():
        print(f"gdwlib {args.command}: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
