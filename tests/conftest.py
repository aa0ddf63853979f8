from jaxtyping import install_import_hook

# Every annotated shape and type of the modules that compute is checked on every call the tests make. (What users call
# first, GDW, RunConfig and the data functions, checks what it is given itself, and its messages are tested.)
COMPUTING = ("weighting", "forward_mode", "bilevel", "models", "methods", "data.batches", "loading", "training")
hook = install_import_hook([f"gdwlib.{name}" for name in COMPUTING], "beartype.beartype")
hook.__enter__()

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True)
def one_seed():
    torch.manual_seed(0)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def smoke_outputs(tmp_path_factory):
    """One folder of records for all notebooks, in reading order, as a reader would have it."""
    return str(tmp_path_factory.mktemp("outputs"))
