"""Every scenario can fail: a client broken in its respect breaks the expectation that the catalogue names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from ruamel.yaml import YAML

from harness.casefile import Case, load_cases, scenario_files, scenario_id, shipped_folder
from harness.drivers import Client, open_client
from harness.drivers.command import CommandClient
from harness.results import Result
from harness.runner import run_case

HERE = Path(__file__).parent
NOW = 1_790_000_000.0
OURS = ("a fake server broke", "mailrig lacks")
"""How the reason of an error begins that is the harness's own, not the client's."""


@cache
def catalogue() -> dict[str, dict[str, str]]:
    loaded = YAML(typ="safe", pure=True).load((HERE / "catalogue.yaml").read_text(encoding="utf-8"))
    return loaded or {}


@cache
def program(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(HERE / "mutant.py"), *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def cases_of(scenario: str) -> list[Case]:
    """The cases of a catalogue entry: a file's all, or the one that is named."""
    file = shipped_folder() / f"{scenario.partition('[')[0]}.yaml"
    return [case for case in load_cases(file) if "[" not in scenario or case.id == scenario]


@pytest.fixture
def broken_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    client = CommandClient([sys.executable, str(HERE / "mutant.py"), request.param])
    yield client
    client.close()


def run(case: Case, client: Client) -> Result:
    return run_case(case, client, now=NOW, seed=1)


@pytest.mark.parametrize(
    ("broken_client", "caught"), [(name, caught) for name, caught in catalogue().items()], indirect=["broken_client"],
    ids=list(catalogue()),
)  # fmt: skip
def test_a_mutant_is_caught(broken_client: Client, caught: dict[str, str]) -> None:
    """One case of a matrix that catches it is enough."""
    for scenario, expectation in caught.items():
        seen = []
        for case in cases_of(scenario):
            result = run(case, broken_client)
            broken = [failure["expectation"] for failure in [*result.failures, *result.warnings]]
            seen.append((case.id, result.verdict, result.reason, broken))
            if expectation in broken:
                break
        else:
            pytest.fail(f"{scenario} does not break {expectation}: {seen}")


@pytest.fixture(scope="module")
def unbroken_client() -> Iterator[Client]:
    client = open_client("reference")
    yield client
    client.close()


@pytest.mark.parametrize("scenario", sorted({scenario for caught in catalogue().values() for scenario in caught}))
def test_the_unbroken_client_passes_what_catches_mutants(unbroken_client: Client, scenario: str) -> None:
    for case in cases_of(scenario):
        result = run(case, unbroken_client)
        assert result.verdict == "pass", (case.id, result.reason, result.failures)


def test_every_scenario_file_has_a_mutant_that_it_catches() -> None:
    caught = {scenario.partition("[")[0] for entry in catalogue().values() for scenario in entry}
    assert {scenario_id(file) for file in scenario_files(shipped_folder())} - caught == set()


def test_the_catalogue_and_the_mutants_are_the_same() -> None:
    listed = [line.partition(":")[0] for line in program("--list").splitlines() if not line.startswith(" ")]
    assert sorted(listed) == sorted(catalogue())
    assert len(listed) >= 25


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("broken_client", list(catalogue()), indirect=True)
def test_a_mutant_against_every_scenario(broken_client: Client, request: pytest.FixtureRequest) -> None:
    """Whatever a broken client does, the fake servers stand it. `MAILRIG_FULL_SAMPLE=N` takes N scenarios at random,
    the same ones for each mutant in every run, where there is no time for all."""
    files = scenario_files(shipped_folder())
    if sample := int(os.environ.get("MAILRIG_FULL_SAMPLE", "0")):
        files = Random(request.node.name).sample(files, min(sample, len(files)))
    results = [run(case, broken_client) for file in files for case in load_cases(file)]
    broken = [(result.id, result.reason) for result in results if (result.reason or "").startswith(OURS)]
    assert broken == []
    assert results
