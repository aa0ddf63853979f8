"""What the meta step asks of images by their loss."""

import json

import numpy as np
import pytest
import torch

import gdwlib
from gdwlib.companion.alignment import PARTS, _by_loss, alignment_of


def config(**fields):
    return gdwlib.RunConfig(
        preset="smoke", **({"method": "mwnet", "noise": "flip", "noise_ratio": 0.4} | fields)
    )


def test_it_watches_the_run_itself(tmp_path):
    """The weights seen in the last epoch are those of the record; the second call reads what the
    first has kept."""
    record = gdwlib.run(config(), outputs=tmp_path, progress=False)
    rows = gdwlib.gradient_alignment(config(), outputs=tmp_path)
    assert [(row["epoch"], row["part"]) for row in rows] == [
        (e, k) for e in (1, 2) for k in range(PARTS)
    ]
    last = rows[PARTS:]
    weights = record.examples["target_weights"]
    counts = [len(part) for part in np.array_split(weights, PARTS)]
    assert np.average([row["weight"] for row in last], weights=counts) == pytest.approx(
        weights.mean(), rel=1e-5
    )
    wrong = record.examples["given_labels"] != record.examples["true_labels"]
    assert np.average([row["wrong"] for row in last], weights=counts) == pytest.approx(
        100 * wrong.mean()
    )
    assert [row["loss"] for row in last] == sorted(row["loss"] for row in last)
    (kept,) = (tmp_path / "figures").iterdir()
    assert kept.name == f"alignment-{config().run_id}.json"
    kept.write_text(json.dumps([{"epoch": 7}]))
    assert gdwlib.gradient_alignment(config(), outputs=tmp_path) == [{"epoch": 7}]
    kept.write_text("[")  # half a file
    assert gdwlib.gradient_alignment(config(), outputs=tmp_path) == rows


def test_fifths_by_loss():
    loss, weight = torch.tensor([5.0, 1, 2, 3, 4, 0]), torch.arange(6.0)
    alignment, right = torch.tensor([-1.0, 2, 3, 4, 5, 6]), torch.tensor([0.0, 1, 1, 1, 1, 0])
    rows = _by_loss(torch.stack([loss, weight, alignment, right]))
    assert rows[0] == {
        "part": 0,
        "loss": 0.5,
        "wrong": 50,
        "weight": 3,
        "alignment": 4,
        "alignment_right": 2,
        "alignment_wrong": 6,
    }
    assert (
        rows[-1]["loss"] == 5
        and rows[-1]["alignment_right"] is None
        and rows[-1]["alignment_wrong"] == -1
    )


def test_a_pull_is_what_more_weight_gains():
    """Against finite differences: the meta loss after a virtual step with one image's weight
    moved."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3).double()
    x, y, x_meta, y_meta = (
        torch.randn(6, 4).double(),
        torch.arange(6) % 3,
        torch.randn(5, 4).double(),
        torch.arange(5) % 3,
    )

    def meta_loss(weights):
        theta = {
            name: value.detach().clone().requires_grad_()
            for name, value in model.named_parameters()
        }
        logits = torch.func.functional_call(model, theta, x)
        losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
        grads = torch.autograd.grad((weights * losses).mean(), list(theta.values()))
        moved = {
            name: value - 0.1 * grad
            for (name, value), grad in zip(theta.items(), grads, strict=True)
        }
        return torch.nn.functional.cross_entropy(
            torch.func.functional_call(model, moved, x_meta), y_meta
        ).item()

    gdw = gdwlib.GDW(model, torch.optim.SGD(model.parameters(), 0.1), 3, level="instance")
    weights = gdw.weight_net(
        torch.nn.functional.cross_entropy(model(x), y, reduction="none").detach()[:, None]
    )[:, 0].detach()  # (n,)
    expected = []
    for k in range(6):
        moved = torch.eye(6, dtype=torch.float64)[k] * 1e-5
        expected.append((meta_loss(weights - moved) - meta_loss(weights + moved)) / 2e-5)
    alignment = alignment_of(gdw.step(x, y, x_meta, y_meta))
    assert alignment == pytest.approx(6 * torch.tensor(expected), rel=1e-6)


def test_a_method_without_a_weighting_network_is_refused():
    with pytest.raises(ValueError, match="method: must be 'mwnet' or 'gdw'"):
        gdwlib.gradient_alignment(config(method="base"))
    with pytest.raises(ValueError, match="meta_every: must be 1"):
        gdwlib.gradient_alignment(config(meta_every=2))
