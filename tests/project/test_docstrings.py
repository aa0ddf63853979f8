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


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert not results.failed


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    there = {
        test.name.split(".")[-1]
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        if test.examples
    }
    assert {"zero_mean", "corrupt_labels", "RunConfig", "run", "load_split"} <= there
