"""Clients over mail libraries: what they must pass, and what docs/findings.md says of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.casefile import load_cases, shipped_folder
from harness.drivers.command import CommandClient
from harness.results import Result
from harness.runner import run_case

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "findings.md").read_text(encoding="utf-8")
NOW = 1_790_000_000.0

PASSES = {
    "stdlib": [
        "generic/send", "tls/bad-certificate", "tls/certificate-goes-bad",
        "tls/client-certificate", "tls/greets-in-clear-on-the-tls-port", "tls/imap-certificates",
        "tls/imap-old-versions", "tls/incoming-closed-without-notify", "tls/incoming-weak-certificate",
        "tls/no-common-cipher", "tls/old-versions", "tls/one-version-only", "tls/plaintext-behind-starttls",
        "tls/pop3-certificates", "tls/starttls-not-offered", "tls/starttls-refused",
        "starttls/imap-alert-before-tls", "starttls/imap-login-referral", "starttls/imap-mail-before-tls",
        "starttls/imap-mailbox-referral", "starttls/imap-referral-before-tls", "starttls/imap-tampered-greeting",
        "starttls/smtp-half-a-line-injected", "faults/codes-not-words", "faults/cut-inside-the-line-end",
        "faults/dribbled-challenges", "faults/imap-message-cut", "faults/special-codes",
        "faults/text-less-replies", "auth/endless-challenges", "auth/login-prompts",
        "auth/unknown-mechanisms-beside-known",
    ],
    "aiosmtplib": [
        "generic/send", "tls/bad-certificate", "tls/certificate-goes-bad",
        "tls/client-certificate-of-a-stranger", "tls/greets-in-clear-on-the-tls-port", "tls/no-common-cipher",
        "tls/old-versions", "tls/one-version-only", "tls/plaintext-behind-starttls", "tls/starttls-not-offered",
        "tls/starttls-refused", "tls/weak-certificate", "starttls/smtp-answer-before-the-go-ahead",
        "starttls/smtp-half-a-line-injected", "starttls/smtp-offer-under-tls", "starttls/smtp-tampered-limits",
        "faults/codes-not-words", "faults/cut-inside-the-line-end", "faults/multi-line-replies",
        "faults/permanent-at-each-command", "faults/refused-in-a-batch", "faults/special-codes",
        "faults/text-less-replies", "auth/ehlo-after-starttls", "auth/endless-challenges",
        "auth/login-prompts", "auth/odd-offers", "auth/unknown-mechanisms-beside-known",
    ],
}  # fmt: skip
FINDINGS = {
    "stdlib": {
        "faults/refused-in-a-batch[case=data-5xx]": "outcomes",
        "faults/permanent-at-each-command[at=auth,reply=503]": "error.code",
        "auth/bad-challenge[challenge=!!!]": "no-answer",
        "auth/odd-offers[offer=lower-case]": "outcomes",
        "auth/odd-passwords[auth=plain,password=umlauts]": "outcomes",
        "faults/temporary-at-each-command[at=ehlo,reply=421]": "error.code",
        "starttls/imap-capabilities-kept[security=starttls]": "nothing-of-before",
        "starttls/pop3-capabilities-kept[security=starttls]": "nothing-of-before",
    },
    "aiosmtplib": {
        "tls/opportunistic-refused[reply=454]": "outcomes",
        "auth/bad-challenge[challenge=!!!]": "no-answer",
        "faults/temporary-at-each-command[at=auth,reply=421]": "error.code",
    },
}


@pytest.fixture(params=sorted(PASSES))
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name != "stdlib":
        pytest.importorskip(name)
    return name


@pytest.fixture
def client(library: str) -> Iterator[CommandClient]:
    made = CommandClient([sys.executable, str(HERE / f"{library}_client.py")])
    yield made
    made.close()


def run(scenario: str, client: CommandClient) -> list[Result]:
    """The file's cases, or the one that is named; those that the client can do."""
    file = shipped_folder() / f"{scenario.partition('[')[0]}.yaml"
    cases = [case for case in load_cases(file) if "[" not in scenario or case.id == scenario]
    results = [run_case(case, client, now=NOW, seed=1) for case in cases]
    done = [result for result in results if result.verdict != "skip"]
    assert done, f"{scenario}: every case was skipped"
    return done


def test_what_a_library_must_pass(library: str, client: CommandClient) -> None:
    for scenario in PASSES[library]:
        for result in run(scenario, client):
            assert result.verdict == "pass", (result.id, result.reason, result.failures)


def test_what_the_page_says_is_still_so(library: str, client: CommandClient) -> None:
    for scenario, expectation in FINDINGS[library].items():
        (result,) = run(scenario, client)
        assert result.verdict == "fail", (scenario, result.verdict, result.reason)
        assert expectation in [failure["expectation"] for failure in result.failures], (scenario, result.failures)


def test_the_page_names_the_cases_that_are_tried() -> None:
    named = set(re.findall(r"`([a-z0-9-]+/[a-z0-9-]+\[[^`]*\])`", PAGE))
    assert named == {scenario for cases in FINDINGS.values() for scenario in cases}
