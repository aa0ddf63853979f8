"""A step can be recorded and replayed: all it does is done by tensor operations on the same memory.

Where there is no CUDA device, what a CUDA graph does is done by a stand-in: it logs every tensor
operation of a step, refuses reading a number back to Python (as a recording does), and replays the
operations on the very tensors they were recorded with.
"""

import contextlib

import pytest
import torch
from test_cuda import DEVICES
from test_replicas import assert_same, batch, make, moved
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import gdwlib
from gdwlib.engines.capture import Captured, CudaGraph, set_capturable
from gdwlib.learner import Learner
from gdwlib.methods import METHODS


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("a recorded step cannot read a number back to Python")
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        with torch.no_grad():
            for func, args, kwargs, out in self.calls:
                if func.is_view:
                    continue  # of the same memory still
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def stand_in(work):
    log, recorded = Log(), []
    with log:
        outcome = work()

    def replay():
        if recorded:
            log.replay()
        # other than a CUDA graph, the log has run the step while recording it
        recorded.append(True)

    return replay, outcome


@pytest.fixture
def as_on_an_accelerator(monkeypatch):
    """Checks are collected, not made at once."""

    def require(self, ok, error):
        before, _ = self._pending.setdefault(str(error), (torch.ones_like(ok), error))
        before.logical_and_(ok)

    monkeypatch.setattr(Learner, "_require", require)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", METHODS)
def test_a_replayed_step_is_the_step(name, device, float64, monkeypatch, as_on_an_accelerator):
    # Adam's step count is a number in Python on a CPU; on CUDA it is a tensor, and the step
    # capturable
    adam = gdwlib.gdw.make_weight_optimizer
    monkeypatch.setattr("gdwlib.gdw.make_weight_optimizer", lambda net, *_: adam(net, "sgd", 1e-2))
    eager, replayed = make(name, 0, device=device), make(name, 0, device=device)
    step = Captured(replayed.step, CudaGraph() if device == "cuda" else stand_in)
    for k in range(5):
        given = moved(batch(k), device)
        ours, theirs = step(given), eager.step(given)
        torch.testing.assert_close(ours.train_loss, theirs.train_loss, rtol=1e-12, atol=1e-12)
        if theirs.target_weights is not None:
            torch.testing.assert_close(
                ours.target_weights, theirs.target_weights, rtol=1e-10, atol=1e-12
            )
    if name in ("gdw", "mwnet"):
        # counted in Python, used only where meta_every is not 1
        replayed.gdw.steps = eager.gdw.steps
    assert_same(replayed, eager)  # where not: is all state changed in place, as `Method` asks?
    short = moved(
        batch(9)._replace(**{part: getattr(batch(9), part)[:5] for part in ("x", "y", "index")}),
        device,
    )
    torch.testing.assert_close(step(short).train_loss, eager.step(short).train_loss)


def test_a_graph_is_kept_until_the_next_one_is_recorded(monkeypatch):
    """PyTorch refuses a memory pool whose last graph is gone."""

    class Graph:
        alive = 0

        def __init__(self):
            Graph.alive += 1

        def __del__(self):
            Graph.alive -= 1

        def replay(self):
            pass

    found = []

    def recording(graph, pool):
        found.append(Graph.alive - 1)  # others than the one that is recorded
        return contextlib.nullcontext()

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    record = CudaGraph()
    for _ in range(3):  # epochs, each of which forgets its replay
        record(lambda: None)
    assert found == [0, 1, 1]


def test_what_a_replay_finds_wrong_is_told_at_the_next_check(as_on_an_accelerator):
    method = make("base", 0)
    step = Captured(method.step, stand_in)
    for k in range(2):
        step(batch(k))
    step(batch(2)._replace(y=torch.full((8,), 77)))
    step(batch(3))
    with pytest.raises(ValueError, match="y: labels must lie in 0..4"):
        method.check()


def test_a_step_that_draws_random_numbers_is_refused():
    method = make("base", 0)
    method.model.fc = torch.nn.Sequential(torch.nn.Dropout(0.5), method.model.fc)
    with pytest.raises(ValueError, match="capture: this model draws random numbers"):
        Captured(method.step, stand_in)(batch(0))


def test_an_optimizer_counts_its_steps_where_the_run_wants_them():
    """Whatever the device that the checkpoint was written on."""
    weight = torch.nn.Parameter(torch.ones(2))
    adam = torch.optim.Adam([weight])
    weight.sum().backward()
    adam.step()
    saved = adam.state_dict()
    saved["param_groups"][0]["capturable"] = True  # as from a captured run
    adam.load_state_dict(saved)
    set_capturable(adam, False)
    adam.step()
    assert adam.state[weight]["step"] == 2
    set_capturable(adam, True)
    assert adam.param_groups[0]["capturable"] and adam.state[weight]["step"].device == weight.device


def test_capture_needs_cuda(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="capture: needs a CUDA device"):
        gdwlib.run(gdwlib.RunConfig(preset="smoke", capture=True), outputs=tmp_path, progress=False)
    with pytest.raises(ValueError, match="capture: must be off"):
        gdwlib.RunConfig(capture=True, meta_every=2)
