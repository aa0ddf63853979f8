"""The examples in docstrings are what Python says."""

import doctest
import importlib
import pkgutil

import pytest

import gdwlib

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(gdwlib.__path__, "gdwlib.")
    if not name.endswith("__main__")
]


FINDER = doctest.DocTestFinder(exclude_empty=True)
WITH_EXAMPLES = {
    test.name: test
    for name in MODULES
    for test in FINDER.find(importlib.import_module(name))
    if test.examples
}


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name):
    assert not doctest.DocTestRunner().run(WITH_EXAMPLES[name]).failed


def test_there_are_examples():
    there = {name.split(".")[-1] for name in WITH_EXAMPLES}
    assert {"zero_mean", "corrupt_labels", "RunConfig", "run", "load_split"} <= there
