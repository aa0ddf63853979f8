"""The project as people pick it up: the lock file, the notebooks, the declared environment."""

import json
import re
import tomllib
from pathlib import Path

import papermill
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def locked():
    """name → [(version, marker)] of requirements.lock."""
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith((" ", "#", "-")):
            requirement = Requirement(line.rstrip("\\ "))
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pins.setdefault(canonicalize_name(requirement.name), []).append((specifier.version, requirement.marker))
    return pins


def required(project, extras):
    """Every requirement of the project with these extras, its references to itself followed."""
    for text in project["dependencies"] + [r for extra in extras for r in project["optional-dependencies"][extra]]:
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) == project["name"]:
            yield from required(project | {"dependencies": []}, requirement.extras)
        else:
            yield requirement


def test_the_lock_satisfies_every_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = locked()
    for requirement in required(project, ["dev"]):
        found = pins.get(canonicalize_name(requirement.name))
        assert found, f"{requirement.name} is not in requirements.lock; run `make lock`"
        for version, _ in found:
            assert version in requirement.specifier, f"{requirement} against {version}; run `make lock`"


def test_the_lock_has_hashes_and_names_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "index-url" not in text
    for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_the_conda_environment_asks_for_this_project():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.11", "pip"] and pip == {"pip": ["--editable .[dev]"]}


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "gdwlib").rglob("__init__.py")}
    assert set(listed) == there


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_were_executed_in_order_and_carry_pictures(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # nbval does not compare cells without an execution count
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    tagged = [k for k, cell in enumerate(code) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1 and "gdwlib.check_parameters(" in "".join(code[tagged[0] + 1]["source"])
    assert path.stat().st_size < 1_500_000


@pytest.fixture(scope="session")
def smoke_outputs(tmp_path_factory):
    """One folder of records for all notebooks, in reading order, as a reader would have it."""
    return str(tmp_path_factory.mktemp("outputs"))


@pytest.mark.filterwarnings("default")  # of papermill and the kernel's protocol
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_runs_at_the_smoke_preset(path, tmp_path, smoke_outputs):
    parameters = {"preset": "smoke", "outputs": smoke_outputs}
    if "seeds = [0, 1, 2]" in path.read_text():
        parameters["seeds"] = [0, 1]
    if 'dataset = \\"cifar10n\\"' in path.read_text():
        parameters["dataset"] = "fashion"  # which needs no download
    papermill.execute_notebook(path, tmp_path / path.name, parameters, cwd=path.parent, progress_bar=False)
    ran = json.loads((tmp_path / path.name).read_text())
    assert all(cell["execution_count"] for cell in ran["cells"] if cell["cell_type"] == "code")


@pytest.mark.filterwarnings("default")
def test_the_scorecard_needs_no_records(tmp_path):
    path = ROOT / "notebooks" / "11_scorecard.ipynb"
    papermill.execute_notebook(
        path, tmp_path / path.name, {"outputs": str(tmp_path)}, cwd=path.parent, progress_bar=False
    )


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_misspelt_notebook_parameter_is_an_error(path, tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="no parameter 'presett'; did you mean 'preset'"):
        papermill.execute_notebook(
            path, tmp_path / path.name, {"presett": "smoke"}, cwd=path.parent, progress_bar=False
        )
    with pytest.raises(papermill.PapermillExecutionError, match="preset: unknown value 'smal'; did you mean 'small'"):
        papermill.execute_notebook(path, tmp_path / path.name, {"preset": "smal"}, cwd=path.parent, progress_bar=False)
