"""Limits as a profile or rule sets them, and that nothing of one session shows in another."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_dialogue import ALICE, BOB, Dialogue, Server, lines, with_imap

TOO_MANY = {
    "name": "too-many", "at": "imap.credentials", "when": {"account.sessions": {"at_least": 2}},
    "reply": "NO [LIMIT] Too many simultaneous connections",
}  # fmt: skip
FULL = {"name": "full", "at": "imap.connect", "when": {"host.connections": {"at_least": 3}},
        "reply": "BYE [UNAVAILABLE] Too many connections"}  # fmt: skip


def test_connections_of_an_account() -> None:
    server = Server(rules=[TOO_MANY])
    first, _ = server.login(), server.login()
    third = server.session(tls=True)
    assert third.tagged(f"LOGIN {ALICE} secret") == "NO [LIMIT] Too many simultaneous connections"
    assert third.ok(f"LOGIN {BOB} secret")
    first.session.closed()
    first.connection.release()
    assert server.login().ok("NOOP")


def test_connections_of_a_host() -> None:
    """RFC 3501 7.1.5: a server that will not serve greets with BYE and closes."""
    server = Server(rules=[FULL])
    dialogues = []
    for _ in range(3):
        dialogues.append(server.session())
        dialogues[-1].connection.count("connections")
    refused = server.session()
    assert refused.greeting == b"* BYE [UNAVAILABLE] Too many connections\r\n"
    assert refused.ended
    assert refused.send("a NOOP\r\n") == b""
    assert not dialogues[0].ended


@pytest.mark.parametrize("limit", [100, 5000])
def test_the_line_limit_is_the_profiles(limit: int) -> None:
    server = Server(with_imap(line_limit=limit))
    session = server.login()
    assert session.ok("NOOP" + " " * (limit - 20))
    assert session.tagged("NOOP" + " " * limit) == "BAD Command line is too long"


@pytest.mark.parametrize("limit", [10, 100_000])
def test_the_literal_limit_is_the_profiles(limit: int) -> None:
    server = Server(with_imap(literal_limit=limit))
    session = server.login()
    assert session.send(b"a APPEND INBOX {%d}\r\n" % (limit + 1)) == b"a NO [TOOBIG] Literal is too big\r\n"
    assert session.send(b"b APPEND INBOX {%d}\r\n" % limit).startswith(b"+ ")
    assert session.send(b"x" * limit + b"\r\n").startswith(b"b OK")
    # A non-synchronizing one has to be swallowed, and is not kept.
    said = session.send(b"c APPEND INBOX {%d+}\r\n" % (limit + 1) + b"y" * (limit + 1) + b"\r\nd NOOP\r\n")
    assert lines(said) == ["c NO [TOOBIG] Literal is too big", "d OK NOOP completed"]
    assert len(server.mailbox().messages) == 1


@pytest.mark.parametrize("size", [2**31, 2**32, 2**63, 10**19])
def test_a_huge_literal_is_refused_before_it_is_read(size: int) -> None:
    session = Server().login()
    assert session.send(b"a APPEND INBOX {%d}\r\n" % size) == b"a NO [TOOBIG] Literal is too big\r\n"
    assert session.ok("NOOP")
    # Announced as non-synchronizing its octets are swallowed as they come, whatever they are.
    assert session.send(b"b APPEND INBOX {%d+}\r\n" % size) == b""
    assert session.send(b"c NOOP\r\n" * 1000) == b""
    assert len(session.session._reader) == 0


@pytest.mark.parametrize("limit", [1, 3])
def test_bad_commands_in_a_row_are_counted_by_the_profile(limit: int) -> None:
    session = Server(with_imap(bad_commands=limit)).session()
    for _ in range(limit - 1):
        assert session.tagged("NONSENSE").startswith("BAD")
    assert session.ok("NOOP")
    for _ in range(limit):
        assert not session.ended
        session.command("NONSENSE")
    assert session.ended


MARK = b"marked-for-alice"
PIECES = st.lists(
    st.sampled_from(
        [
            b"a FETCH 1:* (BODY[] ENVELOPE FLAGS)\r\n", b"b SELECT INBOX\r\n", b"c SEARCH TEXT marked\r\n",
            b"d NOOP\r\n", b'e LIST "" *\r\n', b"f STATUS Sent (MESSAGES)\r\n", b"g IDLE\r\n",
            b"DONE\r\n", b"h COPY 1 Sent\r\n",
            b"i APPEND INBOX {3}\r\n", b"xyz\r\n", b"j STORE 1 FLAGS (mine)\r\n", b"\x00\r\n", b"k UID EXPUNGE 1\r\n",
            b"l UNSELECT\r\n", b"m GETQUOTAROOT INBOX\r\n", b"(((((\r\n", b"n NAMESPACE\r\n",
        ]
    )
    | st.binary(max_size=20),
    max_size=12,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(PIECES, PIECES, st.integers(1, 40))
def test_nothing_leaks_between_accounts(ones: list[bytes], others: list[bytes], cut: int) -> None:
    """Alice and Bob talk at once, in pieces; neither hears or changes anything of the other's."""
    server = Server(with_imap(bad_commands=None))
    server.fill(b"Subject: %b\r\n\r\n%b\r\n" % (MARK, MARK))
    store = server.host.store
    alice, bob = store.account(ALICE), store.account(BOB)
    assert alice is not None
    assert bob is not None
    store.create(alice, "Vault")
    sessions: list[Dialogue] = []
    for name in (ALICE, BOB):
        sessions.append(server.session(tls=True))
        assert sessions[-1].ok(f"LOGIN {name} secret")
    said = [b"", b""]
    streams = [b"s SELECT INBOX\r\n" + b"".join(ones), b"s SELECT INBOX\r\n" + b"".join(others)]
    while any(streams):
        for number, session in enumerate(sessions):
            said[number] += session.send(streams[number][:cut])
            streams[number] = streams[number][cut:]
    assert MARK not in said[1]
    assert b"Vault" not in said[1]
    assert list(bob.mailboxes) == ["INBOX"]
    assert all(message.content == b"xyz" for message in bob.inbox.messages)
    assert MARK in alice.inbox.messages[0].content
