"""The pure parts of business mail: composition, identities, notifications that came back, calendars, error floods."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import collapse_rfc2231_value
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.clientstack import Attachment, Business, Draft, MailError, Meeting, Person, User, write_message
from harness.clientstack.autoreply import automatic_reason
from harness.clientstack.business import ErrorLog
from harness.clientstack.dsn import read_notification
from harness.clientstack.errorlog import ErrorMails
from harness.clientstack.identity import identity_of
from harness.clientstack.itip import local_time, read_answers, write_calendar
from harness.clientstack.store import Store

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
SENDER, BOB = Person("Acme Shop", "service@shop.example"), Person("Bob Bauer", "bob@example.test")


def parsed(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=policy.default)


# -- composition --------------------------------------------------------------------------


def test_text_html_calendar_and_attachments() -> None:
    draft = Draft(
        SENDER,
        (BOB,),
        "Grüße",
        "Hällo\n",
        html="<p>Hällo</p>",
        calendar=("REQUEST", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"),
        attachments=(Attachment("Größe.txt", "ä".encode(), "text/plain"), Attachment("a.bin", b"\0\r\n\xff")),
    )
    raw = write_message(draft)
    assert raw.isascii()
    assert raw.replace(b"\r\n", b"").count(b"\n") == 0
    message = parsed(raw)
    assert message["Subject"] == "Grüße"
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/calendar", "text/plain",
        "application/octet-stream",
    ]  # fmt: skip
    files = list(message.iter_attachments())
    assert [file.get_filename() for file in files] == ["Größe.txt", "a.bin"]
    assert files[1].get_payload(decode=True) == b"\0\r\n\xff"
    calendar = next(part for part in message.walk() if part.get_content_type() == "text/calendar")
    assert calendar.get_param("method") == "REQUEST"
    assert raw.count(b"MIME-Version") == 1
    assert write_message(draft) == raw


@given(st.text(), st.text(), st.text(max_size=300))
def test_no_field_smuggles_in_another_one(name: str, filename: str, subject: str) -> None:
    draft = Draft(Person(name, "a@b.test"), (BOB,), subject, "x", attachments=(Attachment(filename, b"x"),))
    try:
        raw = write_message(draft)
    except MailError:
        return
    head = raw.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert names == [b"From", b"To", b"Subject", b"MIME-Version", b"Content-Type"]
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("subject", ["x" * 2000, "word " * 400, "ü" * 500, "=?utf-8?q?fake?=", " padded ", ""])
def test_long_and_odd_subjects(subject: str) -> None:
    raw = write_message(Draft(SENDER, (BOB,), subject, "x"))
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    found = parsed(raw)["Subject"]
    assert " ".join(str(found).split()) == " ".join(subject.split())


ENCODED = "=?utf-8?q?x=0D=0AX-Evil:_1=0D=0A=0D=0Ay?="
"""An encoded-word with line ends in it: whoever decodes it and writes it out again writes a header field."""


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=120))
@example(ENCODED)
@example(f"a{ENCODED}.txt")
@example('say "hello" \\ or not.txt')
@example("x" * 300)
@example("50%25 (1)'2*.txt")
def test_a_file_name_arrives_as_it_was(filename: str) -> None:
    raw = write_message(Draft(SENDER, (BOB,), "s", "t", attachments=(Attachment(filename, b"x"),)))
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 78
    parts: Any = message_from_bytes(raw, policy=policy.compat32).get_payload()
    part = parts[1]
    assert sorted(part.keys()) == ["Content-Disposition", "Content-Transfer-Encoding", "Content-Type"]
    assert collapse_rfc2231_value(part.get_param("filename", header="Content-Disposition")) == filename


@pytest.mark.parametrize("where", ["subject", "filename", "name", "reply_to", "field", "summary"])
def test_an_encoded_word_from_outside_stays_one_value(where: str) -> None:
    meeting = write_calendar(
        Meeting(ENCODED if where == "summary" else "s", 0, "s", NOW, NOW, SENDER, (BOB,)), "REQUEST", NOW
    )
    draft = Draft(
        Person(ENCODED if where == "name" else "", "a@b.test"),
        (BOB,),
        ENCODED if where == "subject" else "s",
        "text",
        reply_to="r@b.test",
        calendar=("REQUEST", meeting),
        attachments=(Attachment(ENCODED if where == "filename" else "a", b"x", "text/plain"),),
        fields={"X-Note": ENCODED if where == "field" else "n"},
    )
    raw = write_message(draft)
    assert b"\nX-Evil" not in raw
    assert b"\nX-Evil" not in parsed(raw).as_bytes(policy=policy.compat32)


@pytest.mark.parametrize("what", ["uid", "summary", "location", "description"])
def test_no_text_of_a_meeting_begins_a_line(what: str) -> None:
    def written(text: str) -> bytes:
        meeting = Meeting("u@x", 0, "s", NOW, NOW, SENDER, (BOB,))
        changed: dict[str, Any] = {what: text}
        return write_calendar(replace(meeting, **changed), "REQUEST", NOW)

    for end in ("\r\n", "\n", "\r", "\x0b", "\x0c", "\x85", "\u2028"):
        lines = re.split("[\r\n\x0b\x0c\x85\u2028]+", written(f"a{end}ATTENDEE:mailto:evil@x.test").decode())
        assert not any(line.startswith("ATTENDEE:mailto:evil") for line in lines)
    with pytest.raises(MailError, match=f"{what} of a meeting must not hold control characters"):
        written("a\x00b")


@pytest.mark.parametrize(
    "draft",
    [
        Draft(SENDER, (BOB,), "x\r\nBcc: m@x.test", "x"),
        Draft(Person("A\nBcc: x", "a@b.test"), (BOB,), "x", "x"),
        Draft(SENDER, (Person("", "bob@example.test>, <m@x.test"),), "x", "x"),
        Draft(SENDER, (BOB,), "x", "x", reply_to="a@b.test\r\nBcc: m@x.test"),
        Draft(SENDER, (BOB,), "x", "x", fields={"X-A\r\nBcc": "y"}),
        Draft(SENDER, (BOB,), "x", "x", attachments=(Attachment("a\r\nb", b""),)),
        Draft(SENDER, (BOB,), "x", "x", attachments=(Attachment("a", b"", "text/plain; x=y"),)),
        Draft(SENDER, (BOB,), "\ud800", "x"),
    ],
)
def test_injections_are_refused(draft: Draft) -> None:
    with pytest.raises(MailError) as refused:
        write_message(draft)
    assert refused.value.category == "config"


def test_an_address_in_utf8_is_written_as_such() -> None:
    raw = write_message(Draft(SENDER, (Person("", "bäcker@bücher.example"),), "x", "ä"))
    assert "To: bäcker@bücher.example".encode() in raw


# -- identities ------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("display", [True, False])
@pytest.mark.parametrize("own", ["carla@shop.example", ""])
@pytest.mark.parametrize("reply_to", ["service@shop.example", ""])
def test_the_identity_matrix(system: bool, display: bool, own: str, reply_to: str) -> None:
    business = Business(product="Acme", use_system_reply=system, use_display_name=display)
    user = User("carla", "Carla", "Muster", own)
    if not own and not reply_to:
        with pytest.raises(MailError, match="reply_to"):
            identity_of(business, reply_to, user)
        return
    found = identity_of(business, reply_to, user)
    assert found.address == found.reply_to == ((reply_to or own) if system else (own or reply_to))
    assert found.name == ("" if not display else "Acme" if system else "Carla Muster (Acme)")


def test_automatic_mail_needs_the_reply_to_address() -> None:
    assert identity_of(Business(use_system_reply=False), "service@shop.example", None).address == "service@shop.example"
    with pytest.raises(MailError, match="automatic"):
        identity_of(Business(), "", None)


# -- what came back ----------------------------------------------------------------------------


@given(st.binary(max_size=400))
def test_any_message_is_read_or_left(raw: bytes) -> None:
    for prefix in (
        b"",
        b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n",
    ):
        read_notification(prefix + raw)
        automatic_reason(prefix + raw)


def test_a_notification_without_the_original_or_with_several_recipients() -> None:
    raw = (
        b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        b"Diagnostic-Code: smtp; 550-5.1.1 no\r\n such user\r\n\r\nFinal-Recipient: rfc822; c@d.test\r\n"
        b"Action: delayed\r\nStatus: 4.4.1\r\n\r\n--b--\r\n"
    )
    found = read_notification(raw)
    assert found is not None
    assert found.message_id is None
    assert [(each.address, each.action, each.status) for each in found.recipients] == [
        ("a@b.test", "failed", "5.1.1"), ("c@d.test", "delayed", "4.4.1"),
    ]  # fmt: skip
    assert (found.recipients[0].error.category, found.recipients[0].error.code) == ("recipient-refused", 550)
    assert found.recipients[1].error.category == "temporary"


@pytest.mark.parametrize(
    ("head", "automatic"),
    [
        ("Auto-Submitted: auto-generated", True),
        ("Auto-Submitted: no\r\nPrecedence: bulk", False),
        ("X-Autoreply: yes", True),
        ("Subject: Automatic reply: Order", True),
        ("Subject: Re: your automatic reply", False),
        ("From: Mail <MAILER-DAEMON@x.test>", True),
        ("Return-Path: <>", True),
        ("Subject: Order", False),
    ],
)
def test_automatic_mail(head: str, automatic: bool) -> None:
    assert (automatic_reason(f"{head}\r\n\r\nx\r\n".encode()) is not None) is automatic


# -- calendars -----------------------------------------------------------------------------------


def meeting(**changes: object) -> Meeting:
    start = local_time("2026-12-01T10:00", "W. Europe Standard Time")
    facts: dict[str, object] = {
        "uid": "u@shop.example",
        "sequence": 0,
        "summary": "Talk; with, signs\nand lines",
        "start": start,
        "end": start + timedelta(hours=1),
        "organizer": SENDER,
        "attendees": (BOB,),
    }
    return Meeting(**{**facts, **changes})  # type: ignore[arg-type]


def test_what_is_written_can_be_read() -> None:
    from icalendar import Calendar

    calendar: Any = Calendar.from_ical(write_calendar(meeting(), "REQUEST", NOW))
    event = calendar.walk("VEVENT")[0]
    assert event["SUMMARY"] == "Talk; with, signs\nand lines"
    assert event["DTSTART"].dt.isoformat() == "2026-12-01T10:00:00+01:00"
    assert [zone["TZID"] for zone in calendar.walk("VTIMEZONE")] == ["Europe/Berlin"]
    assert max(map(len, write_calendar(meeting(), "REQUEST", NOW).split(b"\r\n"))) <= 75


def test_a_request_is_no_answer() -> None:
    raw = write_message(
        Draft(SENDER, (BOB,), "x", "x", calendar=("REQUEST", write_calendar(meeting(), "REQUEST", NOW)))
    )
    assert read_answers(raw) is None


@given(st.binary(max_size=300))
def test_any_calendar_is_read_or_refused(body: bytes) -> None:
    raw = b"Content-Type: text/calendar; method=REPLY\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REPLY\r\n" + body
    try:
        read_answers(raw)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("text", "zone"), [("tomorrow", "UTC"), ("2026-12-01T10:00", "Mars/Base"), ("2026-12-01T10:00", "../x")]
)
def test_wrong_times(text: str, zone: str) -> None:
    with pytest.raises(MailError, match="is not a time"):
        local_time(text, zone)


# -- floods of errors ---------------------------------------------------------------------------------


def test_a_flood_becomes_a_digest(tmp_path: Path) -> None:
    def mails(at: datetime, text: str, times: int) -> list[int]:
        errors = ErrorMails(store, at, ErrorLog("dev@shop.example", limit=2, window=60))
        found = []
        for batch in errors.add(text, times):
            found.append(len(batch.texts))
            errors.mailed(batch)
        return found

    with Store(tmp_path) as store:
        assert mails(NOW, "a", 1) == [1]
        assert mails(NOW, "b", 3) == [1]
        assert mails(NOW + timedelta(seconds=30), "c", 1) == []
        assert mails(NOW + timedelta(seconds=61), "a", 1) == [4]
        # The digest's own errors count as mailed, so that the next ones wait again.
        assert mails(NOW + timedelta(seconds=62), "d", 1) == []
        # A clock that was set back must not keep them for ever.
        assert mails(NOW - timedelta(days=9), "e", 1) == [2]
