"""The committed notebooks show what the code and the committed records give: nbval executes every
cell and compares.

    python tests/check_notebooks.py [NOTEBOOK …]

This is the only place that calls nbval. Each notebook has a kernel of its own; all of them run two
at a time.
"""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CELL_SECONDS = "300"

if __name__ == "__main__":
    os.chdir(ROOT)
    # two kernels share the cores; and records were trained with one
    os.environ["OMP_NUM_THREADS"] = "1"
    options = [
        "--nbval",
        "--nbval-sanitize-with",
        "tests/nbval.cfg",
        "--nbval-cell-timeout",
        CELL_SECONDS,
    ]
    options += ["-p", "no:cacheprovider"]
    if not sys.argv[1:]:
        options += ["notebooks", "-n", "2", "--dist", "loadscope"]
    sys.exit(pytest.main([*sys.argv[1:], *options]))
