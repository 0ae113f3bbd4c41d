"""Client libraries that are not ours, over sockets."""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from imapclient import IMAPClient

from fakeservers import FakeMailHost

MAIL = (
    b'From: "Joe, Jr." <joe@example.com>\r\nTo: alice@example.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n'
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <1@example.com>\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b--\r\n"
)


@pytest.fixture
def host() -> Iterator[FakeMailHost]:
    with FakeMailHost("generic", services=["imap", "imaps"]) as host:
        yield host
        assert host.errors == []


def context(host: FakeMailHost) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=host.endpoints()["ca_file"])


def connected(host: FakeMailHost, security: str) -> imaplib.IMAP4:
    ports = host.endpoints()["ports"]
    if security == "implicit":
        return imaplib.IMAP4_SSL("127.0.0.1", ports["imaps"], ssl_context=context(host))
    client = imaplib.IMAP4("127.0.0.1", ports["imap"])
    if security == "starttls":
        client.starttls(context(host))
    return client


@pytest.mark.parametrize("security", ["clear", "starttls", "implicit"])
def test_imaplib(host: FakeMailHost, security: str) -> None:
    with connected(host, security) as client:
        client.login("alice@example.test", "secret")
        assert client.create("Entw&APw-rfe")[0] == "OK"
        assert b'(\\HasNoChildren) "/" Entw&APw-rfe' in client.list()[1]
        assert client.select("INBOX") == ("OK", [b"0"])
        assert client.append("INBOX", "(\\Flagged)", imaplib.Time2Internaldate(760_686_745), MAIL)[0] == "OK"
        assert client.fetch("1", "(FLAGS)")[1] == [b"1 (FLAGS (\\Flagged \\Recent))"]
        [whole, _] = client.fetch("1", "(BODY.PEEK[])")[1]
        assert isinstance(whole, tuple)
        assert whole[1] == MAIL
        assert client.search(None, "FLAGGED")[1] == [b"1"]
        assert client.uid("COPY", "1", "Entw&APw-rfe")[0] == "OK"
        assert client.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
        assert client.expunge()[1] == [b"1"]
        assert client.delete("Entw&APw-rfe")[0] == "OK"


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN"])
def test_imaplib_authenticate(host: FakeMailHost, mechanism: str) -> None:
    with connected(host, "implicit") as client:
        if mechanism == "CRAM-MD5":
            client.login_cram_md5("alice@example.test", "secret")
        elif mechanism == "LOGIN":
            answers = {b"Username:": b"alice@example.test", b"Password:": b"secret"}
            client.authenticate("LOGIN", answers.get)
        else:
            client.authenticate("PLAIN", lambda challenge: b"\0alice@example.test\0secret")
        assert client.state == "AUTH"
        with pytest.raises(imaplib.IMAP4.error, match="illegal in state AUTH"):
            client.expunge()


def login(host: FakeMailHost) -> Any:
    client = IMAPClient("127.0.0.1", host.endpoints()["ports"]["imaps"], ssl_context=context(host))
    client.login("alice@example.test", "secret")
    return client


def test_imapclient(host: FakeMailHost) -> None:
    with login(host) as client:
        client.create_folder("Entwürfe/Neu")
        assert "Entwürfe/Neu" in [name for _, _, name in client.list_folders()]
        client.append("INBOX", MAIL, flags=["\\Seen", "work"])
        assert client.select_folder("INBOX")[b"EXISTS"] == 1
        data = client.fetch([1], ["ENVELOPE", "BODYSTRUCTURE", "BODY[HEADER.FIELDS (SUBJECT)]", "FLAGS", "BODY[2]"])[1]
        assert data[b"ENVELOPE"].from_[0].name == b"Joe, Jr."
        assert data[b"BODYSTRUCTURE"].is_multipart
        assert data[b"BODY[HEADER.FIELDS (SUBJECT)]"] == b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n"
        assert data[b"BODY[2]"] == b"two"
        assert b"work" in data[b"FLAGS"]
        assert client.search(["SUBJECT", "Grüße"], charset="UTF-8") == [1]
        client.move([1], "Entwürfe/Neu")
        assert client.search() == []
        assert client.folder_status("Entwürfe/Neu", ["MESSAGES"]) == {b"MESSAGES": 1}


def test_imapclient_uses_extensions(host: FakeMailHost) -> None:
    with login(host) as client:
        assert client.id_({"name": "imapclient"}) is not None
        assert client.namespace().personal == (("", "/"),)
        assert client.enable("CONDSTORE") == [b"CONDSTORE"]
        assert client.get_quota_root("INBOX")[0].quota_roots == [""]
        client.create_folder("a/b")
        assert b"\\HasChildren" in next(flags for flags, _, name in client.list_folders() if name == "a")
        for subject in (b"two", b"one", b"Re: two"):
            client.append("INBOX", b"Subject: %b\r\n\r\n" % subject)
        client.select_folder("INBOX")
        assert client.sort(["SUBJECT"]) == [2, 1, 3]
        assert client.thread("ORDEREDSUBJECT") == ((1, 3), (2,)) or client.thread("ORDEREDSUBJECT") == ((1, (3,)), (2,))
        assert client.thread("REFERENCES")
        client.unselect_folder()
        with pytest.raises(IMAPClient.Error):
            client.search()


def test_imaplib_reads_rights_and_speaks_utf8(host: FakeMailHost) -> None:
    with connected(host, "implicit") as client:
        client.login("alice@example.test", "secret")
        assert client.myrights("INBOX")[1] == [b"INBOX lrswipkteacd"]
        assert client.getacl("INBOX")[1] == [b"INBOX alice@example.test lrswipkteacd"]
        assert client.enable("UTF8=ACCEPT")[0] == "OK"
        assert client.create('"Entwürfe"')[0] == "OK"
        assert client.select('"Entwürfe"') == ("OK", [b"0"])
        assert '(\\HasNoChildren) "/" "Entwürfe"'.encode() in client.list()[1]


def test_one_client_idles_while_another_appends(host: FakeMailHost) -> None:
    with login(host) as idler, login(host) as other:
        idler.select_folder("INBOX")
        idler.idle()
        other.append("INBOX", MAIL)
        assert idler.idle_check(timeout=10) == [(1, b"EXISTS"), (1, b"RECENT")]
        host.call(lambda: host.store.deliver(MAIL, mail_from=None, rcpt_to=("alice@example.test",)))
        assert idler.idle_check(timeout=10)[0] == (2, b"EXISTS")
        other.select_folder("INBOX")
        other.delete_messages([1])
        assert idler.idle_check(timeout=10)[0][:2] == (1, b"FETCH")
        other.expunge()
        assert idler.idle_check(timeout=10) == [(1, b"EXPUNGE")]
        idler.idle_done()
