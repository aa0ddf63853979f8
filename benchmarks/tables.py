"""How good the default for tables is: GDW and plain training beside scikit-learn's logistic
regression and random forest, with wrong labels.

    python benchmarks/tables.py [--seeds N] [--tables NAME ...] [--choose] [--outputs DIR]

Five tables that scikit-learn brings and a dirty one that is made here, each with 30% uniform and
30% flip noise. Of each a third are test rows, and ten of each class (five of small tables) are
trusted. Everybody sees the same features (what `gdwlib.data.own.table` makes of the columns) and
may train on the trusted rows:

    logistic regression   scikit-learn's default on standardised features, training and trusted rows
    random forest         scikit-learn's default, likewise
    gdw, base             of `RunConfig(dataset=…)`; Base trains on the training rows alone
    …, out of fold        the list of suspects by five networks, each on rows it has not seen

Reported is the test accuracy (ours: the mean of the last five epochs), and the precision of a
list of suspects with as many rows as there are wrong labels: ours is that of `gdwlib.suspects`, by
the run's network, and the same ranking out of fold; scikit-learn's is by the out-of-fold
probability of the given label (five folds).

--choose compares candidates for the default: of each the accuracy of GDW on trusted rows that a
training has not seen, in five folds. Test rows play no part in it.
Writes outputs/figures/tables.json.
"""

import argparse
import copy
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

import gdwlib
from gdwlib.data import Split
from gdwlib.data.noise import corrupt_labels
from gdwlib.data.randomness import rng
from gdwlib.runs.files import write_file
from gdwlib.runs.folders import project_folder
from gdwlib.runs.folds import out_of_fold
from gdwlib.runs.label_errors import predicted_probabilities, rank_label_errors
from gdwlib.runs.machine import environment
from gdwlib.runs.training import load_split

FOLDS = 5
NOISE_RATIO = 0.3
QUANTILES = "quantiles"  # of a candidate: numbers are mapped to normal ones by their ranks
CANDIDATES: dict[str, dict[str, Any]] = {
    "mlp, 30 epochs": {"model": "mlp", "epochs": 30},
    "mlp, 10 epochs": {"model": "mlp", "epochs": 10},
    "mlp, lr 0.01": {"model": "mlp", "lr": 0.01},
    "mlp, weight decay 0.01": {"model": "mlp", "weight_decay": 0.01},
    "mlp, lr 0.01, weight decay 0.01": {"model": "mlp", "lr": 0.01, "weight_decay": 0.01},
    "linear": {"model": "linear"},
    "linear, lr 0.01": {"model": "linear", "lr": 0.01},
    "linear, weight decay 0.01": {"model": "linear", "weight_decay": 0.01},
    "linear, batches of 20": {"model": "linear", "batch_size": 20},
    "linear, quantiles": {"model": "linear", QUANTILES: True},
    "mlp, lr 0.01, weight decay 0.01, quantiles": {
        "model": "mlp",
        "lr": 0.01,
        "weight_decay": 0.01,
        QUANTILES: True,
    },
}
SKLEARN: dict[str, Callable[[int], Any]] = {
    "logistic regression": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=2000)
    ),
    "random forest": lambda seed: RandomForestClassifier(random_state=seed),
}


def of_sklearn(load: Callable[..., Any]) -> tuple[pd.DataFrame, np.ndarray]:
    bunch = load(as_frame=True)
    labels = bunch.target.to_numpy()
    if load is datasets.load_diabetes:  # a number: low, middle, high
        labels = np.searchsorted(np.quantile(labels, (1 / 3, 2 / 3)), labels)
    return bunch.data, labels


def dirty() -> tuple[pd.DataFrame, np.ndarray]:
    """Measured parts: two numbers that tell with an interaction, one with heavy tails, gaps,
    categories of which some are rare, and columns that say nothing."""
    draw = np.random.default_rng(0)
    count = 1500
    kind = draw.integers(0, 4, count)
    width = draw.normal(1.0 + kind, 1.0)
    height = draw.normal(3.0 - 1.5 * kind * (kind % 2), 1.0)
    weight = np.exp(draw.normal(0.7 * (kind == 2), 1.2))
    width[draw.random(count) < 0.15] = np.nan
    weight[draw.random(count) < 0.05] = np.nan
    towns = np.array(["Graz", "Linz", "Wien", "Wels", "Enns", "Steyr"])
    town = np.where(draw.random(count) < 0.5, kind, draw.integers(0, 6, count))
    return pd.DataFrame(
        {
            "width": width,
            "height": height,
            "weight": weight,
            "town": np.where(draw.random(count) < 0.05, "", towns[town]),
            "checked": draw.choice(["yes", "no"], count),
            "noise": draw.normal(size=count),
        }
    ), kind


TABLES: dict[str, Callable[[], tuple[pd.DataFrame, np.ndarray]]] = {
    "breast cancer": lambda: of_sklearn(datasets.load_breast_cancer),
    "wine": lambda: of_sklearn(datasets.load_wine),
    "iris": lambda: of_sklearn(datasets.load_iris),
    "digits": lambda: of_sklearn(datasets.load_digits),
    "diabetes": lambda: of_sklearn(datasets.load_diabetes),
    "dirty": dirty,
}


class Problem:
    """A table with wrong labels: rows that are trained on, trusted and test rows."""

    def __init__(self, name: str, kind: str, seed: int):
        self.name, self.kind, self.seed = name, kind, seed
        self.features, self.labels = TABLES[name]()
        draw, count = rng(seed, f"table {name}"), len(self.labels)
        order = draw.permutation(count)
        self.test, rest = order[: count // 3], order[count // 3 :]
        per_class = 10 if count > 400 else 5
        classes = range(self.labels.max() + 1)
        of_class = [rest[self.labels[rest] == c] for c in classes]
        self.trusted = np.concatenate([own[:per_class] for own in of_class])
        self.train = np.concatenate([own[per_class:] for own in of_class])
        true = self.labels[self.train].astype(np.int64)
        self.given = np.asarray(corrupt_labels(true, kind, NOISE_RATIO, len(classes), seed=seed))
        self.wrong = self.given != true

    def by_quantiles(self) -> "Problem":
        """The same with its numbers mapped to normal ones, by their ranks in the training rows."""
        other = copy.copy(self)
        numbers = self.features.select_dtypes("number").columns
        learned = QuantileTransformer(
            n_quantiles=min(1000, len(self.train)), output_distribution="normal"
        ).fit(self.features.iloc[self.train][numbers])
        other.features = self.features.copy()
        other.features[numbers] = learned.transform(self.features[numbers])
        return other

    def part(self, rows: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
        return self.features.iloc[rows], self.labels[rows]

    def train_gdw(
        self, trusted: np.ndarray, test: np.ndarray, method: str, outputs: Path, fields: dict
    ) -> gdwlib.RunRecord:
        name = f"{self.name}-{self.kind}-{self.seed}".replace(" ", "-")
        gdwlib.add_table(
            name,
            self.features.iloc[self.train],
            self.given,
            trusted=self.part(trusted),
            test=self.part(test),
        )
        config = gdwlib.RunConfig(dataset=name, method=method, seed=self.seed, **fields)
        self.split: Split = load_split(config)
        return gdwlib.run(config, outputs=outputs)


def problems(seeds: int, tables: list[str]) -> Iterator[Problem]:
    for seed in range(seeds):
        for name in tables:
            for kind in ("uniform", "flip"):
                yield Problem(name, kind, seed)


def choose(chosen: Iterator[Problem], outputs: Path) -> None:
    """Each candidate's accuracy on trusted rows held out, percent."""
    rows = []
    for problem in chosen:
        labels = problem.labels[problem.trusted]
        folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(labels, labels))
        for candidate, fields in CANDIDATES.items():
            fields = fields.copy()
            seen = problem.by_quantiles() if fields.pop(QUANTILES, False) else problem
            accuracy = [
                seen.train_gdw(
                    problem.trusted[kept], problem.trusted[out], "gdw", outputs, fields
                ).result["final_accuracy"]
                for kept, out in folds
            ]
            row = {"table": problem.name, "noise": problem.kind, "seed": problem.seed}
            rows.append(row | {"candidate": candidate, "accuracy": np.mean(accuracy)})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows).pivot_table("accuracy", "candidate", "table", sort=False)
    print(table.assign(mean=table.mean(axis=1)).round(1).to_string())


def measure(problem: Problem, outputs: Path) -> list[dict]:
    """A row for each contestant: test accuracy, and precision of its suspects, percent."""
    row = {"table": problem.name, "noise": problem.kind, "seed": problem.seed}
    found = {}
    for method in ("gdw", "base"):
        record = problem.train_gdw(problem.trusted, problem.test, method, outputs, {})
        wrong = problem.wrong[problem.split.train.ids.astype(int)]  # of the rows trained on
        lists = {
            method: predicted_probabilities(record, problem.split),
            f"{method}, out of fold": out_of_fold(gdwlib.RunConfig(**record.config), problem.split),
        }
        for name, probs in lists.items():
            first = rank_label_errors(probs, problem.split.given)[0][: wrong.sum()]
            accuracy = record.result["final_accuracy"] if name == method else np.nan
            found[name] = accuracy, 100 * float(wrong[first].mean())
    split = problem.split
    x, given = np.asarray(split.train.images), split.given
    both = np.concatenate([x, np.asarray(split.meta.images)])
    labels = np.concatenate([given, split.meta.labels])
    assert split.test is not None
    for name, make in SKLEARN.items():
        right = make(problem.seed).fit(both, labels).predict(split.test.images)
        accuracy = 100 * float((right == split.test.labels).mean())
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=problem.seed)
        probs = cross_val_predict(
            make(problem.seed), both, labels, cv=folds, method="predict_proba"
        )
        at_given = probs[np.arange(len(given)), given]
        first = np.argsort(at_given, kind="stable")[: wrong.sum()]
        found[name] = accuracy, 100 * float(wrong[first].mean())
    return [
        row | {"contestant": name, "accuracy": accuracy, "precision": precision}
        for name, (accuracy, precision) in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", nargs="+", default=[*TABLES], choices=TABLES, metavar="NAME")
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--outputs", type=Path, default=project_folder("outputs"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # of steps so small the threads' handing over costs more than it saves
    with tempfile.TemporaryDirectory() as folder:
        if args.choose:
            choose(problems(args.seeds, args.tables), Path(folder))
            return
        rows = []
        for problem in problems(args.seeds, args.tables):
            rows += measure(problem, Path(folder))
            print(pd.DataFrame(rows[-6:]).round(1).to_string(header=False), flush=True)
    frame = pd.DataFrame(rows)
    for column in ("accuracy", "precision"):
        table = frame.pivot_table(column, "contestant", ["noise", "table"], sort=False)
        print(f"\n{column} (%)\n{table.assign(mean=table.mean(axis=1)).round(1).T.to_string()}")
    content = {"environment": environment(torch.device("cpu")), "rows": rows}
    to = args.outputs / "figures" / "tables.json"
    write_file(to, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
