"""Every refusal that is known of a provider, with what may change in it changed: what is a limit stays one, with its
window and scope, and nothing else becomes one.

replies_of_facts.jsonl holds them, one a line: where it is met (`at`), where it was found, how sure that is
(`confidence`), and `limit` (the window, `back-off` where none is known, `stated`, `connection` for its scope) or what
it is instead (`not`). {names} are filled in by the server.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.clientstack.errors import MailError
from harness.clientstack.replies import Reply, login_error, smtp_error

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
REPLIES = [
    json.loads(line)
    for line in (Path(__file__).parent / "replies_of_facts.jsonl").read_text(encoding="utf-8").splitlines()
]
LIMITS = [reply for reply in REPLIES if "limit" in reply]
OTHERS = [reply for reply in REPLIES if "not" in reply]
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
CHANGES = 20
CATEGORY = {"greylisting": "temporary", "one recipient": "temporary"}
"""What these are, wherever they are met."""
POLITE = (
    ("For more information, go to", "See"),
    ("For more information, please visit", "More at"),
    ("Learn more at", "For details, visit"),
    ("please ", ""),
    ("Please ", "Kindly "),
    ("try again later", "come back later"),
    ("Error: ", ""),
    ("Gmail", "The service"),
    ("Your message", "The mail"),
)
"""Words that say nothing about what is refused, and others for them."""


def named(reply: dict[str, Any]) -> str:
    return str(reply["id"])


def test_there_are_as_many_others_as_limits() -> None:
    assert len(LIMITS) >= 60
    assert len(OTHERS) >= len(LIMITS)
    kinds = Counter(reply["not"] for reply in OTHERS)
    assert all(kinds[kind] for kind in ("greylisting", "one recipient", "mailbox full", "login", "size"))
    assert {reply["confidence"] for reply in REPLIES} == {"seen", "documented", "recalled"}


@pytest.mark.parametrize("reply", LIMITS, ids=named)
def test_a_limit_is_known_however_it_is_worded(reply: dict[str, Any]) -> None:
    for seed in range(CHANGES):
        shown, wait = changed(reply, Random(f"{reply['id']} {seed}"), seed)
        error = understood(reply, shown)
        limit = reply["limit"]
        expected = None if limit in ("back-off", "connection", "stated") else float(limit[:-1]) * SECONDS[limit[-1]]
        assert error.category == "rate-limit", shown
        assert error.retry_after == pytest.approx(wait if limit == "stated" else expected, abs=1), shown
        assert error.scope == ("connection" if limit == "connection" else None), shown
        assert not error.permanent


@pytest.mark.parametrize("reply", OTHERS, ids=named)
def test_what_is_no_limit_is_not_taken_for_one(reply: dict[str, Any]) -> None:
    usual = understood(reply, changed(reply, Random(0), 0)[0]).category
    assert usual == CATEGORY.get(reply["not"], usual)
    for seed in range(CHANGES):
        shown, _ = changed(reply, Random(f"{reply['id']} {seed}"), seed)
        error = understood(reply, shown)
        assert error.category != "rate-limit", shown
        assert error.category == usual, shown


def understood(reply: dict[str, Any], shown: str) -> MailError:
    if reply["at"] in ("imap", "pop3"):
        return login_error(shown, NOW)
    lines = shown.split("\n")
    return smtp_error(Reply(int(lines[0][:3]), tuple(line[4:] for line in lines)), reply["at"], NOW)


# -- changes -------------------------------------------------------------------------------


def changed(reply: dict[str, Any], random: Random, seed: int) -> tuple[str, float | None]:
    """The reply as a server may say it another time, and the wait in seconds if it states one. Seed 0 only fills in."""
    wait = float(random.randint(10, 300)) if reply.get("limit") == "stated" else None
    code, enhanced, text, lines = taken_apart(reply)
    text = re.sub(r"\{(\w+)\}", lambda match: filled(match[1], random, wait), text)
    if seed:
        text = re.sub(
            r"https?://\S+", lambda _: f"https://{word(random)}.example/{word(random)}?p={word(random)}", text
        )
        text = re.sub(r"\[?\b\d{1,3}(?:\.\d{1,3}){3}\b\]?", lambda _: address(random), text)
        if wait is None:
            text = re.sub(r"\b[A-Z]{0,3}\d{4,}\b", lambda match: match[0][:-3] + str(random.randint(100, 999)), text)
        for words, others in random.sample(POLITE, 4):
            text = text.replace(words, others)
        text = recased(text, random)
        text = re.sub(" ", lambda _: " " * random.choice((1, 1, 1, 2)), text).rstrip() + " " * random.randint(0, 1)
    if code is None:
        return text, wait
    pieces = folded(text, random) if seed else [text] if lines == 1 else folded(text, Random(1))
    last = len(pieces) - 1
    return (
        "\n".join(f"{code}{'-' if at < last else ' '}{enhanced}{piece}" for at, piece in enumerate(pieces)),
        wait,
    )


def taken_apart(reply: dict[str, Any]) -> tuple[str | None, str, str, int]:
    """Code, enhanced code, text and number of lines; a bounce gets the code that it is read with."""
    lines = reply["reply"].split("\n")
    if reply["at"] in ("imap", "pop3"):
        return None, "", reply["reply"], 1
    if reply["at"] == "bounce":
        return "500", "", reply["reply"], 1
    code = lines[0][:3]
    found = re.match(r"[45]\.\d{1,3}\.\d{1,3} ", lines[0][4:])
    enhanced = found[0] if found else ""
    texts = [re.sub(r"^[45]\.\d{1,3}\.\d{1,3}(?: |$)", "", line[4:]).strip() if found else line[4:] for line in lines]
    return code, enhanced, " ".join(texts), len(lines)


def filled(name: str, random: Random, wait: float | None) -> str:
    if wait is not None and name == "MS":
        return str(int(wait * 1000))
    if wait is not None and name == "time":
        return format_datetime(NOW + timedelta(seconds=wait), usegmt=random.random() < 0.5)
    if name.lower() in ("client_ip", "ip"):
        return address(random)
    if name == "sp":
        return " "
    if name in ("n", "max", "m", "limit", "port"):
        return str(random.randint(1, 50000))
    return random.choice((f"{word(random)}.{word(random)}.test", f"{word(random)}-{random.randint(10, 9999)}"))


def word(random: Random) -> str:
    return "".join(random.choices("bcdfghjkmnpqrtvwxz", k=random.randint(3, 8)))


def address(random: Random) -> str:
    octets = [str(random.randint(1, 254)) for _ in range(4)]
    return random.choice((f"[{'.'.join(octets)}]", ".".join(octets), f"[2001:db8::{random.randint(1, 9999):x}]"))


def recased(text: str, random: Random) -> str:
    """Words in other letters; what is no word (ids, names with capitals inside) stays."""
    how = random.choice((str, str.lower, str.upper, str.capitalize, partial(mixed, random)))
    return re.sub(r"(?<![\w.:/@{\[#-])[A-Z]?[a-z']+(?![\w:/@}\]-]|\.\w)", lambda match: how(match[0]), text)


def mixed(random: Random, text: str) -> str:
    return "".join(random.choice((letter.lower(), letter.upper())) for letter in text)


def folded(text: str, random: Random) -> list[str]:
    words = re.split(r"(?<=\S) (?=\S)", text)
    lines: list[str] = []
    while words:
        some = random.randint(1, 12)
        lines.append(" ".join(words[:some]))
        words = words[some:]
    return lines
