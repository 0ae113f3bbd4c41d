"""Programs that collect mail over POP3 (some over IMAP too): list, unique-ids, retrieve and compare, delete."""

from __future__ import annotations

import contextlib
import mailbox
import poplib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from round_trip import MAIL, PLAIN, Account, body_of, which

Program = Callable[..., bytes]
Running = Callable[..., Any]
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


FETCHMAIL = "-f", "fetchmailrc", "--pidfile", "pid", "--nodetach", "--nosyslog", "--invisible"


def fetchmailrc(account: Account, folder: Path, protocol: str, security: str, *words: str) -> Path:
    """Writes fetchmail's configuration; returns the Maildir that it fills."""
    _, port = account.service(protocol, security)
    maildir = made(folder / "mail")
    tls = "ssl" if security == "implicit" else "sslproto 'tls1.2+'"
    rc = folder / "fetchmailrc"
    rc.touch(0o600)
    rc.write_text(
        f"poll localhost protocol {protocol} service {port} {'uidl' if protocol == 'pop3' else ''}\n"
        f"user '{account.user}' there with password '{account.password}'\n{tls} sslcertck {' '.join(words)}\n"
        f"sslcertfile '{account.ca_file}' pass8bits keep mda \"sh -c 'cat > {maildir}/new/$$'\"\n",
        encoding="utf-8",
    )
    return maildir


@SECURITY
@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_fetchmail(account: Account, program: Program, tmp_path: Path, protocol: str, security: str) -> None:
    account.deliver(MAIL, PLAIN)
    maildir = fetchmailrc(account, tmp_path, protocol, security, "fetchall")
    program("fetchmail", *FETCHMAIL)
    assert delivered(maildir) == EXPECTED
    assert len(account.mail()) == 2
    program("fetchmail", *FETCHMAIL, "--nokeep")
    assert account.mail() == []


@SECURITY
def test_fetchmail_idles(account: Account, running: Running, tmp_path: Path, security: str) -> None:
    """Mail comes an hour before it would look of itself."""
    account.deliver(MAIL)
    maildir = fetchmailrc(account, tmp_path, "imap", security, "idle")
    with running("fetchmail", *FETCHMAIL, "--daemon", "3600") as wait:
        wait(account.idles)
        assert len(delivered(maildir)) == 1
        account.deliver(PLAIN)
        wait(lambda: delivered(maildir) == EXPECTED)


GETMAIL = "--getmaildir", ".", "--rcfile", "getmailrc"


def getmailrc(account: Account, folder: Path, protocol: str, *, delete: bool = False) -> None:
    """getmail6 has neither STARTTLS nor STLS."""
    _, port = account.service(protocol.lower(), "implicit")
    (folder / "getmailrc").write_text(
        f"[retriever]\ntype = Simple{protocol}SSLRetriever\nserver = localhost\nport = {port}\n"
        f"username = {account.user}\npassword = {account.password}\nca_certs = {account.ca_file}\n"
        f"[destination]\ntype = MDA_external\npath = {which('sh')}\n"
        f"arguments = ('-c', 'cat > {folder}/mail/new/$$')\nunixfrom = false\nallow_root_commands = true\n"
        f"[options]\nread_all = false\ndelivered_to = false\nreceived = false\ndelete = {delete}\n",
        encoding="utf-8",
    )


@pytest.mark.parametrize("protocol", ["POP3", "IMAP"])
def test_getmail(account: Account, program: Program, tmp_path: Path, protocol: str) -> None:
    account.deliver(MAIL, PLAIN)
    maildir = made(tmp_path / "mail")
    getmailrc(account, tmp_path, protocol)
    program("getmail", *GETMAIL)
    assert delivered(maildir) == EXPECTED
    program("getmail", *GETMAIL)
    assert len(delivered(maildir)) == 2, "what was read once came again"
    getmailrc(account, tmp_path, protocol, delete=True)
    account.deliver(PLAIN.replace(b"two", b"three"))
    program("getmail", *GETMAIL)
    assert len(delivered(maildir)) == 3
    assert account.mail() == []


def test_getmail_idles(account: Account, running: Running, tmp_path: Path) -> None:
    account.deliver(MAIL)
    maildir = made(tmp_path / "mail")
    getmailrc(account, tmp_path, "IMAP")
    with running("getmail", *GETMAIL, "--idle=INBOX") as wait:
        wait(account.idles)
        assert len(delivered(maildir)) == 1
        account.deliver(PLAIN)
        wait(lambda: delivered(maildir) == EXPECTED)


@SECURITY
@pytest.mark.parametrize("auth", ["scram-sha-256", "scram-sha-1", "cram-md5", "plain", "login", "user", "apop"])
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


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
@SECURITY
def test_movemail(account: Account, program: Program, tmp_path: Path, protocol: str, security: str) -> None:
    """That of mailutils; it looks at no certificate, and at the dates in the envelopes."""
    service, port = account.service(protocol, security)
    account.deliver(MAIL, PLAIN)
    source = (
        f"{service.replace('pop3', 'pop')}://{account.user.replace('@', '%40')}:{account.password}@localhost:{port}"
    )
    program("movemail.mailutils", "--no-config", source, str(tmp_path / "mbox"))
    with contextlib.closing(mailbox.mbox(tmp_path / "mbox")) as moved:
        assert sorted(body_of(bytes(message)) for message in moved) == EXPECTED
    assert account.mail() == []
    assert account.always_under_tls()
