"""Sending: dialogues with a scripted server, and what the queue keeps of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.clientstack import Message, Outbox, Settings

from .scripted import ScriptedServer

Make = Callable[..., dict[str, Any]]

OPEN = """
S: 220 mail.example.test ESMTP
C: EHLO \\[127\\.0\\.0\\.1\\]
S: 250-mail.example.test
S: 250-8BITMIME
S: 250 SIZE 1000
"""
ONE = """
C: MAIL FROM:<alice@example.test> SIZE=\\d+
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.test>
S: 250
C: DATA
S: 354 Go ahead
!data
"""
QUIT = """
C: QUIT
S: 221 Bye
"""
EML = b"From: alice@example.test\nDate: Sun, 22 Nov 2026 08:00:00 +0000\nMessage-ID: <1@example.test>\n\n.dot\n"


def mail(name: str = "m1", *to: str, eml: bytes = EML, sender: str | None = "alice@example.test") -> Message:
    return Message(name, sender, to or ("bob@example.test",), eml)


def send(settings: dict[str, Any], state: Path, now: datetime, *messages: Message) -> dict[str, Any]:
    with Outbox(Settings.from_json(settings), state, now) as outbox:
        return outbox.send(messages or [mail()]).as_json()


def flush(settings: dict[str, Any], state: Path, now: datetime) -> dict[str, Any]:
    with Outbox(Settings.from_json(settings), state, now) as outbox:
        return outbox.flush().as_json()


def outcomes(report: dict[str, Any]) -> list[str]:
    return [result["outcome"] for result in report["results"]]


def error_of(report: dict[str, Any], index: int = 0) -> dict[str, Any]:
    error: dict[str, Any] = report["results"][index]["error"]
    return error


def test_bytes_arrive_dot_stuffed_with_crlf(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(OPEN + ONE + "S: 250 2.0.0 Ok" + QUIT) as server:
        report = send(outgoing(server.port), tmp_path, now)
    assert outcomes(report) == ["sent"]
    assert server.data == [EML.replace(b"\n.dot", b"\n..dot").replace(b"\n", b"\r\n") + b".\r\n"]


def test_each_recipient_has_its_own_outcome(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    script = """
    C: MAIL FROM:.*
    S: 250 Ok
    C: RCPT TO:<a@example.test>
    S: 250 Ok
    C: RCPT TO:<b@example.test>
    S: 550-5.1.1 No such
    S: 550 5.1.1 user
    C: RCPT TO:<c@example.test>
    S: 451 Try later
    C: DATA
    S: 354
    !data
    S: 250
    """
    with ScriptedServer(OPEN + script + QUIT) as server:
        report = send(
            outgoing(server.port), tmp_path, now, mail("m", "a@example.test", "b@example.test", "c@example.test")
        )
    result = report["results"][0]
    assert {address: each["outcome"] for address, each in result["recipients"].items()} == {
        "a@example.test": "sent",
        "b@example.test": "failed",
        "c@example.test": "deferred",
    }
    assert result["outcome"] == "deferred"
    assert result["recipients"]["b@example.test"]["error"] == {
        "category": "recipient-refused",
        "code": 550,
        "enhanced": "5.1.1",
        "text": "No such user",
    }
    assert result["retry_at"] == "2026-11-22T08:01:00Z"


@pytest.mark.parametrize("said", ["452 4.5.3 Enough for one message", "452 Too many recipients"])
def test_too_many_recipients_go_in_another_transaction(
    said: str, outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    script = f"""
    C: MAIL FROM:.*
    S: 250 Ok
    C: RCPT TO:<a@example.test>
    S: 250 Ok
    C: RCPT TO:<b@example.test>
    S: {said}
    C: DATA
    S: 354 Ok
    !data
    S: 250 Ok
    C: MAIL FROM:.*
    S: 250 Ok
    C: RCPT TO:<b@example.test>
    S: 250 Ok
    C: DATA
    S: 354 Ok
    !data
    S: 250 Ok
    """
    with ScriptedServer(OPEN + script + QUIT) as server:
        report = send(outgoing(server.port), tmp_path, now, mail("m", "a@example.test", "b@example.test"))
    assert outcomes(report) == ["sent"]
    assert len(server.data) == 2


@pytest.mark.parametrize(
    ("command", "reply", "category", "outcome"),
    [
        ("greeting", "554 No", "connect", "deferred"),
        ("greeting", "421 Busy", "temporary", "deferred"),
        ("EHLO", "421 4.7.0 Try again later, closing connection. (EHLO)", "temporary", "deferred"),
        ("MAIL", "550 5.7.1 Not you", "sender-refused", "failed"),
        ("MAIL", "451 4.3.0 Later", "temporary", "deferred"),
        ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", "tls-required", "failed"),
        ("MAIL", "530 5.7.0 Authentication Required", "authentication", "failed"),
        ("MAIL", "552 5.3.4 Message size exceeds fixed limit", "size", "failed"),
        ("RCPT", "550 5.1.1 Unknown", "recipient-refused", "failed"),
        ("RCPT", "552 5.2.2 Over quota", "quota", "failed"),
        ("RCPT", "452 4.2.2 Over quota", "quota", "deferred"),
        ("DATA", "554 No valid recipients", "message-refused", "failed"),
        ("message", "554 5.6.0 Spam", "message-refused", "failed"),
        ("message", "451 4.7.1 Greylisting in action", "temporary", "deferred"),
        ("message", "550 5.4.5 Daily user sending limit exceeded", "rate-limit", "deferred"),
        ("message", "nonsense", "protocol", "deferred"),
    ],
)
def test_a_refusal_at_each_command(
    command: str, reply: str, category: str, outcome: str, outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    steps = [("greeting", "", "220 Hi"), ("EHLO", "C: EHLO .*", "250 Hi"), ("MAIL", "C: MAIL .*", "250 Ok")]
    steps += [("RCPT", "C: RCPT .*", "250 Ok"), ("DATA", "C: DATA", "354 Ok"), ("message", "!data", "250 Ok")]
    script = ""
    for name, heard, said in steps:
        script += f"{heard}\nS: {reply if name == command else said}\n"
        if name == command:
            break
    if command in ("RCPT", "DATA", "message"):
        script += "C: RSET\nS: 250 Ok\n" if reply != "nonsense" else ""
    with ScriptedServer(script + "!quit") as server:
        report = send(outgoing(server.port), tmp_path, now)
    assert (error_of(report)["category"], outcomes(report)) == (category, [outcome])


def test_a_rate_limit_stops_the_account_until_its_end(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    limited = """
    C: MAIL FROM:.*
    S: 454 4.7.0 Too many messages, try again in 10 minutes
    """
    again = OPEN + ONE + "S: 250 Ok" + ONE + "S: 250 Ok" + QUIT
    with ScriptedServer(OPEN + limited + QUIT, again) as server:
        settings = outgoing(server.port)
        first = send(settings, tmp_path, now, mail("m1"), mail("m2"))
        assert first["rate_limited_until"] == "2026-11-22T08:10:00Z"
        assert outcomes(first) == ["deferred", "deferred"]
        assert error_of(first, 1)["category"] == "rate-limit"
        early = flush(settings, tmp_path, now + timedelta(minutes=9, seconds=59))
        assert outcomes(early) == ["deferred", "deferred"]
        assert server.connections == 1
        late = flush(settings, tmp_path, now + timedelta(minutes=10))
    assert outcomes(late) == ["sent", "sent"]
    assert late["rate_limited_until"] is None


def test_a_lost_final_reply_is_in_doubt_and_goes_again_with_its_message_id(
    outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    again = OPEN + ONE + "S: 250 Ok" + QUIT
    with ScriptedServer(OPEN + ONE + "!close", again) as server:
        settings = outgoing(server.port)
        first = send(settings, tmp_path, now, mail(eml=b"Subject: no id\r\n\r\nx\r\n"))
        assert outcomes(first) == ["deferred"]
        assert error_of(first)["category"] == "disconnected"
        with Outbox(Settings.from_json(settings), tmp_path, now) as outbox:
            assert [row["state"] for row in outbox.queue.overview()] == ["in-doubt"]
        second = flush(settings, tmp_path, now)
    assert outcomes(second) == ["sent"]
    assert server.data[0] == server.data[1]
    assert b"\r\nMessage-ID: <" in b"\r\n" + server.data[0]


def test_a_refusal_that_ends_the_connection_is_not_everybodys(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    refused = OPEN + "C: MAIL .*\nS: 250\nC: RCPT .*\nS: 550 5.1.1 No\nC: RSET\n!close"
    with ScriptedServer(refused, refused) as server:
        report = send(outgoing(server.port), tmp_path, now, mail("m1"), mail("m2"), mail("m3"))
    assert outcomes(report) == ["failed", "failed", "deferred"]
    assert error_of(report, 2)["category"] == "disconnected"


def test_only_the_message_whose_reply_is_missing_is_in_doubt(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(OPEN + ONE + "!hold") as server:
        settings = outgoing(server.port, timeout=0.3)
        report = send(settings, tmp_path, now, mail("m1"), mail("m2"))
    assert [result["error"]["category"] for result in report["results"]] == ["timeout", "timeout"]
    with Outbox(Settings.from_json(settings), tmp_path, now) as outbox:
        states = {row["message"]: row["state"] for row in outbox.queue.overview()}
    assert states == {"m1": "in-doubt", "m2": "not-done"}


def test_a_connection_lost_in_a_batch_is_replaced_once(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    first = OPEN + ONE + "S: 250 Ok\nC: MAIL .*\nS: 421 4.4.1 Idle too long\n!close"
    second = OPEN + ONE + "S: 250 Ok" + ONE + "S: 250 Ok" + QUIT
    with ScriptedServer(first, second) as server:
        report = send(outgoing(server.port), tmp_path, now, mail("m1"), mail("m2"), mail("m3"))
    assert outcomes(report) == ["sent", "sent", "sent"]
    assert len(server.data) == 3


def test_a_stalled_server_ends_in_a_timeout_for_all(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer("S: 220 Hi\nC: EHLO .*\n!hold") as server:
        report = send(outgoing(server.port, timeout=0.2), tmp_path, now, mail("m1"), mail("m2"))
    assert [result["error"]["category"] for result in report["results"]] == ["timeout", "timeout"]


def test_a_server_that_never_ends_its_reply_is_left(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer("S! 220-" + "x" * 70_000 + "\n!hold") as server:
        report = send(outgoing(server.port, timeout=2), tmp_path, now)
    assert error_of(report)["category"] == "protocol"


def test_a_repeated_request_takes_up_what_it_left_behind(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer("S: 421 Busy", OPEN + ONE + "S: 250 Ok" + QUIT) as server:
        settings = outgoing(server.port)
        send(settings, tmp_path, now)
        assert outcomes(send(settings, tmp_path, now)) == ["sent"]
    assert flush(settings, tmp_path, now)["results"] == []


def test_helo_only_for_servers_without_ehlo(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    script = """
    S: 220 Hi
    C: EHLO .*
    S: 502 What?
    C: HELO \\[127.0.0.1\\]
    S: 250 Hi
    C: MAIL FROM:<alice@example.test>
    S: 250 Ok
    C: RCPT TO:<bob@example.test>
    S: 250 Ok
    C: DATA
    S: 354 Ok
    !data
    S: 250 Ok
    """
    with ScriptedServer(script + QUIT) as server:
        assert outcomes(send(outgoing(server.port), tmp_path, now)) == ["sent"]


def test_addresses_that_cannot_be_sent_fail_without_a_connection(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    report = send(outgoing(1), tmp_path, now, mail("m1", "jörg@example.test"), mail("m2", "x@y>\r\nRCPT TO:<z@y"))
    assert [result["error"]["category"] for result in report["results"]] == ["unsupported", "config"]


def test_smtputf8_and_a_labels(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    script = """
    S: 220 Hi
    C: EHLO .*
    S: 250-Hi
    S: 250 SMTPUTF8
    C: MAIL FROM:<alice@example.test> SMTPUTF8
    S: 250 Ok
    C: RCPT TO:<jörg@bücher.test>
    S: 250 Ok
    C: RCPT TO:<bob@xn--bcher-kva.test>
    S: 250 Ok
    C: DATA
    S: 354 Ok
    !data
    S: 250 Ok
    """
    with ScriptedServer(script + QUIT) as server:
        settings = outgoing(server.port, smtputf8=True)
        report = send(settings, tmp_path, now, mail("m1", "jörg@bücher.test", "bob@bücher.test"))
    assert outcomes(report) == ["sent"]


def test_smtputf8_missing_fails_only_those_who_need_it(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(OPEN + ONE + "S: 250 Ok" + QUIT) as server:
        settings = outgoing(server.port, smtputf8=True)
        report = send(settings, tmp_path, now, mail("m1", "jörg@example.test", "bob@example.test"))
    recipients = report["results"][0]["recipients"]
    assert recipients["jörg@example.test"]["error"]["category"] == "unsupported"
    assert recipients["bob@example.test"]["outcome"] == "sent"


def test_the_envelope_sender(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    def script(sender: str) -> str:
        return OPEN + ONE.replace("alice@example.test", sender) + "S: 250 Ok" + QUIT

    with ScriptedServer(script("bounces@example.test"), script(""), script("alice@example.test")) as server:
        settings = outgoing(server.port, bounce_address="bounces@example.test")
        assert outcomes(send(settings, tmp_path, now)) == ["sent"]
        assert outcomes(send(settings, tmp_path, now, mail(sender=""))) == ["sent"]
        assert outcomes(send(outgoing(server.port), tmp_path, now, mail(sender=None))) == ["sent"]


def test_a_message_over_the_limit_is_not_offered(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(OPEN + QUIT) as server:
        report = send(outgoing(server.port), tmp_path, now, mail(eml=EML + b"x" * 2000))
    assert (error_of(report)["category"], outcomes(report)) == ("size", ["failed"])


# -- TLS and logging in --------------------------------------------------------------------


def test_starttls_forgets_what_was_said_in_clear(
    outgoing: Make, tmp_path: Path, now: datetime, server_context: Callable[..., ssl.SSLContext]
) -> None:
    script = """
    S: 220 Hi
    C: EHLO .*
    S: 250-Hi
    S: 250-AUTH CRAM-MD5
    S: 250 STARTTLS
    C: STARTTLS
    S: 220 Go
    !tls
    C: EHLO .*
    S: 250-Hi
    S: 250 AUTH PLAIN
    C: AUTH PLAIN AGFsaWNlAHNlc2FtZQ==
    S: 535 5.7.8 Bad sesame
    """
    with ScriptedServer(script + QUIT, context=server_context()) as server:
        settings = outgoing(server.port, security="starttls", auth="auto", username="alice", password="sesame")
        report = send(settings, tmp_path, now)
    assert error_of(report) == {
        "category": "authentication",
        "code": 535,
        "enhanced": "5.7.8",
        "text": "Bad ********",
    }
    assert outcomes(report) == ["failed"]


def test_bytes_before_the_handshake_abort(
    outgoing: Make, tmp_path: Path, now: datetime, server_context: Callable[..., ssl.SSLContext]
) -> None:
    script = """
    S: 220 Hi
    C: EHLO .*
    S: 250-Hi
    S: 250 STARTTLS
    C: STARTTLS
    S! 220 Go\\r\\n250 injected\\r\\n
    !hold
    """
    with ScriptedServer(script, context=server_context()) as server:
        report = send(outgoing(server.port, security="starttls"), tmp_path, now)
    assert outcomes(report) == ["deferred"]


@pytest.mark.parametrize("offer", ["250 Hi", "250-Hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 No"])
def test_required_tls_never_falls_back(offer: str, outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(f"S: 220 Hi\nC: EHLO .*\nS: {offer}\n" + QUIT) as server:
        report = send(outgoing(server.port, security="starttls"), tmp_path, now)
    assert error_of(report)["category"] == "tls-required"


def test_opportunistic_tls_goes_on_in_clear_but_not_with_a_bad_certificate(
    outgoing: Make, tmp_path: Path, now: datetime, server_context: Callable[..., ssl.SSLContext]
) -> None:
    offer = "S: 220 Hi\nC: EHLO .*\nS: 250-Hi\nS: 250-SIZE 1000\nS: 250 STARTTLS\nC: STARTTLS\n"
    refused = offer + "S: 454 Not now\n" + ONE + "S: 250 Ok" + QUIT
    broken = offer + "S: 220 Go\n!tls"
    with ScriptedServer(refused, broken, context=server_context("other.example.test")) as server:
        settings = outgoing(server.port, security="opportunistic")
        assert outcomes(send(settings, tmp_path, now)) == ["sent"]
        report = send(settings, tmp_path, now)
        assert (error_of(report)["category"], outcomes(report)) == ("tls-certificate", ["failed"])
        server.forgiving = True


@pytest.mark.parametrize(
    ("auth", "offered", "category"),
    [
        ("auto", "AUTH PLAIN LOGIN", "tls-required"),
        ("plain", "AUTH PLAIN", "tls-required"),
        ("auto", "AUTH NTLM GSSAPI", "auth-mechanism"),
        ("auto", "AUTH", "auth-mechanism"),
        ("auto", "SIZE", "auth-mechanism"),
        ("cram-md5", "AUTH PLAIN", "auth-mechanism"),
    ],
)
def test_a_password_is_not_shown_in_clear(
    auth: str, offered: str, category: str, outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    with ScriptedServer(f"S: 220 Hi\nC: EHLO .*\nS: 250-Hi\nS: 250 {offered}\n" + QUIT) as server:
        settings = outgoing(server.port, auth=auth, username="alice", password="sesame")
        report = send(settings, tmp_path, now)
    assert (error_of(report)["category"], outcomes(report)) == (category, ["failed"])
    assert not [line for line in server.heard[0] if "AUTH" in line]


def test_only_504_lets_another_mechanism_try(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    script = """
    S: 220 Hi
    C: EHLO .*
    S: 250-Hi
    S: 250 AUTH LOGIN PLAIN CRAM-MD5
    C: AUTH CRAM-MD5
    S: 504 5.5.4 Not really
    C: AUTH PLAIN \\S+
    S: 535 5.7.8 No
    """
    with ScriptedServer(script + QUIT) as server:
        settings = outgoing(server.port, auth="auto", username="a", password="sesame", allow_cleartext=True)
        assert error_of(send(settings, tmp_path, now))["category"] == "authentication"


def test_login_and_xoauth2_dialogues(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    login = """
    S: 220 Hi
    C: EHLO .*
    S: 250-Hi
    S: 250 AUTH=LOGIN
    C: AUTH LOGIN
    S: 334 VXNlcm5hbWU6
    C: YWxpY2U=
    S: 334 UGFzc3dvcmQ6
    C: c2VzYW1l
    S: 454 4.7.0 Too many login attempts, please try again later
    """
    token = """
    S: 220 Hi
    C: EHLO .*
    S: 250-Hi
    S: 250 AUTH XOAUTH2 PLAIN
    C: AUTH XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2tlbgEB
    S: 334 eyJzdGF0dXMiOiI0MDEifQ==
    C:
    S: 535 5.7.8 Username and Password not accepted
    """
    with ScriptedServer(login + QUIT, token + QUIT) as server:
        common = {"auth": "login", "username": "alice", "password": "sesame", "allow_cleartext": True}
        report = send(outgoing(server.port, **common), tmp_path / "1", now)
        assert error_of(report)["category"] == "rate-limit"
        assert report["rate_limited_until"] == "2026-11-22T08:15:00Z"
        common |= {"auth": "auto", "access_token": "token", "password": ""}
        assert error_of(send(outgoing(server.port, **common), tmp_path / "2", now))["category"] == "authentication"
