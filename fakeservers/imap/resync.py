"""Quick resynchronization (QRESYNC: RFC 7162 3.2): what a client that was here before has missed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from fakeservers.imap.cursor import Cursor
from fakeservers.imap.selected import Selected
from fakeservers.imap.sequence import SequenceSet, compact, merge
from fakeservers.mailstore import Mailbox

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Known", "read_known", "resynchronize", "vanished_since"]

_uid = attrgetter("uid")
_MOST_MATCHED = 10_000
"""Pairs of the match data that are looked at; more only serve to keep the server busy."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the client remembers of a mailbox."""

    uidvalidity: int
    modseq: int
    uids: SequenceSet | None
    matched: tuple[SequenceSet, SequenceSet] | None
    """Some message sequence numbers and their UIDs."""


def read_known(cursor: Cursor) -> Known:
    """ "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")" """
    cursor.space()
    cursor.expect(b"(")
    uidvalidity = cursor.number()
    cursor.space()
    modseq = cursor.number(2**63 - 1)
    uids: SequenceSet | None = None
    matched: tuple[SequenceSet, SequenceSet] | None = None
    while not cursor.take(b")"):
        cursor.space()
        if cursor.take(b"("):
            numbers = _known_set(cursor)
            cursor.space()
            matched = (numbers, _known_set(cursor))
            cursor.expect(b")")
        elif uids is None:
            uids = _known_set(cursor)
        else:
            cursor.fail("the end of what is known")
    return Known(uidvalidity, modseq, uids, matched)


def _known_set(cursor: Cursor) -> SequenceSet:
    """A sequence set without `*` and `$` (RFC 7162 7)."""
    wanted = cursor.sequence_set()
    if any(min(pair) < 1 for pair in wanted):
        cursor.fail("a sequence set without * and $")
    return wanted


def resynchronize(session: ImapSession, view: Selected, known: Known) -> list[bytes]:
    """VANISHED (EARLIER) and FETCH for what has changed since (RFC 7162 3.2.5)."""
    mailbox = view.mailbox
    if known.uidvalidity != mailbox.uidvalidity:
        return []
    said = []
    gone = vanished_since(mailbox, known.modseq, known.uids)
    if known.matched is not None:
        behind = _still_right(view, *known.matched)
        gone = gone[bisect_left(gone, behind) :]
    if gone:
        said.append(b"* VANISHED (EARLIER) %b\r\n" % compact(gone))
    wanted = known.uids or ((1, mailbox.uidnext),)
    for seq, message in view.numbered(view.spans(wanted, uid=True)):
        if message.modseq > known.modseq:
            said.append(session.describe(seq, message, uid=True))
    return said


def _still_right(view: Selected, numbers: SequenceSet, uids: SequenceSet) -> int:
    """The first UID of which the client's match data do not say that nothing before it has gone."""
    right = 0
    for (seq, uid), _ in zip(zip(_each(numbers), _each(uids), strict=False), range(_MOST_MATCHED), strict=False):
        if not 0 < seq <= view.exists or view.messages[seq - 1].uid != uid:
            break
        right = uid
    return right


def _each(wanted: SequenceSet) -> Iterator[int]:
    for first, last in wanted:
        yield from range(min(first, last), max(first, last) + 1)


def vanished_since(mailbox: Mailbox, modseq: int, wanted: SequenceSet | None = None) -> list[int]:
    """UIDs in `wanted` expunged after `modseq`. Where the mailbox does not remember so far back, every UID that is not
    there (RFC 7162 3.2.5.1 allows more than what is new)."""
    if modseq >= mailbox.remembers:
        gone = mailbox.vanished_since(modseq)
    else:
        there = {message.uid for message in mailbox.messages}
        gone = [uid for uid in range(1, mailbox.uidnext) if uid not in there]
    if wanted is None:
        return gone
    largest = mailbox.uidnext - 1
    asked = [sorted((low or largest, high or largest)) for low, high in wanted]
    return [uid for first, end in merge((low, high + 1) for low, high in asked) for uid in _between(gone, first, end)]


def _between(uids: list[int], first: int, end: int) -> list[int]:
    return uids[bisect_left(uids, first) : bisect_left(uids, end)]
