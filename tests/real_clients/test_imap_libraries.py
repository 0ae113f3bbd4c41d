"""Python's IMAP libraries: a whole round trip under STARTTLS and implicit TLS."""

from __future__ import annotations

import asyncio
import imaplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from imapclient import IMAPClient
from round_trip import MAIL, NAME, PLAIN, WIRE_NAME, Account

pytestmark = pytest.mark.parametrize("security", ["starttls", "implicit"])


def test_imaplib(account: Account, security: str) -> None:
    _, port = account.service("imap", security)
    if security == "implicit":
        client: imaplib.IMAP4 = imaplib.IMAP4_SSL("localhost", port, ssl_context=account.context, timeout=20)
    else:
        client = imaplib.IMAP4("localhost", port, timeout=20)
        client.starttls(account.context)
    with client:
        client.login(account.user, account.password)
        name = f'"{WIRE_NAME}"'
        assert client.create(name)[0] == "OK"
        assert [line for line in client.list()[1] if WIRE_NAME.encode() in line]  # type: ignore[operator]
        assert client.append("INBOX", "(\\Flagged)", imaplib.Time2Internaldate(760_686_745), MAIL)[0] == "OK"
        assert client.select("INBOX") == ("OK", [b"1"])
        whole = client.fetch("1", "(BODY.PEEK[])")[1][0]
        assert isinstance(whole, tuple)
        assert whole[1] == MAIL
        assert client.search(None, "FLAGGED", "FROM", "juergen")[1] == [b"1"]
        assert client.store("1", "+FLAGS", "(\\Seen work)")[0] == "OK"
        assert set(imaplib.ParseFlags(client.fetch("1", "(FLAGS)")[1][0])) >= {b"\\Flagged", b"\\Seen", b"work"}  # type: ignore[arg-type]
        idle_with_imaplib(client, lambda: account.deliver(PLAIN), b"* 2 EXISTS\r\n")
        assert client.uid("MOVE", "1", name)[0] == "OK"
        assert client.search(None, "ALL")[1] == [b"1"]
        assert client.select(name) == ("OK", [b"1"])
        assert client.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
        assert client.expunge()[1] == [b"1"]
        assert client.close()[0] == "OK"
        assert client.delete(name)[0] == "OK"
    assert account.mail() == [PLAIN]
    assert WIRE_NAME not in account.mailboxes()


def idle_with_imaplib(client: imaplib.IMAP4, happens: Callable[[], None], news: bytes) -> None:
    """imaplib learns IDLE in Python 3.14; before, it is sent past it."""
    client.send(b"idle1 IDLE\r\n")
    assert client.readline().startswith(b"+ ")
    happens()
    assert client.readline() == news
    client.send(b"DONE\r\n")
    while (line := client.readline()).startswith(b"* "):
        pass
    assert line.startswith(b"idle1 OK")


@contextmanager
def imapclient(account: Account, security: str) -> Iterator[Any]:
    _, port = account.service("imap", security)
    client = IMAPClient(
        "localhost", port, ssl=security == "implicit", ssl_context=account.context if security == "implicit" else None
    )
    with client:
        if security == "starttls":
            client.starttls(account.context)
        client.login(account.user, account.password)
        yield client


def test_imapclient(account: Account, security: str) -> None:
    with imapclient(account, security) as client, imapclient(account, security) as idler:
        client.create_folder(NAME)
        assert NAME in [name for _, _, name in client.list_folders()]
        client.append("INBOX", MAIL, flags=["\\Flagged"])
        client.select_folder("INBOX")
        assert client.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"] == MAIL
        assert client.search(["SUBJECT", "Grüße"], charset="UTF-8") == [1]
        client.add_flags([1], ["\\Seen", "work"])
        assert set(client.get_flags([1])[1]) >= {b"\\Flagged", b"\\Seen", b"work"}
        idler.select_folder("INBOX")
        idler.idle()
        client.move([1], NAME)
        assert idler.idle_check(timeout=20) == [(1, b"EXPUNGE")]
        idler.idle_done()
        assert client.search() == []
        client.select_folder(NAME)
        client.delete_messages([1])
        client.expunge()
        assert client.search() == []
        client.unselect_folder()
        client.delete_folder(NAME)
        assert NAME not in [name for _, _, name in client.list_folders()]


def test_imap_tools(account: Account, security: str) -> None:
    imap_tools = pytest.importorskip("imap_tools")
    _, port = account.service("imap", security)
    kind = imap_tools.MailBox if security == "implicit" else imap_tools.MailBoxStartTls
    with kind("localhost", port, timeout=20, ssl_context=account.context).login(account.user, account.password) as box:
        box.folder.create(NAME)
        assert NAME in [each.name for each in box.folder.list()]
        box.append(MAIL, "INBOX", flag_set=[imap_tools.MailMessageFlags.FLAGGED])
        found = list(box.fetch(imap_tools.AND(subject="Grüße"), charset="UTF-8", mark_seen=False))
        assert [message.subject for message in found] == ["Grüße"]
        assert found[0].obj.as_bytes().replace(b"\r\n", b"\n") == MAIL.replace(b"\r\n", b"\n")
        assert found[0].attachments[0].filename == "two.html"
        uid = found[0].uid
        box.flag(uid, ["\\Seen", "work"], True)
        assert set(next(box.fetch(mark_seen=False)).flags) >= {"\\Flagged", "\\Seen", "work"}
        with box.idle as idle:
            account.deliver(PLAIN)
            assert b"* 2 EXISTS" in idle.poll(timeout=20)
        box.move(uid, NAME)
        assert [message.subject for message in box.fetch(mark_seen=False)] == ["Second"]
        box.folder.set(NAME)
        assert account.mail(f'"{WIRE_NAME}"') == [MAIL]
        box.delete([message.uid for message in box.fetch(mark_seen=False)])
        assert box.uids() == []
        box.folder.set("INBOX")
        box.folder.delete(NAME)
        assert not box.folder.exists(NAME)


def test_aioimaplib(account: Account, security: str) -> None:
    aioimaplib: Any = pytest.importorskip("aioimaplib")
    _, port = account.service("imap", security)

    async def round_trip() -> None:
        if security == "implicit":
            client = aioimaplib.IMAP4_SSL("localhost", port, ssl_context=account.context, timeout=20)
        else:
            client = aioimaplib.IMAP4("localhost", port, timeout=20)
        await client.wait_hello_from_server()
        if security == "starttls":
            await starttls(client, account.context)
        assert (await client.login(account.user, account.password)).result == "OK"
        name = f'"{WIRE_NAME}"'
        assert (await client.create(name)).result == "OK"
        assert any(WIRE_NAME.encode() in line for line in (await client.list('""', "*")).lines)
        assert (await client.append(MAIL, "INBOX", flags="\\Flagged")).result == "OK"
        assert (await client.select("INBOX")).result == "OK"
        assert MAIL in (await client.fetch("1", "(BODY.PEEK[])")).lines
        assert (await client.search("FLAGGED", charset=None)).lines[0] == b"1"
        assert (await client.store("1", "+FLAGS", "(\\Seen work)")).result == "OK"
        assert b"work" in (await client.fetch("1", "(FLAGS)")).lines[0]
        idle = await client.idle_start(timeout=20)
        await asyncio.to_thread(account.deliver, PLAIN)
        assert b"2 EXISTS" in await client.wait_server_push()
        client.idle_done()
        await asyncio.wait_for(idle, 20)
        assert (await client.move("1", name)).result == "OK"
        assert (await client.select(name)).result == "OK"
        assert (await client.store("1", "+FLAGS", "(\\Deleted)")).result == "OK"
        assert (await client.expunge()).result == "OK"
        assert (await client.search("ALL", charset=None)).lines[0] == b""
        assert (await client.close()).result == "OK"
        assert (await client.delete(name)).result == "OK"
        assert (await client.logout()).result == "OK"

    asyncio.run(round_trip())
    assert account.mail() == [PLAIN]


async def starttls(client: Any, context: ssl.SSLContext) -> None:
    """aioimaplib knows the command and leaves the handshake to its user."""
    aioimaplib: Any = pytest.importorskip("aioimaplib")
    protocol = client.protocol
    answer = await protocol.execute(aioimaplib.Command("STARTTLS", protocol.new_tag(), timeout=20))
    assert answer.result == "OK"
    protocol.transport = await asyncio.get_running_loop().start_tls(
        protocol.transport, protocol, context, server_hostname="localhost"
    )
