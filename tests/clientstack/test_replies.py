"""Categories of replies: by code and a few words, whatever else changes in the text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clientstack.errors import CATEGORIES
from harness.clientstack.replies import Reply, login_error, smtp_error, stated_wait

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
HOUR = 3600.0

# Beside what is known of providers (test_replies_of_facts.py).
LIMITS = [
    (421, "message", "Domain a.test is not allowed to send: recipient limit exceeded. Try again after 1 hour", HOUR),
    (550, "MAIL", "5.7.1 You exceeded the hourly limit of 200 messages. Retry-After: 120", 120),
    (500, "message", "You have come to the maximum of mails per day", 24 * HOUR),
]

OTHERS = [
    (450, "RCPT", "4.2.1 The user you are trying to contact is receiving mail too quickly", "temporary"),
    (450, "RCPT", "4.2.0 <a@b.test>: Recipient address rejected: Greylisted for 5 minutes", "temporary"),
    (432, "message", "4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", "temporary"),
    (452, "RCPT", "4.5.3 Your message has too many recipients. Read about sending limits at x", "temporary"),
    (550, "RCPT", "5.5.3 Too many recipients for this sender", "recipient-refused"),
    (421, "message", "4.7.0 h.test Error: too many errors", "temporary"),
    (552, "MAIL", "5.2.3 Your message exceeded the message size limits", "size"),
    (552, "message", "5.3.4 Message too big", "size"),
    (550, "message", "Message too large", "size"),
    (552, "RCPT", "5.2.2 The recipient's inbox is out of storage space", "quota"),
    (554, "message", "5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException", "quota"),
    (554, "greeting", "no service here", "connect"),
    (451, "greeting", "later", "temporary"),
    (530, "MAIL", "5.7.0 Must issue a STARTTLS command first", "tls-required"),
    (530, "AUTH", "5.7.57 Client not authenticated to send mail", "authentication"),
    (538, "AUTH", "5.7.11 Encryption required", "tls-required"),
    (454, "STARTTLS", "TLS not available", "tls-required"),
    (504, "AUTH", "5.7.4 Unrecognized authentication type", "auth-mechanism"),
    (534, "AUTH", "5.7.9 Application-specific password required", "authentication"),
    (535, "AUTH", "5.7.139 Authentication unsuccessful, SMTP AUTH is disabled for the Tenant", "authentication"),
    (535, "AUTH", "Login fail. Account is abnormal, or login frequency limited, or system is busy", "authentication"),
    (454, "AUTH", "4.7.0 Temporary authentication failure", "temporary"),
    (550, "MAIL", "5.7.1 Sender address rejected", "sender-refused"),
    (554, "message", "5.4.6 Message exceeded 50 hops, this may indicate a mail loop", "message-refused"),
    (550, "EHLO", "no", "protocol"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "command", "text", "wait"), LIMITS)
def test_limits(code: int, command: str, text: str, wait: float | None) -> None:
    error = smtp_error(Reply(code, (text,)), command, NOW)
    assert (error.category, error.retry_after) == ("rate-limit", wait)
    assert not error.permanent


@pytest.mark.parametrize(("code", "command", "text", "category"), OTHERS)
def test_other_replies(code: int, command: str, text: str, category: str) -> None:
    assert smtp_error(Reply(code, (text,)), command, NOW).category == category


def test_a_limit_of_one_connection_is_marked() -> None:
    assert smtp_error(Reply(421, ("too many messages in this connection",)), "MAIL").scope == "connection"


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("try again in 5 minutes", 300),
        ("please wait 30 seconds", 30),
        ("come back in 00:05:00", 300),
        ("Retry-After: 120", 120),
        ("for a 15 minute period", 900),
        ("Try again after Sun, 22 Nov 2026 09:00:00 GMT", HOUR),
        ("Try again after 2026-11-22T08:00:10Z", 10),
        ("Try again after 2026-11-22 09:00:00 UTC", HOUR),
        ("Try again after 2020-01-01T00:00:00Z", None),
        ("try again in 900 days", 7 * 24 * HOUR),
        ("try again later", None),
        ("in 2 messages", None),
    ],
)
def test_stated_waits(text: str, wait: float | None) -> None:
    assert stated_wait(text, NOW) == wait


@given(
    st.integers(200, 599),
    st.lists(st.text(max_size=60), max_size=4),
    st.sampled_from(["MAIL", "AUTH", "greeting", "X"]),
)
def test_any_reply_has_a_category(code: int, lines: list[str], command: str) -> None:
    error = smtp_error(Reply(code, tuple(lines)), command, NOW)
    assert error.category in CATEGORIES
    assert error.text


@given(st.text(max_size=100))
def test_any_login_refusal_has_a_category(text: str) -> None:
    assert login_error(text, NOW).category in CATEGORIES


def test_text_and_enhanced_code_of_several_lines() -> None:
    reply = Reply(535, ("5.7.8 Username and Password not accepted. See", "5.7.8  https://x.test k1 - gsmtp"))
    assert reply.enhanced == "5.7.8"
    assert reply.text == "Username and Password not accepted. See https://x.test k1 - gsmtp"
    assert Reply(250).text == ""
    assert Reply(550, ("4.1.1 class does not fit",)).enhanced is None
