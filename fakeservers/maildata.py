"""The mail of a host kept in a folder between runs: one SQLite file with accounts' mailboxes and their messages.

No passwords are in it, and mail for strangers is not kept. Accounts that this run does not have stay in the file.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fakeservers.mailstore import Account, Mailbox, MailStore, Message

__all__ = ["MailData", "MailDataError"]

FILE = "mail.sqlite3"
FORMAT = 1
SCHEMA = """
CREATE TABLE mailbox (
    address TEXT NOT NULL, name TEXT NOT NULL, uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL,
    highestmodseq INTEGER NOT NULL, recent_uid INTEGER NOT NULL, subscribed INTEGER NOT NULL, attributes TEXT NOT NULL,
    PRIMARY KEY (address, name)
);
CREATE TABLE message (
    address TEXT NOT NULL, mailbox TEXT NOT NULL, uid INTEGER NOT NULL, modseq INTEGER NOT NULL, flags TEXT NOT NULL,
    received REAL NOT NULL, zone INTEGER NOT NULL, mail_from TEXT, rcpt_to TEXT NOT NULL, parameters TEXT NOT NULL,
    trace BLOB NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (address, mailbox, uid)
);
"""
ANNOTATIONS = """
CREATE TABLE IF NOT EXISTS annotation (
    address TEXT NOT NULL, mailbox TEXT NOT NULL, entry TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (address, mailbox, entry)
)
"""
"""METADATA; a file without them is as good as one with none."""


class MailDataError(Exception):
    """The folder or its file cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Rows of one mailbox, and what tells that it has changed."""

    address: str
    name: str
    mailbox: tuple[object, ...]
    """Empty when the mailbox is gone."""
    messages: list[tuple[object, ...]]
    annotations: list[tuple[object, ...]]
    state: tuple[object, ...] = ()


class MailData:
    """An open folder; nobody else can open it meanwhile. Raises MailDataError."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._saved: dict[tuple[str, str], tuple[object, ...]] = {}
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise MailDataError(f"{folder} cannot be used: it is no folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(self._file, timeout=0.2, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise MailDataError(f"{folder} cannot be used: {getattr(error, 'strerror', None) or error}") from None
        try:
            self._open()
        except sqlite3.Error as error:
            self._database.close()
            busy = "locked" in str(error)
            why = "another server is using it" if busy else f"{error}"
            raise MailDataError(f"{self._file} cannot be used: {why}") from None

    def _open(self) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("BEGIN EXCLUSIVE")
        found = run("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            self._database.close()
            raise MailDataError(f"{self._file} was written by another version of mailrig (format {found})")
        if found == 0:
            for statement in SCHEMA.split(";"):
                run(statement)
            run(f"PRAGMA user_version = {FORMAT}")
        run(ANNOTATIONS)
        run("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    # --- from the file

    def load(self, store: MailStore) -> None:
        """Put the mail of the store's accounts back, UIDs and flags as they were; before the host is started."""
        highest = 0
        with closing(self._database.execute("SELECT * FROM mailbox")) as rows:
            found = rows.fetchall()
        for address, name, uidvalidity, uidnext, highestmodseq, recent_uid, subscribed, attributes in found:
            account = store.account(address)
            if account is None:
                continue
            mailbox = account.mailbox(name) or store.create(account, name, frozenset(json.loads(attributes)))
            self._fill(account, mailbox)
            mailbox.uidvalidity, mailbox.uidnext = uidvalidity, uidnext
            mailbox.highestmodseq, mailbox.recent_uid = highestmodseq, recent_uid
            account.subscriptions.pop(name, None)
            if subscribed:
                account.subscriptions[name] = None
            highest = max(highest, uidvalidity)
            mailbox.remembers = highestmodseq
            query = "SELECT entry, value FROM annotation WHERE address = ? AND mailbox = ?"
            mailbox.annotations.update(self._database.execute(query, (address, name)))
            self._saved[address, mailbox.name] = _state(account, mailbox)
        for account in store.accounts.values():
            if account.labels is not None:
                account.labels.adopt()
        while highest and store.next_uidvalidity() < highest:
            pass

    def _fill(self, account: Account, mailbox: Mailbox) -> None:
        watchers, mailbox.watchers = mailbox.watchers, set()
        query = "SELECT * FROM message WHERE address = ? AND mailbox = ? ORDER BY uid"
        for row in self._database.execute(query, (account.address.casefold(), mailbox.name)):
            _, _, uid, modseq, flags, received, zone, mail_from, rcpt_to, parameters, trace, content = row
            mailbox.uidnext = uid
            message = mailbox.add(
                Message(
                    content, trace, mail_from, tuple(json.loads(rcpt_to)), flags=frozenset(json.loads(flags)),
                    received=received, parameters=tuple(json.loads(parameters)), zone=zone,
                )
            )  # fmt: skip
            message.modseq = modseq
        mailbox.watchers = watchers

    # --- to the file

    def snapshot(self, store: MailStore) -> list[Snapshot]:
        """What has changed since it was last saved, and every mailbox that is gone; to be taken on the host's loop."""
        changed = []
        there = set()
        for account, box in _boxes(store):
            address, state = account.address.casefold(), _state(account, box)
            there.add((address, box.name))
            if self._saved.get((address, box.name)) != state:
                row = (address, box.name, *state[:5], json.dumps(sorted(box.attributes)))
                messages = [_row(address, box.name, message) for message in box.messages]
                annotations: list[tuple[object, ...]] = [(address, box.name, *each) for each in box.annotations.items()]
                changed.append(Snapshot(address, box.name, row, messages, annotations, state))
        gone = [Snapshot(address, name, (), [], []) for address, name in self._saved if (address, name) not in there]
        return gone + changed

    def save(self, snapshots: list[Snapshot]) -> None:
        """Write them, all or none. Raises MailDataError."""
        if not snapshots:
            return
        run = self._database.execute
        try:
            run("BEGIN")
            for one in snapshots:
                run("DELETE FROM message WHERE address = ? AND mailbox = ?", (one.address, one.name))
                run("DELETE FROM mailbox WHERE address = ? AND name = ?", (one.address, one.name))
                run("DELETE FROM annotation WHERE address = ? AND mailbox = ?", (one.address, one.name))
                if one.mailbox:
                    run("INSERT INTO mailbox VALUES (?, ?, ?, ?, ?, ?, ?, ?)", one.mailbox)
                    row = f"INSERT INTO message VALUES ({', '.join('?' * 12)})"
                    self._database.executemany(row, one.messages)
                    self._database.executemany("INSERT INTO annotation VALUES (?, ?, ?, ?)", one.annotations)
            run("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                run("ROLLBACK")
            raise MailDataError(f"{self._file} cannot be written: {error}") from None
        for one in snapshots:
            if one.mailbox:
                self._saved[one.address, one.name] = one.state
            else:
                del self._saved[one.address, one.name]


def _boxes(store: MailStore) -> Iterator[tuple[Account, Mailbox]]:
    for account in store.accounts.values():
        for mailbox in account.mailboxes.values():
            yield account, mailbox


def _state(account: Account, box: Mailbox) -> tuple[object, ...]:
    """What tells that a mailbox has changed: every change of a message raises the mod-sequence."""
    subscribed = box.name in account.subscriptions
    counts = (box.uidvalidity, box.uidnext, box.highestmodseq, box.recent_uid, subscribed, len(box.messages))
    return (*counts, tuple(box.annotations.items()))


def _row(address: str, name: str, message: Message) -> tuple[object, ...]:
    lists = (json.dumps(list(message.rcpt_to)), json.dumps(list(message.parameters)))
    flags = json.dumps(sorted(message.flags))
    return (
        address, name, message.uid, message.modseq, flags, message.received, message.zone, message.mail_from, *lists,
        message.trace, message.content,
    )  # fmt: skip
