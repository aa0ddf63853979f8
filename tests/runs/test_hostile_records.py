"""Records and networks that were tampered with: found, named, and neither believed nor executed."""

import builtins
import errno
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_training import interrupted

import gdwlib
from gdwlib.cli.main import main
from gdwlib.companion.evidence import Evidence
from gdwlib.runs.files import RecordError
from gdwlib.runs.run_folder import RunFolder, open_record
from gdwlib.runs.training import OutOfTime


def smoke(**fields):
    return gdwlib.RunConfig(**{"preset": "smoke", "noise": "uniform", "noise_ratio": 0.6} | fields)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A run on a folder of images, and the folder."""
    root = tmp_path_factory.mktemp("own")
    for c, name in enumerate(("cat", "dog")):
        (root / "images" / name).mkdir(parents=True)
        for k in range(12):
            noise = np.random.default_rng(k).integers(0, 60, (16, 16, 3)) + 170 * c
            Image.fromarray(noise.astype(np.uint8)).save(root / "images" / name / f"{k}.png")
    config = gdwlib.RunConfig(
        dataset="folder", data_folder=str(root / "images"), trusted="3", preset="smoke", epochs=1
    )
    return gdwlib.run(config, outputs=root / "outputs", progress=False).path, root / "images"


@pytest.fixture
def tampered(own, tmp_path):
    """A copy of that run to tamper with; and its outputs folder."""
    run = tmp_path / "outputs" / "runs" / own[0].name
    shutil.copytree(own[0], run)
    return run


def flip_a_bit(path, at=-400):
    content = bytearray(path.read_bytes())
    content[at] ^= 16
    path.write_bytes(content)


def refuse(run, images, match):
    with pytest.raises(RecordError, match=match):
        gdwlib.predict(run, images)


def test_predict_uses_the_network_that_was_recorded_and_no_other(own, tampered):
    refuse_all = [
        (lambda: flip_a_bit(tampered / "model.pt"), r"model.pt: altered or half-written"),
        (lambda: flip_a_bit(tampered / "model.json", 60), r"model.json: altered or half-written"),
        (lambda: (tampered / "model.pt").write_bytes(b""), r"model.pt: altered"),
        (lambda: (tampered / "result.json").write_text("{}"), r"result.json: damaged"),
        (lambda: (tampered / "result.json").write_text("["), r"result.json: damaged"),
        (lambda: (tampered / "model.pt").unlink(), r"model.pt: missing"),
    ]
    for attack, match in refuse_all:
        shutil.rmtree(tampered)
        shutil.copytree(own[0], tampered)
        attack()
        refuse(tampered, own[1], match)
    sums = json.loads((own[0] / "result.json").read_text())
    sums["sha256"]["nodel.pt"] = sums["sha256"].pop("model.pt")
    shutil.rmtree(tampered)
    shutil.copytree(own[0], tampered)
    (tampered / "result.json").write_text(json.dumps(sums))
    refuse(tampered, own[1], "no check sum of model.pt")
    with pytest.raises(RecordError, match="names no check sum of model.pt"):
        open_record(tampered)


def test_a_network_of_nan_predicts_nothing(own, tampered):
    state = torch.load(tampered / "model.pt", weights_only=True)
    for value in state.values():
        value.mul_(torch.nan) if value.is_floating_point() else None
    torch.save(state, tampered / "model.pt")
    (tampered / "result.json").unlink()  # given away without its record
    refuse(tampered, own[1], "gives no probabilities but NaN")


@pytest.mark.parametrize(
    "name, value",
    [
        ("size", 200_000),
        ("size", -1),
        ("size", "32"),
        ("pool", 0),
        ("pool", 10**9),
        ("mean", [0.5]),
        ("std", ["x", "y", "z"]),
        ("classes", ["cat"]),
        ("classes", [1, 2]),
        ("classes", "ab"),
        ("classes", {"a": 1, "b": 2}),
        ("network", {"model": "resnet8", "num_classes": 2.0, "channels": 3}),
        ("network", {"model": "resnet8", "num_classes": 2, "channels": True}),
        ("columns", [{}]),
        ("network", {"model": "resnet8", "num_classes": 2, "channels": 10**9}),
        ("network", {"model": "os.system", "num_classes": 2, "channels": 3}),
        ("network", None),
    ],
)
def test_a_tampered_description_is_one_line(own, tampered, name, value):
    about = json.loads((tampered / "model.json").read_text()) | {name: value}
    (tampered / "model.json").write_text(json.dumps(about))
    refuse(tampered, own[1], "model.json: altered")
    (tampered / "result.json").unlink()
    refuse(tampered, own[1], "model.json: does not describe a network")


@pytest.mark.parametrize(
    "column",
    [
        {"name": None, "middle": 0.0, "scale": 1.0, "comma": False, "missing": False},
        {"name": "a", "middle": None, "scale": 1.0, "comma": False, "missing": False},
        {"name": "a", "middle": 0.0, "scale": 0, "comma": False, "missing": False},
        {"name": "a", "middle": 0.0, "scale": -1, "comma": False, "missing": False},
        {"name": "a", "middle": 10**400, "scale": 1.0, "comma": False, "missing": False},
        {"name": "a", "levels": [1, 2], "missing": False},
        {"name": "a", "levels": "ab", "missing": 3},
    ],
)
def test_tampered_columns_are_one_line(own, tampered, column):
    about = json.loads((tampered / "model.json").read_text())
    about |= {"network": {"model": "linear", "num_classes": 2, "channels": 1}, "columns": [column]}
    (tampered / "model.json").write_text(json.dumps(about))
    (tampered / "result.json").unlink()
    refuse(tampered, own[1], "model.json: does not describe a network")


@pytest.mark.parametrize(
    "odd",
    [
        lambda tensor: tensor.to("meta"),
        lambda tensor: tensor.to(torch.complex64),
        lambda tensor: tensor.to_sparse(),
        lambda tensor: 5,
    ],
)
def test_tensors_of_other_kinds_are_no_weights(own, tampered, odd):
    state = torch.load(tampered / "model.pt", weights_only=True)
    state["fc.weight"] = odd(state["fc.weight"])
    torch.save(state, tampered / "model.pt")
    (tampered / "result.json").unlink()
    refuse(tampered, own[1], "model.pt: not the weights of this network")


@pytest.mark.parametrize("name", ["result.json", "model.json", "model.pt"])
def test_predict_does_not_take_unreadable_for_damaged(own, tampered, name, monkeypatch):
    unreadable(monkeypatch, name)
    refuse(tampered, own[1], rf"{name}: cannot be read \(Permission denied\)")


def test_a_description_of_more_classes_than_weights_takes_no_memory(own, tampered):
    about = json.loads((tampered / "model.json").read_text())
    about["network"]["num_classes"] = 3_000_000
    about["classes"] = list(map(str, range(3_000_000)))
    (tampered / "model.json").write_text(json.dumps(about))
    (tampered / "result.json").unlink()
    refuse(tampered, own[1], "model.pt: not the weights of this network")


@pytest.mark.parametrize("content", ["[" * 100_000, "null", '"text"', "{}", "[1, 2]", "\0"])
@pytest.mark.parametrize("name", ["model.json", "result.json", "config.json"])
def test_odd_json_is_one_line(own, tampered, name, content):
    (tampered / name).write_text(content)
    with pytest.raises(RecordError):
        open_record(tampered)
    if name != "config.json":  # of which predict makes no use
        with pytest.raises(RecordError):
            gdwlib.predict(tampered, own[1])


@pytest.mark.parametrize("name", ["result.json", "config.json", "metrics.jsonl", "examples.npz"])
def test_a_pipe_in_a_record_is_not_waited_for(own, tampered, name):
    (tampered / name).unlink()
    os.mkfifo(tampered / name)
    with pytest.raises(RecordError):
        open_record(tampered)


def unreadable(monkeypatch, name):
    """As without the permission, which tests run by root would have."""
    read, opened = Path.read_bytes, io.open

    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(
        Path, "read_bytes", lambda self: denied(self) if self.name == name else read(self)
    )

    def opening(path, *args, **how):
        return denied(path) if str(path).endswith(f"/{name}") else opened(path, *args, **how)

    monkeypatch.setattr(io, "open", opening)
    monkeypatch.setattr(builtins, "open", opening)


@pytest.mark.parametrize("name", ["examples.npz", "metrics.jsonl", "config.json", "result.json"])
def test_what_cannot_be_read_is_not_taken_for_damaged(name, tmp_path, monkeypatch):
    config = smoke(method="base")
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in record.path.iterdir()}
    with monkeypatch.context() as patch:
        unreadable(patch, name)
        with pytest.raises(RecordError, match=rf"{name}: cannot be read \(Permission denied\)"):
            gdwlib.run(config, outputs=tmp_path, progress=False)
    assert {path.name: path.read_bytes() for path in record.path.iterdir()} == before


def checkpoint_of(config, outputs):
    """Of a run stopped after two epochs."""
    with pytest.MonkeyPatch.context() as patch:
        interrupted(config, outputs, patch, 2)
    return RunFolder(outputs, config).path / "checkpoint.pt"


def test_an_unreadable_checkpoint_is_kept(tmp_path, monkeypatch):
    config = smoke(method="base", epochs=3)
    checkpoint = checkpoint_of(config, tmp_path)
    before = checkpoint.read_bytes()
    with monkeypatch.context() as patch:
        unreadable(patch, "checkpoint.pt")
        with pytest.raises(RecordError, match=r"checkpoint.pt: cannot be read"):
            gdwlib.run(config, outputs=tmp_path, progress=False)
    assert checkpoint.read_bytes() == before
    checkpoint.unlink()
    os.mkfifo(checkpoint)
    with pytest.raises(RecordError, match="not a regular file"):
        gdwlib.run(config, outputs=tmp_path, progress=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state | {"metrics": [state["metrics"][0]] * 4},
        lambda state: state | {"metrics": state["metrics"] + [{"epoch": 3}]},
        lambda state: state | {"metrics": "abc"},
        lambda state: state | {"metrics": [1, 2]},
        lambda state: state | {"metrics": [{}, {}]},
        lambda state: state | {"target_weights": torch.zeros(3)},
        lambda state: state | {"target_weights": 5},
        lambda state: state | {"method": {}},
        lambda state: state | {"method": None},
        lambda state: {"run_id": state["run_id"]},
    ],
)
def test_a_crafted_checkpoint_starts_the_run_again(change, tmp_path, capfd):
    config = smoke(method="gdw", epochs=3)
    whole = gdwlib.run(config, outputs=tmp_path / "a", progress=False)
    checkpoint = checkpoint_of(config, tmp_path / "b")
    torch.save(change(torch.load(checkpoint, weights_only=True)), checkpoint)
    again = gdwlib.run(config, outputs=tmp_path / "b")
    assert "starting again from the first epoch" in capfd.readouterr().err
    ours, theirs = ([line["train_loss"] for line in of.metrics] for of in (again, whole))
    assert ours == theirs


def test_what_a_table_leaves_out_is_said(tmp_path, capfd):
    configs = [smoke(method="base", seed=seed) for seed in range(4)]
    records = [gdwlib.run(config, outputs=tmp_path, progress=False) for config in configs]
    flip_a_bit(records[0].path / "examples.npz", 50)
    (records[1].path / "config.json").write_text("{")
    records[2].path.rename(records[2].path.with_name("renamed"))
    evidence = Evidence(tmp_path)
    said = capfd.readouterr().err
    assert list(evidence.runs(configs[0])) == [3]
    for words in ("examples.npz: altered", "config.json: damaged, or of another", "renamed: its "):
        assert words in said
    command = ["table", "2", "--dataset", "fashion", "--preset", "smoke"]
    assert main([*command, "--outputs", str(tmp_path)]) == 0
    assert capfd.readouterr().err.count("left out: ") == 3


def test_null_accuracies_are_no_record(tmp_path):
    config = smoke(method="base")
    path = gdwlib.run(config, outputs=tmp_path, progress=False).path
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    text = "".join(json.dumps(line | {"test_accuracy": None}) + "\n" for line in lines)
    (path / "metrics.jsonl").write_text(text)
    import hashlib

    result = json.loads((path / "result.json").read_text())
    result["sha256"]["metrics.jsonl"] = hashlib.sha256(text.encode()).hexdigest()
    result |= dict.fromkeys(("final_accuracy", "best_accuracy", "last_accuracy"))
    (path / "result.json").write_text(json.dumps(result))
    with pytest.raises(RecordError, match="has no test accuracies"):
        open_record(path)


def test_a_record_whose_images_are_gone(own, tampered, capsys):
    images = own[1]
    images.rename(images.with_name("moved"))
    try:
        assert main(["suspects", str(tampered)]) == 1
        said = capsys.readouterr().err
        assert str(images) in said and said.count("\n") == 1
    finally:
        images.with_name("moved").rename(images)


def test_trusted_examples_are_under_the_check_sums_too(own, tampered):
    (tampered / "trusted.csv").write_text("id,label\n")
    with pytest.raises(RecordError, match="trusted.csv: altered"):
        open_record(tampered)


def test_a_lock_that_a_killed_process_left_in_a_finished_record_goes(tmp_path):
    config = smoke(method="base")
    path = gdwlib.run(config, outputs=tmp_path, progress=False).path
    for name, content in (("lock", ""), ("owner.json", "[1]"), ("checkpoint.pt", "half")):
        (path / name).write_text(content)
    gdwlib.run(config, outputs=tmp_path, progress=False)
    assert not {"lock", "owner.json", "checkpoint.pt"} & {file.name for file in path.iterdir()}


@pytest.mark.parametrize("owner", ["[1]", "null", '{"pid": []}', "{", '"x"'])
def test_an_odd_owner_is_somebody(owner, tmp_path):
    import filelock

    config = smoke(method="base")
    folder = RunFolder(tmp_path, config)
    folder.path.mkdir(parents=True)
    with filelock.FileLock(folder.path / "lock"):
        (folder.path / "owner.json").write_text(owner)
        with pytest.raises(RecordError, match="process .* on .* is training this run"):
            gdwlib.run(config, outputs=tmp_path, progress=False)


def test_the_budget_does_not_follow_the_clock(tmp_path, monkeypatch):
    """A clock that is set back an hour while a run is trained gives it no hour."""
    import time

    real, begun = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * (time.monotonic() > begun + 0.5))
    with pytest.raises(OutOfTime):
        gdwlib.run(
            smoke(method="gdw", epochs=5000), outputs=tmp_path, progress=False, until=real() + 3
        )
    assert time.monotonic() - begun < 60


def test_a_checkpoint_that_is_another_archive_starts_the_run_again(tmp_path):
    config = smoke(method="base", epochs=3)
    checkpoint = checkpoint_of(config, tmp_path)
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**8))
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    assert len(record.metrics) == 3
