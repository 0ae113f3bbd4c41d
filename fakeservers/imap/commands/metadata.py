"""Annotations of mailboxes and of the server (METADATA: RFC 5464)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.commands.listing import wire_name
from fakeservers.imap.commands.mailboxes import account_of
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.spelling import astring, string

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["GetMetadata", "SetMetadata"]

_LARGEST = 65536
_MOST = 100


def _annotations(session: ImapSession, mailbox: str) -> dict[str, bytes]:
    """Those of a mailbox; the empty name is the server's. Raises RefusedError."""
    account = account_of(session)
    if not mailbox:
        return account.annotations
    found = account.mailbox(mailbox)
    if found is None:
        raise RefusedError("mailbox.missing", mailbox=mailbox)
    return found.annotations


def _entry(cursor: Cursor) -> str:
    """entry = astring: slashes between its parts, /private or /shared before them; in any case (RFC 5464 3.1)"""
    name = cursor.astring().decode("utf-8", "replace").lower()
    bad = "//" in name or name.endswith("/") or any(each in "*%" or not " " < each < "\x7f" for each in name)
    if bad or not f"{name}/".startswith(("/private/", "/shared/")):
        raise RefusedError("metadata.entry")
    return name


class _OnMailbox(Command):
    states = LOGGED_IN
    capability = "METADATA|METADATA-SERVER"

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox}

    mailbox: str


class GetMetadata(_OnMailbox):
    """GETMETADATA [SP getmetadata-options] SP mailbox SP entries (RFC 5464 4.2)"""

    name = "GETMETADATA"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        self.largest: int | None = None
        self.depth = "0"
        cursor.space()
        options = cursor.peek(b"(")
        if options:
            cursor.parenthesized(lambda: self._option(cursor))
            cursor.space()
        self.mailbox = cursor.mailbox()
        cursor.space()
        if not options and cursor.peek(b"("):
            # The options stand behind the mailbox in the RFC's examples, before it in its grammar.
            place = (cursor.part, cursor.at)
            if cursor.text[cursor.at : cursor.at + 6].upper() in (b"(MAXSI", b"(DEPTH"):
                cursor.parenthesized(lambda: self._option(cursor))
                cursor.space()
            else:
                cursor.part, cursor.at = place
        self.entries = cursor.parenthesized(lambda: _entry(cursor)) if cursor.peek(b"(") else [_entry(cursor)]

    def _option(self, cursor: Cursor) -> None:
        """ "MAXSIZE" SP number / "DEPTH" SP ("0" / "1" / "infinity")"""
        word = cursor.word()
        cursor.space()
        if word == "MAXSIZE":
            self.largest = cursor.number()
        elif word == "DEPTH":
            self.depth = cursor.atom().decode().lower()
            if self.depth not in ("0", "1", "infinity"):
                cursor.fail("a depth of 0, 1 or infinity")
        else:
            cursor.fail("MAXSIZE or DEPTH")

    def run(self, session: ImapSession) -> Answer:
        annotations = _annotations(session, self.mailbox)
        found = [name for name in annotations if any(self._reaches(entry, name) for entry in self.entries)]
        small = [name for name in found if self.largest is None or len(annotations[name]) <= self.largest]
        said = [b"%b %b" % (astring(name.encode()), _value(annotations[name])) for name in small]
        if self.depth == "0":
            said += [b"%b NIL" % astring(entry.encode()) for entry in self.entries if entry not in annotations]
        if said:
            mailbox = wire_name(session, self.mailbox) if self.mailbox else b'""'
            session.out.append(b"* METADATA %b (%b)\r\n" % (mailbox, b" ".join(said)))
        longest = max((len(annotations[name]) for name in found if name not in small), default=0)
        return Answer("getmetadata.ok", {"code": f"[METADATA LONGENTRIES {longest}] "} if longest else {})

    def _reaches(self, entry: str, name: str) -> bool:
        if name == entry:
            return True
        below = name.removeprefix(entry + "/")
        return below != name and (self.depth == "infinity" or (self.depth == "1" and "/" not in below))


def _value(octets: bytes) -> bytes:
    return b"~{%d}\r\n%b" % (len(octets), octets) if b"\0" in octets else string(octets)


class SetMetadata(_OnMailbox):
    """SETMETADATA SP mailbox SP "(" entry SP value *(SP entry SP value) ")" (RFC 5464 4.3)"""

    name = "SETMETADATA"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.mailbox = cursor.mailbox()
        cursor.space()
        self.values = cursor.parenthesized(lambda: self._pair(cursor))
        if not self.values:
            cursor.fail("an entry and its value")

    def _pair(self, cursor: Cursor) -> tuple[str, bytes | None]:
        entry = _entry(cursor)
        if entry.count("/") < 2:
            raise RefusedError("metadata.entry")
        cursor.space()
        # value = nstring / literal8 (RFC 5464 5)
        return entry, cursor.literal() if cursor.peek(b"~") else cursor.nstring()

    def run(self, session: ImapSession) -> Answer:
        annotations = _annotations(session, self.mailbox)
        if any(value is not None and len(value) > _LARGEST for _, value in self.values):
            raise RefusedError("metadata.too-big", size=_LARGEST)
        after = {**annotations, **{entry: value for entry, value in self.values if value is not None}}
        for entry, value in self.values:
            if value is None:
                after.pop(entry, None)
        if len(after) > max(_MOST, len(annotations)):
            raise RefusedError("metadata.too-many")
        annotations.clear()
        annotations.update(after)
        return Answer("setmetadata.ok")
