"""What was read from a mailbox, so that each message is handed over once: through crashes, dropped
connections, a new UIDVALIDITY, and POP3 servers without unique-ids.

A message is stored here before anything is changed on the server. States: stored → (filing →) filed, or
seen where mail stays in its mailbox.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .store import Store, stamp

__all__ = ["Entry", "Ledger", "Waiting"]

STORED: Final = "stored"
FILING: Final = "filing"
SEEN: Final = "seen"
FILED: Final = "filed"
_LEFT: Final = "octets:"
"""In the place of a digest: the size alone is known."""


@dataclass(frozen=True)
class Entry:
    """A message in the ledger. `open`: the server still has to be told that it is done with."""

    id: int
    unique_id: str
    state: str
    digest: str

    @property
    def open(self) -> bool:
        return self.state in (STORED, FILING)

    @staticmethod
    def digest_of_left(octets: int) -> str:
        return f"{_LEFT}{octets}"

    @property
    def left(self) -> int | None:
        """The octets of a message that was left on the server, None for one that was read."""
        return int(self.digest.removeprefix(_LEFT)) if self.digest.startswith(_LEFT) else None


@dataclass(frozen=True)
class Waiting:
    """A message that nobody has taken over yet; `problem` is why it was set aside, None for proper mail; `left`: it is
    on the server alone, and `raw` is empty."""

    id: int
    raw: bytes
    problem: str | None
    octets: int
    left: bool = False


class Ledger:
    """The entries of one account. `validity` is IMAP's UIDVALIDITY, "" for POP3."""

    def __init__(self, store: Store, account: str, now: datetime) -> None:
        self._store = store
        self._account = account
        self._now = stamp(now)

    def entries(self, validity: str) -> dict[str, Entry]:
        """All entries by unique-id."""
        rows = self._store.rows(
            "SELECT id, unique_id, state, digest FROM incoming WHERE account = ? AND validity = ?",
            self._account,
            validity,
        )
        return {row["unique_id"]: Entry(row["id"], row["unique_id"], row["state"], row["digest"]) for row in rows}

    def store(self, validity: str, unique_id: str, raw: bytes, problem: str | None = None) -> Entry:
        """Keeps a message, durably, unless it is a known one under a new UIDVALIDITY."""
        return self._keep(validity, unique_id, hashlib.sha256(raw).hexdigest(), raw, STORED, problem)

    def leave(self, validity: str, unique_id: str, octets: int, problem: str) -> Entry:
        """Notes a message that is not fetched, with the reason. Nothing has to be told to the server."""
        return self._keep(validity, unique_id, Entry.digest_of_left(octets), None, SEEN, problem)

    def _keep(
        self, validity: str, unique_id: str, digest: str, raw: bytes | None, state: str, problem: str | None
    ) -> Entry:
        with self._store.transaction() as db:
            old = db.execute(
                "SELECT id FROM incoming WHERE account = ? AND digest = ? AND validity <> ? AND state <> 'filed' "
                "ORDER BY id LIMIT 1",
                (self._account, digest, validity),
            ).fetchone()
            if old is not None:
                # One old entry answers for one copy: two equal messages stay two.
                db.execute(
                    "UPDATE incoming SET validity = ?, unique_id = ?, state = ? WHERE id = ?",
                    (validity, unique_id, state, old["id"]),
                )
                return Entry(old["id"], unique_id, state, digest)
            # One that was left on the server before begins anew.
            place = (self._account, validity, unique_id)
            again = f"FROM incoming WHERE account = ? AND validity = ? AND unique_id = ? AND digest GLOB '{_LEFT}*'"
            db.execute(f"DELETE FROM findings WHERE incoming IN (SELECT id {again})", place)
            db.execute(f"DELETE {again}", place)
            cursor = db.execute(
                "INSERT INTO incoming (account, validity, unique_id, digest, raw, state, stored, problem) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*place, digest, raw, state, self._now, problem),
            )
            return Entry(int(cursor.lastrowid or 0), unique_id, state, digest)

    def fresh_id(self, digest: str) -> str:
        """An unused unique-id for a message of a server that has none."""
        rows = self._store.rows(
            "SELECT count(*) AS count FROM incoming WHERE account = ? AND digest = ?", self._account, digest
        )
        return f"sha256:{digest}:{rows[0]['count']}"

    def mark(self, entries: Iterable[Entry], state: str) -> None:
        """Records how far the server has been told."""
        with self._store.transaction() as db:
            db.executemany("UPDATE incoming SET state = ? WHERE id = ?", [(state, entry.id) for entry in entries])

    def raw(self, entry: Entry) -> bytes:
        """The message of an open entry; b"" once it was dropped."""
        rows = self._store.rows("SELECT raw FROM incoming WHERE id = ?", entry.id)
        return bytes(rows[0]["raw"] or b"") if rows else b""

    def waiting(self) -> Sequence[Waiting]:
        """All messages not handed over yet, the oldest first."""
        rows = self._store.rows(
            "SELECT * FROM incoming WHERE account = ? AND handed_over = 0 ORDER BY id", self._account
        )
        return [_waiting(row) for row in rows]

    def handed_over(self, messages: Iterable[Waiting]) -> None:
        """From here on these are the caller's."""
        with self._store.transaction() as db:
            db.executemany("UPDATE incoming SET handed_over = 1 WHERE id = ?", [(each.id,) for each in messages])

    def drop_bytes(self) -> None:
        """Forgets the bytes of messages that are the caller's, so that a ledger does not grow into an archive."""
        condition = "account = ? AND handed_over = 1 AND raw IS NOT NULL AND state IN ('seen', 'filed')"
        if self._store.rows(f"SELECT 1 FROM incoming WHERE {condition} LIMIT 1", self._account):
            with self._store.transaction() as db:
                db.execute(f"UPDATE incoming SET raw = NULL WHERE {condition}", (self._account,))


def _waiting(row: sqlite3.Row) -> Waiting:
    raw = bytes(row["raw"] or b"")
    left = Entry(row["id"], row["unique_id"], row["state"], row["digest"]).left
    return Waiting(row["id"], raw, row["problem"], len(raw) if left is None else left, left is not None)
