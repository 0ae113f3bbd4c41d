"""LIST, LSUB, STATUS, NAMESPACE (RFC 3501 6.3.8-6.3.10, RFC 2342, CHILDREN: RFC 3348, SPECIAL-USE: RFC 6154)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.imap import utf7
from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.commands.mailboxes import account_of
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.listmatch import matcher
from fakeservers.imap.spelling import astring, quoted
from fakeservers.mailstore import Account, Mailbox

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["List", "Lsub", "Namespace", "Status", "wire_name"]

SPECIAL_USE = frozenset({"\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash", "\\Important"})


def wire_name(session: ImapSession, name: str) -> bytes:
    """A mailbox's name as it stands in responses."""
    if session.utf8:
        return astring(name.encode("utf-8", "surrogateescape"), utf8=True)
    return astring(_octets(session, name))


def _octets(session: ImapSession, name: str) -> bytes:
    if session.utf8:
        return name.encode("utf-8", "surrogateescape")
    if name.startswith("\udc80"):
        return name[1:].encode("latin-1", "replace")
    return utf7.encode(name)


class List(Command):
    """LIST SP mailbox SP list-mailbox"""

    name = "LIST"
    states = LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.reference = cursor.astring()
        cursor.space()
        self.patterns = [cursor.list_pattern()]

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.patterns[0].decode("utf-8", "replace")}

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        if self.patterns == [b""]:
            session.out.append(self._root(session, account))
            return Answer(f"{self.name.lower()}.ok")
        tests = [matcher(self.reference + pattern, account.delimiter.encode()) for pattern in self.patterns]
        parents = _parents(account)
        for mailbox in list(account.mailboxes.values()):
            name = _octets(session, mailbox.name)
            if any(test(name) for test in tests):
                session.out.append(self.line(session, mailbox.name, attributes(session, mailbox, parents)))
        return Answer(f"{self.name.lower()}.ok")

    def _root(self, session: ImapSession, account: Account) -> bytes:
        root = account.delimiter if session.manners.list_root_name else ""
        return b'* %b (\\Noselect) %b "%b"\r\n' % (
            self.name.encode(),
            quoted(account.delimiter.encode()),
            root.encode(),
        )

    def line(self, session: ImapSession, name: str, flags: list[str]) -> bytes:
        delimiter = quoted(account_of(session).delimiter.encode())
        return b"* %b (%b) %b %b\r\n" % (
            self.name.encode(),
            " ".join(flags).encode(),
            delimiter,
            wire_name(session, name),
        )


def _parents(account: Account) -> frozenset[str]:
    """The names that have inferiors."""
    return frozenset(
        name[:at] for name in account.mailboxes for at, character in enumerate(name) if character == account.delimiter
    )


def attributes(session: ImapSession, mailbox: Mailbox, parents: frozenset[str]) -> list[str]:
    """A mailbox's attributes in alphabetical order."""
    found = set(mailbox.attributes) - {"\\HasChildren", "\\HasNoChildren"}
    if not (session.offers("SPECIAL-USE") or session.manners.special_use_always):
        found -= SPECIAL_USE
    if session.offers("CHILDREN") or session.offers("LIST-EXTENDED"):
        found.add("\\HasChildren" if mailbox.name in parents else "\\HasNoChildren")
    return sorted(found)


class Lsub(List):
    """LSUB SP mailbox SP list-mailbox"""

    name = "LSUB"

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        pattern = self.reference + self.patterns[0]
        if not self.patterns[0]:
            session.out.append(self._root(session, account))
            return Answer("lsub.ok")
        test = matcher(pattern, account.delimiter.encode())
        parents = _parents(account)
        implied: dict[str, None] = {}
        for name in account.subscriptions:
            if test(_octets(session, name)):
                mailbox = account.mailbox(name)
                flags = ["\\Noselect"] if mailbox is None else attributes(session, mailbox, parents)
                session.out.append(self.line(session, name, flags))
            elif b"%" in pattern:
                # foo/bar subscribed and `%` asked for: foo is shown as not selectable (RFC 3501 6.3.9).
                levels = name.split(account.delimiter)
                for depth in range(1, len(levels)):
                    superior = account.delimiter.join(levels[:depth])
                    if superior not in account.subscriptions and test(_octets(session, superior)):
                        implied[superior] = None
        session.out += [self.line(session, name, ["\\Noselect"]) for name in implied]
        return Answer("lsub.ok")


class Status(Command):
    """STATUS SP mailbox SP "(" status-att *(SP status-att) ")" """

    name = "STATUS"
    states = LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.mailbox = cursor.mailbox()
        cursor.space()
        self.items = cursor.parenthesized(lambda: status_item(cursor, session))
        if not self.items:
            cursor.fail("a status item")

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox, "items": " ".join(self.items)}

    def run(self, session: ImapSession) -> Answer:
        mailbox = account_of(session).mailbox(self.mailbox)
        if mailbox is None or "\\Noselect" in mailbox.attributes:
            raise RefusedError("status.missing", mailbox=self.mailbox)
        session.out.append(status_line(session, mailbox, self.items))
        return Answer("status.ok")


_STATUS_NEEDS = {
    "MESSAGES": "",
    "RECENT": "",
    "UIDNEXT": "",
    "UIDVALIDITY": "",
    "UNSEEN": "",
    "SIZE": "STATUS=SIZE",
    "DELETED": "IMAP4REV2",
    "HIGHESTMODSEQ": "CONDSTORE",
}


def status_item(cursor: Cursor, session: ImapSession) -> str:
    item = cursor.word()
    needs = _STATUS_NEEDS.get(item)
    if needs is None or (needs and not session.offers(needs)):
        cursor.fail("a status item")
    return item


def status_line(session: ImapSession, mailbox: Mailbox, items: list[str]) -> bytes:
    values = []
    for item in items:
        match item:
            case "MESSAGES":
                value = len(mailbox.messages)
            case "RECENT":
                value = 0 if session.manners.recent_never else _recent(mailbox)
            case "UIDNEXT":
                value = mailbox.uidnext
            case "UIDVALIDITY":
                value = mailbox.uidvalidity
            case "UNSEEN":
                value = mailbox.unseen
            case "SIZE":
                value = mailbox.octets
            case "DELETED":
                value = mailbox.deleted
            case _:
                session.enabled.add("CONDSTORE")
                value = mailbox.highestmodseq
        values.append(b"%b %d" % (item.encode(), value))
    return b"* STATUS %b (%b)\r\n" % (wire_name(session, mailbox.name), b" ".join(values))


def _recent(mailbox: Mailbox) -> int:
    from fakeservers.imap.sequence import uid_spans

    return sum(
        stop - start
        for start, stop in uid_spans(((mailbox.recent_uid, 2**32 - 1),), mailbox.messages, len(mailbox.messages))
    )


class Namespace(Command):
    name = "NAMESPACE"
    states = LOGGED_IN
    capability = "NAMESPACE|IMAP4REV2"

    def run(self, session: ImapSession) -> Answer:
        session.out.append(f"* NAMESPACE {session.profile.namespace}\r\n".encode())
        return Answer("namespace.ok")
