"""The result file and its tables."""

import json
from pathlib import Path
from typing import Any

import torch

from gdwlib.bench.setting import Setting
from gdwlib.runs.files import write_file
from gdwlib.runs.folders import Folders
from gdwlib.runs.machine import environment


def result_path(outputs: Path, setting: Setting) -> Path:
    """outputs/bench/torch2.15.0-cpu2-float32.json: on a CPU with the number of threads, else with
    the card's name."""
    device = f"cpu{torch.get_num_threads()}" if setting.device == "cpu" else setting.device
    if setting.device.startswith("cuda"):
        device = torch.cuda.get_device_name().lower().replace(" ", "-")
    return (
        outputs
        / "bench"
        / f"torch{torch.__version__.split('+')[0]}-{device}-{setting.precision}.json"
    )


def keep(path: Path, section: str, rows: list[dict] | dict, setting: Setting) -> None:
    """Put a section's measurements in the file, in the place of an older one's."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content[section] = {"environment": environment(torch.device(setting.device)), "rows": rows}
    write_file(path, (json.dumps(content, indent=1) + "\n").encode())


COLUMNS = {  # section → each column's key and format
    "steps": (
        ("step", ""),
        ("seconds", ".3f"),
        ("images_per_second", ".0f"),
        ("time_ratio", ".2f"),
        ("time_of_second_order_ratio", ".2f"),
        ("peak_mib", ".0f"),
        ("peak_mib_ratio", ".2f"),
        ("operations_ratio", ".2f"),
    ),
    "parts": (("step", ""), ("part", ""), ("seconds", ".3f")),
    "growth": (
        ("depth", ""),
        ("num_classes", ""),
        ("batch_size", ""),
        ("step", ""),
        ("seconds", ".3f"),
        ("time_ratio", ".2f"),
        ("peak_mib_ratio", ".2f"),
        ("operations_ratio", ".2f"),
    ),
    "replicas": (
        ("replicas", ""),
        ("depth", ""),
        ("size", ""),
        ("batch_size", ""),
        ("threads", ""),
        ("way", ""),
        ("seconds", ".3f"),
        ("time_ratio", ".2f"),
    ),
}
HEADS = {
    "seconds": "seconds",
    "images_per_second": "images/s",
    "time_ratio": "time ×",
    "time_of_second_order_ratio": "× double backward",
    "peak_mib": "peak MiB",
    "peak_mib_ratio": "memory ×",
    "operations_ratio": "operations ×",
    "num_classes": "C",
    "batch_size": "n",
}


def results(outputs: Path | str | None = None) -> dict[str, dict]:
    """Every result file by its name without .json; each maps a section to {"environment", "rows"}.

    Raises:
        FileNotFoundError: there are none.
    """
    folder = Folders.named(outputs).outputs / "bench"
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if not found:
        raise FileNotFoundError(
            f"{folder}: no measurements; make them: python -m gdwlib bench steps parts loop growth"
        )
    return found


def as_text(section: str, rows: Any) -> str:
    """A section as a table; a column that ends in × is over the first row's contestant, in the same
    rounds."""
    if section == "loop":
        parts = ", ".join(f"{name} {value:.2f}" for name, value in rows["seconds"].items())
        return (
            f"an epoch of {rows['dataset']} {rows['preset']} ({rows['method']}, "
            f"{rows['model']}, {rows['steps']} steps), seconds: {parts}; the step is "
            f"{rows['step_percent']:.1f}% of it"
        )
    columns = COLUMNS[section]
    table = [[HEADS.get(name, name) for name, _ in columns]]
    table += [
        [format(row[name], kind) if name in row else "" for name, kind in columns] for row in rows
    ]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            word.ljust(width) if kind == "" else word.rjust(width)
            for word, width, (_, kind) in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in table
    )
