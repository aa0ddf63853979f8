"""compare: records trained again, beside those there were."""

import argparse
from pathlib import Path

HELP = "records trained again, beside those of outputs/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "again", type=Path, metavar="DIR", help="the --outputs they were trained into"
    )


def main(args: argparse.Namespace) -> None:
    try:
        from gdwlib.companion.evidence import Evidence, repeated_runs
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is needed to compare; pip install 'gdwlib[notebooks]'"
        ) from error
    outputs = args.folders.outputs
    if args.again.resolve() == outputs.resolve():
        raise ValueError(
            f"{args.again}: is the folder to compare with; name one that was trained into again"
        )
    before = Evidence(outputs)
    twice = repeated_runs(before, Evidence(args.again))
    if not twice:
        raise ValueError(f"{args.again}: has no complete record of a run that {outputs} has one of")
    other = [run for run in twice if not run.equal]
    for run in other:
        gap = f" ({run.gap:+.2f})" if run.gap is not None else ""
        print(
            f"{run.run_id}: {run.before.accuracy_text} before, {run.after.accuracy_text} again{gap}"
        )
    print(
        f"{len(twice)} runs trained twice: {len(twice) - len(other)} equal bit for bit in every "
        "epoch's numbers"
    )
    if absent := len(before.records()) - len(twice):
        print(f"{absent} records of {outputs} have no second one")
    if gaps := [run.gap for run in other if run.gap is not None]:
        far = max(map(abs, gaps))
        print(
            f"the others' final accuracies differ by {far:.2f} points at most, "
            f"{sum(gaps) / len(gaps):+.2f} on average"
        )
