"""SEARCH keys (RFC 3501 6.4.4): a program is read once into tests, the cheap ones first, and asked of each message."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from fakeservers.imap import texts
from fakeservers.imap.command import RefusedError
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.selected import Selected
from fakeservers.imap.sequence import SAVED, SequenceSet, Span, merge
from fakeservers.mailstore import Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = [
    "Key", "KeyTable", "Program", "Reading", "Test", "date_key", "flag_key",
    "parse_charset_program", "parse_program",
]  # fmt: skip

_DEEPEST = 50
_DAY = 86400

Asked = Callable[[int, Message], bool]


class Test(NamedTuple):
    """A question to one message by its sequence number. `cost` orders the tests of one program; `places` are the
    only places where the answer can be yes, where that is known."""

    cost: int
    ask: Asked
    places: list[Span] | None = None


class Program(NamedTuple):
    """All tests must hold. `modseq`: the answer carries the highest mod-sequence (RFC 7162 3.1.5)."""

    tests: list[Test]
    modseq: bool = False

    def run(self, view: Selected) -> Iterator[tuple[int, Message]]:
        """The messages found, in order, with their sequence numbers. (Who keeps none of these pairs makes no work for
        the garbage collector, which in a large mailbox costs more than the search.)"""
        spans = [(0, view.exists)]
        for test in self.tests:
            if test.places is not None:
                spans = _common(spans, test.places)
        asks = [test.ask for test in sorted(self.tests, key=lambda test: test.cost) if test.cost]
        numbered = view.numbered(spans)
        match asks:
            case []:
                return numbered
            case [ask]:
                return (pair for pair in numbered if ask(*pair))
        return (pair for pair in numbered if all(ask(*pair) for ask in asks))


def _common(left: list[Span], right: list[Span]) -> list[Span]:
    return merge((max(a, c), min(b, d)) for a, b in left for c, d in right)


@dataclass(slots=True)
class Reading:
    """A search program while it is read."""

    cursor: Cursor
    session: ImapSession
    view: Selected
    charset: str = "utf-8"
    charset_given: bool = False
    modseq: bool = False
    depth: int = 0

    def text(self) -> str:
        """A search string. Raises BadSyntaxError for octets that the charset does not have."""
        strict = self.session.manners.search_strict_charset
        octets = self.cursor.astring(eight_bit=not strict)
        if strict and not (self.charset_given or self.session.utf8) and not octets.isascii():
            self.cursor.fail("a charset for 8-bit text")
        try:
            return octets.decode(self.charset)
        except UnicodeDecodeError:
            self.cursor.fail(f"text in {self.charset}")


Key = Callable[[Reading], Test]
"""Reads what stands behind a key's name."""
KeyTable = Mapping[str, tuple[str, Key]]
"""Key: the capabilities that bring it (`|` between), and its reader."""


@cache
def _extensions() -> KeyTable:
    from fakeservers.imap import gmail, identity, savedate

    own: KeyTable = {
        "MODSEQ": ("CONDSTORE|QRESYNC", _modseq),
        "OLDER": ("WITHIN", _age(True)),
        "YOUNGER": ("WITHIN", _age(False)),
    }
    return {**own, **gmail.KEYS, **identity.KEYS, **savedate.KEYS}


def parse_program(cursor: Cursor, session: ImapSession) -> Program:
    """["CHARSET" SP astring SP] search-key *(SP search-key). Raises RefusedError for a charset unknown here."""
    assert session.selected is not None
    reading = Reading(cursor, session, session.selected)
    if cursor.text[cursor.at : cursor.at + 8].upper() == b"CHARSET ":
        if "UTF8=ACCEPT" in session.enabled:
            cursor.fail("no CHARSET after ENABLE UTF8=ACCEPT")
        cursor.at += 8
        reading.charset = _charset(cursor.astring())
        reading.charset_given = True
        cursor.space()
    return _program(reading)


def parse_charset_program(cursor: Cursor, session: ImapSession) -> Program:
    """charset SP search-key *(SP search-key): SORT and THREAD name the charset always (RFC 5256 3)."""
    assert session.selected is not None
    reading = Reading(cursor, session, session.selected)
    reading.charset = _charset(cursor.astring())
    reading.charset_given = True
    cursor.space()
    return _program(reading)


def _program(reading: Reading) -> Program:
    tests = [_key(reading)]
    while reading.cursor.more():
        tests.append(_key(reading))
    return Program(tests, reading.modseq)


def _charset(name: bytes) -> str:
    if name.upper() in (b"US-ASCII", b"ASCII", b"UTF-8"):
        return "utf-8" if name.upper() == b"UTF-8" else "ascii"
    raise RefusedError("search.charset")


def _key(reading: Reading) -> Test:
    cursor = reading.cursor
    if cursor.peek(b"("):
        return _all(_list(reading))
    if cursor.peek(b"*") or cursor.peek(b"$") or cursor.text[cursor.at : cursor.at + 1].isdigit():
        return _places(reading, cursor.sequence_set(), uid=False)
    name = cursor.word()
    if name in _FLAGS:
        return flag_key(*_FLAGS[name])
    known = _KEYS.get(name)
    if known is None:
        capability, known = _extensions().get(name, ("-", _not))
        reading.session.require(cursor, capability, "a search key")
    return known(reading)


def _list(reading: Reading) -> list[Test]:
    reading.depth += 1
    if reading.depth > _DEEPEST:
        reading.cursor.fail("fewer nested keys")
    tests = reading.cursor.parenthesized(lambda: _key(reading))
    reading.depth -= 1
    if not tests:
        reading.cursor.fail("a search key")
    return tests


def _age(older: bool) -> Callable[[Reading], Test]:
    """OLDER / YOUNGER SP seconds (RFC 5032)"""

    def key(reading: Reading) -> Test:
        reading.cursor.space()
        interval = reading.cursor.number() or reading.cursor.fail("a number over 0")
        limit = reading.session.site.clock.now() - interval
        if older:
            return Test(1, lambda seq, message: message.received <= limit)
        return Test(1, lambda seq, message: message.received >= limit)

    return key


def _argument(reading: Reading) -> Test:
    """A key that is another key's argument, space first."""
    reading.cursor.space()
    return _nested(reading)


def _nested(reading: Reading) -> Test:
    reading.depth += 1
    if reading.depth > _DEEPEST:
        reading.cursor.fail("fewer nested keys")
    test = _key(reading)
    reading.depth -= 1
    return test


# --- keys


def _places(reading: Reading, wanted: SequenceSet, *, uid: bool) -> Test:
    view = reading.view
    if uid or wanted is SAVED:
        spans = view.spans(wanted, uid=True)
    else:
        # A number that no message has finds nothing, and is no error in a search.
        exists = view.exists
        spans = merge(
            (max(low, 1) - 1, min(high, exists))
            for low, high in (sorted((a or exists, b or exists)) for a, b in wanted)
        )
    return Test(0, lambda seq, message: any(start < seq <= stop for start, stop in spans), spans)


def flag_key(flag: str, wanted: bool) -> Test:
    if wanted:
        return Test(1, lambda seq, message: flag in message.flags)
    return Test(1, lambda seq, message: flag not in message.flags)


def _all(tests: list[Test]) -> Test:
    asks = [test.ask for test in sorted(tests, key=lambda test: test.cost)]
    cost = max(1, *(test.cost for test in tests)) if len(tests) > 1 else max(1, tests[0].cost)
    return Test(cost, lambda seq, message: all(ask(seq, message) for ask in asks))


def _not(reading: Reading) -> Test:
    test = _argument(reading)
    return Test(max(1, test.cost), lambda seq, message: not test.ask(seq, message))


def _or(reading: Reading) -> Test:
    """OR SP search-key SP search-key. Clients search for any of hundreds of things with ORs within ORs, so that those
    count as one level."""
    tests = []
    missing = 2
    while missing:
        reading.cursor.space()
        if reading.cursor.at_word(b"OR "):
            reading.cursor.word()
            missing += 1
        else:
            tests.append(_nested(reading))
            missing -= 1
    tests.sort(key=lambda test: test.cost)
    asked = [test.ask for test in tests]
    return Test(max(1, tests[-1].cost), lambda seq, message: any(ask(seq, message) for ask in asked))


def _new(reading: Reading) -> Test:
    view = reading.view
    return Test(1, lambda seq, message: "\\Seen" not in message.flags and view.is_recent(message))


def _recent(wanted: bool) -> Callable[[Reading], Test]:
    def key(reading: Reading) -> Test:
        view = reading.view
        return Test(1, lambda seq, message: view.is_recent(message) == wanted)

    return key


def _keyword(wanted: bool) -> Callable[[Reading], Test]:
    def key(reading: Reading) -> Test:
        reading.cursor.space()
        flag = reading.view.mailbox.flag_name(reading.cursor.atom().decode())
        return flag_key(flag, wanted)

    return key


def _size(larger: bool) -> Callable[[Reading], Test]:
    def key(reading: Reading) -> Test:
        reading.cursor.space()
        size = reading.cursor.number(2**63 - 1)
        if larger:
            return Test(1, lambda seq, message: message.size > size)
        return Test(1, lambda seq, message: message.size < size)

    return key


def _uid(reading: Reading) -> Test:
    reading.cursor.space()
    return _places(reading, reading.cursor.sequence_set(), uid=True)


def _day_of(message: Message) -> int:
    """The internal date's own day (its time and zone put aside), counted from 1970."""
    return int(message.received + message.zone * 60) // _DAY


def _day_sent(message: Message) -> int | None:
    return texts.sent_day(message)


def date_key(day_of: Callable[[Message], int | None], cost: int, relation: str) -> Callable[[Reading], Test]:
    def key(reading: Reading) -> Test:
        reading.cursor.space()
        wanted = (reading.cursor.date() - datetime.date(1970, 1, 1)).days

        def ask(seq: int, message: Message) -> bool:
            day = day_of(message)
            if day is None:
                return False
            return day < wanted if relation == "before" else day == wanted if relation == "on" else day >= wanted

        return Test(cost, ask)

    return key


def _field(name: bytes) -> Callable[[Reading], Test]:
    def key(reading: Reading) -> Test:
        reading.cursor.space()
        return _intext_key(reading, name, reading.text())

    return key


def _header(reading: Reading) -> Test:
    reading.cursor.space()
    name = reading.cursor.astring().lower()
    reading.cursor.space()
    return _intext_key(reading, name, reading.text())


def _intext_key(reading: Reading, name: bytes, wanted: str) -> Test:
    found = texts.finder(wanted, whole_words=reading.session.manners.search_whole_words)
    return Test(3, lambda seq, message: any(found(value) for value in texts.field_texts(message, name)))


def _body(reading: Reading) -> Test:
    reading.cursor.space()
    wanted = reading.text()
    found = texts.finder(wanted, whole_words=reading.session.manners.search_whole_words)
    return Test(5, lambda seq, message: any(found(text) for text in texts.body_texts(message)))


def _text(reading: Reading) -> Test:
    reading.cursor.space()
    wanted = reading.text()
    found = texts.finder(wanted, whole_words=reading.session.manners.search_whole_words)

    def ask(seq: int, message: Message) -> bool:
        return found(texts.header_text(message)) or any(found(text) for text in texts.body_texts(message))

    return Test(6, ask)


def _modseq(reading: Reading) -> Test:
    """MODSEQ [SP entry-name SP entry-type-req] SP mod-sequence-valzer (RFC 7162 3.1.5)"""
    cursor = reading.cursor
    cursor.space()
    if cursor.peek(b'"'):
        cursor.string()
        cursor.space()
        cursor.word()
        cursor.space()
    limit = cursor.number(2**63 - 1)
    reading.modseq = True
    reading.session.enable("CONDSTORE")
    return Test(1, lambda seq, message: message.modseq >= limit)


_FLAGS = {
    "ANSWERED": ("\\Answered", True),
    "DELETED": ("\\Deleted", True),
    "DRAFT": ("\\Draft", True),
    "FLAGGED": ("\\Flagged", True),
    "SEEN": ("\\Seen", True),
    "UNANSWERED": ("\\Answered", False),
    "UNDELETED": ("\\Deleted", False),
    "UNDRAFT": ("\\Draft", False),
    "UNFLAGGED": ("\\Flagged", False),
    "UNSEEN": ("\\Seen", False),
}
_KEYS: dict[str, Callable[[Reading], Test]] = {
    "ALL": lambda reading: Test(0, lambda seq, message: True),
    "BCC": _field(b"bcc"),
    "BEFORE": date_key(_day_of, 1, "before"),
    "BODY": _body,
    "CC": _field(b"cc"),
    "FROM": _field(b"from"),
    "HEADER": _header,
    "KEYWORD": _keyword(True),
    "LARGER": _size(True),
    "NEW": _new,
    "NOT": _not,
    "OLD": _recent(False),
    "ON": date_key(_day_of, 1, "on"),
    "OR": _or,
    "RECENT": _recent(True),
    "SENTBEFORE": date_key(_day_sent, 4, "before"),
    "SENTON": date_key(_day_sent, 4, "on"),
    "SENTSINCE": date_key(_day_sent, 4, "since"),
    "SINCE": date_key(_day_of, 1, "since"),
    "SMALLER": _size(False),
    "SUBJECT": _field(b"subject"),
    "TEXT": _text,
    "TO": _field(b"to"),
    "UID": _uid,
    "UNKEYWORD": _keyword(False),
}
