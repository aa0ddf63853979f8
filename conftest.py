"""What all checks share, those of the notebooks by nbval too: they see the committed records and
nothing else."""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from jaxtyping import install_import_hook

# Every annotated shape and type of the modules that compute is checked on every call the tests
# make. (What users call first, GDW, RunConfig and the data functions, checks what it is given
# itself, and its messages are tested.)
COMPUTING = (
    "weighting",
    "forward_mode",
    "bilevel",
    "models",
    "methods",
    "data.batches",
    "runs.loading",
    "runs.training",
)
hook = install_import_hook([f"gdwlib.{name}" for name in COMPUTING], "beartype.beartype")
hook.__enter__()

import papermill  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from gdwlib.companion.evidence import copy_committed  # noqa: E402
from gdwlib.runs.folders import project_folder  # noqa: E402
from gdwlib.runs.records import RecordError  # noqa: E402

ROOT = Path(__file__).parent
# a kernel's start, and one cell; papermill itself waits for ever
START_SECONDS, CELL_SECONDS = 120, 300
LONGEST = ("test_lab", "test_project", "test_training", "test_workflow", "test_processes")


def pytest_configure(config):
    """Give the session, its workers and every kernel they start a copy of the committed records for
    outputs/."""
    if hasattr(config, "workerinput"):
        return
    copied = tempfile.mkdtemp(prefix="gdwlib-committed-")
    config.add_cleanup(lambda: shutil.rmtree(copied, ignore_errors=True))
    try:
        copy_committed(project_folder("outputs"), Path(copied))
    except RecordError as error:
        raise pytest.UsageError(str(error)) from error
    os.environ["GDWLIB_OUTPUTS"] = copied


def pytest_collection_modifyitems(items):
    """The longest files first, so that two workers end together; and cells that were never
    executed, which nbval passes over, are an error."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)
    for item in items:
        cell = getattr(item, "cell", None)  # of nbval
        if cell is not None and cell.execution_count is None:
            raise pytest.UsageError(
                f"{item.nodeid}: the notebook was saved with a cell not executed; make notebooks"
            )


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def smoke_parameters(tmp_path_factory):
    """→ a notebook's parameters at `smoke`, with one folder of records for all, as a reader would
    have it."""
    outputs = str(tmp_path_factory.mktemp("outputs"))

    def parameters(path):
        given = {"preset": "smoke", "outputs": outputs}
        if "seeds = [0, 1, 2]" in path.read_text():
            given["seeds"] = [0, 1]
        if 'dataset = \\"cifar10n\\"' in path.read_text():
            given["dataset"] = "fashion"  # which needs no download
        return given

    return parameters


@pytest.fixture
def execute(tmp_path):
    """→ what runs a notebook with parameters by papermill and returns the executed one, in time or
    not at all; of a cell that fails, what it printed is shown."""

    def run(path, parameters):
        out = tmp_path / path.name
        limits = {"start_timeout": START_SECONDS, "execution_timeout": CELL_SECONDS}
        try:
            return papermill.execute_notebook(
                path, out, parameters, cwd=path.parent, progress_bar=False, **limits
            )
        except Exception:
            with contextlib.suppress(Exception):
                cells = papermill.iorw.load_notebook_node(str(out)).cells
                last = [cell for cell in cells if cell.get("outputs")][-1]
                print(f"{path.name}: the last cell that ran\n{last.source}", file=sys.stderr)
                for output in last.outputs:
                    told = output.get("text") or output.get("data", {}).get("text/plain", "")
                    print(told or "\n".join(output.get("traceback", [])), file=sys.stderr)
            raise

    return run
