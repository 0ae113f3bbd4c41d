"""The host as its users see it: what CONTRACTS section 3 promises of `FakeMailHost` and the `generic` profile."""

from __future__ import annotations

import asyncio
import imaplib
import poplib
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fakeservers import Clock, FakeMailHost, load_profile
from fakeservers.profile import SERVICES, profile_names
from fakeservers.rules import Rule
from fakeservers.wire import Wire

ALICE, BOB = "alice@example.test", "bob@example.test"
MESSAGE = b"Subject: hello\r\n\r\n.dots\r\nbare\nlf and \r cr\r\n" + b"x" * 1500 + b"\r\nend\r\n"


def trusting(host: FakeMailHost) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=host.endpoints()["ca_file"])


def smtp(host: FakeMailHost, service: str = "smtp") -> smtplib.SMTP:
    at = host.endpoints()
    return smtplib.SMTP("localhost", at["ports"][service], local_hostname="client.example.test", timeout=10)


@pytest.mark.parametrize("provider", profile_names())
def test_endpoints_are_what_the_contract_says(provider: str) -> None:
    with FakeMailHost(provider) as host:
        at = host.endpoints()
        assert set(at) >= {"host", "provider", "pid", "ports", "ca_file", "users"}
        assert (at["host"], at["provider"]) == ("127.0.0.1", provider)
        assert list(at["ports"]) == list(load_profile(provider).services)
        assert len(set(at["ports"].values())) == len(at["ports"])
        assert Path(at["ca_file"]).is_absolute()
        assert b"BEGIN CERTIFICATE" in Path(at["ca_file"]).read_bytes()
        assert all(set(user) == {"username", "password"} for user in at["users"])


def test_generic_has_all_seven_services_and_two_users() -> None:
    with FakeMailHost() as host:
        assert set(host.endpoints()["ports"]) == set(SERVICES)
        assert host.endpoints()["users"] == [
            {"username": ALICE, "password": "secret"}, {"username": BOB, "password": "secret"},
        ]  # fmt: skip


def test_replies_do_not_wait_for_acknowledgements() -> None:
    with FakeMailHost() as host, socket.create_connection(("127.0.0.1", host.endpoints()["ports"]["pop3"])) as client:
        assert client.recv(3) == b"+OK"
        (wire,) = host.wires
        sock = wire._sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_mail_is_there_over_imap_and_pop3_with_its_octets_when_the_final_250_comes() -> None:
    with FakeMailHost() as host, smtp(host) as client:
        client.ehlo()
        client.mail(ALICE)
        client.rcpt(BOB)
        client.docmd("DATA")
        client.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert client.getreply()[0] == 250
        at = host.endpoints()
        with imaplib.IMAP4("localhost", at["ports"]["imap"], timeout=10) as imap:
            imap.starttls(trusting(host))
            imap.login(BOB, "secret")
            imap.select()
            part = imap.fetch("1", "(BODY.PEEK[])")[1][0]
            assert isinstance(part, tuple)
            assert part[1].endswith(MESSAGE)
        pop = poplib.POP3_SSL("localhost", at["ports"]["pop3s"], timeout=10, context=trusting(host))
        with closing(pop):
            pop.user(BOB)
            pop.pass_("secret")
            assert b"\n".join(pop.retr(1)[1]).endswith(b"end")
            pop.quit()
        (kept,) = host.messages(BOB)
        assert kept.raw.endswith(MESSAGE)
        assert (kept.mail_from, kept.rcpt_to, kept.mailbox, kept.uid) == (ALICE, (BOB,), "INBOX", 1)


def test_port_25_takes_mail_for_its_users_only_and_submission_for_anybody() -> None:
    with FakeMailHost() as host:
        with smtp(host) as client:
            client.ehlo()
            client.mail(ALICE)
            assert client.rcpt("nobody@example.test") == (550, client.rcpt("nobody@example.test")[1])
            assert client.rcpt("nobody@example.test")[1].startswith(b"5.1.1")
            assert client.rcpt("someone@elsewhere.test")[1].startswith(b"5.7.1")
        with smtp(host, "submission") as client:
            client.starttls(context=trusting(host))
            client.login(ALICE, "secret")
            client.sendmail(ALICE, ["someone@elsewhere.test"], MESSAGE)
        assert len(host.messages("someone@elsewhere.test")) == 1


def test_twenty_sessions_of_one_user_at_once() -> None:
    with FakeMailHost() as host, ExitStack() as sessions:
        port = host.endpoints()["ports"]["imap"]
        for _ in range(20):
            imap = sessions.enter_context(imaplib.IMAP4("localhost", port, timeout=10))
            assert imap.login(ALICE, "secret")[0] == "OK"
            assert imap.select()[0] == "OK"


def test_certificates_name_loopback_and_the_providers_hosts() -> None:
    with FakeMailHost("gmail") as host:
        context = trusting(host)
        port = host.endpoints()["ports"]["smtps"]
        for name in ("localhost", "127.0.0.1", "smtp.gmail.com", "imap.gmail.com"):
            context.check_hostname = True
            with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname=name) as tls:
                assert tls.version() == "TLSv1.3"


def test_it_works_async_too() -> None:
    async def main() -> None:
        async with FakeMailHost() as host:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.endpoints()["ports"]["smtp"])
            assert (await reader.readline()).startswith(b"220 ")
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


def test_a_port_in_use_is_said_and_nothing_stays_open() -> None:
    with FakeMailHost(services=["smtp"]) as first:
        port = first.endpoints()["ports"]["smtp"]
        second = FakeMailHost(services=["imap", "smtp"], ports={"smtp": port})
        with pytest.raises(OSError, match=f"smtp: cannot listen on 127.0.0.1:{port}"):
            second.start()
        second.stop()


def test_a_stopped_service_refuses_and_a_stopped_host_is_gone() -> None:
    with FakeMailHost(services=["smtp", "imap"]) as host:
        ports = host.endpoints()["ports"]
        host.stop_service("smtp")
        with pytest.raises(ConnectionRefusedError):
            smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=10)
        with imaplib.IMAP4("127.0.0.1", ports["imap"], timeout=10):
            pass
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP("127.0.0.1", ports["imap"], timeout=10)


def test_limits_run_on_the_hosts_clock() -> None:
    when = {"host.messages": {"at_least": 2, "within": "24h"}}
    rule = {"name": "two-a-day", "at": "smtp.mail", "when": when, "reply": "450 later"}
    clock = Clock(1_000_000)
    with FakeMailHost(rules=[Rule.model_validate(rule)], clock=clock) as host, smtp(host) as client:
        for _ in range(2):
            client.sendmail(ALICE, [BOB], MESSAGE)
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail(ALICE, [BOB], MESSAGE)
        clock.advance(24 * 3600)
        client.sendmail(ALICE, [BOB], MESSAGE)


def test_rules_come_and_go_while_it_runs() -> None:
    with FakeMailHost() as host, smtp(host) as client:
        host.add_rules([Rule.model_validate({"name": "off", "at": "smtp.noop", "reply": "421 off"})])
        assert client.noop() == (421, b"off")
        host.remove_rule("off")
        assert client.noop()[0] == 250
        host.drop_connections()
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
            client.noop()


def test_the_same_seed_says_the_same_words() -> None:
    def greeting(seed: int) -> bytes:
        with FakeMailHost("gmail", seed=seed, services=["submission"], clock=Clock(1_000_000)) as host:
            at = host.endpoints()
            with (
                socket.create_connection(("127.0.0.1", at["ports"]["submission"]), 10) as sock,
                sock.makefile("rb") as lines,
            ):
                return lines.readline()

    assert greeting(1) == greeting(1)
    assert greeting(1) != greeting(2)


def test_no_password_reaches_the_transcript() -> None:
    with FakeMailHost(users={ALICE: "p4ss-w0rd/+"}) as host:
        with smtp(host, "submission") as client:
            client.starttls(context=trusting(host))
            client.login(ALICE, "p4ss-w0rd/+")
        written = b"".join(entry.data for entry in host.transcript)
        assert b"p4ss" not in written
        assert b"w0rd/+" not in written


def test_hosts_of_one_process_do_not_share_mail(start_mail_host: Callable[..., FakeMailHost]) -> None:
    first, second = start_mail_host(), start_mail_host()
    with smtp(first) as client:
        client.sendmail(ALICE, [BOB], MESSAGE)
    assert (len(first.messages(BOB)), len(second.messages(BOB))) == (1, 0)


def test_the_fixture_is_a_running_generic_host(fake_mail_host: FakeMailHost) -> None:
    with smtp(fake_mail_host) as client:
        assert client.noop()[0] == 250


def test_a_defect_in_serving_a_socket_is_told_and_the_others_are_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    received = Wire.received

    def fails_for_the_first(wire: Wire, data: bytes) -> None:
        if wire.connection.id == 1:
            raise RuntimeError("a defect of the wire's own")
        received(wire, data)

    monkeypatch.setattr(Wire, "received", fails_for_the_first)
    with FakeMailHost(services=["pop3"]) as host:
        address = ("127.0.0.1", host.endpoints()["ports"]["pop3"])
        with socket.create_connection(address, 10) as broken, socket.create_connection(address, 10) as other:
            assert broken.recv(3) == other.recv(3) == b"+OK"
            broken.sendall(b"NOOP\r\n")
            while broken.recv(100):
                pass
            other.sendall(b"QUIT\r\n")
            said = b""
            while data := other.recv(100):
                said += data
            assert said.endswith(b"+OK Bye.\r\n")
    assert "a defect of the wire's own" in caplog.text
