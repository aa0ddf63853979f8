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
def smoke_parameters(tmp_path_factory):
    """→ a notebook's parameters at `smoke`, with one folder of records for all, as a reader would have it."""
    outputs = str(tmp_path_factory.mktemp("outputs"))

    def parameters(path):
        given = {"preset": "smoke", "outputs": outputs}
        if "seeds = [0, 1, 2]" in path.read_text():
            given["seeds"] = [0, 1]
        if 'dataset = \\"cifar10n\\"' in path.read_text():
            given["dataset"] = "fashion"  # which needs no download
        return given

    return parameters
