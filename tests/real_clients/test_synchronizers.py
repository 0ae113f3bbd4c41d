"""Programs that keep a Maildir and an account alike, both ways: mbsync and offlineimap; two accounts: interimap.

mbsync has no IDLE, and none moves: they copy and delete. What they search for, they search for themselves.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from round_trip import MAIL, NAME, PLAIN, WIRE_NAME, Account, subject_of, which

Program = Callable[..., bytes]
FRESH, WIRE_FRESH = "Früher", "Fr&APw-her"
THIRD = PLAIN.replace(b"Second", b"Third").replace(b"trip-2", b"trip-3")
pytestmark = pytest.mark.parametrize("security", ["starttls", "implicit"])


def folder(root: Path, name: str) -> Path:
    for part in ("cur", "new", "tmp"):
        (root / name / part).mkdir(parents=True)
    return root / name


def files(root: Path) -> list[Path]:
    return sorted(file for part in ("cur", "new") for file in (root / part).iterdir())


def with_subject(root: Path, subject: str) -> Path:
    return next(file for file in files(root) if f"Subject: {subject}\n".encode() in file.read_bytes())


def crlf(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def both_ways(account: Account, near: Path, sync: Callable[[], None], name: str, fresh: str) -> None:
    """Mail, flags, deletions and mailboxes go from here to there and from there to here."""
    account.deliver(MAIL, PLAIN, flags="\\Flagged")
    with account.look() as client:
        client.create(f'"{WIRE_NAME}"')
        client.append(f'"{WIRE_NAME}"', "", "", THIRD)
    sync()
    assert [crlf(file.read_bytes()).endswith(MAIL.partition(b"\r\n\r\n")[2]) for file in files(near / "INBOX")].count(
        True
    ) == 1
    assert ["F" in file.name.partition(":2,")[2] for file in files(near / "INBOX")] == [True, True]
    assert THIRD.partition(b"\r\n\r\n")[2] in crlf(files(near / name)[0].read_bytes())
    # Here: one is read, one goes, one comes, and a mailbox is made.
    read = with_subject(near / "INBOX", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=")
    read.rename(near / "INBOX" / "cur" / (read.name.partition(":2,")[0] + ":2,FS"))
    with_subject(near / "INBOX", "Second").unlink()
    (near / "INBOX" / "new" / "1700000000.1.here").write_bytes(b"Subject: From here\n\nhere\n")
    (folder(near, fresh) / "new" / "1700000000.2.here").write_bytes(b"Subject: Fresh\n\nfresh\n")
    sync()
    assert sorted(map(subject_of, account.mail())) == ["=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "From here"]
    assert {"\\Seen", "\\Flagged"} <= account.flags()[0]
    assert [subject_of(message) for message in account.mail(f'"{WIRE_FRESH}"')] == ["Fresh"]
    # There: one is answered, one goes.
    with account.look() as client:
        client.store("1", "+FLAGS", "(\\Answered)")
        client.store("2", "+FLAGS", "(\\Deleted)")
        client.expunge()
    sync()
    [kept] = files(near / "INBOX")
    assert set("RS") <= set(kept.name.partition(":2,")[2])


def test_mbsync(account: Account, program: Program, tmp_path: Path, security: str) -> None:
    _, port = account.service("imap", security)
    near = tmp_path / "mail"
    near.mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "mbsyncrc").write_text(
        f"FSync no\n\nIMAPAccount there\nHost localhost\nPort {port}\nUser {account.user}\nPass {account.password}\n"
        f"SSLType {'IMAPS' if security == 'implicit' else 'STARTTLS'}\nCertificateFile {account.ca_file}\n\n"
        "IMAPStore there\nAccount there\n\n"
        f"MaildirStore here\nPath {near}/\nInbox {near}/INBOX\nSubFolders Verbatim\n\n"
        "Channel all\nFar :there:\nNear :here:\nPatterns *\nCreate Both\nExpunge Both\nRemove Both\n"
        f"SyncState {tmp_path}/state/\n",
        encoding="utf-8",
    )

    def sync() -> None:
        program("mbsync", "-c", "mbsyncrc", "-a")

    # It takes names as they are: a Maildir's must be in modified UTF-7.
    both_ways(account, near, sync, WIRE_NAME, WIRE_FRESH)
    # A mailbox goes once it is empty.
    for file in files(near / WIRE_FRESH):
        file.unlink()
    sync()
    shutil.rmtree(near / WIRE_FRESH)
    sync()
    assert account.mailboxes() == {"INBOX", WIRE_NAME}
    # Raw UTF-8 is no name for a mailbox; the others are synchronized all the same.
    folder(near, "Entwürfe")
    (near / "INBOX" / "new" / "1700000000.3.here").write_bytes(b"Subject: Later\n\nlater\n")
    done = subprocess.run(
        [which("mbsync"), "-c", "mbsyncrc", "-a"], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert b"NO [CANNOT]" in done.stderr
    assert "Later" in map(subject_of, account.mail())


TLS12 = "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMaxProtocol = TLSv1.2\n"
"""imaplib2 reads and writes one TLS connection in two threads. Under TLS 1.3 the first command behind STARTTLS meets
the session tickets there, and now and then it never leaves the client (docs/findings.md); TLS 1.2 sends none then."""


Environment = dict[str, str]


@pytest.fixture
def offlineimap(account: Account, tmp_path: Path, security: str) -> Callable[..., Environment]:
    """Writes its configuration, with the CA file that is given, to keep `tmp_path/mail`; returns its environment."""
    _, port = account.service("imap", security)
    tls = "ssl = yes\nstarttls = no" if security == "implicit" else "ssl = no\nstarttls = yes"
    environment = {"LC_ALL": "C.UTF-8"}
    if security == "starttls":
        (tmp_path / "openssl.cnf").write_text(TLS12, encoding="utf-8")
        environment["OPENSSL_CONF"] = str(tmp_path / "openssl.cnf")

    def configure(ca_file: str = account.ca_file, all_of_it: str = "", there: str = "") -> Environment:
        (tmp_path / "offlineimaprc").write_text(
            f"[general]\naccounts = all\nmetadata = {tmp_path}/state\nui = quiet\nfsync = no\n"
            f"[Account all]\nlocalrepository = here\nremoterepository = there\nutf8foldernames = yes\n{all_of_it}"
            f"[Repository here]\ntype = Maildir\nlocalfolders = {tmp_path}/mail\nsep = /\n"
            f"[Repository there]\ntype = IMAP\nremotehost = localhost\nremoteport = {port}\n"
            f"remoteuser = {account.user}\nremotepass = {account.password}\n"
            f"{tls}\nsslcacertfile = {ca_file}\nauth_mechanisms = PLAIN, LOGIN\n{there}",
            encoding="utf-8",
        )
        return environment

    return configure


def test_offlineimap(
    account: Account, offlineimap: Callable[..., Environment], program: Program, tmp_path: Path
) -> None:
    environment = offlineimap()

    def run(*options: str) -> None:
        program("offlineimap", "-c", "offlineimaprc", *options, env=environment)

    both_ways(account, tmp_path / "mail", lambda: run("-o"), NAME, FRESH)
    run("--delete-folder", FRESH)
    assert account.mailboxes() == {"INBOX", WIRE_NAME}


def test_offlineimap_idles(
    account: Account, offlineimap: Callable[..., Environment], running: Callable[..., Any], tmp_path: Path
) -> None:
    """Mail comes an hour before it would look of itself."""
    account.deliver(PLAIN)
    near = tmp_path / "mail" / "INBOX"
    environment = offlineimap(all_of_it="autorefresh = 60\n", there="idlefolders = ['INBOX']\n")
    with running("offlineimap", "-c", "offlineimaprc", env=environment) as wait:
        wait(account.idles)
        assert len(files(near)) == 1
        account.deliver(THIRD)
        wait(lambda: len(files(near)) == 2)


def test_offlineimap_trusts_anybody_behind_starttls(
    account: Account, offlineimap: Callable[..., Environment], program: Program, tmp_path: Path, security: str
) -> None:
    """A finding of docs/findings.md: the CA file is for implicit TLS alone."""
    account.deliver(PLAIN)
    trustme.CA().cert_pem.write_to_path(tmp_path / "strangers.pem")
    environment = offlineimap(str(tmp_path / "strangers.pem"))
    if security == "implicit":
        with pytest.raises(AssertionError, match=r"(?i)certificate"):
            program("offlineimap", "-c", "offlineimaprc", "-o", env=environment)
    else:
        program("offlineimap", "-c", "offlineimaprc", "-o", env=environment)
        assert len(files(tmp_path / "mail" / "INBOX")) == 1


def test_interimap(account: Account, other_account: Account, program: Program, tmp_path: Path, security: str) -> None:
    """It lives on QRESYNC, and takes COMPRESS and MULTIAPPEND where they are."""
    sections = "".join(
        f"[{name}]\ntype = {'imaps' if security == 'implicit' else 'imap'}\nSTARTTLS = YES\nhost = localhost\n"
        f"port = {each.service('imap', security)[1]}\nusername = {each.user}\npassword = {each.password}\n"
        f"SSL_CAfile = {each.ca_file}\n"
        for name, each in (("local", account), ("remote", other_account))
    )
    (tmp_path / "interimap").write_text(
        f"database = {tmp_path}/state.db\nlist-mailbox = *\n{sections}", encoding="utf-8"
    )

    def sync(*options: str) -> None:
        program("interimap", f"--config={tmp_path}/interimap", *options)

    account.deliver(MAIL, PLAIN, THIRD)
    with other_account.look() as client:
        client.create(f'"{WIRE_NAME}"')
        client.append(f'"{WIRE_NAME}"', "", "", THIRD)
    sync()
    assert other_account.mail() == [MAIL, PLAIN, THIRD]
    assert account.mail(f'"{WIRE_NAME}"') == [THIRD]
    with other_account.look() as client:
        client.store("1", "+FLAGS", "(\\Flagged work)")
        client.store("2", "+FLAGS", "(\\Deleted)")
        client.expunge()
    with account.look() as client:
        client.store("3", "+FLAGS", "(\\Answered)")
    account.deliver(PLAIN.replace(b"Second", b"Fourth"))
    sync()
    for each in (account, other_account):
        assert list(map(subject_of, each.mail())) == [subject_of(MAIL), "Third", "Fourth"]
        assert [flags - {"\\Recent"} for flags in each.flags()] == [{"\\Flagged", "work"}, {"\\Answered"}, set()]
    sync("--delete", WIRE_NAME)
    assert other_account.mailboxes() == account.mailboxes() == {"INBOX"}
