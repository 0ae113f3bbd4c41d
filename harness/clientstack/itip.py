"""Meetings by mail (RFC 5545, 5546, 6047): REQUEST and CANCEL written, REPLY read in the forms that Gmail, Outlook and
Apple give it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from typing import TYPE_CHECKING, Any, Final

from .errors import MailError
from .mime import Person

if TYPE_CHECKING:
    from icalendar import Calendar

__all__ = ["Answer", "Meeting", "local_time", "read_answers", "write_calendar"]

_STATUS: Final = {
    "ACCEPTED": "accepted",
    "DECLINED": "declined",
    "TENTATIVE": "tentative",
    "DELEGATED": "delegated",
    "NEEDS-ACTION": "needs-action",
}
_AROUND: Final = timedelta(days=366)
"""How long before and after a meeting its time zone is described."""
_BREAK: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_MOST_PARTS: Final = 200
_LARGEST: Final = 1024 * 1024


@dataclass(frozen=True)
class Meeting:
    """A meeting with its organizer and attendees. `start` and `end` carry their time zone."""

    uid: str
    sequence: int
    summary: str
    start: datetime
    end: datetime
    organizer: Person
    attendees: tuple[Person, ...]
    location: str = ""
    description: str = ""

    def with_sequence(self, sequence: int) -> Meeting:
        return replace(self, sequence=sequence)


@dataclass(frozen=True)
class Answer:
    """What one attendee answered. `stamp` (DTSTAMP) orders answers to the same `sequence`; `start` is the beginning of
    the meeting, or of the instance, that the answer names."""

    uid: str
    sequence: int
    address: str
    status: str
    stamp: datetime | None
    start: datetime | None
    comment: str = ""


def local_time(text: str, zone: str) -> datetime:
    """A local time such as 2026-12-01T10:00 in a time zone, by its IANA or Windows name. An offset in the text wins.

    Raises MailError `config`.
    """
    from zoneinfo import ZoneInfo

    from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MailError("config", f"{text!r} is not a time such as 2026-12-01T10:00") from None
    if moment.tzinfo is not None:
        return moment
    try:
        return moment.replace(tzinfo=ZoneInfo(WINDOWS_TO_OLSON.get(zone, zone)) if zone else UTC)
    except (ValueError, OSError, KeyError):
        raise MailError("config", f"{zone!r} is not a time zone such as Europe/Berlin") from None


def write_calendar(meeting: Meeting, method: str, now: datetime) -> bytes:
    """The iCalendar object of a REQUEST or CANCEL. Raises MailError `config` for what no text may hold."""
    from icalendar import Calendar, Event, vCalAddress, vText

    calendar = Calendar()
    calendar.add("PRODID", "-//mailrig//clientstack//EN")
    calendar.add("VERSION", "2.0")
    calendar.add("METHOD", method)
    event = Event()
    event.add("UID", _text("uid", meeting.uid))
    event.add("SEQUENCE", meeting.sequence)
    event.add("DTSTAMP", now.astimezone(UTC))
    event.add("DTSTART", meeting.start)
    event.add("DTEND", meeting.end)
    event.add("SUMMARY", _text("summary", meeting.summary))
    event.add("STATUS", "CANCELLED" if method == "CANCEL" else "CONFIRMED")
    for name in ("location", "description"):
        if value := getattr(meeting, name):
            event.add(name.upper(), _text(name, value))
    organizer = vCalAddress(f"mailto:{meeting.organizer.address}")
    if meeting.organizer.name:
        organizer.params["CN"] = vText(meeting.organizer.name)
    event["ORGANIZER"] = organizer
    for person in meeting.attendees:
        if "@" not in person.address:
            continue
        attendee = vCalAddress(f"mailto:{person.address}")
        attendee.params["ROLE"] = vText("REQ-PARTICIPANT")
        if method == "REQUEST":
            attendee.params["PARTSTAT"] = vText("NEEDS-ACTION")
            attendee.params["RSVP"] = vText("TRUE")
        if person.name:
            attendee.params["CN"] = vText(person.name)
        event.add("ATTENDEE", attendee, encode=False)
    calendar.add_component(event)
    calendar.add_missing_timezones(meeting.start.date() - _AROUND, meeting.end.date() + _AROUND)
    written: bytes = calendar.to_ical()
    return written


def _text(what: str, value: str) -> str:
    """TEXT of RFC 5545 3.3.11: the breaks that other programs know are line ends, other control characters nothing."""
    text = _BREAK.sub("\n", value)
    if _CONTROL.search(text):
        raise MailError("config", f"the {what} of a meeting must not hold control characters: {value!r}")
    return text


def read_answers(raw: bytes) -> list[Answer] | None:
    """The answers in a message; None for one that is no REPLY. Raises ValueError for a REPLY that cannot be read."""
    for method, text in _calendars(BytesParser(policy=compat32).parsebytes(raw)):
        if method not in ("", "REPLY"):
            continue
        calendar = _parsed(text)
        if str(calendar.get("METHOD", method)).strip().upper() != "REPLY":
            continue
        return [answer for event in calendar.walk("VEVENT") for answer in _answers(event)]
    return None


def _calendars(message: Message[str, str]) -> Iterator[tuple[str, bytes]]:
    """The calendar parts with their `method` parameter: Outlook and Apple write text/calendar, Gmail sends an
    application/ics attachment as well, others only a file."""
    for part, _ in zip(message.walk(), range(_MOST_PARTS), strict=False):
        kind = part.get_content_type()
        named = str(part.get_filename() or "").lower().endswith(".ics")
        if kind not in ("text/calendar", "application/ics") and not named:
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes) or b"BEGIN:VCALENDAR" not in payload.upper():
            continue
        if len(payload) > _LARGEST:
            raise ValueError(f"the calendar part has {len(payload)} octets")
        method = part.get_param("method", "")
        charset = str(part.get_content_charset() or "utf-8")
        yield str(method if isinstance(method, str) else "").upper(), _utf8(payload, charset)


def _utf8(payload: bytes, charset: str) -> bytes:
    try:
        text = payload.decode(charset)
    except (LookupError, UnicodeDecodeError):
        text = payload.decode("utf-8", "replace")
    return text.lstrip("\ufeff").encode()


def _parsed(text: bytes) -> Calendar:
    from icalendar import Calendar

    try:
        return Calendar.from_ical(text)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"the calendar part cannot be read: {error}") from None


def _answers(event: Any) -> Iterator[Answer]:
    attendees = event.get("ATTENDEE", [])
    for attendee in attendees if isinstance(attendees, list) else [attendees]:
        parameters = {key.upper(): str(value) for key, value in getattr(attendee, "params", {}).items()}
        status = _STATUS.get(parameters.get("PARTSTAT", "NEEDS-ACTION").strip().upper())
        if status is None:
            continue
        yield Answer(
            uid=str(event.get("UID", "")).strip(),
            sequence=_number(event.get("SEQUENCE")),
            address=_address(str(attendee), parameters),
            status=status,
            stamp=_moment(event.get("DTSTAMP")),
            start=_moment(event.get("RECURRENCE-ID")) or _moment(event.get("DTSTART")),
            comment=_comment(event.get("COMMENT")),
        )


def _address(value: str, parameters: dict[str, str]) -> str:
    """`mailto:` in any case; Apple names principals by urn: or a path, and the address in EMAIL."""
    match = re.fullmatch(r"\s*mailto:\s*<?([^<>?]+?)>?(?:\?.*)?\s*", value, re.IGNORECASE)
    return match.group(1).strip() if match else parameters.get("EMAIL", "").strip()


def _number(value: object) -> int:
    try:
        return int(str(value or 0))
    except ValueError:
        return 0


def _moment(value: Any) -> datetime | None:
    """A time in UTC; of a whole day its beginning. A time without a zone is taken for UTC."""
    found = getattr(value, "dt", None)
    if isinstance(found, datetime):
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if isinstance(found, date):
        return datetime(found.year, found.month, found.day, tzinfo=UTC)
    return None


def _comment(value: Any) -> str:
    return str(value[0] if isinstance(value, list) and value else value or "")
