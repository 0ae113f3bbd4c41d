"""What a server's reply means: category, and how long to wait.

The rules about codes are here; which words name a limit is in replies.yaml.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from .errors import MailError

__all__ = ["Reply", "login_error", "reply_table", "smtp_error", "stated_wait"]

_ENHANCED: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$|[:;,-])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Reply:
    """An SMTP reply (RFC 5321 4.2): its code, and its lines without the code."""

    code: int
    lines: tuple[str, ...] = ()

    @property
    def enhanced(self) -> str | None:
        """The enhanced code (RFC 3463) of the first line that has one and fits the code's class."""
        for line in self.lines:
            match = _ENHANCED.match(line.lstrip())
            if match and match.group(1) == str(self.code)[0]:
                return match.group(0)
        return None

    @property
    def text(self) -> str:
        """What a person reads: the lines joined by blanks, enhanced codes left out."""
        parts = []
        for raw in self.lines:
            line = raw.strip()
            match = _ENHANCED.match(line)
            parts.append(line[match.end() :].strip() if match else line)
        return " ".join(part for part in parts if part)

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def closing(self) -> bool:
        """421: the server ends the connection after this reply."""
        return self.code == 421


@dataclass(frozen=True)
class _Entry:
    words: tuple[re.Pattern[str], ...]
    unless: re.Pattern[str] | None = None
    codes: frozenset[int] = frozenset()
    enhanced: frozenset[str] = frozenset()
    window: float | None = None
    scope: str | None = None

    def holds(self, code: int | None, enhanced: str | None, text: str) -> bool:
        return (
            (not self.codes or code in self.codes)
            and (not self.enhanced or enhanced in self.enhanced)
            and all(pattern.search(text) for pattern in self.words)
            and not (self.unless and self.unless.search(text))
        )


@dataclass(frozen=True)
class _Table:
    one_recipient: tuple[_Entry, ...]
    one_message: tuple[_Entry, ...]
    rate_limit: tuple[_Entry, ...]
    size: tuple[_Entry, ...]
    space: tuple[_Entry, ...]
    login_temporary: tuple[_Entry, ...]
    response_codes: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def reply_table() -> dict[str, Any]:
    """replies.yaml as plain data."""
    from ruamel.yaml import YAML

    text = resources.files(__package__).joinpath("replies.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = YAML(typ="safe").load(text)
    return data


@lru_cache(maxsize=1)
def _table() -> _Table:
    data = reply_table()
    return _Table(
        **{
            name: tuple(_entry(item) for item in data[name])
            for name in ("one_recipient", "one_message", "rate_limit", "size", "space", "login_temporary")
        },
        response_codes=data["response_codes"],
    )


def _entry(item: dict[str, Any]) -> _Entry:
    return _Entry(
        words=tuple(_alternatives(group) for group in item.get("words", ())),
        unless=_alternatives(item["unless"]) if "unless" in item else None,
        codes=frozenset(item.get("codes", ())),
        enhanced=frozenset(item.get("enhanced", ())),
        window=_seconds(item["window"]) if "window" in item else None,
        scope=item.get("scope"),
    )


def _alternatives(group: str) -> re.Pattern[str]:
    words = [re.escape(word).replace(r"\ ", r"\s+") for word in group.split("|")]
    # "SubmissionQuotaExceeded" counts as words, too: a capital after a small letter starts one.
    return re.compile(rf"(?:\b|(?<=[a-z])(?=[A-Z]))(?i:{'|'.join(words)})")


def _seconds(window: str) -> float:
    return float(window[:-1]) * _UNITS[window[-1]]


def _first(entries: tuple[_Entry, ...], code: int | None, enhanced: str | None, text: str) -> _Entry | None:
    return next((entry for entry in entries if entry.holds(code, enhanced, text)), None)


# -- SMTP -------------------------------------------------------------------------


def smtp_error(reply: Reply, command: str, now: datetime | None = None) -> MailError:
    """The error that a negative reply is.

    `command` is "greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "message" (the final dot)
    or another verb. `now` lets a stated time of day become a wait.
    """
    code, enhanced, text = reply.code, reply.enhanced, reply.text
    category, entry = _smtp_category(code, enhanced, text, command)
    wait = stated_wait(text, now)
    if wait is None and entry is not None:
        wait = entry.window
    return MailError(
        category,
        text or f"the server answered {code} to {command}",
        code=code,
        enhanced=enhanced,
        retry_after=wait if category in ("rate-limit", "temporary") else None,
        scope=entry.scope if entry is not None and category == "rate-limit" else None,
    )


def _smtp_category(code: int, enhanced: str | None, text: str, command: str) -> tuple[str, _Entry | None]:
    table = _table()
    if not 400 <= code < 600:
        return "protocol", None
    if _first(table.one_recipient, code, enhanced, text):
        return "temporary", None
    if not _first(table.one_message, code, enhanced, text) and (
        entry := _first(table.rate_limit, code, enhanced, text)
    ):
        return "rate-limit", entry
    detail = enhanced.partition(".")[2] if enhanced else ""
    if detail == "3.4":
        return "size", None
    if detail == "2.2":
        return "quota", None
    if command in ("MAIL", "RCPT", "DATA", "message") and (detail == "2.3" or _first(table.size, code, enhanced, text)):
        return "size", None
    if command == "greeting":
        return ("temporary" if code < 500 else "connect"), None
    if code == 538 or (code == 530 and re.search(r"TLS", text, re.IGNORECASE)):
        return "tls-required", None
    if command == "STARTTLS":
        return "tls-required", None
    return _by_command(code, command), None


def _by_command(code: int, command: str) -> str:
    if code < 500:
        return "temporary"
    if code == 504 and command == "AUTH":
        return "auth-mechanism"
    if code == 530 or command == "AUTH":
        return "authentication"
    return {
        "MAIL": "sender-refused",
        "RCPT": "recipient-refused",
        "DATA": "message-refused",
        "message": "message-refused",
    }.get(command, "protocol")


# -- IMAP and POP3 ------------------------------------------------------------------


def login_error(text: str, now: datetime | None = None) -> MailError:
    """The error that a refused login is: NO or BAD of IMAP, -ERR of POP3, or a BYE in between.

    `text` begins with the response code in brackets where there is one.
    """
    table = _table()
    match = re.match(r"\s*\[([^\]\s]+)[^\]]*\]", text)
    category = table.response_codes.get(match.group(1).upper()) if match else None
    entry = _first(table.rate_limit, None, None, text)
    if category in (None, "rate-limit") and _first(table.space, None, None, text):
        category = "quota"
    elif category in (None, "rate-limit") and entry is not None:
        category = "rate-limit"
    elif category is None:
        category = "temporary" if _first(table.login_temporary, None, None, text) else "authentication"
    wait = stated_wait(text, now)
    if wait is None and entry is not None:
        wait = entry.window
    return MailError(
        category,
        text.strip() or "the server refused the login without a word",
        retry_after=wait if category not in ("authentication", "quota") else None,
    )


# -- stated times ------------------------------------------------------------------

_IN: Final = re.compile(
    r"\b(?:in|after|for|wait|within|a|another|at\s+least)\s+(?:about\s+|at\s+least\s+)?(\d{1,6})\s*[- ]?"
    r"(second|sec|s|minute|min|m|hour|hr|h|day|d)s?\b",
    re.IGNORECASE,
)
_RETRY_AFTER: Final = re.compile(r"\bretry[- ]after[:=]?\s*(\d{1,7})\b(?!\s*[-:]\d)", re.IGNORECASE)
_BACKOFF: Final = re.compile(r"\bback-?off\s+time[:=]?\s*(\d{1,10})\b", re.IGNORECASE)
"""In milliseconds, as Exchange says it, with the unit or without."""
_CLOCK: Final = re.compile(r"\b(?:in|after)\s+(\d{1,2}):(\d{2}):(\d{2})\b(?!\s*(?:UTC|GMT|Z))", re.IGNORECASE)
_ISO: Final = re.compile(r"\b(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(?:\.\d+)?\s*(Z|UTC|GMT|[+-]\d{2}:?\d{2})?")
_RFC5322: Final = re.compile(
    r"\b(?:\w{3},\s+)?\d{1,2}\s+\w{3}\s+\d{4}\s+\d{2}:\d{2}:\d{2}(?:\s+(?:[+-]\d{4}|GMT|UTC))?"
)
_LONGEST: Final = 7 * 86400.0


def stated_wait(text: str, now: datetime | None = None) -> float | None:
    """The wait in seconds that a text states, or None: "try again in 5 minutes", "Retry-After: 120",
    "come back in 00:05:00", a point in time after `now`. More than a week is taken as a week."""
    wait: float | None = None
    if match := _RETRY_AFTER.search(text):
        wait = float(match.group(1))
    elif match := _BACKOFF.search(text):
        wait = float(match.group(1)) / 1000
    elif match := _CLOCK.search(text):
        hours, minutes, seconds = (int(part) for part in match.groups())
        wait = hours * 3600.0 + minutes * 60 + seconds
    elif match := _IN.search(text):
        wait = float(match.group(1)) * _UNITS[match.group(2)[0].lower()]
    elif now is not None:
        moment = _stated_time(text)
        if moment is not None and moment > now:
            wait = (moment - now).total_seconds()
    return min(wait, _LONGEST) if wait else None


def _stated_time(text: str) -> datetime | None:
    from datetime import UTC

    try:
        if match := _ISO.search(text):
            zone = match.group(3) or "+00:00"
            zone = "+00:00" if zone.isalpha() else zone
            return datetime.fromisoformat(f"{match.group(1)}T{match.group(2)}{zone}")
        if match := _RFC5322.search(text):
            from email.utils import parsedate_to_datetime

            moment = parsedate_to_datetime(match.group(0))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        return None
    return None
