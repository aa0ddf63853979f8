"""The weight statistics of an epoch against a slow count of the same thing."""

import numpy as np
import pytest
import torch

import gdwlib
from gdwlib.methods import StepResult
from gdwlib.runs.diagnostics import BINS, WeightStatistics

C = 4


def split_of(given, true):
    images = gdwlib.data.Images(
        np.zeros((len(true), 1, 2, 2), np.uint8), true, np.arange(len(true))
    )
    return gdwlib.data.Split(images, given, images, images, tuple("abcd"), (0.0,), (1.0,))


def counted(seen, given, true, smallest, second):
    """Percent of increased weights by position, one weight at a time."""
    up, all_ = {}, {}
    for index, before, after in seen:
        for row, i in enumerate(index):
            right = given[i] == true[i]
            for j in range(C):
                if j == given[i]:
                    name = "clean_target" if right else "mislabelled_target"
                elif j == true[i]:
                    name = "mislabelled_true_target"
                else:
                    name = "clean_nontarget" if right else "mislabelled_nontarget"
                for key in [name] + ["tail"] * int(given[i] == smallest and j == second):
                    all_[key] = all_.get(key, 0) + 1
                    up[key] = up.get(key, 0) + bool(after[row, j] > before[row, j])
    return {name: 100 * up[name] / all_[name] for name in all_}


@pytest.mark.parametrize("noisy", [True, False])
def test_against_a_count_by_hand(noisy):
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(C), (20, 12, 5, 8))  # class 2 the smallest, then class 3
    given = np.where(rng.random(len(true)) < 0.5 * noisy, rng.integers(0, C, len(true)), true)
    statistics = WeightStatistics(
        gdwlib.RunConfig(imbalance=0.5), split_of(given, true), torch.device("cpu")
    )
    for _ in range(2):  # the second epoch knows nothing of the first
        seen = []
        weights = torch.full((len(true),), torch.nan)
        for index in torch.randperm(len(true)).split(9):
            before, after = torch.rand(2, len(index), C)
            outcome = StepResult(
                torch.tensor(0.0),
                target_weights=after[:, 0],
                first_weights=before,
                class_weights=after,
            )
            statistics.update(outcome, index)
            weights[index] = 2 * outcome.target_weights
            seen.append((index.tolist(), before.numpy(), after.numpy()))
        read = statistics.compute(weights)
        expected = counted(seen, given, true, 2, 3)
        assert read["increased_second_smallest"] == pytest.approx(expected.pop("tail"))
        for name, value in read["increased"].items():
            assert value == (pytest.approx(expected[name]) if name in expected else None), name
        for name, mask in (("clean", given == true), ("mislabelled", given != true)):
            top = read["weight_histogram"]["top"]
            assert top == pytest.approx(float(weights.max()))
            by_hand = [0] * BINS
            for w in weights.numpy()[mask].astype(float):
                by_hand[min(int(w / top * BINS), BINS - 1)] += 1
            # on the edge of a bin
            assert np.abs(np.array(by_hand) - read["weight_histogram"][name]).sum() <= 2
            assert sum(by_hand) == mask.sum() == sum(read["weight_histogram"][name])
        mean = weights.numpy()[given != true].mean() if noisy else None
        assert read["mislabelled_weight"] == (pytest.approx(mean) if noisy else None)


def test_what_does_not_exist_is_null():
    labels = np.arange(C).repeat(3)
    statistics = WeightStatistics(gdwlib.RunConfig(), split_of(labels, labels), torch.device("cpu"))
    statistics.update(StepResult(torch.tensor(0.0)), torch.arange(5))
    read = statistics.compute(torch.full((12,), torch.nan))
    assert set(read.values()) == {None}


@pytest.mark.parametrize("method", ["gdw", "mwnet"])
def test_a_record_keeps_them_for_every_epoch(method, tmp_path):
    config = gdwlib.RunConfig(
        method=method,
        preset="smoke",
        noise="uniform",
        noise_ratio=0.4,
        imbalance=0.3,
        train_size=600,
    )
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    wrong = record.examples["given_labels"] != record.examples["true_labels"]
    for line in record.metrics:
        assert sum(line["weight_histogram"]["mislabelled"]) == wrong.sum()
        assert sum(line["weight_histogram"]["clean"]) == (~wrong).sum()
        assert len(line["increased"]) == 5 and all(
            0 <= value <= 100 for value in line["increased"].values()
        )
        assert 0 <= line["increased_second_smallest"] <= 100
    if method == "mwnet":  # one weight an example: all positions move together
        assert line["increased"]["clean_target"] == pytest.approx(
            line["increased"]["clean_nontarget"]
        )
