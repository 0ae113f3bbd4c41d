"""Any bytes, cut anywhere: the session goes on, and answers the same."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakeservers import FakeMailHost
from fakeservers.actions import Send, StartTls

from .dialogue import ALICE, Dialogue, b64, generic

LINES = [
    b"EHLO client.example\r\n", b"HELO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<> SIZE=3 BODY=8BITMIME\r\n",
    b"RCPT TO:<alice@example.test>\r\n", b"RCPT TO:<nobody@example.test>\r\n", b"DATA\r\n", b".\r\n", b"text\r\n",
    b"..\r\n", b"bare\n", b"\r", b"BDAT 4\r\nabcd", b"BDAT 3 LAST\r\nxyz", b"BDAT 100\r\n", b"RSET\r\n", b"NOOP\r\n",
    b"AUTH PLAIN\r\n", b"AUTH LOGIN " + b64(ALICE) + b"\r\n", b64("secret") + b"\r\n", b"*\r\n",
    b"AUTH PLAIN " + b64(f"\0{ALICE}\0secret") + b"\r\n", b"AUTH CRAM-MD5\r\n", b"VRFY x\r\n", b"XYZZY\r\n", b"\r\n",
    b"NOOP " + b"x" * 3000 + b"\r\n", b"STARTTLS\r\n", b"\xff\x00\r\n",
]  # fmt: skip
PROFILE = generic(
    ehlo=["SIZE 1000", "8BITMIME", "AUTH", "CHUNKING"], hides_auth_before_tls=False, size_limit=1000, bad_commands=None
)


def dialogue() -> Dialogue:
    return Dialogue(PROFILE)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    parts = []
    for size in cuts:
        parts.append(data[:size])
        data = data[size:]
    return [part for part in (*parts, data) if part]


@given(st.lists(st.sampled_from(LINES), max_size=25), st.lists(st.integers(1, 40), max_size=80))
def test_any_cutting_of_a_dialogue_gives_the_same_replies(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(lines)
    # What stands behind STARTTLS in one segment is dropped, in the next it would be a handshake.
    data = data.partition(b"STARTTLS")[0]
    whole, parted = dialogue(), dialogue()
    whole.send(data)
    for part in cut(data, cuts):
        parted.send(part)
    assert whole.actions == parted.actions
    assert whole.contents() == parted.contents()
    whole.session.closed()
    parted.session.closed()
    assert whole.heard() == parted.heard()


@given(st.lists(st.binary(max_size=80) | st.sampled_from(LINES), max_size=30), st.booleans())
def test_no_bytes_break_the_session(parts: list[bytes], silent: bool) -> None:
    session = dialogue()
    for part in parts:
        for action in session.session.receive(part):
            if isinstance(action, Send):
                assert action.data[:3].isdigit()
                assert action.data.endswith(b"\r\n")
            if isinstance(action, StartTls):
                assert session.session.receive(part) == []
    if silent:
        session.session.timed_out()
    session.session.closed()
    assert session.host.site.tally.total("messages") >= len(session.contents())


@given(st.lists(st.sampled_from(LINES), max_size=25))
def test_pipelined_commands_get_the_replies_of_one_by_one(lines: list[bytes]) -> None:
    lines = [line for line in lines if line != b"STARTTLS\r\n"]
    pipelined, one_by_one = dialogue(), dialogue()
    said = pipelined.send(b"".join(lines))
    assert said == "".join(one_by_one.send(line) for line in lines)
    assert pipelined.contents() == one_by_one.contents()


@pytest.fixture(scope="module")
def serving() -> Iterator[FakeMailHost]:
    with FakeMailHost(PROFILE, services=["smtp"]) as host:
        yield host


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.binary(max_size=80) | st.sampled_from(LINES), max_size=20),
    ending=st.sampled_from(["close", "reset", "half-close"]),
)
def test_any_bytes_leave_the_host_serving(serving: FakeMailHost, parts: list[bytes], ending: str) -> None:
    address = ("127.0.0.1", serving.endpoints()["ports"]["smtp"])
    with socket.create_connection(address, timeout=10) as sock, contextlib.suppress(ConnectionError):
        for part in parts:
            sock.sendall(part)
        if ending == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif ending == "half-close":
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
    with smtplib.SMTP(*address, timeout=10) as client:
        assert client.sendmail("a@b.example", [ALICE], "Subject: still here\r\n\r\nx") == {}
    assert serving.errors == []


@given(st.binary(max_size=200))
def test_after_any_bytes_and_a_reset_mail_still_passes(junk: bytes) -> None:
    session = dialogue()
    session.send(junk.replace(b"S", b"").replace(b"s", b"").replace(b"Q", b"").replace(b"q", b"") + b"\r\n")
    for line in (b"*", b".", b"RSET", b"EHLO x", b"MAIL FROM:<a@b.example>", b"RCPT TO:<alice@example.test>", b"DATA"):
        last = session.send(line + b"\r\n")
    assert last.startswith("354")
    assert session.send(b"x\r\n.\r\n").startswith("250")
