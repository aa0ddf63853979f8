"""How well wrong labels are found: `gdwlib.suspects` beside cleanlab's confident learning and
beside ranking by loss.

    python benchmarks/detectors.py [--seeds N] [--settings NAME …] [--outputs DIR] [--data DIR]

Everything is at the `small` preset, and everyone uses the same network, schedule and augmentation:

    suspects         of a run of GDW, which has 2% trusted images besides
    … of Base        the same ranking of a run of plain training, which has none
    loss             of Base: its cross entropy on its own training images, as they are
    cleanlab         confident learning (Northcutt et al. 2021) by five folds of Base; each fold's
                     network trains on the trusted images as well. Its issues
                     (`prune_by_noise_rate`) first, by self-confidence, then the rest

The wrong labels are known: drawn ones, and for CIFAR-10N by comparison with CIFAR-10. AUROC is over
all training labels; precision is among as many of the most suspect as there are wrong labels. Runs
and folds that are there already are not trained again; the folds' predictions are kept in
build/detectors. Writes outputs/figures/detectors.json.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gdwlib
from gdwlib.data import Split
from gdwlib.runs import folds, label_errors
from gdwlib.runs.config import RunConfig
from gdwlib.runs.files import write_file
from gdwlib.runs.folders import project_folder
from gdwlib.runs.machine import environment
from gdwlib.runs.training import load_split

SETTINGS: dict[str, dict[str, Any]] = {
    "fashion, uniform 40%": {"dataset": "fashion", "noise": "uniform", "noise_ratio": 0.4},
    "CIFAR-10, uniform 40%": {"dataset": "cifar10", "noise": "uniform", "noise_ratio": 0.4},
    "CIFAR-10, flip 40%": {"dataset": "cifar10", "noise": "flip", "noise_ratio": 0.4},
    "CIFAR-10N, worst": {"dataset": "cifar10n", "label_set": "worst"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME"
    )
    parser.add_argument("--outputs", type=Path, default=project_folder("outputs"))
    parser.add_argument("--data", type=Path, default=project_folder("data"))
    parser.add_argument(
        "--folds",
        type=Path,
        default=Path("build/detectors"),
        help="where folds' predictions are kept",
    )
    args = parser.parse_args()
    to = args.outputs / "figures" / "detectors.json"
    kept = json.loads(to.read_text())["rows"] if to.is_file() else []
    for seed in range(args.seeds):
        for name in args.settings:
            rows = measure(name, seed, args)
            kept = [row for row in kept if (row["setting"], row["seed"]) != (name, seed)] + rows
            kept.sort(key=lambda row: (list(SETTINGS).index(row["setting"]), row["seed"]))
            about = environment(torch.device("cpu"))
            write_file(
                to, (json.dumps({"environment": about, "rows": kept}, indent=1) + "\n").encode()
            )
            for row in rows:
                numbers = f"AUROC {row['auroc']:.3f}, precision {row['precision']:.3f}"
                print(f"{name}, seed {seed}: {row['detector']:16} {numbers}", flush=True)
    print(to)


def measure(name: str, seed: int, args: argparse.Namespace) -> list[dict]:
    """A row for each detector."""
    gdw, base = (
        RunConfig(method=method, preset="small", seed=seed, **SETTINGS[name])
        for method in ("gdw", "base")
    )
    split = load_split(gdw, args.data)
    labels, wrong = split.given, split.given != split.train.labels  # (N,)
    probs = {config.method: of_run(config, split, args) for config in (gdw, base)}  # (N, C)
    held_out = kept_out_of_fold(base, split, args)
    at_given = np.arange(len(labels)), labels
    scores = {
        "suspects": label_errors.rank_label_errors(probs["gdw"], labels)[2],
        "suspects of Base": label_errors.rank_label_errors(probs["base"], labels)[2],
        "loss": -np.log(probs["base"][at_given]),
        "cleanlab": confident_learning(held_out, labels),
    }
    return [
        {
            "setting": name,
            "seed": seed,
            "detector": detector,
            "wrong": float(wrong.mean()),
            **judged(score, wrong),
        }
        for detector, score in scores.items()
    ]


def judged(score: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """AUROC, and precision among as many as are wrong."""
    order = np.argsort(-score, kind="stable")
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # ties share their mean rank
    positives, negatives = int(wrong.sum()), int((~wrong).sum())
    auroc = (ranks[wrong].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return {"auroc": float(auroc), "precision": float(wrong[order[:positives]].mean())}


def of_run(config: RunConfig, split: Split, args: argparse.Namespace) -> np.ndarray:
    """A run's network on its training images. A record without its network (as in the repository)
    is trained again, elsewhere."""
    record = gdwlib.run(config, outputs=args.outputs, data=args.data)
    if not (record.path / "model.pt").is_file():
        record = gdwlib.run(config, outputs=args.folds, data=args.data)
    return label_errors.predicted_probabilities(record, split)


def kept_out_of_fold(config: RunConfig, split: Split, args: argparse.Namespace) -> np.ndarray:
    """(N, C): of each image by the one of five networks that has not trained on it."""
    path = args.folds / f"{config.run_id}.npz"
    digest = hashlib.sha256(split.given.tobytes() + split.train.ids.tobytes()).hexdigest()
    if path.is_file():
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["digest"]) == digest:
                return arrays["probs"]
    probs = folds.out_of_fold(config, split, with_trusted=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, probs=probs, digest=digest)
    return probs


def confident_learning(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """cleanlab's ranking as a score, higher = more probably wrong."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = get_label_quality_scores(labels, probs, method="self_confidence")
    issues = find_label_issues(labels, probs, filter_by="prune_by_noise_rate", n_jobs=1)
    return issues.astype(float) + 1 - quality


if __name__ == "__main__":
    main()
