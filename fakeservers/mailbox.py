"""A mailbox: its messages with their flags, UIDs and mod-sequences, and who hears of each change."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from operator import attrgetter

__all__ = ["Mailbox", "Message"]

_uid = attrgetter("uid")
_KNOWN_FLAGS: dict[frozenset[str], frozenset[str]] = {}
_KNOWN_FLAGS_LIMIT = 4096
_CLEARED_LIMIT = 256
_VANISHED_LIMIT = 20_000


def _shared(flags: frozenset[str]) -> frozenset[str]:
    """The one set that all messages with these flags share: a set of its own would cost a message 216 octets."""
    known = _KNOWN_FLAGS.get(flags)
    if known is None:
        if len(_KNOWN_FLAGS) >= _KNOWN_FLAGS_LIMIT:
            return flags
        known = _KNOWN_FLAGS[flags] = flags
    return known


@dataclass(slots=True, eq=False)
class Message:
    """One message in one mailbox. `content` is what the client sent, byte for byte, and shared between the copies;
    `trace` are the header fields that the server put in front. `received` is seconds since 1970 (INTERNALDATE)."""

    content: bytes
    trace: bytes = b""
    mail_from: str | None = None
    rcpt_to: tuple[str, ...] = ()
    mailbox: str = "INBOX"
    uid: int = 0
    flags: frozenset[str] = frozenset()
    received: float = 0.0
    modseq: int = 0
    parameters: tuple[str, ...] = ()
    """MAIL and RCPT parameters as they came: `SMTPUTF8`, `BODY=8BITMIME`, ..."""
    zone: int = 0
    """Minutes east of UTC in which INTERNALDATE is written."""
    envelope: bytes | None = None
    structure: bytes | None = None
    """ENVELOPE and BODYSTRUCTURE as IMAP writes them, kept once somebody asked; `fakeservers.imap` fills them."""
    object_id: int = 0
    """The same number for every copy of one message (X-GM-MSGID, EMAILID); 0 until somebody asks."""
    saved: float | None = None
    """When it came into this mailbox (SAVEDATE), where that is not `received`."""
    plain: bool = False
    """It is known to hold no NUL: who sends it in a literal of IMAP need not look again."""

    @property
    def raw(self) -> bytes:
        return self.trace + self.content if self.trace else self.content

    @property
    def size(self) -> int:
        return len(self.trace) + len(self.content)

    def copy(self) -> Message:
        """The same message for another mailbox: content and what was learnt of it are shared."""
        return Message(
            self.content, self.trace, self.mail_from, self.rcpt_to, flags=self.flags, received=self.received,
            parameters=self.parameters, zone=self.zone, envelope=self.envelope, structure=self.structure,
            object_id=self.object_id, plain=self.plain,
        )  # fmt: skip


Watcher = Callable[["Mailbox", str, list[Message]], None]
"""Called on the loop with what happened: "exists", "flags" or "expunged", and the messages."""


@dataclass(slots=True, eq=False)
class Mailbox:
    """A mailbox: messages in UID order. `name` is Unicode with the account's hierarchy delimiter in it.

    The list `messages` only grows; an expunge puts a new list in its place. So a reader that keeps the list and a
    length has a snapshot for nothing, however long the list is.
    """

    name: str
    uidvalidity: int
    uidnext: int = 1
    messages: list[Message] = field(default_factory=list)
    attributes: frozenset[str] = frozenset()
    """Special-use and \\Noselect, as LIST shows them."""
    highestmodseq: int = 1
    keywords: dict[str, str] = field(default_factory=dict)
    """Every keyword ever set here: its case-folded form, and how it was first written."""
    watchers: set[Watcher] = field(default_factory=set)
    unseen: int = 0
    deleted: int = 0
    octets: int = 0
    recent_uid: int = 1
    """Messages from this UID on were not yet announced to any session as \\Recent."""
    vanished: list[tuple[int, int]] = field(default_factory=list)
    """(mod-sequence, UID) of what was expunged, oldest first."""
    remembers: int = 0
    """`vanished` tells all since this mod-sequence."""
    permanent: bool = False
    """Expunging removes nothing: messages leave only for another place (Gmail's All Mail)."""
    annotations: dict[str, bytes] = field(default_factory=dict)
    """METADATA: an entry's name in lower case, and its value."""
    _unseen_from: int = 0
    """No message below this UID is without \\Seen, except those in `_cleared` (a heap)."""
    _cleared: list[int] = field(default_factory=list)

    def add(self, message: Message) -> Message:
        """Append, giving the next UID; tells the watchers."""
        message.uid = self.uidnext
        message.mailbox = self.name
        message.flags = flags = _shared(message.flags)
        self.uidnext += 1
        self.highestmodseq += 1
        message.modseq = self.highestmodseq
        self.unseen += "\\Seen" not in flags
        self.deleted += "\\Deleted" in flags
        self.octets += message.size
        if flags:
            self._learn(flags)
        self.messages.append(message)
        if self.watchers:
            self._tell("exists", [message])
        return message

    def set_flags(
        self, messages: Iterable[Message], change: Callable[[frozenset[str]], frozenset[str]]
    ) -> list[Message]:
        """Apply `change`, which depends on the flags alone, to each message's flags; returns those that changed."""
        changed = []
        known: dict[frozenset[str], frozenset[str]] = {}
        for message in messages:
            old = message.flags
            new = known.get(old)
            if new is None:
                new = known[old] = _shared(change(old))
            if new is old or new == old:
                continue
            message.flags = new
            message.modseq = self.highestmodseq + 1
            self.deleted += ("\\Deleted" in new) - ("\\Deleted" in old)
            seen = ("\\Seen" in new) - ("\\Seen" in old)
            self.unseen -= seen
            if seen < 0 and message.uid < self._unseen_from:
                heappush(self._cleared, message.uid)
            changed.append(message)
        if changed:
            self.highestmodseq += 1
            if len(self._cleared) > _CLEARED_LIMIT:
                self._unseen_from = self._cleared[0]
                self._cleared.clear()
            for new in known.values():
                self._learn(new)
            self._tell("flags", changed)
        return changed

    def expunge(self, messages: Iterable[Message]) -> list[Message]:
        """Remove messages for good; returns those that were there, in UID order."""
        if self.permanent:
            return []
        kept = self.messages
        places = sorted({place for message in messages if (place := self.place(message)) is not None})
        if not places:
            return []
        removed = [kept[place] for place in places]
        if len(places) < 16:
            kept = kept.copy()
            for place in reversed(places):
                del kept[place]
        else:
            gone = set(places)
            kept = [message for place, message in enumerate(kept) if place not in gone]
        self.messages = kept
        self.highestmodseq += 1
        for message in removed:
            self.unseen -= "\\Seen" not in message.flags
            self.deleted -= "\\Deleted" in message.flags
            self.octets -= message.size
            self.vanished.append((self.highestmodseq, message.uid))
        if len(self.vanished) > _VANISHED_LIMIT:
            self.remembers = self.vanished[_VANISHED_LIMIT // 2 - 1][0]
            del self.vanished[: _VANISHED_LIMIT // 2]
        self._tell("expunged", removed)
        return removed

    def place(self, message: Message) -> int | None:
        """The message's index in `messages`, or None when it is not (or no longer) here."""
        index = bisect_left(self.messages, message.uid, key=_uid)
        return index if index < len(self.messages) and self.messages[index] is message else None

    def by_uid(self, uid: int) -> Message | None:
        index = bisect_left(self.messages, uid, key=_uid)
        if index < len(self.messages) and self.messages[index].uid == uid:
            return self.messages[index]
        return None

    def first_unseen(self) -> int | None:
        """The index of the first message without \\Seen; costs nothing when asked again."""
        if not self.unseen:
            return None
        messages = self.messages
        while self._cleared:
            place = bisect_left(messages, self._cleared[0], key=_uid)
            there = place < len(messages) and messages[place].uid == self._cleared[0]
            if there and "\\Seen" not in messages[place].flags:
                return place
            heappop(self._cleared)
        index = bisect_left(messages, self._unseen_from, key=_uid)
        while index < len(messages) and "\\Seen" in messages[index].flags:
            index += 1
        self._unseen_from = messages[index].uid if index < len(messages) else self.uidnext
        return index if index < len(messages) else None

    def flag_name(self, name: str) -> str:
        """A keyword as it was first written here: keywords are the same in any case (RFC 3501 2.3.2)."""
        return self.keywords.get(name.casefold(), name)

    def vanished_since(self, modseq: int) -> list[int]:
        """UIDs expunged after `modseq`, in ascending order."""
        start = bisect_right(self.vanished, modseq, key=lambda entry: entry[0])
        return sorted(uid for _, uid in self.vanished[start:])

    def _learn(self, flags: frozenset[str]) -> None:
        for flag in flags:
            if flag[0] != "\\" and flag.casefold() not in self.keywords:
                self.keywords[flag.casefold()] = flag

    def _tell(self, what: str, messages: list[Message]) -> None:
        for watcher in tuple(self.watchers):
            watcher(self, what, messages)
