"""The loop around the step: where an epoch's time goes."""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gdwlib.bench.setting import Setting, timed
from gdwlib.data.batches import epoch_indices
from gdwlib.data.randomness import torch_rng
from gdwlib.runs.config import RunConfig
from gdwlib.runs.diagnostics import WeightStatistics
from gdwlib.runs.loading import DeviceLoader
from gdwlib.runs.run_folder import RunFolder
from gdwlib.runs.training import build_method, load_split


def measure_loop(
    config: RunConfig, data: Path | None, steps: int, say: Callable[[str], None]
) -> dict:
    """Where a run's time goes: seconds of each part of an epoch, from some steps and one of
    everything else, and the step's share in percent."""
    split, device = load_split(config, data), config.torch_device()
    setting = Setting(device=device.type)
    loader = DeviceLoader(config, split, device)
    model, method = build_method(config, split, loader)
    method.start_epoch(0)
    weight_statistics = WeightStatistics(config, split, device)
    taken: dict[str, list[float]] = {name: [] for name in ("batch", "step", "statistics")}
    indices = list(
        epoch_indices(len(loader.train), len(loader.meta), config.batch_size, 0, 0, device)
    )
    generator = torch_rng(0, "augmentation", 0)

    def part(name: str, work: Callable) -> Any:
        result = []
        taken.setdefault(name, []).append(timed(setting, lambda: result.append(work())))
        return result[0]

    for done, (index, meta_index) in enumerate(indices[:steps]):
        batch = part(
            "batch", lambda at=index, meta_at=meta_index: loader.batch(at, meta_at, generator)
        )
        outcome = part("step", lambda batch=batch: method.step(batch))
        part("statistics", lambda outcome=outcome, at=index: weight_statistics.update(outcome, at))
        if done % 10 == 0:
            say(
                f"loop of {config.dataset} {config.preset}: step {done + 1} of "
                f"{min(steps, len(indices))}"
            )
    seconds = {name: statistics.median(times) * len(indices) for name, times in taken.items()}
    with tempfile.TemporaryDirectory() as folder:
        files = RunFolder(Path(folder), config)
        weights = torch.zeros(len(split.given), device=device)
        part("evaluation", lambda: loader.test_accuracy(model))
        line = part("record", lambda: weight_statistics.compute(weights))
        state = {"method": method.state_dict(), "metrics": [line], "target_weights": weights}
        part("checkpoint", lambda: files.save_checkpoint(state))
        part("record", lambda: files.write_metrics([line]))
    seconds |= {name: sum(taken[name]) for name in ("evaluation", "checkpoint", "record")}
    total = sum(seconds.values())
    return {
        **{name: getattr(config, name) for name in ("dataset", "preset", "method", "model")},
        "steps": len(indices),
        "seconds": seconds,
        "step_percent": 100 * seconds["step"] / total,
    }
