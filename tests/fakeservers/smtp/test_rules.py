"""Rules at the points of the SMTP dialogue."""

from __future__ import annotations

from typing import Any

import pytest

from fakeservers.actions import Cut, End, Pace, Send, StartTls, Wait

from .dialogue import ALICE, BOB, STRANGER, TLS, Dialogue, b64, generic, hello


def rule(at: str | list[str], **parts: Any) -> dict[str, Any]:
    return {"name": "quirk", "at": at, **parts}


def test_a_refusing_greeting() -> None:
    dialogue = Dialogue(rules=[rule("smtp.connect", reply="554-5.7.1 not\n554 5.7.1 you")])
    assert dialogue.greeting == "554-5.7.1 not\r\n554 5.7.1 you\r\n"
    assert dialogue.say("EHLO x").startswith("503")
    assert dialogue.say("QUIT").startswith("221")


def test_a_greeting_that_closes() -> None:
    dialogue = Dialogue(rules=[rule("smtp.connect", reply="421 4.3.2 busy", then="close")])
    assert dialogue.actions == [Send(b"421 4.3.2 busy\r\n", rule="quirk"), End("close", "quirk")]
    assert dialogue.say("EHLO x") == ""


@pytest.mark.parametrize(
    ("at", "line"),
    [
        ("smtp.ehlo", "EHLO x"),
        ("smtp.helo", "HELO x"),
        ("smtp.mail", f"MAIL FROM:<{STRANGER}>"),
        ("smtp.rcpt", f"RCPT TO:<{ALICE}>"),
        ("smtp.data", "DATA"),
        ("smtp.rset", "RSET"),
        ("smtp.noop", "NOOP"),
        ("smtp.quit", "QUIT"),
        ("smtp.vrfy", "VRFY x"),
        ("smtp.expn", "EXPN x"),
        ("smtp.help", "HELP"),
        ("smtp.etrn", "ETRN x"),
        ("smtp.starttls", "STARTTLS"),
        ("smtp.auth", "AUTH PLAIN"),
        ("smtp.bdat", "BDAT 4"),
        ("smtp.unknown", "XYZZY"),
    ],
)
def test_every_command_is_a_point(at: str, line: str) -> None:
    dialogue = hello(generic(ehlo=["CHUNKING", "HELP"]), rules=[rule(at, reply="451 4.0.0 {command} no", then="close")])
    dialogue.say(f"MAIL FROM:<{STRANGER}>")
    if not dialogue.ended:
        dialogue.say(f"RCPT TO:<{BOB}>")
    if not dialogue.ended:
        dialogue.say(line, *["12"] * (at == "smtp.bdat"))
    spoke = [action for action in dialogue.actions if isinstance(action, Send) and action.rule == "quirk"]
    assert [action.data for action in spoke] == [f"451 4.0.0 {line.split()[0]} no\r\n".encode()]
    assert dialogue.ended
    assert not any(isinstance(action, StartTls) for action in dialogue.actions)


def test_a_refused_mail_opens_nothing() -> None:
    dialogue = hello(rules=[rule("smtp.mail", when={"sender": STRANGER}, reply="451 4.7.1 later, {address}")])
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>") == f"451 4.7.1 later, {STRANGER}"
    assert dialogue.say(f"RCPT TO:<{ALICE}>").startswith("503")
    assert dialogue.say(f"MAIL FROM:<{BOB}>").startswith("250")


def test_an_accepting_reply_has_the_command_s_effect_and_overrules_policy() -> None:
    dialogue = hello(rules=[rule("smtp.rcpt", reply="250 2.1.5 {address} OK {recipients}")])
    dialogue.say(f"MAIL FROM:<{STRANGER}>")
    assert dialogue.say("RCPT TO:<any@where.example>") == "250 2.1.5 any@where.example OK {recipients}"
    dialogue.say("DATA", "x", ".")
    assert dialogue.contents("any@where.example") == [b"x\r\n"]


def test_strictness_is_a_rule_s_to_turn_off() -> None:
    dialogue = Dialogue(rules=[rule("smtp.mail", when={"ehlo": None}, reply="250 2.1.0 OK")])
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>") == "250 2.1.0 OK"


def test_facts_of_mail() -> None:
    when = {
        "address": "a@b.example", "domain": "b.example", "size": {"at_least": 10}, "parameters": {"glob": "*smtputf8*"},
        "argument": {"regex": "^FROM:<"}, "command": "mail", "ehlo": "client.example", "tls": False,
    }  # fmt: skip
    dialogue = hello(rules=[rule("smtp.mail", when=when, reply="450 yes")])
    assert dialogue.say("MAIL FROM:<a@b.example> SIZE=9 SMTPUTF8").startswith("250")
    dialogue.say("RSET")
    assert dialogue.say("MAIL FROM:<a@b.example> SIZE=10 SMTPUTF8") == "450 yes"


def test_recipients_count_this_one() -> None:
    dialogue = hello(rules=[rule("smtp.rcpt", when={"recipients": {"at_least": 2}, "sender": STRANGER}, reply="452 2")])
    dialogue.say(f"MAIL FROM:<{STRANGER}>")
    assert dialogue.say(f"RCPT TO:<{ALICE}>").startswith("250")
    assert dialogue.say(f"RCPT TO:<{BOB}>") == "452 2"
    assert dialogue.say(f"RCPT TO:<{BOB}>") == "452 2"


def test_capabilities() -> None:
    rules = [rule("smtp.ehlo", capabilities={"remove": ["STARTTLS", "8BITMIME"], "add": ["XCLIENT NAME"]})]
    dialogue = Dialogue(rules=rules)
    lines = dialogue.say("EHLO x").splitlines()
    assert not any("STARTTLS" in line for line in lines)
    assert lines[-2:] == ["250-HELP", "250 XCLIENT NAME"]
    assert dialogue.say("MAIL FROM:<a@b.example> BODY=8BITMIME").startswith("555")


def test_mechanisms_change_with_the_ehlo_reply() -> None:
    capabilities = {"remove": ["AUTH"], "add": ["AUTH CRAM-MD5"]}
    dialogue = hello("generic", "smtps", rules=[rule("smtp.ehlo", capabilities=capabilities)])
    assert dialogue.login().startswith("504")
    assert dialogue.say("AUTH CRAM-MD5").startswith("334")


def test_an_ehlo_reply_of_the_rule_s_own() -> None:
    dialogue = Dialogue(rules=[rule("smtp.ehlo", reply="250-{host} hi {arg}\n250-SIZE 5\n250 AUTH LOGIN")])
    assert dialogue.say("EHLO me").splitlines() == ["250-mail.example.test hi me", "250-SIZE 5", "250 AUTH LOGIN"]
    assert dialogue.session.offered.names == {"SIZE", "AUTH"}
    assert dialogue.session.offered.mechanisms == ("LOGIN",)


def test_how_an_answer_travels() -> None:
    parts: dict[str, Any] = {"delay": 2, "split": [3, 4], "every": 0.5, "append": "250 more\\r\\n", "cut": 7}
    dialogue = hello(rules=[rule("smtp.noop", **parts)])
    dialogue.say("NOOP")
    assert dialogue.actions[2:] == [
        Wait(2),
        Send(b"250 2.0.0 OK\r\n250 more\r\n", Pace((3, 4), 0, 0.5), "quirk"),
        Cut(7, "reset", "quirk"),
    ]


def test_truncate_and_untagged() -> None:
    dialogue = hello(rules=[rule("smtp.noop", truncate=9, untagged="250-first of {host}", then="reset")])
    assert dialogue.say("NOOP") == "250-first"
    assert dialogue.actions[-1] == End("reset", "quirk")


@pytest.mark.parametrize(
    ("line_end", "said"), [("lf", b"250-a\n250 b\n"), ("cr", b"250-a\r250 b\r"), ("none", b"250-a\r\n250 b")]
)
def test_line_ends(line_end: str, said: bytes) -> None:
    dialogue = hello(rules=[rule("smtp.noop", reply="250-a\n250 b", line_end=line_end)])
    assert dialogue.session.receive(b"NOOP\r\n") == [Send(said, rule="quirk")]


def test_own_answer_and_then_the_end() -> None:
    dialogue = hello(rules=[rule("smtp.mail", then="close")])
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>") == "250 2.1.0 OK"
    assert dialogue.ended


def test_the_lost_250() -> None:
    dialogue = hello(rules=[rule("smtp.message", reply="", deliver=True, then="close")])
    dialogue.mail()
    assert dialogue.send(b"x\r\n.\r\n") == ""
    assert dialogue.ended
    assert dialogue.contents() == [b"x\r\n"]


@pytest.mark.parametrize(
    ("parts", "reply", "kept"),
    [
        ({"reply": "550 5.7.1 spam"}, "550 5.7.1 spam", False),
        ({"reply": "550 5.7.1 spam", "deliver": True}, "550 5.7.1 spam", True),
        ({"reply": "250 2.0.0 {size} taken"}, "250 2.0.0 3 taken", True),
        ({"deliver": False}, "250 2.0.0 OK", False),
        ({"delay": 1}, "250 2.0.0 OK", True),
        ({"reply": "250 {message_id}|"}, "250 |", True),
    ],
)
def test_delivery(parts: dict[str, Any], reply: str, kept: bool) -> None:
    dialogue = hello(rules=[rule("smtp.message", **parts)])
    dialogue.mail()
    assert dialogue.send(b"x\r\n.\r\n") == reply + "\r\n"
    assert dialogue.contents() == [b"x\r\n"] * kept
    assert dialogue.connection.tally.total("messages") == (kept or reply.startswith("250"))
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>").startswith("250")


MESSAGE = (
    b"From: Alice =?utf-8?q?=C3=84?= <alice@b.example>\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nX-Mailer: acme 1\r\n"
    b"Message-ID: <1@b.example>\r\n\r\n\xe4\n\r\n"
)


@pytest.mark.parametrize(
    "when",
    [
        {"from_header": "alice@b.example"},
        {"subject": "café"},
        {"header.X-Mailer": {"glob": "acme*"}, "header.x-mailer": {"present": True}},
        {"header.List-Id": {"present": False}},
        {"eight_bit": True, "bare_lf": True, "smtputf8": False},
        {"size": len(MESSAGE), "recipients": 1, "sender": STRANGER},
    ],
)
def test_facts_of_a_message(when: dict[str, Any]) -> None:
    dialogue = hello(rules=[rule("smtp.message", when=when, reply="554 {message_id}")])
    dialogue.mail()
    assert dialogue.send(MESSAGE + b".\r\n") == "554 1@b.example\r\n"
    dialogue.mail()
    assert dialogue.send(b".\r\n").startswith("250") == ("header.List-Id" not in when)


def test_facts_of_what_is_no_message() -> None:
    dialogue = hello(rules=[rule("smtp.message", when={"from_header": "x", "subject": "y"}, reply="554 no")])
    dialogue.mail()
    assert dialogue.send(b"\xff\xfe: <\r\nFrom: <<>>,@;:\r\nno header\0\r\n.\r\n").startswith("250")


def test_data_answered_without_354_reads_no_data() -> None:
    dialogue = hello(rules=[rule("smtp.data", reply="250 what?")])
    assert dialogue.mail() == "250 what?"
    assert dialogue.say("NOOP") == "250 2.0.0 OK"


def test_chunk_refused_by_a_rule() -> None:
    dialogue = hello(generic(ehlo=["CHUNKING"]), rules=[rule("smtp.bdat", when={"size": 6}, reply="451 later")])
    dialogue.say(f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{ALICE}>")
    assert dialogue.send(b"BDAT 6\r\nNOOP\r\nNOOP\r\n") == "451 later\r\n250 2.0.0 OK\r\n"


# --- AUTH


def test_credentials_of_an_account_with_a_property() -> None:
    rules = [
        rule("smtp.credentials", when={"account.app_password_required": True, "credentials": "right"}, reply="534 app")
    ]
    dialogue = hello("generic", "smtps", rules=rules)
    assert dialogue.login().startswith("235")
    dialogue = hello("generic", "smtps", rules=rules)
    dialogue.host.store.accounts[ALICE].properties["app_password_required"] = True
    assert dialogue.login() == "534 app"
    assert dialogue.connection.account is None
    assert dialogue.login(ALICE, "wrong").startswith("535")


def test_credentials_that_a_rule_accepts() -> None:
    dialogue = hello("generic", "smtps", rules=[rule("smtp.credentials", reply="235 as you like")])
    assert dialogue.login(ALICE, "wrong") == "235 as you like"
    assert dialogue.connection.account is not None
    stranger = hello("generic", "smtps", rules=[rule("smtp.credentials", reply="235 as you like")])
    assert stranger.login("nobody", "x") == "235 as you like"
    assert stranger.say(f"MAIL FROM:<{STRANGER}>").startswith("250")


def test_lockout_counts_failures_of_the_claimed_account() -> None:
    when = {"account.failed_logins": {"at_least": 2, "within": "15m"}}
    dialogue = hello("generic", "smtps", rules=[rule("smtp.credentials", when=when, reply="454 4.7.0 locked")])
    replies = [dialogue.login(ALICE, password)[:3] for password in ("a", "b", "secret")]
    assert replies == ["535", "535", "454"]
    assert dialogue.login(BOB).startswith("235")


def test_steps_of_an_exchange() -> None:
    dialogue = hello(
        "generic",
        "smtps",
        rules=[rule("smtp.auth-step", when={"mechanism": "LOGIN", "username": ALICE}, reply="454 4.7.0 no step")],
    )
    assert dialogue.say("AUTH LOGIN", b64(ALICE).decode()).splitlines()[1].startswith("334")
    assert dialogue.say(b64("secret").decode()) == "454 4.7.0 no step"
    assert dialogue.say("NOOP").startswith("250")
    assert not any(b64("secret") in entry.data for entry in dialogue.host.transcript)


def test_auth_is_refused_and_delayed() -> None:
    rules = [rule("smtp.auth", when={"mechanism": "PLAIN"}, reply="504 5.7.4 not {arg}")]
    dialogue = hello("generic", "smtps", rules=rules)
    # A reply that repeats the argument does not repeat the password in it.
    assert dialogue.login(ALICE, "unheard of") == "504 5.7.4 not PLAIN"
    slow = hello("generic", "smtps", rules=[rule("smtp.auth", delay=1)])
    assert slow.login().startswith("235")
    assert any(isinstance(action, Wait) for action in slow.actions)


# --- STARTTLS


@pytest.mark.parametrize("reply", ["454 4.7.0 not now", "500 what", "502 no", ""])
def test_starttls_refused_or_unanswered(reply: str) -> None:
    dialogue = hello(rules=[rule("smtp.starttls", reply=reply)])
    assert dialogue.say("STARTTLS") == reply
    assert not dialogue.starts_tls


def test_a_command_can_have_its_effect_and_say_nothing() -> None:
    dialogue = hello(rules=[rule("smtp.starttls", truncate=0)])
    assert dialogue.say("STARTTLS") == ""
    assert dialogue.starts_tls


def test_response_injection_before_the_handshake() -> None:
    dialogue = hello(rules=[rule("smtp.starttls", append="250-injected\\r\\n")])
    assert dialogue.say("STARTTLS") == "220 2.0.0 Ready to start TLS\r\n250-injected"
    assert dialogue.starts_tls
    dialogue.session.tls_started(TLS)


def test_a_rule_that_ends_leaves_no_tls_behind() -> None:
    dialogue = hello(rules=[rule("smtp.starttls", then="close")])
    dialogue.say("STARTTLS")
    assert dialogue.actions[-1] == End("close", "quirk")


def test_counted_commands_are_seen_by_rules() -> None:
    dialogue = Dialogue(rules=[rule("smtp.noop", when={"connection.commands": {"at_least": 3}}, reply="421 enough")])
    assert dialogue.say("EHLO x", "NOOP").splitlines()[-1] == "250 2.0.0 OK"
    assert dialogue.say("NOOP") == "421 enough"
