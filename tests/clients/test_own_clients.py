"""No false alarm: clients built otherwise than the reference client, in every style that the RFCs leave open, pass."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from harness.casefile import load_cases, scenario_files, shipped_folder
from harness.drivers.command import CommandClient
from harness.results import Result
from harness.runner import run_case

HERE = Path(__file__).parent
NOW = 1_790_000_000.0
SAMPLE = 25

PROGRAMS = [
    "own_sender",
    "own_sender queue",
    "own_sender queue per-recipient small-letters plain",
    "own_sender queue bdat dribble polite",
    "own_sender queue reconnect curt terse pipelining",
    "own_sender parameters curt per-message plain terse pipelining eager",
    "own_sender pipelining per-recipient reconnect bdat",
    "own_reader",
    "own_reader listing numbers pieces plain",
    "own_reader sections copy leaves",
    "own_reader looks-first together",
    "own_reader literals small-letters each eager",
    "own_reader utf8 listing each copy",
]


@pytest.fixture(params=PROGRAMS)
def client(request: pytest.FixtureRequest) -> Iterator[CommandClient]:
    program, *styles = request.param.split()
    made = CommandClient([sys.executable, str(HERE / f"{program}.py"), *styles])
    yield made
    made.close()


def faults(client: CommandClient, files: list[Path]) -> list[Result]:
    results = [run_case(case, client, now=NOW, seed=1) for file in files for case in load_cases(file)]
    assert any(result.verdict == "pass" for result in results)
    return [result for result in results if result.verdict not in ("pass", "skip")]


def test_a_right_client_passes_a_sample(client: CommandClient, request: pytest.FixtureRequest) -> None:
    assert faults(client, Random(request.node.name).sample(scenario_files(shipped_folder()), SAMPLE)) == []


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_right_client_passes_every_scenario(client: CommandClient) -> None:
    assert faults(client, scenario_files(shipped_folder())) == []
