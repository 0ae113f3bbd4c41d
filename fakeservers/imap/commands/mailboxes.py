"""Making, removing, renaming and subscribing mailboxes (RFC 3501 6.3.3-6.3.7)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.identity import mailbox_id
from fakeservers.mailstore import Account

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Create", "Delete", "Rename", "Subscribe", "Unsubscribe"]


def account_of(session: ImapSession) -> Account:
    account = session.connection.account
    assert account is not None
    return account


_NAMESPACE = re.compile(r'\("((?:[^"\\]|\\.)*)" (?:"|NIL)')


@lru_cache(64)
def _prefixes(namespaces: str) -> tuple[str, ...]:
    """What the names of each namespace begin with (RFC 2342)."""
    return tuple(_NAMESPACE.findall(namespaces))


def check_name(session: ImapSession, name: str) -> None:
    """Raises RefusedError for what no mailbox can be called, and for what lies in no namespace."""
    account = account_of(session)
    levels = name.split(account.delimiter) if account.delimiter else [name]
    if name != "INBOX" and not name.startswith(_prefixes(session.profile.namespace)):
        raise RefusedError("mailbox.invalid", mailbox=name)
    if not name or not all(levels) or any(character < " " or "\x7f" <= character <= "\x9f" for character in name):
        raise RefusedError("mailbox.invalid", mailbox=name)
    if any("\ud800" <= character <= "\udfff" for character in name) or any(each in "%*" for each in name):
        raise RefusedError("mailbox.invalid", mailbox=name)


def create_superiors(session: ImapSession, account: Account, name: str) -> None:
    for superior in account.superiors(name):
        if account.mailbox(superior) is None:
            session.site.store.create(account, superior, subscribe=False)


_USES = {use.lower(): use for use in ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")}
"""Special uses that a client may give: those of mailboxes that hold messages of their own."""


class _OneMailbox(Command):
    states = LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.mailbox = cursor.mailbox()

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox}


class Create(_OneMailbox):
    """CREATE SP mailbox [SP "(" "USE" SP "(" use-attr *(SP use-attr) ")" ")"] (RFC 6154 3)"""

    name = "CREATE"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        super().parse(cursor, session)
        self.uses: list[str] = []
        if cursor.more():
            cursor.parenthesized(lambda: self._parameter(cursor, session))

    def _parameter(self, cursor: Cursor, session: ImapSession) -> None:
        if cursor.word() != "USE":
            cursor.fail("a known CREATE parameter")
        session.require(cursor, "CREATE-SPECIAL-USE", "a CREATE parameter")
        cursor.space()
        self.uses += cursor.parenthesized(cursor.attribute)

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        # A delimiter at the end says that the client means to make inferiors; the name is the one without it.
        name = self.mailbox.removesuffix(account.delimiter)
        check_name(session, name)
        existing = account.mailbox(name)
        if existing is not None and "\\Noselect" in existing.attributes and account.labels is None:
            # Only the name is there, for the sake of its inferiors (RFC 3501 6.3.4).
            existing = None
        same = session.manners.create_ignores_case and name.casefold() in map(str.casefold, account.mailboxes)
        if existing is not None or same:
            raise RefusedError("mailbox.exists", mailbox=name)
        uses = frozenset(_USES[use.lower()] for use in self.uses if use.lower() in _USES)
        if len(uses) < len({use.lower() for use in self.uses}):
            raise RefusedError("create.use")
        create_superiors(session, account, name)
        mailbox = session.site.store.create(account, name, uses, subscribe=False)
        code = f"[MAILBOXID ({mailbox_id(mailbox)})] " if session.offers("OBJECTID") else ""
        return Answer("create.ok", {"code": code})


class Delete(_OneMailbox):
    name = "DELETE"

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        mailbox = account.mailbox(self.mailbox)
        if mailbox is None:
            raise RefusedError("mailbox.missing", mailbox=self.mailbox)
        if mailbox is account.inbox:
            raise RefusedError("mailbox.inbox", mailbox=self.mailbox)
        if account.inferiors(mailbox.name):
            if "\\Noselect" in mailbox.attributes:
                raise RefusedError("mailbox.inferiors", mailbox=self.mailbox)
            # The name has to stay for the inferiors' sake, without messages (RFC 3501 6.3.4).
            session.site.store.create(account, mailbox.name, frozenset({"\\Noselect"}))
        else:
            del account.mailboxes[mailbox.name]
            account.tell()
        if session.selected is not None and session.selected.mailbox is mailbox:
            session.deselect()
        return Answer("delete.ok")


class Rename(Command):
    """RENAME SP mailbox SP mailbox"""

    name = "RENAME"
    states = LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.old = cursor.mailbox()
        cursor.space()
        self.new = cursor.mailbox()

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.old}

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        mailbox = account.mailbox(self.old)
        if mailbox is None:
            raise RefusedError("mailbox.missing", mailbox=self.old)
        new = self.new.removesuffix(account.delimiter)
        check_name(session, new)
        if account.mailbox(new) is not None:
            raise RefusedError("mailbox.exists", mailbox=new)
        if account.is_below(new, mailbox.name) and mailbox is not account.inbox:
            raise RefusedError("mailbox.invalid", mailbox=new)
        create_superiors(session, account, new)
        session.site.store.rename(account, mailbox.name, new)
        return Answer("rename.ok")


class Subscribe(_OneMailbox):
    name = "SUBSCRIBE"

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        if account.mailbox(self.mailbox) is None:
            raise RefusedError("mailbox.missing", mailbox=self.mailbox)
        account.subscriptions[self.mailbox] = None
        account.tell()
        return Answer("subscribe.ok")


class Unsubscribe(_OneMailbox):
    name = "UNSUBSCRIBE"

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        if self.mailbox not in account.subscriptions and account.mailbox(self.mailbox) is None:
            raise RefusedError("mailbox.missing", mailbox=self.mailbox)
        account.subscriptions.pop(self.mailbox, None)
        account.tell()
        return Answer("unsubscribe.ok")
