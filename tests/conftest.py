import os

os.environ.setdefault("TQDM_MININTERVAL", "1")

from jaxtyping import install_import_hook

# Every annotated shape and type in gdwlib is checked on every call the tests make.
hook = install_import_hook("gdwlib", "beartype.beartype")
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
