"""Each row of the client stack is proven: by a scenario, and by a mutant that it catches."""

from __future__ import annotations

import json

from click.testing import CliRunner

from harness.cli.listing import listing
from harness.coverage import ROWS, coverage

LATER = ("C3", "C4")
"""They come with the Graph server."""


def test_a_row_has_a_scenario_that_catches_a_mutant() -> None:
    found, broken = coverage()
    assert broken == []
    rows = [row for row in ROWS if row not in LATER]
    assert [row for row in rows if not found[row]] == [], "no scenario covers these"
    assert [row for row in rows if not any(found[row].values())] == [], "no scenario of these catches a mutant"


def test_the_listing_prints_rows_scenarios_and_mutants() -> None:
    shown = CliRunner().invoke(listing, ["scenarios", "--coverage"], standalone_mode=False)
    assert shown.exception is None
    assert "B7: error-log mail\n    business/error-flood: " in shown.output
    data = json.loads(CliRunner().invoke(listing, ["scenarios", "--coverage", "--json"], standalone_mode=False).output)
    assert list(data) == list(ROWS)
    assert "every-error-is-mailed" in data["B7"]["scenarios"]["business/error-flood"]
