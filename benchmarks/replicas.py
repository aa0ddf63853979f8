"""K runs that differ in their seed, four ways: seconds a GDW step, and what that is of a step of
runs made one after another.

    python benchmarks/replicas.py [--threads 2] [--device cpu] [--rounds 6] [--outputs outputs]

For the paper's network and for that of the `small` presets. The ways take turns, round by round.
The result goes into the file of `python -m gdwlib bench`.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gdwlib import bilevel, weighting
from gdwlib.bench import Setting, as_text, keep, result_path
from gdwlib.bench.setting import method, ratios, timed
from gdwlib.engines.replicas import Replica, train_replicas
from gdwlib.methods import Batch, Method
from gdwlib.runs.folders import project_folder
from gdwlib.runs.machine import keep_freed_memory


def measure_replicas(
    setting: Setting, counts: list[int], rounds: int, say: Callable[[str], None]
) -> list[dict]:
    """K GDW steps on K networks: one after another, as one network in K groups
    (`gdwlib.engines.replicas`), by `torch.func.vmap`, and in K processes of a share of the threads
    each. Seconds a step, and over the first."""
    rows = []
    for count in counts:
        ways: dict[str, Callable[..., Callable[..., float]]] = {
            "one after another": one_after_another,
            "in groups": in_groups,
            "vmap": by_vmap,
            "processes": in_processes,
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        open_ways = {name: way(setting, count) for name, way in ways.items()}
        for round_ in range(rounds + 1):
            for name, way in open_ways.items():
                taken = way()
                if round_:
                    seconds[name].append(taken / count)
            say(f"{count} replicas, n = {setting.batch_size}: round {round_ + 1} of {rounds + 1}")
        open_ways["processes"](stop=True)
        first = seconds["one after another"]
        rows += [
            {
                "replicas": count,
                "depth": setting.depth,
                "size": setting.size,
                "batch_size": setting.batch_size,
                "threads": torch.get_num_threads(),
                "way": name,
                "seconds": statistics.median(times),
                **ratios("time", times, first),
            }
            for name, times in seconds.items()
        ]
    return rows


def alone(setting: Setting, count: int) -> tuple[list[Method], list[Batch]]:
    methods = []
    for k in range(count):
        torch.manual_seed(k)
        methods.append(method(setting, "gdw", setting.model()))
    return methods, [setting.batch(k) for k in range(count)]


def one_after_another(setting: Setting, count: int) -> Callable[[], float]:
    methods, batches = alone(setting, count)
    return lambda: timed(
        setting, lambda: [one.step(batch) for one, batch in zip(methods, batches, strict=True)]
    )


def in_groups(setting: Setting, count: int) -> Callable[[], float]:
    methods, batches = alone(setting, count)

    def job(k: int) -> Callable[[Replica], None]:
        def work(engine: Replica) -> None:
            for learner in methods[k].learners:
                learner.engine = engine
            methods[k].step(batches[k])

        return work

    def round_() -> float:
        errors = []
        taken = timed(
            setting, lambda: errors.extend(train_replicas([job(k) for k in range(count)]))
        )
        if any(errors):
            raise next(filter(None, errors))
        return taken

    return round_


def by_vmap(setting: Setting, count: int) -> Callable[[], float]:
    """The passes of a GDW step mapped over stacked parameters; the weighting network's own step,
    common to all ways and small, is left out in this way's favour."""
    torch.manual_seed(0)
    models = [setting.model().train() for _ in range(count)]
    model = models[0]
    params, buffers = torch.func.stack_module_state(models)
    params = {name: value.detach() for name, value in params.items()}
    lrs: dict[str, float | Tensor] = dict.fromkeys(params, 0.1)
    data = [
        torch.stack(parts)
        for parts in zip(*(setting.batch(k)[:4] for k in range(count)), strict=True)
    ]

    def step(
        params: dict, buffers: dict, x: Tensor, y: Tensor, x_meta: Tensor, y_meta: Tensor
    ) -> tuple:
        done = bilevel.forward(model, params, buffers, x)
        p = weighting.probabilities(done.logits)
        d1 = weighting.logit_gradient(p, y)
        response, _ = done.look_ahead(lrs, 0.5 * d1, x_meta, y_meta)
        w = weighting.zero_mean(
            weighting.update_weights(torch.full_like(p, 0.5), d1 * response, 60.0, 0.2), p, y
        )
        return done.pullback(w * d1)[0], done.buffers

    def work() -> None:
        with torch.no_grad():
            torch.func.vmap(step, randomness="different")(params, buffers, *data)

    return lambda: timed(setting, work)


def in_processes(setting: Setting, count: int) -> Callable[..., float]:
    """Each process holds one replica and steps when told to. They share this one's threads, at
    least one each."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // count)
    pipes, workers = [], []
    for k in range(count):
        here, there = context.Pipe()
        workers.append(
            context.Process(target=worker, args=(setting, k, threads, there), daemon=True)
        )
        workers[-1].start()
        pipes.append(here)
    for pipe in pipes:
        pipe.recv()  # ready

    def round_(stop: bool = False) -> float:
        start = time.perf_counter()
        for pipe in pipes:
            pipe.send(not stop)
        if not stop:
            for pipe in pipes:
                pipe.recv()
        else:
            for worker in workers:
                worker.join()
        return time.perf_counter() - start

    return round_


def worker(setting: Setting, seed: int, threads: int, pipe: Any) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    torch.manual_seed(seed)
    one, batch = method(setting, "gdw", setting.model()), setting.batch(seed)
    pipe.send(True)
    while pipe.recv():
        one.step(batch)
        setting.synchronize()
        pipe.send(True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--outputs", type=Path, default=project_folder("outputs"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # as a run does
    rows = []
    for setting in (
        Setting(device=args.device, depth=32),
        Setting(device=args.device, depth=8, size=14),
        Setting(device=args.device, depth=8, size=16, batch_size=16),
    ):
        rows += measure_replicas(
            setting, [2, 4], args.rounds, lambda text: print(text, file=sys.stderr)
        )
    print(as_text("replicas", rows))
    keep(result_path(args.outputs, setting), "replicas", rows, setting)


if __name__ == "__main__":
    main()
