"""What rules can do to a POP3 session."""

from __future__ import annotations

from typing import Any

import pytest

from fakeservers.actions import Cut, End, Send, StartTls, Wait
from fakeservers.points import POINTS
from fakeservers.pop3.options import OPTIONS, check_options
from fakeservers.pop3.replies import DEFAULTS, REPLY_KEYS
from fakeservers.pop3.session import COMMANDS
from fakeservers.profile import Pop3Profile

from .dialogue import ALICE, Dialogue, fake_host, rule

MAIL = b"Subject: x\r\n\r\nbody\r\n"


def ruled(at: str, **act: Any) -> Dialogue:
    return Dialogue(fake_host([MAIL], rules=[rule(at=at, **act)]))


def test_every_command_has_its_point() -> None:
    for name in COMMANDS:
        assert f"pop3.{name.decode().lower()}" in POINTS


@pytest.mark.parametrize(
    "command", ["STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET", "QUIT", "TOP 1 1", "UIDL", "CAPA"]
)
def test_a_refusal_stops_the_command(command: str) -> None:
    client = ruled(f"pop3.{command.split()[0].lower()}", reply="-ERR [SYS/TEMP] later").login()
    assert client.say(command) == "-ERR [SYS/TEMP] later\r\n"
    assert not client.ended()


def test_an_acceptance_lets_it_have_its_effect_and_its_data() -> None:
    client = ruled("pop3.dele", reply="+OK gone").login()
    assert client.say("DELE 1", "STAT") == "+OK gone\r\n+OK 0 0\r\n"
    client = ruled("pop3.retr", reply="+OK here it comes").login()
    assert client.say("RETR 1") == f"+OK here it comes\r\n{MAIL.decode()}.\r\n"
    client = ruled("pop3.list", reply="+OK\n1 999\n.").login()
    assert client.say("LIST") == "+OK\r\n1 999\r\n.\r\n", "a reply of several lines is all that is said"


def test_silence_and_endings() -> None:
    client = ruled("pop3.stat", reply="").login()
    assert client.say("STAT", "NOOP") == "+OK\r\n"
    client = ruled("pop3.stat", reply="", then="reset").login()
    assert client.say("STAT", "NOOP") == ""
    assert client.actions[-1] == End("reset", "rule")
    client = ruled("pop3.quit", truncate=0, then="close").login()
    client.say("DELE 1", "QUIT")
    assert client.host.messages(ALICE) == [], "the reply is lost, the deletion is not"


def test_the_greeting_can_refuse() -> None:
    client = ruled("pop3.connect", reply="-ERR [SYS/TEMP] come back later")
    assert client.greeting == b"-ERR [SYS/TEMP] come back later\r\n"
    assert client.ended()
    assert client.say("CAPA") == ""
    assert ruled("pop3.connect", reply="", then="stall").actions == [End("stall", "rule")]


def test_segments_waits_and_cuts() -> None:
    client = ruled("pop3.retr", delay=1, split="lines", cut=3).login()
    before = len(client.actions)
    client.say("RETR 1")
    wait, send, cut = client.actions[before:]
    assert wait == Wait(1)
    assert isinstance(send, Send)
    assert send.pace is not None
    assert send.pace.positions == tuple(
        index + 1 for index, octet in enumerate(send.data) if octet == ord("\n")
    )  # fmt: skip
    assert cut == Cut(3, "reset", "rule")


def test_line_ends_and_lines_before_the_answer() -> None:
    client = ruled("pop3.noop", reply="+OK bare", line_end="lf", untagged="+OK stray").login()
    assert client.say("NOOP") == "+OK stray\r\n+OK bare\n"


def test_capabilities_change() -> None:
    client = ruled("pop3.capa", capabilities={"remove": ["STLS", "SASL"], "add": ["X-NEW"]})
    lines = client.say("CAPA").split("\r\n")
    assert "STLS" not in lines
    assert not any(line.startswith("SASL") for line in lines)
    assert lines[-3] == "X-NEW"


def test_stls_refused_and_answered_with_more_than_its_reply() -> None:
    client = ruled("pop3.stls", reply="-ERR not now")
    assert client.say("STLS", "CAPA").startswith("-ERR not now\r\n+OK")
    client = ruled("pop3.stls", append="+OK injected\\r\\n")
    assert client.say("STLS") == "+OK Begin TLS negotiation.\r\n+OK injected\r\n"
    assert isinstance(client.actions[-1], StartTls)


def test_unknown_commands_and_their_argument() -> None:
    client = ruled("pop3.unknown", when={"command": "xtnd"}, reply="+OK {arg}x")
    assert client.say("XTND XMIT") == "+OK x\r\n"
    assert client.say("OTHER").startswith("-ERR")


def test_credentials_can_be_accepted_by_a_rule() -> None:
    client = ruled("pop3.credentials", when={"credentials": "wrong"}, reply="+OK let in")
    assert client.say(f"USER {ALICE}", "PASS wrong", "STAT").endswith("+OK let in\r\n+OK 1 20\r\n")
    assert client.connection.account is not None


# --- tables


def test_every_reply_begins_with_a_status_indicator() -> None:
    assert frozenset(DEFAULTS) == REPLY_KEYS
    assert all(text.startswith(("+OK", "-ERR ")) for text in DEFAULTS.values())


def test_every_option_is_explained_and_wrong_ones_are_named() -> None:
    assert all(option.about for option in OPTIONS.values())
    check_options({name: option.default for name, option in OPTIONS.items()})
    with pytest.raises(ValueError, match='did you mean "exclusive"'):
        check_options({"exclusiv": True})
    with pytest.raises(ValueError, match="wants true or false"):
        check_options({"exclusive": 1})
    with pytest.raises(ValueError, match='unknown value of the pop3 option bearer_error: "jsn"'):
        check_options({"bearer_error": "jsn"})


def test_a_profile_with_an_unknown_option_or_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown pop3 option"):
        Pop3Profile(options={"nonsense": True})
    with pytest.raises(ValueError, match='did you mean "pass-refused"'):
        Pop3Profile(replies={"pass-refusd": "-ERR"})
