"""Reads a mailbox or maildrop: every message once, stored here before anything changes there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .compose import crlf, header_section, message_id
from .debugfile import dialogue_for
from .errors import MailError
from .lease import READER, Lease
from .ledger import FILED, FILING, SEEN, Entry, Ledger
from .pop3 import Pop3Session
from .settings import Settings
from .store import Store
from .wire import Dialogue

if TYPE_CHECKING:
    from .imap import ImapSession

__all__ = ["Fetched", "IncomingMessage", "Mailbox"]

_CHUNK: Final = 100
_POLL_POP3: Final = 60.0


@dataclass(frozen=True)
class IncomingMessage:
    """A message as the server has it. `junk`: why it cannot be read as mail, None for proper mail."""

    raw: bytes
    junk: str | None = None


@dataclass(frozen=True)
class Fetched:
    """The messages that are the caller's now, and what kept the rest from being read."""

    messages: tuple[IncomingMessage, ...]
    error: MailError | None = None


class Mailbox:
    """The incoming side of an account."""

    def __init__(
        self, settings: Settings, state_dir: str | Path, now: datetime, dial: Mapping[str, str] | None = None
    ) -> None:
        """Opens the state folder. Raises MailError `config`."""
        self._incoming = settings.require_incoming()
        self._now = now
        self._dial = dial
        self._folder = state_dir
        self.store = Store(state_dir, settings.durability)
        self._lease = Lease(state_dir, READER)
        self.ledger = Ledger(self.store, self._incoming.account, now)

    def __enter__(self) -> Mailbox:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.store.close()

    def fetch(self) -> Fetched:
        """New messages, and those that an earlier, interrupted call had stored. Never raises for what goes
        wrong on the way: `error` tells, beside what could be read."""
        with self.handing_over() as fetched:
            return fetched

    @contextlib.contextmanager
    def handing_over(self) -> Iterator[Fetched]:
        """What `fetch` gives, for a caller that has to keep it first: the messages are the caller's once the block
        has ended without an exception. What interrupts it leaves them for the next call."""
        with self.alone() as busy:
            if busy is not None:
                yield Fetched((), busy)
                return
            error = self.read()
            waiting = self.ledger.waiting()
            yield Fetched(tuple(IncomingMessage(each.raw, each.problem) for each in waiting), error)
            if waiting:
                self.ledger.handed_over(waiting)

    @contextlib.contextmanager
    def alone(self) -> Iterator[MailError | None]:
        """The block of the only reader of this state folder; gives the error of one that is not."""
        with self._lease.held(self._incoming.timeout, lambda: False) as held:
            yield None if held else MailError("temporary", "another process reads now")

    def wait(self, seconds: float) -> bool:
        """Waits until there is mail to fetch, at most so many real seconds: by IMAP IDLE where it is offered, else by
        looking again and again. Returns whether there is some. Raises MailError."""
        settings = self._incoming
        if settings.protocol == "none":
            return False
        until = time.monotonic() + seconds
        dialogue = dialogue_for(settings.credentials, settings.debug_file, self._now, self._folder)
        if settings.protocol == "imap":
            return self._wait_imap(dialogue, until)
        pause = threading.Event()
        while not self._waiting_pop3(dialogue):
            if time.monotonic() + _POLL_POP3 > until:
                return False
            pause.wait(_POLL_POP3)
        return True

    def _wait_imap(self, dialogue: Dialogue, until: float) -> bool:
        from .imap import ImapSession

        session = ImapSession(self._incoming, dialogue, dial=self._dial, now=self._now)
        session.open()
        try:
            session.select(self._incoming.inbox, readonly=True)
            known = self.ledger.entries(session.validity)
            there = session.search("UNSEEN" if self._incoming.unseen_only else "ALL")
            return any(str(uid) not in known for uid in there) or session.idle(until)
        finally:
            session.leave()

    def _waiting_pop3(self, dialogue: Dialogue) -> bool:
        session = Pop3Session(self._incoming, dialogue, dial=self._dial, now=self._now)
        session.open()
        try:
            numbers = session.message_numbers()
            unique_ids = session.unique_ids() if numbers else {}
            known = self.ledger.entries("")
            # Without unique-ids only reading tells whether a message is a known one.
            return bool(numbers) if unique_ids is None else any(each not in known for each in unique_ids.values())
        finally:
            session.leave()

    def read(self) -> MailError | None:
        """Stores new mail and tells the server; hands nothing over. Returns what kept it from reading all."""
        try:
            self.ledger.drop_bytes()
            self._read()
        except MailError as problem:
            return problem
        return None

    def _read(self) -> None:
        settings = self._incoming
        if settings.protocol == "none":
            return
        dialogue = dialogue_for(settings.credentials, settings.debug_file, self._now, self._folder)
        if settings.protocol == "pop3":
            self._read_pop3(dialogue)
        else:
            self._read_imap(dialogue)

    # -- IMAP --------------------------------------------------------------------------------

    def _read_imap(self, dialogue: Dialogue) -> None:
        from .imap import ImapSession

        session = ImapSession(self._incoming, dialogue, dial=self._dial, now=self._now)
        session.open()
        try:
            self._process(session)
        finally:
            session.leave()

    def _process(self, session: ImapSession) -> None:
        settings, ledger = self._incoming, self.ledger
        session.select(settings.inbox)
        validity = session.validity
        known = ledger.entries(validity)
        left = [entry for entry in known.values() if entry.open]
        there = set(session.present([int(entry.unique_id) for entry in left]))
        # Gone from the mailbox: whoever took it, it needs no filing any more.
        ledger.mark([entry for entry in left if int(entry.unique_id) not in there], FILED)
        done = [entry for entry in left if int(entry.unique_id) in there]
        problem: MailError | None = None
        for uid in session.search("UNSEEN" if settings.unseen_only else "ALL"):
            if str(uid) in known:
                continue
            try:
                raw = session.fetch(uid)
            except MailError as error:
                if session.wire.closed:
                    raise
                # One message that the server cannot give must not hide the others.
                problem = error
                continue
            if raw is not None:
                done.append(ledger.store(validity, str(uid), raw, junk_reason(raw)))
            if len(done) >= _CHUNK:
                self._finish(session, done)
                done = []
        self._finish(session, done)
        if problem is not None:
            raise problem

    def _finish(self, session: ImapSession, entries: Sequence[Entry]) -> None:
        """Tells the server that stored messages are done with: \\Seen, and filed where that is set."""
        if not entries:
            return
        uids = [int(entry.unique_id) for entry in entries]
        session.mark_seen(uids)
        if self._incoming.completed is None:
            self.ledger.mark(entries, SEEN)
            return
        target = session.mailbox_for(self._incoming.completed)
        interrupted = [entry for entry in entries if entry.state == FILING]
        if interrupted and not session.moves:
            copied = self._copied(session, interrupted, target)
            if copied:
                session.remove([int(entry.unique_id) for entry in copied])
                self.ledger.mark(copied, FILED)
                entries = [entry for entry in entries if entry not in copied]
                uids = [int(entry.unique_id) for entry in entries]
                if not entries:
                    return
        self.ledger.mark(entries, FILING)
        session.move(uids, target)
        self.ledger.mark(entries, FILED)

    def _copied(self, session: ImapSession, entries: Sequence[Entry], target: str) -> list[Entry]:
        """Those that a COPY before an interruption had already put in `target`."""
        found = []
        for entry in entries:
            name = message_id(self.ledger.raw(entry))
            if name and session.has_message(target, name):
                found.append(entry)
        session.select(self._incoming.inbox)
        return found

    # -- POP3 --------------------------------------------------------------------------------

    def _read_pop3(self, dialogue: Dialogue) -> None:
        session = Pop3Session(self._incoming, dialogue, dial=self._dial, now=self._now)
        session.open()
        try:
            handled, problem = self._collect(session)
            if self._incoming.completed is not None:
                for number in handled:
                    session.delete(number)
        except MailError:
            session.leave()
            raise
        session.quit()
        if self._incoming.completed is not None:
            self.ledger.mark(handled.values(), FILED)
        if problem is not None:
            raise problem

    def _collect(self, session: Pop3Session) -> tuple[dict[int, Entry], MailError | None]:
        """Stores what is new; returns the entry of every message that is safely stored, by message-number."""
        numbers = session.message_numbers()
        unique_ids = session.unique_ids() if numbers else {}
        if unique_ids is None:
            return self._collect_by_digest(session, numbers)
        known = self.ledger.entries("")
        handled: dict[int, Entry] = {}
        problem: MailError | None = None
        for number in numbers:
            unique_id = unique_ids.get(number)
            if unique_id is None:
                continue
            if unique_id in known:
                handled[number] = known[unique_id]
                continue
            try:
                raw = session.retrieve(number)
            except MailError as error:
                if session.wire.closed:
                    raise
                problem = error
                continue
            handled[number] = self.ledger.store("", unique_id, raw, junk_reason(raw))
        return handled, problem

    def _collect_by_digest(
        self, session: Pop3Session, numbers: Sequence[int]
    ) -> tuple[dict[int, Entry], MailError | None]:
        """Without unique-ids the message itself is its name; of equal messages each counts once."""
        import hashlib

        unclaimed: dict[str, list[Entry]] = {}
        for entry in self.ledger.entries("").values():
            if entry.state != FILED:
                unclaimed.setdefault(entry.digest, []).append(entry)
        handled: dict[int, Entry] = {}
        problem: MailError | None = None
        for number in numbers:
            try:
                raw = session.retrieve(number)
            except MailError as error:
                if session.wire.closed:
                    raise
                problem = error
                continue
            digest = hashlib.sha256(raw).hexdigest()
            if unclaimed.get(digest):
                handled[number] = unclaimed[digest].pop(0)
            else:
                handled[number] = self.ledger.store("", self.ledger.fresh_id(digest), raw, junk_reason(raw))
        if problem is None:
            # The rest is gone from the maildrop: an equal message that comes later is a new one.
            self.ledger.mark([entry for entries in unclaimed.values() for entry in entries], FILED)
        return handled, problem


def junk_reason(raw: bytes) -> str | None:
    """Why a message cannot be read as mail, or None."""
    if not raw.strip():
        return "the message is empty"
    headers = header_section(crlf(raw))
    if not headers.fields:
        return "the message has no header"
    if not headers.names() & {b"from", b"date", b"received", b"message-id", b"subject", b"to", b"return-path"}:
        return "the message has none of the header fields that mail has"
    return None
