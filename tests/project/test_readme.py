"""The README and the chapters are true: their code runs as printed, their commands exist, their
links lead somewhere, and what they count comes out again."""

import importlib.util
import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import gdwlib
from gdwlib import bench
from gdwlib.cli.main import parser
from gdwlib.companion import paper_tables, tables
from gdwlib.companion.evidence import Evidence
from gdwlib.runs.presets import PRESETS

ROOT = Path(__file__).parents[2]
CHAPTERS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
FILES = [
    *CHAPTERS,
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "data/README.md",
    "outputs/README.md",
    "profiles/README.md",
]
TEXT = "\n".join((ROOT / file).read_text() for file in CHAPTERS)
BLOCKS = {
    what: next(block for block in re.findall(r"```python\n(.*?)```", TEXT, re.S) if what in block)
    for what in ("add_table(", 'METHODS["gce"]', "GCESettings", "DATASETS[", "NOISES[")
}
COMMANDS = [
    line
    for file in FILES
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / file).read_text(), re.S)
    for line in block.splitlines()
]


@pytest.fixture
def small_is_smoke(tmp_path, monkeypatch):
    """Runs of seconds, kept elsewhere; what a block registers is forgotten afterwards."""
    monkeypatch.setitem(PRESETS, "small", PRESETS["smoke"])
    monkeypatch.setattr(
        "gdwlib.runs.folders.project_folder",
        lambda name: (tmp_path if name == "outputs" else ROOT) / name,
    )
    registries = (gdwlib.METHODS, gdwlib.DATASETS, gdwlib.NOISES)
    before = [dict(registry) for registry in registries]
    yield
    for registry, names in zip(registries, before, strict=True):
        registry.clear()
        registry.update(names)


def test_every_block_is_run_here():
    assert len(re.findall(r"```python\n", TEXT)) == len(BLOCKS)
    assert all(len(block.splitlines()) < 30 for block in BLOCKS.values())


@pytest.mark.parametrize("ours", [False, True])
def test_the_loop_before_and_after(ours):
    """The README shows GDW as the difference to a plain loop; both sides of it run."""
    (difference,) = re.findall(r"```diff\n(.*?)```", TEXT, re.S)
    lines = [line for line in difference.splitlines() if not line.startswith("-" if ours else "+")]
    data = torch.utils.data.TensorDataset(torch.randn(60, 3, 16, 16), torch.randint(0, 10, (60,)))
    names = {
        "gdwlib": gdwlib,
        "itertools": itertools,
        "torch": torch,
        "MyNetwork": lambda: gdwlib.models.resnet8(10),
        "noisy_loader": torch.utils.data.DataLoader(data, 20, shuffle=True),
        "meta_loader": torch.utils.data.DataLoader(data, 30),
    }
    exec("\n".join(line[1:] for line in lines), names)
    if ours:
        assert names["gdw"].steps == 3 and names["out"].class_weights.shape == (20, 10)
    else:
        assert names["loss"].isfinite() and "gdw" not in names


@pytest.mark.ci
def test_the_costs_of_each_scale_are_counted():
    path = ROOT / "benchmarks" / "campaign_cost.py"
    spec = importlib.util.spec_from_file_location("campaign_cost", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "\n".join(module.table("paper", ["small", "half", "paper"])) in TEXT


def rows_under(head):
    """The rows of a chapter's table, each a list of cells."""
    (table,) = re.findall(rf"\n{re.escape(head)}\n\|[-|]+\n((?:\|.*\n)+)", TEXT)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


@pytest.fixture(scope="module")
def measured():
    return bench.results(None)["torch2.15.0-cpu2-float32"]


def test_what_a_step_costs_was_measured(measured):
    by_step = {row["step"]: row for row in measured["steps"]["rows"]}
    plain = by_step["plain SGD"]
    names = {
        "GDW": "gdw",
        "MWNet": "mwnet",
        "GDW, `save_memory=True`": "gdw, save_memory",
        "the same GDW step by double backward": "gdw, double backward",
        "the same, with the published code's detours": "gdw, as published",
    }
    rows = rows_under(
        "| step | seconds | × SGD | × double backward | peak memory × SGD | operations × SGD |"
    )
    assert [names.get(name, name) for name, *_ in rows] == ["plain SGD", *names.values()]
    for name, seconds, *ratios in rows:
        row = by_step[names.get(name, name)]
        assert seconds == f"{row['seconds']:.3f}", name
        found = (
            row["time_ratio"],
            row["time_of_second_order_ratio"],
            row["peak_mib"] / plain["peak_mib"],
            row["operations_ratio"],
        )
        assert ratios == [f"{ratio:.2f}" for ratio in found], name


def test_what_seeds_together_cost_was_measured(measured):
    ways = ("in groups", "vmap", "processes")
    found = {
        (row["depth"], row["size"], row["batch_size"], row["replicas"], row["way"]): row
        for row in measured["replicas"]["rows"]
    }
    rows, network, batch = (
        rows_under("| network | batch | seeds | in groups | vmap | processes |"),
        "",
        "",
    )
    assert len(rows) * (len(ways) + 1) == len(found)
    for own_network, own_batch, seeds, *ratios in rows:
        network, batch = own_network or network, own_batch or batch
        depth, size = map(int, re.match(r"ResNet-(\d+), (\d+)×", network).groups())
        ours = [found[depth, size, int(batch), int(seeds), way]["time_ratio"] for way in ways]
        assert ratios == [f"{ratio:.2f}" for ratio in ours], (network, seeds)


def test_a_table_from_python(small_is_smoke):
    draw = np.random.default_rng(0)

    def some(count):
        labels = np.arange(count) % 3
        return labels[:, None] + draw.normal(size=(count, 4)), np.array(["bolt", "nut", "screw"])[
            labels
        ]

    (features, labels), (trusted_features, trusted_labels), (new_features, _) = (
        some(120),
        some(30),
        some(5),
    )
    names = dict(
        features=features,
        labels=labels,
        trusted_features=trusted_features,
        trusted_labels=trusted_labels,
    )
    names["new_features"] = new_features
    exec(BLOCKS["add_table("], names)
    assert len(names["predictions"]) == 5 and names["remarks"] == []


def test_a_method_of_ones_own(small_is_smoke):
    exec(BLOCKS['METHODS["gce"]'], names := {})
    logits = torch.randn(6, 10, dtype=torch.float64, requires_grad=True)
    method = object.__new__(names["GCE"])
    batch = gdwlib.methods.Batch(*(None,) * 5)._replace(y=torch.arange(6))
    (gradient,) = torch.autograd.grad(method.losses(logits, batch).sum(), logits)
    assert torch.allclose(gradient, method.logit_gradient(logits, batch))
    record = names["record"]
    assert record.config["method"] == "gce" and np.isfinite(record.final_accuracy)
    assert gdwlib.methods.title("gce") == "gce"  # not that of the class it derives from
    assert "gce" not in gdwlib.methods.NAMES and "gce" in paper_tables.own_methods()
    evidence = Evidence(record.path.parents[1])
    frame = tables.compare(2, evidence, "fashion", "small", levels=[0.6]).set_index("method")
    assert (
        frame.loc["gce", "ours"] == pytest.approx(record.final_accuracy)
        and frame.loc["gdw", "seeds"] == 0
    )
    (config,) = tables.table_configs(
        2, "fashion", "small", methods=["gce"], levels=[0.6], seeds=[0]
    )
    assert config.run_id == record.path.name


def test_a_hyperparameter_of_ones_own(small_is_smoke, capsys):
    """Checks, flags, help and run id follow from its declaration."""
    exec(BLOCKS['METHODS["gce"]'].split("record =")[0], names := {})
    exec(BLOCKS["GCESettings"], names)
    config = names["config"]
    assert config.gce_q == 0.5 and config.run_id != gdwlib.RunConfig(method="gce_tuned").run_id
    logits, batch = (
        torch.randn(6, 10),
        gdwlib.methods.Batch(*(None,) * 5)._replace(y=torch.arange(6)),
    )
    method = object.__new__(names["GCEWithSettings"])
    method.settings = config.settings
    p = logits.softmax(1).diagonal()
    torch.testing.assert_close(method.losses(logits, batch), (1 - p**0.5) / 0.5)
    with pytest.raises(ValueError, match=r"gce_q: must be in \(0, 1\], not 2.0"):
        gdwlib.RunConfig(method="gce_tuned", gce_q=2)
    with pytest.raises(ValueError, match="gce_q: a setting of gce_tuned, which base does not have"):
        gdwlib.RunConfig(method="base", gce_q=0.5)
    assert parser().parse_args(["run", "--method", "gce_tuned", "--gce-q", "0.5"]).gce_q == 0.5
    with pytest.raises(SystemExit):
        parser().parse_args(["run", "--help"])
    assert "q of Zhang & Sabuncu 2018 (default: 0.7)" in capsys.readouterr().out


def test_a_data_set_of_ones_own(small_is_smoke):
    exec(BLOCKS["DATASETS["], names := {})
    split = gdwlib.load_split(gdwlib.RunConfig.of_record(names["record"].config))
    pixels = np.concatenate([split.train.images, split.meta.images]) / 255
    assert pixels.mean() == pytest.approx(
        split.mean[0], abs=0.01
    ) and pixels.std() == pytest.approx(split.std[0], abs=0.01)
    assert len(split.test.labels) == 360 and names["record"].final_accuracy > 15


def test_a_noise_of_ones_own(small_is_smoke):
    exec(BLOCKS["NOISES["], names := {})
    noisy = gdwlib.corrupt_labels(np.zeros(2000, np.int64), "neighbours", 0.4, 10, seed=0)
    shares = np.bincount(noisy, minlength=10) / 2000
    assert set(np.flatnonzero(shares)) == {0, 1, 9} and shares[0] == pytest.approx(0.6, abs=0.05)
    assert names["record"].config["noise"] == "neighbours"


@pytest.mark.parametrize("command", [line for line in COMMANDS if "-m gdwlib" in line])
def test_its_commands_are_understood(command, monkeypatch):
    monkeypatch.setitem(gdwlib.METHODS, "gce", gdwlib.METHODS["base"])
    words = shlex.split(command.split("-m gdwlib", 1)[1], comments=True)
    ours = words[: words.index("--")] if "--" in words else words
    assert parser().parse_args(ours).command == ours[0]


def test_its_other_commands_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert (
        set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", "\n".join(COMMANDS) + TEXT, re.M)) <= targets
    )
    papermill = [shlex.split(line) for line in COMMANDS if line.startswith("papermill")]
    assert len(papermill) == 2
    for words in papermill:
        cells = json.loads((ROOT / words[1]).read_text())["cells"]
        (parameters,) = (
            c["source"] for c in cells if "parameters" in c["metadata"].get("tags", [])
        )
        given = [words[k + 1] for k, word in enumerate(words) if word == "-p"]
        given += re.findall(r"{(\w+):", " ".join(words))
        assert given and all(
            any(line.startswith(f"{name} = ") for line in parameters) for name in given
        )


@pytest.mark.parametrize("file", FILES)
def test_links_lead_somewhere(file):
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / file).read_text()):
        if not link.startswith("http"):
            assert ((ROOT / file).parent / link.split("#")[0]).exists(), link
