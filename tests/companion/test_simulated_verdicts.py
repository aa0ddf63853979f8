"""The judge is put to the test itself: replications drawn from the paper's own printed cells, with
their leads, without them and with the opposite ones."""

import numpy as np
import pytest

from gdwlib.companion.claims import CLAIMS
from gdwlib.companion.evidence import mean_interval
from gdwlib.companion.sources import PrintedTables, Records
from gdwlib.companion.verdicts import CONTRADICTED, REPRODUCED, Scope

SEEDS, REPLICATIONS = 5, 100
BY_ACCURACY = [claim for claim in CLAIMS if claim.by_the_papers_table() is not None]


class Replication(Records):
    """Five seeds a cell, drawn from what the paper prints; of `instead`, another method's cell."""

    def __init__(self, rng, instead=None):
        super().__init__(None, "paper")
        object.__setattr__(self, "drawn", {})
        object.__setattr__(self, "rng", rng)
        object.__setattr__(self, "instead", instead or {})

    def accuracies(self, cell, diverged=False):
        if cell not in self.drawn:
            source = cell._replace(method=self.instead.get(cell.method, cell.method))
            printed = PrintedTables().printed(source)
            values = self.rng.normal(*printed, SEEDS) if printed else []
            self.drawn[cell] = dict(enumerate(values))
        return self.drawn[cell]

    def mean(self, cell, value):
        return None

    difference = mean

    def spread_ratio(self, ours, theirs):
        return None


def shares(claim, instead=None, replications=REPLICATIONS):
    """How often a claim is reproduced, and contradicted."""
    rng = np.random.default_rng(0)
    verdicts = [
        claim._judged(Replication(rng, instead)).verdict for _ in range(replications)
    ]
    return verdicts.count(REPRODUCED) / replications, verdicts.count(CONTRADICTED) / replications


def test_report():
    for k, claim in enumerate(BY_ACCURACY, 1):
        printed = claim.by_the_papers_table()
        print(k, claim.text[:70], "|", printed.verdict, shares(claim), shares(claim, {"gdw": "mwnet"}))
