"""What is checked elsewhere on a CPU, on a CUDA device where there is one."""

import time

import pytest
import torch
from test_replicas import assert_same, batch, make, moved

import gdwlib
from gdwlib.methods import METHODS

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
# on the first, these tests are themselves tried
DEVICES = ["cpu", pytest.param("cuda", marks=no_gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_as_on_a_cpu(name, device, float64):
    here, there = make(name, 0), make(name, 0, device=device)
    for k in range(3):
        here.step(batch(k))
        there.step(moved(batch(k), device))
    there.check()
    assert_same(there, here)


@pytest.mark.parametrize(
    "device, capture",
    [("cpu", False), *(pytest.param("cuda", on, marks=no_gpu) for on in (False, True))],
)
def test_a_run_stops_goes_on_and_is_read_back(device, capture, tmp_path):
    """And does, up to rounding, what the same run does that was not stopped and not captured."""
    config = gdwlib.RunConfig(
        method="gdw", preset="smoke", noise="uniform", device=device, capture=capture
    )
    with pytest.raises(gdwlib.OutOfTime):
        gdwlib.run(config, outputs=tmp_path, progress=False, until=time.time() - 1)
    record = gdwlib.run(config, outputs=tmp_path, progress=False, runs_per_gpu=2)
    about = record.environment
    assert about["runs_per_gpu"] == (2 if device == "cuda" else None)
    assert about["device"] == (
        torch.cuda.get_device_name() if device == "cuda" else about["device"]
    )
    plain = gdwlib.RunConfig(method="gdw", preset="smoke", noise="uniform", device=device)
    assert plain.run_id == config.run_id  # how fast it is done is no part of what is done
    other = gdwlib.run(plain, outputs=tmp_path / "other", progress=False)
    ours, theirs = (
        torch.tensor([line["train_loss"] for line in r.metrics]) for r in (record, other)
    )
    # float32: training amplifies rounding
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.0)
