"""The records of the paper's training, at its size and at half the side: rows, curves, and how
well the weights told wrong labels."""

import numpy as np
import pytest

import gdwlib
from gdwlib.companion import long_trainings, tables
from gdwlib.companion.evidence import Evidence, final_accuracy
from gdwlib.companion.quantities import separation, separation_by_epoch
from gdwlib.runs.folders import project_folder


@pytest.fixture(scope="module")
def evidence():
    return Evidence(project_folder("outputs"))


def base_runs(evidence, preset):
    config = gdwlib.RunConfig(dataset="cifar10", preset=preset, method="base", imbalance=0.01)
    return list(evidence.runs(config).values())


def test_both_sizes_stand_in_one_table(evidence):
    rows = long_trainings.table(4, evidence)
    for preset, pixels in long_trainings.PIXELS.items():
        finals = [final_accuracy(record) for record in base_runs(evidence, preset)]
        row = rows.loc[pixels, "cifar10", "0.01", "Base"]
        assert row["ours"].startswith(f"{np.mean(finals):.2f}")
        assert row["seeds"] == str(len(finals))
    # at another size a difference to the paper's accuracy would say nothing
    assert set(rows.loc["16×16"]["difference"]) == {"–"}
    assert "std" in rows.loc["32×32", "cifar10", "0.01", "Base"]["difference"]
    _, note = tables.headed(tables.compare(4, evidence, "cifar10", "half"))
    assert note.endswith("compare gains, not accuracies")


def test_each_setting_is_a_column_and_each_run_a_line_with_its_best_epoch(evidence):
    drawn = long_trainings.curves(4, evidence)
    titles = [axes.get_title() for axes in drawn.axes]
    assert titles == ["CIFAR-10, 32×32 pixels, μ = 0.01", "CIFAR-10, 16×16 pixels, μ = 0.01"]
    for axes, preset in zip(drawn.axes, long_trainings.PIXELS, strict=True):
        lines = {
            tuple(line.get_ydata()): line for line in axes.get_lines() if len(line.get_xdata()) > 1
        }
        for record in base_runs(evidence, preset):
            accuracy = tuple(line["test_accuracy"] for line in record.metrics)
            assert accuracy in lines
            dots = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
            assert max(accuracy) in [float(dot.get_ydata()[0]) for dot in dots]


def test_without_records_a_sentence_says_how_to_make_them(tmp_path):
    nothing = Evidence(tmp_path)
    assert "sweep table3 --preset paper" in long_trainings.table(3, nothing)
    assert long_trainings.curves(3, nothing) is None


@pytest.mark.parametrize("method", ["gdw", "mwnet"])
def test_what_the_histograms_say_of_the_last_epoch_is_what_all_weights_say(evidence, method):
    config = gdwlib.RunConfig(method=method, noise="uniform", noise_ratio=0.6)
    records = evidence.runs(config).values()
    assert len(records) == 3
    for record in records:
        by_epoch = separation_by_epoch(record)
        assert len(by_epoch) == len(record.metrics)
        # bins of a fortieth: MWNet's weights of wrong labels fill the first few
        assert by_epoch[-1] == pytest.approx(separation(record), abs=2)


def test_no_weights_or_no_wrong_labels_have_no_separation(evidence):
    noisy = {"noise": "uniform", "noise_ratio": 0.6}
    for fields in ({"method": "base", **noisy}, {"method": "gdw"}):
        records = evidence.runs(gdwlib.RunConfig(**fields)).values()
        assert [separation_by_epoch(record) for record in records] == [None] * 3
