"""The project as people pick it up: the lock file, the notebooks, the declared environment."""

import ast
import base64
import importlib
import inspect
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import papermill
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from test_lab import CHROMIUM, DIFFERENT, NOTEBOOKS

import gdwlib
from gdwlib.runs.folders import project_folder

ROOT = Path(__file__).parents[2]
IN_NO_BROWSER = [path for path in NOTEBOOKS if CHROMIUM is None or path.stem not in DIFFERENT]


def locked():
    """name → [(version, marker)] of requirements.lock."""
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith((" ", "#", "-")):
            requirement = Requirement(line.rstrip("\\ "))
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pins.setdefault(canonicalize_name(requirement.name), []).append(
                (specifier.version, requirement.marker)
            )
    return pins


def required(project, extras):
    """Every requirement of the project with these extras, its references to itself followed."""
    for text in project["dependencies"] + [
        r for extra in extras for r in project["optional-dependencies"][extra]
    ]:
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
            assert version in requirement.specifier, (
                f"{requirement} against {version}; run `make lock`"
            )


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
    there = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "gdwlib").rglob("__init__.py")
    }
    assert set(listed) == there


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_were_executed_in_order_and_carry_figures(path):
    notebook = json.loads(path.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # nbval does not compare cells without an execution count
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [
        output
        for output in outputs
        if output["output_type"] == "error" or output.get("name") == "stderr"
    ]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    tagged = [k for k, cell in enumerate(code) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1 and "gdwlib.check_parameters(" in "".join(code[tagged[0] + 1]["source"])
    assert path.stat().st_size < 1_500_000


@pytest.mark.filterwarnings("default")  # of papermill and the kernel's protocol
@pytest.mark.parametrize("path", IN_NO_BROWSER, ids=lambda path: path.stem)
def test_every_notebook_runs_at_the_smoke_preset(path, execute, smoke_parameters):
    """Those of a table with three of its methods; in CI the browser runs them with all."""
    few = {"methods": ["base", "mwnet", "gdw"]} if "methods = None" in path.read_text() else {}
    ran = execute(path, smoke_parameters(path) | few)
    assert all(cell.execution_count for cell in ran.cells if cell.cell_type == "code")


@pytest.mark.filterwarnings("default")
def test_the_scorecard_needs_no_records(execute, tmp_path):
    execute(ROOT / "notebooks" / "11_scorecard.ipynb", {"outputs": str(tmp_path)})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_misspelt_notebook_parameter_is_an_error(path):
    """Of each notebook the cells up to the check, without a kernel; papermill hands parameters over
    as a cell."""
    code = [
        "".join(cell["source"])
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    parameters, check = code[:2]
    assert "preset = " in parameters and "gdwlib.check_parameters(" in check
    for given, message in (
        ("presett = 'smoke'", "no parameter 'presett'; did you mean 'preset'"),
        ("preset = 'smal'", "preset: unknown value 'smal'; did you mean 'small'"),
    ):
        with pytest.raises(ValueError, match=message):
            exec("\n".join((parameters, given, check)), {})


@pytest.mark.filterwarnings("default")
def test_papermill_is_told_of_a_misspelt_parameter(execute):
    with pytest.raises(
        papermill.PapermillExecutionError, match="no parameter 'presett'; did you mean 'preset'"
    ):
        execute(ROOT / "notebooks" / "09_cost.ipynb", {"presett": "smoke"})


PUBLIC = [name for name in gdwlib.__all__ if callable(getattr(gdwlib, name))]
SHAPE = re.compile(r"\((?:N|n|m|M|C|K|F|channels|largest)\b[^)]*\)|[Ee]xamples per class")


def unwrapped(part):
    """The function of a property, a cached one, a class method or a static one."""
    names = ("fget", "func", "__func__")
    return next(
        (getattr(part, name) for name in names if getattr(part, name, None) is not None), part
    )


@pytest.mark.parametrize("name", gdwlib.__all__)
def test_public_names_are_documented(name):
    """Everything has a docstring of its own; where arrays or tensors go in or out, with their
    shapes."""
    thing = getattr(gdwlib, name)
    if name not in PUBLIC:  # registries and constants, of which their module speaks
        return
    # a dataclass's own signature is none
    assert thing.__doc__ and not thing.__doc__.startswith(f"{name}("), name
    of_class = vars(thing).items() if inspect.isclass(thing) else ()
    parts = {
        key: inspect.unwrap(unwrapped(part)) for key, part in of_class if not key.startswith("_")
    }
    methods = [part for part in parts.values() if inspect.isfunction(part)]
    assert not [method for method in methods if not method.__doc__]
    made = [(thing.__init__, thing.__doc__)] if inspect.isclass(thing) else [(thing, thing.__doc__)]
    for call, text in [*made, *((method, method.__doc__) for method in methods)]:
        hints = " ".join(str(hint) for hint in getattr(call, "__annotations__", {}).values())
        if re.search(r"ndarray|Tensor", hints):
            told = f"{text} {hints}"
            assert SHAPE.search(told) or re.search(r"(Float|Int)\[Tensor, ' ?[\w ]*'", told), call


def names_spoken_of(path):
    """The names of gdwlib in a notebook's text that lead to something; and what it links to must be
    there."""
    cells = [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in json.loads(path.read_text())["cells"]
    ]
    text = "\n".join(source for kind, source in cells if kind == "markdown")
    code = ast.parse("\n".join(source for kind, source in cells if kind == "code"))
    known = {
        alias.name
        for node in ast.walk(code)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    found = set()
    for name in re.findall(r"`((?:\w+\.)+\w+)(?:\(.*?\))?`", text):
        first, *rest = name.split(".")
        if first == "gdwlib" or (first in known and first in gdwlib.__all__):
            found.add(name)
            thing = gdwlib if first == "gdwlib" else getattr(gdwlib, first)
            for part in rest:
                fields = getattr(thing, "__dataclass_fields__", {})
                if part in fields:
                    break
                try:
                    thing = getattr(thing, part)
                except AttributeError:
                    thing = importlib.import_module(f"{thing.__name__}.{part}")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link:
            assert (path.parent / link.split("#")[0]).exists(), link
    return found


def test_notebooks_speak_of_what_exists():
    """Names of gdwlib in their text, and the files they link to."""
    spoken = {path.stem: names_spoken_of(path) for path in NOTEBOOKS}
    assert len(set().union(*spoken.values())) > 5, spoken


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_in_a_notebooks_text_stands_whole(path):
    """The fences of a block on lines of their own, inline code within its line."""
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            text = re.sub(r"^```\w*\n(.*\n)*?```$", "", "".join(cell["source"]), flags=re.M)
            assert not [line for line in text.splitlines() if "```" in line or line.count("`") % 2]


# the data; a descent on one logit
DRAWN_FROM_CODE = {("00_quickstart", 0), ("02_zero_mean_constraint", 0)}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_figures_name_their_runs(path):
    """What they are drawn from, runs or measurements; and these are there, but for the runs of
    notebook 10's folder."""
    outputs = [
        output
        for cell in json.loads(path.read_text())["cells"]
        for output in cell.get("outputs", [])
    ]
    images = [
        base64.b64decode(o["data"]["image/png"])
        for o in outputs
        if "image/png" in o.get("data", {})
    ]
    named = [Image.open(io.BytesIO(image)).info.get("Keywords", "").split() for image in images]
    assert {(path.stem, k) for k, sources in enumerate(named) if not sources} == {
        (name, k) for name, k in DRAWN_FROM_CODE if name == path.stem
    }
    for source in {
        source for sources in named for source in sources if not source.startswith("folder-")
    }:
        outputs = project_folder("outputs")
        assert (outputs / "runs" / source).is_dir() or (outputs / source).is_file(), source


@pytest.mark.filterwarnings("default")
def test_a_wheel_runs_the_quickstarts_path(tmp_path):
    """Built and installed elsewhere, without a checkout: notebook 00's runs and its table."""
    source = tmp_path / "source"  # builds leave files behind
    shutil.copytree(
        ROOT / "gdwlib", source / "gdwlib", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, source], check=True
    )
    (wheel,) = tmp_path.glob("gdwlib-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True)
    (tmp_path / "elsewhere").mkdir()
    program = (
        "import gdwlib; from gdwlib.companion import paper_tables, plots\n"
        "setting = dict(dataset='fashion', noise='uniform', noise_ratio=0.6, preset='smoke')\n"
        "methods = ('base', 'meta_only', 'mwnet', 'gdw')\n"
        "records = [gdwlib.run(gdwlib.RunConfig(method=m, **setting), progress=False) for m in "
        "methods]\n"
        "print(gdwlib.__file__); print(len(plots.accuracy_table(records)), "
        "paper_tables.paper_numbers().shape[0])"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    del environment["GDWLIB_OUTPUTS"]  # of the tests
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, counts = done.stdout.splitlines()
    assert where.startswith(str(tmp_path / "site")) and counts == "4 178"
    assert len(list((tmp_path / "elsewhere" / "outputs" / "runs").iterdir())) == 4
