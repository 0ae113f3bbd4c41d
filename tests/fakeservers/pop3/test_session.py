"""RFC 1939, command by command, without a socket."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeservers import Clock
from fakeservers.actions import Action, End, More, Send, StartTls

from .dialogue import ALICE, TLS, Dialogue, deliver, fake_host, heard, profile

ONE = b"Subject: one\r\n\r\nfirst\r\n"
TWO = b"Subject: two\r\n\r\n.dot\r\n..dots\r\nend\r\n"


def test_greeting_has_a_timestamp_for_apop_only() -> None:
    assert re.fullmatch(
        rb"\+OK POP3 server ready <[0-9]+\.[0-9]+@mail\.example\.test>\r\n", Dialogue(fake_host()).greeting
    )
    assert Dialogue(fake_host(apop=False)).greeting == b"+OK POP3 server ready\r\n"
    placed = fake_host(replies={"greeting": "+OK {timestamp} at your service, {host}"})
    assert re.fullmatch(rb"\+OK <[^>]+> at your service, mail\.example\.test\r\n", Dialogue(placed).greeting)


def test_the_example_session_of_rfc_1939_section_10() -> None:
    host = fake_host([b"a" * 118 + b"\r\n", b"b" * 198 + b"\r\n"])
    client = Dialogue(host)
    banner = client.greeting.split()[-1]
    assert client.say(f"APOP {ALICE} {hashlib.md5(banner + b'secret').hexdigest()}") == "+OK Logged in.\r\n"
    assert client.say("STAT") == "+OK 2 320\r\n"
    assert client.say("LIST") == "+OK 2 messages (320 octets)\r\n1 120\r\n2 200\r\n.\r\n"
    assert client.say("RETR 1") == f"+OK 120 octets\r\n{'a' * 118}\r\n.\r\n"
    assert client.say("DELE 1") == "+OK message 1 deleted\r\n"
    assert client.say("RETR 2") == f"+OK 200 octets\r\n{'b' * 198}\r\n.\r\n"
    assert client.say("DELE 2") == "+OK message 2 deleted\r\n"
    assert client.say("QUIT") == "+OK Bye.\r\n"
    assert client.ended()
    assert host.messages(ALICE) == []


# --- states


@pytest.mark.parametrize("command", ["STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET", "TOP 1 0", "UIDL"])
def test_transaction_commands_wait_for_a_login(command: str) -> None:
    assert Dialogue(fake_host([ONE])).say(command).startswith("-ERR")


@pytest.mark.parametrize("command", [f"USER {ALICE}", "PASS secret", "APOP a b", "AUTH PLAIN", "STLS"])
def test_a_second_login_is_refused(command: str) -> None:
    client = Dialogue(fake_host([ONE])).login()
    assert client.say(command).startswith("-ERR")
    assert client.say("STAT") == f"+OK 1 {len(ONE)}\r\n"


def test_pass_must_follow_a_user_that_succeeded() -> None:
    client = Dialogue(fake_host())
    assert client.say("PASS secret").startswith("-ERR")
    client.say(f"USER {ALICE}")
    assert client.say("PASS wrong").startswith("-ERR [AUTH]")
    assert client.say("PASS secret").startswith("-ERR"), "the name is forgotten"
    client.login()


@pytest.mark.parametrize("password", ["pass word", " leading", "trailing ", "p\u00e4ss", "a  b"])
def test_a_password_may_have_spaces_and_utf_8(password: str) -> None:
    host = fake_host()
    host.add_user("carol@example.test", password)
    Dialogue(host).login("carol@example.test", password)


def test_unknown_user_and_wrong_password_look_the_same_and_are_counted() -> None:
    host = fake_host()
    client = Dialogue(host)
    refusals = {
        client.say("USER nobody@example.test", "PASS x"),
        client.say(f"USER {ALICE}", "PASS x"),
    }
    assert len(refusals) == 1
    assert host.site.tally.total("failed_logins") == 2
    assert host.store.accounts[ALICE].tally.total("failed_logins") == 1


def test_quit_before_login_ends_the_session() -> None:
    client = Dialogue(fake_host())
    assert client.say("QUIT", "NOOP") == "+OK Bye.\r\n"
    assert client.ended()


# --- the maildrop


def test_only_one_session_holds_the_maildrop() -> None:
    host = fake_host([ONE])
    first = Dialogue(host).login()
    second = Dialogue(host)
    assert second.say(f"USER {ALICE}", "PASS secret").endswith(
        "-ERR [IN-USE] Maildrop is locked by another session.\r\n"
    )
    assert host.site.tally.total("failed_logins") == 0
    first.drop()
    second.login()
    second.say("QUIT")
    Dialogue(host).login()


def test_many_sessions_where_the_profile_wants_it() -> None:
    host = fake_host([ONE], options={"exclusive": False})
    first, second = Dialogue(host).login(), Dialogue(host).login()
    first.say("DELE 1", "QUIT")
    assert second.say("RETR 1").startswith("+OK"), "message-numbers stay for the whole session"


def test_deletion_waits_for_quit_and_a_lost_connection_deletes_nothing() -> None:
    host = fake_host([ONE, TWO])
    client = Dialogue(host).login()
    client.say("DELE 1")
    assert client.say("RETR 1", "DELE 1", "LIST 1", "UIDL 1").count("-ERR message 1 already deleted") == 4
    assert client.say("STAT") == f"+OK 1 {len(TWO)}\r\n"
    assert client.say("LIST") == f"+OK 1 messages ({len(TWO)} octets)\r\n2 {len(TWO)}\r\n.\r\n"
    client.drop()
    assert len(host.messages(ALICE)) == 2
    again = Dialogue(host).login()
    again.say("DELE 2", "RSET", "DELE 1", "QUIT")
    assert [message.content for message in host.messages(ALICE)] == [TWO]


def test_new_mail_waits_for_the_next_session() -> None:
    host = fake_host([ONE])
    client = Dialogue(host).login()
    deliver(host, TWO)
    assert client.say("STAT") == f"+OK 1 {len(ONE)}\r\n"
    client.say("QUIT")
    assert Dialogue(host).login().say("STAT") == f"+OK 2 {len(ONE) + len(TWO)}\r\n"


def test_unique_ids_stay_and_are_never_used_again() -> None:
    host = fake_host([ONE, TWO])
    client = Dialogue(host).login()
    first, second = (line.split()[1] for line in client.say("UIDL").splitlines()[1:-1])
    assert client.say("UIDL 2") == f"+OK 2 {second}\r\n"
    client.say("DELE 1", "QUIT")
    deliver(host, ONE)
    renumbered = Dialogue(host).login().say("UIDL").splitlines()[1:-1]
    assert renumbered[0] == f"1 {second}"
    assert renumbered[1].split()[1] not in (first, second)


def test_the_form_of_unique_ids_is_an_option() -> None:
    host = fake_host([ONE], options={"unique_id": "GmailId{uid_hex16}"})
    assert re.fullmatch(r"\+OK 1 GmailId[0-9a-f]{16}\r\n", Dialogue(host).login().say("UIDL 1"))


@pytest.mark.parametrize("argument", ["0", "2", "-1", "x", "1x", "99999999999999999999", "\u0661", "1.0"])
def test_no_such_message(argument: str) -> None:
    client = Dialogue(fake_host([ONE])).login()
    for command in (
        f"RETR {argument}",
        f"DELE {argument}",
        f"LIST {argument}",
        f"UIDL {argument}",
        f"TOP {argument} 1",
    ):
        assert client.say(command) == "-ERR no such message\r\n"


@pytest.mark.parametrize("command", ["STAT 1", "RETR", "RETR 1 2", "TOP 1", "TOP 1 x", "TOP 1 -1", "NOOP x", "DELE"])
def test_wrong_arguments(command: str) -> None:
    assert Dialogue(fake_host([ONE])).login().say(command) == "-ERR Syntax error.\r\n"


# --- octets


def test_lines_that_begin_with_a_dot_are_stuffed_and_not_counted() -> None:
    client = Dialogue(fake_host([TWO])).login()
    assert client.say("RETR 1") == f"+OK {len(TWO)} octets\r\nSubject: two\r\n\r\n..dot\r\n...dots\r\nend\r\n.\r\n"


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (TWO, 0, b"Subject: two\r\n\r\n"),
        (TWO, 1, b"Subject: two\r\n\r\n..dot\r\n"),
        (TWO, 3, b"Subject: two\r\n\r\n..dot\r\n...dots\r\nend\r\n"),
        (TWO, 99, b"Subject: two\r\n\r\n..dot\r\n...dots\r\nend\r\n"),
        (b"Subject: no body\r\n", 1, b"Subject: no body\r\n"),
        (b"\r\nno header\r\nx\r\n", 1, b"\r\nno header\r\n"),
        (b"Subject: x\r\n\r\nno end", 5, b"Subject: x\r\n\r\nno end\r\n"),
    ],
)
def test_top(content: bytes, lines: int, expected: bytes) -> None:
    client = Dialogue(fake_host([content])).login()
    assert client.say(f"TOP 1 {lines}").encode() == b"+OK\r\n" + expected + b".\r\n"


def unstuffed(response: bytes) -> bytes:
    """The data of a multi-line response, as RFC 1939 section 3 has the client read them."""
    _, _, rest = response.partition(b"\r\n")
    lines = rest.split(b"\r\n")
    assert lines[-2:] == [b".", b""], "the terminating line, and nothing behind it"
    assert b"." not in lines[:-2]
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines[:-2])


@given(st.lists(st.sampled_from([b".", b"..", b"\r\n", b"\n", b"\r", b"a", b"\0", b"\xff"]), max_size=12).map(b"".join))
def test_any_message_arrives_with_its_octets(content: bytes) -> None:
    client = Dialogue(fake_host([content])).login()
    size = int(client.say("LIST 1").split()[2])
    got = unstuffed(client.give(b"RETR 1\r\n"))
    assert got == (content if content.endswith(b"\r\n") or not content else content + b"\r\n")
    assert size == len(got)
    assert client.say("STAT") == f"+OK 1 {size}\r\n"


# --- capabilities


def test_capabilities() -> None:
    client = Dialogue(fake_host())
    lines = client.say("CAPA").split("\r\n")
    assert lines[0].startswith("+OK")
    assert lines[-2:] == [".", ""]
    assert "SASL SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN" in lines
    assert {"TOP", "UIDL", "USER", "STLS", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"} < set(lines)
    client.login()
    assert "STLS" not in client.say("CAPA").split("\r\n")
    assert "STLS" not in Dialogue(fake_host(), "pop3s", tls=TLS).say("CAPA").split("\r\n")


def test_capabilities_by_stage() -> None:
    client = Dialogue(
        fake_host(capabilities=["STLS", "TOP"], capabilities_tls=["USER", "TOP"], capabilities_login=["TOP"])
    )
    assert client.say("CAPA").split("\r\n")[1:-2] == ["STLS", "TOP"]
    client.say("STLS")
    client.handshake()
    assert client.say("CAPA").split("\r\n")[1:-2] == ["USER", "TOP"]
    client.login()
    assert client.say("CAPA").split("\r\n")[1:-2] == ["TOP"]


def test_commands_that_are_not_offered_do_not_exist() -> None:
    host = fake_host([ONE], capabilities=["USER", "SASL"], apop=False)
    client = Dialogue(host)
    assert client.say("APOP a b") == client.say("UTF8") == client.say("LANG") == "-ERR Unknown command.\r\n"
    client.login()
    assert client.say("TOP 1 0") == client.say("UIDL") == "-ERR Unknown command.\r\n"
    silent = Dialogue(fake_host([ONE], capabilities=[]))
    assert silent.say("CAPA").startswith("-ERR")
    assert silent.login().say("UIDL 1").startswith("+OK"), "a server without CAPA has not said that it lacks UIDL"


def test_utf8_and_lang() -> None:
    client = Dialogue(fake_host(capabilities=["UTF8 USER", "LANG", "USER"]))
    assert client.say("UTF8") == "+OK UTF8 enabled\r\n"
    assert client.say("LANG") == "+OK Language listing follows:\r\nen English\r\n.\r\n"
    assert client.say("LANG EN").startswith("+OK EN ")
    assert client.say("LANG *").startswith("+OK i-default ")
    assert client.say("LANG fr").startswith("-ERR")
    assert client.login().say("UTF8").startswith("-ERR"), "UTF8 is valid in AUTHORIZATION only"


# --- TLS


def test_stls_forgets_what_came_before_and_drops_what_was_sent_behind_it() -> None:
    host = fake_host()
    client = Dialogue(host)
    client.say(f"USER {ALICE}")
    assert client.say("STLS", f"USER {ALICE}", "PASS secret") == "+OK Begin TLS negotiation.\r\n"
    assert isinstance(client.actions[-1], StartTls)
    assert client.say("NOOP") == "", "nothing is read until TLS stands"
    client.handshake()
    assert client.say("PASS secret").startswith("-ERR"), "the USER before TLS is forgotten"
    client.login()
    dropped = [entry.facts for entry in host.transcript if entry.facts.get("event") == "plaintext-after-starttls"]
    assert dropped == [{"event": "plaintext-after-starttls", "octets": len(f"USER {ALICE}\r\nPASS secret\r\n")}]


def test_stls_is_refused_under_tls_and_unknown_where_the_service_has_none() -> None:
    assert Dialogue(fake_host(), "pop3s", tls=TLS).say("STLS").startswith("-ERR")
    without = fake_host(provider=profile(services={"pop3": {"starttls": False}}))
    assert "STLS" not in Dialogue(without).say("CAPA")
    assert Dialogue(without).say("STLS") == "-ERR Unknown command.\r\n"


def test_where_tls_is_demanded_no_login_comes_before_it() -> None:
    host = fake_host(provider=profile(services={"pop3": {"tls_required": True}}))
    client = Dialogue(host)
    offered = client.say("CAPA")
    assert "USER" not in offered
    assert "SASL" not in offered
    for command in (f"USER {ALICE}", f"APOP {ALICE} {'0' * 32}", "AUTH PLAIN", "AUTH CRAM-MD5"):
        assert client.say(command).startswith("-ERR [AUTH] TLS is required"), command
    client.say("STLS")
    client.handshake()
    assert "USER" in client.say("CAPA")
    client.login()


# --- lines


def test_commands_in_any_case_and_with_a_bare_lf() -> None:
    client = Dialogue(fake_host([ONE]))
    assert client.give(f"user {ALICE}\nPaSs secret\nstat\n".encode()).endswith(b"+OK 1 23\r\n")


def test_long_lines_are_refused_at_their_end() -> None:
    client = Dialogue(fake_host())
    assert client.give(b"NOOP " + b"x" * 600) == b""
    assert client.give(b"x" * 100_000) == b""
    assert client.give(b"\r\nQUIT\r\n") == b"-ERR Line too long.\r\n+OK Bye.\r\n"
    assert Dialogue(fake_host()).say("X" * 600) == "-ERR Line too long.\r\n"


def test_sasl_lines_may_be_longer() -> None:
    client = Dialogue(fake_host())
    assert client.say("AUTH PLAIN " + "A" * 4000).startswith("-ERR Malformed")
    assert client.say("AUTH PLAIN", "A" * 8000) == "+ \r\n-ERR Malformed SASL response.\r\n"
    assert client.say("AUTH PLAIN", "A" * 20000, "NOOP").startswith("+ \r\n-ERR Line too long.\r\n-ERR")


def test_too_many_bad_commands_in_a_row_end_the_session() -> None:
    host = fake_host(bad_commands=3)
    client = Dialogue(host)
    client.say("A", "B", "CAPA", "C", "D")
    assert not client.ended()
    assert client.say("E", "CAPA") == "-ERR Unknown command.\r\n-ERR Too many bad commands.\r\n"
    assert client.ended()
    assert host.site.tally.total("bad_commands") == 5


def test_idle_clients_are_left_without_a_word() -> None:
    host = fake_host([ONE])
    client = Dialogue(host).login()
    client.say("DELE 1")
    assert client.session.idle == 600
    assert client.session.timed_out() == [End("close")]
    client.drop()
    assert len(host.messages(ALICE)) == 1


@given(st.lists(st.integers(1, 200), max_size=30))
def test_any_splits_of_the_stream_give_the_same_answers(cuts: list[int]) -> None:
    lines = ["CAPA", "junk", f"USER {ALICE}", "PASS wrong", "AUTH LOGIN", "*", "AUTH PLAIN", "!", "X" * 700]
    lines += [f"USER {ALICE}", "PASS secret", "STAT", "LIST", "RETR 1", "TOP 2 1", "DELE 1", "UIDL", "QUIT", "NOOP"]
    stream = "".join(f"{line}\r\n" for line in lines).encode()
    whole = Dialogue(fake_host([ONE, TWO]))
    pieces = Dialogue(fake_host([ONE, TWO]))
    said = b""
    start = 0
    for cut in cuts:
        said += pieces.give(stream[start : start + cut])
        start += cut
    said += pieces.give(stream[start:])
    assert said == whole.give(stream)
    assert heard(pieces.host) == heard(whole.host)


@given(st.lists(st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"USER a\r\n", b"PASS ", b"AUTH PLAIN", b"AUTH CRAM-MD5\r\n", b"\r\n", b"\n", b"RETR ", b"TOP 1 ",
                     b"LIST\r\n", b"UIDL\r\n", b"CAPA\r\n", b"DELE 1\r\n", b"AUTH LOGIN =\r\n", b"*\r\n"]),
), max_size=30), st.booleans())  # fmt: skip
def test_junk_never_crashes_it(pieces: list[bytes], logged_in: bool) -> None:
    client = Dialogue(fake_host([ONE], bad_commands=None))
    if logged_in:
        client.login()
    for piece in pieces:
        client.give(piece)
    if not client.ended():
        client.give(b"\r\n*\r\n")
        assert client.give(b"QUIT\r\n").endswith(b"+OK Bye.\r\n")


# --- what the transcript keeps


def test_credentials_are_masked_where_they_stand() -> None:
    host = fake_host()
    client = Dialogue(host)
    client.say(f"USER {ALICE}", "PASS not the password", "pass", f"apop {ALICE} {'0' * 32}", "AUTH PLAIN AGEAYg==")
    client.say("AUTH LOGIN", "YWxpY2U=", "aHVudGVyMg==", "AUTH LOGIN", "*", "AUTH CRAM-MD5", "eA==")
    assert heard(host) == [
        f"USER {ALICE}",
        "PASS ***",
        "password sent over clear",
        "pass",
        f"apop {ALICE} ***",
        "AUTH PLAIN ***",
        "password sent over clear",
        "AUTH LOGIN",
        "***",
        "***",
        "password sent over clear",
        "AUTH LOGIN",
        "*",
        "AUTH CRAM-MD5",
        "***",
    ]


@pytest.mark.parametrize(
    "written",
    [" PASS {}", "\tpass\t{}", "PASS\r{}", "\0PASS {}", "AUTH\tPLAIN\t{}", " AUTH PLAIN {}", f"APOP\t{ALICE}\t{{}}"],
)
def test_mistyped_credentials_are_masked_too(written: str) -> None:
    host = fake_host()
    assert Dialogue(host).say(written.format("AG5ldmVyAHNlZW4=")).startswith("-ERR")
    assert heard(host)[0].endswith(" ***")


def test_messages_are_kept_by_reference() -> None:
    host = fake_host([b"Subject: the password is secret\r\n\r\nx\r\n"])
    client = Dialogue(host).login()
    client.say("RETR 1")
    sent = [action for action in client.actions if isinstance(action, Send) and action.body]
    assert len(sent) == 1
    assert b"secret" in sent[0].data


# --- profile options


def test_login_delay() -> None:
    clock = Clock(1_700_000_000.0)
    host = fake_host(clock=clock, options={"login_delay": 300})
    Dialogue(host).login().say("QUIT")
    assert Dialogue(host).say(f"USER {ALICE}", "PASS secret").splitlines()[-1].startswith("-ERR [LOGIN-DELAY]")
    clock.advance(301)
    Dialogue(host).login()


GMAIL = {"gmail_popped": True, "recent_prefix": True, "dele_keeps": True}


def test_gmail_hides_what_was_retrieved_once_quit_was_said() -> None:
    host = fake_host([ONE, TWO], options=GMAIL)
    client = Dialogue(host).login()
    client.say("TOP 1 9", "RETR 2")
    client.drop()
    client = Dialogue(host).login()
    assert client.say("STAT").startswith("+OK 2 "), "a lost connection hides nothing"
    client.say("TOP 1 9", "RETR 2", "QUIT")
    client = Dialogue(host).login()
    assert client.say("LIST") == f"+OK 1 messages ({len(ONE)} octets)\r\n1 {len(ONE)}\r\n.\r\n"
    client.say("DELE 1", "QUIT")
    assert len(host.messages(ALICE)) == 2, "DELE keeps"


def test_gmail_recent_mode_shows_thirty_days_of_everything() -> None:
    clock = Clock(1_700_000_000.0)
    host = fake_host([ONE], clock=clock, options=GMAIL)
    clock.advance(31 * 86400)
    deliver(host, TWO)
    Dialogue(host).login().say("RETR 1", "RETR 2", "QUIT")
    for _ in range(2):
        client = Dialogue(host)
        client.login(f"recent:{ALICE}")
        assert client.say("STAT") == f"+OK 1 {len(TWO)}\r\n"
        client.say("RETR 1", "DELE 1", "QUIT")
    assert (
        Dialogue(fake_host())
        .say(f"USER recent:{ALICE}", "PASS secret")
        .endswith("-ERR [AUTH] Authentication failed.\r\n")
    )


@pytest.mark.parametrize("action", ["keep", "mark-read", "archive", "delete"])
def test_what_gmail_does_with_retrieved_mail(action: str) -> None:
    host = fake_host([ONE, TWO], options={"gmail_popped": True, "popped_action": action})
    account = host.store.accounts[ALICE]
    trash = host.store.create(account, "Trash", frozenset({"\\Trash"}))
    archive = host.store.create(account, "All Mail", frozenset({"\\All"}))
    Dialogue(host).login().say("RETR 1", "QUIT")
    inbox = account.inbox.messages
    assert len(inbox) == (1 if action in ("archive", "delete") else 2)
    assert ("\\Seen" in inbox[0].flags) == (action == "mark-read")
    assert (len(archive.messages), len(trash.messages)) == (int(action == "archive"), int(action == "delete"))


def test_a_batch_shows_the_oldest_first() -> None:
    host = fake_host([ONE, TWO, ONE], options={"batch": 2})
    client = Dialogue(host).login()
    assert client.say("STAT").startswith("+OK 2 ")
    client.say("DELE 1", "DELE 2", "QUIT")
    assert Dialogue(host).login().say("STAT").startswith("+OK 1 ")


@pytest.mark.parametrize(
    "tail", ["", "NOOP\r\n", "RETR 9\r\nRETR 1\r\n", "RETR 1", "retr 2\nRETR 2 \r\nDELE 1\r\nRETR 1\r\n"]
)
def test_pipelined_retrievals_are_answered_as_single_ones_are(tail: str) -> None:
    """RFC 2449 section 6.6: the server answers in order, whether commands come together or octet by octet."""
    mail = [b"Subject: 1\r\n\r\n.\r\n..\r\n", b".begins\r\n\r\nno end", b"", b"\n.\r\n"]
    sent = f"RETR 1\r\nRETR 2\r\nRETR 3\r\nRETR 4\r\nSTAT\r\nRETR 2\r\n{tail}".encode()
    together, apart = Dialogue(fake_host(mail)).login(), Dialogue(fake_host(mail)).login()
    said = together.give(sent)
    assert said == b"".join(apart.give(sent[at : at + 1]) for at in range(len(sent)))
    assert heard(together.host) == heard(apart.host)
    for client in (together, apart):
        assert client.connection.tally.total("commands") == 2 + sent.count(b"\n")


def test_a_retrieval_behind_a_line_that_is_too_long_is_its_end() -> None:
    client = Dialogue(fake_host([b"x\r\n"], line_limit=64)).login()
    assert client.give(b"x" * 100) == b""
    assert client.give(b"RETR 1\r\nRETR 1\r\n") == b"-ERR Line too long.\r\n+OK 3 octets\r\nx\r\n.\r\n"
    assert client.give(b"RETR") + client.give(b" 1\r\nRETR 1\r\n") == b"+OK 3 octets\r\nx\r\n.\r\n" * 2
    assert client.give(b"NOOP\r\n") == b"+OK\r\n"


@pytest.mark.parametrize("command", [b"RETR 1\r\n", b"TOP 1 9\r\n", b"RETR 1 \r\n"])
def test_what_is_asked_for_many_times_is_made_as_the_client_takes_it(command: bytes) -> None:
    """A few kilobytes of commands must not make the server hold gigabytes."""
    content = b"Subject: x\r\n\r\n" + b"x" * 1_000_000 + b"\r\n"
    client = Dialogue(fake_host([content])).login()
    actions: Sequence[Action] = client.session.receive(command * 1000)
    made = 0
    while actions and isinstance(actions[-1], More):
        assert sum(len(action.data) for action in actions if isinstance(action, Send)) < 3_000_000
        made += 1
        actions = actions[-1].proceed()
    assert made == 1000
