"""Make fashion-mnist-subset.npz from the full Fashion-MNIST: the first 1,000 train and 200 test
images of each class.

    python data/make_fashion_subset.py   # downloads the full set into data/ first, where missing

Ids are positions in the full train and test sets.
"""

from pathlib import Path

import numpy as np
from torchvision.datasets import FashionMNIST

here = Path(__file__).parent
arrays = {}
for split, per_class in (("train", 1000), ("test", 200)):
    full = FashionMNIST(here, train=split == "train", download=True)
    labels = full.targets.numpy()
    ids = np.sort(np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in range(10)]))
    arrays |= {
        f"{split}_images": full.data.numpy()[ids],  # (N, 28, 28) uint8
        f"{split}_labels": labels[ids].astype(np.uint8),
        f"{split}_ids": ids.astype(np.int32),
    }
np.savez_compressed(here / "fashion-mnist-subset.npz", **arrays)
