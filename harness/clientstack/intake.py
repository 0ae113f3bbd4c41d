"""Takes mail in from a server: stored here before anything changes there, one message's trouble never another's.

What is beyond the bounds stays on the server and is noted with the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from .compose import message_id
from .errors import MailError
from .ledger import FILED, FILING, SEEN, Entry, Ledger
from .setaside import left_on_server, set_aside_reason
from .settings import Incoming
from .wire import LARGEST_READ

if TYPE_CHECKING:
    from .imap import ImapSession
    from .pop3 import Pop3Session

__all__ = ["ImapIntake", "Pop3Intake"]

_CHUNK: Final = 100
T = TypeVar("T")
Session = TypeVar("Session", "ImapSession", "Pop3Session")


class _Intake(Generic[Session]):
    """One visit to a mailbox or maildrop. `problem`: what kept one of the messages from being read."""

    def __init__(self, session: Session, settings: Incoming, ledger: Ledger) -> None:
        self._session: Session = session
        self._settings = settings
        self._ledger = ledger
        self.problem: MailError | None = None

    def _attempt(self, ask: Callable[[], T]) -> T | None:
        """What the server gives, None where it refuses: one message that it cannot give must not hide the others.
        Raises MailError when the connection is gone."""
        try:
            return ask()
        except MailError as error:
            if self._session.wire.closed:
                raise
            self.problem = error
            return None

    def _is_new(self, known: Entry | None) -> bool:
        """Whether a message is to be read: a new one, or one that was left and is within the bounds by now."""
        return known is None or (known.left is not None and known.left <= self._settings.bounds.largest_message)

    def _take(self, validity: str, unique_id: str, octets: int, fetch: Callable[[], bytes | None]) -> Entry | None:
        """Stores a new message; None where there is nothing to tell the server of."""
        if reason := left_on_server(octets, self._settings.bounds):
            self._ledger.leave(validity, unique_id, octets, reason)
            return None
        try:
            raw = self._attempt(fetch)
        except MailError as error:
            if error.category == "size":
                # Larger than it said: the next visit passes it over.
                self._ledger.leave(validity, unique_id, LARGEST_READ, f"the message was not read: {error.text}")
            raise
        return None if raw is None else self._keep(validity, unique_id, raw)

    def _keep(self, validity: str, unique_id: str, raw: bytes) -> Entry:
        return self._ledger.store(validity, unique_id, raw, set_aside_reason(raw, self._settings.bounds))


class ImapIntake(_Intake["ImapSession"]):
    """From the mailbox that the settings name, over an open session."""

    def run(self) -> None:
        """Raises MailError."""
        session, settings, ledger = self._session, self._settings, self._ledger
        session.select(settings.inbox)
        validity = session.validity
        known = ledger.entries(validity)
        left = [entry for entry in known.values() if entry.open]
        there = set(session.present([int(entry.unique_id) for entry in left]))
        # Gone from the mailbox: whoever took it, it needs no filing any more.
        ledger.mark([entry for entry in left if int(entry.unique_id) not in there], FILED)
        done = [entry for entry in left if int(entry.unique_id) in there]
        found = session.search("UNSEEN" if settings.unseen_only else "ALL")
        new = [uid for uid in found if self._is_new(known.get(str(uid)))]
        for start in range(0, len(new), _CHUNK):
            some = new[start : start + _CHUNK]
            sizes = self._sizes(some)
            for uid in some:
                entry = self._take(validity, str(uid), sizes.get(uid, 0), partial(session.fetch, uid))
                done += [entry] if entry is not None else []
            self._finish(done)
            done = []
        self._finish(done)

    def _sizes(self, uids: Sequence[int]) -> dict[int, int]:
        problem = self.problem
        sizes = self._attempt(partial(self._session.sizes, uids))
        if sizes is None:
            # One of them is the trouble; which one shows when it is fetched.
            self.problem = problem
            sizes = {}
            for uid in uids:
                sizes |= self._attempt(partial(self._session.sizes, [uid])) or {}
        return sizes

    def _finish(self, entries: Sequence[Entry]) -> None:
        """Tells the server that stored messages are done with: \\Seen, and filed where that is set."""
        if not entries:
            return
        session = self._session
        uids = [int(entry.unique_id) for entry in entries]
        session.mark_seen(uids)
        if self._settings.completed is None:
            self._ledger.mark(entries, SEEN)
            return
        target = session.mailbox_for(self._settings.completed)
        interrupted = [entry for entry in entries if entry.state == FILING]
        if interrupted and not session.moves:
            copied = self._copied(interrupted, target)
            if copied:
                session.remove([int(entry.unique_id) for entry in copied])
                self._ledger.mark(copied, FILED)
                entries = [entry for entry in entries if entry not in copied]
                uids = [int(entry.unique_id) for entry in entries]
                if not entries:
                    return
        self._ledger.mark(entries, FILING)
        session.move(uids, target)
        self._ledger.mark(entries, FILED)

    def _copied(self, entries: Sequence[Entry], target: str) -> list[Entry]:
        """Those that a COPY before an interruption had already put in `target`."""
        found = []
        for entry in entries:
            name = message_id(self._ledger.raw(entry))
            if name and self._session.has_message(target, name):
                found.append(entry)
        self._session.select(self._settings.inbox)
        return found


class Pop3Intake(_Intake["Pop3Session"]):
    """From a maildrop, over an open session. What is deleted there goes with QUIT."""

    def run(self) -> list[Entry]:
        """The entries of the messages that are safely stored, deleted where that is set. Raises MailError."""
        numbers = self._session.message_numbers()
        unique_ids = self._session.unique_ids() if numbers else {}
        handled = self._by_digest(numbers) if unique_ids is None else self._by_unique_id(numbers, unique_ids)
        if self._settings.completed is not None:
            for number in handled:
                self._session.delete(number)
        return list(handled.values())

    def _by_unique_id(self, numbers: Sequence[int], unique_ids: dict[int, str]) -> dict[int, Entry]:
        known = self._ledger.entries("")
        handled: dict[int, Entry] = {}
        for number in numbers:
            octets = self._session.octets.get(number, 0)
            unique_id = unique_ids.get(number)
            if unique_id is None:
                continue
            entry = known.get(unique_id)
            if self._is_new(entry):
                entry = self._take("", unique_id, octets, partial(self._session.retrieve, number))
            if entry is not None and entry.left is None:
                handled[number] = entry
        return handled

    def _by_digest(self, numbers: Sequence[int]) -> dict[int, Entry]:
        """Without unique-ids the message itself is its name; of equal messages each counts once."""
        unclaimed: dict[str, list[Entry]] = {}
        for entry in self._ledger.entries("").values():
            if entry.state != FILED:
                unclaimed.setdefault(entry.digest, []).append(entry)
        handled: dict[int, Entry] = {}
        for number in numbers:
            octets = self._session.octets.get(number, 0)
            if reason := left_on_server(octets, self._settings.bounds):
                digest = Entry.digest_of_left(octets)
                if unclaimed.get(digest):
                    unclaimed[digest].pop()
                else:
                    self._ledger.leave("", self._ledger.fresh_id(digest), octets, reason)
                continue
            raw = self._attempt(partial(self._session.retrieve, number))
            if raw is None:
                continue
            digest = hashlib.sha256(raw).hexdigest()
            if unclaimed.get(digest):
                handled[number] = unclaimed[digest].pop(0)
            else:
                handled[number] = self._keep("", self._ledger.fresh_id(digest), raw)
        if self.problem is None:
            # The rest is gone from the maildrop: an equal message that comes later is a new one.
            self._ledger.mark([entry for entries in unclaimed.values() for entry in entries], FILED)
        return handled
