"""The queue of outgoing mail: every message until each of its recipients is done or in error.

States of a recipient: not-done → in-doubt (the message is on its way, its reply is not here) → done or
in-error; a deferral goes back to not-done, or stays in-doubt where the server may have the message. Each
change is kept in the history with its time and the server's words.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from .errors import MailError
from .queued import DONE, IN_DOUBT, IN_ERROR, NOT_DONE, NOT_WRITTEN, NewMessage, QueuedMessage, RecipientState
from .store import Store, stamp, timestamp

__all__ = ["Queue"]

_AT_ONCE: Final = 500
_FIRST_WAIT: Final = 60.0
_LONGEST_WAIT: Final = 4 * 3600.0
_GIVE_UP_AFTER: Final = 5 * 86400.0
_PENDING: Final = "state IN ('not-done', 'in-doubt')"
_OF_STATE: Final = {
    NOT_DONE: f"{_PENDING} AND state = 'not-done'",
    IN_DOUBT: f"{_PENDING} AND state = 'in-doubt'",
    DONE: "state = 'done'",
    IN_ERROR: "state = 'in-error'",
}
"""Conditions in the words of the partial indexes, so that each is found by its own."""

_IN_DOUBT: Final = "UPDATE recipients SET state = 'in-doubt' WHERE message = ? AND address = ?"
_HISTORY: Final = (
    "INSERT INTO history (message, number, address, at, state, words) "
    "SELECT :message, ifnull(max(number), 0) + 1, :address, :at, :state, :words FROM history WHERE message = :message"
)


class Queue:
    """The outgoing messages of a store. Settings may change while they wait: a corrected host or password
    serves the messages that the wrong one could not send."""

    def __init__(self, store: Store, now: datetime) -> None:
        self._store = store
        self._now = stamp(now)

    # -- in and out ------------------------------------------------------------------

    def add_all(self, messages: Sequence[NewMessage]) -> list[int]:
        """Keeps all messages or none; a recipient that comes with an error is in error at once. Returns their
        numbers."""
        from .compose import message_id

        with self._store.transaction() as db:
            first = int(db.execute("SELECT ifnull(max(id), 0) + 1 FROM messages").fetchone()[0])
            numbered = list(enumerate(messages, first))
            db.executemany(
                "INSERT INTO messages (id, name, digest, tenant, kind, message_id, sender, eml, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        number,
                        new.name,
                        new.digest,
                        new.tenant,
                        new.kind,
                        message_id(new.eml),
                        new.sender,
                        new.eml,
                        self._now,
                    )
                    for number, new in numbered
                ),
            )
            rows = [
                (number, address, position, IN_ERROR if error else NOT_DONE, new.urgent, error)
                for number, new in numbered
                for position, (address, error) in enumerate(new.recipients.items())
            ]
            db.executemany(
                "INSERT INTO recipients (message, address, position, state, urgent, error) VALUES (?, ?, ?, ?, ?, ?)",
                ((*row[:5], _words(row[5])) for row in rows),
            )
            db.executemany(
                "INSERT INTO history (message, number, address, at, state, words) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (number, position + 1, address, self._now, state, error.text if error else "queued")
                    for number, address, position, state, _, error in rows
                ),
            )
        return [number for number, _ in numbered]

    def find_pending(self, name: str, digest: str) -> int | None:
        """The message that the same request left behind, if it still has pending recipients."""
        rows = self._store.rows(
            "SELECT id FROM messages WHERE name = ? AND digest = ? AND EXISTS (SELECT 1 FROM "
            "recipients WHERE message = messages.id AND state IN ('not-done', 'in-doubt')) ORDER BY id LIMIT 1",
            name,
            digest,
        )
        return rows[0]["id"] if rows else None

    def pending_ids(self) -> list[int]:
        """Messages with pending recipients: urgent ones first, then the oldest."""
        return [*self._pending(1), *self._pending(0)]

    def fresh_urgent(self) -> list[int]:
        """Urgent messages that were never tried, the oldest first."""
        rows = self._store.rows(
            "SELECT DISTINCT message FROM recipients WHERE state IN ('not-done', 'in-doubt') AND urgent = 1 "
            "AND attempts = 0 AND retry_at IS NULL AND state = 'not-done' ORDER BY message"
        )
        return [row["message"] for row in rows]

    def any_pending(self, messages: Iterable[int]) -> bool:
        """Whether one of these messages still has pending recipients."""
        return any(recipient.pending for message in messages for recipient in self.recipients(message))

    def _pending(self, urgent: int) -> list[int]:
        rows = self._store.rows(
            "SELECT DISTINCT message FROM recipients "
            "WHERE state IN ('not-done', 'in-doubt') AND urgent = ? ORDER BY message",
            urgent,
        )
        return [row["message"] for row in rows]

    def next_pending(self) -> int | None:
        """The message to send first, None when nothing is pending."""
        for index, condition in (("recipients_urgent", f"urgent = 1 AND {_PENDING}"), ("recipients_pending", _PENDING)):
            rows = self._store.rows(
                f"SELECT message FROM recipients INDEXED BY {index} WHERE {condition} ORDER BY message LIMIT 1"
            )
            if rows:
                found: int = rows[0]["message"]
                return found
        return None

    def message(self, message: int) -> QueuedMessage:
        """One message. Raises MailError `config` when there is none with this number."""
        rows = self._store.rows(
            "SELECT name, sender, eml, created, tenant, recipients.* FROM messages "
            "JOIN recipients ON message = id WHERE id = ? ORDER BY position",
            message,
        )
        if not rows:
            raise MailError("config", f"there is no message {message} in this queue")
        row = rows[0]
        return QueuedMessage(
            message, row["name"], row["sender"], row["eml"], row["created"], tuple(map(_recipient, rows)), row["tenant"]
        )

    def recipients_of(self, messages: Sequence[int]) -> dict[int, tuple[RecipientState, ...]]:
        """The same for many messages."""
        found: dict[int, list[RecipientState]] = {number: [] for number in messages}
        for start in range(0, len(messages), _AT_ONCE):
            some = messages[start : start + _AT_ONCE]
            query = (
                f"SELECT * FROM recipients WHERE message IN ({','.join('?' * len(some))}) ORDER BY message, position"
            )
            for row in self._store.rows(query, *some):
                found[row["message"]].append(_recipient(row))
        return {number: tuple(recipients) for number, recipients in found.items()}

    def name(self, message: int) -> str:
        """The caller's own id of a message."""
        rows = self._store.rows("SELECT name FROM messages WHERE id = ?", message)
        return rows[0]["name"] if rows else ""

    def recipients(self, message: int) -> tuple[RecipientState, ...]:
        """A message's recipients in their order, as they stand now."""
        rows = self._store.rows("SELECT * FROM recipients WHERE message = ? ORDER BY position", message)
        return tuple(map(_recipient, rows))

    def find_named(self, name: str) -> int | None:
        """The newest message with this id of the caller."""
        rows = self._store.rows("SELECT max(id) AS id FROM messages WHERE name = ?", name)
        found: int | None = rows[0]["id"]
        return found

    def find_sent(self, message_id: str) -> int | None:
        """The newest message with this Message-ID (as it stands in the header field, angle brackets included)."""
        rows = self._store.rows("SELECT max(id) AS id FROM messages WHERE message_id = ?", message_id)
        found: int | None = rows[0]["id"]
        return found

    # -- while sending -----------------------------------------------------------------

    def sending(self, message: int, recipients: Sequence[str]) -> None:
        """Marks recipients in doubt, durably, before the message goes out to them."""
        if len(recipients) == 1:
            # One statement is a transaction of its own.
            self._store.change(_IN_DOUBT, message, recipients[0])
            return
        with self._store.transaction() as db:
            db.executemany(_IN_DOUBT, [(message, address) for address in recipients])

    def record_and_send(
        self,
        done: QueuedMessage,
        outcomes: Mapping[str, MailError | None],
        said: str,
        message: int,
        recipients: Sequence[str],
    ) -> None:
        """`record` for one message and `sending` for the next one, at once."""
        with self._store.transaction() as db:
            for recipient in done.recipients:
                if recipient.address in outcomes:
                    self._record(db, done, recipient, outcomes[recipient.address], True, None, said)
            db.executemany(_IN_DOUBT, [(message, address) for address in recipients])

    def record(
        self,
        message: QueuedMessage,
        outcomes: Mapping[str, MailError | None],
        said: str = "",
        *,
        attempted: bool,
        not_before: float | None,
    ) -> None:
        """Keeps what became of an attempt. `said`: the server's words where it took the message; `not_before`: the end
        of a rate limit, if one is set."""
        with self._store.transaction() as db:
            for recipient in message.recipients:
                if recipient.address in outcomes:
                    self._record(db, message, recipient, outcomes[recipient.address], attempted, not_before, said)

    def _record(
        self,
        db: sqlite3.Connection,
        message: QueuedMessage,
        recipient: RecipientState,
        error: MailError | None,
        attempted: bool,
        not_before: float | None,
        said: str,
    ) -> None:
        attempts = recipient.attempts + (1 if attempted else 0)
        retry_at: float | None = None
        if error is None:
            state, words = DONE, f"accepted: {said}" if said else "accepted"
        elif error.permanent:
            state, words = IN_ERROR, str(error)
        elif error.category != "rate-limit" and self._now - message.created > _GIVE_UP_AFTER:
            state, words = IN_ERROR, f"given up after 5 days: {error}"
        else:
            # A doubt once raised stays: a later refusal says nothing about the earlier attempt.
            state = IN_DOUBT if error.in_doubt or recipient.state == IN_DOUBT else NOT_DONE
            words = f"in doubt: {error}" if error.in_doubt else str(error)
            retry_at = self._now + _wait(attempts, error)
            if not_before is not None:
                retry_at = not_before if error.category == "rate-limit" else max(retry_at, not_before)
        db.execute(
            "UPDATE recipients SET state = ?, attempts = ?, retry_at = ?, error = ? WHERE message = ? AND address = ?",
            (state, attempts, retry_at, _words(error), message.id, recipient.address),
        )
        self._remember(db, message.id, recipient.address, state, words)

    def hold(self, message: QueuedMessage, reason: MailError) -> None:
        """Keeps the pending recipients pending, untried, with the reason why nothing is sent now."""
        with self._store.transaction() as db:
            for recipient in message.recipients:
                if recipient.pending:
                    db.execute(
                        "UPDATE recipients SET error = ? WHERE message = ? AND address = ?",
                        (_words(reason), message.id, recipient.address),
                    )
                    if recipient.error != reason.as_json():
                        self._remember(db, message.id, recipient.address, recipient.state, reason.text)

    def bounced(self, db: sqlite3.Connection, message: int, address: str, error: MailError) -> str | None:
        """Puts a recipient in error because its mail came back; returns its address as queued, None when the message
        has no such recipient. Part of the caller's transaction."""
        for recipient in self.recipients(message):
            if recipient.address.casefold() == address.casefold():
                db.execute(
                    "UPDATE recipients SET state = ?, retry_at = NULL, error = ? WHERE message = ? AND address = ?",
                    (IN_ERROR, _words(error), message, recipient.address),
                )
                self._remember(db, message, recipient.address, IN_ERROR, f"bounced: {error}")
                return recipient.address
        return None

    # -- by hand -----------------------------------------------------------------------

    def overview(self, state: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Recipients, the newest message first, optionally of one state, with times as RFC 3339."""
        if state is not None and state not in _OF_STATE:
            raise MailError("config", f"{state!r} is not a state; they are {', '.join(_OF_STATE)}")
        condition = f"WHERE {_OF_STATE[state]}" if state else ""
        rows = self._store.rows(
            "SELECT message AS id, name, kind, tenant, sender, created, address, state, urgent, attempts, retry_at, "
            f"error FROM recipients CROSS JOIN messages ON messages.id = recipients.message {condition} "
            "ORDER BY message DESC, position LIMIT ?",
            limit,
        )
        return [
            {
                "id": row["id"],
                "message": row["name"],
                "kind": row["kind"],
                "tenant": row["tenant"],
                "urgent": bool(row["urgent"]),
                "from": row["sender"],
                "to": row["address"],
                "state": row["state"],
                "attempts": row["attempts"],
                "queued": timestamp(row["created"]),
                "retry_at": timestamp(row["retry_at"]),
                "error": json.loads(row["error"]) if row["error"] else None,
            }
            for row in rows
        ]

    def history(self, message: int) -> list[dict[str, Any]]:
        """Every change of a message's recipients, the oldest first."""
        rows = self._store.rows("SELECT * FROM history WHERE message = ? ORDER BY number", message)
        return [
            {"at": timestamp(row["at"]), "to": row["address"], "state": row["state"], "words": row["words"]}
            for row in rows
        ]

    def resend(self, message: int, address: str | None = None) -> int:
        """Makes recipients (all but the done ones, or this one) not done again; returns how many. Raises MailError
        `config` for a message that was never written, as there was nobody it could be from."""
        if self.message(message).eml.startswith(NOT_WRITTEN):
            raise MailError("config", f"message {message} was never written: cause it again")
        states = (IN_ERROR, IN_DOUBT, NOT_DONE) if address is None else (IN_ERROR, IN_DOUBT, NOT_DONE, DONE)
        return self._change(message, address, states, NOT_DONE, "resent by hand")

    def mark_done(self, message: int, address: str | None = None) -> int:
        """Makes recipients done without sending; returns how many."""
        return self._change(message, address, (IN_ERROR, IN_DOUBT, NOT_DONE), DONE, "marked done by hand")

    def edit_address(self, message: int, old: str, new: str) -> None:
        """Replaces a recipient that is not done. Raises MailError `config` where that is not possible."""
        from .compose import parse_address

        parse_address(new)
        found = {recipient.address: recipient for recipient in self.message(message).recipients}
        if old not in found or found[old].state == DONE:
            raise MailError("config", f"message {message} has no open recipient {old}")
        if new in found:
            raise MailError("config", f"message {message} already has the recipient {new}")
        with self._store.transaction() as db:
            db.execute(
                "UPDATE recipients SET address = ?, state = ?, attempts = 0, retry_at = NULL, error = NULL "
                "WHERE message = ? AND address = ?",
                (new, NOT_DONE, message, old),
            )
            self._remember(db, message, new, NOT_DONE, f"address changed from {old}")

    def _change(self, message: int, address: str | None, states: Sequence[str], to: str, words: str) -> int:
        chosen = [
            recipient.address
            for recipient in self.message(message).recipients
            if recipient.state in states and address in (None, recipient.address)
        ]
        if address is not None and not chosen:
            raise MailError("config", f"message {message} has no such recipient {address}")
        with self._store.transaction() as db:
            for each in chosen:
                db.execute(
                    "UPDATE recipients SET state = ?, attempts = 0, retry_at = NULL, error = NULL "
                    "WHERE message = ? AND address = ?",
                    (to, message, each),
                )
                self._remember(db, message, each, to, words)
        return len(chosen)

    def _remember(self, db: sqlite3.Connection, message: int, address: str, state: str, words: str) -> None:
        values = {"message": message, "address": address, "at": self._now, "state": state, "words": words}
        db.execute(_HISTORY, values)


def _wait(attempts: int, error: MailError) -> float:
    """Back-off in seconds before the next attempt; what the server asked for comes first."""
    if error.retry_after is not None:
        return error.retry_after
    return min(_FIRST_WAIT * 2.0 ** min(max(attempts - 1, 0), 16), _LONGEST_WAIT)


def _words(error: MailError | None) -> str | None:
    return json.dumps(error.as_json(), ensure_ascii=False) if error else None


def _recipient(row: sqlite3.Row) -> RecipientState:
    return RecipientState(
        row["address"],
        row["state"],
        row["attempts"],
        row["retry_at"],
        json.loads(row["error"]) if row["error"] else None,
    )
