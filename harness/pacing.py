"""How fast a client comes back after a server's no: too early, again and again, until the account is locked. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from harness.observations import Line, Observations, SeenStep
from harness.transactions import SMTP, Attempt, attempts

__all__ = ["Finding", "pacing"]

LOGINS = 5
"""Refused logins in one step from which on an account is in danger of being locked."""
CONNECTIONS = 10
"""Connections in one step that may come to nothing, for each delivery that the step is about."""
MEMORY = "rate-limit-memory"


class Finding(NamedTuple):
    """What the client did wrong: the expectation's name, what should have been, what was seen, in which step."""

    expectation: str
    expected: Any
    observed: Any
    step: int
    grade: str = "must"


def pacing(seen: Observations) -> Iterator[Finding]:
    steps = [step for step in seen.steps if step.action in ("send", "flush")]
    tried = attempts(seen.lines)
    yield from _before_its_own_time(steps, tried)
    if MEMORY in seen.features:
        yield from _before_the_stated_time(steps, tried, seen.lines)
        yield from _at_the_same_moment(steps, tried)
        yield from _behind_a_limit(steps, seen.lines)
    yield from _hammered(seen)
    yield from _locked_out(seen)


# --- came back too early


def _before_its_own_time(steps: list[SeenStep], tried: list[Attempt]) -> Iterator[Finding]:
    """Until the time that the client itself stated, the account sends nothing, not even on `flush`."""
    until: dict[str, tuple[float, str]] = {}
    for step in steps:
        moment, shown = until.get(step.account, (0.0, ""))
        if step.now < moment and any(one.step == step.number for one in tried):
            yield Finding("too-early", f"nothing is sent before {shown}", "a transaction was begun", step.number)
        stated = (step.reply or {}).get("rate_limited_until")
        if stated is not None:
            until[step.account] = datetime.fromisoformat(stated).timestamp(), stated


def _before_the_stated_time(steps: list[SeenStep], tried: list[Attempt], lines: list[Line]) -> Iterator[Finding]:
    """The server said how long a limit holds, the client calls it a limit: it comes back when that is over."""
    until: dict[str, tuple[float, float]] = {}
    for step in steps:
        moment, wait = until.get(step.account, (0.0, 0.0))
        if step.now < moment - 1 and any(one.step == step.number for one in tried):
            early = f"a transaction was begun {moment - step.now:g} s too early"
            yield Finding("too-early", f"the {wait:g} s that the server stated are waited", early, step.number)
        said = {_stated(line.text) for line in lines if line.step == step.number and line.direction == "S"}
        for text in _limits(step):
            if (stated := _stated(text)) and stated in said:
                until[step.account] = step.now + stated, stated


def _at_the_same_moment(steps: list[SeenStep], tried: list[Attempt]) -> Iterator[Finding]:
    """A limit without a time is kept for as long as the client thinks right, but for some time."""
    limited: dict[str, float] = {}
    for step in steps:
        if limited.get(step.account) == step.now and any(one.step == step.number for one in tried):
            early = "a transaction was begun at the very time of the reply"
            yield Finding("too-early", "what the client calls a limit is kept for a while", early, step.number)
        if any(not _ONE_CONNECTION.search(text) for text in _limits(step)):
            limited[step.account] = step.now


def _behind_a_limit(steps: list[SeenStep], lines: list[Line]) -> Iterator[Finding]:
    """The reply that a client calls the account's limit ends the batch; what was on its way already may follow."""
    for step in steps:
        if (step.reply or {}).get("rate_limited_until") is None:
            continue
        texts = [words for text in _limits(step) if (words := _words(text)) and not _ONE_CONNECTION.search(text)]
        own = [line for line in lines if line.step == step.number and line.service in SMTP]
        refused = (
            index
            for index, line in enumerate(own)
            if line.direction == "S" and line.data[:1] in b"45" and any(_same(_words(line.text), one) for one in texts)
        )
        first = next(refused, None)
        if first is None:
            continue
        under_way = {line.connection for line in own[:first]} - {
            line.connection for line in own[:first] if line.facts.get("event") in ("end", "closed")
        }
        later = [line for line in own[first:] if line.direction == "C" and line.data[:5].upper() == b"MAIL "]
        if len(later) > len(under_way):
            told = f"{len(later)} more transactions after {own[first].text.strip()[:80]!r}"
            yield Finding("too-early", "the reply that states a limit ends the batch", told, step.number)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WAIT = re.compile(
    r"\b(?:again|retry|retrying|wait|back)\s+(?:in\s+|after\s+|for\s+)?(?:about\s+|at\s+least\s+)?(\d{1,6})\s*"
    r"(second|minute|hour|day)s?\b",
    re.IGNORECASE,
)
_RETRY_AFTER = re.compile(r"\bretry-after[:=]?\s*(\d{1,6})\b", re.IGNORECASE)
_ONE_CONNECTION = re.compile(r"connection|session", re.IGNORECASE)
"""A limit of one connection says nothing about the next one."""


def _stated(text: str) -> float | None:
    """The wait in seconds that a text asks for, where it leaves no doubt."""
    if match := _RETRY_AFTER.search(text):
        return float(match[1])
    match = _WAIT.search(text)
    return float(match[1]) * _UNITS[match[2][0].lower()] if match else None


def _limits(step: SeenStep) -> list[str]:
    """What the server said, by the client's word, where the client speaks of a limit."""
    results = (step.reply or {}).get("results", [])
    errors = [
        error
        for result in results
        for error in (result.get("error"), *(one.get("error") for one in (result.get("recipients") or {}).values()))
    ]
    return [error.get("text", "") for error in errors if error is not None and error["category"] == "rate-limit"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]{3,}", text.lower()))[:6]


def _same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return len(one) >= 3 and one == other


# --- hammered


def _hammered(seen: Observations) -> Iterator[Finding]:
    """One failed attempt is followed by a pause (RFC 5321 4.5.4.1), and a refused login by a person."""
    refused: Counter[int] = Counter()
    for line in seen.lines:
        if line.direction == "S" and line.data.startswith(b"535"):
            refused[line.step] += 1
    for step, count in refused.items():
        if count > LOGINS:
            yield Finding("hammered", f"at most {LOGINS} refused logins in a step", count, step, "should")
    known = 0
    for one in seen.steps:
        known += sum(map(len, one.to.values()))
        if one.action == "business":
            continue
        deliveries = sum(map(len, one.to.values())) if one.action == "send" else known
        most = CONNECTIONS * max(1, deliveries if one.action in ("send", "flush") else 1)
        fruitless = _fruitless([line for line in seen.lines if line.step == one.number], one.action)
        if fruitless > most:
            told = f"{fruitless} connections that came to nothing"
            yield Finding("hammered", f"at most {most} vain connections in a step", told, one.number)


def _fruitless(lines: list[Line], action: str) -> int:
    """Connections of a step in which no message was accepted (`send`, `flush`), or nobody logged in."""
    opened = {line.connection for line in lines if line.facts.get("event") == "connect"}
    if action in ("send", "flush"):
        return len(opened - {one.connection for one in attempts(lines) if one.accepted})
    return len(opened - {line.connection for line in lines if line.facts.get("event") == "login"})


# --- re-authenticated into a lockout

_LOCKED = re.compile(r"\block(?:ed|out)\b|\btoo many (?:\w+ )?(?:failures|failed|attempts|log-?ins?\b)", re.IGNORECASE)
_WRONG = re.compile(
    r"535|-ERR(?! \[(?:SYS|IN-USE|LOGIN-DELAY))|\S+ NO(?! \[(?:UNAVAILABLE|LIMIT|INUSE))", re.IGNORECASE
)
"""The login itself is wrong; what is refused for now may be tried again."""
_IMAP_LOGIN = re.compile(rb"(\S+) (?:LOGIN|AUTHENTICATE)\b", re.IGNORECASE)
_POP3_LOGIN = re.compile(rb"(?:PASS|APOP|AUTH)\b", re.IGNORECASE)
_POP3_OTHER = re.compile(rb"(?:USER|CAPA|QUIT|STLS|STAT|LIST|UIDL|RETR|DELE|TOP|NOOP|RSET)\b", re.IGNORECASE)


def _locked_out(seen: Observations) -> Iterator[Finding]:
    """A refused login was repeated in one step until the server locked the account.

    For each message of a batch one refused login is only unwise: a program may know no other way.
    """
    for step in seen.steps:
        if step.action == "business":
            continue
        refusals = 0
        for text in _login_refusals([line for line in seen.lines if line.step == step.number]):
            if not _LOCKED.search(text):
                refusals += _WRONG.match(text) is not None
                continue
            asked = max(1, len(step.sent)) if step.action in ("send", "flush") else 1
            if refusals >= 2:
                told = f"{refusals} refused logins, then {text.strip()[:80]!r}"
                grade = "must" if refusals > asked else "should"
                yield Finding("locked-out", "a refused login is not repeated", told, step.number, grade)
            break


def _login_refusals(lines: list[Line]) -> Iterator[str]:
    """What servers said to logins that they did not take."""
    asked: dict[int, bytes] = {}
    for line in lines:
        if line.direction == "C":
            _ask(line, asked)
        elif line.direction == "S" and line.connection in asked and not _goes_on(line.data):
            tag = asked[line.connection]
            if not line.data.startswith(tag):
                continue
            del asked[line.connection]
            if re.match(rb"[45]\d\d|-ERR|\S+ NO ", line.data, re.IGNORECASE):
                yield line.text


def _goes_on(data: bytes) -> bool:
    """A challenge, or an untagged response of IMAP: the outcome is yet to come."""
    return data.startswith((b"334", b"+ ", b"* "))


def _ask(line: Line, asked: dict[int, bytes]) -> None:
    """Keeps that a login is asked for on this connection, with the tag of its answer (IMAP)."""
    if line.service.startswith("imap"):
        if match := _IMAP_LOGIN.match(line.data):
            asked[line.connection] = match[1] + b" "
    elif line.service.startswith("pop3"):
        if _POP3_LOGIN.match(line.data):
            asked[line.connection] = b""
        elif _POP3_OTHER.match(line.data):
            asked.pop(line.connection, None)
    elif line.data[:5].upper() == b"AUTH ":
        asked[line.connection] = b""
