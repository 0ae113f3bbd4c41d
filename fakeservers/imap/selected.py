"""One session's view of its selected mailbox: message sequence numbers, and what it was not yet told."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from fakeservers.imap import sequence
from fakeservers.imap.sequence import SequenceSet, Span
from fakeservers.imap.spelling import flag_list
from fakeservers.mailstore import Mailbox, Message

__all__ = ["Selected"]

_uid = attrgetter("uid")


class Selected:
    """The message with sequence number n is `messages[n - 1]`, for n up to `exists`.

    `messages` is the mailbox's own list as it was when the client was last told of an expunge; the mailbox appends to
    that list and never takes from it, so the view costs nothing to keep.
    """

    __slots__ = (
        "_changed", "_gone", "_keywords", "_muted", "_recent", "_stirred", "exists", "mailbox", "messages", "read_only",
        "recent_never", "rev2", "saved",
    )  # fmt: skip

    def __init__(
        self,
        mailbox: Mailbox,
        *,
        read_only: bool,
        recent_never: bool = False,
        rev2: bool = False,
        stirred: Callable[[], None],
    ) -> None:
        self.mailbox = mailbox
        self.messages = mailbox.messages
        self.exists = len(mailbox.messages)
        self.read_only = read_only
        self.recent_never = recent_never or rev2
        self.rev2 = rev2
        """\\Recent and RECENT do not exist (RFC 9051 appendix E)."""
        self.saved: SequenceSet = ()
        """UIDs of the last SEARCH RETURN (SAVE), without a gap inside a range: `$` never grows (RFC 5182 2.1)."""
        self._stirred = stirred
        self._gone: list[Message] = []
        self._changed: dict[int, Message] = {}
        self._keywords = len(mailbox.keywords)
        self._muted = False
        self._recent: list[tuple[int, int]] = []
        """UIDs, first and last, that this session was the first to be told of."""
        self._claim_recent()
        mailbox.watchers.add(self._watch)

    def leave(self) -> None:
        self.mailbox.watchers.discard(self._watch)

    # --- \\Recent

    def _claim_recent(self) -> None:
        mailbox = self.mailbox
        if self.recent_never or mailbox.recent_uid >= mailbox.uidnext:
            return
        first, last = mailbox.recent_uid, mailbox.uidnext - 1
        if self._recent and self._recent[-1][1] >= first - 1:
            first = self._recent.pop()[0]
        self._recent.append((first, last))
        if not self.read_only:
            mailbox.recent_uid = mailbox.uidnext

    def is_recent(self, message: Message) -> bool:
        uid = message.uid
        for first, last in self._recent:  # noqa: SIM110 a generator costs more than the rest of FETCH FLAGS
            if first <= uid <= last:
                return True
        return False

    @property
    def has_recent(self) -> bool:
        return bool(self._recent)

    def recent(self) -> int:
        """How many messages of the view are \\Recent."""
        total = 0
        for first, last in self._recent:
            low = bisect_left(self.messages, first, 0, self.exists, key=_uid)
            total += bisect_left(self.messages, last + 1, low, self.exists, key=_uid) - low
        return total

    # --- finding messages

    def spans(self, wanted: SequenceSet, *, uid: bool) -> list[Span]:
        """Places in `messages`. Raises ValueError for a sequence number that no message has."""
        if wanted is sequence.SAVED:
            return sequence.uid_spans(self.saved, self.messages, self.exists)
        if uid:
            return sequence.uid_spans(wanted, self.messages, self.exists)
        return sequence.seq_spans(wanted, self.exists)

    def numbered(self, spans: Iterable[Span]) -> Iterator[tuple[int, Message]]:
        for start, stop in spans:
            yield from enumerate(self.messages[start:stop], start + 1)

    @property
    def outdated(self) -> bool:
        """Another session has expunged messages that this one was not yet told of."""
        return bool(self._gone)

    def present(self, messages: Iterable[Message]) -> list[Message]:
        """Those that no other session has expunged meanwhile."""
        if not self._gone:
            return list(messages)
        gone = set(map(id, self._gone))
        return [message for message in messages if id(message) not in gone]

    def seq(self, message: Message) -> int | None:
        index = bisect_left(self.messages, message.uid, 0, self.exists, key=_uid)
        return index + 1 if index < self.exists and self.messages[index] is message else None

    # --- changes

    def set_flags(
        self, messages: Iterable[Message], change: Callable[[frozenset[str]], frozenset[str]]
    ) -> list[Message]:
        """Change flags without being told of it again; other sessions are."""
        self._muted = True
        try:
            return self.mailbox.set_flags(self.present(messages), change)
        finally:
            self._muted = False

    def note_change(self, message: Message) -> None:
        """Announce this message's flags with what comes next."""
        self._changed[message.uid] = message

    def _watch(self, mailbox: Mailbox, what: str, messages: list[Message]) -> None:
        if what == "expunged":
            self._gone += messages
        elif what == "flags":
            if self._muted:
                return
            for message in messages:
                self._changed[message.uid] = message
        self._stirred()

    def news(self, *, expunges: bool, describe: Callable[[int, Message], bytes]) -> list[bytes]:
        """Untagged responses for what has changed since. Without `expunges` sequence numbers stay what they are, so
        neither EXPUNGE nor (while one waits) EXISTS is said (RFC 3501 7.4.1)."""
        if not (self._gone or self._changed) and self.exists == len(self.messages):
            return []
        said = self.keyword_news()
        if self._gone and expunges:
            said += [b"* %d EXPUNGE\r\n" % seq for seq in self._adopt()]
        changed, self._changed = self._changed, {}
        for message in changed.values():
            seq = self.seq(message)
            if seq is not None:
                said.append(describe(seq, message))
        if not self._gone and self.exists != len(self.messages):
            self.exists = len(self.messages)
            said.append(b"* %d EXISTS\r\n" % self.exists)
            self._claim_recent()
            if not self.rev2:
                said.append(b"* %d RECENT\r\n" % self.recent())
        return said

    def keyword_news(self) -> list[bytes]:
        """FLAGS and PERMANENTFLAGS again when the mailbox has got a new keyword."""
        if len(self.mailbox.keywords) == self._keywords:
            return []
        self._keywords = len(self.mailbox.keywords)
        return self.flag_lines()

    def vanished(self) -> list[int]:
        """Take the expunged messages out of the view; returns their UIDs, for VANISHED (RFC 7162 3.2.10): a client
        counts down for each, so only those that it was told of."""
        uids = sorted(message.uid for message in self._gone if self.seq(message) is not None)
        self._adopt()
        return uids

    def _adopt(self) -> list[int]:
        """Take the mailbox's new list; returns the expunged sequence numbers as EXPUNGE counts them, each after the
        ones before it have left."""
        places = sorted(seq for message in self._gone if (seq := self.seq(message)) is not None)
        self._gone = []
        self.messages = self.mailbox.messages
        self.exists -= len(places)
        return [seq - before for before, seq in enumerate(places)]

    def flag_lines(self, *, keywords: bool = True) -> list[bytes]:
        """FLAGS and PERMANENTFLAGS."""
        names = sorted(self.mailbox.keywords.values())
        flags = b" ".join([b"\\Answered \\Flagged \\Deleted \\Seen \\Draft", *(name.encode() for name in names)])
        permanent = b"" if self.read_only else flags + (b" \\*" if keywords else b"")
        return [
            b"* FLAGS (%b)\r\n" % flags,
            b"* OK [PERMANENTFLAGS (%b)] %b\r\n"
            % (permanent, b"No permanent flags" if self.read_only else b"Flags permitted"),
        ]

    def flags(self, message: Message) -> bytes:
        """The message's flag list as this session sees it."""
        return flag_list(message.flags, self.is_recent(message) if self._recent else False)
