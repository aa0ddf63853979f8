"""The house: data flow one way, and a stranger finds the room."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "gdwlib"
FLOORS = (  # each imports what stands before it
    # the thin library
    "_types", "weighting", "forward_mode", "bilevel", "optimizers", "learner", "models", "gdw",
    "data", "methods", "engines", "runs", "sweeps", "companion", "bench", "cli", "__main__",
)  # fmt: skip
FILES = [
    path.relative_to(PACKAGE)
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
]


def imported(file: Path) -> set[str]:
    """The floors that a file imports from, also within functions."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "gdwlib"
        ):
            names = (
                [alias.name for alias in node.names]
                if node.module == "gdwlib"
                else [node.module.split(".")[1]]
            )
            found.update(name for name in names if name != "__version__")
        elif isinstance(node, ast.Import):
            found.update(a.name.split(".")[1] for a in node.names if a.name.startswith("gdwlib."))
    return found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_go_one_way(file):
    own = FLOORS.index(file.parts[0].removesuffix(".py"))
    above = {name for name in imported(file) if FLOORS.index(name) > own}
    assert not above, f"{file} imports {above}, which stand below it"


def test_the_roots_of_package_and_tests_are_short():
    assert len([path for path in PACKAGE.iterdir() if path.suffix == ".py"]) <= 10
    folders = {
        path.name
        for path in (PACKAGE.parent / "tests").iterdir()
        if path.is_dir() and path.name[0] != "_"
    }
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders - {"project"} <= rooms
