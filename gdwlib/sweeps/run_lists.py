"""Lists of runs: as a file, which of them have no record yet, and how long they will take."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from gdwlib.runs.config import PATH_FIELDS, RunConfig
from gdwlib.runs.run_folder import RunFolder


def read_runs(path: Path) -> list[RunConfig]:
    """The runs of a list: a JSON object of `RunConfig` fields a line. (Other keys: `run_id`, which
    is checked.)

    Raises:
        ValueError: no such file, or a line that is no run, named.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable list of runs ({error})") from error
    runs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            run_id = fields.pop("run_id", None)
            runs.append(RunConfig(**fields))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if run_id not in (None, runs[-1].run_id):
            raise ValueError(
                f"{path}, line {number}: {run_id} is now {runs[-1].run_id}; write the list again"
            )
    return list(dict.fromkeys(runs))


def to_line(config: RunConfig) -> str:
    """A run as a line of a list: its id and the fields that make it. The reverse of `read_runs`."""
    kind = {
        name: getattr(config, name)
        for name in ("dataset", "method", "preset", "recipe", "imbalance", "seed")
    }
    kind |= {name: value for name in PATH_FIELDS if (value := getattr(config, name)) is not None}
    usual = RunConfig(**kind)
    fields = {"run_id": config.run_id, **kind}
    if config.recipe == "paper":
        del fields["recipe"]
    if config.imbalance == 1:
        del fields["imbalance"]
    for field in dataclasses.fields(config):
        if (value := getattr(config, field.name)) != getattr(usual, field.name):
            fields[field.name] = value
    return json.dumps(fields)


def missing(runs: Iterable[RunConfig], outputs: Path) -> list[RunConfig]:
    """Those without a complete record."""
    return [config for config in runs if RunFolder(outputs, config).load()[0] is None]


def expected_seconds(runs: Iterable[RunConfig], outputs: Path) -> float | None:
    """What the runs will take in all, by their records: of each the median over the seeds. None
    where one has none."""
    of: dict[RunConfig, list[float]] = {}
    for config in runs:
        record = RunFolder(outputs, config).load()[0]
        if record is None:
            return None
        of.setdefault(dataclasses.replace(config, seed=0), []).append(record.result["seconds"])
    return sum(median(seconds) * len(seconds) for seconds in of.values())
