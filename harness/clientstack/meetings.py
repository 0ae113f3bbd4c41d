"""The meetings that were invited to, and what each attendee answered."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .itip import Answer, Meeting
from .mime import Person
from .store import Store, stamp, timestamp

__all__ = ["Applied", "Meetings"]


@dataclass(frozen=True)
class Applied:
    """What became of an answer: `ignored` says why it changed nothing, None where it was recorded."""

    answer: Answer
    ignored: str | None = None

    def as_json(self) -> dict[str, Any]:
        answer = self.answer
        return {
            "uid": answer.uid,
            "attendee": answer.address,
            "status": answer.status,
            "start": timestamp(answer.start.timestamp()) if answer.start else None,
            "comment": answer.comment,
            "ignored": self.ignored,
        }


class Meetings:
    """The meetings of a store."""

    def __init__(self, store: Store, now: datetime) -> None:
        self._store = store
        self._now = stamp(now)

    def keep(self, meeting: Meeting, status: str) -> None:
        """Keeps a meeting as it now is. An attendee's answer survives unless the meeting was moved, which asks anew."""
        old = self.find(meeting.uid)
        moved = old is not None and (old.start, old.end) != (meeting.start, meeting.end)
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO events (uid, sequence, status, event) VALUES (?, ?, ?, ?) ON CONFLICT (uid) "
                "DO UPDATE SET sequence = excluded.sequence, status = excluded.status, event = excluded.event",
                (meeting.uid, meeting.sequence, status, _to_json(meeting)),
            )
            for person in meeting.attendees:
                db.execute(
                    "INSERT INTO attendees (uid, address, name, status, sequence) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (uid, address) DO UPDATE SET name = excluded.name",
                    (meeting.uid, person.address, person.name, "needs-action", meeting.sequence),
                )
            if moved:
                db.execute(
                    "UPDATE attendees SET status = 'needs-action', answered = NULL, sequence = ? WHERE uid = ?",
                    (meeting.sequence, meeting.uid),
                )

    def find(self, uid: str) -> Meeting | None:
        rows = self._store.rows("SELECT event FROM events WHERE uid = ?", uid)
        return _from_json(rows[0]["event"]) if rows else None

    def answers(self, uid: str | None = None) -> list[dict[str, Any]]:
        """Every attendee of one meeting or of all, with what they answered last."""
        rows = self._store.rows("SELECT * FROM attendees WHERE ? IS NULL OR uid = ? ORDER BY uid, address", uid, uid)
        return [
            {
                "uid": row["uid"],
                "attendee": row["address"],
                "status": row["status"],
                "answered": timestamp(row["answered"]),
            }
            for row in rows
        ]

    def apply(self, db: sqlite3.Connection, answers: Iterable[Answer], sender: str) -> list[Applied]:
        """Records answers as part of the caller's transaction. `sender` is the address of the message's From: who
        answers from another address than the invited one is known by it."""
        return [Applied(answer, self._apply(db, answer, sender)) for answer in answers]

    def _apply(self, db: sqlite3.Connection, answer: Answer, sender: str) -> str | None:
        event = db.execute("SELECT sequence, status FROM events WHERE uid = ?", (answer.uid,)).fetchone()
        if event is None:
            return "no such meeting"
        if event["status"] == "cancelled":
            return "the meeting was cancelled"
        rows = {
            row["address"].casefold(): row
            for row in db.execute("SELECT * FROM attendees WHERE uid = ?", (answer.uid,)).fetchall()
        }
        row = rows.get(answer.address.casefold()) or rows.get(sender.casefold())
        if row is None:
            return "not an attendee of the meeting"
        answered = answer.stamp.timestamp() if answer.stamp else self._now
        if answer.sequence < row["sequence"]:
            return "an answer to an earlier version of the meeting"
        if answer.sequence == row["sequence"] and row["answered"] is not None and answered < row["answered"]:
            return "older than the answer that is known"
        db.execute(
            "UPDATE attendees SET status = ?, sequence = ?, answered = ? WHERE uid = ? AND address = ?",
            (answer.status, answer.sequence, answered, answer.uid, row["address"]),
        )
        return None


def _to_json(meeting: Meeting) -> str:
    zone = getattr(meeting.start.tzinfo, "key", "")
    return json.dumps(
        {
            "uid": meeting.uid,
            "sequence": meeting.sequence,
            "summary": meeting.summary,
            "start": meeting.start.isoformat(),
            "end": meeting.end.isoformat(),
            "zone": zone,
            "organizer": [meeting.organizer.name, meeting.organizer.address],
            "attendees": [[person.name, person.address] for person in meeting.attendees],
            "location": meeting.location,
            "description": meeting.description,
        },
        ensure_ascii=False,
    )


def _from_json(text: str) -> Meeting:
    data = json.loads(text)
    start, end = datetime.fromisoformat(data["start"]), datetime.fromisoformat(data["end"])
    if data["zone"]:
        from zoneinfo import ZoneInfo

        zone = ZoneInfo(data["zone"])
        start, end = start.astimezone(zone), end.astimezone(zone)
    return Meeting(
        data["uid"],
        data["sequence"],
        data["summary"],
        start,
        end,
        Person(*data["organizer"]),
        tuple(Person(*person) for person in data["attendees"]),
        data["location"],
        data["description"],
    )
