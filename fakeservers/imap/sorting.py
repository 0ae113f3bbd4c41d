"""SORT keys and base subjects (RFC 5256)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from fakeservers.imap import texts
from fakeservers.imap.addresses import parse_addresses
from fakeservers.imap.headers import body_start, field_values
from fakeservers.mailstore import Message

__all__ = ["SORT_KEYS", "Subject", "base_subject", "sent_moment", "subject_of"]

_LONGEST = 4096
"""Characters of a subject that are looked at: each `Re:` of it is taken off by itself."""
_TRAILER = re.compile(r"(?:\(fwd\)|\s)+\Z", re.IGNORECASE)
_LEADER = re.compile(r"\s+|(?:\[[^][]*\]\s*)*(?:re|fwd?)\s*(?:\[[^][]*\]\s*)?:", re.IGNORECASE)
_BLOB = re.compile(r"\[[^][]*\]\s*")
_FORWARDED = re.compile(r"\[fwd:(.*)\]\Z", re.IGNORECASE | re.DOTALL)


class Subject(NamedTuple):
    """What a subject is about, and whether it said that the message is a reply or is forwarded."""

    base: str
    answers: bool


def base_subject(text: str) -> Subject:
    """The subject without `Re:`, `Fwd:`, `[list]` and `(fwd)` (RFC 5256 2.1); `text` has no encoded words any more."""
    text = " ".join(text[:_LONGEST].split())
    answers = False
    while True:
        without = _TRAILER.sub("", text)
        answers = answers or "(fwd)" in text[len(without) :].lower()
        text = without
        while True:
            leader = _LEADER.match(text)
            if leader is not None:
                answers = answers or ":" in leader[0]
                text = text[leader.end() :]
                continue
            blob = _BLOB.match(text)
            if blob is None or not text[blob.end() :]:
                break
            text = text[blob.end() :]
        forwarded = _FORWARDED.match(text)
        if forwarded is None:
            return Subject(text, answers)
        text, answers = forwarded[1], True


def subject_of(message: Message) -> Subject:
    return base_subject(next(texts.field_texts(message, b"subject"), ""))


def sent_moment(message: Message) -> float:
    """The Date field in UTC; the internal date where it says none (RFC 5256 2.2)."""
    moment = texts.sent_moment(message)
    return message.received if moment is None else moment


def _mailbox(field: bytes) -> Callable[[Message], str]:
    """addr-mailbox of the first address."""

    def key(message: Message) -> str:
        raw = message.raw
        value = field_values(raw[: body_start(raw)], frozenset({field})).get(field)
        first = next(iter(parse_addresses(value)), None) if value else None
        return (first.mailbox or b"").decode("utf-8", "replace").casefold() if first else ""

    return key


SORT_KEYS: Mapping[str, Callable[[Message], object]] = {
    "ARRIVAL": lambda message: message.received,
    "CC": _mailbox(b"cc"),
    "DATE": sent_moment,
    "FROM": _mailbox(b"from"),
    "SIZE": lambda message: message.size,
    "SUBJECT": lambda message: subject_of(message).base.casefold(),
    "TO": _mailbox(b"to"),
}
