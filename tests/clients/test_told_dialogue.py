"""The dialogue beside a failure is that of the step that failed, not of what went well after it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.casefile import load_cases
from harness.drivers.command import CommandClient
from harness.runner import run_case

SCENARIO = """
title: Two messages
why: The first was to be refused.
provider: generic
tags: [sending]
source: RFC 5321 3.3
steps:
  - send:
      messages: [{{id: first, to: [bob@example.test]}}]
    expect: {{outcomes: [failed]}}
  - send:
      messages: [{{id: second, to: [carol@example.test]}}]
    expect: {{outcomes: [sent]}}
expect:
  wire:
    - {{name: both, count: {both}, of: {{client: "(?i:^rcpt)"}}}}
"""


@pytest.mark.parametrize(("both", "steps"), [(2, {1}), (3, {1, 2})])
def test_the_dialogue_ends_with_the_last_step_that_failed(tmp_path: Path, both: int, steps: set[int]) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(SCENARIO.format(both=both), encoding="utf-8")
    client = CommandClient([sys.executable, str(Path(__file__).parent / "own_sender.py")])
    try:
        result = run_case(next(iter(load_cases(file))), client, now=1_790_000_000.0, seed=1)
    finally:
        client.close()
    assert result.verdict == "fail"
    assert {line["step"] for line in result.dialogue if line["direction"] == "C"} == steps
