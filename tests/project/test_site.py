"""`make site` from what is committed: links lead somewhere, nothing is fetched, figures tell where
they come from."""

import importlib.util
import json
import re
import sys
import time
from pathlib import Path

import pytest

import gdwlib

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("default")  # Sphinx's extensions'
def test_the_site(build, tmp_path, capfd):
    before = time.time()
    sys.path.insert(0, str(ROOT))
    assert build.main(tmp_path) == 0, capfd.readouterr().err
    assert time.time() - before < 240  # two minutes where nothing else runs
    site = tmp_path / "html"
    pages = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    assert len([name for name in pages if name.startswith("notebooks/")]) == len(
        list(ROOT.glob("notebooks/*.ipynb"))
    )
    fetched = re.compile(r"""<(?:script|link|img)[^>]+(?:src|href)=["'](?:https?:)?//""")
    assert not [name for name, text in pages.items() if fetched.search(text)]
    assert (site / "searchindex.js").is_file() and "data-theme" in "".join(pages.values())
    # equations: set by number, and linked from the text and the reference
    numbers = set(re.findall(r'id="equation-(\d+)"', "".join(pages.values())))
    assert numbers == {str(number) for number in range(1, 13)}
    assert "02_zero_mean_constraint.html#equation-4" in pages["api.html"]
    described = set(re.findall(r'id="(?:module-)?gdwlib\.(?:[\w.]+\.)?(\w+)"', pages["api.html"]))
    assert set(gdwlib.__all__) <= described
    assert "From a run that the notebook trains itself" in pages["notebooks/10_your_own_data.html"]
    assert "<math" in pages["notebooks/02_zero_mean_constraint.html"]
    # figures: the runs of committed records, with seeds and revisions
    every = json.loads((tmp_path / "source" / "provenance.json").read_text())
    in_git = bool(build.revision(ROOT / "README.md"))
    assert len(every) >= 25 and all(bool(one["revision"]) == in_git for one in every)
    from_runs = [one for one in every if one["seeds"]]
    assert len(from_runs) >= 15 and all(one["code"] and one["hashes"] for one in from_runs)
    run = from_runs[0]["runs"][0]
    assert (
        run in pages[f"notebooks/{from_runs[0]['notebook']}.html"]
        and (ROOT / "outputs" / "runs" / run).is_dir()
    )


def test_broken_links_are_found(build, tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">b</a> <a href="#x">x</a> <img src="c.png"> <a href="b.html#no">'
    )
    (tmp_path / "b.html").write_text('<p id="there"></p><a href="https://elsewhere.org/">else</a>')
    found = list(build.broken(tmp_path))
    assert [line.split(": ")[1].split(" ")[0] for line in found] == ["#x", "c.png", "b.html#no"]
