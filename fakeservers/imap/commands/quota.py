"""QUOTA (RFC 2087, RFC 9208): one quota root for an account's storage, in units of 1024 octets.

The limit is the account's property `quota` in octets; without it there is no limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.commands.mailboxes import account_of
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.spelling import astring

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["GetQuota", "GetQuotaRoot", "SetQuota", "check_room"]


def _limit(session: ImapSession) -> int | None:
    limit = account_of(session).properties.get("quota")
    return int(limit) if isinstance(limit, int | float) else None


def _used(session: ImapSession) -> int:
    return sum(mailbox.octets for mailbox in account_of(session).mailboxes.values())


def check_room(session: ImapSession, octets: int) -> None:
    """Raises RefusedError with OVERQUOTA when a message of so many octets finds no room."""
    limit = _limit(session)
    if limit is not None and _used(session) + octets > limit:
        raise RefusedError("quota.exceeded")


def _quota_line(session: ImapSession) -> bytes:
    limit = _limit(session)
    if limit is None:
        return b'* QUOTA "" ()\r\n'
    return b'* QUOTA "" (STORAGE %d %d)\r\n' % (_used(session) // 1024, limit // 1024)


class GetQuota(Command):
    """GETQUOTA SP quota-root-name"""

    name = "GETQUOTA"
    states = LOGGED_IN
    capability = "QUOTA"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.root = cursor.astring()

    def run(self, session: ImapSession) -> Answer:
        if self.root:
            raise RefusedError("quota.root")
        session.out.append(_quota_line(session))
        return Answer("getquota.ok")


class GetQuotaRoot(Command):
    """GETQUOTAROOT SP mailbox"""

    name = "GETQUOTAROOT"
    states = LOGGED_IN
    capability = "QUOTA"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.raw = cursor.astring()
        self.mailbox = "INBOX" if self.raw.upper() == b"INBOX" else cursor.mailbox_name(self.raw)

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox}

    def run(self, session: ImapSession) -> Answer:
        if account_of(session).mailbox(self.mailbox) is None:
            raise RefusedError("mailbox.missing", mailbox=self.mailbox)
        session.out.append(b'* QUOTAROOT %b ""\r\n' % astring(self.raw, utf8=session.utf8))
        session.out.append(_quota_line(session))
        return Answer("getquotaroot.ok")


class SetQuota(Command):
    """SETQUOTA SP quota-root-name SP resource-limits: never allowed to a user."""

    name = "SETQUOTA"
    states = LOGGED_IN
    capability = "QUOTASET|QUOTA"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        cursor.astring()
        cursor.space()
        cursor.parenthesized(cursor.atom)

    def run(self, session: ImapSession) -> Answer:
        raise RefusedError("quota.set")
