"""What the runs of a campaign cost: operations, counted; hours, from measured steps; bytes.

    python benchmarks/campaign_cost.py [--campaign paper] [--presets small half paper]

Operations are those of convolutions and matrix products, two a multiplication and addition, counted
by PyTorch as a step of each method and an evaluation dispatch them. Hours are the steps of each
method times what `python -m gdwlib bench` measured of one (outputs/bench, ResNet-32 on 3×32×32
pixels); for other networks in proportion to the operations, which is an estimate. Bytes are those
of a record without networks, as it is committed, and the peak memory that the bench measured.
"""

import argparse
import copy
import math
from collections import Counter
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from gdwlib import bench
from gdwlib.bench.setting import Setting, method
from gdwlib.data import long_tail_counts
from gdwlib.methods import METHODS
from gdwlib.models import MODELS
from gdwlib.runs.config import RunConfig
from gdwlib.sweeps.campaigns import CAMPAIGNS

IMAGES, PIXELS = 50_000, 32  # of either CIFAR
TEST_IMAGES = 10_000
BATCH = 100
MEASURED = "torch2.15.0-cpu2-float32"


def steps(config: RunConfig) -> int:
    """SGD steps of a run: batches of the training images an epoch, times the epochs."""
    classes = 100 if config.dataset.startswith("cifar100") else 10
    count = (config.train_size or IMAGES) - (config.meta_per_class or 0) * classes
    if config.imbalance < 1:
        count = sum(long_tail_counts(count // classes, config.imbalance, classes))
    return math.ceil(count / config.batch_size) * config.total_epochs


@cache
def operations(name: str, model: str, pixels: int, num_classes: int) -> tuple[float, float]:
    """Of a step of a method on 100 + 100 images, and of a forward pass of one image."""
    torch.manual_seed(0)
    network = MODELS[model](num_classes, 3)
    setting = Setting(num_classes=num_classes, batch_size=4, size=pixels)
    step = method(setting, name, copy.deepcopy(network)).step
    with FlopCounterMode(display=False) as of_step:
        step(setting.batch())
    with FlopCounterMode(display=False) as of_image, torch.no_grad():
        network.eval()(torch.zeros(1, 3, pixels, pixels))
    return of_step.get_total_flops() * BATCH / 4, of_image.get_total_flops()


def of_run(config: RunConfig) -> float:
    """Floating-point operations of a run: its steps and an evaluation an epoch."""
    classes = 100 if config.dataset.startswith("cifar100") else 10
    a_step, an_image = operations(config.method, config.model, PIXELS // config.pool, classes)
    evaluations = an_image * TEST_IMAGES * config.total_epochs
    return steps(config) * a_step * config.batch_size / BATCH + evaluations


def measured_rate() -> float:
    """Operations a second of plain SGD on two threads, as benched."""
    plain = bench.results()[MEASURED]["steps"]["rows"][0]
    return plain["operations"] / plain["seconds"]


def hours(config: RunConfig) -> float:
    """On two threads: a method's measured seconds an operation at ResNet-32, times the run's."""
    rows = {row["step"]: row for row in bench.results()[MEASURED]["steps"]["rows"]}
    row = rows[config.method]
    return of_run(config) * row["seconds"] / row["operations"] / 3600


def table(campaign: str, presets: list[str]) -> list[str]:
    """Markdown rows: a preset, its runs, operations (10¹⁵) and hours of Base, of GDW, of all."""
    chosen = CAMPAIGNS[campaign]
    lines = [
        "| preset | steps of a run | Base, 10¹⁵ operations | GDW | all runs | Base, hours | GDW | "
        "all runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for preset in presets:
        runs = chosen.runs(preset, chosen.datasets, METHODS, range(chosen.seeds))
        base, gdw = (
            RunConfig(dataset="cifar10", method=name, preset=preset) for name in ("base", "gdw")
        )
        cost = [of_run(config) for config in (base, gdw)] + [sum(map(of_run, runs))]
        took = [hours(config) for config in (base, gdw)] + [sum(map(hours, runs))]
        lines.append(
            f"| `{preset}` | {steps(gdw):,} | {cost[0] / 1e15:.3g} | {cost[1] / 1e15:.3g} | "
            f"{cost[2] / 1e15:,.0f} | {took[0]:.2g} | {took[1]:.2g} | {took[2]:,.0f} |"
        )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaign", choices=CAMPAIGNS, default="paper")
    parser.add_argument("--presets", nargs="+", default=["small", "half", "paper"])
    args = parser.parse_args()
    counts = Counter(
        config.preset
        for preset in args.presets
        for config in CAMPAIGNS[args.campaign].runs(
            preset,
            CAMPAIGNS[args.campaign].datasets,
            METHODS,
            range(CAMPAIGNS[args.campaign].seeds),
        )
    )
    print(", ".join(f"{count} runs at {preset}" for preset, count in counts.items()))
    print("\n".join(table(args.campaign, args.presets)))
