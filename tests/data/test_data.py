"""Noise statistics, long-tail counts, the meta split, augmentation, and damaged files."""

import numpy as np
import pytest
import torch

import gdwlib
from gdwlib.data import DATASETS, DataError, Dataset, Images, make_split
from gdwlib.data.batches import augmented, epoch_indices, meta_order, normalised, pooled
from gdwlib.data.datasets import FASHION_CLASSES, cifar, fashion_full
from gdwlib.runs.folders import project_folder

DATA = project_folder("data")


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize(
    ("kind", "ratio"),
    [("uniform", 0.6), ("uniform-other", 0.4), ("flip", 0.2), ("flip", 1.0), ("none", 0.0)],
)
def test_noise_has_the_transition_matrix_it_says(kind, ratio, num_classes):
    matrix = {
        "uniform": (1 - ratio) * np.eye(num_classes) + ratio / num_classes,
        "uniform-other": np.full((num_classes, num_classes), ratio / (num_classes - 1)),
        "none": np.eye(num_classes),
    }.get(kind)
    if kind == "uniform-other":
        np.fill_diagonal(matrix, 1 - ratio)
    if kind == "flip":
        to = gdwlib.data.noise.flip_map(num_classes)
        matrix = (1 - ratio) * np.eye(num_classes)
        matrix[np.arange(num_classes), to] += ratio
        assert (to != np.arange(num_classes)).all()
    per_class = 20_000
    true = np.repeat(np.arange(num_classes), per_class)
    noisy = gdwlib.corrupt_labels(true, kind, ratio, num_classes, seed=3)
    assert noisy.dtype == np.int64
    found = np.zeros((num_classes, num_classes))
    np.add.at(found, (true, noisy), 1 / per_class)
    deviation = np.sqrt(matrix * (1 - matrix) / per_class)  # binomial
    assert (np.abs(found - matrix) <= 5.5 * deviation + 1e-12).all()


def test_official_numbers():
    assert gdwlib.data.noise.flip_map(10).tolist() == [6, 9, 6, 0, 0, 1, 8, 6, 2, 4]
    assert gdwlib.long_tail_counts(4900, 0.1, 10) == [
        4900,
        3793,
        2937,
        2274,
        1760,
        1363,
        1055,
        817,
        632,
        490,
    ]
    assert gdwlib.long_tail_counts(4900, 0.01, 10) == [
        4900,
        2937,
        1760,
        1055,
        632,
        379,
        227,
        136,
        81,
        49,
    ]
    assert sum(gdwlib.long_tail_counts(490, 0.1, 100)) == 19_183
    assert sum(gdwlib.long_tail_counts(490, 0.01, 100)) == 10_626
    assert gdwlib.long_tail_counts(500, 1.0, 3) == [500, 500, 500]
    assert gdwlib.long_tail_counts(3, 0.01, 3) == [3, 1, 1]


def test_corrupt_labels_returns_what_it_was_given_and_ignores_global_randomness():
    labels = torch.arange(10).repeat(50)
    torch.manual_seed(1)
    first = gdwlib.corrupt_labels(labels, "uniform", 0.6, 10, seed=7)
    np.random.seed(5)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    second = gdwlib.corrupt_labels(labels.numpy(), "uniform", 0.6, 10, seed=7)
    assert (
        isinstance(first, torch.Tensor)
        and first.dtype == torch.int64
        and isinstance(second, np.ndarray)
    )
    assert np.array_equal(first.numpy(), second)
    assert torch.equal(state[0], torch.get_rng_state()) and np.array_equal(
        state[1], np.random.get_state()[1]
    )
    assert not np.array_equal(
        second, gdwlib.corrupt_labels(labels.numpy(), "uniform", 0.6, 10, seed=8)
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"kind": "unifrom"}, "kind"),
        ({"ratio": 1.01}, "ratio"),
        ({"ratio": -0.1}, "ratio"),
        ({"ratio": float("nan")}, "ratio"),
        ({"ratio": "0.4"}, "ratio"),
        ({"kind": "none"}, "ratio"),
        ({"kind": []}, "kind"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"num_classes": 10.5}, "num_classes"),
        ({"labels": np.array([0, 10])}, "labels"),
        ({"labels": np.array([-1, 0])}, "labels"),
        ({"labels": np.array([0.0, 1.0])}, "labels"),
        ({"num_classes": 1, "labels": np.array([0])}, "num_classes"),
    ],
)
def test_corrupt_labels_refuses(change, name):
    good = {"labels": np.arange(10), "kind": "uniform", "ratio": 0.4, "num_classes": 10, "seed": 0}
    with pytest.raises(ValueError, match=f"^{name}: "):
        gdwlib.corrupt_labels(**good | change)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((float("nan"), 0.1, 3), "largest"),
        ((4900.5, 0.1, 3), "largest"),
        ((0, 0.1, 3), "largest"),
        ((10, 0.0, 3), "mu"),
        ((10, 1.1, 3), "mu"),
        ((10, "1", 3), "mu"),
        ((10, 0.1, 1), "num_classes"),
        ((10, 0.1, 2.5), "num_classes"),
    ],
)
def test_long_tail_counts_refuses(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        gdwlib.long_tail_counts(*arguments)


def test_a_user_adds_a_noise_and_a_dataset(monkeypatch, tmp_path):
    swap = np.eye(10)[::-1]
    monkeypatch.setitem(
        gdwlib.NOISES,
        "mirror",
        lambda ratio, num_classes: (1 - ratio) * np.eye(num_classes) + ratio * swap,
    )
    assert gdwlib.corrupt_labels(np.arange(10), "mirror", 1.0, 10, seed=0).tolist() == list(
        range(9, -1, -1)
    )

    def load(folder, train):
        count = 40 if train else 10
        images = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
        return Images(images, np.arange(count) % 2, np.arange(count))

    monkeypatch.setitem(gdwlib.DATASETS, "mine", Dataset(("a", "b"), (0.5,) * 3, (0.2,) * 3, load))
    config = gdwlib.RunConfig(
        dataset="mine", method="gdw", noise="flip", noise_ratio=0.4, preset="smoke", train_size=40
    )
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    assert len(record.metrics) == 2 and len(record.examples["ids"]) == 32


def test_the_meta_set_is_balanced_clean_and_disjoint_unless_asked():
    options = {"meta_per_class": 30, "noise": "uniform", "noise_ratio": 0.6, "seed": 5}
    split = make_split("fashion", DATA, **options)
    assert np.bincount(split.meta.labels).tolist() == [30] * 10
    assert (
        not np.intersect1d(split.meta.ids, split.train.ids).size and len(split.train.ids) == 9_700
    )
    full = DATASETS["fashion"].load(DATA, True)
    where = np.searchsorted(full.ids, split.meta.ids)
    assert np.array_equal(full.images[where], split.meta.images) and np.array_equal(
        full.labels[where], split.meta.labels
    )
    assert (split.given != split.train.labels).mean() == pytest.approx(0.54, abs=0.03)
    leaky = make_split("fashion", DATA, meta_overlap=True, **options)
    assert np.array_equal(leaky.meta.ids, split.meta.ids) and len(leaky.train.ids) == 9_700
    shared = len(np.intersect1d(leaky.meta.ids, leaky.train.ids))
    assert shared / 300 == pytest.approx(0.97, abs=0.03)


def test_one_seed_decides_everything():
    options = {
        "meta_per_class": 20,
        "noise": "flip",
        "noise_ratio": 0.4,
        "imbalance": 0.1,
        "train_size": 5_000,
    }
    one, same, other = (make_split("fashion", DATA, seed=seed, **options) for seed in (1, 1, 2))
    for name in ("train", "meta", "test"):
        assert np.array_equal(getattr(one, name).ids, getattr(same, name).ids)
    assert np.array_equal(one.given, same.given)
    assert not np.array_equal(one.meta.ids, other.meta.ids) and not np.array_equal(
        one.train.ids, other.train.ids
    )
    assert np.bincount(one.train.labels).tolist() == gdwlib.long_tail_counts(480, 0.1, 10)


def test_impossible_splits_are_refused():
    with pytest.raises(DataError, match="class 0, 'T-shirt', has 1000 images, 1001 are asked for"):
        make_split("fashion", DATA, meta_per_class=1001)
    with pytest.raises(DataError, match="without training images"):
        make_split("fashion", DATA, meta_per_class=1000)


def reflect_loop(images, shifts, flips):
    """Augmentation one image and one pixel at a time."""
    out = torch.empty_like(images)
    _, _, height, width = images.shape
    mirror = lambda i, length: -i if i < 0 else 2 * (length - 1) - i if i >= length else i  # noqa: E731
    for k, (down, right) in enumerate(shifts.T.tolist()):
        for r in range(height):
            for c in range(width):
                column = width - 1 - c if flips[k] else c
                out[k, :, r, c] = images[
                    k, :, mirror(r + down, height), mirror(column + right, width)
                ]
    return out


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (1, 14, 9)])
def test_augmentation_equals_a_per_image_loop(channels, height, width):
    images = torch.randint(0, 256, (24, channels, height, width), dtype=torch.uint8)
    batch = augmented(images, torch.Generator().manual_seed(4))
    again = torch.Generator().manual_seed(4)
    shifts = torch.randint(-4, 5, (2, 24, 1), generator=again)[:, :, 0]
    flips = torch.randint(0, 2, (24, 1), generator=again)[:, 0]
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, reflect_loop(images, shifts, flips))
    assert 0 < flips.sum() < 24 and shifts.min() == -4 and shifts.max() == 4


def test_augmentation_is_torchvisions_pad_crop_flip():
    """Every result is a crop of the reflect-padded image or its mirror image."""
    images = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8)
    padded = torch.nn.functional.pad(images.float(), (4, 4, 4, 4), mode="reflect").byte()
    for image, result in zip(
        padded, augmented(images, torch.Generator().manual_seed(0)), strict=True
    ):
        crops = [image[:, r : r + 12, c : c + 12] for r in range(9) for c in range(9)]
        assert any(torch.equal(result, crop) or torch.equal(result, crop.flip(2)) for crop in crops)


def test_normalisation_and_pooling():
    images = torch.tensor([[[[0, 255], [255, 0]]]], dtype=torch.uint8)
    mean, std = torch.tensor([0.5])[:, None, None], torch.tensor([0.25])[:, None, None]
    assert normalised(images, mean, std).flatten().tolist() == [-2.0, 2.0, 2.0, -2.0]
    assert pooled(images, 2).tolist() == [[[[128]]]] and pooled(images, 1) is images


def test_an_epoch_visits_every_example_once_and_cycles_the_meta_set():
    train, meta = zip(
        *epoch_indices(250, 130, 100, seed=0, epoch=3, device=torch.device("cpu")), strict=True
    )
    assert sorted(torch.cat(train).tolist()) == list(range(250)) and [
        len(part) for part in train
    ] == [100, 100, 50]
    assert [len(part) for part in meta] == [100, 100, 100]
    passes = torch.cat(meta)
    assert sorted(passes[:130].tolist()) == sorted(passes[130:260].tolist()) == list(range(130))
    assert [len(m) for _, m in epoch_indices(250, 30, 100, 0, 0, torch.device("cpu"))] == [
        30,
        30,
        30,
    ]
    assert not np.array_equal(meta_order(130, 300, 0, 3), meta_order(130, 300, 0, 4))
    lonely = [len(t) for t, _ in epoch_indices(201, 30, 100, 0, 0, torch.device("cpu"))]
    assert lonely == [100, 101]  # batch norm knows no variance of one example


def test_damaged_files_are_named(tmp_path, monkeypatch):
    assert len(DATASETS["fashion"].load(tmp_path, False).labels) == 2000  # from the package
    monkeypatch.setattr("gdwlib.data.datasets.EMBEDDED", tmp_path / "fashion-mnist-subset.npz")
    with pytest.raises(DataError, match=r"fashion-mnist-subset.npz: missing; .*git checkout"):
        DATASETS["fashion"].load(tmp_path, True)
    whole = (DATA / "fashion-mnist-subset.npz").read_bytes()
    (tmp_path / "fashion-mnist-subset.npz").write_bytes(whole[:-1000])
    with pytest.raises(DataError, match=r"fashion-mnist-subset.npz: altered or truncated \(sha256"):
        DATASETS["fashion"].load(tmp_path, True)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(b"123")
    with pytest.raises(
        DataError,
        match=r"train-labels-idx1-ubyte.gz: altered or truncated \(MD5 .*, expected 25c81989df",
    ):
        fashion_full(tmp_path, True)
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    (batches / "data_batch_3").write_bytes(b"not CIFAR")
    with pytest.raises(
        DataError, match=r"data_batch_3: altered or truncated \(MD5 .*delete it and run"
    ):
        DATASETS["cifar10"].load(tmp_path, True)


def test_a_failed_download_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    class Unreachable:
        train_list, test_list, base_folder = [["a", "0" * 32]], [], "folder"

        def __init__(self, *_, **__):
            raise RuntimeError("URLError: name resolution failed\nat line 5")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Unreachable)
    with pytest.raises(
        DataError,
        match=r"^cifar10: not complete in .* could not be downloaded "
        r"\(URLError: name resolution failed\)",
    ):
        cifar("CIFAR10", "cifar10")(tmp_path, True)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_where_it_is_there(name):
    if not (
        DATA / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    ).is_dir():
        pytest.skip(f"{name} is not in data/")
    split = make_split(name, DATA, meta_per_class=10, noise="uniform", noise_ratio=0.4)
    num_classes = len(split.classes)
    assert (
        split.train.images.shape == (50_000 - 10 * num_classes, 3, 32, 32)
        and split.test.images.shape[0] == 10_000
    )
    assert (split.given != split.train.labels).mean() == pytest.approx(
        0.4 * (num_classes - 1) / num_classes, abs=0.01
    )


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.full((3, 3), 0.5), "must have rows that sum to 1; row 0 sums to 1.5"),
        (np.array([[1.2, -0.2, 0], [0, 1, 0], [0, 0, 1]]), r"probabilities, has -0.2 at \[0, 1\]"),
        (np.full((3, 3), np.nan), r"must hold probabilities, has nan at \[0, 0\]"),
        (np.eye(2), r"must be \(C, C\) = \(3, 3\) numbers, not float64 of shape \(2, 2\)"),
        (np.array([["a"] * 3] * 3), "must be .* numbers, not <U1"),
        ([[0.6, 0.4, 0], [0, 1, 0], [0, 0, 1]], None),  # a list that is right is one
        ([0.6, 0.4, 0], r"of shape \(3,\)"),
    ],
)
def test_a_noise_of_ones_own_is_checked(monkeypatch, matrix, message):
    monkeypatch.setitem(gdwlib.NOISES, "mine", lambda ratio, num_classes: matrix)
    labels = np.arange(30) % 3
    if message is None:
        noisy = gdwlib.corrupt_labels(labels, "mine", 0.4, 3, 0)
        assert set(noisy[labels == 0]) == {0, 1} and (noisy == labels)[labels > 0].all()
        return
    for call in (
        lambda: gdwlib.corrupt_labels(labels, "mine", 0.4, 3, 0),
        lambda: gdwlib.data.wrong_rate("mine", 0.4, 3),
    ):
        with pytest.raises(ValueError, match=f"^noise 'mine': its transition matrix .*{message}"):
            call()


def test_a_data_set_of_ones_own_is_checked(tmp_path):
    def images(labels, channels=3):
        pixels = np.zeros((len(labels), channels, 8, 8), np.uint8)
        return Images(pixels, labels, np.arange(len(labels)))

    labels = np.arange(40) % 2
    grey = Dataset(("a", "b"), (0.5,) * 3, (0.2,) * 3, lambda *_: images(labels, 1))
    with pytest.raises(DataError, match="mean and std must have a number for each .* 1 channels"):
        make_split(grey, tmp_path, meta_per_class=2)
    with pytest.raises(DataError, match="labels must be integers, .* not <U1"):
        images(np.array(["a", "b"] * 20))


def test_every_class_has_a_name():
    assert len(FASHION_CLASSES) == 10 and len(set(DATASETS["cifar100"].classes)) == 100
