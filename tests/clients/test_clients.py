"""Clients over mail libraries: what fails is what docs/findings.md tells of, and all of that still does."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.casefile import Case, load_cases, scenario_files, shipped_folder
from harness.drivers.command import CommandClient
from harness.runner import run_case

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "findings.md").read_text(encoding="utf-8")
KNOWN: dict[str, list[dict[str, Any]]] = YAML(typ="safe").load(HERE / "known_failures.yaml")
NOW = 1_790_000_000.0
SAMPLE = 40
LISTED = (3, 11)
"""The Python whose libraries the list is of: others read addresses and names in other ways."""
LISTED_NODE = {"nodemailer": "10.", "imapflow": "2."}
# Libraries ask the machine for its name: here it has no domain, as in most containers, whatever this one is called.
START = """
import runpy, socket, sys
socket.getfqdn = lambda name="": "localhost"
sys.path.insert(0, sys.argv[1])
runpy.run_path(sys.argv[1] + "/" + sys.argv[2], run_name="__main__")
"""


@pytest.fixture(params=sorted(KNOWN))
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name in LISTED_NODE:
        node_modules(name)
        return name
    if sys.version_info[:2] != LISTED:
        pytest.skip(f"the list is of the libraries of Python {'.'.join(map(str, LISTED))}")
    if name != "stdlib":
        pytest.importorskip(name)
    return name


def node_modules(name: str) -> str:
    """Where node finds a library of the listed version; the test is skipped where there is none."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    places = [*os.environ.get("NODE_PATH", "").split(os.pathsep), str(Path.home() / ".cache/mailrig-node/node_modules")]
    for file in (Path(place) / name / "package.json" for place in places if place):
        if file.is_file():
            version: str = json.loads(file.read_text("utf-8"))["version"]
            if not version.startswith(LISTED_NODE[name]):
                pytest.skip(f"the list is of {name} {LISTED_NODE[name]}x, here is {version}")
            return str(file.parents[1])
    pytest.skip(f"{name} is not installed")


@pytest.fixture
def client(library: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandClient]:
    command = [sys.executable, "-c", START, str(HERE), f"{library}_client.py"]
    if library in LISTED_NODE:
        monkeypatch.setenv("NODE_PATH", node_modules(library))
        command = ["node", str(HERE / f"{library}_client.mjs")]
    made = CommandClient(command)
    yield made
    made.close()


def groups_of(case: str, library: str) -> list[dict[str, Any]]:
    """`*` alone is special: ids have brackets."""
    return [
        group
        for group in KNOWN[library]
        if any(re.fullmatch(re.escape(listed).replace(r"\*", ".*"), case) for listed in group["cases"])
    ]


def wrong(cases: Iterable[Case], library: str, client: CommandClient) -> tuple[list[str], set[str]]:
    """Where run and list differ; and the findings that were met with."""
    told: list[str] = []
    met: set[str] = set()
    for case in cases:
        result = run_case(case, client, now=NOW, seed=1)
        if result.verdict == "skip":
            continue
        known = groups_of(case.id, library)
        failed = {failure["expectation"] for failure in result.failures}
        expected = {name for group in known for name in group["expectations"]}
        if result.verdict != ("fail" if known else "pass") or not failed <= expected:
            told.append(f"{case.id}: {result.verdict} {result.reason} {sorted(failed)}, listed: {sorted(expected)}")
        met |= {f"{group['finding']}: {name}" for group in known for name in failed & set(group["expectations"])}
    return told, met


def every_case() -> list[Case]:
    return [case for file in scenario_files(shipped_folder()) for case in load_cases(file)]


def test_a_sample_fails_where_it_is_listed_and_nowhere_else(library: str, client: CommandClient) -> None:
    random = Random(library)
    files = random.sample(scenario_files(shipped_folder()), SAMPLE)
    of_findings = sorted({listed.partition("[")[0] for group in KNOWN[library] for listed in group["cases"][:1]})
    files += [shipped_folder() / f"{name}.yaml" for name in of_findings]
    told, met = wrong((case for file in dict.fromkeys(files) for case in load_cases(file)), library, client)
    assert told == []
    assert {group["finding"] for group in KNOWN[library]} == {name.partition(": ")[0] for name in met}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_the_whole_suite_fails_where_it_is_listed_and_nowhere_else(library: str, client: CommandClient) -> None:
    told, met = wrong(every_case(), library, client)
    assert told == []
    assert {f"{group['finding']}: {name}" for group in KNOWN[library] for name in group["expectations"]} == met


def test_every_listed_case_is_there() -> None:
    ids = {case.id for case in every_case()}
    for library, groups in KNOWN.items():
        listed = [(group["finding"], name) for group in groups for name in group["cases"]]
        for finding, name in listed:
            pattern = re.escape(name).replace(r"\*", ".*")
            assert any(re.fullmatch(pattern, case) for case in ids), f"{library}, {finding}: no case is named {name}"


def test_the_page_tells_of_every_finding_and_names_cases_that_show_it() -> None:
    library = heading = ""
    told: dict[str, set[str]] = {}
    for line in PAGE.splitlines():
        if line.startswith("## "):
            library = line[3:]
        elif line.startswith("### "):
            heading = f"{library} / {line[4:]}"
            told[heading] = set()
        elif heading:
            told[heading] |= set(re.findall(r"`([a-z0-9-]+/[a-z0-9-]+(?:\[[^`]*\])?)`", line))
    shown = {heading: cases for heading, cases in told.items() if cases}
    assert {group["finding"] for groups in KNOWN.values() for group in groups} == set(shown)
    for finding, cases in shown.items():
        part = finding.partition(" / ")[0]
        name = part if part in KNOWN else "stdlib"
        for case in cases:
            assert finding in [group["finding"] for group in groups_of(case, name)], (finding, case)
