"""What the server minds, by profile and by rule; and that nothing but CRLF.CRLF ends a message."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakeservers import Rule
from fakeservers.points import STRICT
from fakeservers.profile import SmtpProfile

from .dialogue import ALICE, STRANGER, Dialogue, b64, generic, hello

LONG = "NOOP " + "x" * 3000 + "\r\n"
COMMANDS = {
    "bare-lf": (["EHLO x\r\n", "NOOP\n"], "500 5.5.2", "250"),
    "line-length": (["EHLO x\r\n", LONG], "500 5.5.2", "250"),
    "eight-bit": (["EHLO b\u00fcro\r\n"], "500 5.5.2", "250"),
    "ehlo": ([f"MAIL FROM:<{STRANGER}>\r\n"], "503 5.5.1", "250"),
    "order": (["EHLO x\r\n", f"RCPT TO:<{ALICE}>\r\n"], "503 5.5.1", "250"),
    "pipelining": (["EHLO x\r\n", "NOOP\r\nNOOP\r\n"], "503 5.5.0", "250"),
}
MESSAGES = {
    "data-bare-lf": (b"a\nb\r\n", "550 5.6.0 The message has LF"),
    "data-bare-cr": (b"a\rb\r\n", "550 5.6.0 The message has CR"),
    "data-long-line": (b"x" * 1001 + b"\r\n", "550 5.6.0 The message has a line"),
    "data-eight-bit": (b"\xfc\r\n", "554 5.6.1 "),
}


def replies(dialogue: Dialogue, lines: list[str]) -> str:
    last = ""
    for line in lines:
        last = dialogue.send(line.encode())
    return last


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_by_profile(name: str) -> None:
    lines, refused, taken = COMMANDS[name]
    others = [each for each in STRICT if each != name]
    assert replies(Dialogue(generic(strict=[*others, name])), lines).startswith(refused)
    assert replies(Dialogue(generic(strict=others)), lines).startswith(taken)


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_by_rule(name: str) -> None:
    lines, refused, taken = COMMANDS[name]
    others = [each for each in STRICT if each != name]

    def told(key: str) -> dict[str, Any]:
        return {"name": "rule", "at": "smtp.connect", key: [name]}

    assert replies(Dialogue(generic(strict=others), rules=[told("strict")]), lines).startswith(refused)
    assert replies(Dialogue(generic(strict=[*others, name]), rules=[told("lenient")]), lines).startswith(taken)


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_by_profile_and_rule(name: str) -> None:
    content, refused = MESSAGES[name]
    rule = {"name": "rule", "at": "smtp.mail", "when": {"sender": {"glob": "carol@*"}}, "strict": [name]}
    for dialogue in (hello(generic(strict=[*STRICT, name])), hello(rules=[rule])):
        dialogue.mail()
        assert dialogue.send(content + b".\r\n").startswith(refused)
        assert dialogue.contents() == []
        assert dialogue.host.site.tally.total("messages") == 0
        dialogue.mail()
        assert dialogue.send(b"fine\r\n.\r\n").startswith("250")
    kept = hello()
    kept.mail()
    assert kept.send(content + b".\r\n").startswith("250")
    assert kept.contents() == [content]


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(ValidationError, match='unknown strictness "bare-fl": did you mean "bare-lf"'):
        Rule.model_validate({"name": "x", "at": "smtp.connect", "lenient": ["bare-fl"]})
    with pytest.raises(ValidationError, match="unknown strictness"):
        SmtpProfile(strict=["x"])


def test_order_that_nobody_minds_begins_a_new_transaction() -> None:
    dialogue = hello(generic(strict=["ehlo"]))
    dialogue.say("MAIL FROM:<one@a.example>", f"RCPT TO:<{ALICE}>", "MAIL FROM:<two@a.example>", f"RCPT TO:<{ALICE}>")
    dialogue.say("DATA", "x", ".")
    assert [message.mail_from for message in dialogue.host.messages(ALICE)] == ["two@a.example"]
    assert dialogue.say("DATA").startswith("354")
    assert dialogue.say("x", ".").startswith("250")


def test_a_group_of_commands_and_what_may_not_stand_in_it() -> None:
    strict = generic(strict=[*STRICT, "pipelining"])
    group = f"MAIL FROM:<{STRANGER}>\r\nRCPT TO:<{ALICE}>\r\nDATA\r\n".encode()
    dialogue = hello(strict)
    assert dialogue.send(group).splitlines()[-1].startswith("354")
    dialogue = hello(strict)
    assert dialogue.send(group + b"x\r\n.\r\n").splitlines()[2].startswith("503 5.5.0"), "the message came with DATA"
    without = hello(generic(strict=[*STRICT, "pipelining"], ehlo=[]))
    assert without.send(group).splitlines()[0].startswith("503 5.5.0"), "PIPELINING was not offered"


def test_auth_in_one_step_may_stand_in_a_group() -> None:
    """RFC 4954 4."""
    strict = generic(strict=[*STRICT, "pipelining"])
    initial = b64(f"\0{ALICE}\0secret").decode()
    for command, reply in ((f"plain {initial}", "235"), (f"LOGIN {initial}", "503 5.5.0"), ("PLAIN", "503 5.5.0")):
        said = hello(strict, "smtps").send(f"AUTH {command}\r\nMAIL FROM:<{ALICE}>\r\n".encode())
        assert said.startswith(reply), command


def test_a_broken_group_takes_the_message_for_no_command() -> None:
    """RFC 2920 3.1: a client that pipelined DATA behind refused recipients gets 503, and does not send the message."""
    dialogue = hello()
    said = dialogue.send(b"MAIL FROM:<>\r\nRCPT TO:<x@example.test>\r\nDATA\r\n").splitlines()
    assert [line[:3] for line in said] == ["250", "550", "503"]


# --- SMTP smuggling
# https://sec-consult.com/blog/detail/smtp-smuggling-spoofing-e-mails-worldwide/

ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n.\r",
    b"\r\n.\0\r\n",
    b"\r\n. \r\n",
    b"\r\r\n.\r\r\n",
]


@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("cut", ["whole", "octets"])
def test_no_other_end_ends_a_message(end: bytes, cut: str) -> None:
    """What follows a false end is data, however it is cut: never a command, never a second message."""
    dialogue = hello()
    dialogue.mail()
    smuggled = b"MAIL FROM:<admin@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nforged\r\n"
    data = b"first" + end + smuggled + b".\r\n"
    parts = [data] if cut == "whole" else [data[i : i + 1] for i in range(len(data))]
    said = "".join(dialogue.send(part) for part in parts)
    assert said == "250 2.0.0 OK\r\n"
    assert len(dialogue.contents()) == 1
    assert b"forged" in dialogue.contents()[0]
    assert dialogue.host.messages("bob@example.test") == []


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"], ids=repr)
def test_a_false_end_may_be_refused(end: bytes) -> None:
    """With bare line ends refused, the whole is refused: first message, false end and what was smuggled."""
    dialogue = hello(generic(strict=[*STRICT, "data-bare-lf", "data-bare-cr"]))
    dialogue.mail()
    assert dialogue.send(b"first" + end + b"MAIL FROM:<x@y.example>\r\n.\r\n").startswith("550 5.6.0")
    assert dialogue.contents() == []
    by_rule = hello(rules=[{"name": "x", "at": "smtp.message", "when": {"bare_lf": True}, "reply": "550 5.7.1 no"}])
    by_rule.mail()
    assert by_rule.send(b"first" + end + b"MAIL FROM:<x@y.example>\r\n.\r\n") == "550 5.7.1 no\r\n"


def test_a_true_end_with_commands_behind_it_is_pipelining() -> None:
    dialogue = hello()
    dialogue.mail()
    said = dialogue.send(b"one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\ntwo\r\n.\r\n")
    assert [line[:3] for line in said.splitlines()] == ["250", "250", "250", "354", "250"]
    assert dialogue.contents() == [b"one\r\n", b"two\r\n"]
