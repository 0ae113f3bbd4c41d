"""Gmail's mail store: a message lies in All Mail, Trash or Spam; every other mailbox is a label that it may have.

The mailboxes stay what they are to IMAP and POP3, each with its own UIDs. This module watches them and keeps the copies
of one message together: `object_id` is the same for all of them, and so are their flags. New mail waits to be put
under its labels until somebody looks at the account's mailboxes, or changes one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

from fakeservers.clock import Clock

if TYPE_CHECKING:
    from fakeservers.mailstore import Account, Mailbox, Message

__all__ = ["Labels"]

_REMOVED = frozenset({"\\Trash", "\\Junk"})
_OWN = frozenset({"\\Deleted"})
"""Flags that a message has in one mailbox and not in the others."""


class Labels:
    """The labels of one account's messages."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        self._numbers = count(1)
        self._places: dict[int, dict[Mailbox, Message]] = {}
        self._threads: dict[int, int] = {}
        self._working = False
        self._waiting: list[Message] = []
        """New mail in INBOX."""

    def attach(self, mailbox: Mailbox) -> None:
        """Watch a new mailbox. Messages leave All Mail only by going to Trash or Spam."""
        mailbox.permanent = "\\All" in mailbox.attributes
        mailbox.watchers.add(self._changed)

    def adopt(self) -> None:
        """Take over mailboxes that were filled unwatched: equal messages received at one time are one."""
        ids: dict[tuple[float, bytes, int], int] = {}
        for mailbox in self._account.boxes.values():
            seen: dict[tuple[float, bytes], int] = {}
            for message in mailbox.messages:
                key = (message.received, message.content)
                seen[key] = seen.get(key, 0) + 1
                message.object_id = ids.setdefault((*key, seen[key]), message.object_id or self._next_id(message))
                self._places.setdefault(message.object_id, {})[mailbox] = message

    # --- what is asked

    def having(self, message: Message) -> list[Mailbox]:
        """The mailboxes where a message is."""
        self.settle()
        there = self._account.boxes
        places = self._places.get(message.object_id, {})
        return [mailbox for mailbox in places if there.get(mailbox.name) is mailbox]

    def copy_in(self, mailbox: Mailbox, message: Message) -> Message | None:
        """The same message in another mailbox: it cannot be there twice."""
        self.settle()
        return self._places.get(message.object_id, {}).get(mailbox) if message.object_id else None

    def thread(self, key: int, message: Message) -> int:
        """A thread's number: that of the first of its messages that was asked for."""
        return self._threads.setdefault(key, message.object_id)

    # --- what is changed

    def label(self, message: Message, mailboxes: Iterable[Mailbox]) -> None:
        for mailbox in mailboxes:
            if self.copy_in(mailbox, message) is None:
                mailbox.add(message.copy())

    def unlabel(self, message: Message, mailboxes: Iterable[Mailbox]) -> None:
        for mailbox in mailboxes:
            copy = self.copy_in(mailbox, message)
            if copy is not None:
                mailbox.expunge([copy])

    def settle(self) -> None:
        """Put the mail that waits under its labels."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            inbox = self._account.boxes["INBOX"]
            for message in waiting:
                self._added(inbox, message)

    def _looked_at(self) -> bool:
        """Somebody else watches a mailbox, and is to be told of new mail in it."""
        for mailbox in self._account.boxes.values():  # noqa: SIM110 for every message: a generator takes twice as long
            if len(mailbox.watchers) > 1:
                return True
        return False

    def _changed(self, mailbox: Mailbox, what: str, messages: list[Message]) -> None:
        if what == "exists" and mailbox.name == "INBOX" and not self._looked_at():
            self._waiting += messages
            return
        self.settle()
        match what:
            case "exists":
                for message in messages:
                    self._added(mailbox, message)
            case "expunged":
                for message in messages:
                    self._removed(mailbox, message)
            case _ if not self._working:
                self._working = True
                try:
                    for message in messages:
                        self._flagged(message)
                finally:
                    self._working = False

    def _next_id(self, message: Message) -> int:
        """Milliseconds, then a number: ids look and sort as Google's do."""
        return (int(message.received * 1000) << 20) + next(self._numbers) % (1 << 20)

    def _added(self, mailbox: Mailbox, message: Message) -> None:
        if not message.object_id:
            message.object_id = self._next_id(message)
        places = self._places.setdefault(message.object_id, {})
        places[mailbox] = message
        removed = bool(mailbox.attributes & _REMOVED)
        for other in list(places):
            # What comes to Trash or Spam leaves all else; what gets a label leaves Trash and Spam.
            if other is not mailbox and (removed or other.attributes & _REMOVED):
                self._drop(other, places[other])
        if not removed:
            self.label(message, (other for other in self._account.boxes.values() if other.permanent))
        if "\\Flagged" in mailbox.attributes and "\\Flagged" not in message.flags:
            mailbox.set_flags([message], lambda flags: flags | {"\\Flagged"})
        elif "\\Flagged" in message.flags:
            self._flagged(message)

    def _drop(self, mailbox: Mailbox, message: Message) -> None:
        kept, mailbox.permanent = mailbox.permanent, False
        mailbox.expunge([message])
        mailbox.permanent = kept

    def _removed(self, mailbox: Mailbox, message: Message) -> None:
        places = self._places.get(message.object_id, {})
        places.pop(mailbox, None)
        if not places:
            self._places.pop(message.object_id, None)
        elif "\\Flagged" in mailbox.attributes and not self._working:
            for other, copy in list(places.items()):
                other.set_flags([copy], lambda flags: flags - {"\\Flagged"})

    def _flagged(self, message: Message) -> None:
        """Give the copies the flags of this one; a star is the label Starred."""
        flags = message.flags - _OWN
        for mailbox, copy in list(self._places.get(message.object_id, {}).items()):
            if copy is not message:
                mailbox.set_flags([copy], lambda old: flags | (old & _OWN))
        starred = [box for box in self._account.boxes.values() if "\\Flagged" in box.attributes]
        places = self._places.get(message.object_id, {})
        if any(box.attributes & _REMOVED for box in places):
            return
        if "\\Flagged" in flags:
            self.label(message, starred)
        else:
            self.unlabel(message, starred)
