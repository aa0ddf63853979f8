"""Time of one step: plain SGD, gdwlib's GDW and MWNet, and the same GDW step by double backward.

    python benchmarks/step.py [--threads 2] [--rounds 8] [--model resnet32] [--device cpu]

All on the same network (channels_last), batch 100 + 100, 3×32×32 images, float32. The contestants are interleaved:
every round runs each once, so that a noisy machine disturbs all alike; reported are the medians and each one's
median per-round ratio to plain SGD. Times of a shared machine mean little, the ratios more.
"""

import argparse
import copy
import statistics
import sys
import time
from pathlib import Path

import torch

import gdwlib
from gdwlib.models import MODELS, WeightNet

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference import SecondOrderGDW


def contestants(model, num_classes):
    """name → step(x, y, x_meta, y_meta), each with its own copy of the network and its optimizers."""

    def sgd(network):
        return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    plain, two, one, slow = (copy.deepcopy(model) for _ in range(4))
    optimizer = sgd(plain)

    def plain_step(x, y, x_meta, y_meta):
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(plain(x), y).backward()
        optimizer.step()

    weight_net = WeightNet().to(next(slow.parameters()).device)
    second = SecondOrderGDW(
        slow, sgd(slow), num_classes, weight_net, torch.optim.Adam(weight_net.parameters(), 1e-3, weight_decay=1e-4)
    )
    return {
        "SGD": plain_step,
        "GDW": gdwlib.GDW(two, sgd(two), num_classes).step,
        "MWNet": gdwlib.GDW(one, sgd(one), num_classes, level="instance").step,
        "GDW by double backward": second.step,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--model", choices=MODELS, default="resnet32")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device, n, num_classes = torch.device(args.device), 100, 10
    model = MODELS[args.model](num_classes).to(device, memory_format=torch.channels_last)
    x, x_meta = (torch.randn(n, 3, 32, 32, device=device).to(memory_format=torch.channels_last) for _ in range(2))
    y, y_meta = (torch.randint(0, num_classes, (n,), device=device) for _ in range(2))

    steps = contestants(model, num_classes)
    seconds = {name: [] for name in steps}
    for round_ in range(args.rounds + 2):  # two rounds to warm up
        for name, step in steps.items():
            start = time.perf_counter()
            step(x, y, x_meta, y_meta)
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_ >= 2:
                seconds[name].append(time.perf_counter() - start)

    print(f"{args.model}, {n}+{n} images 3×32×32, float32, channels_last, torch {torch.__version__}, {device}, "
          f"{torch.get_num_threads()} threads, {args.rounds} rounds")  # fmt: skip
    print(f"{'step':<24}{'median s':>10}{'× SGD':>8}{'× double backward':>20}")
    for name, times in seconds.items():
        ratio = {
            other: statistics.median(a / b for a, b in zip(times, seconds[other], strict=True))
            for other in ("SGD", "GDW by double backward")
        }
        print(
            f"{name:<24}{statistics.median(times):>10.3f}{ratio['SGD']:>8.2f}{ratio['GDW by double backward']:>20.2f}"
        )


if __name__ == "__main__":
    main()
