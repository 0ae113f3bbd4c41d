"""SORT and THREAD (RFC 5256)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.imap.command import SELECTED, Answer, Command
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.search import Program, parse_charset_program
from fakeservers.imap.sorting import SORT_KEYS
from fakeservers.imap.threads import ALGORITHMS, written
from fakeservers.mailstore import Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Sort", "Thread"]


class _Ordered(Command):
    """A command that finds messages and tells them in another order than the mailbox's."""

    states = SELECTED
    expunges = False
    has_uid_form = True

    program: Program
    written: str = ""

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"items": self.written}

    def found(self, session: ImapSession) -> list[tuple[int, Message]]:
        assert session.selected is not None
        found = list(self.program.run(session.selected))
        return [(message.uid, message) for _, message in found] if self.uid else found


class Sort(_Ordered):
    """SORT SP "(" sort-criteria ")" SP charset SP search-key *(SP search-key)"""

    name = "SORT"
    capability = "SORT"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.written = cursor.text[cursor.at :].decode("utf-8", "replace")
        self.criteria = cursor.parenthesized(lambda: self._criterion(cursor))
        if not self.criteria:
            cursor.fail("a sort key")
        cursor.space()
        self.program = parse_charset_program(cursor, session)

    def _criterion(self, cursor: Cursor) -> tuple[str, bool]:
        """["REVERSE" SP] sort-key"""
        key = cursor.word()
        reverse = key == "REVERSE"
        if reverse:
            cursor.space()
            key = cursor.word()
        if key not in SORT_KEYS:
            cursor.fail("a sort key")
        return key, reverse

    def run(self, session: ImapSession) -> Answer:
        found = self.found(session)
        # The last key first: each sort keeps the order of equals, and the mailbox's order stands behind all keys.
        for key, reverse in reversed(self.criteria):
            of = SORT_KEYS[key]
            values = {id(message): of(message) for _, message in found}
            found.sort(key=lambda each: values[id(each[1])], reverse=reverse)  # type: ignore[arg-type,return-value]
        said = b" ".join([b"* SORT", *(b"%d" % number for number, _ in found)])
        highest = max((message.modseq for _, message in found), default=0) if self.program.modseq else 0
        session.out.append(said + (b" (MODSEQ %d)\r\n" % highest if highest else b"\r\n"))
        return Answer("sort.ok")


class Thread(_Ordered):
    """THREAD SP thread-alg SP charset SP search-key *(SP search-key)"""

    name = "THREAD"
    capability = "THREAD=REFERENCES|THREAD=ORDEREDSUBJECT"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.written = cursor.text[cursor.at :].decode("utf-8", "replace")
        self.algorithm = cursor.word()
        if self.algorithm not in ALGORITHMS:
            cursor.fail("a threading algorithm")
        session.require(cursor, f"THREAD={self.algorithm}", "a threading algorithm")
        cursor.space()
        self.program = parse_charset_program(cursor, session)

    def run(self, session: ImapSession) -> Answer:
        threads = ALGORITHMS[self.algorithm](self.found(session))
        session.out.append(b"* THREAD %b\r\n" % written(threads) if threads else b"* THREAD\r\n")
        return Answer("thread.ok")
