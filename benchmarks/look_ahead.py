"""How far, and in which direction, should the virtual step look ahead? GDW and MWNet with virtual
steps of other lengths, under SGD and under AdamW, beside plain training.

    python benchmarks/look_ahead.py [--seeds N] [--part K/N] [--outputs DIR] [--data DIR]

Garments at the `small` preset (its images, network, epochs and cosine schedule), 40% flip and 60%
uniform noise. SGD is the preset's; AdamW has PyTorch's defaults, learning rate 1e-3 and weight
decay 1e-2. Contestants are named by the virtual step:

    as it is    plain descent with the optimizer's current learning rate, the paper's
    × 10, …     plain descent with so many times that rate (`virtual_lr=lambda lr: 10 * lr`)
    optimizer   preconditioned as the optimizer's own step (`virtual="optimizer"`)

Reported is the mean test accuracy of the last five epochs (percent), and of the last epoch's
weights ω_t the means of right and of wrong labels and the AUROC. Nothing is chosen by them. Runs
are made seed by seed, each is kept in build/look_ahead, and what is there, or in the result, is not
made again. The result, outputs/figures/look_ahead.json, has the runs that are there.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

import gdwlib
from gdwlib.companion.evidence import auroc
from gdwlib.models import WeightNet
from gdwlib.runs.files import write_file
from gdwlib.runs.folders import project_folder
from gdwlib.runs.loading import DeviceLoader
from gdwlib.runs.machine import environment
from gdwlib.runs.training import build_method, load_split

NOISES = {"flip 40%": ("flip", 0.4), "uniform 60%": ("uniform", 0.6)}
OPTIMIZERS = {
    "SGD": lambda params, config: torch.optim.SGD(
        params, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    ),
    "AdamW": lambda params, config: torch.optim.AdamW(params, 1e-3),
}
STEPS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "× 10": {"virtual_lr": lambda lr: 10 * lr},
    "× 100": {"virtual_lr": lambda lr: 100 * lr},
    "optimizer": {"virtual": "optimizer"},
}
OF = {  # × 100 is SGD's learning rate; for SGD "optimizer" is "as it is"
    "SGD": ("as it is", "× 10"),
    "AdamW": ("as it is", "× 100", "optimizer"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", default="1/1", help="K/N: every Nth run from the Kth on")
    parser.add_argument("--outputs", type=Path, default=project_folder("outputs"))
    parser.add_argument("--data", type=Path, default=project_folder("data"))
    parser.add_argument("--kept", type=Path, default=Path("build/look_ahead"))
    args = parser.parse_args()
    part, parts = map(int, args.part.split("/"))
    runs = [
        (noise, optimizer, method, step, seed)
        for seed in range(args.seeds)
        for noise in NOISES
        for optimizer in OPTIMIZERS
        for method, step in (
            ("base", "–"), *((m, s) for m in ("mwnet", "gdw") for s in OF[optimizer])
        )
    ]  # fmt: skip
    result = args.outputs / "figures" / "look_ahead.json"
    before = json.loads(result.read_text())["rows"] if result.is_file() else []
    names = ("noise", "optimizer", "method", "step", "seed")
    known = {tuple(row[name] for name in names): row for row in before}
    for k, run in enumerate(runs):
        file = "-".join(map(str, run)).replace(" ", "").replace("%", "").replace("×", "x")
        kept = args.kept / f"{file}.json"
        if run not in known and not kept.is_file() and k % parts == part - 1:
            kept.parent.mkdir(parents=True, exist_ok=True)
            row = dict(zip(names, run, strict=True)) | trained(*run, args.data)
            write_file(kept, json.dumps(row).encode())
            print(kept.read_text(), flush=True)
        if kept.is_file():
            known[run] = json.loads(kept.read_text())
    rows = [known[run] for run in runs if run in known]
    print(as_text(pd.DataFrame(rows)))
    print(f"{len(rows)} of {len(runs)} runs")
    content = {"environment": environment(torch.device("cpu")), "rows": rows}
    write_file(result, json.dumps(content, indent=1).encode())


def trained(noise: str, optimizer: str, method: str, step: str, seed: int, data: Path) -> dict:
    """One training → its accuracy, and what its weights came to."""
    kind, ratio = NOISES[noise]
    config = gdwlib.RunConfig(
        dataset="fashion", preset="small", noise=kind, noise_ratio=ratio, seed=seed
    )
    split = load_split(config, data)
    loader = DeviceLoader(config, split, torch.device("cpu"))
    model, _ = build_method(config, split, loader)
    own = OPTIMIZERS[optimizer](model.parameters(), config)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(own, config.epochs)
    gdw = None
    if method != "base":
        torch.manual_seed(seed)
        gdw = gdwlib.GDW(
            model,
            own,
            len(split.classes),
            level="class" if method == "gdw" else "instance",
            weight_net=WeightNet(),
            **STEPS[step],
        )
    right = split.given == split.train.labels
    accuracy, weights = [], np.full(len(right), np.nan)
    for epoch in range(config.epochs):
        model.train()
        for batch in loader.batches(epoch):
            if gdw is None:
                own.zero_grad()
                functional.cross_entropy(model(batch.x), batch.y).backward()
                own.step()
            else:
                out = gdw.step(batch.x, batch.y, batch.x_meta, batch.y_meta)
                used = out.class_weights.gather(1, batch.y[:, None])[:, 0]  # (n,) ω_t
                weights[batch.index.numpy()] = used.numpy()
        schedule.step()
        accuracy.append(loader.test_accuracy(model) or 0.0)
    row = {"accuracy": float(np.mean(accuracy[-5:])), "best": max(accuracy)}
    if gdw is not None:
        row |= {
            "right": float(weights[right].mean()),
            "wrong": float(weights[~right].mean()),
            "auroc": auroc(weights, right),
        }
    return row


def as_text(rows: pd.DataFrame) -> str:
    """Means ± standard deviations over the seeds there are."""
    by = rows.groupby(["noise", "optimizer", "method", "step"], sort=False)
    table = by["accuracy"].agg(["mean", "std", "count"]).round(2)
    for name in ("right", "wrong", "auroc"):
        table[name] = by[name].mean().round(2) if name in rows else np.nan
    return table.to_string()


if __name__ == "__main__":
    main()
