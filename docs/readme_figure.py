"""Draw the README's figure again, from what is committed: `make readme-figure`."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import gdwlib
from gdwlib.companion import figures, plots


def main(to: Path) -> None:
    plots.style()
    case = gdwlib.single_image_step(
        gdwlib.RunConfig(dataset="cifar10", preset="half", noise="uniform", noise_ratio=0.6),
        "cat",
        "dog",
    )
    figure = figures.messages(case, gdwlib.DATASETS["cifar10"].classes)
    figure.savefig(to / "messages.png", metadata={"Software": None})


if __name__ == "__main__":
    main(
        Path(sys.argv[1])
        if len(sys.argv) > 1
        else Path(__file__).parents[1] / "outputs" / "figures"
    )
