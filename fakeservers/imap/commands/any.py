"""Commands of any state (RFC 3501 6.1), ID (RFC 2971)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.actions import End
from fakeservers.imap.command import ANY, Answer, Command
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.spelling import nstring, string

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Capability", "Id", "Logout", "Noop"]


class Capability(Command):
    name = "CAPABILITY"
    states = ANY

    def run(self, session: ImapSession) -> Answer:
        session.out.append(f"* CAPABILITY {' '.join(session.capabilities())}\r\n".encode())
        return Answer("capability.ok")


class Noop(Command):
    name = "NOOP"
    states = ANY


class Logout(Command):
    name = "LOGOUT"
    states = ANY

    def run(self, session: ImapSession) -> Answer:
        session.deselect()
        session.out.append(f"* {session.say('logout.bye')}\r\n".encode())
        return Answer("logout.ok", then=[End("close")])


class Id(Command):
    """ID SP ("(" *(string SP nstring) ")" / nil)"""

    name = "ID"
    states = ANY
    capability = "ID"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        self.fields: dict[str, str | None] = {}
        cursor.space()
        if cursor.take(b"("):
            while not cursor.take(b")"):
                cursor.take(b" ")
                name = cursor.string().decode("utf-8", "replace")
                cursor.space()
                value = cursor.nstring()
                self.fields[name] = None if value is None else value.decode("utf-8", "replace")
                if len(self.fields) > 30:
                    cursor.fail("no more than 30 fields")
        elif cursor.nstring() is not None:
            cursor.fail("a list of fields or NIL")

    def run(self, session: ImapSession) -> Answer:
        own = session.profile.id
        fields = [
            part
            for name, value in own.items()
            for part in (string(name.encode()), nstring(session.connection.text(value).encode()))
        ]
        session.out.append(b"* ID (%b)\r\n" % b" ".join(fields) if fields else b"* ID NIL\r\n")
        return Answer("id.ok")
