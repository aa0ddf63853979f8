"""Which labels are suspected: the ranking beside a loop, and beside what it is to improve on."""

import numpy as np
import pytest

import gdwlib
from gdwlib.data.noise import flip_map
from gdwlib.runs.label_errors import posterior, rank_label_errors


def noisy_predictions(kind, ratio=0.4, count=3000, classes=6, seed=0):
    """True labels, labels given, and a network's honest but unsure probabilities."""
    draw = np.random.default_rng(seed)
    true = draw.integers(0, classes, count)
    given = gdwlib.corrupt_labels(true, kind, ratio, classes, seed)
    logits = draw.normal(size=(count, classes))
    logits[np.arange(count), true] += 2
    probs = np.exp(2 * logits)
    return probs / probs.sum(1, keepdims=True), given, given != true


def test_the_posterior_is_bayes_rule_in_a_loop():
    probs, given, _ = noisy_predictions("uniform", count=40)
    transition = np.zeros((6, 6))
    for p, k in zip(probs, given, strict=True):
        for j in range(6):
            transition[j, k] += p[j]
    for row in transition:
        row /= row.sum()
    for p, k, after in zip(probs, given, posterior(probs, given), strict=True):
        joint = [p[j] * transition[j, k] for j in range(6)]
        assert after == pytest.approx(np.array(joint) / sum(joint))


def test_the_most_suspect_come_first_and_ties_keep_their_order():
    probs, given, wrong = noisy_predictions("uniform")
    order, after, score = rank_label_errors(probs, given)
    assert (np.diff(score[order]) <= 0).all() and sorted(order) == list(range(3000))
    assert wrong[order[: wrong.sum()]].mean() > 0.8 and after.sum(1) == pytest.approx(1)
    same = rank_label_errors(np.full((5, 2), 0.5), np.zeros(5, np.int64))[0]
    assert same.tolist() == list(range(5))


def test_mistakes_with_a_pattern_are_found_better_than_by_probability_alone():
    probs, given, wrong = noisy_predictions("flip", 0.3)
    by_posterior = wrong[rank_label_errors(probs, given)[0][: wrong.sum()]].mean()
    by_probability = wrong[np.argsort(probs[np.arange(3000), given])[: wrong.sum()]].mean()
    assert by_posterior > by_probability + 0.01
    assert len(set(flip_map(6))) > 1


def test_certain_networks_and_absent_classes_give_numbers():
    probs = np.eye(4)[[0, 1, 1, 2]]
    order, after, score = rank_label_errors(probs, np.array([0, 0, 1, 2]))
    assert np.isfinite(after).all() and np.isfinite(score).all() and order[0] == 1


def test_suspects_of_a_published_data_set(tmp_path):
    config = gdwlib.RunConfig(noise="uniform", noise_ratio=0.4, preset="smoke", epochs=6)
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    found = gdwlib.suspects(record)
    ids = record.examples["ids"].astype(str).tolist()
    assert sorted(row.id for row in found) == sorted(ids) and found[0]._fields == (
        "id", "label", "proposed_label", "score",
    )  # fmt: skip
    given = dict(zip(ids, record.examples["given_labels"], strict=True))
    names = gdwlib.DATASETS["fashion"].classes
    assert all(row.label == names[given[row.id]] for row in found)
    (record.path / "model.pt").unlink()
    with pytest.raises(gdwlib.RecordError, match="model.pt"):
        gdwlib.suspects(gdwlib.open_record(record.path))
