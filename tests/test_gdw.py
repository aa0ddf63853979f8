"""The step against the second-order reference, and the promises of its interface."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import gdwlib
from gdwlib import bilevel, weighting
from gdwlib.bench.second_order import SecondOrderGDW
from gdwlib.models import CifarResNet, WeightNet


class SmallNet(nn.Module):
    """Every kind of layer whose tangent gdwlib writes itself, and some it does not."""

    def __init__(self, num_classes, dropout=0.0):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, stride=2, groups=4, bias=False),
            nn.BatchNorm2d(8, affine=False, momentum=None),
            nn.Tanh(),
            nn.Dropout2d(dropout),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8, 16, bias=False),
            nn.BatchNorm1d(16, track_running_stats=False),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.head(self.features(x).relu())


def sgd(model, head_lr=0.03):
    groups = [
        {"params": [p for k, p in model.named_parameters() if not k.startswith(("head", "fc"))]},
        {
            "params": [p for k, p in model.named_parameters() if k.startswith(("head", "fc"))],
            "lr": head_lr,
        },
    ]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=5e-4)


def batches(num_classes, steps=4, n=12, m=9, size=6):
    for step in range(steps):
        k = n if step < steps - 1 else n // 2 + 1  # the last batch is a partial one
        yield (
            torch.randn(k, 3, size, size),
            torch.randint(0, num_classes, (k,)),
            torch.randn(m, 3, size, size),
            torch.randint(0, num_classes, (m,)),
        )


def pair(model, num_classes, make_optimizer=sgd, **options):
    """The same start twice: gdwlib's GDW and the second-order reference."""
    ours, theirs = model, copy.deepcopy(model)
    net = WeightNet()
    net_ours, net_theirs = net, copy.deepcopy(net)
    weights = {
        k: torch.optim.Adam(v.parameters(), 1e-3, weight_decay=1e-4)
        for k, v in (("o", net_ours), ("t", net_theirs))
    }
    gdw = gdwlib.GDW(
        ours,
        make_optimizer(ours),
        num_classes,
        weight_net=net_ours,
        weight_optimizer=weights["o"],
        **options,
    )
    return gdw, SecondOrderGDW(
        theirs, make_optimizer(theirs), num_classes, net_theirs, weights["t"], **options
    )


def assert_close(ours, theirs, what, tolerance=1e-10):
    scale = theirs.abs().max().clamp(min=1e-30)
    error = float((ours - theirs).abs().max() / scale)
    assert error < tolerance, f"{what}: relative error {error:.1e}"


def assert_same_state(gdw, reference, tolerance=1e-10):
    for name, value in reference.model.state_dict().items():
        assert_close(gdw.model.state_dict()[name].double(), value.double(), f"θ {name}", tolerance)
    for name, value in reference.weight_net.state_dict().items():
        assert_close(gdw.weight_net.state_dict()[name], value, f"φ {name}", tolerance)
    for ours, theirs in zip(
        gdw.optimizer.state.values(), reference.optimizer.state.values(), strict=True
    ):
        for key, value in theirs.items():
            if torch.is_tensor(value):
                assert_close(ours[key], value, key, tolerance)


def assert_same_steps(gdw, reference, data):
    for batch in data:
        random = torch.get_rng_state()
        out = gdw.step(*batch)
        torch.set_rng_state(random)
        for name, value in reference.step(*batch).items():
            assert_close(getattr(out, name), value, name)
        assert_same_state(gdw, reference)


@pytest.mark.parametrize("num_classes", [3, 10, 100])
@pytest.mark.parametrize("level", ["class", "instance"])
@pytest.mark.parametrize("zero_mean", [True, False])
def test_equals_double_backward(float64, num_classes, level, zero_mean):
    gdw, reference = pair(SmallNet(num_classes), num_classes, level=level, zero_mean=zero_mean)
    assert_same_steps(gdw, reference, batches(num_classes))


@pytest.mark.parametrize("level", ["class", "instance"])
def test_equals_double_backward_where_the_probability_clamp_bites(float64, level):
    model = SmallNet(4)
    model.head.weight.data *= 60
    gdw, reference = pair(model, 4, level=level)
    data = list(batches(4, n=24))
    p = copy.deepcopy(model)(data[0][0]).softmax(1)
    given = p[torch.arange(24), data[0][1]]
    # on the target and off it
    assert (given > 0.999).any() and ((p > 0.999).any(1) & (given < 0.5)).any()
    assert_same_steps(gdw, reference, data)


def test_equals_double_backward_on_the_papers_network(float64):
    model = CifarResNet(10, blocks=5)
    assert sum(p.numel() for p in model.parameters()) == 464_154
    gdw, reference = pair(model, 10)
    assert_same_steps(gdw, reference, batches(10, steps=2, n=6, m=5, size=16))


class InPlace(nn.Module):
    """Every layer's output is overwritten by what follows, the logits too."""

    def __init__(self):
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 4, 3), nn.Linear(64, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = nn.functional.hardswish(self.conv(x), inplace=True).flatten(1)
        x = nn.functional.dropout(self.one(x), 0.3, True, inplace=True)
        x = nn.functional.linear(input=nn.functional.elu(x), weight=self.two.weight)
        x += self.two.bias
        x = self.head(x.tanh())
        x *= 3
        return x


def test_operations_in_place(float64):
    gdw, reference = pair(InPlace(), 5)
    assert_same_steps(gdw, reference, batches(5))


def test_efficientnet(float64):
    """In-place SiLU, squeeze and excitation, stochastic depth."""
    import torchvision

    model = torchvision.models.efficientnet_b0(num_classes=3)
    gdw, reference = pair(model, 3, lambda model: torch.optim.SGD(model.parameters(), 1e-3))
    (batch,) = batches(3, steps=1, n=8, m=8, size=64)
    random = torch.get_rng_state()
    out = gdw.step(*batch)
    torch.set_rng_state(random)
    for name, value in reference.step(*batch).items():
        assert_close(getattr(out, name), value, name)


def test_a_weight_net_with_batch_norm_and_a_frozen_layer(float64):
    def make():
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid()
        )
        net[0].requires_grad_(False)
        model = SmallNet(5)
        adam = torch.optim.Adam(net[1:].parameters(), 1e-2)
        return {
            "model": model,
            "optimizer": sgd(model),
            "num_classes": 5,
            "weight_net": net,
            "weight_optimizer": adam,
        }

    parts = make()
    frozen = parts["weight_net"][0].weight.clone()
    gdw, reference = gdwlib.GDW(**parts), SecondOrderGDW(**make())
    reference_phi = [p for p in reference.weight_net.parameters() if p.requires_grad]
    reference.weight_net.parameters = lambda: iter(reference_phi)
    for batch in batches(5):
        out = gdw.step(*batch)
        for name, value in reference.step(*batch).items():
            assert_close(getattr(out, name), value, name)
    assert torch.equal(parts["weight_net"][0].weight, frozen)
    assert_close(
        gdw.weight_net[1].running_mean, reference.weight_net[1].running_mean, "V's running mean"
    )


def test_dropout_draws_the_same_masks_in_the_tangent_pass(float64):
    gdw, reference = pair(SmallNet(5, dropout=0.4), 5)
    assert_same_steps(gdw, reference, batches(5))


def test_adam_as_the_models_optimizer(float64):
    gdw, reference = pair(
        SmallNet(5), 5, lambda model: torch.optim.Adam(model.parameters(), 1e-2, weight_decay=1e-3)
    )
    assert_same_steps(gdw, reference, batches(5))


def test_torchvision_resnet18_unmodified(float64):
    import torchvision

    gdw, reference = pair(
        torchvision.models.resnet18(num_classes=3),
        3,
        lambda model: torch.optim.SGD(model.parameters(), 0.01),
    )
    assert_same_steps(gdw, reference, batches(3, steps=2, n=8, m=8, size=64))


@pytest.mark.parametrize("how", ["requires_grad", "optimizer"])
def test_finetuning_a_head_leaves_the_rest(float64, how):
    def freeze(model):
        if how == "requires_grad":
            model.features.requires_grad_(False)
            return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
        return torch.optim.SGD(model.head.parameters(), 0.1, momentum=0.9, weight_decay=0.1)

    gdw, reference = pair(SmallNet(5), 5, freeze)
    before = copy.deepcopy(dict(gdw.model.features.named_parameters()))
    assert_same_steps(gdw, reference, batches(5))
    for name, value in gdw.model.features.named_parameters():
        assert torch.equal(value, before[name])


def test_frozen_batch_norm_uses_its_running_statistics(float64):
    class Frozen(SmallNet):
        def train(self, mode=True):
            super().train(mode)
            self.features[1].eval()
            return self

    gdw, reference = pair(Frozen(5).train(), 5)
    assert_same_steps(gdw, reference, batches(5))


class Attention(nn.Module):
    """Tied weights, and attention with dropout inside it."""

    def __init__(self, dropout):
        super().__init__()
        self.embed = nn.Linear(3 * 36, 64)
        self.attend = nn.TransformerEncoderLayer(16, 2, 8, dropout, batch_first=True)
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
        self.two.weight = self.one.weight
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.attend(self.embed(x.flatten(1)).reshape(-1, 4, 16))  # (n, 4, 16)
        return self.head(self.two(self.one(x).tanh()).mean(1))


def test_tied_weights_and_attention(float64):
    gdw, reference = pair(Attention(dropout=0.0), 4)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel of attention has no second derivative
        assert_same_steps(gdw, reference, batches(4))


@pytest.mark.parametrize(
    "model", [Attention(dropout=0.5), SmallNet(4, dropout=0.5)], ids=["attention", "convolutions"]
)
def test_the_two_products_are_of_one_jacobian(float64, model):
    """⟨c, J v⟩ = ⟨Jᵀc, v⟩: forward pass and tangent pass draw the same random numbers, and leave
    the rest of them."""
    model = model.double().train()
    params = {name: p.detach() for name, p in model.named_parameters()}
    buffers = dict(model.named_buffers())
    v = {name: torch.randn_like(p) for name, p in params.items()}
    x, c = torch.randn(8, 3, 6, 6), torch.randn(8, 4)
    done = bilevel.forward(model, params, buffers, x)
    random = torch.get_rng_state()
    pushed = done.tangent(v)
    assert torch.equal(torch.get_rng_state(), random) and not torch.equal(done.random[0], random)
    pulled = done.pullback(c)[0]
    assert_close(
        (c * pushed).sum(), sum((pulled[name] * v[name]).sum() for name in v), "⟨c, J v⟩", 1e-10
    )


def test_the_engine_vmaps_over_replicas(float64):
    """Two networks on two batches in one call equal each on its own."""

    def iterate(params, buffers, x, y, x_meta, y_meta):
        done = bilevel.forward(model, params, buffers, x)
        p = weighting.probabilities(done.logits)
        d1 = weighting.logit_gradient(p, y)
        response, meta_losses = done.look_ahead(lrs, 0.5 * d1, x_meta, y_meta)
        w = weighting.zero_mean(
            weighting.update_weights(torch.full_like(p, 0.5), d1 * response, 60.0, 0.2), p, y
        )
        return w, meta_losses, done.pullback(w * d1)[0], done.buffers

    replicas = [CifarResNet(5, blocks=1).train() for _ in range(2)]
    model = replicas[0]
    lrs = {name: 0.1 for name, _ in model.named_parameters()}
    data = list(batches(5, steps=3))[:2]
    params, buffers = torch.func.stack_module_state(replicas)
    together = torch.func.vmap(iterate, randomness="different")(
        {name: p.detach() for name, p in params.items()},
        buffers,
        *map(torch.stack, zip(*data, strict=True)),
    )
    for k, replica in enumerate(replicas):
        own = {name: p.detach() for name, p in replica.named_parameters()}
        alone = iterate(own, dict(replica.named_buffers()), *data[k])
        for ours, theirs in zip(
            *map(torch.utils._pytree.tree_leaves, (together, alone)), strict=True
        ):
            assert_close(ours[k].double(), theirs.double(), "replica")


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_saving_memory_changes_nothing_else(float64, dropout):
    """The train batch's activations are made again after the meta pass, with the same dropout
    masks."""
    torch.manual_seed(0)
    model = SmallNet(5, dropout=dropout)
    results = []
    for save_memory in (False, True):
        network = copy.deepcopy(model)
        torch.manual_seed(1)
        gdw = gdwlib.GDW(network, sgd(network), 5, save_memory=save_memory)
        outs = [gdw.step(*batch) for batch in batches(5)]
        results.append(
            (outs[-1].class_gradient, outs[-1].class_weights, *network.state_dict().values())
        )
    for kept, again in zip(*results, strict=True):
        assert torch.equal(kept, again)


def test_running_statistics_move_once_a_step(float64):
    model = SmallNet(5)
    gdw = gdwlib.GDW(model, sgd(model), 5)
    (x, *rest), *_ = batches(5)
    bare = copy.deepcopy(model).train()
    bare(x)
    gdw.step(x, *rest)
    assert int(model.features[1].num_batches_tracked) == 1
    assert torch.equal(model.features[1].running_mean, bare.features[1].running_mean)


def test_float32_stays_close(float64):
    """The fused float32 step against itself in float64: one step, no kinks within reach of
    rounding."""
    model = SmallNet(5)
    single = copy.deepcopy(model).float()
    (batch, *_) = batches(5)
    net = WeightNet()
    double = gdwlib.GDW(model, sgd(model), 5, weight_net=net)
    single = gdwlib.GDW(single, sgd(single), 5, weight_net=copy.deepcopy(net).float())
    ours = single.step(*(t.float() if t.is_floating_point() else t for t in batch))
    assert_close(ours.class_gradient.double(), double.step(*batch).class_gradient, "g", 2e-4)


def test_meta_every_and_gradient_clipping(float64):
    model = SmallNet(5)
    gdw = gdwlib.GDW(
        model, torch.optim.SGD(model.parameters(), 1.0), 5, meta_every=2, max_grad_norm=1e-3
    )
    data = list(batches(5, steps=4))
    phi, moved = [], []
    for batch in data:
        theta = torch.nn.utils.parameters_to_vector(model.parameters())
        out = gdw.step(*batch)
        phi.append(torch.nn.utils.parameters_to_vector(gdw.weight_net.parameters()).clone())
        moved.append(
            (torch.nn.utils.parameters_to_vector(model.parameters()) - theta).norm().item()
        )
    assert torch.equal(phi[0], phi[1]) and not torch.equal(phi[1], phi[2])
    assert out.meta_loss.isnan() and torch.equal(out.first_weights, out.class_weights)
    assert max(moved) < 1.01e-3


def test_what_an_accelerator_defers_is_raised_by_check_once():
    model = SmallNet(5)
    gdw = gdwlib.GDW(model, sgd(model), 5)
    # as a step on an accelerator leaves it
    gdw.learner._pending["y"] = (torch.tensor(False), ValueError("y: labels"))
    with pytest.raises(ValueError, match="y: labels"):
        gdw.state_dict()
    gdw.check()


def test_state_dict_resumes_exactly():
    def fresh():
        torch.manual_seed(1)
        model = SmallNet(5)
        return gdwlib.GDW(model, sgd(model), 5)

    data = list(batches(5, steps=6))
    unbroken, first, second = fresh(), fresh(), fresh()
    for batch in data:
        unbroken.step(*batch)
    for batch in data[:3]:
        first.step(*batch)
    second.load_state_dict(first.state_dict())
    for batch in data[3:]:
        second.step(*batch)
    assert second.steps == 6
    assert all(
        torch.equal(a, b)
        for a, b in zip(unbroken.model.parameters(), second.model.parameters(), strict=True)
    )
    with pytest.raises(ValueError, match="expected the keys"):
        second.load_state_dict({"model": {}})


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"num_classes": 1}, "num_classes"),
        ({"clip": 0.0}, "clip"),
        ({"clip": -0.1}, "clip"),
        ({"level": "pixel"}, "level"),
        ({"class_lr": 0.0}, "class_lr"),
        ({"meta_every": 0}, "meta_every"),
        ({"max_grad_norm": -1.0}, "max_grad_norm"),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)}, "optimizer"),
        (
            {"weight_optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)},
            "weight_optimizer",
        ),
        (
            {
                "weight_net": WeightNet(),
                "weight_optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1),
            },
            "weight_optimizer",
        ),
        ({"clip": float("nan")}, "clip"),
        ({"clip": "0.2"}, "clip"),
        ({"clip": None}, "clip"),
        ({"num_classes": 5.5}, "num_classes"),
        ({"num_classes": "5"}, "num_classes"),
        ({"meta_every": 1.5}, "meta_every"),
        ({"class_lr": float("inf")}, "class_lr"),
    ],
)
def test_constructor_refuses(options, name):
    model = SmallNet(5)
    with pytest.raises(ValueError, match=name):
        gdwlib.GDW(**{"model": model, "optimizer": sgd(model), "num_classes": 5, **options})


def broken_batches():
    x, y, x_meta, y_meta = next(batches(5))
    nan, infinite = x.clone(), x_meta.clone()
    nan[3, 0, 0, 0], infinite[2, 1, 1, 1] = float("nan"), float("inf")
    return {
        "label too large": ((x, y.clone().fill_(5), x_meta, y_meta), ValueError, "^y: "),
        "negative label": ((x, y, x_meta, y_meta.clone().fill_(-1)), ValueError, "^y_meta: "),
        "float labels": ((x, y.double(), x_meta, y_meta), ValueError, "^y: "),
        "one-hot labels": ((x, nn.functional.one_hot(y, 5), x_meta, y_meta), ValueError, "x, y"),
        "too few labels": ((x, y[:-1], x_meta, y_meta), ValueError, "x, y"),
        "empty batch": ((x[:0], y[:0], x_meta, y_meta), ValueError, "x, y"),
        "empty meta batch": ((x, y, x_meta[:0], y_meta[:0]), ValueError, "x_meta, y_meta"),
        "uint8 images": ((x.byte(), y, x_meta, y_meta), ValueError, "^x: "),
        "NumPy images": ((x.numpy(), y, x_meta, y_meta), ValueError, "^x: must be a tensor"),
        "a list of labels": (
            (x, y, x_meta, y_meta.tolist()),
            ValueError,
            "^y_meta: must be a tensor",
        ),
        "another image size": (
            (x[..., :5], y, x_meta[..., :5], y_meta),
            ValueError,
            "^x: the model's forward pass failed",
        ),
        "another meta size": (
            (x, y, x_meta[..., :5], y_meta),
            ValueError,
            "^x_meta: must be like x",
        ),
        "another dtype": (
            (x.float(), y, x_meta.float(), y_meta),
            ValueError,
            "^x: the model's forward pass failed",
        ),
        "another meta dtype": (
            (x, y, x_meta.float(), y_meta),
            ValueError,
            "^x_meta: must be like x",
        ),
        "NaN image": ((nan, y, x_meta, y_meta), FloatingPointError, "^x: "),
        "infinite meta image": ((x, y, infinite, y_meta), FloatingPointError, "^x_meta: "),
    }


def assert_refused(gdw, batch, error, message):
    before = copy.deepcopy(gdw.state_dict())
    with pytest.raises(error, match=message):
        gdw.step(*batch)
    after = gdw.state_dict()
    assert after["steps"] == 0 and after["optimizer"] == before["optimizer"]
    for part in ("model", "weight_net"):
        assert all(torch.equal(before[part][k], v) for k, v in after[part].items())


@pytest.mark.parametrize("case", broken_batches())
def test_step_refuses_and_updates_nothing(float64, case):
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 5))
    gdw = gdwlib.GDW(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), 5)
    assert_refused(gdw, *broken_batches()[case])


@pytest.mark.parametrize("where", ["x", "x_meta"])
def test_overflowing_logits_are_refused_and_nothing_is_updated(float64, where):
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.Linear(8, 5))
    model[1].weight.data *= 1e200
    gdw = gdwlib.GDW(model, torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9), 5)
    x, y, x_meta, y_meta = next(batches(5))
    batch = (
        x * (1e200 if where == "x" else 1e-200),
        y,
        x_meta * (1e200 if where == "x_meta" else 1e-200),
        y_meta,
    )
    assert_refused(gdw, batch, FloatingPointError, f"infinite logits on {where};")


class Returns(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.head, self.what = nn.Linear(108, 5), what

    def forward(self, x):
        return self.what(self.head(x.flatten(1)))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda z: z[:, :4], r"model: must return \(n, C\) = \(12, 5\) logits, gave \(12, 4\)"),
        (lambda z: z[:1], r"model: must return .* gave \(1, 5\)"),
        (lambda z: (z, z), "model: must return a tensor of logits, not tuple"),
    ],
)
def test_a_model_that_does_not_return_the_logits_is_named(what, message):
    model = Returns(what)
    gdw = gdwlib.GDW(model, torch.optim.SGD(model.parameters(), 0.1), 5)
    assert_refused(gdw, next(batches(5)), ValueError, message)


def test_a_layer_without_forward_mode_is_named_and_nothing_is_updated():
    model = Returns(lambda z: z)
    torch.nn.utils.parametrizations.weight_norm(model.head)
    gdw = gdwlib.GDW(model, torch.optim.SGD(model.parameters(), 0.1), 5)
    assert_refused(
        gdw,
        next(batches(5)),
        NotImplementedError,
        "model: no forward mode for one of its operations",
    )
