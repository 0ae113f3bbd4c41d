"""Mail programs that read over IMAP: curl with its commands, imapfilter by its script, aerc, mutt and neomutt driven by
keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from round_trip import MAIL, NAME, PLAIN, WIRE_NAME, Account, body_of, subject_of

THIRD = PLAIN.replace(b"Second", b"Third").replace(b"two", b"third")
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
    curl(f"{quote(WIRE_NAME)}", "-X", "STORE 1 +FLAGS (\\Deleted)")
    curl(f"{quote(WIRE_NAME)}", "-X", "EXPUNGE")
    assert account.mail(f'"{WIRE_NAME}"') == []
    curl("INBOX", "-X", f'DELETE "{WIRE_NAME}"')
    assert WIRE_NAME not in account.mailboxes()


def test_imapfilter(account: Account, program: Program, tmp_path: Path, security: str) -> None:
    """It fetches what a script asks for, searches, flags, appends, and moves by copying."""
    account.deliver(MAIL, PLAIN, THIRD)
    _, port = account.service("imap", security)
    (tmp_path / "filter.lua").write_text(
        f"""
        options.create = true
        local there = IMAP {{server = 'localhost', port = {port}, username = '{account.user}',
                             password = '{account.password}', ssl = {"'auto'" if security == "implicit" else "nil"}}}
        local file = io.open('fetched', 'wb')
        for _, message in ipairs(there.INBOX:contain_from('juergen') * there.INBOX:is_unseen()) do
            local mailbox, uid = table.unpack(message)
            file:write(mailbox[uid]:fetch_message())
            assert(mailbox[uid]:fetch_structure()['2']['name'] == 'two.html')
        end
        file:close()
        assert(#there.INBOX:contain_subject('absent') == 0)
        there.INBOX:contain_subject('Second'):mark_flagged()
        there.INBOX:is_flagged():move_messages(there['Entwürfe & 日本'])
        there.INBOX:contain_subject('Third'):delete_messages()
        there['Entwürfe & 日本']:append_message('Subject: Fourth\\r\\n\\r\\nfour\\r\\n', {{'work'}})
        """,
        encoding="utf-8",
    )
    program("imapfilter", "-c", "filter.lua", "-t", account.ca_file)
    assert account.mail() == [(tmp_path / "fetched").read_bytes()] == [MAIL]
    assert [subject_of(message) for message in account.mail(f'"{WIRE_NAME}"')] == ["Second", "Fourth"]
    assert [flags - {"\\Recent"} for flags in account.flags(f'"{WIRE_NAME}"')] == [{"\\Flagged"}, {"work"}]
    assert account.always_under_tls()


def test_aerc(account: Account, terminal: Callable[..., None], tmp_path: Path, security: str) -> None:
    """It idles all the time; each key waits for what the one before has done, on the screen or on the server."""
    account.deliver(PLAIN)
    with account.look() as client:
        client.create('"Fr&APw-her"')
    _, port = account.service("imap", security)
    scheme = "imaps" if security == "implicit" else "imap"
    folder = tmp_path / ".config" / "aerc"
    folder.mkdir(parents=True)
    (folder / "accounts.conf").touch(0o600)
    (folder / "accounts.conf").write_text(
        f"[there]\nsource = {scheme}://{account.user.replace('@', '%40')}:{account.password}@localhost:{port}\n"
        f"from = <{account.user}>\ndefault = INBOX\n",
        encoding="utf-8",
    )

    def more_comes(_: bytes) -> bool:
        account.deliver(THIRD)
        return True

    steps: list[tuple[Callable[[bytes], object], str]] = [
        (lambda shown: b"Second" in shown, ":flag\r"),
        (lambda _: "\\Flagged" in account.flags()[0], ":copy Früher\r"),
        (lambda _: account.mail("Fr&APw-her") and account.idles(), ""),
        (more_comes, ""),
        (lambda shown: b"Third" in shown, ":delete\r"),
        (lambda _: len(account.mail()) == 1, f":mkdir {NAME}\r"),  # which changes to it, too
        (lambda _: WIRE_NAME in account.mailboxes(), ":quit\r"),
    ]

    def answer(shown: bytes) -> bytes:
        return steps.pop(0)[1].encode() if steps and steps[0][0](shown) else b""

    terminal("aerc", env={"LC_ALL": "C.UTF-8", "SSL_CERT_FILE": account.ca_file}, answer=answer)
    assert not steps
    assert account.mail("Fr&APw-her") == [PLAIN]
    assert account.always_under_tls()


@pytest.fixture(params=["mutt", "neomutt"])
def mutt(
    account: Account, terminal: Callable[..., None], tmp_path: Path, security: str, request: pytest.FixtureRequest
) -> Callable[..., None]:
    """Runs one of them with lines of a muttrc, keys to push, and answers to what it shows."""
    _, port = account.service("imap", security)
    base = f"{'imaps' if security == 'implicit' else 'imap'}://localhost:{port}"

    def run(*lines: str, keys: str = "", answer: Callable[[bytes], bytes] | None = None) -> None:
        (tmp_path / "muttrc").write_text(
            f"set imap_user='{account.user}'\nset imap_pass='{account.password}'\n"
            f"set folder='{base}/'\nset spoolfile='{base}/INBOX'\nset certificate_file='{account.ca_file}'\n"
            "set ssl_force_tls=yes\nset ssl_starttls=yes\nset charset=utf-8\nset header_cache=''\nset tmpdir='.'\n"
            "set confirmcreate=no\nset confirmappend=no\nset delete=yes\nset quit=yes\nset move=no\nset resolve=no\n"
            "set sort=mailbox-order\nset wait_key=no\nset mbox_type=Maildir\nset sleep_time=0\n"
            + "".join(f"{line}\n" for line in lines) + f"push '{keys}'\n",
            encoding="utf-8",
        )  # fmt: skip
        environment = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        terminal(request.param, "-n", "-F", "muttrc", env=environment, answer=answer)

    return run


QUICK = "set mail_check=0", "set timeout=1"


def test_mutt(account: Account, mutt: Callable[..., None], tmp_path: Path) -> None:
    """It flags, moves by copying into a mailbox that it creates, appends, searches, deletes and expunges."""
    account.deliver(MAIL, PLAIN, THIRD)
    # One message flagged, one kept by its content and filed, one found by its content and deleted.
    mutt(
        *QUICK,
        keys="<first-entry><flag-message><copy-message>kept<enter><next-entry><save-message>=Entwürfe<enter>"
        "<last-entry><search>=b third<enter><delete-message><sync-mailbox>"
        "<change-folder>kept<enter><copy-message>=Entwürfe<enter><quit>",
    )
    assert account.mail() == [MAIL]
    assert "\\Flagged" in account.flags()[0]
    filed, appended = account.mail('"Entw&APw-rfe"')
    assert filed == PLAIN
    assert body_of(appended) == body_of(MAIL)
    [kept] = [file.read_bytes() for file in (tmp_path / "kept").rglob("*") if file.is_file()]
    assert MAIL.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n") in kept


def test_mutt_lists_creates_and_deletes_mailboxes(
    account: Account, mutt: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    # neomutt shows the mailboxes that its configuration names first, and there are none.
    browse = "<toggle-mailboxes>" if "neomutt" in request.node.name else ""
    with account.look() as client:
        client.create('"Fr&APw-her"')
    mutt(
        *QUICK,
        keys=f"<change-folder>?{browse}<create-mailbox><kill-line>Entwürfe<enter><search>Früher<enter><delete-mailbox>y"
        "<exit><quit>",
    )
    assert account.mailboxes() == {"INBOX", "Entw&APw-rfe"}


def test_mutt_idles(account: Account, mutt: Callable[..., None]) -> None:
    """It looks at the connection every second, and asks for news only where it does not idle."""
    account.deliver(PLAIN)
    delivered = False

    def answer(shown: bytes) -> bytes:
        nonlocal delivered
        if not delivered and account.idles():
            account.deliver(THIRD)
            delivered = True
        return b"q" if b"Third" in shown else b""

    mutt("set imap_idle=yes", "set mail_check=600", "set timeout=1", "set imap_keepalive=600", answer=answer)
    assert delivered
