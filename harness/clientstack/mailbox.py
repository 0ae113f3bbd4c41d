"""Reads a mailbox or maildrop: every message once, stored here before anything changes there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from .debugfile import dialogue_for
from .errors import MailError
from .intake import ImapIntake, Pop3Intake
from .lease import READER, Lease
from .ledger import FILED, Ledger
from .pop3 import Pop3Session
from .settings import Settings
from .store import Store
from .wire import Dialogue

__all__ = ["Fetched", "IncomingMessage", "Mailbox"]

_POLL_POP3: Final = 60.0


@dataclass(frozen=True)
class IncomingMessage:
    """A message as the server has it. `junk`: why it is set aside (it cannot be read as mail, or has more than the
    settings allow), None for proper mail."""

    raw: bytes
    junk: str | None = None


@dataclass(frozen=True)
class Fetched:
    """The messages that are the caller's now, what kept the rest from being read, and the reasons why messages were
    left on the server, each told once."""

    messages: tuple[IncomingMessage, ...]
    error: MailError | None = None
    left: tuple[str, ...] = ()


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
            messages = tuple(IncomingMessage(each.raw, each.problem) for each in waiting if not each.left)
            yield Fetched(messages, error, tuple(each.problem or "" for each in waiting if each.left))
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

    def _read_imap(self, dialogue: Dialogue) -> None:
        from .imap import ImapSession

        session = ImapSession(self._incoming, dialogue, dial=self._dial, now=self._now)
        session.open()
        try:
            intake = ImapIntake(session, self._incoming, self.ledger)
            intake.run()
        finally:
            session.leave()
        if intake.problem is not None:
            raise intake.problem

    def _read_pop3(self, dialogue: Dialogue) -> None:
        session = Pop3Session(self._incoming, dialogue, dial=self._dial, now=self._now)
        session.open()
        intake = Pop3Intake(session, self._incoming, self.ledger)
        try:
            stored = intake.run()
        except MailError:
            session.leave()
            raise
        session.quit()
        if self._incoming.completed is not None:
            self.ledger.mark(stored, FILED)
        if intake.problem is not None:
            raise intake.problem
