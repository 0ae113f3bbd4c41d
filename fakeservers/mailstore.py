"""Accounts, mailboxes and messages: what SMTP fills and IMAP and POP3 read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fakeservers.clock import Clock
from fakeservers.tally import Tally

__all__ = ["Account", "MailStore", "Mailbox", "Message"]


@dataclass(slots=True, eq=False)
class Message:
    """One message in one mailbox. `content` is what the client sent, byte for byte, and shared between the copies;
    `trace` are the header fields that the server put in front. `received` is seconds since 1970 (INTERNALDATE)."""

    content: bytes
    trace: bytes = b""
    mail_from: str | None = None
    rcpt_to: tuple[str, ...] = ()
    mailbox: str = "INBOX"
    uid: int = 0
    flags: frozenset[str] = frozenset()
    received: float = 0.0
    modseq: int = 0
    parameters: tuple[str, ...] = ()
    """MAIL and RCPT parameters as they came: `SMTPUTF8`, `BODY=8BITMIME`, ..."""

    @property
    def raw(self) -> bytes:
        return self.trace + self.content if self.trace else self.content

    @property
    def size(self) -> int:
        return len(self.trace) + len(self.content)


Watcher = Callable[["Mailbox", str, list[Message]], None]
"""Called on the loop with what happened: "exists", "flags" or "expunged", and the messages."""


@dataclass(slots=True, eq=False)
class Mailbox:
    """A mailbox: messages in UID order. `name` is Unicode with the account's hierarchy delimiter in it."""

    name: str
    uidvalidity: int
    uidnext: int = 1
    messages: list[Message] = field(default_factory=list)
    attributes: frozenset[str] = frozenset()
    """Special-use and \\Noselect, as LIST shows them."""
    subscribed: bool = True
    highestmodseq: int = 1
    keywords: set[str] = field(default_factory=set)
    watchers: set[Watcher] = field(default_factory=set)

    def add(self, message: Message) -> Message:
        """Append, giving the next UID; tells the watchers."""
        message.uid = self.uidnext
        message.mailbox = self.name
        self.uidnext += 1
        self.highestmodseq += 1
        message.modseq = self.highestmodseq
        self.messages.append(message)
        self._tell("exists", [message])
        return message

    def set_flags(
        self, messages: Iterable[Message], change: Callable[[frozenset[str]], frozenset[str]]
    ) -> list[Message]:
        """Apply `change` to each message's flags; returns those that changed."""
        changed = []
        for message in messages:
            flags = change(message.flags)
            if flags != message.flags:
                message.flags = flags
                self.highestmodseq += 1
                message.modseq = self.highestmodseq
                changed.append(message)
        if changed:
            self._tell("flags", changed)
        return changed

    def expunge(self, messages: Iterable[Message]) -> list[Message]:
        """Remove messages for good; returns those that were there, in UID order."""
        gone = set(map(id, messages))
        removed = [message for message in self.messages if id(message) in gone]
        if removed:
            self.messages = [message for message in self.messages if id(message) not in gone]
            self.highestmodseq += 1
            self._tell("expunged", removed)
        return removed

    def by_uid(self, uid: int) -> Message | None:
        index = bisect_left(self.messages, uid, key=lambda message: message.uid)
        if index < len(self.messages) and self.messages[index].uid == uid:
            return self.messages[index]
        return None

    def _tell(self, what: str, messages: list[Message]) -> None:
        for watcher in tuple(self.watchers):
            watcher(self, what, messages)


@dataclass(slots=True, eq=False)
class Account:
    """Owns credentials and mailboxes. `properties` is what rules look at (`app_password_required`, ...)."""

    address: str
    password: str = field(repr=False)
    tokens: set[str] = field(default_factory=set, repr=False)
    properties: dict[str, object] = field(default_factory=dict)
    mailboxes: dict[str, Mailbox] = field(default_factory=dict)
    delimiter: str = "/"
    tally: Tally = field(default_factory=Tally)
    sessions: dict[str, int] = field(default_factory=dict)
    """Sessions open now, per protocol."""
    maildrop_locked: bool = False

    @property
    def inbox(self) -> Mailbox:
        return self.mailboxes["INBOX"]

    def mailbox(self, name: str) -> Mailbox | None:
        """By name; INBOX in any case (RFC 3501 5.1)."""
        return self.mailboxes.get("INBOX" if name.upper() == "INBOX" else name)


class MailStore:
    """Every account of a host, and mail kept for strangers (recipients with no account here)."""

    def __init__(
        self, clock: Clock, *, delimiter: str = "/", mailboxes: Iterable[tuple[str, frozenset[str]]] = ()
    ) -> None:
        self.clock = clock
        self.accounts: dict[str, Account] = {}
        self._delimiter = delimiter
        self._layout = tuple(mailboxes)
        self._strangers: dict[str, Mailbox] = {}
        self._uidvalidity = 1_000_000

    def add_account(self, address: str, password: str, **properties: object) -> Account:
        account = Account(address, password, properties=dict(properties), delimiter=self._delimiter)
        self.accounts[address.casefold()] = account
        self.create(account, "INBOX")
        for name, attributes in self._layout:
            self.create(account, name, attributes)
        return account

    def create(self, account: Account, name: str, attributes: frozenset[str] = frozenset()) -> Mailbox:
        mailbox = Mailbox(name, self.next_uidvalidity(), attributes=attributes)
        account.mailboxes[name] = mailbox
        return mailbox

    def next_uidvalidity(self) -> int:
        self._uidvalidity += 1
        return self._uidvalidity

    def account(self, username: str) -> Account | None:
        return self.accounts.get(username.casefold())

    @property
    def domains(self) -> set[str]:
        return {address.rpartition("@")[2] for address in self.accounts}

    def deliver(
        self,
        content: bytes,
        *,
        mail_from: str | None,
        rcpt_to: tuple[str, ...],
        trace: bytes = b"",
        parameters: tuple[str, ...] = (),
    ) -> list[Message]:
        """Put one message into each recipient's INBOX (kept apart for strangers); returns the copies."""
        received = self.clock.now()
        copies = []
        for recipient in dict.fromkeys(address.casefold() for address in rcpt_to):
            account = self.accounts.get(recipient)
            mailbox = account.inbox if account else self._stranger(recipient)
            copies.append(
                mailbox.add(Message(content, trace, mail_from, rcpt_to, received=received, parameters=parameters))
            )
        return copies

    def messages(self, address: str) -> list[Message]:
        """All messages of an account, or kept for a stranger; oldest first."""
        account = self.account(address)
        if account:
            found = [message for mailbox in account.mailboxes.values() for message in mailbox.messages]
            return sorted(found, key=lambda message: message.received)
        stranger = self._strangers.get(address.casefold())
        return list(stranger.messages) if stranger else []

    def strangers(self) -> list[str]:
        return list(self._strangers)

    def _stranger(self, address: str) -> Mailbox:
        return self._strangers.setdefault(address, Mailbox("INBOX", 1))
