"""Programs that collect mail over POP3 (some over IMAP too): list, unique-ids, retrieve and compare, delete."""

from __future__ import annotations

import poplib
from collections.abc import Callable
from pathlib import Path

import pytest
from round_trip import MAIL, PLAIN, Account, body_of, which

Program = Callable[..., bytes]
SECURITY = pytest.mark.parametrize("security", ["starttls", "implicit"])
EXPECTED = sorted(map(body_of, (MAIL, PLAIN)))


def delivered(maildir: Path) -> list[bytes]:
    """The bodies of what a program has put into a Maildir."""
    return sorted(body_of(file.read_bytes()) for file in (maildir / "new").iterdir())


def made(maildir: Path) -> Path:
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    return maildir


@SECURITY
def test_poplib(account: Account, security: str) -> None:
    _, port = account.service("pop3", security)
    account.deliver(MAIL, PLAIN)
    if security == "implicit":
        client: poplib.POP3 = poplib.POP3_SSL("localhost", port, context=account.context, timeout=20)
    else:
        client = poplib.POP3("localhost", port, timeout=20)
        client.stls(account.context)
    client.user(account.user)
    client.pass_(account.password)
    assert client.stat() == (2, len(MAIL) + len(PLAIN))
    assert client.list()[1] == [b"1 %d" % len(MAIL), b"2 %d" % len(PLAIN)]
    ids = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(ids)) == 2
    assert b"".join(line + b"\r\n" for line in client.retr(1)[1]) == MAIL
    assert client.top(2, 0)[1][-1] == b""
    client.dele(1)
    client.quit()
    assert account.mail() == [PLAIN]


@SECURITY
def test_curl(account: Account, program: Program, security: str) -> None:
    service, port = account.service("pop3", security)
    account.deliver(MAIL, PLAIN)

    def curl(path: str, *options: str) -> bytes:
        tls = ["--ssl-reqd"] if security == "starttls" else []
        return program(
            "curl", "-sS", "--cacert", account.ca_file, *tls, "--user", f"{account.user}:{account.password}",
            f"{service}://localhost:{port}/{path}", *options,
        )  # fmt: skip

    assert curl("").split() == [b"1", b"%d" % len(MAIL), b"2", b"%d" % len(PLAIN)]
    assert len(set(curl("", "-X", "UIDL").split())) == 4
    assert curl("1") == MAIL
    curl("1", "-X", "DELE", "-l")
    assert account.mail() == [PLAIN]


@SECURITY
@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_fetchmail(account: Account, program: Program, tmp_path: Path, protocol: str, security: str) -> None:
    _, port = account.service(protocol, security)
    account.deliver(MAIL, PLAIN)
    maildir = made(tmp_path / "mail")
    tls = "ssl" if security == "implicit" else "sslproto 'tls1.2+'"
    rc = tmp_path / "fetchmailrc"
    rc.write_text(
        f"poll localhost protocol {protocol} service {port} {'uidl' if protocol == 'pop3' else ''}\n"
        f"user '{account.user}' there with password '{account.password}'\n{tls} sslcertck\n"
        f"sslcertfile '{account.ca_file}' pass8bits fetchall keep mda \"sh -c 'cat > {maildir}/new/$$'\"\n",
        encoding="utf-8",
    )  # fmt: skip
    rc.chmod(0o600)

    def fetchmail(*options: str) -> None:
        program(
            "fetchmail", "-f", "fetchmailrc", "--pidfile", "pid", "--nodetach", "--nosyslog", "--invisible", *options
        )

    fetchmail()
    assert delivered(maildir) == EXPECTED
    assert len(account.mail()) == 2
    fetchmail("--nokeep")
    assert account.mail() == []


@pytest.mark.parametrize("protocol", ["POP3", "IMAP"])
def test_getmail(account: Account, program: Program, tmp_path: Path, protocol: str) -> None:
    """It has no STARTTLS and no STLS."""
    _, port = account.service(protocol.lower(), "implicit")
    account.deliver(MAIL, PLAIN)
    maildir = made(tmp_path / "mail")
    rc = tmp_path / "getmailrc"
    text = (
        f"[retriever]\ntype = Simple{protocol}SSLRetriever\nserver = localhost\nport = {port}\n"
        f"username = {account.user}\npassword = {account.password}\nca_certs = {account.ca_file}\n"
        f"[destination]\ntype = MDA_external\npath = {which('sh')}\n"
        f"arguments = ('-c', 'cat > {maildir}/new/$$')\nunixfrom = false\nallow_root_commands = true\n"
        "[options]\nread_all = false\ndelivered_to = false\nreceived = false\n"
    )  # fmt: skip
    rc.write_text(text + "delete = false\n", encoding="utf-8")

    def getmail() -> None:
        program("getmail", "--getmaildir", str(tmp_path), "--rcfile", str(rc))

    getmail()
    assert delivered(maildir) == EXPECTED
    getmail()
    assert len(delivered(maildir)) == 2, "what was read once came again"
    rc.write_text(text + "delete = true\n", encoding="utf-8")
    account.deliver(PLAIN.replace(b"two", b"three"))
    getmail()
    assert len(delivered(maildir)) == 3
    assert account.mail() == []


@SECURITY
@pytest.mark.parametrize("auth", ["scram-sha-256", "plain", "user", "apop"])
def test_mpop(account: Account, program: Program, tmp_path: Path, auth: str, security: str) -> None:
    _, port = account.service("pop3", security)
    account.deliver(MAIL, PLAIN)
    maildir = made(tmp_path / "mail")
    rc = tmp_path / "mpoprc"
    text = (
        f"account default\nhost localhost\nport {port}\nuser {account.user}\npassword {account.password}\nauth {auth}\n"
        f"tls on\ntls_starttls {'off' if security == 'implicit' else 'on'}\ntls_trust_file {account.ca_file}\n"
        f"delivery maildir {maildir}\nuidls_file {tmp_path}/uidls\nreceived_header off\n"
    )
    rc.write_text(text + "keep on\n", encoding="utf-8")
    rc.chmod(0o600)
    program("mpop", "-C", str(rc))
    assert delivered(maildir) == EXPECTED
    program("mpop", "-C", str(rc))
    assert len(delivered(maildir)) == 2, "what was read once came again"
    rc.write_text(text + "keep off\n", encoding="utf-8")
    program("mpop", "-C", str(rc))
    assert account.mail() == []
