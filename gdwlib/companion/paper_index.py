"""Every table and figure of the paper: where it is here, and how far our records agree with it."""

from collections import Counter

import pandas as pd

from gdwlib.companion.claims import CLAIMS, COUNTED
from gdwlib.companion.evidence import Evidence
from gdwlib.companion.paper_tables import TABLES, printed_gap
from gdwlib.companion.tables import OPEN, OPPOSITE, SAME, compare, row_name
from gdwlib.companion.verdicts import CONTRADICTED, REPRODUCED, UNDECIDED

# of the paper → what it shows, the notebooks that show it from our side
PLACES = {
    "Table 1": (
        "related methods: what they handle, what they learn",
        "04 (one line for each method), 09 (what a step costs)",
    ),
    "Table 2": ("uniform label noise", "04"),
    "Table 3": ("flip label noise", "05"),
    "Table 4": ("class imbalance", "06"),
    "Table 5": ("Clothing1M", "07 (no records of Clothing1M; CIFAR-10N in its place)"),
    "Figure 1": ("why a weight for each class: a cat labelled “dog”", "01"),
    "Figure 2": ("the two stages of the weights", "03"),
    "Figure 3": ("ω_t of right and of wrong labels", "00, 04"),
    "Figure 4": ("one image's weights before and after a step", "03"),
    "Figure 5": ("which weights the meta step increases", "04"),
    "Figure 6": ("the smallest class and the second smallest", "06"),
    "Algorithm 1": ("the iteration", "03"),
    "Appendix B.2": ("without the zero-mean constraint (Figure 7)", "02, 04"),
    "Appendix D": ("more on imbalance: not available to us", "06 in its place"),
    "Appendix F": ("noise and imbalance at once: not available to us", "08 in its place"),
}


VERDICTS = (REPRODUCED, CONTRADICTED, UNDECIDED)


def paper_index(
    evidence: Evidence, dataset: str = "fashion", preset: str = "small"
) -> pd.DataFrame:
    """A row for each table or figure of the paper: `shows`, `notebook`, `claims` that name it
    and their verdicts on this data set and preset, and of Tables 2 to 4 the cells whose `sign of
    gain` has records here (`tables.compare`)."""
    rows = {}
    for place, (shows, notebook) in PLACES.items():
        verdicts = Counter(
            claim.verdict_on(evidence, dataset, preset).verdict
            for claim in (*CLAIMS, *COUNTED)
            if place in _places_of(claim.where)
        )
        rows[place] = {"shows": shows, "notebook": notebook, "claims": _counted(verdicts, VERDICTS)}
        number = int(place[-1]) if place.startswith("Table") else None
        if number in TABLES:
            frame = compare(number, evidence, dataset, preset)
            rows[place]["sign of gain"] = _counted(
                Counter(frame["sign of gain"]), (SAME, OPPOSITE, OPEN)
            )
    return pd.DataFrame.from_dict(rows, orient="index").fillna("–")


def _places_of(where: str) -> set[str]:
    """The tables and figures in a claim's `where`, as "Section 4.1, Tables 2 and 3"."""
    found = {place for place in PLACES if place in where}
    numbers = {"Tables 2 and 3": (2, 3), "Tables 2 to 4": (2, 3, 4)}
    return found | {
        f"Table {n}" for text, several in numbers.items() if text in where for n in several
    }


def _counted(counts: Counter, names: tuple[str, ...]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name]) or "–"


def shortfalls(evidence: Evidence, dataset: str = "fashion", preset: str = "small") -> pd.DataFrame:
    """The cells of Tables 2 to 4 where a method gains less over Base than the paper prints, or
    loses more: our mean lies below the paper's less two standard errors. `by more than chance`: so
    does our whole 95% interval. On another data set the sizes of gains need not agree; a shortfall
    is where to look for a mistake."""
    rows = {}
    for number, table in TABLES.items():
        frame = compare(number, evidence, dataset, preset)
        for row in frame.to_dict("records"):
            gain = row["over Base"]
            if gain is None or gain.seeds < 2 or not row["sign of gain"]:
                continue
            low, _ = printed_gap(
                number, frame.attrs["published"], row["level"], row["method"], "base"
            )
            if gain.mean < low:
                clean = row["level"] == table.levels[0]  # a column of every table
                where = (
                    "Tables 2 to 4, clean"
                    if clean
                    else f"Table {number}, {table.label(row['level'])}"
                )
                rows[where, row["method"]] = {
                    "where": where,
                    "method": row_name(row["method"]),
                    "the paper's gain over Base": f"{row['paper over Base']:+.2f}",
                    "ours": str(gain),
                    "by more than chance": "yes" if gain.high < low else "no",
                }
    columns = ["where", "method", "the paper's gain over Base", "ours", "by more than chance"]
    return pd.DataFrame(list(rows.values()), columns=columns).set_index("where")
