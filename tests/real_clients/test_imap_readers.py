"""Mail programs that read over IMAP: curl with its commands, mutt and neomutt driven by their key bindings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from round_trip import MAIL, PLAIN, WIRE_NAME, Account, subject_of

Program = Callable[..., bytes]
pytestmark = pytest.mark.parametrize("security", ["starttls", "implicit"])


def test_curl(account: Account, program: Program, tmp_path: Path, security: str) -> None:
    (tmp_path / "mail").write_bytes(MAIL)
    service, port = account.service("imap", security)
    tls = ["--ssl-reqd"] if security == "starttls" else []

    def curl(path: str, *options: str) -> bytes:
        return program(
            "curl", "-sS", "--cacert", account.ca_file, *tls, "--user", f"{account.user}:{account.password}",
            f"{service}://localhost:{port}/{path}", *options,
        )  # fmt: skip

    curl("", "-X", f'CREATE "{WIRE_NAME}"')
    assert WIRE_NAME.encode() in curl("")
    curl("INBOX", "--upload-file", "mail")
    assert curl("INBOX;UID=1") == MAIL
    assert curl("INBOX?SUBJECT%20absent").strip() == b"* SEARCH"
    assert curl("INBOX?FROM%20juergen").strip() == b"* SEARCH 1"
    curl("INBOX", "-X", "UID STORE 1 +FLAGS (\\Flagged work)")
    assert account.flags()[0] >= {"\\Flagged", "work", "\\Seen"}
    curl("INBOX", "-X", f'UID MOVE 1 "{WIRE_NAME}"')
    assert account.mail() == []
    curl("INBOX", "-X", f'DELETE "{WIRE_NAME}"')
    assert WIRE_NAME not in account.mailboxes()


@pytest.mark.parametrize("mutt", ["mutt", "neomutt"])
def test_mutt(account: Account, terminal: Callable[..., None], tmp_path: Path, mutt: str, security: str) -> None:
    """Flags, saves (moves) into a mailbox that it creates, copies, deletes and expunges."""
    _, port = account.service("imap", security)
    scheme = "imaps" if security == "implicit" else "imap"
    account.deliver(MAIL, PLAIN, PLAIN.replace(b"Second", b"Third"))
    base = f"{scheme}://localhost:{port}"
    (tmp_path / "muttrc").write_text(
        f"set imap_user='{account.user}'\nset imap_pass='{account.password}'\n"
        f"set folder='{base}/'\nset spoolfile='{base}/INBOX'\nset certificate_file='{account.ca_file}'\n"
        "set ssl_force_tls=yes\nset ssl_starttls=yes\nset charset=utf-8\nset header_cache=''\nset tmpdir='.'\n"
        "set confirmcreate=no\nset confirmappend=no\nset delete=yes\nset quit=yes\nset move=no\nset resolve=no\n"
        "set sort=mailbox-order\nset mail_check=0\nset wait_key=no\nset mbox_type=Maildir\nset sleep_time=0\n"
        "set timeout=1\n"
        # One message flagged, one kept by its content and filed, one deleted.
        "push '<first-entry><flag-message><copy-message>kept<enter><next-entry><save-message>=Entwürfe<enter>"
        "<last-entry><delete-message><sync-mailbox><create-mailbox>=Neu<enter><quit>'\n",
        encoding="utf-8",
    )  # fmt: skip
    terminal(mutt, "-n", "-F", "muttrc", env={"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"})
    assert [subject_of(message) for message in account.mail()] == [subject_of(MAIL)]
    assert "\\Flagged" in account.flags()[0]
    assert account.mail('"Entw&APw-rfe"') == [PLAIN]
    [kept] = [file.read_bytes() for file in (tmp_path / "kept").rglob("*") if file.is_file()]
    assert MAIL.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n") in kept
