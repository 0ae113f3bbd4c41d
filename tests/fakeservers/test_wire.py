"""The transport, through a host with POP3: segments, pauses, endings, handshakes, and TLS cut anywhere.

Nothing here sleeps: what takes its time is waited for on the socket, and what must not come is proven by what comes
instead.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scramp import ScramClient

from fakeservers import FakeMailHost, Profile, Rule, load_profile
from fakeservers.certificates import ca_pem
from fakeservers.transcript import Entry

ALICE = "alice@example.test"
MAIL = b"Subject: x\r\n\r\n" + b"0123456789" * 20 + b"\r\n"


def rule(at: str, **parts: Any) -> Rule:
    return Rule.model_validate({"name": "rule", "at": at, **parts})


class Client:
    """A plain socket that reads lines; `chunks` are what each recv gave."""

    def __init__(self, host: FakeMailHost, service: str = "pop3") -> None:
        self.sock = socket.create_connection(("127.0.0.1", host.endpoints()["ports"][service]), timeout=10)
        self.buffer = b""
        self.chunks: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        while b"\n" not in self.buffer:
            chunk = self.sock.recv(65536)
            if not chunk:
                break
            self.chunks.append(chunk)
            self.buffer += chunk
        line, newline, self.buffer = self.buffer.partition(b"\n")
        return line + newline

    def ask(self, command: str) -> bytes:
        self.send(command.encode() + b"\r\n")
        return self.line()

    def rest(self) -> bytes:
        """All until the server's end of the connection."""
        got = [self.buffer]
        self.buffer = b""
        while chunk := self.sock.recv(65536):
            self.chunks.append(chunk)
            got.append(chunk)
        return b"".join(got)

    def login(self) -> Client:
        assert self.line().startswith(b"+OK")
        assert self.ask(f"USER {ALICE}").startswith(b"+OK")
        assert self.ask("PASS secret").startswith(b"+OK")
        return self

    def tls(self) -> None:
        context = ssl.create_default_context(cadata=ca_pem().decode())
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost", suppress_ragged_eofs=False)

    def close(self) -> None:
        self.sock.close()


Make = Callable[..., FakeMailHost]


@pytest.fixture
def hosts() -> Iterator[Make]:
    """Running hosts with one message, which end with the test and must have met no defect of their own."""
    with contextlib.ExitStack() as stack:

        def make(*rules: Rule, provider: Profile | str = "generic") -> FakeMailHost:
            host = stack.enter_context(FakeMailHost(provider, rules=rules, services=["pop3", "pop3s"]))
            host.store.deliver(MAIL, mail_from="bob@example.test", rcpt_to=(ALICE,))
            stack.callback(lambda: _clean(host))
            return host

        yield make


def _clean(host: FakeMailHost) -> None:
    assert host.errors == []


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    with contextlib.ExitStack() as stack:

        def make(host: FakeMailHost, service: str = "pop3") -> Client:
            client = Client(host, service)
            stack.callback(client.close)
            return client

        yield make


Connect = Callable[..., Client]


def events(host: FakeMailHost, kind: str) -> list[Entry]:
    return [entry for entry in host.transcript if entry.facts.get("event") == kind]


def until(happened: Callable[[], object]) -> None:
    """Wait for the host's loop to do what it has been given cause for."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)


# --- segments and pauses


def test_an_answer_in_parts_leaves_in_one_segment(hosts: Make, connect: Connect) -> None:
    client = connect(hosts()).login()
    client.chunks.clear()
    assert client.ask("RETR 1").startswith(b"+OK")
    assert b"".join(client.chunks).endswith(b"\r\n.\r\n"), "status line and message together"


def test_split_into_octets_and_at_lines(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.stat", split="octets"))).login()
    client.chunks.clear()
    answer = client.ask("STAT")
    assert answer == b"+OK 1 %d\r\n" % len(MAIL)
    assert len(client.chunks) > 1, "more than one segment"
    client = connect(hosts(rule("pop3.capa", split="lines"))).login()
    client.chunks.clear()
    client.send(b"CAPA\r\n")
    while client.line() != b".\r\n":
        pass
    assert len(client.chunks) > 1
    assert client.chunks[0].endswith(b"\r\n")


def test_dribbling_takes_its_time(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.noop", every=0.01))
    client = connect(host).login()
    start = time.monotonic()
    assert client.ask("NOOP") == b"+OK\r\n"
    assert time.monotonic() - start >= 0.04


def test_a_delay_holds_back_what_comes_behind_it_in_order(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.noop", delay=0.05))).login()
    start = time.monotonic()
    client.send(b"NOOP\r\nSTAT\r\n")
    assert client.line() == b"+OK\r\n"
    assert time.monotonic() - start >= 0.05
    assert client.line().startswith(b"+OK 1 ")


def test_a_held_answer_leaves_with_the_next(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.noop", hold=True))).login()
    client.send(b"NOOP\r\n")
    client.chunks.clear()
    client.send(b"STAT\r\n")
    assert client.line() == b"+OK\r\n"
    assert client.line().startswith(b"+OK 1 ")
    assert len(client.chunks) == 1


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_pipelined_answers_are_joined_to_the_very_end(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(rule("pop3.*", hold=True, when={"authenticated": True}))
    client = connect(host, service)
    if service == "pop3s":
        client.tls()
    client.login()
    client.chunks.clear()
    for command in (b"UIDL 1\r\n", b"RETR 1\r\n", b"DELE 1\r\n", b"QUIT\r\n"):
        client.send(command)
    said = client.rest()
    assert said.endswith(b"\r\n.\r\n+OK message 1 deleted\r\n+OK Bye.\r\n")
    assert client.chunks == [said]


def test_a_client_that_waits_gets_a_held_answer_in_the_end(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.noop", hold=0.05))).login()
    start = time.monotonic()
    assert client.ask("NOOP") == b"+OK\r\n"
    assert time.monotonic() - start >= 0.05


def test_the_go_ahead_for_tls_is_not_held(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.stls", hold=True)))
    client.line()
    assert client.ask("STLS").startswith(b"+OK")
    client.tls()


def test_a_held_answer_keeps_its_secrets_and_its_rule(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.auth-step", hold=0.01))
    client = connect(host)
    client.line()
    scram = ScramClient(["SCRAM-SHA-256"], ALICE, "secret")
    client.ask("AUTH SCRAM-SHA-256")
    first = client.ask(base64.b64encode(scram.get_client_first().encode()).decode())
    scram.set_server_first(base64.b64decode(first[2:]).decode())
    final = client.ask(base64.b64encode(scram.get_client_final().encode()).decode())
    scram.set_server_final(base64.b64decode(final[2:]).decode())
    assert client.ask("") == b"+OK Logged in.\r\n"
    held = [entry.text for entry in host.transcript if entry.rule == "rule"]
    assert held == [first.decode().rstrip(), "***", "+OK Logged in."]


# --- endings


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
@pytest.mark.parametrize("how", ["close", "half-close", "abandon-tls"])
def test_truncated_and_closed(hosts: Make, connect: Connect, how: str, service: str) -> None:
    client = connect(hosts(rule("pop3.retr", truncate=20, then=how)), service)
    if service == "pop3s":
        client.tls()
    client.login()
    client.send(b"RETR 1\r\n")
    whole = b"+OK %d octets\r\n" % len(MAIL) + MAIL
    if service == "pop3s" and how == "abandon-tls":
        with pytest.raises(ssl.SSLEOFError):
            client.rest()
    else:
        assert client.rest() == whole[:20]


def test_a_closed_connection_still_swallows_what_the_client_sends(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.noop", reply="-ERR go away", then="close"))).login()
    client.send(b"NOOP\r\n" * 1000)
    assert client.rest() == b"-ERR go away\r\n", "no reset destroys the last reply"


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_reset(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(rule("pop3.noop", reply="", then="reset"))
    client = connect(host, service)
    if service == "pop3s":
        client.tls()
    client.login()
    client.send(b"NOOP\r\n")
    # Some of Python's versions call a reset under TLS an end of file.
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        client.rest()
    (end,) = events(host, "end")
    assert end.facts["how"] == "reset"
    assert end.rule == "rule"


def test_a_stall_says_nothing_and_stays(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.noop", reply="", then="stall"))
    client = connect(host).login()
    client.send(b"NOOP\r\nSTAT\r\n")
    until(lambda: events(host, "end"))
    client.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)
    assert host.site.sessions == 1


@pytest.mark.parametrize("after", [0, 1, 4, 6])
def test_cut_after_octets_of_the_client(hosts: Make, connect: Connect, after: int) -> None:
    host = hosts(rule("pop3.noop", cut=after))
    client = connect(host).login()
    assert client.ask("NOOP") == b"+OK\r\n"
    before = len(host.transcript)
    client.send(b"STAT\r\n")
    with pytest.raises(ConnectionResetError):
        client.rest()
    heard = [entry.text for entry in list(host.transcript)[before:] if entry.direction == "C"]
    assert heard == (["STAT"] if after == 6 else [])


def test_idle_clients_are_closed(hosts: Make, connect: Connect) -> None:
    generic = load_profile("generic")
    short = generic.model_copy(update={"pop3": generic.pop3.model_copy(update={"idle": 0.0})})
    host = hosts(provider=short)
    logged_in, shaking = connect(host).login(), connect(host, "pop3s")
    assert logged_in.rest() == b""
    assert shaking.rest() == b""
    assert [entry.facts["reason"] for entry in events(host, "tls-failed")] == ["timed out"]


def test_a_client_that_shuts_its_half_gets_its_answers(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.capa", delay=0.02)))
    client.send(b"CAPA\r\nQUIT\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    said = client.rest()
    assert said.endswith(b".\r\n+OK Bye.\r\n")


def test_nothing_is_done_for_a_client_that_is_gone(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.capa", delay=0.05))
    client = connect(host)
    client.line()
    client.send(f"CAPA\r\nUSER {ALICE}\r\nPASS secret\r\n".encode())
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    until(lambda: host.site.sessions == 0)
    other = connect(host)
    other.line()
    other.send(b"CAPA\r\n")  # its delay outlasts the one of the client that is gone
    while other.line() != b".\r\n":
        pass
    assert not host.store.accounts[ALICE].maildrop_locked


# --- TLS


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("close", (ssl.SSLError, ConnectionError)),
        ("reset", (ConnectionError, ssl.SSLError)),
        ("alert", (ssl.SSLError,)),
        ("plaintext", (ssl.SSLError,)),
    ],
)
def test_handshake_faults(
    hosts: Make, connect: Connect, service: str, fault: str, error: tuple[type[Exception], ...]
) -> None:
    host = hosts(rule("pop3.tls", handshake=fault))

    def meet() -> None:
        # On implicit TLS a reset may come before connect() has returned; and Python's TLS socket leaks when it is made
        # over one that was reset, so that fault is read as it comes.
        client = connect(host, service)
        if service == "pop3":
            client.line()
            client.ask("STLS")
        if fault == "reset":
            client.rest()
        client.tls()

    with pytest.raises(error):
        meet()
    until(lambda: events(host, "end"))
    assert not events(host, "tls")


def test_a_handshake_that_stalls(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.tls", handshake="stall"))
    client = connect(host, "pop3s")
    client.sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.tls()


def test_the_point_tls_can_simply_end_the_connection(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.tls", then="close")), "pop3s")
    assert client.rest() == b""


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_a_certificate_with_a_defect(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(rule("pop3.tls", certificate="expired", when={"nth.host": 1}))
    client = connect(host, service)
    if service == "pop3":
        client.line()
        client.ask("STLS")
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        client.tls()
    until(lambda: events(host, "tls-failed"))
    (shown,) = events(host, "certificate")
    assert shown.facts["defect"] == "expired"
    assert shown.rule == "rule"
    again = connect(host, "pop3s")
    again.tls()
    again.login()


def test_what_a_handshake_settled(hosts: Make, connect: Connect) -> None:
    host = hosts()
    client = connect(host, "pop3s")
    client.tls()
    client.login()
    (facts,) = [entry.facts for entry in events(host, "tls")]
    assert facts == {"event": "tls", "version": "TLSv1.3", "sni": "localhost", "certificate": None}
    assert all(entry.tls == "TLSv1.3" for entry in host.transcript if entry.direction == "C")


def test_clear_text_on_a_tls_port_and_a_client_that_leaves(hosts: Make, connect: Connect) -> None:
    host = hosts()
    client = connect(host, "pop3s")
    client.send(b"USER alice\r\n")
    assert not client.rest().startswith(b"+OK")
    until(lambda: len(events(host, "tls-failed")) == 1)
    connect(host, "pop3s").close()
    until(lambda: len(events(host, "tls-failed")) == 2)
    until(lambda: host.site.sessions == 1)
    client.close()
    until(lambda: host.site.sessions == 0)


@pytest.mark.parametrize("delay", [0, 0.02])
def test_clear_text_behind_stls_is_never_acted_on(hosts: Make, connect: Connect, delay: float) -> None:
    host = hosts(rule("pop3.stls", delay=delay))
    client = connect(host)
    client.line()
    client.send(b"STLS\r\n")
    if delay:
        until(lambda: [entry for entry in host.transcript if entry.text == "STLS"])
    client.send(f"USER {ALICE}\r\nPASS secret\r\n".encode())
    if not delay:
        # Nothing orders the two segments: they may come before or behind the reply, as ciphertext that is none.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert client.line().startswith(b"+OK")
            client.tls()
    else:
        assert client.line().startswith(b"+OK")
        client.tls()
        assert client.ask("STAT").startswith(b"-ERR")
        (dropped,) = events(host, "plaintext-after-starttls")
        assert dropped.facts["octets"] == len(f"USER {ALICE}\r\nPASS secret\r\n")
    assert host.site.tally.total("logins") == 0


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeMailHost]:
    with FakeMailHost("generic", services=["pop3", "pop3s"]) as host:
        yield host
        assert host.errors == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 700), min_size=1, max_size=12), upgrade=st.booleans())
def test_tls_records_may_be_cut_anywhere(shared: FakeMailHost, cuts: list[int], upgrade: bool) -> None:
    client = Client(shared, "pop3" if upgrade else "pop3s")
    sizes = cycle(cuts)

    def send(data: bytes) -> None:
        while data:
            size = next(sizes)
            client.send(data[:size])
            data = data[size:]

    with contextlib.closing(client.sock):
        if upgrade:
            client.line()
            assert client.ask("STLS").startswith(b"+OK")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl.create_default_context(cadata=ca_pem().decode()).wrap_bio(
            incoming, outgoing, server_hostname="localhost"
        )  # fmt: skip

        def carry(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    send(outgoing.read())
                    incoming.write(client.sock.recv(next(sizes)))
                    continue
                send(outgoing.read())
                return result

        carry(tls.do_handshake)
        carry(lambda: tls.write(b"CAPA\r\nNOOP\r\nQUIT\r\n"))
        said = b""
        while not said.endswith(b"+OK Bye.\r\n"):
            said += carry(tls.read)
        assert b"-ERR" in said


def test_a_host_stops_with_connections_open_and_ports_are_free_again(hosts: Make) -> None:
    host = FakeMailHost("generic", services=["pop3"]).start()
    clients = [Client(host) for _ in range(5)]
    for client in clients:
        client.line()
    port = host.endpoints()["ports"]["pop3"]
    host.stop()
    for client in clients:
        with contextlib.suppress(ConnectionResetError):
            assert client.rest() == b""
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    assert host.site.sessions == 0


# --- accept


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_a_black_hole_accepts_and_never_speaks(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(rule("pop3.accept", then="stall"))
    client = connect(host, service)
    client.send(b"CAPA\r\n")
    until(lambda: events(host, "end"))
    client.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_a_connection_is_reset_at_once_the_first_times(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(rule("pop3.accept", then="reset", when={"nth.host": {"at_most": 2}}))
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            connect(host, service).rest()
    client = connect(host, service)
    if service == "pop3s":
        client.tls()
    client.login()


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_every_third_connection_is_closed(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(rule("pop3.accept", then="close", when={"nth.host": {"every": 3}}))
    closed = []
    for _ in range(6):
        client = connect(host, service)
        if service == "pop3s":
            try:
                client.tls()
            except (ssl.SSLError, ConnectionError):
                closed.append(True)
                continue
        closed.append(client.line() == b"")
    assert closed == [False, False, True, False, False, True]


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_a_late_greeting_loses_nothing_that_came_before(hosts: Make, connect: Connect, service: str) -> None:
    client = connect(hosts(rule("pop3.accept", delay=0.05)), service)
    if service == "pop3s":
        client.tls()
    else:
        client.send(b"CAPA\r\n")
    assert client.line().startswith(b"+OK POP3")
    if service == "pop3":
        assert client.line().startswith(b"+OK Capability")


def test_tls_on_the_plaintext_port(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.accept", tls={"at_once": True}))
    client = connect(host, "pop3")
    client.tls()
    client.login()
    assert [entry.facts["version"] for entry in events(host, "tls")] == ["TLSv1.3"]


def test_plaintext_on_the_tls_port(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.accept", tls={"at_once": False}))
    connect(host, "pop3s").login()
    assert not events(host, "tls")


# --- handshakes


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_a_flight_that_breaks_off(hosts: Make, connect: Connect, service: str) -> None:
    client = ready(connect(hosts(rule("pop3.tls", handshake="cut")), service), service)
    with pytest.raises((ssl.SSLEOFError, ConnectionError)):
        client.tls()


def test_a_flight_that_stops_midway(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.tls", handshake="stall-midway"))
    client = connect(host, "pop3s")
    client.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.tls()
    assert [entry.facts["how"] for entry in events(host, "end")] == ["stall"]


@pytest.mark.parametrize("service", ["pop3", "imap", "smtp", "pop3s", "imaps", "smtps"])
def test_accepted_and_not_done(service: str) -> None:
    """After the go-ahead the server goes on in clear; on the TLS port it greets so."""
    protocol = service.removesuffix("s")
    with FakeMailHost("generic", rules=[rule(f"{protocol}.tls", handshake="skipped")], services=[service]) as host:
        client = Client(host, service)
        try:
            if not service.endswith("s"):
                client.line()
                asks = {"pop3": "STLS", "imap": "a STARTTLS", "smtp": "STARTTLS"}
                assert client.ask(asks[protocol]).startswith(
                    {"pop3": b"+OK", "imap": b"a OK", "smtp": b"220"}[protocol]
                )
            else:
                assert client.line().startswith({"pop3": b"+OK", "imap": b"* OK", "smtp": b"220"}[protocol])
            assert client.ask("a NOOP" if protocol == "imap" else "NOOP")
        finally:
            client.close()
        assert len(events(host, "tls-skipped")) == 1
        assert not events(host, "tls")
        assert host.errors == []


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_a_client_that_names_no_server(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(rule("pop3.tls", tls={"sni": "required"}))
    named = ready(connect(host, service), service)
    named.tls()
    named.close()
    nameless = ready(connect(host, service), service)
    context = ssl.create_default_context(cadata=ca_pem().decode())
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    nameless.sock = context.wrap_socket(nameless.sock)
    shown = ssl.DER_cert_to_PEM_cert(nameless.sock.getpeercert(binary_form=True) or b"")
    subject = x509.load_pem_x509_certificate(shown.encode()).subject.rfc4514_string()
    assert subject == "CN=invalid2.invalid,OU=No SNI provided\\; please fix your client."
    until(lambda: [entry.facts["sni"] for entry in events(host, "tls")] == ["localhost", None])


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_versions_and_ciphers(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(
        rule("pop3.tls", tls={"ciphers": "NULL-SHA256:@SECLEVEL=0"}, when={"nth.host": 1}),
        Rule.model_validate({"name": "old", "at": "pop3.tls", "tls": {"maximum": "TLSv1_2"}}),
    )
    client = ready(connect(host, service), service)
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        client.tls()
    client = ready(connect(host, service), service)
    client.tls()
    assert client.sock.version() == "TLSv1.2"  # type: ignore[attr-defined]


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
def test_the_certificate_changes_between_connections(hosts: Make, connect: Connect, service: str) -> None:
    host = hosts(rule("pop3.tls", certificate="renewed", when={"nth.host": {"at_least": 2}}))
    shown = []
    for _ in range(3):
        client = ready(connect(host, service), service)
        client.tls()
        shown.append(client.sock.getpeercert(binary_form=True))  # type: ignore[attr-defined]
    assert shown[0] != shown[1] == shown[2]


def ready(client: Client, service: str) -> Client:
    """Before the handshake."""
    if service == "pop3":
        client.line()
        client.ask("STLS")
    return client


# --- the line


def test_bandwidth(hosts: Make, connect: Connect) -> None:
    client = connect(hosts(rule("pop3.accept", bandwidth=400)))
    started = time.monotonic()
    client.send(b"CAPA\r\n")
    while client.line() != b".\r\n":
        pass
    octets = sum(map(len, client.chunks))
    assert time.monotonic() - started >= octets / 400 * 0.8
    assert len(client.chunks) >= octets // 20


@pytest.mark.parametrize("split", [[-1], [1, -2]])
def test_cuts_counted_from_the_end(hosts: Make, connect: Connect, split: list[int]) -> None:
    client = connect(hosts(rule("pop3.noop", split=split, every=0.05))).login()
    client.chunks.clear()
    assert client.ask("NOOP") == b"+OK\r\n"
    assert [len(chunk) for chunk in client.chunks] == ([4, 1] if split == [-1] else [1, 2, 2])


@pytest.mark.parametrize(("how", "ends"), [("reset", True), ("close", False)])
def test_a_cut_in_the_clients_data_may_be_a_reset_or_a_close(
    hosts: Make, connect: Connect, how: str, ends: bool
) -> None:
    client = connect(hosts(rule("pop3.noop", cut={"after": 4, "how": how}))).login()
    assert client.ask("NOOP") == b"+OK\r\n"
    client.send(b"STAT\r\n")
    if ends:
        with pytest.raises(ConnectionResetError):
            client.rest()
    else:
        assert client.rest() == b""


def test_a_text_names_the_ports_of_the_host(hosts: Make, connect: Connect) -> None:
    host = hosts(rule("pop3.noop", reply="-ERR go to {port_pop3s} or {port_imap}"))
    port = host.endpoints()["ports"]["pop3s"]
    assert connect(host).login().ask("NOOP") == f"-ERR go to {port} or {{port_imap}}\r\n".encode()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"at": "smtp.tls", "tls": {"minimum": "SSLv3"}}, "TLSv1"),
        ({"at": "smtp.accept", "bandwidth": 3}, "20"),
        ({"at": "smtp.mail", "cut": {"after": 3, "how": "quickly"}}, "reset"),
    ],
)
def test_what_cannot_be(parts: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule.model_validate({"name": "x", **parts})
