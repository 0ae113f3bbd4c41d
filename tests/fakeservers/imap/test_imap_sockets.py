"""What only the wire can show: compression, and answers that are made while they are sent."""

from __future__ import annotations

import socket
import ssl
import time
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakeservers import FakeMailHost
from fakeservers.certificates import ca_file
from fakeservers.mailstore import Message
from fakeservers.profile import load_profile
from fakeservers.rules import Rule


@pytest.fixture
def host() -> Iterator[FakeMailHost]:
    with FakeMailHost("generic", services=["imap"]) as host:
        yield host
        assert host.errors == []


class Client:
    def __init__(self, host: FakeMailHost, *, tls: bool = False) -> None:
        port = host.endpoints()["ports"]["imaps" if tls else "imap"]
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        if tls:
            context = ssl.create_default_context(cafile=ca_file())
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.out = zlib.compressobj(wbits=-15)
        self.inflate = zlib.decompressobj(wbits=-15)
        self.compressed = False
        self.said = b""
        self.until(b"ready\r\n")
        self.tell(b"a LOGIN alice@example.test secret\r\n")
        self.until(b"a OK")

    def tell(self, data: bytes) -> None:
        self.socket.sendall(self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH) if self.compressed else data)

    def until(self, end: bytes) -> bytes:
        """Everything up to the line that holds `end`."""
        while (at := self.said.find(end)) < 0 or (stop := self.said.find(b"\r\n", at)) < 0:
            data = self.socket.recv(65536)
            assert data, self.said[-200:]
            self.said += self.inflate.decompress(data) if self.compressed else data
        taken, self.said = self.said[: stop + 2], self.said[stop + 2 :]
        return taken


def fill(host: FakeMailHost, count: int, size: int) -> None:
    account = host.store.account("alice@example.test")
    assert account is not None
    inbox = account.inbox
    host.call(lambda: [inbox.add(Message(b"Subject: x\r\n\r\n" + b"y" * size)) for _ in range(count)])


def test_both_directions_are_deflate_after_compress(host: FakeMailHost) -> None:
    fill(host, 20, 10_000)
    client = Client(host)
    with client.socket:
        client.tell(b"b COMPRESS LZ4\r\n")
        assert b"b NO" in client.until(b"b NO")
        client.tell(b"c COMPRESS DEFLATE\r\n")
        assert client.until(b"c OK").startswith(b"c OK")
        client.compressed = True
        client.tell(b"d SELECT INBOX\r\n")
        assert b"* 20 EXISTS" in client.until(b"d OK")
        client.tell(b"e FETCH 1:* BODY.PEEK[]\r\nf COMPRESS DEFLATE\r\n")
        assert client.until(b"e OK").count(b"y" * 10_000) == 20
        assert b"[COMPRESSIONACTIVE]" in client.until(b"f NO")
        # Many commands in few octets: they are unpacked piece by piece.
        client.tell(b"".join(b"n%d NOOP\r\n" % number for number in range(3_000)) + b"g CHECK\r\n")
        assert client.until(b"g OK").count(b"NOOP completed") == 3_000


COMMANDS = st.lists(
    st.sampled_from([b"NOOP", b"SELECT INBOX", b"FETCH 1 BODY.PEEK[]", b'LIST "" *', b"SEARCH ALL", b"?"])
)


@settings(max_examples=15, deadline=None)
@given(COMMANDS, st.lists(st.integers(1, 40), max_size=10))
def test_any_dialogue_is_the_same_when_it_is_deflated(commands: list[bytes], cuts: list[int]) -> None:
    """RFC 4978 3: whatever is said, and however it is cut."""
    with FakeMailHost("generic", services=["imap"]) as one, FakeMailHost("generic", services=["imap"]) as other:
        fill(one, 1, 5_000)
        fill(other, 1, 5_000)
        plain, packed = Client(one), Client(other)
        with plain.socket, packed.socket:
            packed.tell(b"c COMPRESS DEFLATE\r\n")
            packed.until(b"c OK")
            packed.compressed = True
            sent = b"".join(b"x %b\r\n" % command for command in commands) + b"last NOOP\r\n"
            plain.tell(sent)
            expected = plain.until(b"last OK")
            for cut in cuts:
                packed.tell(sent[:cut])
                sent = sent[cut:]
            packed.tell(sent)
            assert packed.until(b"last OK") == expected


def test_what_is_no_deflate_ends_the_connection(host: FakeMailHost) -> None:
    client = Client(host)
    with client.socket:
        client.tell(b"c COMPRESS DEFLATE\r\n")
        client.until(b"c OK")
        client.socket.sendall(b"\xff\xff not deflate at all")
        while client.socket.recv(100):
            pass
    assert any(entry.facts.get("event") == "inflate-failed" for entry in host.transcript)


def test_a_long_answer_is_made_while_it_is_sent(host: FakeMailHost) -> None:
    fill(host, 400, 50_000)
    client, other = Client(host), Client(host)
    with client.socket, other.socket:
        client.tell(b"d SELECT INBOX\r\n")
        client.until(b"d OK")
        client.tell(b"e FETCH 1:* BODY.PEEK[TEXT]\r\nf STATUS INBOX (MESSAGES)\r\n")
        client.until(b"* 1 FETCH")
        # The server waits for this client, with most of the answer still to be made, and serves others.
        other.tell(b"d SELECT INBOX\r\n")
        other.until(b"d OK")
        other.tell(b"e STORE 1,400 +FLAGS (\\Deleted)\r\nf EXPUNGE\r\n")
        other.until(b"f OK")
        answer = client.until(b"e OK")
        assert answer.count(b"y" * 50_000) == 400
        assert b" EXPUNGE\r\n" not in answer, "no EXPUNGE while sequence numbers are in use"
        assert b"* STATUS INBOX (MESSAGES 398)" in client.until(b"f OK")


@pytest.mark.parametrize("how", ["clear", "tls", "deflate", "bandwidth"])
def test_a_long_answer_is_the_same_over_everything(how: str) -> None:
    """Octet for octet, and the transcript has it too."""
    narrow = Rule.model_validate({"name": "narrow", "at": "imap.accept", "bandwidth": 20_000_000})
    with FakeMailHost("generic", services=["imap", "imaps"], rules=[narrow] if how == "bandwidth" else []) as host:
        fill(host, 600, 2_000)
        client = Client(host, tls=how == "tls")
        with client.socket:
            if how == "deflate":
                client.tell(b"c COMPRESS DEFLATE\r\n")
                client.until(b"c OK")
                client.compressed = True
            client.tell(b"d SELECT INBOX\r\n")
            client.until(b"d OK")
            client.tell(b"e FETCH 1:* (UID BODY.PEEK[] FLAGS)\r\nf FETCH 1:* (UID BODY[])\r\n")
            answers = client.until(b"e OK"), client.until(b"f OK")
        content = b"Subject: x\r\n\r\n" + b"y" * 2_000
        line = b"* %%d FETCH (UID %%d BODY[] {%d}\r\n%b FLAGS (%%b\\Recent))\r\n" % (len(content), content)
        said = b"".join(entry.data for entry in host.transcript if entry.direction == "S")
        for answer, seen in zip(answers, (b"", b"\\Seen "), strict=True):
            expected = b"".join(line % (number, number, seen) for number in range(1, 601))
            assert answer.rpartition(b"\r\n")[0].rpartition(b"\r\n")[0] + b"\r\n" == expected
            assert expected in said
        assert host.errors == []


def test_a_client_that_never_reads_its_answer_is_let_go() -> None:
    profile = load_profile("generic")
    profile = profile.model_copy(update={"imap": profile.imap.model_copy(update={"idle": 0.5})})
    with FakeMailHost(profile, services=["imap"]) as host:
        fill(host, 400, 50_000)
        client = Client(host)
        with client.socket:
            client.tell(b"d SELECT INBOX\r\n")
            client.until(b"d OK")
            client.tell(b"e FETCH 1:* BODY.PEEK[TEXT]\r\n")
            deadline = time.monotonic() + 10
            while host.wires and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not host.wires
        assert host.errors == []


def test_a_client_that_goes_in_the_middle_of_an_answer_leaves_nothing(host: FakeMailHost) -> None:
    fill(host, 200, 50_000)
    client = Client(host)
    client.tell(b"d SELECT INBOX\r\n")
    client.until(b"d OK")
    client.tell(b"e FETCH 1:* BODY.PEEK[TEXT]\r\n")
    client.until(b"* 1 FETCH")
    client.socket.close()
    other = Client(host)
    with other.socket:
        other.tell(b"x NOOP\r\n")
        other.until(b"x OK")


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("announcement", [b"{10}", b"{10+}"])
@pytest.mark.parametrize("after", [0, 1, 9, 11])
def test_the_line_breaks_in_a_literal(announcement: bytes, after: int, tls: bool) -> None:
    """So many octets behind the announcement, however they come."""
    rule = Rule.model_validate({"name": "cut", "at": "imap.literal", "cut": {"after": after, "how": "close"}})
    with FakeMailHost("generic", services=["imap", "imaps"], rules=[rule]) as host:
        client = Client(host, tls=tls)
        with client.socket:
            client.tell(b"b APPEND INBOX %b\r\n" % announcement)
            if b"+" not in announcement:
                client.until(b"+ ")
            for octet in b"0123456789\r\n"[: after or 1]:
                client.tell(b"%c" % octet)
            assert client.socket.recv(100) == b""
        account = host.store.account("alice@example.test")
        assert account is not None
        assert not account.inbox.messages
