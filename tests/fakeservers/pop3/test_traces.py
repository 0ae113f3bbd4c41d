"""The dialogues of the RFCs, played word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fakeservers.profile import load_profile

from .dialogue import Dialogue, fake_host

TRACES = Path(__file__).parents[2] / "traces" / "pop3"
FILES = sorted(TRACES.glob("*.trace"))
STEP = re.compile(r"([CSP])(\d?): ?(.*)")


def message_of(octets: int) -> bytes:
    head = b"Subject: %d\r\n\r\n" % octets
    return head + b"x" * (octets - len(head) - 2) + b"\r\n"


def settings_of(path: Path) -> dict[str, list[str]]:
    """The lines before the dialogue: `octets:` and `content:` make messages, `offers:` adds capabilities, `covers:`
    tells what is shown here."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not STEP.match(line) and line and not line.startswith("#"):
            name, _, value = line.partition(":")
            found.setdefault(name, []).append(value.strip())
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_trace(path: Path) -> None:
    """`C:` lines are sent, `P:` lines in one segment with the `C:` line behind them, `S:` lines expected; `C2:` and
    `S2:` are a second session's. In an `S:` line `<<...>>` holds a regular expression."""
    settings = settings_of(path)
    mail = [message_of(int(octets)) for octets in settings.get("octets", [])]
    mail += [content.encode().decode("unicode-escape").encode() for content in settings.get("content", [])]
    offered = load_profile("generic").pop3.capabilities
    offers = [word.strip() for line in settings.get("offers", []) for word in line.split(",")]
    host = fake_host(mail, capabilities=[*offered, *offers])
    sessions: dict[str, Dialogue] = {}
    said: dict[str, list[str]] = {}
    pipelined = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        step = STEP.match(line)
        if step is None:
            continue
        who, which, text = step[1], step[2] or "1", step[3]
        if which not in sessions:
            sessions[which] = Dialogue(host)
            said[which] = lines(sessions[which].greeting)
        where = f"{path.name}:{number}"
        if who == "P":
            pipelined += f"{text}\r\n"
        elif who == "C":
            assert not said[which], f"{where}: the server said more: {said[which]}"
            said[which] += lines(sessions[which].give(f"{pipelined}{text}\r\n".encode()))
            pipelined = ""
            if sessions[which].ended():
                sessions[which].drop()
        else:
            assert said[which], f"{where}: the server said nothing, expected {text}"
            came = said[which].pop(0)
            assert re.fullmatch(pattern(text), came), f"{where}:\n  expected {text}\n  got      {came}"
    assert not any(said.values()), f"{path.name}: the server said more at the end: {said}"


def lines(said: bytes) -> list[str]:
    assert not said or said.endswith(b"\r\n"), said
    return said.decode("latin-1").split("\r\n")[:-1]


def pattern(text: str) -> str:
    parts = re.split(r"<<(.*?)>>", text)
    return "".join(part if index % 2 else re.escape(part) for index, part in enumerate(parts))


def test_whatever_generic_offers_has_a_dialogue() -> None:
    covered = {word for path in FILES for line in settings_of(path).get("covers", []) for word in line.split()}
    offered = {line.split()[0] for line in load_profile("generic").pop3.capabilities}
    assert offered - covered == set()
