"""Tables, lists of runs, command lines and published files that were tampered with."""

import csv
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gdwlib
from gdwlib.cli.main import main
from gdwlib.companion.notebook import check_parameters
from gdwlib.data import DataError, datasets, human
from gdwlib.data.own.columns import Scaling
from gdwlib.data.own.rows import rows_of_csv
from gdwlib.data.own.spelling import as_csv, normalised_label, plain, read_csv
from gdwlib.runs.files import RecordError, write_file
from gdwlib.sweeps.run_lists import to_line

ROOT = Path(__file__).parents[2]
FORMULAS = ("=HYPERLINK(1)", "@SUM(A1)", "+1+cmd", "-2+3", "\tx", "=1")


def gdwlib_command(*arguments, **how):
    """As a person would start it."""
    command = [sys.executable, "-W", "ignore", "-m", "gdwlib", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **how)


def table(path, labels=("cat", "dog"), rows=40, cells=None):
    draw = np.random.default_rng(0)
    lines = ["a,b,label"]
    for k in range(rows):
        c = k % 2
        a = cells[k % len(cells)] if cells else f"{draw.normal(3.0 * c):.3f}"
        lines.append(f'"{a}",{draw.normal(c):.3f},"{labels[c]}"')
    path.write_text("\n".join(lines) + "\n")
    return path


def test_formulas_are_written_as_text_and_read_as_they_were(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(
        as_csv(("id", *FORMULAS), [(f, "-3", -0.5, "plain", "'quoted") for f in FORMULAS])
    )
    for row in csv.reader(io.StringIO(path.read_text(), newline="")):
        assert not any(cell.startswith(("=", "@", "+", "\t")) for cell in row)
    rows = [[plain(cell) for cell in row] for row in read_csv(path)]
    assert [row[0] for row in rows[1:]] == list(FORMULAS)
    assert rows[1][1:] == ["-3", "-0.500000", "plain", "'quoted"]


@pytest.mark.parametrize(
    "text",
    ["'=a", "''=a", "'-x", "'", "''", "-", "+", "-5.5", "+49", "1", "a'=b", "'a", "=", "é=1"],
)
def test_what_is_written_is_read_again(text, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(as_csv(("id", "label"), [(text, "b")]))
    assert plain(read_csv(path)[1][0]) == text
    number = text.lstrip("+-").replace(".", "").isdigit()
    assert not (number and "'" in path.read_text())


def test_names_with_an_apostrophe_before_a_formula_are_the_users_own(tmp_path):
    path = tmp_path / "train.csv"
    lines = [f"{name}{k},{k},cat\n{name}{k}.,{-k},dog" for k in range(20) for name in ("'=", "=")]
    path.write_text("id,a,label\n" + "\n".join(lines) + "\n")
    rows = rows_of_csv(path, None)
    assert len(set(rows.ids)) == 80 and rows.remark is None


def test_formulas_as_classes_and_ids_go_round(tmp_path):
    path = table(tmp_path / "train.csv", labels=("=1+1", "@SUM"))
    config = gdwlib.RunConfig(
        dataset="table", data_file=str(path), trusted="4", preset="smoke", epochs=1
    )
    record = gdwlib.run(config, outputs=tmp_path / "outputs", progress=False)
    assert main(["suspects", str(record.path), "--outputs", str(tmp_path / "outputs")]) == 0
    suspects = record.path / "suspects.csv"
    lines = suspects.read_text().splitlines()
    assert {row[1] for row in csv.reader(lines)} == {"label", "'=1+1", "'@SUM"}
    again = gdwlib.RunConfig(
        dataset="table", data_file=str(path), labels=str(suspects), trusted="4", preset="smoke"
    )
    split = gdwlib.load_split(again)
    assert split.classes == ("=1+1", "@SUM") and len(split.given) == 32
    assert main(["predict", str(record.path), str(path), "--to", str(tmp_path / "to.csv")]) == 0
    assert "\n=" not in (tmp_path / "to.csv").read_text()


@pytest.mark.parametrize("labels", [("²", "³"), ("--1", "-1"), ("9" * 5000, "1"), ("1" * 20, "2")])
def test_labels_that_look_like_numbers(labels, tmp_path):
    path = table(tmp_path / "train.csv", labels=labels)
    config = gdwlib.RunConfig(dataset="table", data_file=str(path), trusted="4", preset="smoke")
    assert set(gdwlib.load_split(config).classes) == {normalised_label(name) for name in labels}


@pytest.mark.parametrize("trusted", ["²", "--1", "9" * 5000, "-1", "0", ""])
def test_a_number_of_trusted_examples_that_is_none(trusted, tmp_path):
    path = table(tmp_path / "train.csv")
    with pytest.raises((ValueError, DataError)) as told:
        gdwlib.load_split(
            gdwlib.RunConfig(dataset="table", data_file=str(path), trusted=trusted, preset="smoke")
        )
    assert len(str(told.value)) < 400


@pytest.mark.parametrize(
    "cells", [("1e308", "-1e308"), ("1e308", "3"), ("-1.7e308", "1.7e308", "0")]
)
def test_numbers_at_the_end_of_what_there_is(cells, tmp_path):
    rows = rows_of_csv(table(tmp_path / "train.csv", cells=cells), None)
    scaling, _ = Scaling.learn(rows)
    features, _ = scaling.features(rows)
    assert np.isfinite(features).all() and np.ptp(features[:, 0]) > 0
    assert np.isfinite([column["scale"] for column in scaling.plan]).all()


def test_a_list_of_runs_executes_nothing(tmp_path):
    pytest.importorskip("snakemake")
    folder = tmp_path / "my folder; touch it"
    folder.mkdir()
    data = table(folder / "the table.csv")
    data.write_text(data.read_text().replace("label", "label; touch X; #", 1))
    fields = {"dataset": "table", "data_file": str(data), "trusted": "4", "preset": "smoke"}
    runs = [
        gdwlib.RunConfig(**fields, label_column=column, epochs=1)
        for column in ("label; touch X; #", "$(touch X)", "`touch X`")
    ]
    listed = tmp_path / "mine.jsonl"
    listed.write_text("".join(to_line(config) + "\n" for config in runs))
    outputs = tmp_path / "out $(touch X) puts"
    done = gdwlib_command("sweep", listed, "--cores", 2, "--outputs", outputs, cwd=tmp_path)
    assert not list(tmp_path.rglob("X"))
    assert (outputs / "runs" / runs[0].run_id / "result.json").is_file(), done.stderr
    assert "2 failed" in done.stderr and "label column" not in done.stdout


def test_who_reads_only_the_first_line_is_no_error(tmp_path):
    command = f"{sys.executable} -W ignore -m gdwlib sweep paper --preset paper --list"
    command += f" --outputs {tmp_path}"
    for reader in ("head -1", "true"):
        done = subprocess.run(
            ["bash", "-c", f"{command} | {reader}"], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0
        assert "Error" not in done.stderr and "Traceback" not in done.stderr


def test_a_full_standard_output_is_one_line():
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "gdwlib", "sweep", "half", "--list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "what is printed could not be written (No space left on device)" in done.stderr


def test_a_locale_of_ascii_alone():
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = gdwlib_command(
        "table", "4", "--dataset", "fashion", "--preset", "small", env=environment
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["bench", "--threads", "100000000"],
        ["run", "--clip", "1e308", "--method", "gdw"],
        ["run", "--weight-decay", "1e300"],
        ["run", "--lr", "1e308"],
        ["run", "--class-lr", "1e308", "--method", "gdw"],
        ["run", "--weight-lr", "1e300", "--method", "mwnet"],
    ],
)
def test_numbers_out_of_all_bounds_are_one_line(arguments, tmp_path, capsys):
    flags = ["--preset", "smoke", "--outputs", str(tmp_path)]
    status = main([*arguments, *flags])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gdwlib ")]
    assert (status == 1 and len(said) == 1) or (status == 0 and not said)
    if status == 0:  # then it has trained
        record = gdwlib.open_record(next((tmp_path / "runs").iterdir()))
        assert all(np.isfinite(line["train_loss"]) for line in record.metrics)


def test_suspects_into_a_folder_is_one_line(tmp_path, capsys):
    config = gdwlib.RunConfig(preset="smoke", epochs=1)
    record = gdwlib.run(config, outputs=tmp_path / "outputs", progress=False)
    assert main(["suspects", str(record.path), "--to", str(tmp_path)]) == 1
    assert f"--to: {tmp_path} is a folder; name a file in it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("seeds", [0, 0], "seeds: has 0 twice"),
        ("seeds", [], "seeds: must name one at least"),
        ("methods", [], "methods: must name one at least"),
        ("methods", ["gdw", "gdw"], "methods: has 'gdw' twice"),
    ],
)
def test_a_notebooks_lists(name, value, message):
    with pytest.raises(ValueError, match=message):
        check_parameters({name: value}, name)


# ---- published files


def idx(array, magic):
    head = magic.to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return head + array.tobytes()


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """A small Fashion-MNIST whose archives are taken for the published ones."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    draw, resources = np.random.default_rng(0), []
    for split, count in (("train", 60), ("t10k", 10)):
        for kind, array, magic in (
            ("images-idx3", draw.integers(0, 256, (count, 28, 28)).astype(np.uint8), 2051),
            ("labels-idx1", np.arange(count, dtype=np.uint8) % 10, 2049),
        ):
            name, content = f"{split}-{kind}-ubyte", idx(array, magic)
            packed = gzip.compress(content)
            (raw / name).write_bytes(content)
            (raw / f"{name}.gz").write_bytes(packed)
            resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))

    class Published:
        pass

    Published.resources = resources
    monkeypatch.setattr(datasets, "_published", lambda name: Published)
    monkeypatch.setattr(datasets, "_fetched", lambda *_: pytest.fail("downloads"))
    return raw


def test_fashion_full_is_what_its_archives_hold(fashion):
    loaded = datasets.fashion_full(fashion.parents[1], True)
    assert loaded.images.shape == (60, 1, 28, 28) and loaded.labels[13] == 3
    (fashion / "train-images-idx3-ubyte").unlink()  # unpacked again
    again = datasets.fashion_full(fashion.parents[1], True)
    assert np.array_equal(again.images, loaded.images)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_fashion_full_that_was_tampered_with(fashion, name):
    whole = (fashion / name).read_bytes()
    flipped = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    (fashion / name).write_bytes(flipped)  # of the right size
    with pytest.raises(DataError, match=rf"{name}: altered or truncated"):
        datasets.fashion_full(fashion.parents[1], True)
    (fashion / f"{name}.gz").write_bytes(gzip.compress(flipped))  # and an archive to match
    with pytest.raises(DataError, match=rf"{name}.gz: altered or truncated"):
        datasets.fashion_full(fashion.parents[1], True)
    (fashion / f"{name}.gz").unlink()
    with pytest.raises(DataError, match=rf"{name}: cannot be checked without {name}.gz"):
        datasets.fashion_full(fashion.parents[1], True)


def test_torchvisions_older_files_are_not_taken(fashion):
    processed = fashion.parent / "processed"
    processed.mkdir()
    (processed / "training.pt").write_bytes(b"whatever this would do")
    assert datasets.fashion_full(fashion.parents[1], True).labels[13] == 3


def test_human_labels_are_held_to_the_published_sum(tmp_path):
    path = tmp_path / "CIFAR-10_human.pt"
    path.write_bytes(b"others")
    with pytest.raises(DataError, match=r"CIFAR-10_human.pt: altered or truncated \(MD5"):
        human.human_labels(path, "worse_label", np.zeros(3, int), 10)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="CIFAR-10_human.pt: altered"):
        human.human_labels(path, "worse_label", np.zeros(3, int), 10)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "fashion;touch X;"},
        {"preset": "$(touch X)"},
        {"run_id": "../../escaped"},
        {"run_id": "a b; touch X"},
        {"dataset": None},
    ],
)
def test_a_list_for_snakemake_by_hand_executes_nothing(change, tmp_path):
    pytest.importorskip("snakemake")
    run = {"dataset": "fashion", "method": "base", "preset": "smoke", "noise": "uniform"}
    run = {"run_id": "a"} | run | change
    listed = tmp_path / "list.jsonl"
    listed.write_text(json.dumps(run) + "\n")
    result = tmp_path / "runs" / "a" / "result.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--cores", "1", "--directory", str(tmp_path)]
    command += ["--config", f"runs={listed}", f"outputs={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode and not list(tmp_path.rglob("X"))
    assert "is no run id, data set or preset" in done.stdout + done.stderr


def test_what_is_no_file_is_not_written_over(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RecordError, match="pipe: is no regular file"):
        write_file(pipe, b"x")
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    with pytest.raises(RecordError, match="is no regular file"):
        write_file(link, b"x")
    assert pipe.is_fifo() and link.is_symlink()
