"""Runs end to end: determinism, records, damage, locks, a full disk, and kill -9."""

import dataclasses
import json
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import gdwlib
from gdwlib.companion.quantities import separation
from gdwlib.data.batches import pooled
from gdwlib.runs import machine, training
from gdwlib.runs.files import RecordError
from gdwlib.runs.run_folder import RunFolder
from gdwlib.sweeps.in_process import run_replicas

SMOKE = {"noise": "uniform", "noise_ratio": 0.6, "preset": "smoke"}


def smoke(**fields):
    return gdwlib.RunConfig(**SMOKE | fields)


def timeless(metrics):
    return [
        {k: v for k, v in line.items() if not k.endswith(("seconds", "per_second"))}
        for line in metrics
    ]


@pytest.mark.parametrize("method", gdwlib.METHODS)
def test_every_method_is_deterministic_and_leaves_global_randomness_alone(method, tmp_path):
    torch.manual_seed(1)
    first = gdwlib.run(smoke(method=method), outputs=tmp_path / "a", progress=False)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = gdwlib.run(smoke(method=method), outputs=tmp_path / "b", progress=False)
    assert torch.equal(state, torch.get_rng_state())
    assert timeless(first.metrics) == timeless(second.metrics)
    np.testing.assert_array_equal(
        first.examples["target_weights"], second.examples["target_weights"]
    )
    other = gdwlib.run(smoke(method=method, seed=1), outputs=tmp_path / "a", progress=False)
    assert timeless(first.metrics) != timeless(other.metrics)


@pytest.mark.parametrize("method", gdwlib.METHODS)
def test_every_method_learns(method, tmp_path):
    config = gdwlib.RunConfig(
        method=method, preset="smoke", epochs=8, train_size=1000, meta_per_class=20
    )
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    assert record.result["last_accuracy"] > 45  # chance is 10
    assert record.metrics[-1]["train_loss"] < 0.6 * record.metrics[0]["train_loss"]


def test_the_record_is_what_the_contract_says(tmp_path):
    config = smoke(method="gdw", epochs=7)
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    folder = tmp_path / "runs" / config.run_id
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "examples.npz",
        "model.pt",
        "model.json",
        "weight_net.pt",
        "result.json",
    }
    written = json.loads((folder / "config.json").read_text())
    assert written["config"] == dataclasses.asdict(config)
    assert {"gdwlib", "git_revision", "torch", "device", "threads", "runs_per_gpu"} <= set(
        written["environment"]
    )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 8))
    assert lines[0]["learning_rate"] == 0.1 and lines[6]["learning_rate"] == pytest.approx(
        0.1 * (1 + np.cos(np.pi * 6 / 7)) / 2
    )
    accuracies = [line["test_accuracy"] for line in lines]
    result = json.loads((folder / "result.json").read_text())
    assert result["final_accuracy"] == pytest.approx(np.mean(accuracies[-5:]))
    assert (result["best_accuracy"], result["last_accuracy"]) == (max(accuracies), accuracies[-1])
    split = gdwlib.load_split(config)
    np.testing.assert_array_equal(record.examples["ids"], split.train.ids)
    np.testing.assert_array_equal(record.examples["given_labels"], split.given)
    assert np.isfinite(record.examples["target_weights"]).all()
    wrong = record.examples["given_labels"] != record.examples["true_labels"]
    assert lines[-1]["mislabelled_weight"] == pytest.approx(
        record.examples["target_weights"][wrong].mean(), rel=1e-5
    )
    network = record.model(10, 1)
    from gdwlib.runs.loading import DeviceLoader

    assert (
        DeviceLoader(config, split, torch.device("cpu")).test_accuracy(network)
        == result["last_accuracy"]
    )


def test_base_reports_no_weights_as_null(tmp_path):
    record = gdwlib.run(smoke(method="base"), outputs=tmp_path, progress=False)
    assert record.metrics[0]["meta_loss"] is None and record.metrics[0]["clean_weight"] is None
    assert np.isnan(record.examples["target_weights"]).all()


def test_float64_is_deterministic_over_augmentation_and_imbalance(tmp_path):
    config = smoke(precision="float64", augment=True, imbalance=0.2, train_size=600, epochs=1)
    a, b = (gdwlib.run(config, outputs=tmp_path / name, progress=False) for name in "ab")
    assert timeless(a.metrics) == timeless(b.metrics)


def test_a_complete_record_is_loaded_and_needs_no_model_file(tmp_path, capfd):
    config = smoke(method="base")
    first = gdwlib.run(config, outputs=tmp_path, progress=False)
    (first.path / "model.pt").unlink()
    assert gdwlib.run(config, outputs=tmp_path) == first
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "examples.npz", "config.json", "model.pt", "result.json"]
)
def test_a_damaged_record_is_said_and_computed_again(name, tmp_path, capfd):
    config = smoke(method="base")
    first = gdwlib.run(config, outputs=tmp_path, progress=False)
    whole = (first.path / name).read_bytes()
    (first.path / name).write_bytes(whole[: len(whole) // 2])
    again = gdwlib.run(config, outputs=tmp_path)
    said = capfd.readouterr().err
    assert name in said or "not a readable record" in said
    assert "computing it again" in said and timeless(again.metrics) == timeless(first.metrics)


class Stop(Exception):
    pass


def interrupted(config, outputs, monkeypatch, after):
    """Train, but stop after so many epochs, as if the process had ended there."""
    save, count = RunFolder.save_checkpoint, [0]

    def stopping(self, state):
        save(self, state)
        count[0] += 1
        if count[0] == after:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", stopping)
        with pytest.raises(Stop):
            gdwlib.run(config, outputs=outputs, progress=False)


@pytest.mark.parametrize("method", gdwlib.METHODS)
def test_every_method_resumes_bit_for_bit(method, tmp_path, monkeypatch):
    config = smoke(method=method, epochs=4, augment=True)
    unbroken = gdwlib.run(config, outputs=tmp_path / "a", progress=False)
    interrupted(config, tmp_path / "b", monkeypatch, 1)
    interrupted(config, tmp_path / "b", monkeypatch, 2)
    resumed = gdwlib.run(config, outputs=tmp_path / "b", progress=False)
    assert timeless(unbroken.metrics) == timeless(resumed.metrics)
    ours, theirs = resumed.model(10, 1).state_dict(), unbroken.model(10, 1).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_that_goes_on_elsewhere_says_where_it_began(tmp_path, monkeypatch):
    config = smoke(method="base", epochs=4)
    config_file = tmp_path / "runs" / config.run_id / "config.json"
    for after, device in ((1, "NVIDIA H200"), (2, "NVIDIA H100")):
        interrupted(config, tmp_path, monkeypatch, after)  # epochs 1, and 2 and 3
        written = json.loads(config_file.read_text())
        written["environment"]["device"] = device
        config_file.write_text(json.dumps(written))
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    began = [(part["epochs"], part["device"]) for part in record.environment["earlier"]]
    assert began == [(1, "NVIDIA H200"), (3, "NVIDIA H100")]
    assert record.environment["device"].startswith("cpu")


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "foreign"])
def test_a_damaged_checkpoint_is_said_and_not_used(damage, tmp_path, monkeypatch, capfd):
    config = smoke(method="gdw", epochs=3)
    unbroken = gdwlib.run(config, outputs=tmp_path / "a", progress=False)
    interrupted(config, tmp_path / "b", monkeypatch, 2)
    path = tmp_path / "b" / "runs" / config.run_id / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[:-200]
    elif damage == "emptied":
        content = b""
    elif damage == "altered":
        content[len(content) // 2] ^= 1
    else:
        torch.save({"something": "else"}, path)
        content = path.read_bytes()
    path.write_bytes(content)
    again = gdwlib.run(config, outputs=tmp_path / "b")
    assert (
        "damaged" in (said := capfd.readouterr().err)
        and "starting again from the first epoch" in said
    )
    assert timeless(again.metrics) == timeless(unbroken.metrics)


def test_a_checkpoint_that_does_not_fit_the_code_is_said_and_not_used(tmp_path, monkeypatch, capfd):
    config = smoke(method="gdw", epochs=3)
    unbroken = gdwlib.run(config, outputs=tmp_path / "a", progress=False)
    interrupted(config, tmp_path / "b", monkeypatch, 2)
    folder = RunFolder(tmp_path / "b", config)
    state, _ = folder.load_checkpoint(torch.device("cpu"))
    del state["method"]["weight_net"]["out.bias"]
    folder.save_checkpoint(state)
    again = gdwlib.run(config, outputs=tmp_path / "b", progress=False)
    assert "does not fit this code" in capfd.readouterr().err
    assert timeless(again.metrics) == timeless(unbroken.metrics)


@pytest.mark.parametrize("forgery", ["result", "no sums", "other run"])
def test_a_record_that_does_not_agree_with_itself_is_not_shown(forgery, tmp_path, capfd):
    config = smoke(method="base")
    first = gdwlib.run(config, outputs=tmp_path, progress=False)
    path = first.path / "result.json"
    result = json.loads(path.read_text())
    if forgery == "result":
        path.write_text(json.dumps(result | {"final_accuracy": 99.9}))
    elif forgery == "no sums":
        path.write_text(json.dumps({"sha256": {}}))
    else:
        other = gdwlib.run(smoke(method="base", seed=1), outputs=tmp_path, progress=False)
        for file in other.path.iterdir():
            (first.path / file.name).write_bytes(file.read_bytes())
    again = gdwlib.run(config, outputs=tmp_path, progress=False)
    assert "computing it again" in capfd.readouterr().err and timeless(again.metrics) == timeless(
        first.metrics
    )


def test_what_a_kill_after_completion_leaves_is_removed(tmp_path):
    config = smoke(method="base")
    record = gdwlib.run(config, outputs=tmp_path, progress=False)
    (record.path / "checkpoint.pt").write_bytes(b"left over")
    gdwlib.run(config, outputs=tmp_path)
    assert not (record.path / "checkpoint.pt").exists()


def test_pooling_beyond_the_image_is_named(tmp_path):
    with pytest.raises(ValueError, match="pool: 29 is larger than the images"):
        gdwlib.run(smoke(pool=29), outputs=tmp_path, progress=False)


def test_single_image_step_is_a_step_of_each_run(tmp_path):
    """GDW's and MWNet's from their own networks, on the image that Base is surest of."""
    setting = dict(noise="uniform", noise_ratio=0.4, preset="smoke")
    config = gdwlib.RunConfig(**setting, clip=0.05)
    case = gdwlib.single_image_step(config, "shirt", "coat", outputs=tmp_path)
    assert case["shown"] == 0 and (case["true"][0], case["given"][0]) == (6, 4)
    moved = np.abs(case["class_weights"] - case["first_weights"])
    moved[np.arange(100), case["given"]] = 0  # Eq. 4 sets the target's
    assert moved.max() == pytest.approx(0.05, rel=1e-3)

    of_mwnet, of_base = (gdwlib.RunConfig(method=name, **setting) for name in ("mwnet", "base"))
    gdw, mwnet, base = (
        gdwlib.run(config, outputs=tmp_path, progress=False)
        for config in (config, of_mwnet, of_base)
    )
    split = gdwlib.load_split(config)
    mean, std = (np.reshape(part, (1, -1, 1, 1)) for part in (split.mean, split.std))

    def logits_of(network, images):  # (n, 1, 28, 28) → (n, 10)
        x = pooled(torch.as_tensor(images), config.pool).numpy() / 255
        with torch.no_grad():
            return network(torch.as_tensor((x - mean) / std, dtype=torch.float32))

    given = torch.as_tensor(case["given"])  # (n,)
    for record, first in ((gdw, case["first_weights"]), (mwnet, case["mwnet_first"])):
        logits = logits_of(record.model(10, 1).train(), case["images"])  # batch norm by the batch
        losses = torch.nn.functional.cross_entropy(logits, given, reduction="none")
        weights = record.weight_net()(losses[:, None]).detach().numpy()  # (n, 1)
        assert np.allclose(first, weights, atol=1e-4)
        if record is gdw:
            assert np.allclose(case["probs"], logits.softmax(1), atol=1e-4)
    assert (str(case["run"]), str(case["mwnet_run"])) == (gdw.path.name, mwnet.path.name)
    assert (case["auroc"], case["mwnet_auroc"]) == (separation(gdw), separation(mwnet))

    such = (split.train.labels == 6) & (split.given == 4)
    sure = logits_of(base.model(10, 1), split.train.images[such]).softmax(1)[:, 6].numpy()
    assert case["id"] == split.train.ids[such][sure.argmax()]
    assert float(case["sure"]) == pytest.approx(sure.max(), abs=1e-4)
    with pytest.raises(ValueError, match="method: must be gdw .*, not 'mwnet'"):
        gdwlib.single_image_step(of_mwnet, "shirt", "coat", outputs=tmp_path)


def test_single_image_step_is_kept_and_does_not_need_the_networks_of_the_record(tmp_path):
    config = gdwlib.RunConfig(noise="uniform", noise_ratio=0.4, preset="smoke", clip=0.05)
    first = gdwlib.single_image_step(config, "shirt", "coat", outputs=tmp_path)
    (kept,) = (tmp_path / "figures").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    for path in tmp_path.glob("runs/*/*.pt"):
        path.unlink()
    again = gdwlib.single_image_step(config, "shirt", "coat", outputs=tmp_path)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    with pytest.raises(ValueError, match="no class 'shrit'; did you mean 'shirt'"):
        gdwlib.single_image_step(config, "shrit", "coat", outputs=tmp_path)


class Executed:
    def __reduce__(self):
        return print, ("executed",)


def test_a_hostile_checkpoint_is_not_executed(tmp_path, monkeypatch, capfd):
    config = smoke(method="base", epochs=2)
    interrupted(config, tmp_path, monkeypatch, 1)
    torch.save(Executed(), tmp_path / "runs" / config.run_id / "checkpoint.pt")
    gdwlib.run(config, outputs=tmp_path)
    output = capfd.readouterr()
    assert "executed" not in output.out and "damaged" in output.err


def test_two_processes_never_train_the_same_run(tmp_path):
    config = smoke(method="base")
    with RunFolder(tmp_path, config).locked():
        with pytest.raises(RecordError, match=r"process \d+ on .* is training this run"):
            gdwlib.run(config, outputs=tmp_path, progress=False)
    assert gdwlib.run(config, outputs=tmp_path, progress=False).metrics


def test_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "outputs").write_text("a file")
    with pytest.raises(
        RecordError, match="cannot be written .*choose another folder with --outputs"
    ):
        gdwlib.run(smoke(), outputs=tmp_path / "outputs", progress=False)


COMMAND = [
    sys.executable,
    "-W",
    "ignore",
    "-m",
    "gdwlib",
    "run",
    "--preset",
    "smoke",
    "--method",
    "gdw",
    "--epochs",
    "20",
]


def test_a_full_disk_ends_in_one_line_and_no_complete_record(tmp_path):
    """The process may not write files above 200 kB: the first checkpoint does not fit."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "from gdwlib.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, *COMMAND[5:], "--outputs", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert (
        "checkpoint.pt: cannot be written (File too large); make room"
        in ended.stderr.splitlines()[-1]
    )
    assert "Traceback" not in ended.stderr
    assert {path.name for path in (tmp_path / "runs").glob("*/*")} == {"config.json"}


@pytest.mark.ci
def test_kill_9_at_random_moments_changes_nothing(tmp_path):
    """A real process, really killed, several times; the resumed record equals an unbroken one bit
    for bit."""
    threads = {"OMP_NUM_THREADS": "1", "PATH": ""}
    unbroken = tmp_path / "unbroken"
    subprocess.run(
        [*COMMAND, "--outputs", str(unbroken)],
        check=True,
        capture_output=True,
        env=threads,
        timeout=300,
    )
    broken, moments = tmp_path / "broken", random.Random(4)
    kills = kept = 0
    for _ in range(5):
        process = subprocess.Popen(
            [*COMMAND, "--outputs", str(broken)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=threads,
        )
        while process.poll() is None and not list(broken.glob("runs/*/owner.json")):
            time.sleep(0.01)
        time.sleep(moments.uniform(0.2, 1.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        for owner in broken.glob("runs/*/owner.json"):
            owner.unlink()  # only so that the next round sees its own
        kept = max(
            [
                kept,
                *(
                    len(path.read_text().splitlines())
                    for path in broken.glob("runs/*/metrics.jsonl")
                ),
            ]
        )
    assert kills >= 3
    ended = subprocess.run(
        [*COMMAND, "--outputs", str(broken)],
        capture_output=True,
        text=True,
        env=threads,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    if 0 < kept < 20:  # the checkpoint is written just before the line
        assert any(
            f"resuming after epoch {epoch} of 20" in ended.stderr for epoch in (kept, kept + 1)
        )
    (one,), (two,) = unbroken.glob("runs/*"), broken.glob("runs/*")
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}

    def read(folder):
        return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    assert timeless(read(one)) == timeless(read(two))
    for name in ("examples.npz", "model.pt"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_copy_without_git_is_told_its_revision(monkeypatch):
    """Where git knows nothing, a record still says which code it comes from."""
    monkeypatch.setenv("GDWLIB_REVISION", "0123456789ab")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=""))
    assert machine.environment(torch.device("cpu"))["git_revision"] == "0123456789ab"


def test_float32_is_no_tf32_in_a_run_and_the_users_setting_elsewhere(tmp_path, monkeypatch):
    """And nothing that PyTorch warns of, or cannot read afterwards."""
    seen = []
    whole = training.build_method
    monkeypatch.setattr(
        training, "build_method", lambda *given: seen.append(tf32()) or whole(*given)
    )

    def tf32():
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    assert tf32() == (True, False)  # PyTorch's defaults
    gdwlib.run(smoke(method="base"), outputs=tmp_path, progress=False)
    assert tf32() == (True, False)
    run_replicas(
        [smoke(method="base", seed=seed) for seed in (1, 2)], outputs=tmp_path, progress=False
    )
    assert tf32() == (True, False) and seen == [(False, False)] * 3
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        gdwlib.run(smoke(method="base", seed=3), outputs=tmp_path, progress=False)
        assert tf32() == (True, True) and seen[3] == (False, False)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
