"""NOTIFY (RFC 5465): changes are told without being asked for, in the selected mailbox and in others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.commands.listing import list_line, status_line
from fakeservers.imap.commands.mailboxes import account_of
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.fetch import Item, parse_items
from fakeservers.mailstore import Account, Mailbox, Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Notifications", "Notify"]

_MESSAGE_EVENTS = frozenset({"MESSAGENEW", "MESSAGEEXPUNGE", "FLAGCHANGE"})
_MAILBOX_EVENTS = frozenset({"MAILBOXNAME", "SUBSCRIPTIONCHANGE"})
_GONE = frozenset({"\\NonExistent"})
_HAPPENED = {"exists": "MESSAGENEW", "expunged": "MESSAGEEXPUNGE", "flags": "FLAGCHANGE"}


@dataclass(slots=True)
class _Group:
    """event-group = "(" filter-mailboxes SP events ")" """

    which: str
    names: list[str]
    events: set[str]
    items: list[Item] = field(default_factory=list)
    """What is fetched of a new message in the selected mailbox."""

    def covers(self, account: Account, name: str) -> bool:
        match self.which:
            case "INBOXES":
                return name == "INBOX"
            case "PERSONAL":
                return True
            case "SUBSCRIBED":
                return name in account.subscriptions
            case "SUBTREE":
                return any(name == each or account.is_below(name, each) for each in self.names)
            case "MAILBOXES":
                return name in self.names
            case _:
                return False


class Notifications:
    """What one session wants to be told."""

    def __init__(self, session: ImapSession, groups: list[_Group]) -> None:
        self._session = session
        self._account = account_of(session)
        self._groups = groups
        selected = next((group for group in groups if group.which.startswith("SELECTED")), None)
        self.immediate = selected is not None and selected.which == "SELECTED" and bool(selected.events)
        """Changes of the selected mailbox, expunges too, are told at once (RFC 5465 6.1.1)."""
        self._items = selected.items if selected is not None else []
        self._watched: list[tuple[Mailbox, set[str]]] = []
        self._changed: dict[Mailbox, None] = {}
        self._names = dict(self._account.mailboxes)
        self._subscribed = set(self._account.subscriptions)
        self._watch_mailboxes()
        self._account.watchers.add(self._account_changed)

    def leave(self) -> None:
        for mailbox, _ in self._watched:
            mailbox.watchers.discard(self._mailbox_changed)
        self._account.watchers.discard(self._account_changed)

    def covered(self) -> list[Mailbox]:
        """Mailboxes whose messages are watched."""
        return [mailbox for mailbox, events in self._watched if events & _MESSAGE_EVENTS]

    def _events(self, name: str) -> set[str]:
        """Of the first group that names the mailbox (RFC 5465 3.1: the first that matches rules)."""
        return next((group.events for group in self._groups if group.covers(self._account, name)), set())

    def _watch_mailboxes(self) -> None:
        for mailbox, _ in self._watched:
            mailbox.watchers.discard(self._mailbox_changed)
        self._watched = []
        for mailbox in self._account.mailboxes.values():
            if events := self._events(mailbox.name):
                self._watched.append((mailbox, events))
                mailbox.watchers.add(self._mailbox_changed)

    def _mailbox_changed(self, mailbox: Mailbox, what: str, messages: list[Message]) -> None:
        selected = self._session.selected
        if selected is not None and selected.mailbox is mailbox:
            return
        if any(each is mailbox and _HAPPENED[what] in events for each, events in self._watched):
            self._changed[mailbox] = None
            self._session.connection.wake()

    def _account_changed(self) -> None:
        self._session.connection.wake()

    def news(self) -> list[bytes]:
        """STATUS of other mailboxes, LIST of those that came, went or were subscribed (RFC 5465 5), and what has
        happened in the selected one."""
        changed, self._changed = self._changed, {}
        said = [status_line(self._session, mailbox, _status_items(self._session)) for mailbox in changed]
        names, subscribed = dict(self._account.mailboxes), set(self._account.subscriptions)
        if names != self._names or subscribed != self._subscribed:
            said += self._renamed(names)
            said += self._named(set(names), "MAILBOXNAME", set(self._names))
            said += self._named(subscribed & names.keys(), "SUBSCRIPTIONCHANGE", self._subscribed & names.keys())
            self._names, self._subscribed = names, subscribed
            self._watch_mailboxes()
        return said + self._of_selected() if self.immediate else said

    def _of_selected(self) -> list[bytes]:
        """What a client is told at its next command too, and data of the new messages (RFC 5465 5.2)."""
        view = self._session.selected
        if view is None:
            return []
        known = view.messages[view.exists - 1].uid if view.exists else 0
        said = self._session.news(expunges=True)
        if self._items:
            for seq, message in view.numbered(view.spans(((known + 1, 2**32 - 1),), uid=True)):
                data = [b"UID %d" % message.uid, *(item.write(view, message) for item in self._items)]
                said.append(b"* %d FETCH (%b)\r\n" % (seq, b" ".join(data)))
        return said

    def _renamed(self, now: dict[str, Mailbox]) -> list[bytes]:
        """The new name of a mailbox with its old one, where the client wants to know of both (RFC 5465 5.4)."""
        said = []
        before = {id(mailbox): old for old, mailbox in self._names.items() if old not in now}
        for name in sorted(now.keys() - self._names.keys()):
            old = before.get(id(now[name]))
            if old is not None and all("MAILBOXNAME" in self._events(each) for each in (old, name)):
                said.append(list_line(self._session, now[name], old=old))
                self._names[name] = self._names.pop(old)
        return said

    def _named(self, now: set[str], event: str, before: set[str]) -> list[bytes]:
        said = []
        for name in sorted(now ^ before):
            if event in self._events(name):
                mailbox = self._account.mailboxes.get(name) or Mailbox(name, 0, attributes=_GONE)
                subscribed = event == "SUBSCRIPTIONCHANGE" and name in now
                said.append(list_line(self._session, mailbox, "\\Subscribed" if subscribed else ""))
        return said


def _status_items(session: ImapSession) -> list[str]:
    items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"]
    return [*items, "HIGHESTMODSEQ"] if session.condstore else items


class Notify(Command):
    """NOTIFY SP ("SET" [SP "STATUS"] 1*(SP event-group) / "NONE")"""

    name = "NOTIFY"
    states = LOGGED_IN
    capability = "NOTIFY"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.groups: list[_Group] = []
        self.status = False
        word = cursor.word()
        if word == "NONE":
            return
        if word != "SET":
            cursor.fail("SET or NONE")
        cursor.space()
        if cursor.at_word(b"STATUS "):
            cursor.at += len("STATUS ")
            self.status = True
        self.groups.append(self._group(cursor, session))
        while cursor.more():
            self.groups.append(self._group(cursor, session))
        if sum(group.which.startswith("SELECTED") for group in self.groups) > 1:
            cursor.fail("one group for the selected mailbox")

    def _group(self, cursor: Cursor, session: ImapSession) -> _Group:
        cursor.expect(b"(")
        which = cursor.word()
        group = _Group(which, [], set())
        cursor.space()
        if which in ("SUBTREE", "MAILBOXES"):
            group.names = cursor.parenthesized(cursor.mailbox) if cursor.peek(b"(") else [cursor.mailbox()]
            cursor.space()
        elif which not in ("SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED"):
            cursor.fail("a filter of mailboxes")
        if cursor.peek(b"("):
            self._events(cursor, session, group)
        elif cursor.word() != "NONE":
            cursor.fail("events or NONE")
        cursor.expect(b")")
        return group

    def _events(self, cursor: Cursor, session: ImapSession, group: _Group) -> None:
        group.events.update(cursor.parenthesized(lambda: self._event(cursor, session, group)))
        if ("MESSAGENEW" in group.events) != ("MESSAGEEXPUNGE" in group.events):
            cursor.fail("MessageNew and MessageExpunge together")
        if "FLAGCHANGE" in group.events and "MESSAGENEW" not in group.events:
            cursor.fail("MessageNew and MessageExpunge beside FlagChange")

    def _event(self, cursor: Cursor, session: ImapSession, group: _Group) -> str:
        """event = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / ..."""
        name = cursor.word()
        if name not in _MESSAGE_EVENTS | _MAILBOX_EVENTS:
            raise RefusedError("notify.events")
        if name == "MESSAGENEW" and cursor.take(b" ("):
            if not group.which.startswith("SELECTED"):
                cursor.fail("no data items but for the selected mailbox")
            cursor.at -= 1
            group.items = [item for item in parse_items(cursor, session) if item.name != "UID"]
        return name

    def run(self, session: ImapSession) -> Answer:
        if session.notifications is not None:
            session.notifications.leave()
        session.notifications = Notifications(session, self.groups) if self.groups else None
        if self.status and session.notifications is not None:
            selected = session.selected.mailbox if session.selected is not None else None
            items = _status_items(session)
            covered = (mailbox for mailbox in session.notifications.covered() if mailbox is not selected)
            session.out += [
                status_line(session, mailbox, items) for mailbox in covered if "\\Noselect" not in mailbox.attributes
            ]
        return Answer("notify.ok")
