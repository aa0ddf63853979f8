"""The virtual step of other lengths and optimizers, and the step in the caller's hands."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import gdwlib
from gdwlib import optimizers
from gdwlib.models import WeightNet

C = 4
OPTIMIZERS = {
    "SGD": lambda params: torch.optim.SGD(params, 0.1, momentum=0.9),
    "Adam": lambda params: torch.optim.Adam(params, 0.01),
    "AdamW, amsgrad": lambda params: torch.optim.AdamW(params, 0.01, amsgrad=True),
    "RMSprop": lambda params: torch.optim.RMSprop(params, 0.01),
    "RMSprop, centered": lambda params: torch.optim.RMSprop(params, 0.01, centered=True),
    "Adagrad": lambda params: torch.optim.Adagrad(params, 0.1, lr_decay=0.05),
}


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 8), nn.GELU(), nn.Linear(8, C)
    )


def batch(n=10, m=7):
    return (
        torch.randn(n, 1, 6, 6),
        torch.randint(0, C, (n,)),
        torch.randn(m, 1, 6, 6),
        torch.randint(0, C, (m,)),
    )


def trained(make_optimizer, steps=3, **options):
    """GDW around a network that has made some steps, so that the optimizer has its moments."""
    model = network()
    gdw = gdwlib.GDW(model, make_optimizer(model.parameters()), C, **options)
    for _ in range(steps):
        gdw.step(*batch())
    return gdw


def meta_loss_after(gdw, rates, omega, x, y, x_meta, y_meta):
    """L_meta(θ - D Jᵀ(ω ∘ (p - y)) / n), by autograd."""
    model = copy.deepcopy(gdw.model)
    logits = model(x)
    p = logits.detach().softmax(1).clamp(max=0.999)
    c = omega * (p - functional.one_hot(y, C)) / len(x)
    gradients = torch.autograd.grad(logits, list(model.parameters()), c)
    with torch.no_grad():
        for (name, param), gradient in zip(model.named_parameters(), gradients, strict=True):
            param -= rates[name] * gradient
        return functional.cross_entropy(model(x_meta), y_meta)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("virtual_lr", [None, 0.05, lambda lr: 10 * lr])
def test_the_gradient_is_the_difference_quotient(name, virtual_lr):
    gdw = trained(OPTIMIZERS[name], virtual="optimizer", virtual_lr=virtual_lr)
    (lr,) = {group["lr"] for group in gdw.optimizer.param_groups}
    lr = lr if virtual_lr is None else virtual_lr(lr) if callable(virtual_lr) else virtual_lr
    factors = optimizers.preconditioners(gdw.optimizer, dict(gdw.model.named_parameters()))
    rates = {name: lr * factor for name, factor in factors.items()}
    data = batch()
    before = copy.deepcopy(gdw)
    out = gdw.step(*data)
    for i, j in ((0, 1), (3, 2), (9, 0)):
        nudge = torch.zeros(10, C)
        nudge[i, j] = 1e-5
        up, down = (
            meta_loss_after(before, rates, out.first_weights + sign * nudge, *data)
            for sign in (1, -1)
        )
        quotient = (up - down) / 2e-5
        assert out.class_gradient[i, j] == pytest.approx(float(quotient), rel=1e-5, abs=1e-10)
    at_once = meta_loss_after(before, rates, out.first_weights, *data)
    assert out.meta_loss == pytest.approx(float(at_once), rel=1e-12)


def test_the_preconditioner_is_the_optimizers_own():
    """Beside PyTorch's steps, where the next step leaves the second moments as they are."""
    gradient = torch.tensor([0.3, -2.0, 1e-3])
    for make, hold in (
        (lambda p: torch.optim.Adam(p, 0.01), lambda group: None),  # of a constant gradient
        (lambda p: torch.optim.RMSprop(p, 0.01), lambda group: group.update(alpha=1.0)),
        (lambda p: torch.optim.Adagrad(p, 0.01, lr_decay=0.3), lambda group: None),
    ):
        param = nn.Parameter(torch.zeros(3))
        optimizer = make([param])
        assert optimizers.preconditioners(optimizer, {"w": param}) == {"w": 1.0}  # no step yet
        for _ in range(4):
            param.grad = gradient.clone()
            optimizer.step()
        hold(optimizer.param_groups[0])
        factor = optimizers.preconditioners(optimizer, {"w": param})["w"]
        small = gradient if isinstance(optimizer, torch.optim.Adam) else 1e-7 * gradient
        before = param.detach().clone()
        param.grad = small.clone()
        optimizer.step()
        moved = before - param.detach()
        torch.testing.assert_close(moved, 0.01 * factor * small, rtol=1e-6, atol=0)


def test_by_default_nothing_changes():
    plain, named = (
        trained(OPTIMIZERS["SGD"], **options)
        for options in ({}, {"virtual": "optimizer", "virtual_lr": lambda lr: lr})
    )
    named.load_state_dict(copy.deepcopy(plain.state_dict()))
    data = batch()
    assert torch.equal(plain.step(*data).class_gradient, named.step(*data).class_gradient)


def test_optimizers_without_a_known_preconditioner_are_refused_by_name():
    model = network()
    with pytest.raises(ValueError, match="virtual: 'optimizer' is known for SGD, .*not for NAdam"):
        gdwlib.GDW(model, torch.optim.NAdam(model.parameters()), C, virtual="optimizer")
    gdwlib.GDW(model, torch.optim.NAdam(model.parameters()), C)  # plain descent is for any
    for options, message in (
        ({"virtual": "adam"}, "virtual: must be 'sgd' or 'optimizer', not 'adam'"),
        ({"virtual_lr": 0.0}, "virtual_lr: must be a number above 0, a function, or None"),
        ({"virtual_lr": "fast"}, "virtual_lr: must be"),
    ):
        with pytest.raises(ValueError, match=message):
            gdwlib.GDW(model, torch.optim.SGD(model.parameters(), 0.1), C, **options)
    with pytest.raises(ValueError, match="size: must be an integer, at least 1, not 0"):
        gdwlib.MicroBatches(0)


def test_backward_adds_what_step_steps_along():
    gdw = trained(lambda params: torch.optim.SGD(params, 0.1))
    by_step, first, second = (copy.deepcopy(gdw) for _ in range(3))
    data = [batch(), batch()]
    before = {name: param.detach().clone() for name, param in gdw.model.named_parameters()}
    out = by_step.step(*data[0])
    with torch.no_grad():
        expected = {n: (before[n] - p) / 0.1 for n, p in by_step.model.named_parameters()}
    gdw.optimizer.zero_grad()
    again = gdw.backward(*data[0])
    assert torch.equal(out.class_weights, again.class_weights)
    for name, param in gdw.model.named_parameters():
        assert torch.equal(param, before[name])
        torch.testing.assert_close(param.grad, expected[name], rtol=1e-10, atol=1e-14)
    # the weighting network has moved, as in a step
    for ours, theirs in zip(
        gdw.weight_net.parameters(), by_step.weight_net.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)

    gdw.backward(*data[1], scale=0.5)  # added
    first.optimizer.zero_grad()
    first.backward(*data[0])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.optimizer.zero_grad()
    second.backward(*data[1], scale=0.5)
    for ours, a, b in zip(*(g.model.parameters() for g in (gdw, first, second)), strict=True):
        torch.testing.assert_close(ours.grad, a.grad + b.grad, rtol=1e-12, atol=1e-15)

    nn.utils.clip_grad_norm_(gdw.model.parameters(), 1e-3)  # the caller's own clipping and step
    gdw.optimizer.step()
    moved = sum(
        (p.detach() - before[n]).square().sum() for n, p in gdw.model.named_parameters()
    ).sqrt()
    assert moved.item() == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize("size", [1, 3, 10, 100])
@pytest.mark.parametrize("level", ["class", "instance"])
def test_micro_batches_have_the_numbers_of_the_whole(size, level):
    whole = trained(OPTIMIZERS["Adam"], level=level, virtual="optimizer")
    model = copy.deepcopy(whole.model)
    parts = gdwlib.GDW(
        model,
        OPTIMIZERS["Adam"](model.parameters()),
        C,
        weight_net=copy.deepcopy(whole.weight_net),
        level=level,
        virtual="optimizer",
        engine=gdwlib.MicroBatches(size),
    )
    parts.load_state_dict(copy.deepcopy(whole.state_dict()))
    for data in (batch(), batch(5, 11)):
        ours, theirs = parts.step(*data), whole.step(*data)
        for name in ("train_loss", "meta_loss", "class_gradient", "class_weights"):
            torch.testing.assert_close(
                getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-13
            )
    for ours, theirs in zip(model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_running_statistics_pass_through_the_pieces():
    def with_batch_norm():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.BatchNorm1d(6), nn.Linear(6, C))

    model, plain = with_batch_norm(), with_batch_norm()
    gdw = gdwlib.GDW(
        model, torch.optim.SGD(model.parameters(), 0.1), C, engine=gdwlib.MicroBatches(5)
    )
    data = batch()
    gdw.step(*data)
    plain(data[0][:5])
    plain(data[0][5:])
    torch.testing.assert_close(model[2].running_mean, plain[2].running_mean)
    assert model[2].num_batches_tracked == 2


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_token_ids_into_an_embedding(kind):
    """As the one-hot vectors of the ids into a linear layer."""

    class Text(nn.Module):
        def __init__(self, table):
            super().__init__()
            self.table, self.head = nn.Parameter(table.clone()), nn.Linear(5, C)

        def forward(self, ids):
            embedded = (
                ids @ self.table
                if ids.is_floating_point()
                else functional.embedding(ids, self.table)
            )
            return self.head(embedded.mean(1).tanh())

    ids, more = torch.randint(0, 20, (10, 7)), torch.randint(0, 20, (6, 7))
    y, y_meta = torch.randint(0, C, (10,)), torch.randint(0, C, (6,))
    ours = Text(torch.randn(20, 5))
    theirs, net = copy.deepcopy(ours), WeightNet()
    outs = []
    for model, x, x_meta in (
        (ours, ids.to(kind), more.to(kind)),
        (theirs, functional.one_hot(ids, 20).double(), functional.one_hot(more, 20).double()),
    ):
        gdw = gdwlib.GDW(
            model,
            torch.optim.SGD(model.parameters(), 0.3),
            C,
            weight_net=copy.deepcopy(net),
        )
        for _ in range(3):
            outs.append(gdw.step(x, y, x_meta, y_meta))
    torch.testing.assert_close(outs[2].class_gradient, outs[5].class_gradient, rtol=1e-9, atol=0)
    torch.testing.assert_close(ours.table, theirs.table, rtol=1e-10, atol=1e-12)
    with pytest.raises(
        ValueError, match="x: must hold floating-point numbers, or token ids as int"
    ):
        gdw.step(ids.to(torch.uint8), y, more.to(torch.uint8), y_meta)


def test_a_compiled_model_has_the_numbers_of_the_plain_one():
    plain, net, data = network(), WeightNet(), batch()
    twin = copy.deepcopy(plain)
    compiled = torch.compile(twin, backend="eager")
    for model in (plain, compiled):
        gdw = gdwlib.GDW(
            model, torch.optim.SGD(model.parameters(), 0.1), C, weight_net=copy.deepcopy(net)
        )
        for _ in range(2):
            gdw.step(*data)
    for ours, theirs in zip(twin.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_last_batch_of_one_under_batch_norm_names_the_way_out():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.BatchNorm1d(6), nn.Linear(6, C))
    gdw = gdwlib.GDW(model, torch.optim.SGD(model.parameters(), 0.1), C)
    x, y, x_meta, y_meta = batch()
    with pytest.raises(ValueError, match="x: .*drop_last=True"):
        gdw.step(x[:1], y[:1], x_meta, y_meta)
