"""smtplib over real sockets, in every security mode."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

import pytest

from fakeservers import FakeMailHost
from fakeservers.rules import Rule

from .dialogue import ALICE, BOB, STRANGER

SERVICES = ["smtp", "submission", "smtps"]


@pytest.fixture
def host() -> Iterator[FakeMailHost]:
    with FakeMailHost("generic", services=SERVICES) as running:
        yield running
    assert running.errors == []


def client(host: FakeMailHost, service: str, *, login: bool = True) -> smtplib.SMTP:
    """Connected, and under TLS and logged in where the service has it."""
    endpoints = host.endpoints()
    context = ssl.create_default_context(cafile=endpoints["ca_file"])
    port = endpoints["ports"][service]
    if service == "smtps":
        connected: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", port, timeout=10, context=context)
    else:
        connected = smtplib.SMTP("127.0.0.1", port, timeout=10)
        if service == "submission":
            connected.starttls(context=context)
    if service != "smtp" and login:
        connected.login(ALICE, "secret")
    return connected


def message() -> EmailMessage:
    built = EmailMessage()
    built["From"], built["To"], built["Subject"] = ALICE, BOB, "Grüße"
    built.set_content("line\n.dot\n..two\n" + "x" * 3000 + "\n", cte="8bit")
    return built


@pytest.mark.parametrize("service", SERVICES)
def test_a_message_arrives_before_the_reply(host: FakeMailHost, service: str) -> None:
    with client(host, service) as smtp:
        assert smtp.send_message(message()) == {}
        (kept,) = host.messages(BOB)
    assert b"\r\n.dot\r\n..two\r\n" + b"x" * 3000 + b"\r\n" in kept.content
    assert kept.trace.endswith(b"\r\n")
    with_ = {"smtp": b"with ESMTP id", "submission": b"with ESMTPSA id", "smtps": b"with ESMTPSA id"}
    assert with_[service] in kept.trace


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login", "auth_cram_md5"])
def test_mechanisms(host: FakeMailHost, mechanism: str) -> None:
    with client(host, "smtps", login=False) as smtp:
        smtp.ehlo()
        smtp.user, smtp.password = ALICE, "secret"
        code, _ = smtp.auth(mechanism.removeprefix("auth_").upper().replace("_", "-"), getattr(smtp, mechanism))
        assert code == 235
    assert not any(b"secret" in entry.data for entry in host.transcript)


def test_refusals(host: FakeMailHost) -> None:
    with client(host, "smtp") as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            smtp.sendmail(STRANGER, ["nobody@example.test", STRANGER], b"x")
        assert {code for code, _ in refused.value.recipients.values()} == {550}
        assert list(smtp.sendmail(STRANGER, [ALICE, STRANGER], b"x")) == [STRANGER]
        with pytest.raises(smtplib.SMTPNotSupportedError):
            smtp.login(ALICE, "secret")
    with client(host, "smtps", login=False) as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
        smtp.login(ALICE, "wrong")


def test_smtputf8_and_8bit(host: FakeMailHost) -> None:
    with client(host, "smtps") as smtp:
        smtp.sendmail(
            ALICE, ["jörg@münchen.example"], "Subject: ö\r\n\r\nü\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"]
        )
    (kept,) = host.messages("jörg@münchen.example")
    assert kept.content == "Subject: ö\r\n\r\nü\r\n".encode()
    assert b"with UTF8SMTPSA id" in kept.trace


def test_many_at_once(host: FakeMailHost) -> None:
    def send(number: int) -> None:
        with client(host, SERVICES[number % 3]) as smtp:
            for _ in range(3):
                smtp.sendmail(ALICE, [BOB], b"%d" % number)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(send, range(30)))
    assert len(host.messages(BOB)) == 90


def test_pipelining_in_one_segment(host: FakeMailHost) -> None:
    with socket.create_connection(("127.0.0.1", host.endpoints()["ports"]["smtp"]), timeout=10) as sock:
        sock.sendall(
            b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\nNOOP\r\n"
        )
        replies = b""
        while part := sock.recv(65536):
            replies += part
    codes = [line[:3] for line in replies.splitlines() if line[3:4] == b" "]
    assert codes == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]


def test_plaintext_behind_starttls_is_never_acted_on(host: FakeMailHost) -> None:
    with socket.create_connection(("127.0.0.1", host.endpoints()["ports"]["submission"]), timeout=10) as sock:
        reader = sock.makefile("rb")
        reader.readline()
        sock.sendall(b"EHLO x\r\nSTARTTLS\r\nEHLO injected\r\n")
        while not reader.readline().startswith(b"220"):
            pass
        context = ssl.create_default_context(cafile=host.endpoints()["ca_file"])
        with context.wrap_socket(sock, server_hostname="127.0.0.1") as secure:
            secure.sendall(b"MAIL FROM:<a@b.example>\r\n")
            assert secure.recv(1000).startswith(b"503")
    assert any(entry.facts.get("event") == "plaintext-after-starttls" for entry in host.transcript)


def test_rules_over_the_wire() -> None:
    rules = [
        {"name": "later", "at": "smtp.mail", "when": {"nth.host": 1}, "reply": "451 4.3.0 later"},
        {"name": "lost", "at": "smtp.message", "reply": "", "deliver": True, "then": "close"},
    ]
    with FakeMailHost(services=["smtp"], rules=[Rule.model_validate(rule) for rule in rules]) as host:
        with client(host, "smtp") as smtp, pytest.raises(smtplib.SMTPSenderRefused):
            smtp.sendmail(STRANGER, [ALICE], b"x")
        smtp = client(host, "smtp")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.sendmail(STRANGER, [ALICE], b"x")
        smtp.close()
        assert len(host.messages(ALICE)) == 1
        assert [entry.rule for entry in host.transcript if entry.rule] == ["later", "lost"]
        assert host.errors == []
