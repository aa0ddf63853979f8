"""Clothing1M on a generated folder in exactly its published layout."""

import numpy as np
import pytest
import torch
from PIL import Image

import gdwlib
from gdwlib.cli.main import main
from gdwlib.data import DataError
from gdwlib.data.clothing1m import CLASSES, clothing1m
from gdwlib.data.randomness import rng
from gdwlib.data.streamed import Files, batches
from gdwlib.runs.loading import StreamingLoader, make_loader

KINDS = ("noisy_train", "clean_val", "clean_test")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """252 JPEGs of several sizes, in images/d/dd/, and the annotation files."""
    data = tmp_path_factory.mktemp("data")
    root, draw = data / "clothing1m", np.random.default_rng(0)
    keys = {kind: [] for kind in KINDS}
    labels = {"noisy": [], "clean": []}
    for kind, per_class in zip(KINDS, (12, 3, 3), strict=True):
        for k in range(per_class * len(CLASSES)):
            key = f"images/{k % 10}/{k % 100:02d}/{kind}{k},{1000 - k}.jpg"
            label = k % len(CLASSES)
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            width, height = (int(side) for side in draw.integers(40, 90, 2))
            shade = np.full((height, width, 3), 15 * label, np.uint8) + draw.integers(
                0, 20, (height, width, 3), np.uint8
            )
            Image.fromarray(shade).save(path)
            keys[kind].append(key)
            if kind == "noisy_train":
                labels["noisy"].append(f"{key} {label if k % 3 else (label + 1) % 14}")
                if k % 4 == 0:
                    labels["clean"].append(f"{key} {label}")
            else:
                labels["clean"].append(f"{key} {label}")
    for kind in KINDS:
        (root / f"{kind}_key_list.txt").write_text("\n".join(keys[kind]) + "\n")
    for kind, lines in labels.items():
        (root / f"{kind}_label_kv.txt").write_text("\n".join(lines) + "\n")
    return data


def damaged_copy(whole, tmp_path):
    import shutil

    return (
        shutil.copytree(whole, tmp_path / "data", ignore=shutil.ignore_patterns("checked.json"))
        / "clothing1m"
    )


def test_labels_given_and_true_are_read(whole):
    train = clothing1m(whole, "noisy_train")
    assert len(train.ids) == 168 and train.images.shape == (168, 3, 224, 224)
    known = train.labels >= 0
    assert known.sum() == 42 and np.array_equal(train.labels[known], np.arange(0, 168, 4) % 14)
    assert (train.given[known] != train.labels[known]).mean() == pytest.approx(1 / 3, abs=0.01)
    assert (
        clothing1m(whole, "clean_val").given is None
        and (clothing1m(whole, "clean_test").labels >= 0).all()
    )


def test_missing_truncated_and_unlabelled_images_are_named_and_counted(whole, tmp_path):
    root = damaged_copy(whole, tmp_path)
    lines = (root / "noisy_train_key_list.txt").read_text().splitlines()
    (root / lines[0]).unlink()
    (root / lines[1]).write_bytes((root / lines[1]).read_bytes()[:-300])
    (root / lines[2]).write_bytes(b"")
    kept = [
        line
        for line in (root / "noisy_label_kv.txt").read_text().splitlines()
        if not line.startswith(lines[3])
    ]
    (root / "noisy_label_kv.txt").write_text("\n".join(kept))
    with pytest.raises(DataError) as error:
        clothing1m(root.parent, "noisy_train")
    text = str(error.value)
    assert (
        "noisy_train_key_list.txt: 4 of 168 images cannot be used" in text and "--skip-bad" in text
    )
    for key, why in zip(lines, ("missing", "truncated", "empty file", "no label"), strict=False):
        assert f"{key}: {why}" in text
    train = clothing1m(root.parent, "noisy_train", skip_bad=True)
    assert len(train.ids) == 164 and not set(lines[:4]) & set(train.ids.tolist())
    (root / lines[0]).write_bytes((root / lines[5]).read_bytes())  # mended: looked at again
    assert len(clothing1m(root.parent, "noisy_train", skip_bad=True).ids) == 165


def test_a_broken_layout_is_one_line(whole, tmp_path):
    with pytest.raises(
        DataError, match="noisy_label_kv.txt: missing; Clothing1M is given out by its authors"
    ):
        clothing1m(tmp_path / "nothing", "noisy_train")
    root = damaged_copy(whole, tmp_path)
    (root / "noisy_label_kv.txt").write_text("images/0/00/a.jpg 14\n")
    with pytest.raises(
        DataError, match=r"noisy_label_kv.txt, line 1: must be an image and a label in 0..13"
    ):
        clothing1m(root.parent, "noisy_train")


def test_annotations_may_lie_in_their_own_folder(whole, tmp_path):
    root = damaged_copy(whole, tmp_path)
    (root / "annotations").mkdir()
    for path in root.glob("*.txt"):
        path.rename(root / "annotations" / path.name)
    assert len(clothing1m(root.parent, "clean_test").ids) == 42


def test_cropping_is_that_of_a_resized_image(tmp_path):
    """The middle crop at scale 8/7, beside resizing as a whole and cropping afterwards; augmented
    crops lie inside."""
    draw = np.random.default_rng(1)
    image = Image.fromarray(draw.integers(0, 256, (12, 17, 3), np.uint8)).resize(
        (165, 120), Image.BICUBIC
    )
    image.save(tmp_path / "a.png")
    files = Files(np.array([str(tmp_path / "a.png")]), 56)
    whole = np.asarray(image.resize((88, 64), Image.BILINEAR)).astype(int)
    top, left = 4, (whole.shape[1] - 56) // 2
    middle = files.decoded(0, None)
    assert middle.shape == (3, 56, 56) and middle.dtype == np.uint8
    assert np.abs(middle.transpose(1, 2, 0) - whole[top : top + 56, left : left + 56]).mean() < 3
    crops = {files.decoded(0, rng(0, "crop", k)).tobytes() for k in range(8)}
    assert len(crops) == 8
    assert np.array_equal(files.decoded(0, rng(0, "crop", 1)), files.decoded(0, rng(0, "crop", 1)))


def test_worker_processes_give_the_batches_of_this_one(whole):
    files = clothing1m(whole, "noisy_train", size=32).images
    positions = [np.arange(10), np.arange(10, 17)]
    alone, helped = (list(batches([(files, positions)], workers, (0, 1))) for workers in (0, 2))
    assert [len(x) for (x,) in alone] == [10, 7] and alone[0][0].dtype == torch.uint8
    assert all(torch.equal(a, b) for (a,), (b,) in zip(alone, helped, strict=True))
    other = next(batches([(files, positions)], 0, (0, 2)))[0]
    assert not torch.equal(other, alone[0][0])


def test_a_file_that_goes_bad_later_is_named_in_one_line(whole, tmp_path):
    root = damaged_copy(whole, tmp_path)
    files = clothing1m(root.parent, "clean_test", size=32).images
    bad = root / "images/3/03/clean_test3,997.jpg"
    bad.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"clean_test3,997.jpg: truncated or no image") as error:
        list(batches([(files, [np.arange(8)])], 1))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", ["gdw", "glc", "coteaching"])
def test_a_run_streams_its_images(whole, tmp_path, method):
    flags = {"forget_rate": 0.3} if method == "coteaching" else {}
    config = gdwlib.RunConfig(
        dataset="clothing1m", method=method, preset="smoke", workers=1, **flags
    )
    split = gdwlib.load_split(config, whole)
    assert isinstance(make_loader(config, split, torch.device("cpu")), StreamingLoader)
    assert (
        len(split.given) == 140
        and len(split.meta.labels) == 28
        and split.test.images.shape == (42, 3, 32, 32)
    )
    record = gdwlib.run(config, outputs=tmp_path, data=whole, progress=False)
    assert 0 <= record.final_accuracy <= 100 and np.isfinite(record.metrics[-1]["train_loss"])
    again = gdwlib.run(
        gdwlib.RunConfig(**vars(config) | {"workers": 0}),
        outputs=tmp_path / "again",
        data=whole,
        progress=False,
    )
    assert again.metrics[-1]["train_loss"] == record.metrics[-1]["train_loss"]  # whoever decodes


def test_the_paper_setting_and_its_weights(tmp_path, monkeypatch, whole, capsys):
    config = gdwlib.RunConfig(dataset="clothing1m", preset="paper")
    official = {
        "model": "resnet18",
        "pretrained": True,
        "epochs": 5,
        "lr": 1e-3,
        "momentum": 0.9,
        "weight_decay": 1e-3,
        "batch_size": 128,
        "image_size": 224,
        "pool": 1,
        "augment": True,
        "meta_per_class": None,
        "class_lr": None,
    }
    assert {name: getattr(config, name) for name in official} == official
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(*_, **__):
        raise OSError("name resolution failed")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    arguments = [
        "run",
        "--dataset",
        "clothing1m",
        "--preset",
        "paper",
        "--data",
        str(whole),
        "--outputs",
        str(tmp_path),
    ]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert (
        "ImageNet weights could not be downloaded (name resolution failed); put resnet18-" in error
    )
    assert "--no-pretrained" in error
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(b"something else")
    assert main(arguments) == 1 and "altered or truncated (SHA-256" in capsys.readouterr().err


def test_co_teaching_must_be_told_an_unknown_rate():
    from gdwlib.methods import METHODS, MethodContext

    model = torch.nn.Linear(4, 3)
    task = MethodContext(
        3,
        torch.zeros(9, dtype=torch.int64),
        torch.zeros(3, 4),
        torch.arange(3),
        None,
        lambda: model,
    )
    with pytest.raises(ValueError, match="forget_rate: must be given"):
        config = gdwlib.RunConfig(method="coteaching")
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        METHODS["coteaching"](model, optimizer, task, config.settings, config.learning_rates)
