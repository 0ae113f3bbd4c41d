"""Acts on incoming mail that is not for people: answers to invitations, bounces, automatic replies.

Each message is acted on once: what it changes and the note that it was dealt with are one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Final

from .autoreply import automatic_reason
from .compose import crlf, field_name, header_section, message_id
from .dsn import read_notification
from .errors import MailError
from .itip import read_answers
from .ledger import Waiting
from .mailbox import Mailbox
from .meetings import Meetings
from .queue import Queue
from .settings import Settings
from .store import timestamp

__all__ = ["ANSWER", "AUTOMATIC", "BOUNCE", "JUNK", "Inbound"]

ANSWER: Final = "answer"
BOUNCE: Final = "bounce"
AUTOMATIC: Final = "automatic"
JUNK: Final = "junk"


class Inbound:
    """The incoming account, read for the product itself. Mail that it has no use for is left for `Mailbox.fetch`."""

    def __init__(
        self, settings: Settings, state_dir: str | Path, now: datetime, dial: Mapping[str, str] | None = None
    ) -> None:
        """Opens the state folder. Raises MailError `config`."""
        self._mailbox = Mailbox(settings, state_dir, now, dial)
        self._store = self._mailbox.store
        self._now = now
        self._queue = Queue(self._store, now)
        self.meetings = Meetings(self._store, now)

    def __enter__(self) -> Inbound:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._mailbox.close()

    def process(self) -> MailError | None:
        """Reads the account and acts on what is new. Returns what kept it from reading all."""
        with self._mailbox.alone() as busy:
            return busy or self._process()

    def _process(self) -> MailError | None:
        error = self._mailbox.read()
        for message in self._mailbox.ledger.waiting():
            kind, facts, act = self._understood(message)
            if kind is None:
                continue
            with self._store.transaction() as db:
                for change in act:
                    facts = change(db)
                self._note(db, message, kind, facts)
        return error

    def found(self, kind: str) -> list[dict[str, Any]]:
        """What was found of one kind, the oldest first, with the time it was dealt with."""
        rows = self._store.rows("SELECT at, facts FROM findings WHERE kind = ? ORDER BY id", kind)
        return [{"at": timestamp(row["at"]), **facts} for row in rows for facts in json.loads(row["facts"])]

    def _understood(self, message: Waiting) -> tuple[str | None, list[dict[str, Any]], list[Any]]:
        """What a message is, what there is to say about it, and what has to change for it."""
        if message.problem is not None:
            return JUNK, [{"reason": message.problem, "octets": message.octets}], []
        try:
            answers = read_answers(message.raw)
            notification = read_notification(message.raw) if answers is None else None
        except Exception as error:  # noqa: BLE001
            # Whatever a parser of foreign mail raises, it must not stop the other messages.
            return JUNK, [{"reason": str(error) or type(error).__name__, "octets": len(message.raw)}], []
        if answers is not None:
            sender = _sender(message.raw)

            def apply(db: sqlite3.Connection) -> list[dict[str, Any]]:
                return [applied.as_json() for applied in self.meetings.apply(db, answers, sender)]

            return ANSWER, [], [apply]
        if notification is not None:

            def match(db: sqlite3.Connection) -> list[dict[str, Any]]:
                return [self._bounce(db, notification.message_id, each) for each in notification.recipients]

            return BOUNCE, [], [match]
        reason = automatic_reason(message.raw)
        if reason is not None:
            facts = {"from": _sender(message.raw), "reason": reason, "message_id": message_id(message.raw)}
            return AUTOMATIC, [facts], []
        return None, [], []

    def _bounce(self, db: sqlite3.Connection, original: str | None, recipient: Any) -> dict[str, Any]:
        number = self._queue.find_sent(original) if original else None
        error = recipient.error
        matched = None
        if number is not None and recipient.action == "failed":
            matched = self._queue.bounced(db, number, recipient.address, error)
        return {
            "message": self._queue.name(number) if number is not None else None,
            "recipient": matched or recipient.address,
            "action": recipient.action,
            "matched": number is not None,
            "error": {**error.as_json(), "enhanced": recipient.status or error.enhanced},
        }

    def _note(self, db: sqlite3.Connection, message: Waiting, kind: str, facts: list[dict[str, Any]]) -> None:
        db.execute(
            "INSERT OR IGNORE INTO findings (incoming, kind, at, facts) VALUES (?, ?, ?, ?)",
            (message.id, kind, self._now.timestamp(), json.dumps(facts, ensure_ascii=False)),
        )
        if kind != JUNK:
            db.execute("UPDATE incoming SET handed_over = 1 WHERE id = ?", (message.id,))


def _sender(raw: bytes) -> str:
    for field in header_section(crlf(raw)).fields:
        if field_name(field) == b"from":
            return parseaddr(field.partition(b":")[2].decode("utf-8", "replace").replace("\r\n", " "))[1]
    return ""
