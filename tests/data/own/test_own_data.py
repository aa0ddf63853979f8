"""Your own images: folders and CSV files as people leave them, from the command line to suspects
and predictions."""

import csv
import json
import os
import pickle
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import gdwlib
from gdwlib.cli.main import main
from gdwlib.cli.run import confusion_in_words
from gdwlib.data import DataError
from gdwlib.data.image_files import open_image
from gdwlib.data.own.spelling import Classes, normalised_label, read_csv
from gdwlib.runs.files import RecordError

COLOURS = {"blue": (40, 60, 200), "green": (30, 160, 60), "red": (200, 40, 40)}


def image(path, colour, seed=0, size=(24, 20), **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    array = np.clip(
        np.array(colour) + draw.integers(-30, 31, (size[1], size[0], 3)), 0, 255
    ).astype(np.uint8)
    Image.fromarray(array).save(path, **how)
    return path


def folder(tmp_path, per_class=20, wrong=4):
    """Images of three colours, each of which `wrong` lie in the next one's folder; and a trusted
    folder."""
    names = list(COLOURS)
    for c, (name, colour) in enumerate(COLOURS.items()):
        for k in range(per_class):
            where = names[(c + 1) % 3] if k < wrong else name
            image(
                tmp_path / "images" / where / f"{name}{k:02d}.png",
                colour,
                seed=100 * c + k,
                size=(20 + k, 24),
            )
        for k in range(4):
            image(tmp_path / "trusted" / name / f"{k}.jpg", colour, seed=5000 + 100 * c + k)
    return tmp_path / "images"


def config_of(root, **fields):
    fields = {
        "dataset": "folder",
        "preset": "smoke",
        "trusted": str(root.parent / "trusted"),
    } | fields
    return gdwlib.RunConfig(data_folder=str(root), **fields)


def split_of(root, **fields):
    return gdwlib.load_split(config_of(root, **fields))


def test_the_classes_known_least_are_printed():
    counts = np.array(
        [[9, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 7, 2, 1, 0], [0, 0, 0, 10, 0], [5, 0, 0, 0, 5]]
    )
    assert list(confusion_in_words("abcde", counts)) == [
        "accuracy by class after the last epoch: c 20%, e 50%, a 90%, d 100%",
        "most often mistaken: c for b, 7 of 10",
    ]
    lowest, _ = confusion_in_words(
        "abcdef", np.diag([5, 4, 3, 2, 1, 6]) + np.eye(6, k=1, dtype=int)
    )
    assert lowest.startswith("accuracy by class after the last epoch, the lowest 3 of 6: e 50%, d")
    (only,) = confusion_in_words("ab", np.diag([2, 3]))
    assert only == "accuracy by class after the last epoch: a 100%, b 100%"


def test_a_folder_a_class(tmp_path):
    split = split_of(folder(tmp_path))
    assert split.classes == ("blue", "green", "red") and split.train.images.shape == (60, 3, 16, 16)
    assert (split.train.labels == -1).all() and split.test is None and split.wrong_rate is None
    assert split.train.ids[0] == "blue/blue04.png" and np.bincount(split.given).tolist() == [
        20,
        20,
        20,
    ]
    assert len(split.meta.labels) == 12 and np.bincount(split.meta.labels).tolist() == [4, 4, 4]
    assert split.mean == pytest.approx([0.36, 0.35, 0.41], abs=0.06)


def test_n_a_class_are_taken_out_of_the_folder(tmp_path):
    root = folder(tmp_path)
    config = config_of(root, trusted=5)
    split = gdwlib.load_split(config)
    assert config.meta_per_class == 5 and len(split.meta.ids) == 15 and len(split.train.ids) == 45
    assert not set(split.meta.ids) & set(split.train.ids)
    assert config_of(root, trusted=6).run_id != config.run_id
    with pytest.raises(DataError, match="20 images, 21 are asked for"):
        split_of(root, trusted=21)


def test_what_lies_about_is_left_alone_and_told(tmp_path):
    root = folder(tmp_path)
    (root / "red" / "notes.txt").write_text("hello")
    (root / "red" / "Thumbs.db").write_bytes(b"x")
    (root / "red" / "._red00.png").write_bytes(b"x")
    (root / "__MACOSX" / "red").mkdir(parents=True)
    image(root / "__MACOSX" / "red" / "a.png", (0, 0, 0))
    (root / "empty class").mkdir()
    image(root / "loose.png", (1, 2, 3))
    image(root / "red" / "deeper" / "x.png", COLOURS["red"])
    image(root / "red" / "deeper" / "no_suffix", COLOURS["red"], seed=3, format="PNG")
    split = split_of(root)
    assert len(split.train.ids) == 62 and split.classes == ("blue", "green", "red")
    told = " | ".join(split.remarks)
    assert "1 files are no images, left alone: red/notes.txt" in told
    assert "1 images lie in no class's folder" in told


def test_bad_images_are_named_counted_and_skipped_when_asked(tmp_path):
    root = folder(tmp_path)
    whole = (root / "red" / "red10.png").read_bytes()
    (root / "red" / "red10.png").write_bytes(whole[: len(whole) // 2])
    (root / "green" / "empty.jpg").write_bytes(b"")
    (root / "green" / "page.jpg").write_bytes(b"<html>not found</html>")
    os.symlink(root / "gone.png", root / "blue" / "link.png")
    with pytest.raises(DataError) as error:
        split_of(root)
    text = str(error.value)
    assert "4 of 63 images cannot be used" in text and "--skip-bad" in text and "\n" not in text
    for name in (
        "red/red10.png: truncated",
        "green/empty.jpg: empty file",
        "green/page.jpg: truncated or no image",
    ):
        assert name in text
    assert "blue/link.png: missing" in text
    split = split_of(root, skip_bad=True)
    assert len(split.train.ids) == 59 and any(
        "4 of 63" in remark and "left out" in remark for remark in split.remarks
    )


@pytest.mark.parametrize(
    ("mode", "grey"),
    [("L", True), ("1", True), ("LA", True), ("I;16", True), ("F", True)]
    + [("RGB", False), ("RGBA", False), ("P", False), ("CMYK", False)],
)
def test_every_kind_of_image_is_decoded(tmp_path, mode, grey):
    shade = np.tile(np.linspace(0, 255, 16), (16, 1))
    if mode == "I;16":
        image, name = Image.fromarray((shade * 257).astype(np.uint16)), "a.png"
    elif mode == "F":
        image, name = Image.fromarray((shade / 255).astype(np.float32)), "a.tif"
    else:
        image = (
            Image.fromarray(shade.astype(np.uint8))
            .convert("RGB")
            .convert("LA" if mode == "LA" else mode)
        )
        name = {"CMYK": "a.jpg"}.get(mode, "a.png")
    image.save(tmp_path / name)
    found = open_image(tmp_path / name)
    assert found.mode == ("L" if grey else "RGB")
    array = np.asarray(found.convert("L")).astype(int)
    if mode != "1":
        # no clipping, no inversion
        assert np.abs(array - shade).mean() < (15 if mode == "P" else 6)
    assert array[:, 0].max() < 40 and array[:, -1].min() > 200


def test_transparency_is_white_and_exif_turns(tmp_path):
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:, 4:] = (10, 20, 30, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert np.asarray(open_image(tmp_path / "clear.png"))[0, [0, 7]].tolist() == [
        [255] * 3,
        [10, 20, 30],
    ]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(tmp_path / "turned.jpg").size == (10, 30)


def test_grey_folders_have_one_channel_and_mixed_ones_three(tmp_path):
    root = folder(tmp_path)
    for path in [*root.rglob("*.png"), *(tmp_path / "trusted").rglob("*.jpg")]:
        Image.open(path).convert("L").save(path)
    assert split_of(root).train.images.shape == (60, 1, 16, 16)
    image(root / "red" / "coloured.png", COLOURS["red"])
    assert split_of(root).train.images.shape == (61, 3, 16, 16)


def test_copies_of_trusted_and_test_images_are_not_trained_on(tmp_path):
    root = folder(tmp_path)
    shutil.copy(tmp_path / "trusted" / "red" / "0.jpg", root / "blue" / "another_name.jpg")
    for name in ("red", "blue"):
        (tmp_path / "test" / name).mkdir(parents=True)
        for path in sorted((root / name).glob("*.png"))[:5]:
            shutil.copy(path, tmp_path / "test" / name)
    split = split_of(root, test=str(tmp_path / "test"))
    assert (
        len(split.train.ids) == 50
        and len(split.test.ids) == 10
        and "blue/another_name.jpg" not in split.train.ids
    )
    assert "11 images are copies of trusted or test images: not trained on" in split.remarks


def test_trusted_and_test_inside_the_folder_are_set_apart(tmp_path):
    root = folder(tmp_path)
    shutil.move(tmp_path / "trusted", root / "checked")
    split = split_of(root, trusted=str(root / "checked"))
    assert (
        split.classes == ("blue", "green", "red")
        and len(split.train.ids) == 60
        and len(split.meta.ids) == 12
    )


def test_a_csv_file_of_labels(tmp_path):
    """Flat images; a semicolon, a byte-order mark, names without suffix, odd spellings."""
    root = folder(tmp_path)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in root.rglob("*.png"):
        shutil.copy(path, flat / path.name)
    lines = ["File Name;Label"]
    for path in sorted(flat.glob("*.png")):
        colour = path.name[:-6]
        lines.append(
            f"{path.stem if path.name > 'r' else path.name};"
            f"{colour.upper() if '07' in path.name else colour} "
        )
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    split = gdwlib.load_split(
        config_of(flat, labels=str(tmp_path / "labels.csv"), trusted=str(tmp_path / "trusted"))
    )
    assert split.classes == ("blue", "green", "red") and np.bincount(split.given).tolist() == [
        20,
        20,
        20,
    ]
    assert any("'RED', 'red' are taken for one class, 'red'" in remark for remark in split.remarks)
    with open(tmp_path / "labels.csv", "a") as file:
        file.write("\nnowhere.png;red\nblue00.png;red\nblue01.png;\n")
    with pytest.raises(DataError) as error:
        gdwlib.load_split(
            config_of(flat, labels=str(tmp_path / "labels.csv"), trusted=str(tmp_path / "trusted"))
        )
    for part in (
        "nowhere.png: no such file",
        "blue00.png: listed twice, as 'blue' and 'red'",
        "blue01.png: no label",
    ):
        assert part in str(error.value)


def test_a_csv_file_corrects_some_labels(tmp_path):
    root = folder(tmp_path)
    (tmp_path / "mended.csv").write_text(
        "id,label,proposed_label,score\ngreen/blue00.png,blue,red,0.9\n"
    )
    split = split_of(root, labels=str(tmp_path / "mended.csv"))
    given = dict(zip(split.train.ids, split.given, strict=True))
    assert given["green/blue00.png"] == 0 and given["green/blue01.png"] == 1 and len(given) == 60


def test_trusted_images_by_csv(tmp_path):
    root = folder(tmp_path)
    rows = [f"{name}/{name}{k:02d}.png,{name}" for name in COLOURS for k in (10, 11)] + [
        "green/blue02.png,blue"
    ]
    (tmp_path / "trusted.csv").write_text("\n".join(["path,class", *rows]))
    split = split_of(root, trusted=str(tmp_path / "trusted.csv"))
    assert (
        len(split.meta.ids) == 7
        and len(split.train.ids) == 53
        and not set(split.meta.ids) & set(split.train.ids)
    )
    assert dict(zip(split.meta.ids, split.meta.labels, strict=True))["green/blue02.png"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda root: shutil.move(root, root.parent / "all" / "train"),
            "give --data-folder .*all/train",
        ),
        (
            lambda root: shutil.move(root, root.parent / "all" / "animals"),
            "two are needed.*is it .*all/animals",
        ),
        (
            lambda root: [shutil.rmtree(root / name) for name in ("red", "green")],
            "images of 1 classes, two are needed",
        ),
        (
            lambda root: shutil.move(
                root.parent / "trusted" / "red", root.parent / "trusted" / "rot"
            ),
            "no class 'rot'",
        ),
        (lambda root: shutil.rmtree(root.parent / "trusted" / "red"), None),
    ],
)
def test_wrong_layouts_are_told_apart(tmp_path, change, message):
    root = folder(tmp_path)
    (tmp_path / "all").mkdir()
    change(root)
    root = root if root.is_dir() else tmp_path / "all"
    if message is None:
        assert any("no trusted examples of red" in remark for remark in split_of(root).remarks)
        return
    with pytest.raises(DataError, match=message):
        split_of(root)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "data_folder: must name what to train on"),
        (
            {"data_folder": "here"},
            "trusted: must name a folder or CSV file of examples with right labels",
        ),
        (
            {"data_folder": "/nowhere/at/all", "trusted": "3"},
            "data_folder: /nowhere/at/all is no folder",
        ),
        (
            {"data_folder": ".", "trusted": "/nowhere.csv"},
            "trusted: /nowhere.csv is neither a folder nor a file nor",
        ),
        ({"data_folder": ".", "trusted": "3", "data_file": "x"}, "data_file: is for dataset table"),
        (
            {"data_folder": ".", "trusted": "3", "model": "mlp"},
            "model: must be linear or mlp for a table",
        ),
    ],
)
def test_fields_that_do_not_fit_are_refused_by_name(fields, message):
    with pytest.raises((ValueError, DataError), match=message):
        gdwlib.RunConfig(dataset="folder", **fields)
    with pytest.raises(
        ValueError, match="trusted: is for dataset folder and table; leave it out with cifar10"
    ):
        gdwlib.RunConfig(dataset="cifar10", trusted="5")


def test_the_run_id_follows_contents_not_places(tmp_path):
    root = folder(tmp_path)
    before = config_of(root)
    moved = shutil.copytree(
        tmp_path, tmp_path.parent / f"{tmp_path.name} moved", dirs_exist_ok=True
    )
    assert (
        gdwlib.RunConfig(**vars(before)) == before
        and config_of(moved / "images").run_id == before.run_id
    )
    shutil.move(root / "red" / "red10.png", root / "blue" / "red10.png")
    after = config_of(root)
    assert after.run_id != before.run_id
    with pytest.raises(DataError, match="has changed since this run was begun; train again"):
        gdwlib.load_split(before)
    pixels = (root / "red" / "red11.png").read_bytes()
    # as long as before
    (root / "red" / "red11.png").write_bytes(pixels[:-1] + bytes([pixels[-1] ^ 1]))
    assert config_of(root).run_id != after.run_id


def test_from_a_folder_to_suspects_and_predictions(tmp_path, capsys):
    """The command line, as the README has it: the colours are learned, and the wrong folders
    found."""
    root, outputs = folder(tmp_path, per_class=30, wrong=6), tmp_path / "outputs"
    flags = [
        "--dataset",
        "folder",
        "--data-folder",
        str(root),
        "--trusted",
        str(tmp_path / "trusted"),
    ]
    flags += [
        "--test",
        str(tmp_path / "trusted"),
        "--preset",
        "smoke",
        "--epochs",
        "12",
        "--outputs",
        str(outputs),
    ]
    assert main(["run", *flags]) == 0
    (run,) = (outputs / "runs").iterdir()
    said = capsys.readouterr().out
    assert f"python -m gdwlib suspects {run}" in said and "test accuracy" in said
    assert "accuracy by class after the last epoch: " in said and f"{run}/confusion.png" in said
    classes, counts = gdwlib.open_record(run).confusion
    last = gdwlib.open_record(run).result["last_accuracy"]
    assert 100 * counts.trace() / counts.sum() == pytest.approx(last)
    with Image.open(run / "confusion.png") as picture:
        assert min(picture.size) > 200

    assert main(["suspects", str(run)]) == 0
    assert "of 90 labels are more probably wrong" in capsys.readouterr().out
    rows = list(csv.DictReader((run / "suspects.csv").read_text().splitlines()))
    assert list(rows[0]) == ["id", "label", "proposed_label", "score"] and len(rows) == 90
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and 0 <= min(scores) and max(scores) <= 1
    truth = [row["id"].split("/")[1][:-6] for row in rows]
    wrong = [true != row["label"] for true, row in zip(truth, rows, strict=True)]
    assert np.mean(wrong[:18]) > 0.8 and sum(wrong) == 18
    assert (
        np.mean([true == row["proposed_label"] for true, row in zip(truth, rows, strict=True)])
        > 0.9
    )
    with Image.open(run / "suspects.png") as sheet:
        assert min(sheet.size) > 200
    record = gdwlib.open_record(run)
    assert gdwlib.suspects(record)[0].id == rows[0]["id"]
    assert re.fullmatch(r"RunRecord\(folder-gdw-.*: \d+ epochs, \d+\.\d\d%\)", repr(record))
    assert main(["suspects", str(run), "--to", str(tmp_path / "few.csv"), "--sheet", "8"]) == 0
    with Image.open(tmp_path / "few.png") as sheet:
        assert sheet.height < 400  # one row of eight
    assert main(["suspects", str(run), "--to", str(tmp_path / "none.csv"), "--sheet", "0"]) == 0
    assert (tmp_path / "none.csv").is_file() and not (tmp_path / "none.png").exists()
    assert main(["suspects", str(run)]) == 0  # the same again
    corrected = (run / "suspects.csv").read_text().replace(rows[0]["label"], "mended", 1)
    (run / "suspects.csv").write_text(corrected)
    capsys.readouterr()
    assert main(["suspects", str(run)]) == 1  # does not undo the work of a hand
    assert "suspects.csv: is there and says something else" in capsys.readouterr().err
    assert (run / "suspects.csv").read_text() == corrected

    new = tmp_path / "new"
    for name, colour in COLOURS.items():
        image(new / f"{name}.jpeg", colour, seed=7, size=(70, 30))
    (new / "bad.png").write_bytes(b"no")
    assert main(["predict", str(run), str(new)]) == 1
    assert "1 of 4 images cannot be used: bad.png" in capsys.readouterr().err
    assert main(["predict", run.name, str(new), "--skip-bad", "--outputs", str(outputs)]) == 0
    found = {
        row["id"]: row["label"]
        for row in csv.DictReader((run / "predictions-new.csv").read_text().splitlines())
    }
    assert found == {f"{name}.jpeg": name for name in COLOURS}

    bare = tmp_path / "elsewhere"  # two files are enough
    bare.mkdir()
    for name in ("model.pt", "model.json"):
        shutil.copy(run / name, bare)
    assert [row.label for row in gdwlib.predict(bare, new / "red.jpeg")[0]] == ["red"]


def test_without_test_images_there_is_no_accuracy(tmp_path, capsys):
    root = folder(tmp_path)
    flags = [
        "--dataset",
        "folder",
        "--data-folder",
        str(root),
        "--trusted",
        "3",
        "--preset",
        "smoke",
    ]
    assert main(["run", *flags, "--method", "base", "--outputs", str(tmp_path / "outputs")]) == 0
    assert "no accuracy: name test examples with --test" in capsys.readouterr().out
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    result = json.loads((run / "result.json").read_text())
    assert result["final_accuracy"] is result["best_accuracy"] is result["last_accuracy"] is None
    assert [
        row["id"].split("/")[0]
        for row in csv.DictReader((run / "trusted.csv").read_text().splitlines())
    ] == [name for name in COLOURS for _ in range(3)]
    assert main(["run", *flags, "--method", "base", "--outputs", str(tmp_path / "outputs")]) == 0
    assert "a finished record" in capsys.readouterr().err


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_networks_are_refused_without_being_executed(tmp_path, zipped, capsys):
    root, marker, outputs = folder(tmp_path), tmp_path / "executed", tmp_path / "outputs"
    record = gdwlib.run(config_of(root, method="mwnet"), outputs=outputs, progress=False)

    def tamper(path):
        if zipped:
            torch.save({"fc.weight": Hostile(marker)}, path)
        else:
            path.write_bytes(pickle.dumps({"fc.weight": Hostile(marker)}, protocol=2))

    bare = tmp_path / "bare"
    shutil.copytree(record.path, bare)
    tamper(bare / "model.pt")
    assert main(["predict", str(bare), str(root)]) == 1
    assert "model.pt: altered or half-written" in capsys.readouterr().err
    (bare / "result.json").unlink()  # as of a network that came without its record
    assert main(["predict", str(bare), str(root)]) == 1
    assert "refused without being executed" in capsys.readouterr().err
    tamper(record.path / "model.pt")
    tamper(record.path / "weight_net.pt")
    for read in (lambda: record.model(3, 3), record.weight_net):
        with pytest.raises(RecordError, match="refused without being executed"):
            read()
    assert main(["suspects", str(record.path)]) == 1
    assert "altered or half-written" in capsys.readouterr().err
    again = tmp_path / "again"
    checkpoint = again / "runs" / record.path.name / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    tamper(checkpoint)
    gdwlib.run(config_of(root, method="mwnet"), outputs=again, progress=False)
    assert not marker.exists()
    for text in (
        "{}",
        "[]",
        "no json",
        '{"network": {"model": "os", "num_classes": 2}, "classes": [1, 2]}',
    ):
        (bare / "model.json").write_text(text)
        with pytest.raises(RecordError, match="does not describe a network"):
            gdwlib.predict(bare, root)


def test_a_label_cannot_command_the_terminal():
    assert normalised_label("cat\x1b[2J\x07 \x9b31mdog") == "cat[2J 31mdog"


def test_spellings():
    assert [
        normalised_label(x) for x in (" a  b ", "3.0", 3.0, "", "NaN", None, float("nan"), "none")
    ] == [
        "a b",
        "3",
        "3",
        None,
        None,
        None,
        None,
        "none",
    ]
    classes = Classes(["Tabby cat", "tabby_cat", "tabby cat", "tabby cat", "A", "a", "A-", "dog"])
    assert classes.names == ("A", "a", "A-", "dog", "tabby cat") and classes.index("TABBY-CAT") == 4
    assert Classes(["10", "9", "-1"]).names == ("-1", "9", "10") and classes.index("bird") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_files_of_every_kind(tmp_path, encoding, separator):
    rows = [
        ["id", "größe", "label"],
        ["a", "1,5" if separator != "," else "1.5", "x y"],
        ["b", "", "é"],
    ]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n\r\n"
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_csv(tmp_path / "a.csv") == rows
    for content, message in ((b"", "empty"), (b"PK\x03\x04\x00\x00", "not a text file")):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_csv(tmp_path / "a.csv")


def test_a_correction_to_a_class_that_is_none_stops(tmp_path):
    """Not a reason to leave out all that the file does not list."""
    root = folder(tmp_path)
    rows = [f"red/red{k:02d}.png,{'rde' if k < 3 else 'red'}" for k in range(12)]
    mended = tmp_path / "mended.csv"
    mended.write_text("\n".join(["id,label", *rows]))
    for skip_bad in (False, True):
        with pytest.raises(DataError) as error:
            split_of(root, labels=str(mended), skip_bad=skip_bad)
        assert (
            "3 of 12 labels are no class of the folders: 'rde' in 3 rows; did you mean 'red'?"
            in str(error.value)
        )
    mended.write_text("id,label\n" + "\n".join(f"red/red{k:02d}.png,{k % 2}" for k in range(12)))
    split = split_of(root, labels=str(mended), trusted="2")
    assert split.classes == ("0", "1")
    assert any("images are not listed in" in r and "mended.csv" in r for r in split.remarks)


def test_skip_bad_is_for_files_that_cannot_be_read(tmp_path):
    root = folder(tmp_path)
    listed = tmp_path / "labels.csv"
    listed.write_text("score,label\n0.9,red\n0.8,blue\n")  # no column of file names
    with pytest.raises(DataError, match="none of its 2 rows names an image below .*'score'"):
        split_of(root, labels=str(listed), skip_bad=True)
    listed.write_text("id,label\nred/red00.png,red\nred/red01.png,\ngone.png,red\n")
    with pytest.raises(DataError, match="red01.png: no label.*--skip-bad is for files"):
        split_of(root, labels=str(listed), skip_bad=True)
    listed.write_text("id,label\nred/red00.png,red\ngone.png,red\n")
    split = split_of(root, labels=str(listed), skip_bad=True)
    assert any("gone.png: no such file; left out" in remark for remark in split.remarks)


def test_copies_are_named_and_contradicting_ones_come_first(tmp_path):
    root = folder(tmp_path)
    shutil.copy(root / "red" / "red10.png", root / "red" / "again.png")
    shutil.copy(root / "red" / "red11.png", root / "blue" / "twin.png")
    split = split_of(root)
    told = " | ".join(split.remarks)
    assert "4 images are there more than once" in told and "red/again.png = red/red10.png" in told
    assert "2 of them have labels that contradict each other, and come first" in told
    assert "blue/twin.png (blue) = red/red11.png (red)" in told
    config = config_of(root, trusted=str(tmp_path / "trusted"), method="base", epochs=2)
    record = gdwlib.run(config, outputs=tmp_path / "outputs", progress=False)
    first = gdwlib.suspects(record)[:3]
    assert {row.id for row in first[:2]} == {"blue/twin.png", "red/red11.png"}
    assert first[0].score >= first[1].score  # among themselves by the score


def test_rare_classes_are_told(tmp_path):
    root = folder(tmp_path)
    (root / "hat").mkdir()
    for k in range(3):
        image(root / "hat" / f"{k}.png", (1, 2, 3), seed=k)
    with pytest.raises(DataError) as error:
        gdwlib.load_split(config_of(root, trusted="10"))
    assert (
        "'hat', has 3 images, 10 are asked for; ask for at most 2 of each class, or give this "
        "class more images" in str(error.value)
    )
    split = gdwlib.load_split(config_of(root, trusted="2"))
    assert "a single training example is left of 'hat'" in split.remarks
