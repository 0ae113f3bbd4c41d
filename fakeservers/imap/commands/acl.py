"""Access rights to read (ACL: RFC 4314): the account owns its mailboxes and nobody else has a right to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.commands.listing import wire_name
from fakeservers.imap.commands.mailboxes import account_of
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.spelling import astring

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession
    from fakeservers.mailstore import Mailbox

__all__ = ["DeleteAcl", "GetAcl", "ListRights", "MyRights", "SetAcl"]

_ALL = b"lrswipkxteacd"
"""`c` and `d` are what RFC 2086 had for `k` and `x`, and for `t` and `e`: said for the clients that know no others
(RFC 4314 2.1.1)."""


def _rights(mailbox: Mailbox) -> bytes:
    """INBOX cannot be deleted, and where no message can be, none can be read."""
    if "\\Noselect" in mailbox.attributes:
        return b"lkxac"
    return _ALL.replace(b"x", b"") if mailbox.name == "INBOX" else _ALL


class _OnMailbox(Command):
    states = LOGGED_IN
    capability = "ACL"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.mailbox = cursor.mailbox()

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox}

    def found(self, session: ImapSession) -> Mailbox:
        mailbox = account_of(session).mailbox(self.mailbox)
        if mailbox is None:
            raise RefusedError("mailbox.missing", mailbox=self.mailbox)
        return mailbox


class GetAcl(_OnMailbox):
    """GETACL SP mailbox"""

    name = "GETACL"

    def run(self, session: ImapSession) -> Answer:
        mailbox = self.found(session)
        owner = astring(account_of(session).address.encode())
        session.out.append(b"* ACL %b %b %b\r\n" % (wire_name(session, mailbox.name), owner, _rights(mailbox)))
        return Answer("getacl.ok")


class MyRights(_OnMailbox):
    """MYRIGHTS SP mailbox"""

    name = "MYRIGHTS"

    def run(self, session: ImapSession) -> Answer:
        mailbox = self.found(session)
        session.out.append(b"* MYRIGHTS %b %b\r\n" % (wire_name(session, mailbox.name), _rights(mailbox)))
        return Answer("myrights.ok")


class ListRights(_OnMailbox):
    """LISTRIGHTS SP mailbox SP identifier: the owner has what he has, anybody else could be given each right."""

    name = "LISTRIGHTS"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        super().parse(cursor, session)
        cursor.space()
        self.identifier = cursor.astring()

    def run(self, session: ImapSession) -> Answer:
        mailbox = self.found(session)
        owns = self.identifier.decode("utf-8", "replace").casefold() == account_of(session).address.casefold()
        rights = _rights(mailbox) if owns else b'"" ' + b" ".join(b"%c" % right for right in _ALL)
        said = (wire_name(session, mailbox.name), astring(self.identifier), rights)
        session.out.append(b"* LISTRIGHTS %b %b %b\r\n" % said)
        return Answer("listrights.ok")


class SetAcl(_OnMailbox):
    """SETACL SP mailbox SP identifier SP mod-rights: only the server's people may."""

    name = "SETACL"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        super().parse(cursor, session)
        cursor.space()
        cursor.astring()
        cursor.space()
        cursor.astring()

    def run(self, session: ImapSession) -> Answer:
        self.found(session)
        raise RefusedError("acl.set")


class DeleteAcl(_OnMailbox):
    """DELETEACL SP mailbox SP identifier"""

    name = "DELETEACL"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        super().parse(cursor, session)
        cursor.space()
        cursor.astring()

    def run(self, session: ImapSession) -> Answer:
        self.found(session)
        raise RefusedError("acl.set")
