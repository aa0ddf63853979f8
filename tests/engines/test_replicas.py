"""Replicas trained together are the runs made alone."""

import dataclasses
import threading

import pytest
import torch
import torchvision
from torch import nn

import gdwlib
from gdwlib import bilevel
from gdwlib.engines.replicas import join, train_replicas, widened
from gdwlib.methods import METHODS, Batch, MethodContext
from gdwlib.models import CifarResNet

C, N = 5, 8


def small_network(seed, channels=3):
    torch.manual_seed(seed)
    return CifarResNet(C, blocks=1, width=4, channels=channels)


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    x, x_meta = (torch.randn(N, 3, 8, 8, generator=generator) for _ in range(2))
    y, y_meta = (torch.randint(C, (N,), generator=generator) for _ in range(2))
    return Batch(x, y, x_meta, y_meta, torch.randperm(3 * N, generator=generator)[:N])


def moved(of, device):
    return Batch(*(part.to(device) for part in of))


def make(name, seed, lr=0.1, device="cpu"):
    model = small_network(seed).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=5e-4)
    config = gdwlib.RunConfig(
        method=name, preset="smoke", noise="uniform", noise_ratio=0.4, seed=seed
    )
    some = moved(batch(100 + seed), device)
    context = MethodContext(
        C,
        some.y.repeat(3),
        some.x_meta,
        some.y_meta,
        0.4,
        lambda: small_network(seed + 50).to(device),
    )
    method = METHODS[name](model, optimizer, context, config.settings, config.learning_rates)
    for epoch in range(config.total_epochs):  # to the last phase
        method.start_epoch(epoch)
    method.set_learning_rate(lr)
    return method


def train(method, seed, engine=bilevel, steps=3):
    for learner in method.learners:
        learner.engine = engine
    for step in range(steps):
        method.step(batch(10 * seed + step))


def assert_same(ours, theirs):
    for a, b in zip(
        *(torch.utils._pytree.tree_leaves(m.state_dict()) for m in (ours, theirs)), strict=True
    ):
        if isinstance(a, torch.Tensor):
            torch.testing.assert_close(a.cpu(), b.cpu(), rtol=1e-10, atol=1e-10)
        else:
            assert a == b


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_together_as_alone(float64, name):
    alone, together = ([make(name, seed) for seed in range(3)] for _ in range(2))
    for seed, method in enumerate(alone):
        train(method, seed)
    jobs = [lambda engine, k=k: train(together[k], k, engine) for k in range(3)]
    assert train_replicas(jobs) == [None] * 3
    for ours, theirs in zip(together, alone, strict=True):
        assert_same(ours, theirs)


def test_replicas_of_different_rates_and_lengths(float64):
    """As when they go on from checkpoints of different epochs."""
    alone, together = (
        [make("gdw", 0, 0.1), make("gdw", 1, 0.02), make("gdw", 2, 0.05)] for _ in range(2)
    )
    for seed, method in enumerate(alone):
        train(method, seed, steps=seed + 1)
    jobs = [lambda engine, k=k: train(together[k], k, engine, steps=k + 1) for k in range(3)]
    assert train_replicas(jobs) == [None] * 3
    for ours, theirs in zip(together, alone, strict=True):
        assert_same(ours, theirs)


def test_replicas_in_different_phases(float64):
    """One looks ahead before it descends, the other, of an earlier epoch, does not."""
    alone, together = ([make("gen_label", seed) for seed in range(2)] for _ in range(2))
    for methods in (alone, together):
        methods[0].start_epoch(0)
    for seed, method in enumerate(alone):
        train(method, seed)
    jobs = [lambda engine, k=k: train(together[k], k, engine) for k in range(2)]
    assert train_replicas(jobs) == [None] * 2
    for ours, theirs in zip(together, alone, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("bad", range(3))
def test_one_that_fails_leaves_and_the_others_go_on(float64, bad):
    alone, together = ([make("gdw", seed) for seed in range(3)] for _ in range(2))

    def job(k):
        def work(engine):
            train(together[k], k, engine, steps=1 if k == bad else 3)
            if k == bad:
                with torch.no_grad():
                    next(together[k].model.parameters()).fill_(torch.nan)
                together[k].step(batch(k))

        return work

    errors = train_replicas([job(k) for k in range(3)])
    for k, error in enumerate(errors):
        if k == bad:
            assert isinstance(error, FloatingPointError)
            continue
        assert error is None
        train(alone[k], k)
        assert_same(together[k], alone[k])


def test_random_numbers_are_each_replicas_own():
    def draw(seed, into):
        def job(engine):
            torch.manual_seed(seed)
            for _ in range(3):
                into.append(torch.rand(2))
                engine.forward(model, params, {}, torch.zeros(1, 2))

        return job

    model = nn.Linear(2, 2)
    params = {name: p.detach() for name, p in model.named_parameters()}
    before = torch.get_rng_state()
    drawn = [[], []]
    assert train_replicas([draw(seed, drawn[seed]) for seed in range(2)]) == [None, None]
    assert torch.equal(torch.get_rng_state(), before)
    for seed, values in enumerate(drawn):
        generator = torch.Generator().manual_seed(seed)
        assert all(torch.equal(value, torch.rand(2, generator=generator)) for value in values)


class ChannelSoftmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, C)

    def forward(self, x):
        return self.fc(self.conv(x).softmax(1).mean((2, 3)))


@pytest.mark.parametrize(
    "model, reason",
    [
        (ChannelSoftmax(), "mixes channels"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Dropout(0.5), nn.Linear(16, C)),
            "draws random numbers",
        ),
    ],
)
def test_a_network_that_cannot_be_widened_is_refused(model, reason):
    params = {name: p.detach() for name, p in model.named_parameters()}
    errors = train_replicas(
        [lambda engine: engine.forward(model.train(), params, {}, batch(0).x)] * 2
    )
    assert all(isinstance(error, ValueError) and reason in str(error) for error in errors)


@pytest.mark.parametrize(
    "make_network",
    [
        lambda: torchvision.models.resnet18(num_classes=C),
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.GELU(), nn.Flatten(), nn.Linear(288, C)
        ),
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(192, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, C)
        ),
    ],
    ids=["resnet18", "group norm", "mlp"],
)
def test_the_wide_network_is_the_networks_side_by_side(float64, make_network):
    networks = [make_network().double().train() for _ in range(3)]
    xs = [torch.randn(4, 3, 8, 8) for _ in range(3)]
    params = join([{name: p.detach() for name, p in net.named_parameters()} for net in networks])
    buffers = join([dict(net.named_buffers()) for net in networks])
    logits, _ = bilevel.apply(widened(networks[0], 3), params, buffers, torch.cat(xs, 1))
    for k, (net, x) in enumerate(zip(networks, xs, strict=True)):
        torch.testing.assert_close(logits.view(4, 3, C)[:, k], net(x), rtol=1e-10, atol=1e-10)


def test_an_interruption_ends_every_thread():
    class Impatient(bilevel.ForwardPass):
        def __init__(self, *args, **kwargs):
            raise KeyboardInterrupt

    before = threading.active_count()
    jobs = [lambda engine, k=k: train(make("base", k), k, engine) for k in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bilevel, "ForwardPass", Impatient)
        with pytest.raises(KeyboardInterrupt):
            train_replicas(jobs)
    assert threading.active_count() == before


def test_runs_trained_together_leave_the_records_of_runs_alone(tmp_path):
    config = gdwlib.RunConfig(
        preset="smoke", noise="uniform", noise_ratio=0.4, precision="float64", epochs=3
    )
    configs = [dataclasses.replace(config, seed=seed) for seed in range(2)]
    alone = [gdwlib.run(own, outputs=tmp_path / "alone", progress=False) for own in configs]
    together = gdwlib.run_replicas(configs, outputs=tmp_path / "together", progress=False)
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.path.name == theirs.path.name
        assert (ours.environment["replicas"], theirs.environment["replicas"]) == (2, 1)
        assert ours.result["final_accuracy"] == theirs.result["final_accuracy"]
        for a, b in zip(ours.metrics, theirs.metrics, strict=True):
            for key in ("train_loss", "meta_loss", "clean_weight", "mislabelled_weight"):
                assert a[key] == pytest.approx(b[key], rel=1e-10)
        torch.testing.assert_close(
            torch.load(ours.path / "model.pt"),
            torch.load(theirs.path / "model.pt"),
            rtol=1e-10,
            atol=1e-10,
        )
    stamps = [(record.path / "result.json").stat().st_mtime_ns for record in together]
    again = gdwlib.run_replicas(configs, outputs=tmp_path / "together", progress=False)
    assert [(record.path / "result.json").stat().st_mtime_ns for record in again] == stamps


def test_replicas_differ_in_the_seed_and_nothing_else():
    config = gdwlib.RunConfig(preset="smoke")
    for wrong in (
        [config, config],
        [config, gdwlib.RunConfig(preset="smoke", seed=1, method="base")],
    ):
        with pytest.raises(ValueError, match="replicas: must be of different seeds"):
            gdwlib.run_replicas(wrong)
