"""Which scenarios prove a row of the client stack, and which mutants show that they would notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fakeservers.yamlfile import FileError
from harness.casefile import load_cases, scenario_files, scenario_id, shipped_folder

__all__ = ["ROWS", "coverage"]

ROWS: Final = {
    "A1": "address and sender name",
    "A2": "SMTP server",
    "A3": "port",
    "A4": "EHLO host name",
    "A5": "user id and password stay secret",
    "A6": "authentication",
    "A7": "only unsupported mechanisms offered",
    "A8": "implicit TLS",
    "A9": "opportunistic and required STARTTLS",
    "A10": "timeout",
    "A11": "rate limited until",
    "A12": "UTF-8 header fields and addresses",
    "A13": "send test mail",
    "A14": "reachability test",
    "A15": "debug file",
    "A16": "client certificate",
    "A17": "trust",
    "B1": "reply-to address",
    "B2": "system reply and display name",
    "B3": "acting user's address",
    "B4": "alert-from and system notification mailboxes",
    "B5": "bounced alerts, bounces matched",
    "B6": "support requests",
    "B7": "error-log mail",
    "B8": "base URL",
    "B9": "recipient's address and wishes",
    "C1": "global mail server on or off",
    "C2": "tenant's own server",
    "C3": "authentication type",
    "C4": "Microsoft Graph",
    "D1": "incoming server type",
    "D2": "incoming server and login",
    "D3": "incoming TLS",
    "D4": "INBOX name",
    "D5": "unread only",
    "D6": "completion mailbox",
    "D7": "check button",
    "D8": "each message once",
    "D9": "meeting invitations",
    "D10": "junk set aside",
    "D11": "reading any IMAP server",
    "E1": "states of the queue",
    "E2": "storage through crashes",
    "E3": "batches",
    "E4": "retry",
    "E5": "diagnosis",
}


def coverage() -> tuple[dict[str, dict[str, list[str]]], list[FileError]]:
    """Row: scenario: the mutants that it catches; and the scenario files that cannot be read.

    Mutants are part of the source tree only; without it no scenario has any.
    """
    caught: dict[str, list[str]] = {}
    for mutant, entry in _catalogue().items():
        for scenario in entry:
            names = caught.setdefault(scenario.partition("[")[0], [])
            if mutant not in names:
                names.append(mutant)
    found: dict[str, dict[str, list[str]]] = {row: {} for row in ROWS}
    broken: list[FileError] = []
    for file in scenario_files(shipped_folder()):
        try:
            rows = {row for case in load_cases(file) for row in case.scenario.covers}
        except FileError as error:
            broken += error.all
            continue
        name = scenario_id(file)
        for row in rows & ROWS.keys():
            found[row][name] = caught.get(name, [])
    return found, broken


def _catalogue() -> dict[str, Any]:
    file = Path(__file__).parents[1] / "tests" / "mutants" / "catalogue.yaml"
    if not file.is_file():
        return {}
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8")) or {}
