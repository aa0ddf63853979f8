"""CIFAR-10N and CIFAR-100N: reading the published files safely, and runs on them."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

import gdwlib
from gdwlib.data import DataError
from gdwlib.data.human import CIFAR10N, human_labels
from gdwlib.runs.folders import project_folder

TRUE = np.arange(50) % 10


@pytest.fixture(autouse=True)
def no_published_sum(monkeypatch):
    """What is in a file is looked at all the same, whatever its check sum."""
    monkeypatch.setattr("gdwlib.data.human._hold_to_published", lambda path: None)


class Hostile:
    """What a tampered file asks to be called when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def published(tmp_path, **changes):
    """A file as published: a zip archive around a pickle of arrays, in protocol 2."""
    arrays = (
        {"clean_label": TRUE}
        | {key: (TRUE + k) % 10 for k, key in enumerate(CIFAR10N.values())}
        | changes
    )
    path = tmp_path / "CIFAR-10_human.pt"
    torch.save(arrays, path)
    return path


def test_each_label_set_is_read_by_its_own_key(tmp_path):
    path = published(tmp_path)
    for k, key in enumerate(CIFAR10N.values()):
        labels = human_labels(path, key, TRUE, 10)
        assert labels.dtype == np.int64 and np.array_equal(labels, (TRUE + k) % 10)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_file_is_refused_without_being_executed(tmp_path, zipped):
    marker = tmp_path / "executed"
    content = {"clean_label": TRUE, "worse_label": Hostile(marker)}
    path = tmp_path / "CIFAR-10_human.pt"
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(
        DataError, match=r"CIFAR-10_human.pt: .*refused without being executed .*put the published"
    ):
        human_labels(path, "worse_label", TRUE, 10)
    assert not marker.exists()
    torch.load(path, weights_only=False) if zipped else pickle.loads(path.read_bytes())
    assert marker.exists()  # it would have been


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean_label": np.roll(TRUE, 1)}, "differ from the data set's at 50 of 50 images"),
        ({"worse_label": TRUE[:-1]}, r"'worse_label' must be 50 integers, found int64 \(49,\)"),
        ({"worse_label": TRUE.astype(float)}, "must be 50 integers, found float64|refused"),
        ({"worse_label": TRUE + 1}, r"must lie in 0..9"),
        ({"worse_label": [1, 2]}, "found nothing of the kind"),
    ],
)
def test_files_for_other_data_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        human_labels(published(tmp_path, **changes), "worse_label", TRUE, 10)


def test_damaged_and_missing_files_are_named(tmp_path, monkeypatch):
    path = published(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="CIFAR-10_human.pt: not a file of label arrays"):
        human_labels(path, "worse_label", TRUE, 10)
    path.unlink()

    def no_network(*_):
        raise RuntimeError("no route\nto host")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", no_network)
    with pytest.raises(
        DataError,
        match=r"missing, and could not be downloaded \(no route to host\); put the published",
    ):
        human_labels(path, "worse_label", TRUE, 10)


@pytest.mark.parametrize(
    ("dataset", "rates"),
    [
        (
            "cifar10n",
            {
                "worst": 40.21,
                "random1": 17.23,
                "random2": 18.12,
                "random3": 17.64,
                "aggregate": 9.03,
            },
        ),
        ("cifar100n", {"noisy": 40.20}),
    ],
)
def test_the_published_rates_where_the_files_are_there(dataset, rates):
    data = project_folder("data")
    file = {"cifar10n": "CIFAR-10_human.pt", "cifar100n": "CIFAR-100_human.pt"}[dataset]
    folder = {"cifar10n": "cifar-10-batches-py", "cifar100n": "cifar-100-python"}[dataset]
    if not (data / file).is_file() or not (data / folder).is_dir():
        pytest.skip(f"{dataset} is not in data/")
    source = gdwlib.DATASETS[dataset]
    true = source.load(data, True).labels
    assert {
        n: round(100 * (s(data, true) != true).mean(), 2) for n, s in source.label_sets.items()
    } == pytest.approx(rates, abs=0.03)
    split = gdwlib.load_split(gdwlib.RunConfig(dataset=dataset, preset="smoke", seed=3))
    clean = gdwlib.load_split(gdwlib.RunConfig(dataset=dataset[:-1], preset="smoke", seed=3))
    assert np.array_equal(split.train.ids, clean.train.ids) and np.array_equal(
        split.meta.labels, clean.meta.labels
    )
    assert (
        split.wrong_rate
        == (split.given != split.train.labels).mean()
        == pytest.approx(0.4, abs=0.06)
    )


def test_noise_and_label_set_are_filled_in_and_checked():
    config = gdwlib.RunConfig(dataset="cifar10n")
    assert (config.noise, config.label_set) == ("human", "worst") and "-worst-" in config.run_id
    assert gdwlib.RunConfig(dataset="cifar10n", label_set="aggregate").run_id != config.run_id
    assert gdwlib.RunConfig(dataset="cifar10n", preset="paper").class_lr == 100
    for fields, message in (
        ({"dataset": "cifar10n", "noise": "uniform", "noise_ratio": 0.4}, "noise: must be 'human'"),
        ({"dataset": "cifar10", "noise": "human"}, "noise: must be another kind"),
        ({"dataset": "cifar10n", "label_set": "worse"}, "label_set: must be one of worst"),
        ({"dataset": "cifar10", "label_set": "worst"}, "label_set: must be left out"),
    ):
        with pytest.raises(ValueError, match=message):
            gdwlib.RunConfig(**fields)


def test_a_zip_archive_of_something_else(tmp_path):
    path = tmp_path / "CIFAR-10_human.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", io.BytesIO(b"hello").read())
    with pytest.raises(DataError, match="not a file of label arrays"):
        human_labels(path, "worse_label", TRUE, 10)
