# Trains a list of runs, each in a process of its own, and draws the tables that they fill.
# `python -m gdwlib sweep CAMPAIGN --cores N` writes the list and starts this; by hand, with a list that it wrote:
#     snakemake --cores 4 --config runs=outputs/sweeps/NAME.jsonl
# A run is finished when its result.json is there, whatever has become of this file since (profiles/default).
import json
import re
import shlex
import sys
from pathlib import Path

OUT = Path(config.get("outputs", "outputs"))
if "runs" not in config:
    sys.exit("Snakefile: name a list of runs: --config runs=FILE, as python -m gdwlib sweep CAMPAIGN --cores N writes it")
RUNS = {run.pop("run_id"): run for run in map(json.loads, Path(config["runs"]).read_text().splitlines())}
for id_, run in RUNS.items():  # of which paths are made
    for name in (id_, run.get("dataset"), run.get("preset")):
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            sys.exit(f"Snakefile: {config['runs']}: {name!r} is no run id, data set or preset")
LOGS = OUT / "sweeps" / "logs"
LOGS.mkdir(parents=True, exist_ok=True)
PLACES = int(config.get("runs_per_gpu", 0))  # runs that may share a GPU of this machine; 0: the cluster sees to that
SHOWN = [id_ for id_ in RUNS if not config.get("finished") or (OUT / "runs" / id_ / "result.json").exists()]


def flags(run_id):
    """The command line's flags of a run, quoted: a list of runs may come from anywhere."""
    words = []
    for name, value in RUNS[run_id].items():
        flag = name.replace("_", "-")
        words += [f"--no-{flag}" if value is False else f"--{flag}" if value is True else f"--{flag}={value}"]
    words += [f"--outputs={OUT}"] + ([f"--data={config['data']}"] if "data" in config else [])
    return shlex.join(words + ([f"--runs-per-gpu={PLACES}"] if PLACES else []))


def table_of(run):
    """The number of the paper's table that a run stands in; right labels are a column of each of them."""
    if not run.keys() <= {"dataset", "method", "preset", "recipe", "seed", "noise", "noise_ratio", "imbalance"}:
        return None  # a variant
    noise, mu = run.get("noise", "none"), run.get("imbalance", 1)
    return None if noise != "none" and mu < 1 else {"uniform": 2, "flip": 3}.get(noise, 4 if mu < 1 else None)


def results(run_ids):
    return [OUT / "runs" / run_id / "result.json" for run_id in run_ids]


TABLES = {(str(table_of(run)), run["dataset"], run["preset"]) for id_ in SHOWN if table_of(run := RUNS[id_])}
PAGES = [OUT / "tables" / f"table{number}-{dataset}-{preset}.html" for number, dataset, preset in sorted(TABLES)]
OVERVIEW = OUT / "sweeps" / f"{Path(config['runs']).stem}-runs.html"


localrules: all, table, overview  # on a cluster only the runs are submitted


rule all:
    input: results(SHOWN), PAGES, OVERVIEW


rule train:
    output: update(OUT / "runs" / "{run_id}" / "result.json")  # not removed first, should somebody else have made it
    params:
        flags=lambda wildcards: flags(wildcards.run_id),
        log=lambda wildcards: LOGS / f"{wildcards.run_id}.log",  # no `log:`, which begins anew what others write to
    priority: lambda wildcards: len(RUNS) - list(RUNS).index(wildcards.run_id)  # in the list's order
    threads: int(config.get("threads", 1))
    resources: gpu_places=1 if PLACES else 0
    shell: "echo >> {params.log:q}; {sys.executable:q} -m gdwlib run {params.flags} --wait >> {params.log:q} 2>&1"


rule table:
    input:
        lambda of: results(id_ for id_ in SHOWN if (RUNS[id_]["dataset"], RUNS[id_]["preset"]) == (of.dataset, of.preset)
                           and (table_of(RUNS[id_]) == int(of.number) or table_of(RUNS[id_]) is None)),
    output:
        report(OUT / "tables" / "table{number}-{dataset}-{preset}.html", category="Tables",
               labels={"table": "{number}", "data": "{dataset}", "preset": "{preset}"}),
        report(OUT / "figures" / "table{number}-{dataset}-{preset}.png", category="Figures",
               labels={"gains over Base": "{number}", "data": "{dataset}", "preset": "{preset}"}),
    shell:
        "{sys.executable:q} -m gdwlib table {wildcards.number:q} --dataset {wildcards.dataset:q} --preset {wildcards.preset:q} "
        "--outputs {OUT:q} --save > /dev/null"


rule overview:
    input: results(SHOWN)
    output: report(OVERVIEW, category="Runs", labels={"runs": "all of the list"})
    shell: "{sys.executable:q} -m gdwlib table {config[runs]:q} --outputs {OUT:q} --save > /dev/null"
