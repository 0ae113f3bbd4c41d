"""Each row of the client stack is proven: by a scenario, and by a mutant that it catches."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from harness.casefile import load_cases, scenario_files, scenario_id, shipped_folder
from harness.cli.listing import listing
from harness.coverage import ROWS, coverage
from harness.drivers.command import CommandClient
from harness.runner import run_case

LATER = ("C3", "C4")
"""They come with the Graph server."""
OTHERS = 50
"""So many other scenarios, taken at random, must leave a row's mutant nearly alone."""
SHARE = 0.8


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


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("row", [row for row in ROWS if row not in LATER])
def test_a_row_has_a_mutant_that_breaks_little_else(row: str) -> None:
    candidates = sorted({mutant for mutants in coverage()[0][row].values() for mutant in mutants})
    shares = {}
    for mutant in candidates:
        shares[mutant] = share_of_others_that_pass(mutant)
        if shares[mutant] >= SHARE:
            return
    pytest.fail(f"every mutant of {row} breaks much else: {shares}")


def share_of_others_that_pass(mutant: str) -> float:
    """Of a sample of the scenarios that the catalogue does not name for this mutant, one case each."""
    named = {name for found in coverage()[0].values() for name, mutants in found.items() if mutant in mutants}
    others = [file for file in scenario_files(shipped_folder()) if scenario_id(file) not in named]
    client = CommandClient([sys.executable, str(Path(__file__).with_name("mutant.py")), mutant])
    try:
        verdicts = [
            run_case(load_cases(file)[0], client, now=1_790_000_000.0, seed=1).verdict
            for file in Random(mutant).sample(others, OTHERS)
        ]
    finally:
        client.close()
    return verdicts.count("pass") / len(verdicts)
