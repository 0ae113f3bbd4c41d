"""LIST, LSUB, STATUS, NAMESPACE (RFC 3501 6.3.8-6.3.10, RFC 2342, LIST-EXTENDED: RFC 5258, LIST-STATUS: RFC 5819)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fakeservers.imap import utf7
from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.commands.mailboxes import account_of
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.identity import mailbox_id
from fakeservers.imap.listmatch import matcher
from fakeservers.imap.spelling import astring, quoted
from fakeservers.mailstore import Account, Mailbox

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = [
    "List", "Lsub", "Namespace", "Rlist", "Rlsub", "Status", "Xlist", "list_line", "status_item",
    "status_line", "wire_name",
]  # fmt: skip

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


def _delimiter(account: Account) -> bytes:
    """NIL: names have no hierarchy (RFC 3501 7.2.2)."""
    return quoted(account.delimiter.encode()) if account.delimiter else b"NIL"


_SELECTIONS = {"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"}
_RETURNS = {"SUBSCRIBED", "CHILDREN", "SPECIAL-USE"}


class List(Command):
    """LIST [SP select-options] SP mailbox SP patterns [SP "RETURN" SP return-options] (RFC 5258 6)"""

    name = "LIST"
    said = "LIST"
    """The name of the untagged responses."""
    states = LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.selections: list[str] = []
        self.returns: list[str] = []
        self.status: list[str] = []
        self.unseen: list[str] = []
        """Subscribed mailboxes that no pattern matches."""
        extended = self.name == "LIST" and any(map(session.offers, ("LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE")))
        self.extended = extended and cursor.peek(b"(")
        if self.extended:
            self.selections = cursor.parenthesized(cursor.word)
            if not _SELECTIONS.issuperset(self.selections) or self.selections == ["RECURSIVEMATCH"]:
                cursor.fail("selection options that go together")
            cursor.space()
        self.reference = cursor.astring()
        cursor.space()
        if extended and cursor.peek(b"("):
            self.extended = True
            self.patterns = cursor.parenthesized(cursor.list_pattern) or cursor.fail("a mailbox pattern")
        else:
            self.patterns = [cursor.list_pattern()]
        if extended and cursor.more():
            self.extended = True
            if cursor.word() != "RETURN":
                cursor.fail("RETURN")
            cursor.space()
            cursor.parenthesized(lambda: self._return_option(cursor, session))

    def _return_option(self, cursor: Cursor, session: ImapSession) -> None:
        word = cursor.word()
        if word == "STATUS" and session.offers("LIST-STATUS"):
            cursor.space()
            self.status = _status_items(cursor, session)
        elif word in _RETURNS:
            self.returns.append(word)
        else:
            cursor.fail("a known return option")

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.patterns[0].decode("utf-8", "replace") if self.patterns else ""}

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        key = f"{self.name.lower()}.ok"
        if self.patterns == [b""] and not self.extended:
            session.out.append(self._root(session, account))
            return Answer(key)
        tests = [matcher(self.reference + pattern, account.delimiter.encode()) for pattern in self.patterns]

        def meant(name: str) -> bool:
            octets = _octets(session, name)
            return any(test(octets) for test in tests)

        parents = _parents(account)
        names = list(account.mailboxes)
        if "SUBSCRIBED" in self.selections:
            names += [name for name in account.subscriptions if name not in account.mailboxes]
        if "RECURSIVEMATCH" in self.selections:
            # What is not there itself is told for the sake of what is subscribed below it (RFC 5258 3.5).
            above = (superior for name in account.subscriptions for superior in account.superiors(name))
            names = list(dict.fromkeys([*names, *above]))
            self.unseen = [name for name in account.subscriptions if not meant(name)]
        for name in names:
            if meant(name):
                self._say(session, account, name, parents)
        return Answer(key)

    def _say(self, session: ImapSession, account: Account, name: str, parents: frozenset[str]) -> None:
        mailbox = account.mailbox(name)
        wants_special = "SPECIAL-USE" in self.returns or "SPECIAL-USE" in self.selections
        if mailbox is None:
            flags = ["\\HasChildren", "\\NonExistent"] if name in parents else ["\\NonExistent"]
        else:
            flags = attributes(session, mailbox, parents, special=wants_special)
        subscribed = name in account.subscriptions
        below = b""
        if "SUBSCRIBED" in self.selections:
            # What is not selected itself is told only if something below it is not told (RFC 5258 4).
            among = account.subscriptions if subscribed else self.unseen
            if "RECURSIVEMATCH" in self.selections and any(account.is_below(each, name) for each in among):
                below = b' ("CHILDINFO" ("SUBSCRIBED"))'
            if not (subscribed or below):
                return
        if "SPECIAL-USE" in self.selections and not SPECIAL_USE & set(flags):
            return
        if subscribed and "SUBSCRIBED" in (*self.selections, *self.returns):
            flags.append("\\Subscribed")
        session.out.append(self.line(session, name, flags, below))
        if self.status and mailbox is not None and "\\Noselect" not in flags:
            session.out.append(status_line(session, mailbox, self.status))

    def _root(self, session: ImapSession, account: Account) -> bytes:
        root = account.delimiter if session.manners.list_root_name else ""
        return b'* %b (\\Noselect) %b "%b"\r\n' % (
            self.said.encode(),
            _delimiter(account),
            root.encode(),
        )

    def line(self, session: ImapSession, name: str, flags: list[str], more: bytes = b"") -> bytes:
        delimiter = _delimiter(account_of(session))
        said = wire_name(session, name)
        return b"* %b (%b) %b %b%b\r\n" % (
            self.said.encode(), " ".join(flags).encode(), delimiter, said, more,
        )  # fmt: skip


_XLIST = {"\\All": "\\AllMail", "\\Flagged": "\\Starred", "\\Junk": "\\Spam"}


class Xlist(List):
    """Google's LIST from before RFC 6154, with its own names for special uses."""

    name = "XLIST"
    said = "XLIST"
    capability = "XLIST"

    def _say(self, session: ImapSession, account: Account, name: str, parents: frozenset[str]) -> None:
        mailbox = account.mailboxes[name]
        flags = [_XLIST.get(flag, flag) for flag in attributes(session, mailbox, parents, special=True)]
        if name == "INBOX":
            flags, name = [*flags, "\\Inbox"], "Inbox"
        session.out.append(self.line(session, name, sorted(flags)))


def _parents(account: Account) -> frozenset[str]:
    """The names that have inferiors."""
    return frozenset(
        name[:at] for name in account.mailboxes for at, character in enumerate(name) if character == account.delimiter
    )


def attributes(session: ImapSession, mailbox: Mailbox, parents: frozenset[str], *, special: bool = False) -> list[str]:
    """A mailbox's attributes in alphabetical order."""
    found = set(mailbox.attributes) - {"\\HasChildren", "\\HasNoChildren"}
    if not (special or session.offers("SPECIAL-USE") or session.manners.special_use_always):
        found -= SPECIAL_USE
    if "\\NonExistent" in found:
        return sorted(found)
    if session.offers("CHILDREN") or session.offers("LIST-EXTENDED"):
        found.add("\\HasChildren" if mailbox.name in parents else "\\HasNoChildren")
    return sorted(found)


def list_line(session: ImapSession, mailbox: Mailbox, more: str = "", *, old: str | None = None) -> bytes:
    """The LIST response of one mailbox, as IMAP4rev2 has it in SELECT (RFC 9051 6.3.2), with an attribute `more`, or
    the name that it had before."""
    flags = attributes(session, mailbox, _parents(account_of(session)))
    oldname = b"" if old is None else b' ("OLDNAME" (%b))' % wire_name(session, old)
    return List().line(session, mailbox.name, [*flags, more] if more else flags, oldname)


class Lsub(List):
    """LSUB SP mailbox SP list-mailbox"""

    name = "LSUB"
    said = "LSUB"

    def run(self, session: ImapSession) -> Answer:
        account = account_of(session)
        pattern = self.reference + self.patterns[0]
        if not self.patterns[0]:
            session.out.append(self._root(session, account))
            return Answer(f"{self.name.lower()}.ok")
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
                for superior in account.superiors(name):
                    if superior not in account.subscriptions and test(_octets(session, superior)):
                        implied[superior] = None
        session.out += [self.line(session, name, ["\\Noselect"]) for name in implied]
        return Answer(f"{self.name.lower()}.ok")


class Rlist(List):
    """RLIST: LIST of a client that understands referrals (RFC 2193 5.1); rules give them."""

    name = "RLIST"
    said = "LIST"
    capability = "MAILBOX-REFERRALS"


class Rlsub(Lsub):
    """RLSUB (RFC 2193 5.2)"""

    name = "RLSUB"
    said = "LSUB"
    capability = "MAILBOX-REFERRALS"


class Status(Command):
    """STATUS SP mailbox SP "(" status-att *(SP status-att) ")" """

    name = "STATUS"
    states = LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.mailbox = cursor.mailbox()
        cursor.space()
        self.items = _status_items(cursor, session)

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox, "items": " ".join(self.items)}

    def run(self, session: ImapSession) -> Answer:
        mailbox = account_of(session).mailbox(self.mailbox)
        if mailbox is None or "\\Noselect" in mailbox.attributes:
            raise RefusedError("status.missing", mailbox=self.mailbox)
        session.out.append(status_line(session, mailbox, self.items))
        return Answer("status.ok")


_STATUS: Mapping[str, tuple[str, Callable[[ImapSession, Mailbox], object]]] = {
    "MESSAGES": ("", lambda session, mailbox: len(mailbox.messages)),
    "RECENT": ("", lambda session, mailbox: 0 if session.manners.recent_never else _recent(mailbox)),
    "UIDNEXT": ("", lambda session, mailbox: mailbox.uidnext),
    "UIDVALIDITY": ("", lambda session, mailbox: mailbox.uidvalidity),
    "UNSEEN": ("", lambda session, mailbox: mailbox.unseen),
    "APPENDLIMIT": ("APPENDLIMIT", lambda session, mailbox: session.profile.literal_limit),
    "DELETED": ("IMAP4REV2", lambda session, mailbox: mailbox.deleted),
    "HIGHESTMODSEQ": ("CONDSTORE|QRESYNC", lambda session, mailbox: mailbox.highestmodseq),
    "MAILBOXID": ("OBJECTID", lambda session, mailbox: f"({mailbox_id(mailbox)})"),
    "SIZE": ("STATUS=SIZE|IMAP4REV2", lambda session, mailbox: mailbox.octets),
}
"""Status item: the capabilities that bring it, and its value."""


def status_item(cursor: Cursor, session: ImapSession) -> str:
    item = cursor.word()
    needs = _STATUS.get(item, ("-",))[0]
    if needs:
        session.require(cursor, needs, "a status item")
    if item == "HIGHESTMODSEQ":
        session.enable("CONDSTORE")
    return item


def _status_items(cursor: Cursor, session: ImapSession) -> list[str]:
    return cursor.parenthesized(lambda: status_item(cursor, session)) or cursor.fail("a status item")


def status_line(session: ImapSession, mailbox: Mailbox, items: list[str]) -> bytes:
    values = " ".join(f"{item} {_STATUS[item][1](session, mailbox)}" for item in items)
    return b"* STATUS %b (%b)\r\n" % (wire_name(session, mailbox.name), values.encode())


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
