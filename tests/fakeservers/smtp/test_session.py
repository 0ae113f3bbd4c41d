"""Commands, their order, and who may send to whom (RFC 5321, 3207, 6409)."""

from __future__ import annotations

import pytest

from fakeservers.clock import Clock

from .dialogue import ALICE, BOB, STRANGER, TLS, Dialogue, generic, hello


def test_greeting_names_the_host() -> None:
    assert Dialogue().greeting == "220 mail.example.test ESMTP ready\r\n"


def test_ehlo_in_clear_offers_starttls_and_hides_auth() -> None:
    assert Dialogue().say("EHLO client.example").splitlines() == [
        "250-mail.example.test greets client.example",
        "250-PIPELINING",
        "250-SIZE 36700160",
        "250-STARTTLS",
        "250-ENHANCEDSTATUSCODES",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-DSN",
        "250 HELP",
    ]


@pytest.mark.parametrize("service", ["smtps", "submission"])
def test_ehlo_under_tls_offers_auth_and_no_starttls(service: str) -> None:
    lines = Dialogue(service=service, tls=True).say("EHLO client.example").splitlines()
    assert "250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN" in lines
    assert "250-STARTTLS" not in lines


def test_auth_is_offered_in_clear_where_the_profile_does_not_hide_it() -> None:
    lines = Dialogue(generic(hides_auth_before_tls=False)).say("EHLO x").splitlines()
    assert "250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN" in lines


def test_legacy_auth_keyword_stands_as_written_and_is_hidden_in_clear() -> None:
    profile = generic(ehlo=["AUTH LOGIN", "AUTH=LOGIN", "HELP"])
    assert Dialogue(profile, "smtps").say("EHLO x").splitlines()[1:] == ["250-AUTH LOGIN", "250-AUTH=LOGIN", "250 HELP"]
    assert Dialogue(profile).say("EHLO x").splitlines()[1:] == ["250 HELP"]


@pytest.mark.parametrize("line", ["EHLO", "HELO", "EHLO ", "EHLO two words"])
def test_hello_needs_a_name(line: str) -> None:
    dialogue = Dialogue()
    reply = dialogue.say(line)
    assert reply == ("501 5.5.4 A domain name or address literal is needed")
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>").startswith("503")


@pytest.mark.parametrize("hello_line", ["EHLO x", "HELO x", "ehlo x"])
def test_mail_for_a_user(hello_line: str) -> None:
    dialogue = Dialogue()
    dialogue.say(hello_line)
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>") == "250 2.1.0 OK"
    assert dialogue.say(f"RCPT TO:<{ALICE}>") == "250 2.1.5 OK"
    assert dialogue.say("DATA").startswith("354 ")
    assert dialogue.send(b"Subject: x\r\n\r\nhello\r\n.\r\n") == "250 2.0.0 OK\r\n"
    (message,) = dialogue.host.messages(ALICE)
    assert (message.content, message.mail_from, message.rcpt_to) == (
        b"Subject: x\r\n\r\nhello\r\n", STRANGER, (ALICE,),
    )  # fmt: skip
    assert dialogue.say("QUIT") == "221 2.0.0 mail.example.test closing connection"
    assert dialogue.ended


def test_sequence() -> None:
    dialogue = Dialogue()
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>") == "503 5.5.1 Send EHLO first"
    dialogue.say("EHLO x")
    assert dialogue.say(f"RCPT TO:<{ALICE}>") == "503 5.5.1 Need MAIL command"
    assert dialogue.say("DATA") == "503 5.5.1 Need MAIL command"
    dialogue.say(f"MAIL FROM:<{STRANGER}>")
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>") == "503 5.5.1 Bad sequence of commands"
    assert dialogue.say("DATA") == "503 5.5.1 Need RCPT command"
    assert dialogue.say("RSET") == "250 2.0.0 OK"
    assert dialogue.say(f"RCPT TO:<{ALICE}>") == "503 5.5.1 Need MAIL command"


@pytest.mark.parametrize("line", ["RSET x", "DATA x", "QUIT x", "STARTTLS x"])
def test_commands_without_argument(line: str) -> None:
    dialogue = hello()
    dialogue.say(f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{ALICE}>")
    assert dialogue.say(line) == "501 5.5.4 This command takes no argument"
    assert not dialogue.ended


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("NOOP", "250 2.0.0 OK"),
        ("NOOP ignored", "250 2.0.0 OK"),
        ("VRFY alice", "252 2.1.5 "),
        ("VRFY <alice@example.test>", "252 2.1.5 "),
        ("VRFY", "501 5.5.4 "),
        ("EXPN staff", "502 5.5.1 "),
        ("ETRN example.test", "502 5.5.1 "),
        ("HELP", "214 2.0.0 Commands: AUTH "),
        ("HELP MAIL", "214 2.0.0 "),
        ("TURN", "500 5.5.2 "),
        ("BDAT 5 LAST", "502 5.5.1 "),
        ("", "500 5.5.2 Syntax error"),
        ("NOOP  trailing   ", "250 "),
    ],
)
def test_other_commands(line: str, reply: str) -> None:
    assert hello().say(line).startswith(reply)


def test_smtp_takes_mail_for_its_users_only() -> None:
    dialogue = hello()
    dialogue.say(f"MAIL FROM:<{STRANGER}>")
    assert dialogue.say("RCPT TO:<nobody@example.test>") == "550 5.1.1 <nobody@example.test>: no such user here"
    assert dialogue.say(f"RCPT TO:<{STRANGER}>") == f"550 5.7.1 <{STRANGER}>: relaying denied"
    assert dialogue.say("RCPT TO:<Alice@Example.TEST>") == "250 2.1.5 OK"
    assert dialogue.say("RCPT TO:<Postmaster>") == "250 2.1.5 OK"
    assert dialogue.say("RCPT TO:<postmaster@example.test>") == "250 2.1.5 OK"


def test_any_recipient_after_auth() -> None:
    dialogue = hello("generic", "smtps")
    assert dialogue.login().startswith("235 ")
    dialogue.mail(STRANGER, "nobody@example.test")
    dialogue.send(b"x\r\n.\r\n")
    assert dialogue.contents(STRANGER) == dialogue.contents("nobody@example.test") == [b"x\r\n"]


def test_submission_wants_tls_and_then_auth() -> None:
    dialogue = hello("generic", "submission")
    for line in (f"MAIL FROM:<{STRANGER}>", "AUTH PLAIN", "DATA", "VRFY x", "EXPN x"):
        assert dialogue.say(line) == "530 5.7.0 Must issue a STARTTLS command first"
    for line in ("NOOP", "RSET", "HELP", "EHLO x", "HELO x"):
        assert dialogue.say(line).startswith("2")
    assert dialogue.say("STARTTLS").startswith("220 ")
    dialogue.session.tls_started(TLS)
    dialogue.connection.tls = TLS
    dialogue.say("EHLO x")
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>") == "530 5.7.0 Authentication required"
    assert dialogue.say(f"RCPT TO:<{ALICE}>") == "530 5.7.0 Authentication required"


def test_starttls_drops_what_stood_behind_it_and_forgets_what_was_said() -> None:
    dialogue = hello()
    dialogue.say(f"MAIL FROM:<{STRANGER}>")
    assert dialogue.send(b"STARTTLS\r\nRSET\r\nNOOP\r\n") == "220 2.0.0 Ready to start TLS\r\n"
    assert dialogue.starts_tls
    (event,) = dialogue.events("plaintext-after-starttls")
    assert event.facts["octets"] == 12
    assert dialogue.session.receive(b"NOOP\r\n") == []
    dialogue.connection.tls = TLS
    assert dialogue.session.tls_started(TLS) == []
    assert dialogue.connection.ehlo is None
    assert dialogue.say(f"RCPT TO:<{ALICE}>").startswith("503")
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>").startswith("503")
    dialogue.say("EHLO x")
    assert dialogue.say("STARTTLS") == "503 5.5.1 TLS is already active"


def test_starttls_forgets_a_login() -> None:
    dialogue = hello(generic(hides_auth_before_tls=False))
    assert dialogue.login().startswith("235")
    dialogue.say("STARTTLS")
    dialogue.session.tls_started(TLS)
    assert dialogue.connection.account is None
    assert dialogue.host.store.accounts[ALICE].sessions["smtp"] == 0


def test_starttls_where_the_service_has_none() -> None:
    profile = generic()
    service = profile.services["smtp"].model_copy(update={"starttls": False})
    dialogue = Dialogue(profile.model_copy(update={"services": {"smtp": service}}))
    assert "STARTTLS" not in dialogue.say("EHLO x")
    assert dialogue.say("STARTTLS") == "502 5.5.1 Command not implemented"


def test_recipient_limit() -> None:
    dialogue = hello(generic(max_recipients=1))
    dialogue.say(f"MAIL FROM:<{STRANGER}>")
    assert dialogue.say(f"RCPT TO:<{ALICE}>").startswith("250")
    assert dialogue.say(f"RCPT TO:<{BOB}>") == "452 4.5.3 Too many recipients"


def test_bad_commands_in_a_row_end_the_connection() -> None:
    dialogue = hello(generic(bad_commands=3))
    assert dialogue.say("X1", "X2", "NOOP", "X3", "X4").count("500") == 4
    assert dialogue.say("X5") == "421 4.7.0 Too many bad commands, closing connection"
    assert dialogue.ended
    assert dialogue.say("NOOP") == ""
    assert dialogue.connection.tally.total("bad_commands") == 5


def test_silence() -> None:
    dialogue = Dialogue()
    dialogue.actions += (actions := dialogue.session.timed_out())
    assert len(actions) == 2
    assert dialogue.ended
    assert dialogue.session.idle == 300.0


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP\n", "500 5.5.2 Lines end with CR LF"),
        (b"NOOP\rx\r\n", "500 5.5.2 Syntax error"),
        (b"NOOP\0\r\n", "500 5.5.2 Syntax error"),
        (b"\xff\xfe\r\n", "500 5.5.2 Command not recognized"),
        (b"NOOP " + b"x" * 2041 + b"\r\n", "250 2.0.0 OK"),
        (b"NOOP " + b"x" * 2042 + b"\r\n", "500 5.5.2 Line too long"),
        (b"NOOP " + b"x" * 99999 + b"\r\n", "500 5.5.2 Line too long"),
    ],
)
def test_lines(line: bytes, reply: str) -> None:
    dialogue = hello()
    assert dialogue.send(line) == reply + "\r\n"
    assert dialogue.say("NOOP") == "250 2.0.0 OK"


def test_a_line_without_end_is_not_kept_whole() -> None:
    dialogue = hello()
    for _ in range(100):
        assert dialogue.send(b"x" * 10000) == ""
    assert dialogue.send(b"\r\n") == "500 5.5.2 Line too long\r\n"
    assert len(dialogue.heard()[-1]) == 2048
    assert dialogue.events("line-too-long")[0].facts["octets"] == 1000002


def test_trace_header_fields() -> None:
    dialogue = Dialogue(service="smtps", clock=Clock(1_000_000_000.5))
    dialogue.say("EHLO [192.0.2.1]")
    dialogue.login()
    dialogue.mail()
    dialogue.send(b"x\r\n.\r\n")
    (message,) = dialogue.host.messages(ALICE)
    assert message.trace == (
        b"Return-Path: <carol@elsewhere.example>\r\n"
        b"Received: from [192.0.2.1] ([192.0.2.1])\r\n"
        b"\tby mail.example.test with ESMTPSA id 1.1;\r\n"
        b"\tSun, 09 Sep 2001 01:46:40 +0000\r\n"
    )
    assert message.raw == message.trace + b"x\r\n"


def test_trace_survives_any_ehlo_name() -> None:
    dialogue = Dialogue()
    dialogue.send(b"EHLO a(b)\xff;c\r\n")
    dialogue.mail()
    dialogue.send(b"x\r\n.\r\n")
    assert b"Received: from a?b???c (" in dialogue.host.messages(ALICE)[0].trace


def test_counters() -> None:
    dialogue = hello("generic", "smtps")
    dialogue.login()
    dialogue.mail(ALICE, BOB)
    dialogue.send(b"12345\r\n.\r\n")
    dialogue.session.closed()
    account = dialogue.host.store.accounts[ALICE]
    for tally in (dialogue.connection.tally, account.tally, dialogue.host.site.tally):
        assert [tally.total(name) for name in ("messages", "recipients", "octets", "logins")] == [1, 2, 7, 1]
    assert dialogue.connection.tally.total("commands") == 6


def test_transcript_and_end() -> None:
    dialogue = hello()
    dialogue.mail()
    dialogue.send(b"x\r\n.\r\nQUIT\r\nNOOP\r\n")
    dialogue.send(b"RSET\r\n")
    dialogue.session.closed()
    assert dialogue.heard() == [
        b"EHLO client.example\r\n",
        b"MAIL FROM:<carol@elsewhere.example>\r\n",
        b"RCPT TO:<alice@example.test>\r\n",
        b"DATA\r\n",
        b"x\r\n",
        b"QUIT\r\n",
    ]
    (stored,) = dialogue.host.messages(ALICE)
    assert any(entry.data is stored.content for entry in dialogue.host.transcript)


@pytest.mark.parametrize(
    ("before", "rest", "heard"),
    [(b"", b"NO", b"NO"), (b"DATA\r\n", b"half a mess", b"half a mess"), (b"", b"AUTH PLAIN c2Vj", b"AUTH PLAIN ***")],
)
def test_what_was_left_unread_is_heard(before: bytes, rest: bytes, heard: bytes) -> None:
    dialogue = hello()
    dialogue.say(f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{ALICE}>")
    dialogue.send(before + rest)
    dialogue.session.closed()
    assert dialogue.heard()[-1] == heard
