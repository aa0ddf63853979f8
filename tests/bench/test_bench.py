"""What can be counted of the speed: operations and memory; and that the benchmark measures what it
says."""

import json

import pytest
import torch

from gdwlib import bench
from gdwlib.cli.main import main


def quiet(text):
    pass


def test_operations_and_memory_of_a_step():
    """The bars of the paper's network: 10 passes for a plain step's 3; two batches' activations, or
    one's."""
    names = ["mwnet", "gdw", "gdw, save_memory", "gdw, double backward", "gdw, as published"]
    rows = {
        row["step"]: row
        for row in bench.measure_steps(bench.Setting(batch_size=50), names, 1, quiet)
    }
    plain, mwnet, gdw = rows["plain SGD"], rows["mwnet"], rows["gdw"]
    assert 3.3 < gdw["operations_ratio"] < 3.34
    assert gdw["operations"] <= 1.001 * mwnet["operations"]
    assert gdw["peak_mib"] <= 2.1 * plain["peak_mib"]
    assert gdw["peak_mib"] <= 0.7 * rows["gdw, double backward"]["peak_mib"]
    saving = rows["gdw, save_memory"]
    assert saving["peak_mib"] <= 1.3 * plain["peak_mib"]
    assert saving["operations_ratio"] == pytest.approx(11 / 3, rel=0.01)
    assert (
        rows["gdw, as published"]["operations"]
        > rows["gdw, double backward"]["operations"]
        > gdw["operations"]
    )


def test_live_bytes_are_those_of_tensors_alive_at_once():
    from gdwlib.bench.steps import LiveBytes

    with LiveBytes() as live:
        first = torch.zeros(1000)  # 4,000 bytes
        first.view(10, 100).add_(1)  # a view and an update in place hold nothing more
        for _ in range(3):
            torch.zeros(500)  # freed at once
        second = first + 1
        del first
        third = second + 1
    assert live.peak == 8000 and third.sum() == 3000


def test_the_command_measures_and_keeps(tmp_path, capsys):
    small = [
        "--depth",
        "8",
        "--batch-size",
        "4",
        "--rounds",
        "1",
        "--preset",
        "smoke",
        "--outputs",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    assert main(["bench", "steps", "loop", "--steps", "base", "gdw", *small]) == 0
    out = capsys.readouterr().out
    assert "plain SGD" in out and "gdw" in out and "the step is" in out
    image, path = sorted((tmp_path / "bench").iterdir(), reverse=True)
    assert image.read_bytes().startswith(b"\x89PNG")
    assert path.name.startswith(f"torch{torch.__version__.split('+')[0]}-") and path.name.endswith(
        "-float32.json"
    )
    content = json.loads(path.read_text())
    assert [row["step"] for row in content["steps"]["rows"]] == ["plain SGD", "base", "gdw"]
    loop = content["loop"]["rows"]
    assert 0 < loop["step_percent"] < 100
    assert set(loop["seconds"]) == {
        "batch",
        "step",
        "statistics",
        "evaluation",
        "checkpoint",
        "record",
    }
    assert content["steps"]["environment"]["torch"] == torch.__version__
    # replaces its section, keeps the other
    assert main(["bench", "steps", "--steps", "base", *small]) == 0
    content = json.loads(path.read_text())
    assert len(content["steps"]["rows"]) == 2 and "loop" in content


def test_every_contestant_steps(tmp_path):
    setting = bench.Setting(depth=8, batch_size=4, size=8)
    rows = bench.measure_steps(setting, list(bench.STEPS), 1, quiet)
    assert [row["step"] for row in rows] == ["plain SGD", *bench.STEPS]
    assert all(row["seconds"] > 0 and row["peak_mib"] > 0 for row in rows)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--depth", "33"], "--depth: must be 6·blocks + 2"),
        (["--rounds", "0"], "--rounds: must be at least 1"),
    ],
)
def test_bad_arguments_are_one_line(capsys, arguments, message):
    assert main(["bench", *arguments]) == 1
    assert message in capsys.readouterr().err
