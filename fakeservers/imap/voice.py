"""Other ways of saying the same: responses are read again and written as the `say_*` options want them.

Everything said here is right by the grammar (RFC 3501 9, RFC 9051 9): a client has to understand all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import NamedTuple

from fakeservers.actions import Pace, Send
from fakeservers.imap.options import Manners
from fakeservers.imap.spelling import internal_date, quoted

__all__ = ["Voice", "voice_of"]

_LITERAL = re.compile(rb"(~?)\{(\d+)\}\r\n")
_ATOM = re.compile(rb'(?:[^\s()"{\[]|\[[^\]]*\])+')
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_PLAIN_ATOM = re.compile(rb"[^\x00-\x20(){%*\"\\\]\x7f-\xff]+\Z")
_NOT_QUOTABLE = re.compile(rb"[\x00\r\n\x80-\xff]")
_FETCH = re.compile(rb"\* \d+ FETCH \(")
_LISTED = re.compile(rb'(\* (?:LIST|LSUB|XLIST) \([^)]*\) (?:"(?:[^"\\]|\\.)*"|NIL) )')
_STATUS = re.compile(rb"(\* STATUS )")
_STATE = re.compile(rb"(\S+ (?:OK|NO|BAD|BYE|PREAUTH)) \[([A-Z-]+)[^\]]*\] ?")
_DATE = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\Z")
_NEEDED = frozenset(
    {
        b"ALERT", b"BADCHARSET", b"BADEVENT", b"BADURL", b"CLOSED", b"HIGHESTMODSEQ", b"MAILBOXID", b"METADATA",
        b"MODIFIED", b"READ-ONLY", b"REFERRAL", b"TRYCREATE", b"UIDNEXT", b"UIDVALIDITY", b"UNKNOWN-CTE",
    }
)  # fmt: skip
"""Codes without which something cannot be known, or that their RFC demands."""
_LONGEST_QUOTED = 1000
_ZONES = (-480, -210, 0, 60, 345, 540)


class _Text(NamedTuple):
    """A string, and the form in which the server would say it."""

    octets: bytes
    form: str = "quoted"
    """quoted, literal, or literal8, which stays one."""


class _List(list[object]):
    """A list's values; `glued` are the places of those with no space before them, as the parts of a multipart have."""

    def __init__(self) -> None:
        super().__init__()
        self.glued: set[int] = set()


def voice_of(manners: Manners, random: Random) -> Voice | None:
    """None where the server says everything in the plain way."""
    plain = Manners()
    names = [name for name in Manners.__dataclass_fields__ if name.startswith("say_")]
    if all(getattr(manners, name) == getattr(plain, name) for name in names):
        return None
    return Voice(manners, random)


class Voice:
    def __init__(self, manners: Manners, random: Random) -> None:
        self._manners = manners
        self._random = random

    def speak(self, send: Send, exists: int | None) -> Send:
        """The same in other words. `exists`: messages in the selected mailbox, or None."""
        data = b"".join(self._said(send.data, exists))
        pace = send.pace
        if self._wants(self._manners.say_split, "literals") and pace is None:
            positions = tuple(at for match in _LITERAL.finditer(data) for at in _cuts(match))[:64]
            pace = Pace(positions) if positions else None
        return replace(send, data=data, pace=pace)

    def _wants(self, chosen: str, word: str) -> bool:
        return chosen == word or (chosen == "mixed" and self._random.random() < 0.5)

    def _said(self, data: bytes, exists: int | None) -> Iterator[bytes]:
        for response in _responses(data):
            if response.startswith(b"* ") and self._wants(self._manners.say_more, "often"):
                yield self._unasked(exists)
            yield self._respelled(response)

    def _unasked(self, exists: int | None) -> bytes:
        if exists is not None and self._random.random() < 0.5:
            return b"* %d EXISTS\r\n" % exists
        return b"* OK Still here\r\n"

    def _respelled(self, response: bytes) -> bytes:
        if _FETCH.match(response):
            return self._fetch(response)
        for pattern in (_LISTED, _STATUS):
            if (head := pattern.match(response)) is not None:
                name, at = _value(response, head.end())
                return head[1] + self._name(name) + response[at:]
        state = _STATE.match(response)
        if state is not None and state[2] not in _NEEDED and self._wants(self._manners.say_codes, "few"):
            return b"%b %b" % (state[1], response[state.end() :].strip() or b"Done") + b"\r\n"
        return response

    # --- FETCH

    def _fetch(self, response: bytes) -> bytes:
        at = response.index(b"(")
        data, end = _value(response, at)
        assert isinstance(data, _List)
        pairs = list(zip(data[::2], data[1::2], strict=True))
        match self._manners.say_items:
            case "reversed":
                pairs.reverse()
            case "mixed":
                self._random.shuffle(pairs)
        said = [self._item(name, value) for name, value in pairs if isinstance(name, bytes)]
        return b"%b(%b)%b" % (response[:at], b" ".join(said), response[end:])

    def _item(self, name: bytes, value: object) -> bytes:
        kind = name.upper()
        if kind in (b"INTERNALDATE", b"SAVEDATE") and isinstance(value, _Text):
            said = self._date(value.octets)
        else:
            if kind == b"ENVELOPE" and isinstance(value, _List):
                for place in (0, 1, 8, 9):
                    if value[place] == b"NIL" and self._wants(self._manners.say_empty, "empty"):
                        value[place] = _Text(b"")
            said = self._written(value)
        lower = self._wants(self._manners.say_case, "lower")
        return b"%b %b" % (name.lower() if lower else name, said)

    def _written(self, value: object) -> bytes:
        if isinstance(value, _List):
            said = [(b"" if place in value.glued else b" ") + self._written(each) for place, each in enumerate(value)]
            return b"(%b)" % b"".join(said)
        if isinstance(value, _Text):
            return self._string(value)
        assert isinstance(value, bytes)
        return b"nil" if value == b"NIL" and self._wants(self._manners.say_case, "lower") else value

    def _string(self, text: _Text) -> bytes:
        octets = text.octets
        if text.form == "literal8":
            return b"~{%d}\r\n%b" % (len(octets), octets)
        quotable = len(octets) <= _LONGEST_QUOTED and not _NOT_QUOTABLE.search(octets)
        how = self._manners.say_strings
        literal = text.form == "literal" if how == "plain" else self._wants(how, "literals")
        if literal or not quotable:
            return b"{%d}\r\n%b" % (len(octets), octets)
        return quoted(octets)

    def _name(self, name: object) -> bytes:
        """A mailbox name: an atom is a third form."""
        octets = name.octets if isinstance(name, _Text) else name
        assert isinstance(octets, bytes)
        atom = _PLAIN_ATOM.match(octets) is not None and octets.upper() != b"NIL"
        how = self._manners.say_strings
        if how == "mixed":
            how = self._random.choice(("plain", "literals", "quoted"))
        if how == "plain" and atom:
            return octets
        if how == "literals" or _NOT_QUOTABLE.search(octets):
            return b"{%d}\r\n%b" % (len(octets), octets)
        return quoted(octets)

    def _date(self, text: bytes) -> bytes:
        match = _DATE.match(text)
        how = self._manners.say_dates
        if how == "mixed":
            how = self._random.choice(("blank", "zero", "zones"))
        if match is None or how == "blank":
            return quoted(text)
        if how == "zero":
            return quoted(text.replace(b" ", b"0", 1) if text.startswith(b" ") else text)
        from fakeservers.imap.cursor import Cursor

        moment, _ = Cursor([quoted(text)]).date_time()
        return internal_date(moment, self._random.choice(_ZONES))


def _cuts(literal: re.Match[bytes]) -> tuple[int, ...]:
    """In the announcement, before the octets, and in the middle of them."""
    size = int(literal[2])
    return (literal.start() + 1, literal.end(), literal.end() + size // 2) if size > 1 else (literal.end(),)


def _responses(data: bytes) -> Iterator[bytes]:
    """Whole responses, their literals in them."""
    start = at = 0
    while at < len(data):
        end = data.find(b"\r\n", at)
        if end < 0:
            break
        end += 2
        line = data.rfind(b"{", at, end)
        literal = _LITERAL.match(data, line) if line >= 0 else None
        if literal is not None and literal.end() == end:
            at = end + int(literal[2])
            continue
        yield data[start:end]
        start = at = end
    if start < len(data):
        yield data[start:]


def _value(data: bytes, at: int) -> tuple[object, int]:
    """One value at a place: a list, a string, or an atom; and the place behind it."""
    if data.startswith(b"(", at):
        found = _List()
        at += 1
        while not data.startswith(b")", at):
            if data.startswith(b" ", at):
                at += 1
            else:
                found.glued.add(len(found))
            value, at = _value(data, at)
            found.append(value)
        return found, at + 1
    if (text := _QUOTED.match(data, at)) is not None:
        return _Text(_ESCAPE.sub(rb"\1", text[1])), text.end()
    if (literal := _LITERAL.match(data, at)) is not None:
        end = literal.end() + int(literal[2])
        return _Text(data[literal.end() : end], "literal8" if literal[1] else "literal"), end
    atom = _ATOM.match(data, at)
    assert atom is not None, data[at : at + 40]
    return atom[0], atom.end()
