"""data: fetch and verify a data set."""

import argparse

from gdwlib.data import DATASETS, OwnData

HELP = "fetch and verify a data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=DATASETS, metavar="NAME", help=", ".join(DATASETS))


def main(args: argparse.Namespace) -> None:
    folder = args.folders.data
    source = DATASETS[args.name]
    if isinstance(source, OwnData):
        raise ValueError(f"NAME: {args.name} is data of your own; nothing to fetch")
    for train in (True, False):
        split = source.load(folder, train)
        if split is None:
            continue
        print(
            f"{args.name} {'train' if train else 'test'}: {len(split.ids)} images, "
            f"{split.images.shape[1:]}, verified"
        )
        for name, given in source.label_sets.items() if train else ():
            wrong = 100 * (given(folder, split.labels) != split.labels).mean()
            print(f"{args.name} {name}: {wrong:.2f}% of the labels that people gave are wrong")
