"""A sweep on a real Slurm, of two nodes on this machine, one of which is lost: `make test-cluster`
sets it up."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gdwlib
from gdwlib.runs.run_folder import RunFolder
from gdwlib.sweeps.run_lists import read_runs, to_line

DAEMONS = ("munged", "slurmctld", "slurmd")
CONF = Path("/etc/slurm/slurm.conf")  # Snakemake's jobs look nowhere else

pytestmark = pytest.mark.skipif(
    "GDWLIB_TEST_CLUSTER" not in os.environ or not all(map(shutil.which, DAEMONS)) or CONF.exists(),
    reason="needs Slurm's daemons, not yet configured: make test-cluster",
)


def configuration(folder: Path) -> str:
    node = "NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000"
    return f"""
ClusterName=fake
SlurmctldHost=localhost
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
MinJobAge=600
NodeName=n1 {node} Port=16821
NodeName=n2 {node} Port=16822
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def of_node(name: str) -> list[int]:
    """The processes of a node's jobs, and those that started them there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURMD_NODENAME={name}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if "slurmstepd" in Path(f"/proc/{parent}/comm").read_text():
                    found.insert(0, parent)
                found.append(int(folder.name))
        except OSError:  # it has ended
            pass
    return found


def end(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@pytest.fixture
def cluster(tmp_path):
    """Two nodes that share this machine; nothing is left of them afterwards."""
    folder = tmp_path / "slurm"
    for name in ("munge", "state", "n1", "n2"):
        (folder / name).mkdir(parents=True, mode=0o755)
    for parent in (folder, *folder.parents[:-2]):
        parent.chmod(0o755)  # munge looks at all of them
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    CONF.parent.mkdir(exist_ok=True)
    CONF.write_text(configuration(folder))
    at = folder / "munge"
    try:
        slurm(
            "munged",
            "--force",
            f"--socket={at}/socket",
            f"--key-file={key}",
            f"--pid-file={at}/pid",
            f"--log-file={at}/log",
            f"--seed-file={at}/seed",
        )
        slurm("slurmctld")
        for node in ("n1", "n2"):
            slurm("slurmd", "-N", node)
        for _ in range(60):
            if slurm("sinfo", "-h", "-o", "%T").split() == ["idle"]:
                break
            time.sleep(0.5)
        assert "n[1-2]" in slurm("sinfo", "-h", "-t", "idle")
        yield folder
    finally:
        CONF.unlink()
        for pid_file in (*folder.glob("*.pid"), *at.glob("pid")):
            if Path(f"/proc/{pid_file.read_text().strip()}/comm").exists():
                end([int(pid_file.read_text())])
        end([*of_node("n1"), *of_node("n2")])


def test_a_node_is_lost_and_no_run_is(cluster, tmp_path):
    listed, outputs = tmp_path / "eight.jsonl", tmp_path / "outputs"
    common = {"preset": "smoke", "noise": "uniform", "noise_ratio": 0.6, "epochs": 12}
    configs = [
        gdwlib.RunConfig(method=m, seed=seed, **common)
        for m in ("base", "gdw")
        for seed in range(4)
    ]
    listed.write_text("".join(to_line(config) + "\n" for config in configs))
    assert read_runs(listed) == configs
    root = Path(gdwlib.__file__).parents[1]
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "gdwlib",
        "sweep",
        str(listed),
        "--outputs",
        str(outputs),
    ]
    command += [
        "--profile",
        str(root / "profiles" / "slurm"),
        "--",
        "--slurm-status-command",
        "squeue",
    ]
    command += ["--set-resources", "train:gpu=0", "train:mem_mb=2000"]
    with open(tmp_path / "told", "w") as told:
        sweep = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT, cwd=root)
    folders = [RunFolder(outputs, config).path for config in configs]

    lost: list[Path] = []  # runs with a finished epoch whose process is on n2
    while not lost and sweep.poll() is None:
        time.sleep(0.2)
        there = of_node("n2")
        for folder in folders:
            owner = folder / "owner.json"
            if (folder / "checkpoint.pt").exists() and owner.exists():
                if json.loads(owner.read_text())["pid"] in there:
                    lost.append(folder)
    assert lost, (tmp_path / "told").read_text()
    end([int((cluster / "n2.pid").read_text()), *of_node("n2")])
    slurm("scontrol", "update", "nodename=n2", "state=down", "reason=lost")
    before = {folder: len((folder / "metrics.jsonl").read_text().splitlines()) for folder in lost}
    assert not any((folder / "result.json").exists() for folder in lost)

    assert sweep.wait(540) == 0, (tmp_path / "told").read_text()
    told = (tmp_path / "told").read_text()
    assert "8 runs, 8 missing" in told and "8 finished" in told and "0 failed" in told
    for config, folder in zip(configs, folders, strict=True):
        record, wrong = RunFolder(outputs, config).load()
        assert record is not None, wrong
        # not one finished epoch was trained twice, and the numbers are those of a run left alone
        if folder in before:
            log = (outputs / "sweeps" / "logs" / f"{config.run_id}.log").read_text()
            assert f"resuming after epoch {before[folder]} of 12" in log
            alone = subprocess.run(
                [*command[:5], "run", *flags(config), "--outputs", str(tmp_path / "alone")],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                capture_output=True,
            )
            assert alone.returncode == 0
            whole = RunFolder(tmp_path / "alone", config).load()[0]
            assert [m["train_loss"] for m in whole.metrics] == [
                m["train_loss"] for m in record.metrics
            ]
    jobs = slurm("scontrol", "show", "jobs")
    assert jobs.count("ArrayTaskId=") >= 8 and jobs.count("Restarts=1") >= len(lost)


def flags(config: gdwlib.RunConfig) -> list[str]:
    fields = dataclasses.asdict(config) | json.loads(to_line(config))
    names = ("method", "preset", "seed", "noise", "noise_ratio", "epochs")
    return [word for name in names for word in (f"--{name.replace('_', '-')}", str(fields[name]))]
