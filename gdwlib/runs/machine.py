"""What the numbers and the speed of a process depend on beside its configuration."""

import contextlib
import ctypes
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gdwlib
from gdwlib.runs.config import ALGORITHM_VERSION


def cores() -> int:
    """That this process may use, a container's quota (cgroup v2) included."""
    count = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    with contextlib.suppress(OSError, ValueError):  # none, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))
    return count


def keep_freed_memory() -> None:
    """Have glibc keep what tensors free for the next ones, instead of giving it back and asking for
    zeroed pages again at every step; it took a tenth of a small network's step. Elsewhere:
    nothing."""
    trim_threshold, mmap_threshold = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(mmap_threshold, 32 * 2**20)
        mallopt(trim_threshold, 2**31 - 1)


@contextlib.contextmanager
def ieee_float32() -> Iterator[None]:
    """Have float32 mean float32 on NVIDIA's GPUs too: by default PyTorch lets cuDNN's convolutions
    round to TF32, ten bits of mantissa. (Said in the older of PyTorch's two ways: after the newer
    one nothing can read the older.)"""
    of: Any = torch.backends
    rounding: list[Any] = [of.cudnn] if of.cudnn.conv.fp32_precision == "tf32" else []
    rounding += [of.cuda.matmul] if of.cuda.matmul.fp32_precision == "tf32" else []
    for backend in rounding:
        backend.allow_tf32 = False
    try:
        yield
    finally:
        for backend in rounding:
            backend.allow_tf32 = True


def environment(
    device: torch.device, replicas: int = 1, processes: int = 1, runs_per_gpu: int | None = None
) -> dict:
    """What the numbers depend on beside the configuration."""
    import torchvision  # takes seconds; here because a training alone needs it

    git = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        revision = (
            subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip() or None
        )
    except (OSError, subprocess.SubprocessError):
        revision = None
    revision = revision or os.environ.get("GDWLIB_REVISION")  # of a copy that left .git behind
    return {
        "gdwlib": gdwlib.__version__,
        "algorithm_version": ALGORITHM_VERSION,
        "git_revision": revision,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type} ({platform.machine()})",
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "replicas": replicas,  # runs that this one was trained together with, itself included
        "processes": processes,  # that each trained on a part of every batch
        # so many at most shared the GPU, and its seconds; None: nothing saw to that
        "runs_per_gpu": runs_per_gpu,
    }
