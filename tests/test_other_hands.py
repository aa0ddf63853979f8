"""`GDW` and `run` as people use them who have not read everything: right, or refused by name."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import gdwlib
from gdwlib.gdw import GDW

N, C = 8, 3


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, C)
    )


def batches(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x, x_meta = (torch.randn(N, 3, 8, 8, generator=generator).to(dtype) for _ in range(2))
    y, y_meta = (torch.randint(C, (N,), generator=generator) for _ in range(2))
    return x, y, x_meta, y_meta


def sgd(model, **how):
    return torch.optim.SGD(model.parameters(), lr=0.1, **how)


def make(model, **how):
    torch.manual_seed(0)
    return GDW(model, sgd(model), C, **how)


def test_frozen_batch_norm_stays_frozen():
    model = network().train()
    model[1].eval()
    before = copy.deepcopy(dict(model[1].named_buffers()))
    make(model).step(*batches())
    assert model.training and not model[1].training
    for name, buffer in model[1].named_buffers():
        assert torch.equal(buffer, before[name])


def test_a_model_in_eval_mode_is_left_there():
    model = network().eval()
    before = model[1].running_mean.clone()
    make(model).step(*batches())
    assert not model.training and torch.equal(model[1].running_mean, before)


class Averaging(nn.Module):
    """Reassigns a buffer, as moving averages are often written."""

    def __init__(self):
        super().__init__()
        self.inner = network()
        self.register_buffer("ema", torch.zeros(C))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        out = self.inner(x)
        self.ema = 0.9 * self.ema + 0.1 * out.detach().mean(0)
        self.count += 1
        return out


@pytest.mark.parametrize("how", [{}, {"save_memory": True}])
def test_a_buffer_that_is_reassigned_moves_as_in_a_plain_step(how):
    ours, plain = Averaging(), Averaging()
    x, *rest = batches()
    make(ours, **how).step(x, *rest)
    plain(x)
    assert torch.allclose(ours.ema, plain.ema) and ours.ema.abs().sum() > 0
    assert ours.count == plain.count == 1
    assert not ours.ema.requires_grad


def test_model_and_optimizer_cannot_be_exchanged():
    gdw = make(network())
    for name, value in (("model", network()), ("optimizer", sgd(network()))):
        with pytest.raises(AttributeError, match=name):
            setattr(gdw, name, value)


def test_hooks_on_parameters_are_called():
    hooked, plain = network(), network()
    seen = []
    hooked[4].weight.register_hook(lambda grad: 0 * grad)
    hooked[0].weight.register_post_accumulate_grad_hook(lambda param: seen.append(param.grad.sum()))
    before = hooked[4].weight.detach().clone()
    for model in (hooked, plain):
        make(model).step(*batches())
    assert torch.equal(hooked[4].weight, before) and len(seen) == 1
    assert torch.equal(hooked[0].weight, plain[0].weight)
    assert not torch.equal(plain[4].weight, before)


@pytest.mark.parametrize(
    "other, name",
    [
        ({"level": "instance"}, "level"),
        ({"clip": 0.1}, "clip"),
        ({"meta_every": 5}, "meta_every"),
        ({"zero_mean": False}, "zero_mean"),
    ],
)
def test_a_state_of_other_settings_is_refused(other, name):
    gdw = make(network(1))
    before = copy.deepcopy(gdw.state_dict())
    with pytest.raises(ValueError, match=rf"state: was saved with {name}="):
        gdw.load_state_dict(make(network(2), **other).state_dict())
    assert_equal_states(gdw.state_dict(), before)


def assert_equal_states(ours, theirs):
    for name in ("model", "weight_net"):
        for key, value in theirs[name].items():
            assert torch.equal(ours[name][key], value)
    assert ours["steps"] == theirs["steps"]
    assert ours["optimizer"]["param_groups"] == theirs["optimizer"]["param_groups"]


@pytest.mark.parametrize("part", ["model", "optimizer", "weight_net", "weight_optimizer"])
def test_a_state_that_fails_halfway_leaves_nothing_changed(part):
    gdw, other = make(network(1)), make(network(2))
    for one in (gdw, other):
        one.step(*batches())
    before, state = copy.deepcopy(gdw.state_dict()), copy.deepcopy(other.state_dict())
    state[part] = {"odd": torch.zeros(1)}
    with pytest.raises(ValueError, match=f"state: is of another {part} .*nothing is loaded"):
        gdw.load_state_dict(state)
    assert_equal_states(gdw.state_dict(), before)


def test_a_state_is_plain_numbers_and_a_learning_rate_may_change(tmp_path):
    import numpy as np

    gdw = make(network(1), class_lr=np.float64(0.1), clip=np.float64(0.2))
    torch.save(gdw.state_dict(), tmp_path / "state.pt")
    other = make(network(2))
    other.class_lr = 0.05
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.class_lr == 0.05 and torch.equal(other.model[0].weight, gdw.model[0].weight)
    for odd in ({"settings": None}, {"settings": [1]}, {"steps": "x"}, {"steps": -3}):
        with pytest.raises(ValueError, match="state: "):
            other.load_state_dict(gdw.state_dict() | odd)


def test_a_buffer_that_grows():
    class Queue(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()
            self.register_buffer("last", torch.zeros(1, C))

        def forward(self, x):
            out = self.inner(x)
            self.last = torch.cat([self.last, out.detach().mean(0, keepdim=True)])[-3:]
            return out

    model = Queue()
    gdw = make(model)
    for k in range(4):
        gdw.step(*batches(k))
        assert model.last.shape == (min(k + 2, 3), C)
    assert (model.last.abs().sum(1) > 0).all()


def test_a_state_of_an_earlier_version_loads():
    state = make(network(2)).state_dict()
    del state["settings"]
    gdw = make(network(1))
    gdw.load_state_dict(state)
    assert torch.equal(gdw.model[0].weight, network(2)[0].weight)


@pytest.mark.parametrize("name", ["zero_mean", "save_memory", "normalise"])
@pytest.mark.parametrize("value", ["no", "x", 1, None])
def test_switches_are_true_or_false(name, value):
    with pytest.raises(ValueError, match=f"{name}: must be True or False"):
        make(network(), **{name: value})


def test_what_cannot_be_trained_is_refused_at_once():
    model = network()
    with pytest.raises(ValueError, match="optimizer: has maximize=True"):
        GDW(model, sgd(model, maximize=True), C)
    gdw = make(network())
    gdw.optimizer.param_groups[0]["maximize"] = True  # later
    with pytest.raises(ValueError, match="optimizer: has maximize=True"):
        gdw.step(*batches())
    for moved, before in zip(gdw.model.parameters(), network().parameters(), strict=True):
        assert torch.equal(moved, before)
    with pytest.raises(ValueError, match="model: is wrapped in DataParallel"):
        make(nn.DataParallel(model))
    with pytest.raises(ValueError, match="model: has float16 parameters"):
        make(network().half())


def test_inference_mode_is_refused_up_front():
    gdw = make(network())
    before = copy.deepcopy(gdw.state_dict())
    with torch.inference_mode(), pytest.raises(RuntimeError, match="step: stands within"):
        gdw.step(*batches())
    assert_equal_states(gdw.state_dict(), before)


def test_a_model_that_became_double_says_so_and_bfloat16_trains():
    model = network()
    gdw = make(model)
    model.double()
    with pytest.raises(ValueError, match=r"weight_net: is torch.float32, and the model gives"):
        gdw.step(*batches(dtype=torch.float64))
    gdw.weight_net.double()
    assert gdw.step(*batches(dtype=torch.float64)).train_loss.isfinite()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make(network()).step(*batches()).train_loss.isfinite()
    small = network().bfloat16()
    assert make(small).step(*batches(dtype=torch.bfloat16)).train_loss.isfinite()


def test_objects_in_threads_come_to_what_they_come_to_alone():
    def made(seed):
        torch.manual_seed(seed)
        return make(nn.Sequential(network(seed), nn.Dropout(0.0)), save_memory=seed % 2 == 1)

    def steps(of):
        seed, gdw = of
        return [gdw.step(*batches(100 * seed + k)).meta_loss.item() for k in range(25)]

    alone = [steps((seed, made(seed))) for seed in range(6)]
    objects = [(seed, made(seed)) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(steps, objects)) == alone


def test_runs_in_threads_are_the_runs_made_alone(tmp_path):
    configs = [
        gdwlib.RunConfig(preset="smoke", noise="uniform", noise_ratio=0.6, method=method, seed=seed)
        for seed in range(2)
        for method in ("gdw", "mwnet", "base")
    ]

    def losses(record):
        return [(line["train_loss"], line["meta_loss"]) for line in record.metrics]

    def trained(config):
        return gdwlib.run(config, outputs=tmp_path / "together", progress=False)

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(trained, configs))
    for config, record in zip(configs, together, strict=True):
        alone = gdwlib.run(config, outputs=tmp_path / "alone", progress=False)
        assert losses(record) == losses(alone)
