"""One battery over every method, and what each one's definition says, checked against other code or
by hand."""

import copy
import math

import numpy as np
import pytest
import torch
import torchvision
from reference import hyper_gradient
from torch import nn
from torch.nn import functional as F

import gdwlib
from gdwlib import METHODS
from gdwlib.methods import NAMES, Batch, MethodContext
from gdwlib.methods.class_balanced import effective_number_weights
from gdwlib.methods.finetune import EPOCHS
from gdwlib.runs.presets import SCHEDULES

C, N, n, m = 5, 40, 12, 7
OWN_LOSS = [name for name, method in METHODS.items() if hasattr(method, "losses")]
META = ["l2rw", "insw", "mwnet", "soft_label", "gen_label", "gdw"]


class Net(nn.Module):
    """A convolution, batch norm, a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, C)

    def forward(self, x):
        return self.fc(torch.tanh(self.bn(self.conv(x))).mean((2, 3)))


def build(name, dtype=torch.float64, epoch=None, **fields):
    """A method on a small network, and a batch; `epoch` starts one, by default the last of the
    run."""
    config = gdwlib.RunConfig(method=name, preset="smoke", **{"epochs": 4} | fields)
    torch.manual_seed(3)
    new_network = lambda: Net().to(dtype)  # noqa: E731
    model = new_network()
    labels = torch.randint(0, C, (N,))
    x_meta = torch.randn(3 * C, 2, 6, 6, dtype=dtype)
    context = MethodContext(C, labels, x_meta, torch.arange(3 * C) % C, 0.3, new_network)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    method = METHODS[name](model, optimizer, context, config.settings, config.learning_rates)
    index = torch.randperm(N)[:n]
    batch = Batch(
        torch.randn(n, 2, 6, 6, dtype=dtype), labels[index], x_meta[:m], context.y_meta[:m], index
    )
    last = config.total_epochs - 1
    # glc's second phase begins in the middle
    for start in range(last + 1) if epoch is None else [epoch]:
        method.start_epoch(start)
    return method, batch


def leaves(state):
    return [
        value for value in torch.utils._pytree.tree_leaves(state) if isinstance(value, torch.Tensor)
    ]


def assert_same(ours, theirs):
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


# -- the battery


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("epoch", [0, None], ids=["first epoch", "last epoch"])
@pytest.mark.parametrize("case", ["large", "one class", "two and one", "constant", "certain"])
def test_finite_on_hard_input(name, epoch, case):
    method, batch = build(name, torch.float32, epoch)
    if case == "large":
        batch = batch._replace(x=1e4 * batch.x)
    elif case == "one class":
        batch = batch._replace(y=torch.zeros_like(batch.y), y_meta=torch.zeros_like(batch.y_meta))
    elif case == "two and one":
        batch = Batch(batch.x[:2], batch.y[:2], batch.x_meta[:1], batch.y_meta[:1], batch.index[:2])
    elif case == "constant":
        batch = batch._replace(x=torch.zeros_like(batch.x))
    else:
        for learner in method.learners:
            nn.init.constant_(learner.model.fc.weight, 300)
            learner.model.fc.weight.data[0] = -300
    for _ in range(3):
        out = method.step(batch)
        for value in (out.train_loss, out.meta_loss, out.target_weights):
            assert value is None or value.isfinite().all()
    assert all(
        value.isfinite().all() for value in leaves(method.state_dict()) if value.is_floating_point()
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("epoch", [0, None], ids=["first epoch", "last epoch"])
def test_deterministic_and_resumable_step_by_step(name, epoch):
    first, batch = build(name, epoch=epoch)
    second, _ = build(name, epoch=epoch)
    first.step(batch), first.step(batch)
    second.step(batch)
    resumed, _ = build(name, epoch=epoch)
    resumed.load_state_dict(copy.deepcopy(second.state_dict()))
    second.step(batch), resumed.step(batch)
    assert_same(first.state_dict(), second.state_dict())
    assert_same(first.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("name", METHODS)
def test_a_step_moves_the_network_and_its_running_statistics_once(name):
    method, batch = build(name)
    before = copy.deepcopy(method.model.state_dict())
    method.step(batch)
    after = method.model.state_dict()
    assert after["bn.num_batches_tracked"] == before["bn.num_batches_tracked"] + 1
    assert any(not torch.equal(after[key], before[key]) for key in ("conv.weight", "fc.weight"))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda b: {"y": b.y + C}, ValueError, "y: labels must lie in 0..4"),
        (lambda b: {"y": b.y - C}, ValueError, "y: labels must lie in 0..4"),
        (lambda b: {"y_meta": b.y_meta + C}, ValueError, "y_meta: labels must lie in 0..4"),
        (lambda b: {"y": b.y.double()}, ValueError, "y: labels must be integers"),
        (lambda b: {"y": b.y[:-1]}, ValueError, "x, y: expected a non-empty batch"),
        (
            lambda b: {"x_meta": b.x_meta[:0], "y_meta": b.y_meta[:0]},
            ValueError,
            "x_meta, y_meta: expected",
        ),
        (
            lambda b: {"x": b.x.index_fill(0, torch.tensor(1), torch.nan)},
            FloatingPointError,
            "x: holds NaN",
        ),
        (lambda b: {"x_meta": b.x_meta / 0}, FloatingPointError, "x_meta: holds NaN or infinite"),
        (
            lambda b: {"x": b.x[:, :1], "x_meta": b.x_meta[:, :1]},
            ValueError,
            "x.*the model's forward pass failed",
        ),
        (lambda b: {"x_meta": b.x_meta.float()}, ValueError, "x_meta: must be like x"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(name, change, error, message):
    method, batch = build(name)
    before = copy.deepcopy(method.state_dict())
    with pytest.raises(error, match=message):
        method.step(batch._replace(**change(batch)))
    assert_same(method.state_dict(), before)


@pytest.mark.parametrize("name", METHODS)
def test_reports_what_it_weights(name):
    method, batch = build(name)
    out = method.step(batch)
    assert out.train_loss.shape == () and (out.meta_loss is None or out.meta_loss.isfinite())
    if name in NAMES:  # the library's own
        assert (out.meta_loss is not None) == (name in META)
    if name in ("base", "finetune", "meta_only"):
        assert out.target_weights is None
        return
    weights = out.target_weights
    assert weights.shape == (n,) and (weights >= 0).all() and weights.max() > 0
    if name in ("l2rw", "insw"):
        assert weights.mean() == pytest.approx(1)
    if name in ("glc", "soft_label", "gen_label", "coteaching", "mwnet"):
        assert weights.max() <= 1
    assert (
        (out.class_weights is not None)
        == (out.first_weights is not None)
        == (name in ("gdw", "mwnet"))
    )


@pytest.mark.parametrize("name", OWN_LOSS)
@pytest.mark.parametrize("epoch", [0, None], ids=["first epoch", "last epoch"])
@pytest.mark.parametrize("scale", [1, 10, 40])
def test_the_logit_gradient_is_autograd_of_the_methods_own_loss(name, epoch, scale):
    method, batch = build(name, epoch=epoch)
    if name in ("soft_label", "gen_label"):
        method.step(batch)  # so that the labels are not one-hot
    logits = (scale * torch.randn(n, C, dtype=torch.float64)).requires_grad_()
    (expected,) = torch.autograd.grad(method.losses(logits, batch).sum(), logits)
    torch.testing.assert_close(
        method.logit_gradient(logits.detach(), batch), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", ["l2rw", "insw", "mwnet", "gdw"])
def test_what_is_reported_is_what_the_step_used(name):
    """θ moves along the mean over the batch of (reported weight)·(p - y), and along nothing else
    but weight decay."""
    method, batch = build(name)
    model, y = copy.deepcopy(method.model).train(), batch.y
    out = method.step(batch)
    logits = model(batch.x)
    p = logits.softmax(1).detach()
    weights = (
        out.class_weights
        if out.class_weights is not None
        else out.target_weights[:, None].expand_as(p)
    )
    grads = torch.autograd.grad(
        logits, list(model.parameters()), weights * (p - F.one_hot(y, C)) / n
    )
    lr = method.optimizer.param_groups[0]["lr"]
    for (key, new), old, g in zip(
        method.model.named_parameters(), model.parameters(), grads, strict=True
    ):
        torch.testing.assert_close(new, old - lr * (g + 5e-4 * old), rtol=1e-9, atol=1e-12, msg=key)


# -- the meta-gradients, by double backward


def nll(logits, y):
    return F.cross_entropy(logits, y, reduction="none")


def learning_rate(method):
    return method.optimizer.param_groups[0]["lr"]


def test_l2rw_weights_are_the_clipped_meta_gradient_at_zero():
    method, batch = build("l2rw")
    eps = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    (g,), meta_loss = hyper_gradient(
        method.model,
        learning_rate(method),
        lambda z, e: (e * nll(z, batch.y)).sum(),
        [eps],
        *batch_x(batch),
    )
    expected = (-g).clamp(min=0)
    assert 0 < (expected > 0).sum() < n  # the clip acts
    out = method.step(batch)
    torch.testing.assert_close(
        out.target_weights / n, expected / expected.sum(), rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(out.meta_loss, meta_loss)


def batch_x(batch):
    return batch.x, batch.x_meta, batch.y_meta


def test_l2rw_where_no_example_helps_leaves_decay_and_momentum(monkeypatch):
    method, batch = build("l2rw")
    before = copy.deepcopy(method.model.state_dict())
    monkeypatch.setattr(
        "gdwlib.learner.LearnerPass.look_ahead",
        lambda self, *a: (torch.zeros_like(self.logits), torch.tensor(1.0)),
    )
    out = method.step(batch)
    assert (out.target_weights == 0).all()
    lr = learning_rate(method)
    for key, new in method.model.named_parameters():
        torch.testing.assert_close(new.detach(), before[key] * (1 - lr * 5e-4))


def test_insw_update():
    method, batch = build("insw", insw_decay=1.5)
    method.phi.uniform_(0.5, 2)
    before = method.phi.clone()
    phi = method.phi[batch.index].clone().requires_grad_()
    (g,), _ = hyper_gradient(
        method.model,
        learning_rate(method),
        lambda z, f: (f * nll(z, batch.y)).mean(),
        [phi],
        *batch_x(batch),
    )
    out = method.step(batch)
    expected = (phi.detach() / 1.5 - g).clamp(min=1e-5)
    torch.testing.assert_close(method.phi[batch.index], expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(out.target_weights, n * expected / expected.sum())
    untouched = np.setdiff1d(np.arange(N), batch.index)
    assert torch.equal(method.phi[untouched], before[untouched])


@pytest.mark.parametrize("kind", ["labels", "smoothing"])
def test_soft_label_update(kind):
    method, batch = build("soft_label", soft_label=kind, soft_label_lr=0.2)
    method.step(batch)  # away from one-hot
    learned = method.learned[batch.index].clone().requires_grad_()
    hard = F.one_hot(batch.y, C).double()

    def first_loss(z, learned):
        soft = learned if kind == "labels" else (1 - learned) * hard + learned / C
        return -(soft * z.log_softmax(1)).sum(1).mean()

    model = copy.deepcopy(method.model)
    (g,), meta_loss = hyper_gradient(
        method.model, learning_rate(method), first_loss, [learned], *batch_x(batch)
    )
    if kind == "labels":
        g = g - g.mean(1, keepdim=True)  # CE's derivative in the label, along the simplex
    expected = learned.detach() - 0.2 * g / g.abs().sum(1).mean()
    if kind == "labels":
        expected = expected.clamp(min=0) / expected.clamp(min=0).sum(1, keepdim=True)
    buffer = copy.deepcopy(method.optimizer.state_dict()["state"])
    out = method.step(batch)
    torch.testing.assert_close(out.meta_loss, meta_loss)
    new = method.learned[batch.index]
    torch.testing.assert_close(new, expected.clamp(0, 1), rtol=1e-9, atol=1e-12)
    grads = torch.autograd.grad(first_loss(model.train()(batch.x), new), list(model.parameters()))
    lr = learning_rate(method)
    for k, (ours, old, g) in enumerate(
        zip(method.model.parameters(), model.parameters(), grads, strict=True)
    ):
        torch.testing.assert_close(
            ours,
            old - lr * (0.9 * buffer[k]["momentum_buffer"] + g + 5e-4 * old),
            rtol=1e-9,
            atol=1e-12,
        )


def test_gen_label_update():
    method, batch = build("gen_label")
    assert method.phase == 2
    method.label_logits += torch.randn(N, C, dtype=torch.float64)
    s = method.label_logits[batch.index].clone().requires_grad_()

    def divergence(z, s):  # torch.mean of the elements, as the authors' code does
        return F.kl_div(
            s.log_softmax(1), z.log_softmax(1), log_target=True, reduction="none"
        ).mean()

    model = copy.deepcopy(method.model)
    (g,), meta_loss = hyper_gradient(method.model, 0.5, divergence, [s], *batch_x(batch))
    out = method.step(batch)
    new = method.label_logits[batch.index]
    torch.testing.assert_close(new, s.detach() - 4000 * g, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(out.meta_loss, meta_loss)
    z = model.train()(batch.x)
    entropy = -(z.softmax(1) * z.log_softmax(1)).mean()
    grads = torch.autograd.grad(divergence(z, new) + entropy, list(model.parameters()))
    lr = learning_rate(method)
    for ours, old, g in zip(method.model.parameters(), model.parameters(), grads, strict=True):
        torch.testing.assert_close(ours, old - lr * (g + 5e-4 * old), rtol=1e-8, atol=1e-11)


def test_mwnet_with_normalised_weights():
    method, batch = build(
        "mwnet",
        normalise_weights=True,
        weight_optimizer="sgd",
        weight_lr=0.5,
        weight_weight_decay=0.0,
    )
    net = method.gdw.weight_net
    phi = {k: p.detach().clone().requires_grad_() for k, p in net.named_parameters()}
    losses = nll(method.model.train()(batch.x), batch.y).detach()[:, None]

    def weights(phi):
        w = torch.func.functional_call(net, phi, (losses,))[:, 0]
        return n * w / w.sum()

    grads, meta_loss = hyper_gradient(
        copy.deepcopy(method.model),
        learning_rate(method),
        lambda z, *values: (weights(dict(zip(phi, values, strict=True))) * nll(z, batch.y)).mean(),
        list(phi.values()),
        *batch_x(batch),
    )
    out = method.step(batch)
    torch.testing.assert_close(out.meta_loss, meta_loss)
    moved = {
        k: p.detach() - 0.5 * 1.9 * g for (k, p), g in zip(phi.items(), grads, strict=True)
    }  # Nesterov's first step
    for k, p in net.named_parameters():
        torch.testing.assert_close(p.detach(), moved[k], rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(out.target_weights, weights(moved).detach(), rtol=1e-8, atol=1e-10)
    assert out.target_weights.mean() == pytest.approx(1)
    with pytest.raises(ValueError, match="normalise: for level='instance' only"):
        gdwlib.GDW(method.model, method.optimizer, C, normalise=True)


# -- the losses


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_focal_loss(gamma, sigmoid):
    method, batch = build("focal", focal_gamma=gamma, focal_sigmoid=sigmoid)
    logits = (4 * torch.randn(n, C, dtype=torch.float64)).requires_grad_()
    if sigmoid:
        target = F.one_hot(batch.y, C).double()
        expected = torchvision.ops.sigmoid_focal_loss(logits, target, alpha=-1, gamma=gamma).sum(1)
    else:
        p = logits.softmax(1).gather(1, batch.y[:, None])[:, 0]
        expected = -((1 - p) ** gamma) * p.log()
    torch.testing.assert_close(method.losses(logits, batch), expected, rtol=1e-10, atol=1e-13)
    (gradient,) = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(
        method.logit_gradient(logits.detach(), batch), gradient, rtol=1e-8, atol=1e-12
    )
    for extreme in (1e-9, 50.0, 1e3, 1e5):  # the network is certain, rightly or wrongly
        certain = extreme * torch.randn(n, C)
        assert (
            method.logit_gradient(certain, batch).isfinite().all()
            and method.losses(certain, batch).isfinite().all()
        )


def test_focal_at_gamma_zero_is_base():
    method, batch = build("focal", focal_gamma=0.0)
    logits = torch.randn(n, C, dtype=torch.float64)
    torch.testing.assert_close(
        method.logit_gradient(logits, batch),
        logits.softmax(1) - F.one_hot(batch.y, C),
        rtol=1e-12,
        atol=1e-14,
    )


def test_sigmoid_focal_starts_rare_and_does_not_decay_that_bias():
    method, batch = build("focal", focal_sigmoid=True)
    bias = method.model.fc.bias
    assert (bias == -math.log(C - 1)).all()
    *_, group = method.optimizer.param_groups
    assert group["weight_decay"] == 0 and [id(p) for p in group["params"]] == [id(bias)]
    assert sum(len(g["params"]) for g in method.optimizer.param_groups) == len(
        [*method.model.parameters()]
    )
    method.step(batch)


@pytest.mark.parametrize(
    "largest, mu, classes, low, high", [(5000, 0.01, 10, 0.050, 4.0), (500, 0.1, 100, 0.26, 2.5)]
)
def test_class_balanced_weights(largest, mu, classes, low, high):
    """Against the definition, and the ranges known for CIFAR-10 and CIFAR-100."""
    counts = torch.tensor(gdwlib.long_tail_counts(largest, mu, classes))
    weights = effective_number_weights(counts, 0.9999)
    expected = [(1 - 0.9999) / (1 - 0.9999 ** int(count)) for count in counts]
    np.testing.assert_allclose(weights, classes * np.array(expected) / sum(expected), rtol=1e-9)
    assert weights.sum() == pytest.approx(classes)
    assert weights.min() == pytest.approx(low, rel=0.06) and weights.max() == pytest.approx(
        high, rel=0.06
    )


def test_class_balanced_divides_by_the_batch_not_by_the_weights():
    method, batch = build("class_balanced", cb_beta=0.9)
    w = effective_number_weights(torch.bincount(method.context.labels, minlength=C), 0.9)
    logits = torch.randn(n, C, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(
        F.cross_entropy(logits, batch.y, w, reduction="sum") / n, logits
    )
    torch.testing.assert_close(method.logit_gradient(logits.detach(), batch) / n, expected)


def test_glc_loss_gradient_and_phases():
    method, batch = build("glc", epoch=0)
    initial = copy.deepcopy(method.model.state_dict())
    assert method.total_epochs(method.schedule.epochs) == 8
    method.step(batch)
    method.start_epoch(4)
    assert method.phase == 2 and not method.optimizer.state
    assert all(torch.equal(value, initial[key]) for key, value in method.model.state_dict().items())
    assert method.set_learning_rate(method.schedule.learning_rate(0)) == method.start_epoch(4)
    corruption = method.corruption
    torch.testing.assert_close(corruption.sum(1), torch.ones(C, dtype=torch.float64))
    logits = torch.randn(n, C, dtype=torch.float64)
    by_definition = -(logits.softmax(1) @ corruption).gather(1, batch.y[:, None])[:, 0].log()
    torch.testing.assert_close(method.losses(logits, batch), by_definition)


def test_glc_estimates_by_class_in_eval_mode_and_survives_zeros():
    method, batch = build("glc", epoch=0)
    with torch.no_grad():
        p = method.model.eval()(method.context.x_meta).softmax(1)
    rows = torch.stack([p[method.context.y_meta == k].mean(0) for k in range(C)])
    torch.testing.assert_close(method.estimate(), rows)
    # a label of probability zero under most classes
    method.corruption = torch.eye(C, dtype=torch.float64)
    for logits in (torch.zeros(n, C), -1e4 * F.one_hot(batch.y, C)):
        assert method.losses(logits.double(), batch).isfinite().all()
        assert method.logit_gradient(logits.double(), batch).isfinite().all()
    clean = method.logit_gradient(torch.zeros(n, C, dtype=torch.float64), batch)
    # no noise: cross entropy
    torch.testing.assert_close(clean, 1 / C - F.one_hot(batch.y, C).double())


def test_glc_mixes_the_meta_images_in_as_often_as_the_union_has_them():
    method, batch = build("glc")
    seen = []
    forward = method.learner.forward
    method.learner.forward = lambda x: (seen.append(len(x)), forward(x))[1]
    method.step(batch)
    assert seen == [n + round(n * 3 * C / N)]


def test_coteaching_exchanges_the_easiest():
    method, batch = build("coteaching", forget_rate=0.4)
    one, two = (copy.deepcopy(learner.model).train() for learner in method.learners)
    method.step(batch)
    losses = [nll(network(batch.x), batch.y) for network in (one, two)]
    kept = [values.detach().argsort()[: int(0.6 * n)] for values in losses]
    lr = learning_rate(method)
    for network, values, chosen, learner in zip(
        (one, two), losses, reversed(kept), method.learners, strict=True
    ):
        grads = torch.autograd.grad(values[chosen].mean(), list(network.parameters()))
        for ours, old, g in zip(
            learner.model.parameters(), network.parameters(), grads, strict=True
        ):
            torch.testing.assert_close(ours, old - lr * (g + 5e-4 * old), rtol=1e-9, atol=1e-12)
    assert not torch.equal(one.conv.weight, two.conv.weight)


@pytest.mark.parametrize(
    "epochs, expected",
    [(80, [1, 1 - 0.36 / 9, 1 - 0.36 * 8 / 9, 0.64, 0.64]), (4, [1, 0.64, 0.64])],
)
def test_coteaching_forget_schedule(epochs, expected):
    method, _ = build("coteaching", epochs=epochs, epoch=0, forget_rate=0.36)
    at = [0, 1, 8, 9, 50] if epochs == 80 else [0, 1, 3]
    kept = []
    for epoch in at:
        method.start_epoch(epoch)
        kept.append(method.kept)
        assert all(
            learner.optimizer.param_groups[0]["lr"] == learning_rate(method)
            for learner in method.learners
        )
    assert kept == pytest.approx(expected)
    method.kept = 1 - 0.54
    assert method.easiest(torch.rand(100)).sum() == 46  # not 45, by rounding


def test_coteaching_is_told_the_true_rate(tmp_path):
    assert gdwlib.data.wrong_rate("uniform", 0.4, 10) == pytest.approx(0.36)
    assert gdwlib.data.wrong_rate("uniform-other", 0.4, 10) == pytest.approx(0.4)
    assert gdwlib.data.wrong_rate("flip", 0.4, 10) == pytest.approx(0.4)
    assert gdwlib.data.wrong_rate("none", 0.0, 10) == 0


def test_finetune_is_base_until_its_end(tmp_path):
    base, tuned = (
        gdwlib.run(
            gdwlib.RunConfig(method=name, preset="smoke", epochs=2),
            outputs=tmp_path,
            progress=False,
        )
        for name in ("base", "finetune")
    )
    accuracies = [[line["test_accuracy"] for line in record.metrics] for record in (base, tuned)]
    assert accuracies[1][:2] == accuracies[0] and len(accuracies[1]) == 2 + EPOCHS
    assert {line["learning_rate"] for line in tuned.metrics[2:]} == {1e-3}
    assert tuned.result["best_accuracy"] == max(accuracies[1][2:])
    # as many as the schedule has
    assert tuned.final_accuracy == pytest.approx(np.mean(accuracies[1][-2:]))


def test_glc_reports_its_second_phase_alone(tmp_path):
    record = gdwlib.run(
        gdwlib.RunConfig(method="glc", preset="smoke"), outputs=tmp_path, progress=False
    )
    accuracies = [line["test_accuracy"] for line in record.metrics]
    assert [line["phase"] for line in record.metrics] == [1, 1, 2, 2]
    assert record.final_accuracy == pytest.approx(np.mean(accuracies[2:]))
    assert record.result["best_accuracy"] == max(accuracies[2:])


@pytest.mark.parametrize("epochs, warm", [(80, 29), (11, 4), (2, 1)])
def test_gen_label_switches_by_share_of_the_schedule(epochs, warm):
    method, _ = build("gen_label", epochs=epochs, epoch=0)
    phases = []
    for epoch in range(epochs):
        method.start_epoch(epoch)
        phases.append(method.phase)
    assert phases == [1] * warm + [2] * (epochs - warm)


# -- recipes and schedules


def test_the_authors_recipes():
    lt = gdwlib.RunConfig(
        method="mwnet", recipe="authors", imbalance=0.01, preset="paper", dataset="cifar10"
    )
    assert (lt.weight_optimizer, lt.weight_lr, lt.normalise_weights, lt.nesterov) == (
        "sgd",
        1e-5,
        True,
        True,
    )
    assert (lt.epochs, lt.meta_per_class, lt.schedule) == (100, 10, "mwnet-imbalance")
    noisy = gdwlib.RunConfig(method="mwnet", recipe="authors", preset="paper", dataset="cifar10")
    assert (noisy.weight_optimizer, noisy.weight_lr, noisy.normalise_weights, noisy.epochs) == (
        "adam",
        1e-3,
        False,
        120,
    )
    small = gdwlib.RunConfig(method="class_balanced", recipe="authors", imbalance=0.01)
    assert (small.epochs, small.batch_size, small.weight_decay) == (11, 100, 2e-4)
    focal = gdwlib.RunConfig(
        method="focal", recipe="authors", imbalance=0.01, preset="paper", focal_gamma=0.5
    )
    assert (focal.focal_gamma, focal.focal_sigmoid, focal.epochs, focal.batch_size) == (
        0.5,
        True,
        200,
        128,
    )
    with pytest.raises(
        ValueError, match="recipe: the authors' own is there for l2rw, mwnet, focal, class_balanced"
    ):
        gdwlib.RunConfig(method="glc", recipe="authors")
    assert gdwlib.RunConfig(**vars(lt)) == lt and "-mwnet-authors-mu0.01-" in lt.run_id


def test_fields_that_do_not_go_together():
    with pytest.raises(ValueError, match="nesterov: must be false"):
        gdwlib.RunConfig(nesterov=True, momentum=0.0)


def test_schedules_drop_where_their_authors_do():
    drops = {
        ("mwnet", 120): {0: 1, 79: 1, 80: 0.1, 99: 0.1, 100: 0.01, 119: 0.01},
        ("mwnet-imbalance", 100): {79: 1, 80: 0.1, 89: 0.1, 90: 0.01},
        ("l2rw", 160): {79: 1, 80: 0.1, 119: 0.1, 120: 0.01},
        ("class-balanced", 200): {
            0: 0.2,
            3: 0.8,
            4: 1,
            159: 1,
            160: 0.01,
            179: 0.01,
            180: 1e-4,
            199: 1e-4,
        },
        ("cosine", 80): {0: 1, 40: 0.5, 79: (1 + math.cos(math.pi * 79 / 80)) / 2},
    }
    assert {name for name, _ in drops} == set(SCHEDULES)
    for (name, epochs), factors in drops.items():
        for epoch, factor in factors.items():
            assert SCHEDULES[name](epoch, epochs) == pytest.approx(factor), (name, epoch)


@pytest.mark.parametrize("method", ["mwnet", "l2rw", "focal", "class_balanced"])
def test_the_authors_recipes_train(method, tmp_path):
    config = gdwlib.RunConfig(method=method, recipe="authors", preset="smoke", imbalance=0.2)
    assert gdwlib.run(config, outputs=tmp_path, progress=False).config["recipe"] == "authors"
