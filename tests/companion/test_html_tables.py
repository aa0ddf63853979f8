"""Tables as notebooks show them, and the short ones they open with."""

import re

import numpy as np
import pandas as pd
import pytest

from gdwlib.companion import figures, html_tables, tables
from gdwlib.companion.evidence import Evidence
from gdwlib.companion.html_tables import Sentence, Table, as_html

FRAME = pd.DataFrame(
    {"verdict": ["reproduced", "a < b & c"], "seeds": [3, 20], "mean": [1.5, np.nan]},
    index=pd.MultiIndex.from_tuples([("60%", "GDW"), ("60%", "Base")], names=["noise", "method"]),
)


def cells(html, kind):
    return re.findall(f'<{kind} style="([^"]*)"[^>]*>(.*?)</{kind}>', html)


def test_text_stands_left_and_numbers_right_under_their_heads():
    html = as_html(FRAME)
    assert [(style.split(": ")[1], text) for style, text in cells(html, "td")] == [
        ("left", "reproduced"), ("right", "3"), ("right", "1.5"),
        ("left", "a &lt; b &amp; c"), ("right", "20"), ("right", "–"),
    ]  # fmt: skip
    assert cells(html, "th")[:5] == [
        ("text-align: left", "noise"),
        ("text-align: left", "method"),
        ("text-align: left", "verdict"),
        ("text-align: right", "seeds"),
        ("text-align: right", "mean"),
    ]
    assert html.count("<tr") == 3  # the names of the index share the line of the columns'


def test_several_lines_of_heads_are_left_as_they_are():
    html = as_html(pd.concat({"ours": FRAME}, axis=1))
    assert len(cells(html, "td")) == 6 and "ours" in html


def test_a_long_table_is_folded_and_its_text_is_whole():
    table = Table(FRAME, "All <2> rows", {"reproduced": "#123456"})
    html = table._repr_html_()
    assert html.startswith("<details><summary>All &lt;2&gt; rows</summary><table")
    assert ("text-align: left; color: #123456; font-weight: bold", "reproduced") in cells(
        html, "td"
    )
    assert repr(table) == f"All <2> rows\n{FRAME.to_string()}"
    assert repr(Table(FRAME)) == FRAME.to_string() and "<details>" not in Table(FRAME)._repr_html_()
    assert repr(Sentence("Nothing yet.")) == "Nothing yet."


def test_frames_are_shown_so_in_a_notebook_and_nowhere_else(monkeypatch):
    html_tables.left_align_frames()  # no notebook, nothing happens
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    html_tables.left_align_frames()
    shown, _ = shell.display_formatter.format(FRAME)
    assert shown["text/html"] == as_html(FRAME)


@pytest.fixture(scope="module")
def evidence():
    return Evidence()


def test_the_short_table_has_base_mwnet_gdw_and_the_highest_means(evidence):
    frame = tables.compare(3, evidence, "fashion", "small", levels=[0.2, 0.4])
    rows = tables.short(frame)
    assert {level for level, _ in rows.index} == {"40%"}
    ours = frame[(frame["level"] == 0.4) & (frame["recipe"] == "paper")].set_index("method")["ours"]
    others = ours.drop(["base", "mwnet", "gdw"]).nlargest(3).index
    names = {tables.row_name(method) for method in ("base", "mwnet", "gdw", *others)}
    assert {method for _, method in rows.index} == names
    means = [float(text.split(" ")[0]) for text in rows["ours, fashion"]]
    assert means == sorted(means, reverse=True)
    nothing = tables.compare(3, evidence, "fashion", "smoke", levels=[0.4])
    assert set(tables.short(nothing)["ours, fashion"]) == {"–"}


def test_the_largest_gain_stands_first_and_a_far_baseline_squeezes_no_panel(evidence):
    frame = tables.compare(2, evidence, "fashion", "small", levels=[0.4, 0.6])
    figure = figures.gains(frame, evidence)
    left, right = figure.axes
    assert left.get_yticklabels()[0].get_text() == "GDW"  # at 60%
    assert left.get_xlim()[0] > -3 and [text.get_text() for text in left.texts] == [" ← -11.3 "]
    assert not right.texts  # there it fits
