"""SEARCH (RFC 3501 6.4.4) with the results of ESEARCH (RFC 4731) and SEARCHRES (RFC 5182)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.imap.command import SELECTED, Answer, Command, RefusedError
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.search import parse_program
from fakeservers.imap.sequence import compact, ranges
from fakeservers.imap.spelling import quoted

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Search"]

_RESULTS = frozenset({"MIN", "MAX", "ALL", "COUNT", "SAVE"})


class Search(Command):
    """SEARCH [SP "RETURN" SP "(" results ")"] SP search-program"""

    name = "SEARCH"
    states = SELECTED
    expunges = False
    has_uid_form = True

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        start = cursor.at
        self.results: list[str] | None = None
        if session.offers("ESEARCH") and cursor.at_word(b"RETURN "):
            cursor.at += len("RETURN ")
            self.results = cursor.parenthesized(cursor.word) or ["ALL"]
            if not _RESULTS.issuperset(self.results):
                cursor.fail("MIN, MAX, ALL, COUNT or SAVE")
            if "SAVE" in self.results:
                session.require(cursor, "SEARCHRES", "a result")
            cursor.space()
        elif session.rev2:
            self.results = ["ALL"]
        self.written = cursor.text[start:].decode("utf-8", "replace")
        try:
            self.program = parse_program(cursor, session)
        except RefusedError:
            if self.results is not None and "SAVE" in self.results and session.selected is not None:
                # A search that fails with NO leaves an empty result (RFC 5182 2.1).
                session.selected.saved = ()
            raise

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"items": self.written}

    def run(self, session: ImapSession) -> Answer:
        assert session.selected is not None
        numbers, found = [], []
        for seq, message in self.program.run(session.selected):
            numbers.append(message.uid if self.uid else seq)
            found.append(message)
        highest = self._highest([message.modseq for message in found]) if self.program.modseq and found else 0
        if self.results is None:
            said = b" ".join([b"* SEARCH", *(b"%d" % number for number in numbers)])
            session.out.append(said + (b" (MODSEQ %d)\r\n" % highest if highest else b"\r\n"))
        else:
            if "SAVE" in self.results:
                session.selected.saved = tuple(ranges(self._kept([message.uid for message in found])))
            if self.results != ["SAVE"]:
                session.out.append(self._extended(session, self.results, numbers, highest))
        return Answer("search.ok")

    def _highest(self, modseqs: list[int]) -> int:
        """The mod-sequence that is told: that of all messages found, or of those alone that MIN and MAX name
        (RFC 4731 3.2)."""
        told = set(self.results or ()) - {"SAVE"}
        if told and told <= {"MIN", "MAX"}:
            modseqs = [modseqs[0] if result == "MIN" else modseqs[-1] for result in told]
        return max(modseqs)

    def _kept(self, uids: list[int]) -> list[int]:
        """What SAVE keeps: all that was found, or only the least and the greatest where nothing but these was asked
        for (RFC 5182 2.4)."""
        asked = set(self.results or ()) - {"SAVE"}
        if not uids or not asked or not asked <= {"MIN", "MAX"}:
            return uids
        ends = {result: uid for result, uid in (("MIN", uids[0]), ("MAX", uids[-1])) if result in asked}
        return sorted(set(ends.values()))

    def _extended(
        self,
        session: ImapSession,
        results: list[str],
        numbers: list[int],
        highest: int,
    ) -> bytes:
        said = [b"* ESEARCH (TAG %b)" % quoted(session.tag.encode())]
        if self.uid:
            said.append(b"UID")
        for result in dict.fromkeys(results):
            if result == "SAVE":
                continue
            if result == "COUNT":
                said.append(b"COUNT %d" % len(numbers))
            elif numbers and result == "ALL":
                said.append(b"ALL " + compact(numbers))
            elif numbers:
                said.append(b"%b %d" % (result.encode(), numbers[0] if result == "MIN" else numbers[-1]))
        if highest:
            said.append(b"MODSEQ %d" % highest)
        return b" ".join(said) + b"\r\n"
