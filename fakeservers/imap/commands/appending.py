"""APPEND (RFC 3501 6.3.11) of several messages (MULTIAPPEND: RFC 3502), binary ones (BINARY: RFC 3516), ones in UTF-8
(RFC 6855) and ones put together on the server (CATENATE: RFC 4469)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakeservers.imap.binary import encoded
from fakeservers.imap.catenate import resolve
from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.commands.mailboxes import account_of
from fakeservers.imap.commands.quota import check_room
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.sequence import compact
from fakeservers.mailstore import Mailbox, Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Append", "known_flags", "target"]

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def target(session: ImapSession, name: str) -> Mailbox:
    """The mailbox that messages shall go to. Raises RefusedError with TRYCREATE."""
    mailbox = account_of(session).mailbox(name)
    if mailbox is None or "\\Noselect" in mailbox.attributes:
        raise RefusedError("target.missing", mailbox=name)
    return mailbox


def known_flags(mailbox: Mailbox, flags: list[str]) -> frozenset[str]:
    """Flags as the mailbox spells them, without \\Recent, which no client can set."""
    return frozenset(flag if flag[0] == "\\" else mailbox.flag_name(flag) for flag in flags if flag != "\\Recent")


@dataclass(slots=True)
class _Upload:
    """One message of an APPEND."""

    flags: list[str]
    date: tuple[float, int] | None
    content: bytes | list[bytes | str]
    """Its octets, or what they are put together of: texts and URLs."""


class Append(Command):
    """APPEND SP mailbox 1*([SP flag-list] [SP date-time] SP append-data)"""

    name = "APPEND"
    states = LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        plain = cursor.atom_and_literal()
        if plain is not None:
            if b"\0" in plain[1]:
                cursor.fail("a message without NUL")
            self.mailbox = plain[0]
            self.uploads = [_Upload([], None, plain[1])]
            return
        cursor.space()
        self.mailbox = cursor.mailbox()
        cursor.space()
        self.uploads = [self._upload(cursor, session)]
        while cursor.more():
            session.require(cursor, "MULTIAPPEND", "one message")
            self.uploads.append(self._upload(cursor, session))

    def _upload(self, cursor: Cursor, session: ImapSession) -> _Upload:
        upload = _Upload([], None, b"")
        if cursor.peek(b"("):
            upload.flags = cursor.flags()
            cursor.space()
        if cursor.peek(b'"'):
            upload.date = cursor.date_time()
            cursor.space()
        upload.content = self._data(cursor, session)
        return upload

    def _data(self, cursor: Cursor, session: ImapSession) -> bytes | list[bytes | str]:
        """literal / literal8 / "UTF8" SP "(" literal8 ")" / "CATENATE" SP "(" parts ")" """
        if cursor.at_word(b"CATENATE ("):
            session.require(cursor, "CATENATE", "append data")
            cursor.at += len("CATENATE ")
            parts = cursor.parenthesized(lambda: self._part(cursor))
            return parts or cursor.fail("TEXT or URL")
        wrapped = session.utf8 and cursor.at_word(b"UTF8 (")
        if wrapped:
            cursor.at += len("UTF8 (")
        eight = cursor.peek(b"~")
        content = cursor.literal()
        if wrapped:
            cursor.expect(b")")
        if eight and b"\0" in content:
            if wrapped or not session.offers("BINARY"):
                cursor.fail("a message without NUL")
            return encoded(content)
        return content

    def _part(self, cursor: Cursor) -> bytes | str:
        """cat-part = "URL" SP astring / "TEXT" SP literal"""
        word = cursor.word()
        cursor.space()
        if word == "TEXT":
            return cursor.literal()
        if word != "URL":
            cursor.fail("URL or TEXT")
        return cursor.astring().decode("utf-8", "replace")

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox, "size": sum(len(each) for upload in self.uploads for each in _texts(upload))}

    def run(self, session: ImapSession) -> Answer:
        """All messages or none (RFC 3502 3)."""
        mailbox = target(session, self.mailbox)
        contents = [self._whole(session, upload) for upload in self.uploads]
        check_room(session, sum(map(len, contents)))
        if session.manners.append_needs_crlf and any(map(_BARE.search, contents)):
            raise RefusedError("append.malformed")
        now = session.site.clock.now()
        added = []
        for upload, content in zip(self.uploads, contents, strict=True):
            message = Message(content, received=now, plain=content is upload.content)
            if upload.flags:
                message.flags = known_flags(mailbox, upload.flags)
            if upload.date is not None:
                (message.received, message.zone), message.saved = upload.date, now
            added.append(mailbox.add(message).uid)
        code = ""
        if session.offers("UIDPLUS"):
            code = f"[APPENDUID {mailbox.uidvalidity} {compact(added).decode()}] "
        return Answer("append.ok", {"code": code, "mailbox": self.mailbox})

    def _whole(self, session: ImapSession, upload: _Upload) -> bytes:
        if isinstance(upload.content, bytes):
            return upload.content
        parts = [resolve(session, part) if isinstance(part, str) else part for part in upload.content]
        if sum(map(len, parts)) > session.profile.literal_limit:
            raise RefusedError("append.too-big")
        return b"".join(parts)


def _texts(upload: _Upload) -> list[bytes]:
    if isinstance(upload.content, bytes):
        return [upload.content]
    return [part for part in upload.content if isinstance(part, bytes)]
