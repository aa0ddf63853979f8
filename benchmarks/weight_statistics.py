"""What the weight statistics of Figures 3, 5 and 6 cost: their time as a share of a GDW step's.

    python benchmarks/weight_statistics.py [--dataset fashion] [--preset small] [--steps 40] [--threads 1]

Step and statistics are timed in turn on the same batches of a real run's first epoch; medians.
"""

import argparse
import statistics
import time

import torch

import gdwlib
from gdwlib.data.batches import epoch_indices
from gdwlib.data.randomness import torch_rng
from gdwlib.diagnostics import WeightStatistics
from gdwlib.training import Resident, load_split, prepare


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=gdwlib.DATASETS, default="fashion")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = gdwlib.RunConfig(dataset=args.dataset, preset=args.preset, noise="uniform", noise_ratio=0.6)
    split, device = load_split(config), config.torch_device()
    resident = Resident(config, split, device)
    _, method = prepare(config, split, resident)
    method.start_epoch(0)
    counting = WeightStatistics(config, split, device)
    generator = torch_rng(0, "augmentation", 0)

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    steps, counts = [], []
    indices = epoch_indices(len(resident.train), len(resident.meta), config.batch_size, 0, 0, device)
    for _, (index, meta_index) in zip(range(args.steps), indices, strict=False):
        batch = resident.batch(index, meta_index, generator)
        start = now()
        outcome = method.step(batch)
        stepped = now()
        counting.see(outcome, index)
        steps.append(stepped - start)
        counts.append(now() - stepped)
    start = now()
    counting.read(torch.rand(len(split.given), device=device))
    read = (now() - start) / len(steps)
    step, count = statistics.median(steps), statistics.median(counts)
    print(f"{args.dataset} {args.preset}, {config.model}, {device}: step {1000 * step:.2f} ms, statistics "
          f"{1000 * (count + read):.3f} ms a step: {100 * (count + read) / step:.2f}%")  # fmt: skip


if __name__ == "__main__":
    main()
