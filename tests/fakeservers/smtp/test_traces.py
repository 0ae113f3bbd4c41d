"""The dialogues of the RFCs, played word for word."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fakeservers.points import STRICT
from fakeservers.profile import Profile, load_profile

from .dialogue import TLS, Dialogue, generic

FILES = sorted((Path(__file__).parents[2] / "traces" / "smtp").glob("*.trace"))
STEP = re.compile(r"([CSP]): ?(.*)")


def settings_of(path: Path) -> dict[str, list[str]]:
    """The lines before the dialogue: `user:` an address and perhaps a password, `service:`, `offers:` keywords instead
    of generic's, `size:`, `strict:`, `verifies:`, `lmtp:`, `rule:` in JSON."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not STEP.match(line) and line and not line.startswith("#"):
            name, _, value = line.partition(":")
            found.setdefault(name, []).append(value.strip())
    return found


def profile_of(settings: dict[str, list[str]]) -> Profile:
    changes: dict[str, object] = {"verifies": "verifies" in settings}
    if "offers" in settings:
        changes["ehlo"] = settings["offers"][0].split(", ")
    if "size" in settings:
        changes["size_limit"] = int(settings["size"][0])
    changes["strict"] = [*STRICT, *settings.get("strict", [])]
    profile = generic(**changes)
    service = load_profile("generic").services["smtp"].model_copy(update={"lmtp": "lmtp" in settings})
    return profile.model_copy(update={"services": {**profile.services, "smtp": service}})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_trace(path: Path) -> None:
    """`C:` lines are sent, `P:` lines in one segment with the `C:` line behind them, `S:` lines expected; in these
    `<<...>>` holds a regular expression. A STARTTLS that is accepted is followed by the handshake."""
    settings = settings_of(path)
    users = {}
    for user in settings.get("user", ["alice@example.test"]):
        address, _, password = user.partition(" ")
        users[address] = password or "secret"
    dialogue = Dialogue(
        profile_of(settings),
        settings.get("service", ["smtp"])[0],
        rules=[json.loads(rule) for rule in settings.get("rule", [])],
        users=users,
    )
    said = lines(dialogue.greeting)
    pipelined = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        step = STEP.match(line)
        if step is None:
            continue
        where, text = f"{path.name}:{number}", step[2]
        if step[1] == "P":
            pipelined += f"{text}\r\n"
        elif step[1] == "C":
            assert not said, f"{where}: the server said more: {said}"
            said += lines(dialogue.send(f"{pipelined}{text}\r\n".encode()))
            pipelined = ""
            if dialogue.starts_tls and dialogue.connection.tls is None:
                dialogue.connection.tls = TLS
                assert not dialogue.session.tls_started(TLS)
        else:
            assert said, f"{where}: the server said nothing, expected {text}"
            came = said.pop(0)
            assert re.fullmatch(pattern(text), came), f"{where}:\n  expected {text}\n  got      {came}"
    assert not said, f"{path.name}: the server said more at the end: {said}"
    assert dialogue.ended, f"{path.name}: the server did not end the connection"


def lines(said: str) -> list[str]:
    assert not said or said.endswith("\r\n"), said
    return said.split("\r\n")[:-1]


def pattern(text: str) -> str:
    parts = re.split(r"<<(.*?)>>", text)
    return "".join(part if index % 2 else re.escape(part) for index, part in enumerate(parts))
