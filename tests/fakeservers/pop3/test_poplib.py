"""Clients that we did not write, over real sockets: poplib and curl, in clear, with STLS and with implicit TLS."""

from __future__ import annotations

import poplib
import shutil
import ssl
import subprocess
from collections.abc import Iterator

import pytest

from fakeservers import FakeMailHost
from fakeservers.certificates import ca_pem

ALICE = "alice@example.test"
MAIL = [
    b"Subject: one\r\n\r\nplain\r\n",
    b"Subject: two\r\n\r\n.dot\r\n..\r\n\r\nlast line\r\n",
    b"Subject: three\r\n\r\n" + b"x" * 1500 + b"\r\n",
]


@pytest.fixture
def host() -> Iterator[FakeMailHost]:
    with FakeMailHost("generic", services=["pop3", "pop3s"]) as running:
        for content in MAIL:
            running.store.deliver(content, mail_from="bob@example.test", rcpt_to=(ALICE,))
        yield running
        assert running.errors == []


def connect(host: FakeMailHost, security: str) -> poplib.POP3:
    ports = host.endpoints()["ports"]
    context = ssl.create_default_context(cadata=ca_pem().decode())
    if security == "implicit":
        return poplib.POP3_SSL("localhost", ports["pop3s"], context=context, timeout=10)
    client = poplib.POP3("localhost", ports["pop3"], timeout=10)
    if security == "stls":
        client.stls(context)
    return client


@pytest.mark.parametrize("security", ["clear", "stls", "implicit"])
@pytest.mark.parametrize("login", ["user", "apop"])
def test_a_round_trip(host: FakeMailHost, security: str, login: str) -> None:
    client = connect(host, security)
    assert ("STLS" in client.capa()) == (security == "clear")
    assert client.capa()["IMPLEMENTATION"] == ["mailrig"]
    if login == "user":
        client.user(ALICE)
        client.pass_("secret")
    else:
        client.apop(ALICE, "secret")
    assert client.stat() == (3, sum(map(len, MAIL)))
    assert client.list()[1] == [b"%d %d" % (number, len(content)) for number, content in enumerate(MAIL, 1)]
    ids = [line.split()[1] for line in client.uidl()[1]]
    assert client.uidl(2).split()[2] == ids[1]
    for number, content in enumerate(MAIL, 1):
        assert b"\r\n".join([*client.retr(number)[1], b""]) == content
    assert client.top(2, 1)[1] == [b"Subject: two", b"", b".dot"]
    client.dele(1)
    client.noop()
    client.rset()
    client.dele(2)
    client.quit()
    assert [message.content for message in host.messages(ALICE)] == [MAIL[0], MAIL[2]]


def test_a_wrong_password_leaves_the_session_open(host: FakeMailHost) -> None:
    client = connect(host, "clear")
    client.user(ALICE)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client.pass_("wrong")
    client.user(ALICE)
    client.pass_("secret")
    client.quit()


def test_utf8_is_refused_where_it_is_not_offered(host: FakeMailHost) -> None:
    client = connect(host, "clear")
    with pytest.raises(poplib.error_proto):
        client.utf8()
    client.quit()


def test_a_connection_lost_gives_the_maildrop_free_and_deletes_nothing(host: FakeMailHost) -> None:
    client = connect(host, "implicit")
    client.user(ALICE)
    client.pass_("secret")
    client.dele(1)
    client.close()
    for _ in range(200):
        again = connect(host, "clear")
        again.user(ALICE)
        try:
            again.pass_("secret")
        except poplib.error_proto:
            again.quit()
            continue
        break
    assert again.stat()[0] == 3
    again.quit()


def test_thirty_sessions_of_one_host(host: FakeMailHost) -> None:
    for number in range(30):
        host.add_user(f"user{number}@example.test", "secret")
    clients = [connect(host, "clear") for _ in range(30)]
    for number, client in enumerate(clients):
        client.user(f"user{number}@example.test")
        client.pass_("secret")
    for client in clients:
        assert client.stat() == (0, 0)
        client.quit()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("security", ["clear", "stls", "implicit"])
@pytest.mark.parametrize("auth", ["+APOP", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_curl(host: FakeMailHost, security: str, auth: str) -> None:
    if (
        auth.startswith("SCRAM")
        and b"gsasl" not in subprocess.run(["curl", "-V"], capture_output=True, check=True).stdout
    ):
        pytest.skip("this curl was built without SCRAM")
    endpoints = host.endpoints()
    scheme, service = ("pop3s", "pop3s") if security == "implicit" else ("pop3", "pop3")
    options = [] if security != "stls" else ["--ssl-reqd"]
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", "--cacert", endpoints["ca_file"], *options, "--user", f"{ALICE}:secret",
         "--login-options", f"AUTH={auth}", f"{scheme}://localhost:{endpoints['ports'][service]}/2"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == MAIL[1]
