"""The maildrop of one session: the messages as they were at login, numbered once and for all (RFC 1939 section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fakeservers.mailstore import Account, Mailbox, Message
from fakeservers.templates import render

__all__ = ["Item", "Maildrop", "all_mail", "as_data", "top"]

DAYS_30 = 30 * 86400.0
_STUFFED = re.compile(rb"\r\n\.")
HIDDEN = frozenset({"\\Trash", "\\Junk", "\\Drafts", "\\Noselect"})


@dataclass(slots=True)
class Item:
    """A message with its place: what POP3 numbers."""

    message: Message
    mailbox: Mailbox
    deleted: bool = False

    @property
    def size(self) -> int:
        """Octets of the message as RETR sends it, byte-stuffing and the terminating line left out."""
        return self.message.size + (0 if _ends_line(self.message) else 2)


class Maildrop:
    """Message-numbers 1 to n; deletions are marks until the session takes them into UPDATE."""

    def __init__(self, items: Sequence[Item], unique_id: str) -> None:
        self._items = list(items)
        self._unique_id = unique_id
        self._octets: int | None = None
        self._count = len(self._items)
        self.retrieved: set[int] = set()
        """Message-numbers that RETR has given out."""

    @property
    def count(self) -> int:
        return self._count

    @property
    def octets(self) -> int:
        if self._octets is None:
            self._octets = sum(item.size for item in self._items if not item.deleted)
        return self._octets

    def get(self, number: int) -> Item | None:
        return self._items[number - 1] if 0 < number <= len(self._items) else None

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        """Message-numbers and items that are not marked as deleted."""
        return ((number, item) for number, item in enumerate(self._items, 1) if not item.deleted)

    def delete(self, item: Item) -> None:
        if self._octets is not None:
            self._octets -= item.size
        self._count -= 1
        item.deleted = True

    def reset(self) -> None:
        for item in self._items:
            item.deleted = False
        self._octets = None
        self._count = len(self._items)

    def deleted(self) -> list[Item]:
        return [item for item in self._items if item.deleted]

    def unique_id(self, item: Item) -> str:
        """The unique-id: the same in every session, and never given to another message (RFC 1939 section 7)."""
        uid, validity = item.message.uid, item.mailbox.uidvalidity
        if self._unique_id == "{uidvalidity_hex}{uid_hex}":
            return f"{validity:08x}{uid:08x}"
        values = {
            "uid": uid,
            "uidvalidity": validity,
            "uid_hex": f"{uid:08x}",
            "uidvalidity_hex": f"{validity:08x}",
            "uid_hex16": f"{(validity << 32) + uid:016x}",
        }
        return render(self._unique_id, values)


def all_mail(account: Account, since: float) -> list[Item]:
    """Every message received after `since` in any mailbox that counts as mail, copies taken once, oldest first."""
    seen: set[tuple[int, float]] = set()
    found = []
    for mailbox in account.mailboxes.values():
        if mailbox.attributes & HIDDEN:
            continue
        for message in mailbox.messages:
            copy = (id(message.content), message.received)
            if message.received >= since and copy not in seen:
                seen.add(copy)
                found.append(Item(message, mailbox))
    return sorted(found, key=lambda item: item.message.received)


def _ends_line(message: Message) -> bool:
    return (message.content or message.trace or b"\r\n").endswith(b"\r\n")


def as_data(content: bytes) -> tuple[int, bytes]:
    """How many octets RETR says the message has, and the data of the multi-line response: byte-stuffed, with the
    terminating line. A line is what CRLF ends: a "." behind a bare LF begins no line and stays alone (RFC 1939
    section 3)."""
    octets = len(content)
    # (The pattern finds in half the time what `in` does.)
    if _STUFFED.search(content) is not None:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    if content.endswith(b"\r\n") or not content:
        return octets, content + b".\r\n"
    return octets + 2, content + b"\r\n.\r\n"


def top(content: bytes, lines: int) -> bytes:
    """Header section, the empty line, and the first `lines` lines of the body."""
    end = content.find(b"\r\n\r\n")
    if content.startswith(b"\r\n"):
        position = 2
    elif end >= 0:
        position = end + 4
    else:
        return content
    for _ in range(lines):
        position = content.find(b"\r\n", position) + 2
        if position == 1:
            return content
    return content[:position]
