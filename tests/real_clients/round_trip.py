"""What the round trips share: mail that is hard to carry, accounts seen from behind, and where programs are."""

from __future__ import annotations

import contextlib
import email
import imaplib
import os
import poplib
import shutil
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakeservers.transcript import Transcript

NAME = "Entwürfe & 日本"
WIRE_NAME = "Entw&APw-rfe &- &ZeVnLA-"
MAIL = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <juergen@example.com>\r\nTo: alice@example.test\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\n"
    b"Message-ID: <round-trip-1@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b".dot\r\n..\r\n{12}\r\nS\xc3\xbc\xc3\x9fes \xe2\x82\xac\r\n) OK \"quoted\" \\ done\r\n"
    b"--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=two.html\r\n\r\n"
    b"<p>" + b"x" * 900 + b"</p>\r\n--b--\r\n"
)  # fmt: skip
PLAIN = (
    b"From: bob@example.test\r\nTo: alice@example.test\r\nSubject: Second\r\n"
    b"Message-ID: <round-trip-2@example.com>\r\nDate: Tue, 8 Feb 1994 21:52:25 -0800\r\n\r\n.\r\n.two\r\n"
)


def body_of(message: bytes) -> bytes:
    """What follows the header, line ends as CRLF: programs that deliver put fields in front and write LF."""
    message = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return message.partition(b"\r\n\r\n")[2]


def subject_of(message: bytes) -> str:
    return str(email.message_from_bytes(message)["Subject"])


def which(name: str) -> str:
    """A program's path, beside this Python first; the test is skipped where it is not installed."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    path = beside or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def node_modules(library: str) -> str:
    """Where node finds a library; the test is skipped where it is not installed."""
    places = [*os.environ.get("NODE_PATH", "").split(os.pathsep), str(Path.home() / ".cache/mailrig-node/node_modules")]
    for place in places:
        if place and (Path(place) / library).is_dir():
            return place
    pytest.skip(f"{library} is not installed")


@dataclass(frozen=True)
class Account:
    """A user of the server, with what a client needs to know, and looks at the mail from behind the client."""

    user: str
    ports: dict[str, int]
    ca_file: str
    transcript: Transcript
    password: str = "secret"

    def service(self, protocol: str, security: str) -> tuple[str, int]:
        """The listener's name and port for `starttls` or `implicit`."""
        name = f"{protocol}s" if security == "implicit" else protocol
        return name, self.ports[name]

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def idles(self) -> bool:
        """A client has sent IDLE in a session of this user, and so hears of what comes from here on. Of what came just
        before it may never hear: SELECT has told it, and not every client looks."""
        entries = list(self.transcript)
        ours = {each.connection for each in entries if each.text.startswith(f"logged in as {self.user} ")}
        return any(each.text.endswith(" IDLE") for each in entries if each.connection in ours and each.direction == "C")

    def always_under_tls(self) -> bool:
        logins = [each for each in self.transcript if each.text.startswith(f"logged in as {self.user} ")]
        return all(each.tls for each in logins)

    @contextlib.contextmanager
    def look(self, mailbox: str = "INBOX") -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self.context, timeout=20) as client:
            client.login(self.user, self.password)
            client.select(mailbox)
            yield client

    def deliver(self, *messages: bytes, mailbox: str = "INBOX", flags: str = "") -> None:
        with self.look() as client:
            for message in messages:
                kind, answer = client.append(mailbox, flags, "", message)
                assert kind == "OK", answer

    def mail(self, mailbox: str = "INBOX") -> list[bytes]:
        """Every message in a mailbox (its name as it goes over the wire), octet for octet."""
        with self.look(mailbox) as client:
            parts = client.fetch("1:*", "(BODY.PEEK[])")[1]
            return [part[1] for part in parts if isinstance(part, tuple)]

    def flags(self, mailbox: str = "INBOX") -> list[set[str]]:
        with self.look(mailbox) as client:
            found = client.fetch("1:*", "(FLAGS)")[1]
            return [{flag.decode() for flag in imaplib.ParseFlags(line)} for line in found if isinstance(line, bytes)]

    def mailboxes(self) -> set[str]:
        with self.look() as client:
            return {line.decode().split(' "/" ')[1].strip('"') for line in client.list()[1] if isinstance(line, bytes)}

    def maildrop(self) -> list[bytes]:
        client = poplib.POP3_SSL("localhost", self.ports["pop3s"], context=self.context, timeout=20)
        client.user(self.user)
        client.pass_(self.password)
        lines = [client.retr(number)[1] for number in range(1, client.stat()[0] + 1)]
        client.quit()
        return [b"".join(line + b"\r\n" for line in message) for message in lines]
