"""RunConfig, presets, run ids, notebook parameters, the command line."""

import dataclasses
import importlib
import pickle
import pkgutil
import subprocess
import sys
from types import SimpleNamespace

import IPython
import pytest
import torch

import gdwlib
from gdwlib.cli.main import main
from gdwlib.companion.notebook import check_parameters
from gdwlib.methods.settings import above, setting
from gdwlib.runs.config import PRESETS, RunConfig
from gdwlib.runs.fields import fields_described


def test_the_paper_preset_is_the_official_setting():
    config = RunConfig(
        dataset="cifar10", method="gdw", noise="uniform", noise_ratio=0.4, preset="paper"
    )
    official = {
        "model": "resnet32",
        "epochs": 80,
        "batch_size": 100,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "weight_lr": 1e-3,
        "weight_weight_decay": 1e-4,
        "class_lr": 100.0,
        "clip": 0.2,
        "meta_per_class": 100,
        "augment": True,
        "pool": 1,
        "train_size": None,
        "zero_mean": True,
        "meta_every": 1,
        "meta_overlap": False,
    }
    assert {name: getattr(config, name) for name in official} == official
    hundred = RunConfig(dataset="cifar100", preset="paper")
    assert (hundred.class_lr, hundred.meta_per_class) == (1000.0, 10)


def test_explicit_fields_win_over_the_preset():
    assert RunConfig(preset="paper", epochs=3, model="resnet8").epochs == 3
    assert RunConfig(preset="small", lr=1).lr == 1.0 and isinstance(RunConfig(lr=1).lr, float)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dataset", gdwlib.DATASETS)
def test_every_preset_exists_for_every_dataset(preset, dataset):
    own = {"folder": {"data_folder": "d"}, "table": {"data_file": "f.csv"}}.get(dataset)
    config = RunConfig(
        dataset=dataset,
        preset=preset,
        **(own | {"trusted": "t", "fingerprint": "read before"} if own else {}),
    )
    if preset == "small" and dataset in PRESETS[preset] and not own and dataset != "clothing1m":
        total = config.train_size
        assert config.meta_per_class * len(
            gdwlib.DATASETS[dataset].classes
        ) / total == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "cifar"}, "dataset: unknown value 'cifar'; did you mean 'cifar1"),
        ({"method": "gwd"}, "method: unknown value 'gwd'; did you mean 'gdw'"),
        ({"noise": "unifrom"}, "noise: .*did you mean 'uniform'"),
        ({"preset": "papper"}, "preset: .*did you mean 'paper'"),
        ({"model": "resnet23"}, "model: .*did you mean 'resnet"),
        ({"recipe": "author"}, "recipe"),
        ({"precision": "half"}, "precision"),
        ({"device": "gpu"}, "device"),
        ({"noise": "flip", "noise_ratio": 1.2}, "noise_ratio"),
        ({"noise_ratio": 0.4}, "noise_ratio: .*name a kind of noise"),
        ({"imbalance": 0}, "imbalance"),
        ({"imbalance": 1.5}, "imbalance"),
        ({"imbalance": float("nan")}, "imbalance"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed: must be of type int"),
        ({"seed": True}, "seed"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"lr": 0}, "lr"),
        ({"lr": float("inf")}, "lr"),
        ({"lr": "0.1"}, "lr: must be of type float"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"clip": 0.0}, "clip"),
        ({"class_lr": -5}, "class_lr"),
        ({"meta_per_class": 0}, "meta_per_class"),
        ({"zero_mean": 1}, "zero_mean: must be of type bool"),
        ({"dataset": []}, "dataset: unknown value"),
        ({"model": []}, "model: unknown value"),
        ({"lr": 10**400}, "lr"),
    ],
)
def test_values_out_of_range_are_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**fields)


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(TypeError, match="no field 'nosie'; did you mean 'noise'"):
        RunConfig(nosie="flip")
    with pytest.raises(TypeError, match="no field 'meta_per_clas'"):
        dataclasses.replace(RunConfig(), meta_per_clas=3)


def test_run_ids_are_unique_to_what_changes_the_result():
    base = RunConfig(noise="uniform", noise_ratio=0.4)
    changes = [
        {},
        {"seed": 1},
        {"noise": "flip"},
        {"noise_ratio": 0.6},
        {"method": "mwnet"},
        {"clip": 0.1},
        {"zero_mean": False},
        {"meta_overlap": True},
        {"epochs": 3},
        {"class_lr": 7.0},
        {"precision": "float64"},
        {"preset": "smoke"},
        {"dataset": "cifar10"},
        {"imbalance": 0.1},
        {"meta_every": 2},
    ]
    ids = [
        RunConfig(**{"noise": "uniform", "noise_ratio": 0.4} | change).run_id for change in changes
    ]
    assert len(set(ids)) == len(changes)
    assert dataclasses.replace(base, device="cpu").run_id == base.run_id
    assert RunConfig(noise="uniform", noise_ratio=0.4).run_id == base.run_id


def test_leaving_the_preset_shows_in_the_run_id():
    assert "-small-s0-" in RunConfig().run_id and "-small-s0-" in RunConfig(epochs=11).run_id
    assert "-small-changed-s0-" in RunConfig(epochs=3).run_id
    assert "-paper-changed-s0-" in dataclasses.replace(RunConfig(), preset="paper").run_id
    assert "-paper-s0-" in RunConfig(preset="paper").run_id


def test_a_new_setting_at_its_default_leaves_run_ids_alone(monkeypatch):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Later(gdwlib.METHODS["focal"].Settings):
        focal_alpha: float = setting(1.0, "of tomorrow", above(0))

    before = RunConfig(method="focal").run_id
    monkeypatch.setattr(gdwlib.METHODS["focal"], "Settings", Later)
    assert (
        RunConfig(method="focal").run_id
        == before
        != RunConfig(method="focal", focal_alpha=2).run_id
    )


def test_a_new_algorithm_version_is_a_new_run(monkeypatch):
    before = RunConfig().run_id
    monkeypatch.setattr("gdwlib.runs.config.ALGORITHM_VERSION", 10**6)
    assert RunConfig().run_id != before


def test_check_parameters(monkeypatch):
    import math

    mine = {"In": [], "project": "of a startup file"}
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(user_ns_hidden=mine))
    names = {
        "__name__": "x",
        "_i": "",
        "math": math,
        "Path": type,
        "preset": "small",
        "live_seed": None,
    } | mine
    valid = {"preset": ("smoke", "small"), "live_seed": int}
    check_parameters(dict(names), **valid)
    with pytest.raises(ValueError, match="no parameter 'live_sed'; did you mean 'live_seed'"):
        check_parameters(names | {"live_sed": 3}, **valid)
    with pytest.raises(ValueError, match="preset: unknown value 'smal'; did you mean 'small'"):
        check_parameters(names | {"preset": "smal"}, **valid)
    with pytest.raises(ValueError, match="no parameter 'project'"):
        check_parameters(names | {"project": "of papermill's"}, **valid)
    with pytest.raises(ValueError, match="no parameter 'open'"):
        check_parameters(names | {"open": 3}, **valid)
    with pytest.raises(ValueError, match="live_seed: must be of type int, not '3'"):
        check_parameters(names | {"live_seed": "3"}, **valid)
    with pytest.raises(ValueError, match="live_seed: must be of type int, not True"):
        check_parameters(names | {"live_seed": True}, **valid)
    check_parameters(names, **valid)
    check_parameters(names | {"split": 3}, **valid)  # the cells run again
    with pytest.raises(ValueError, match="preset: unknown value 'smal'"):
        check_parameters(names | {"split": 3, "preset": "smal"}, **valid)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("run --datset cifar10", 2, "unknown flag --datset; did you mean '--dataset'?"),
        ("run --noise-ratoi=0.4", 2, "unknown flag --noise-ratoi; did you mean '--noise-ratio'?"),
        ("run --noise unifrom", 1, "noise: unknown value 'unifrom'; did you mean 'uniform'?"),
        ("run --noise flip --noise-ratio 2", 1, "noise_ratio: must be in [0, 1], not 2.0"),
        ("run --epochs many", 2, "invalid int value: 'many'"),
        ("data cifar11", 2, "unknown value 'cifar11'; did you mean 'cifar10"),
    ],
)
def test_the_command_line_refuses_in_one_line(words, code, message, capsys):
    try:
        found = main(words.split())
    except SystemExit as stop:
        found = stop.code
    lines = capsys.readouterr().err.strip().splitlines()
    assert found == code and len(lines) == 1 and message in lines[0]


def test_the_core_needs_no_plotting_or_notebook_package():
    """A bare GPU node has torch, torchvision and numpy."""
    code = (
        "import sys, gdwlib, gdwlib.runs.training, gdwlib.cli.main; gdwlib.METHODS; "
        "bad = {'seaborn', 'pandas', 'scipy', 'matplotlib', 'IPython', 'beartype', 'nbformat'} & "
        "set(sys.modules); "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_the_plots_know_a_method_of_ones_own(tmp_path, monkeypatch):
    from gdwlib.companion import plots, run_figures
    from gdwlib.methods import Base, StepResult

    class Mine(Base):
        def step(self, batch):
            assert self.model.training
            logits = self.model(batch.x)
            loss = torch.nn.functional.cross_entropy(logits, batch.y, reduction="none")
            self.optimizer.zero_grad()
            loss.mean().backward()
            self.optimizer.step()
            # attached to the graph, as a user's may be
            return StepResult(loss.mean(), None, (-loss).exp())

    monkeypatch.setitem(gdwlib.METHODS, "mine", Mine)
    records = [
        gdwlib.run(
            RunConfig(method=method, noise="flip", noise_ratio=0.4, preset="smoke"),
            outputs=tmp_path,
        )
        for method in ("mine", "gdw")
    ]
    assert list(plots.accuracy_table(records).index) == ["GDW", "mine"]
    run_figures.learning_curves(records)
    run_figures.target_weight_histograms(records)
    plots.plt.close("all")


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"method": "base", "focal_gamma": 1.0},
            "focal_gamma: a setting of focal, which base does not have",
        ),
        # the default, said in vain
        ({"method": "base", "focal_gamma": 2.0}, "focal_gamma: a setting of focal"),
        ({"method": "mwnet", "clip": 0.1}, "clip: a setting of gdw, which mwnet does not have"),
        ({"method": "gdw", "normalise_weights": True}, "normalise_weights: a setting of mwnet"),
        (
            {"method": "l2rw", "weight_lr": 0.1},
            "weight_lr: a setting of mwnet and gdw, which l2rw does not have",
        ),
    ],
)
def test_a_setting_of_another_method_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**fields)


@pytest.mark.parametrize("method", gdwlib.METHODS)
def test_a_methods_settings_are_its_own(method):
    """And what a run is written as gives the run again, also where an older record names all
    methods' settings."""
    config = RunConfig(method=method, preset="smoke")
    assert (
        pickle.loads(pickle.dumps(config))
        == config
        == RunConfig(**vars(config))
        == RunConfig.of_record(vars(config))
    )
    own = {field.name for field in dataclasses.fields(config.settings)}
    everything = {name for name, field in fields_described().items() if field.methods}
    assert own <= vars(config).keys() and not (everything - own) & vars(config).keys()
    older = vars(config) | {"focal_gamma": 2.0, "clip": 0.2, "cb_beta": 0.9999} | vars(config)
    assert (
        RunConfig.of_record(older) == config and RunConfig.of_record(older).run_id == config.run_id
    )
    with pytest.raises(ValueError, match="method: make a new RunConfig to change it"):
        dataclasses.replace(config, method="focal" if method != "focal" else "base")


def test_public_names_survive_the_import_of_every_module():
    """None is hidden by a module of its name."""
    before = {name: getattr(gdwlib, name) for name in gdwlib.__all__}
    for module in pkgutil.walk_packages(gdwlib.__path__, "gdwlib."):
        if module.name != "gdwlib.__main__":
            importlib.import_module(module.name)
    assert {name: getattr(gdwlib, name) for name in gdwlib.__all__} == before
    assert set(before) >= {
        "GDW",
        "RunConfig",
        "run",
        "suspects",
        "predict",
        "METHODS",
        "zero_mean",
        "load_split",
    }


def test_a_misspelt_setting_of_another_method_is_recognised():
    with pytest.raises(TypeError, match="no field 'focal_gama'; did you mean 'focal_gamma'"):
        gdwlib.RunConfig(method="base", focal_gama=1.0)
