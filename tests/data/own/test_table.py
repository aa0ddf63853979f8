"""Your own tables: CSV files as people leave them, and arrays."""

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import gdwlib
from gdwlib.cli.main import main
from gdwlib.data import DATASETS, DataError
from gdwlib.data.own.columns import CUT, Scaling, decimal_comma, number
from gdwlib.data.own.rows import Rows, rows_of_arrays, rows_of_csv
from gdwlib.runs.folds import out_of_fold
from gdwlib.runs.label_errors import rank_label_errors

CLASSES = ("high", "low", "mid")


def numbers(count, seed=0):
    """Two informative columns, one of noise; the class is told by the first two."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 3, count)
    x = draw.normal(size=(count, 3))
    x[:, 0] += 3 * y
    x[:, 1] -= 2 * (y == 1)
    return x, y


def write(path, header, rows, separator=","):
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows])
    return str(path)


def files(tmp_path, count=300, wrong=0.3):
    """A training, a trusted and a test file; → their paths, the true classes, and which labels are
    wrong."""
    draw = np.random.default_rng(5)
    paths = {}
    for name, size, seed in (("train", count, 0), ("trusted", 30, 1), ("test", 90, 2)):
        x, y = numbers(size, seed)
        given = (
            np.where(draw.random(size) < wrong, draw.integers(0, 3, size), y)
            if name == "train"
            else y
        )
        rows = [
            [f"{name}{k}", *map(repr, map(float, x[k])), CLASSES[given[k]]] for k in range(size)
        ]
        paths[name] = write(tmp_path / f"{name}.csv", ["id", "a", "b", "c", "label"], rows)
        if name == "train":
            true, is_wrong = y, given != y
    return paths, true, is_wrong


def config_of(paths, **fields):
    fields = {"preset": "smoke", "trusted": paths["trusted"], "test": paths.get("test")} | fields
    return gdwlib.RunConfig(dataset="table", data_file=paths["train"], **fields)


def test_from_a_csv_file_to_suspects_and_predictions(tmp_path, capsys):
    paths, _, wrong = files(tmp_path)
    flags = [
        "--dataset",
        "table",
        "--data-file",
        paths["train"],
        "--trusted",
        paths["trusted"],
        "--test",
        paths["test"],
    ]
    flags += ["--preset", "small", "--epochs", "10", "--outputs", str(tmp_path / "outputs")]
    assert main(["run", *flags]) == 0
    (run,) = (tmp_path / "outputs" / "runs").iterdir()
    assert gdwlib.open_record(run).final_accuracy > 80
    assert main(["suspects", str(run)]) == 0
    rows = list(csv.DictReader((run / "suspects.csv").read_text().splitlines()))
    found = np.array([wrong[int(row["id"].removeprefix("train"))] for row in rows])
    assert (
        len(rows) == 300
        and found[: wrong.sum()].mean() > 0.75
        and not (run / "suspects.png").exists()
    )
    assert main(["predict", str(run), paths["test"]]) == 0
    labelled = list(csv.DictReader((run / "predictions-test.csv").read_text().splitlines()))
    assert (
        np.mean(
            [CLASSES[y] == row["label"] for y, row in zip(numbers(90, 2)[1], labelled, strict=True)]
        )
        > 0.8
    )
    assert labelled[0]["id"] == "test0"
    rows = [["x", 1, 2]]
    assert main(["predict", str(run), write(tmp_path / "narrow.csv", ["id", "a", "b"], rows)]) == 1
    assert "columns are missing that the training table has: c" in capsys.readouterr().err


def test_corrected_labels_count_before_the_tables_own(tmp_path, capsys):
    paths, true, wrong = files(tmp_path, count=60)
    before = config_of(paths)
    at = np.flatnonzero(wrong)[:5]
    rows = [(f"train{k}", CLASSES[true[k]].upper(), "low", "0.9") for k in at]
    path = write(tmp_path / "corrected.csv", ["id", "label", "proposed_label", "score"], rows)
    after = config_of(paths, labels=path)
    assert after.run_id != before.run_id
    own, new = (gdwlib.load_split(config) for config in (before, after))
    changed = np.flatnonzero(own.given != new.given)
    assert set(new.train.ids[changed]) == {f"train{k}" for k in at}
    assert all(new.given[changed] == true[[int(i[5:]) for i in new.train.ids[changed]]])

    rows = [("train3", "hihg"), ("train99", "low"), ("train4", ""), ("", "low")]
    rows += [("train5", "low"), ("train5", "high")]
    path = write(tmp_path / "odd.csv", ["id", "label"], rows)
    with pytest.raises(DataError) as caught:
        gdwlib.load_split(config_of(paths, labels=path, skip_bad=True))
    for text in (
        "5 of 6 corrections cannot be used",
        "train3: no class 'hihg' in the table; did you mean 'high'?",
        "train99: no row of the table",
    ):
        assert text in str(caught.value), str(caught.value)
    path = write(tmp_path / "none.csv", ["name", "what"], [("train3", "low")])
    with pytest.raises(DataError, match="needs a column of ids and one of labels, has name, what"):
        gdwlib.load_split(config_of(paths, labels=path))


def test_a_linear_network_and_rows_judged_by_networks_that_have_not_seen_them(tmp_path):
    paths, true, wrong = files(tmp_path)
    config = config_of(paths, model="linear", epochs=10)
    record = gdwlib.run(config, outputs=tmp_path)
    assert record.final_accuracy > 80
    assert sum(p.numel() for p in record.model(3, 3).parameters()) == 3 * 3 + 3
    split = gdwlib.load_split(config)
    probs = out_of_fold(config, split)
    assert probs.shape == (len(split.given), 3) and np.allclose(probs.sum(1), 1)
    assert np.array_equal(probs, out_of_fold(config, split))
    here = wrong[[int(id_.removeprefix("train")) for id_ in split.train.ids]]
    first = rank_label_errors(probs, split.given)[0][: here.sum()]
    assert here[first].mean() > 0.75
    before = torch.random.get_rng_state()
    found = gdwlib.suspects(record, by_folds=True)
    assert torch.equal(torch.random.get_rng_state(), before)
    order = rank_label_errors(probs, split.given)[0]
    assert [row.id for row in found] == [str(split.train.ids[k]) for k in order]
    assert found != gdwlib.suspects(record)
    with pytest.raises(ValueError, match="model: must be linear or mlp for a table"):
        config_of(paths, model="resnet8")


def test_labels_that_were_learned_by_heart_are_doubted_by_folds(tmp_path, capsys):
    paths, *_ = files(tmp_path, count=60)
    config = config_of(paths, method="base", model="mlp", epochs=100, batch_size=20)
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    assert main(["suspects", str(record.path)]) == 0
    assert "--by-folds asks networks that have not seen the label" in capsys.readouterr().err
    to = tmp_path / "by_folds.csv"
    assert main(["suspects", str(record.path), "--to", str(to), "--by-folds"]) == 0
    assert not capsys.readouterr().err
    rows = list(csv.DictReader(to.read_text().splitlines()))
    assert sum(float(row["score"]) > 0.5 for row in rows) > 5


def test_spellings_are_folded_where_trusted_rows_are_drawn():
    x, y = numbers(60)
    labels = [CLASSES[c].upper() if k % 2 else CLASSES[c] for k, c in enumerate(y)]
    gdwlib.add_table("spelled", x, labels, trusted=4)
    split = gdwlib.load_split(gdwlib.RunConfig(dataset="spelled", preset="smoke"))
    del DATASETS["spelled"]
    assert len(split.classes) == 3 and np.bincount(split.meta.labels).tolist() == [4, 4, 4]


def test_a_list_that_doubts_nothing_says_so(tmp_path, capsys):
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 120)
    rows = [[repr(float(draw.normal())), repr(float(5 * c)), "no" if c else "yes"] for c in y]
    train = write(tmp_path / "train.csv", ["noise", "tells", "label"], rows)
    flags = ["--dataset", "table", "--data-file", train, "--trusted", "10", "--epochs", "20"]
    assert main(["run", *flags, "--outputs", str(tmp_path)]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert main(["suspects", str(run)]) == 0
    said = capsys.readouterr()
    assert "0 of 100 labels" in said.out and "hardly any label is doubted" in said.err


def test_n_a_class_are_taken_out(tmp_path):
    paths, *_ = files(tmp_path)
    split = gdwlib.load_split(config_of(paths, trusted="10"))
    assert np.bincount(split.meta.labels).tolist() == [10] * 3 and len(split.train.ids) == 270
    assert not set(split.meta.ids) & set(split.train.ids)


def test_a_dirty_file(tmp_path):
    """Semicolons, decimal commas, gaps of many kinds, words among numbers, categories, constants,
    ids, ragged lines."""
    draw = np.random.default_rng(0)
    rows = []
    for k in range(60):
        label = ["Yes", "no "][k % 2]
        cells = [
            f"{draw.normal():.3f}".replace(".", ","),
            "3,5" if k % 2 else "1.204,5",
            ["Wien", "wien ", "Graz"][k % 3],
        ]
        rows.append(
            [
                f"row {k}",
                *cells,
                "text of its own " + str(k),
                "7",
                ["", "NA", "5", "?"][k % 4],
                label,
            ]
        )
    rows[3][1], rows[4][1], rows[5][1] = "broken", "inf", ""
    rows[6][-1] = "YES"
    path = write(
        tmp_path / "t.csv", ["ID", "x", "y", "city", "note", "same", "gaps", "Class"], rows, ";"
    )
    with open(path, "a") as file:
        file.write("row 61;1\n\nrow 62;1;2;Wien;t;7;5;\n")
    table = {"dataset": "table", "data_file": path, "trusted": "5", "preset": "smoke"}
    with pytest.raises(DataError) as error:
        gdwlib.load_split(gdwlib.RunConfig(**table))
    assert (
        "2 of 62 rows cannot be used: line 62: 2 cells, the header has 8; row 62: no label"
        in str(error.value)
    )
    split = gdwlib.load_split(gdwlib.RunConfig(**table, skip_bad=True))
    told = " | ".join(split.remarks)
    assert split.classes == ("no", "Yes") and "'YES', 'Yes' are taken for one class" in told
    assert "column 'x': 2 cells are no numbers, as 'broken'" in told
    assert "(another text in most rows): note" in told and "(constant): same" in told
    # x and its gaps, y, two cities, gaps and where they are
    assert split.train.images.shape == (50, 7) and np.isfinite(split.train.images).all()
    plan = {column["name"]: column for column in split.columns}
    assert (
        plan["city"]["levels"] == ["graz", "wien"]
        and plan["y"]["comma"]
        and plan["y"]["middle"] == 3.5
    )


def test_numbers_are_read_as_people_write_them():
    written = [
        "$1,234.5",
        "12 %",
        "−3",
        "1e3",
        "True",
        "1_000",
        "inf",
        "abc",
        " 4 ",
        5,
        np.float32(2.5),
        True,
    ]
    read = [number(cell) for cell in written]
    assert (
        read[:4] == [1234.5, 12, -3, 1000]
        and read[8:] == [4, 5, 2.5, 1]
        and np.isnan(read[4:8]).all()
    )
    assert [number(cell) for cell in ("-$12", "$-12", "− € 12", "12 €", "+3%")] == [
        -12,
        -12,
        -12,
        12,
        3,
    ]
    prices = ["€1.234,50", "€999,00", "− 12.000,00 €", "€80,10"]
    assert decimal_comma("price", prices) and [number(cell, True) for cell in prices] == [
        1234.5,
        999,
        -12000,
        80.1,
    ]
    assert number("1.234,5", comma=True) == 1234.5 and number("0,25", comma=True) == 0.25
    assert (
        decimal_comma("x", ["1,5", "2"])
        and decimal_comma("x", ["0,123"])
        and decimal_comma("x", ["1234,567"])
        and decimal_comma("x", ["1,234", "12,345", "7"]) is None
        and decimal_comma("x", ["1,234.5", "7"]) is False
    )


def test_features_equal_a_loop_over_cells():
    cells = ["1", "", "3", "100000", "4", "2", "x"]
    rows = Rows({"n": cells * 2, "k": ["a", "b", "", "A", "c", "b", "a"] * 2}, None, None)
    scaling, _ = Scaling.learn(rows)
    features, remarks = scaling.features(rows)
    assert remarks == [
        "column 'n': 2 of 14 cells in these rows, as 'x', are no numbers: taken for missing"
    ]
    valid = [float(cell) for cell in cells if cell not in ("", "x")] * 2
    low, middle, high = np.quantile(valid, (0.25, 0.5, 0.75))
    for k, cell in enumerate(cells * 2):
        value = (
            0 if cell in ("", "x") else max(-CUT, min(CUT, (float(cell) - middle) / (high - low)))
        )
        kind = rows.columns["k"][k].lower()
        expected = [value, cell in ("", "x"), kind == "a", kind == "b", kind == "c", kind == ""]
        assert features[k] == pytest.approx([float(part) for part in expected])
    again = Scaling(json.loads(json.dumps(scaling.plan)))  # as kept in model.json
    assert np.array_equal(again.features(rows)[0], features)
    new = Rows({"n": ["1"], "k": ["never seen"]}, None, None)
    assert scaling.features(new)[0][0, 2:].tolist() == [0, 0, 0, 0]


def test_copies_of_trusted_rows_are_not_trained_on_unless_rows_are_alike(tmp_path):
    paths, *_ = files(tmp_path)
    lines = (tmp_path / "trusted.csv").read_text().splitlines()
    with open(paths["train"], "a") as file:
        file.write("\n".join(line.replace("trusted", "copy") for line in lines[1:6]) + "\n")
    split = gdwlib.load_split(config_of(paths))
    assert (
        len(split.train.ids) == 300
        and "5 rows are also trusted or test rows: not trained on" in split.remarks
    )
    draw = np.random.default_rng(0)
    few = [[f"r{k}", *draw.integers(0, 2, 2), "ab"[k % 2]] for k in range(80)]
    alike = {
        "train": write(tmp_path / "few.csv", ["id", "p", "q", "label"], few[:60]),
        "trusted": write(tmp_path / "few2.csv", ["id", "p", "q", "label"], few[60:]),
    }
    split = gdwlib.load_split(config_of(alike, test=None))
    assert len(split.train.ids) == 60 and any(
        "kept, as so many rows are alike" in remark for remark in split.remarks
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "has no column 'label'; name it with --label-column, one of a, b"),
        ("a,label\n1,x\n2,x\n", "labels are of 1 classes, two are needed"),
        ("label\nx\ny\n", "no column is left to learn from|no columns"),
        (
            "a,label\n" + "".join(f"{k},{k / 7}\n" for k in range(60)),
            "60 different labels for 60 rows",
        ),
        ("", "empty"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        gdwlib.load_split(
            gdwlib.RunConfig(
                dataset="table", data_file=str(tmp_path / "t.csv"), trusted="1", preset="smoke"
            )
        )


def test_the_label_column_may_be_named(tmp_path):
    path = write(
        tmp_path / "t.csv",
        ["colour", "Outcome", "x", "x"],
        [["red", "ok", k, -k] for k in range(4)],
    )
    rows = rows_of_csv(tmp_path / "t.csv", "outcome")
    assert rows.labels == ["ok"] * 4 and set(rows.columns) == {"colour", "x (1)", "x (2)"}
    assert rows.ids[0] == "line 2" and path


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, pd.DataFrame])
def test_arrays_as_a_data_set(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("gdwlib.data.own.arrays.DATASETS", DATASETS)
    x, y = numbers(200)
    x[3, 1], x[4, 0] = np.nan, np.inf
    noisy = gdwlib.corrupt_labels(y, "uniform", 0.3, 3, seed=0)
    given = [CLASSES[c] for c in noisy]
    trusted, test = (
        (kind(a), [CLASSES[c] for c in b]) for a, b in (numbers(30, 1), numbers(90, 2))
    )
    try:
        gdwlib.add_table(
            "mine", kind(x), given, trusted=trusted, test=test, ids=[f"p{k}" for k in range(200)]
        )
        config = gdwlib.RunConfig(dataset="mine", preset="small", epochs=8)
        assert config.model == "linear" and config.fingerprint
        record = gdwlib.run(config, outputs=tmp_path, progress=False)
        assert record.final_accuracy > 80
        found = gdwlib.suspects(record)
        wrong = {f"p{k}" for k in np.flatnonzero(noisy != y)}
        assert np.mean([row.id in wrong for row in found[: len(wrong)]]) > 0.7
        predictions, remarks = gdwlib.predict(record, kind(numbers(90, 2)[0]))
        assert (
            np.mean([row.label == label for row, label in zip(predictions, test[1], strict=True)])
            > 0.8
        )
        assert not remarks
        gdwlib.add_table("mine", kind(x), given[::-1], trusted=trusted)
        other = gdwlib.RunConfig(dataset="mine", preset="small", epochs=8)
        assert other.run_id != config.run_id
        gdwlib.add_table("mine", kind(x), given, trusted=10)
        split = gdwlib.load_split(gdwlib.RunConfig(dataset="mine", preset="smoke"))
        assert len(split.meta.ids) == 30 and len(split.train.ids) == 170
    finally:
        DATASETS.pop("mine", None)


def test_a_data_frame_of_every_kind_of_column():
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "category": pd.Categorical(draw.choice(["u", "v"], 60)),
            "integer": pd.array([1, 2, None] * 20, dtype="Int64"),
            "time": pd.Series([pd.NaT, *pd.date_range("2024-01-01", periods=59)]),
            "flag": draw.random(60) > 0.5,
            "text": pd.array(["a", None] * 30, dtype="string"),
        }
    )
    try:
        for labels, names in (
            (pd.array(draw.integers(0, 2, 60), dtype="Int64"), ("0", "1")),
            (pd.Series(draw.integers(0, 2, 60).astype(float)), ("0", "1")),
            (pd.Categorical(draw.choice(["p", "q"], 60)), ("p", "q")),
            (draw.random(60) > 0.5, ("False", "True")),
        ):
            gdwlib.add_table("mine", frame, labels, trusted=5)
            split = gdwlib.load_split(gdwlib.RunConfig(dataset="mine", preset="smoke"))
            # the time, and where it is missing, among them
            assert split.classes == names and split.train.images.shape == (50, 9)
            assert (
                any("time" in remark for remark in split.remarks)
                and np.isfinite(split.train.images).all()
            )
    finally:
        DATASETS.pop("mine", None)


def test_ids_that_stand_twice_are_told(tmp_path):
    """In training, and of the rows that are to be labelled: what comes out then names lines."""
    rows = [[f"c{k % 38}", k, k % 3, ("good", "bad")[k % 2]] for k in range(40)]
    path = write(tmp_path / "t.csv", ["id", "x", "z", "label"], rows)
    config = gdwlib.RunConfig(dataset="table", data_file=str(path), trusted="5", preset="smoke")
    split = gdwlib.load_split(config)
    told = f"{path}: 2 ids stand in several rows, as 'c0'; rows are named by their lines instead"
    assert split.remarks[0] == told and all(name.startswith("line ") for name in split.train.ids)
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    predictions, remarks = gdwlib.predict(record, path)
    assert remarks == [told] and predictions[0].id == "line 2"


def test_names_are_kept_apart(tmp_path):
    """Columns of one name beside one that is called as the first would be renamed; a class that
    looks like a gap."""
    rows = [[k % 30, k % 31, k % 32, k % 3, ("NAT", "VPN")[k % 2]] for k in range(40)]
    path = write(tmp_path / "t.csv", ["a", "a", "a (1)", "x", "label"], rows)
    split = gdwlib.load_split(
        gdwlib.RunConfig(dataset="table", data_file=str(path), trusted="5", preset="smoke")
    )
    assert split.classes == ("NAT", "VPN")
    assert [column["name"] for column in split.columns] == ["a (2)", "a (3)", "a (1)", "x"]


def test_arrays_that_do_not_fit_are_refused():
    x, y = numbers(20)
    with pytest.raises(DataError, match="two columns are called 'a'"):
        gdwlib.add_table("other", pd.DataFrame(x[:, :2], columns=["a", "a"]), y, trusted=2)
    with pytest.raises(ValueError, match="'fashion' is built in"):
        gdwlib.add_table("fashion", x, y, trusted=2)
    for features, labels, message in (
        (x[:, 0], y, r"features: must be of shape \(n, F\)"),
        (x, y[:-1], "labels: 19 for 20 rows"),
        (x, [None, *y[1:]], "1 of 20 rows cannot be used: 0: no label"),
    ):
        with pytest.raises(DataError, match=message):
            gdwlib.add_table("mine", features, labels, trusted=(x, y))
    assert "mine" not in DATASETS


def test_a_table_from_another_place_is_the_same_run(tmp_path):
    paths, *_ = files(tmp_path)
    (tmp_path / "there").mkdir()
    moved = {name: shutil.copy(path, tmp_path / "there") for name, path in paths.items()}
    assert config_of(paths).run_id == config_of(moved).run_id


def test_a_list_of_runs_names_the_files(tmp_path):
    from gdwlib.sweeps.run_lists import read_runs, to_line

    paths, *_ = files(tmp_path)
    config = config_of(paths, method="mwnet", epochs=3)
    (tmp_path / "runs.jsonl").write_text(to_line(config))
    assert read_runs(tmp_path / "runs.jsonl") == [config]
    assert "fingerprint" not in to_line(config)
    with open(paths["train"], "a") as file:
        file.write("new,1,1,1,low\n")
    with pytest.raises(ValueError, match="line 1: .* is now .*; write the list again"):
        read_runs(tmp_path / "runs.jsonl")


def german(cell):
    """1,234.5 as 1.234,5."""
    return cell.translate(str.maketrans(",.", ".,"))


def test_each_file_is_read_by_its_own_decimal_sign(tmp_path):
    """A training table with 3.303,19 and the others with 3303.19, and the other way round: the same
    numbers come out, and it is said."""
    draw = np.random.default_rng(0)
    prices = [f"{value:,.2f}" for value in draw.normal(3_000, 400, 90)]
    labels = ["dear" if float(price.replace(",", "")) > 3_000 else "cheap" for price in prices]
    rows = [
        [price, k % 3, label] for k, (price, label) in enumerate(zip(prices, labels, strict=True))
    ]
    for own, other in ((german, str), (str, german)):
        written = {}
        for name, part, how in (
            ("train", rows[:60], own), ("trusted", rows[60:75], other), ("test", rows[75:], other),
        ):  # fmt: skip
            cells = [[how(price), k, label] for price, k, label in part]
            written[name] = write(tmp_path / f"{name}.csv", ["price", "k", "label"], cells, ";")
        fields = {"dataset": "table", "data_file": written["train"], "preset": "smoke"}
        fields |= {"trusted": written["trusted"], "test": written["test"]}
        split = gdwlib.load_split(gdwlib.RunConfig(**fields))
        alike = [[own(price), k, label] for price, k, label in rows[75:]]
        fields["test"] = write(tmp_path / "test2.csv", ["price", "k", "label"], alike, ";")
        same = gdwlib.load_split(gdwlib.RunConfig(**fields))
        assert np.array_equal(split.test.images, same.test.images)
        here, there = ("point", "comma") if own is german else ("comma", "point")
        said = [remark for remark in split.remarks if "decimals follow" in remark]
        assert (
            len(said) == 2
            and f"a {here} in the test rows, and a {there} in the training" in said[1]
        )
    mixed = [*rows[:30], *([german(price), k, label] for price, k, label in rows[30:60])]
    fields["data_file"] = write(tmp_path / "mixed.csv", ["price", "k", "label"], mixed, ";")
    with pytest.raises(
        DataError, match="column 'price': decimals follow a comma in some cells and"
    ):
        gdwlib.load_split(gdwlib.RunConfig(**fields))
    notes = {"note": ["1,5", "1.5", *(f"text {k}" for k in range(20))], "x": [0, 1] * 11}
    Scaling.learn(Rows(notes, None, None))  # a text, in which numbers occur


def test_new_rows_with_other_values_are_remarked():
    rows = Rows({"city": ["Wien", "Graz"] * 10, "x": [str(k % 9) for k in range(20)]}, None, None)
    scaling, _ = Scaling.learn(rows)
    new = Rows({"city": ["Linz", "wien ", ""], "x": ["1", "many", "?"]}, None, None)
    _, remarks = scaling.features(new)
    assert remarks == [
        "column 'city': 1 of 3 cells in these rows, as 'Linz', have none of the values that were "
        "learned from the training table",
        "column 'x': 1 of 3 cells in these rows, as 'many', are no numbers: taken for missing",
    ]


def test_of_many_texts_the_commonest_are_told_apart():
    """Two hundred levels in 1,300 rows are not another text in most rows."""
    levels = [f"town {k % 200}" for k in range(1_300)]
    scaling, remarks = Scaling.learn(Rows({"town": levels, "x": [0, 1] * 650}, None, None))
    (plan,) = (column for column in scaling.plan if column["name"] == "town")
    assert len(plan["levels"]) == 50
    assert "column 'town': of its 200 values the 50 commonest are told apart" in remarks[0]
    _, remarks = Scaling.learn(
        Rows({"note": [f"text {k}" for k in range(100)], "x": [0, 1] * 50}, None, None)
    )
    assert remarks == ["columns left out (another text in most rows): note"]


def test_an_id_that_follows_the_label_is_no_feature(tmp_path):
    """Unique whole numbers that count the rows are left out; sparse ones, which may be a measure,
    are warned of."""
    draw = np.random.default_rng(0)
    rows = [[5_000 + k, k * k + 7, f"{draw.normal():.2f}", "ab"[k // 40]] for k in range(80)]
    path = write(tmp_path / "t.csv", ["Kundennummer", "area", "x", "label"], rows)
    split = gdwlib.load_split(
        gdwlib.RunConfig(dataset="table", data_file=path, trusted="5", preset="smoke")
    )
    assert [column["name"] for column in split.columns] == ["area", "x"]
    told = " | ".join(split.remarks)
    assert "left out (another whole number in each row, as ids are): Kundennummer" in told
    assert "column 'area': another whole number in each row; if it is an id, take it out" in told
    few = Scaling.learn(Rows({"x": range(10)}, None, None))[0]
    assert len(few.plan) == 1  # of ten rows, all different by chance


def test_dates_are_days():
    frame = pd.DataFrame(
        {
            "iso": ["2024-02-28", "2024-03-01", "2023-12-31T12:00"] * 8,
            "german": ["28.02.2024", "01.03.2024", "31.12.2023 12:00"] * 8,
            "american": ["2/28/2024", "3/1/2024", "12/31/2023 12:00"] * 8,
            "typed": pd.to_datetime(
                ["2024-02-28T00:00", "2024-03-01T00:00", "2023-12-31T12:00"] * 8
            ),
            "kind": pd.Categorical(["a", "b", "a"] * 8),
            "no such day": ["2024-02-30", "2024-03-01", "2023-12-31"] * 8,
        }
    )
    rows = rows_of_arrays(frame)
    scaling, remarks = Scaling.learn(rows)
    features, _ = scaling.features(rows)
    assert [column.get("dates") for column in scaling.plan] == [
        "ymd",
        "dmy",
        "mdy",
        "ymd",
        None,
        None,
    ]
    for k in range(1, 4):  # the same days, however they are written
        assert np.array_equal(features[:, k], features[:, 0])
    assert scaling.plan[0]["middle"] == 19_781  # 28 February 2024
    assert "column 'german': dates (day, month, year), taken as days" in remarks
    assert [len(column["levels"]) for column in scaling.plan[4:]] == [2, 3]

    other = Rows({**rows.columns, "iso": rows.columns["german"], "german": ["?", "3.4.24", ""] * 8},
                 None, None)  # fmt: skip
    again, remarks = scaling.features(other)
    assert np.array_equal(again[:, 0], features[:, 0])  # read by its own order
    assert remarks == [
        "column 'iso': dates are day, month, year in these rows, and year, month, day in the "
        "training table: each is read by its own",
        "column 'german': 8 of 24 cells in these rows, as '3.4.24', are no dates: taken for "
        "missing",
    ]
    kept = Scaling(json.loads(json.dumps(scaling.plan)))
    assert np.array_equal(kept.features(rows)[0], features)
