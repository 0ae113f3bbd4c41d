"""The one SQLite file of a state folder: queue, rate limits, ledger of incoming mail.

WAL with synchronous=NORMAL keeps every commit through a killed process; FULL also through a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .errors import MailError

__all__ = ["Store", "moment", "stamp", "timestamp"]

FILE_NAME: Final = "mail.sqlite3"

_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, tenant TEXT NOT NULL DEFAULT '',
  kind TEXT NOT NULL DEFAULT '', message_id TEXT, sender TEXT NOT NULL, eml BLOB NOT NULL, created REAL NOT NULL);
CREATE INDEX messages_by_name ON messages (name, digest);
CREATE INDEX messages_by_message_id ON messages (message_id);
CREATE TABLE recipients (
  message INTEGER NOT NULL REFERENCES messages (id), address TEXT NOT NULL, position INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('not-done', 'in-doubt', 'done', 'in-error')),
  urgent INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, retry_at REAL, error TEXT,
  PRIMARY KEY (message, address)) WITHOUT ROWID;
CREATE INDEX recipients_urgent ON recipients (message) WHERE urgent = 1 AND state IN ('not-done', 'in-doubt');
CREATE INDEX recipients_pending ON recipients (message) WHERE state IN ('not-done', 'in-doubt');
CREATE INDEX recipients_done ON recipients (message) WHERE state = 'done';
CREATE INDEX recipients_in_error ON recipients (message) WHERE state = 'in-error';
CREATE TABLE history (
  message INTEGER NOT NULL, number INTEGER NOT NULL, address TEXT NOT NULL, at REAL NOT NULL,
  state TEXT NOT NULL, words TEXT NOT NULL, PRIMARY KEY (message, number)) WITHOUT ROWID;
CREATE TABLE rate_limits (
  account TEXT PRIMARY KEY, until REAL NOT NULL, strikes INTEGER NOT NULL, error TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sent (account TEXT NOT NULL, at REAL NOT NULL, messages INTEGER NOT NULL,
  PRIMARY KEY (account, at)) WITHOUT ROWID;
CREATE TABLE incoming (
  id INTEGER PRIMARY KEY, account TEXT NOT NULL, validity TEXT NOT NULL, unique_id TEXT NOT NULL,
  digest TEXT NOT NULL, raw BLOB, state TEXT NOT NULL CHECK (state IN ('stored', 'filing', 'seen', 'filed')),
  handed_over INTEGER NOT NULL DEFAULT 0, stored REAL NOT NULL, problem TEXT);
CREATE UNIQUE INDEX incoming_by_id ON incoming (account, validity, unique_id);
CREATE INDEX incoming_by_digest ON incoming (account, digest);
CREATE INDEX incoming_waiting ON incoming (account) WHERE handed_over = 0;
CREATE INDEX incoming_kept ON incoming (account) WHERE handed_over = 1 AND raw IS NOT NULL;
CREATE TABLE findings (
  id INTEGER PRIMARY KEY, incoming INTEGER NOT NULL UNIQUE, kind TEXT NOT NULL, at REAL NOT NULL, facts TEXT NOT NULL);
CREATE TABLE events (
  uid TEXT PRIMARY KEY, sequence INTEGER NOT NULL, status TEXT NOT NULL, event TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE attendees (
  uid TEXT NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, sequence INTEGER NOT NULL,
  answered REAL, PRIMARY KEY (uid, address)) WITHOUT ROWID;
CREATE TABLE errors (id INTEGER PRIMARY KEY, at REAL NOT NULL, text TEXT NOT NULL, mailed INTEGER NOT NULL);
CREATE INDEX errors_unmailed ON errors (id) WHERE mailed = 0;
"""


class Store:
    """An open database. Use as a context manager, or close it."""

    def __init__(self, folder: str | Path, durability: str = "NORMAL") -> None:
        """Opens or creates the file. Raises MailError `config` when the folder cannot be used."""
        path = Path(folder) / FILE_NAME
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None)
            try:
                self._prepare(path, durability)
            except BaseException:
                self._db.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise MailError("config", f"the state file {path} cannot be used: {error}") from None

    def _prepare(self, path: Path, durability: str) -> None:
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durability == 'FULL' else 'NORMAL'}")
        # Pages of 4 KB: the log is moved into the file, with its two syncs, after some thousand messages.
        self._db.execute("PRAGMA wal_autocheckpoint=8000")
        self._create(path)

    def _create(self, path: Path) -> None:
        """The tables, unless they are there. Two processes may start at once: the second one finds them."""
        if self._version() == 0:
            self._db.execute("BEGIN IMMEDIATE")
            if self._version() == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
            self._db.execute("COMMIT")
        if self._version() != _VERSION:
            raise MailError("config", f"the state file {path} was written by another version of this client")

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises MailError `config` when the disk or a lock keeps it from being written."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise MailError("config", f"the state file cannot be written: {error}") from error

    def change(self, statement: str, *values: object) -> None:
        """One statement, all or nothing. Raises MailError `config` as `transaction` does."""
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise MailError("config", f"the state file cannot be written: {error}") from error

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """What a query finds. Raises MailError `config` when the file cannot be read."""
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise MailError("config", f"the state file cannot be read: {error}") from error


def stamp(now: datetime) -> float:
    """Seconds since 1970, as the database keeps them."""
    return now.timestamp()


def moment(value: float) -> datetime:
    """The UTC time of a stored stamp."""
    return datetime.fromtimestamp(value, UTC)


def timestamp(value: float | None) -> str | None:
    """A stored stamp as RFC 3339 in UTC; fractions of a second are rounded up, never promised too early."""
    if value is None:
        return None
    whole = int(value) if value == int(value) else int(value) + 1
    return moment(whole).strftime("%Y-%m-%dT%H:%M:%SZ")
