"""The explorer's arithmetic against the step it starts from, and the equations it shows."""

import numpy as np
import pytest

import gdwlib
from gdwlib.companion import explorer
from gdwlib.runs.progress import PAGES

CONFIG = gdwlib.RunConfig(dataset="cifar10", preset="half", noise="uniform", noise_ratio=0.6)
CLASSES = gdwlib.DATASETS["cifar10"].classes


@pytest.fixture(scope="module")
def case():
    return gdwlib.single_image_step(CONFIG, "cat", "dog")  # committed


@pytest.mark.parametrize("changes", [None, {"clip": 0.05}, {"zero_mean": False}, {"class_lr": 5.0}])
def test_untouched_it_is_the_real_step(case, changes, tmp_path):
    if changes is not None:
        config = gdwlib.RunConfig(noise="uniform", noise_ratio=0.4, preset="smoke", **changes)
        case = gdwlib.single_image_step(config, "shirt", "coat", outputs=tmp_path)
    for row in range(len(case["given"])):
        found = explorer.weights(case, row)
        assert np.allclose(found.second, case["class_weights"][row], atol=1e-6)
        assert np.allclose(found.first, case["first_weights"][row], atol=1e-6)


def test_the_constraint_and_the_weighted_probabilities(case):
    """Eq. 5 and 6 hold where Eq. 4 is imposed, and not without it."""
    for changes in ({}, {"label": 3}, {"true_p": 0.9}, {"first": 0.3, "clip": 0.7}):
        found = explorer.weights(case, 0, **changes)
        t = changes.get("label", int(case["given"][0]))
        y = np.eye(10)[t]
        assert abs(found.after.sum()) < 1e-12 and found.weighted.sum() == pytest.approx(1)
        assert np.allclose(found.after, found.second[t] * (found.weighted - y), atol=1e-12)
        free = explorer.weights(case, 0, **changes, zero_mean=False)
        assert abs(free.after.sum()) > 1e-4 and np.allclose(
            np.delete(free.second, t), np.delete(found.second, t)
        )


def test_the_clip_bounds_the_step(case):
    tight = explorer.weights(case, 0, zero_mean=False, clip=0.05)
    assert np.abs(tight.second - tight.first).max() == pytest.approx(0.05) and tight.clipped.any()
    wide = explorer.weights(case, 0, zero_mean=False, clip=9.0)
    small = explorer.weights(case, 0, zero_mean=False, clip=0.05, class_lr=1e-3)
    assert (
        np.abs(wide.second - wide.first).max() > 0.05
        and not wide.clipped.any()
        and not small.clipped.any()
    )


def test_another_label_turns_the_two_flows_it_touches(case):
    """From “dog” to “cat”: only the gradients of these two change their sign, and so do their
    steps."""
    as_dog, as_cat = (
        explorer.weights(case, 0, label=label, zero_mean=False, clip=9.0) for label in (5, 3)
    )
    turned = np.sign(as_dog.before) != np.sign(as_cat.before)
    moved = np.sign(as_dog.second - as_dog.first) != np.sign(as_cat.second - as_cat.first)
    assert set(np.flatnonzero(turned)) == {3, 5} == set(np.flatnonzero(moved))


def test_a_network_that_is_all_sure_and_values_that_cannot_be(case):
    sure = case | {"probs": np.eye(10, dtype=np.float32)[case["true"]]}
    for changes in ({}, {"true_p": 0.5}, {"true_p": 1.0}):
        assert all(np.isfinite(part).all() for part in explorer.weights(sure, 0, **changes))
    for name, value in (("label", 12), ("label", "cat"), ("true_p", 2.0), ("clip", -1.0)):
        with pytest.raises(ValueError, match=f"{name}: must be"):
            explorer.weights(case, 0, **{name: value})


def test_where_widgets_cannot_run_it_is_a_figure(case, monkeypatch):
    import matplotlib.pyplot as plt

    for name in PAGES:
        monkeypatch.delenv(name, raising=False)
    before = set(plt.get_fignums())
    assert explorer.show(case, CLASSES) is None
    (new,) = set(plt.get_fignums()) - before
    legends = filter(None, (axes.get_legend() for axes in plt.figure(new).axes))
    labels = {text.get_text() for legend in legends for text in legend.get_texts()}
    plt.close(new)
    assert labels == {"ω", "ω′", "p", "p′", "p − y", "ω′ ∘ (p − y)"}


def test_in_a_live_notebook_it_has_a_control_for_everything(case, monkeypatch):
    monkeypatch.setattr(explorer, "on_a_page", lambda: True)
    box = explorer.show(case, CLASSES)
    row, label, true_p, *_ = box.children
    assert len(box.children) == 8 and label.value == case["given"][row.value]
    row.value = row.options[5][1]
    assert label.value == case["given"][row.value]
    assert true_p.value == pytest.approx(
        case["probs"][row.value, case["true"][row.value]], abs=1e-3
    )
