"""Accounts, mailboxes and messages: what SMTP fills and IMAP and POP3 read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fakeservers.clock import Clock
from fakeservers.labels import Labels
from fakeservers.mailbox import Mailbox, Message
from fakeservers.tally import Tally

__all__ = ["Account", "MailStore", "Mailbox", "Message"]


@dataclass(slots=True, eq=False)
class Account:
    """Owns credentials and mailboxes. `properties` is what rules look at (`app_password_required`, ...)."""

    address: str
    password: str = field(repr=False)
    tokens: set[str] = field(default_factory=set, repr=False)
    properties: dict[str, object] = field(default_factory=dict)
    boxes: dict[str, Mailbox] = field(default_factory=dict)
    """`mailboxes`, where new mail may not be under its labels yet."""
    delimiter: str = "/"
    tally: Tally = field(default_factory=Tally)
    sessions: dict[str, int] = field(default_factory=dict)
    """Sessions open now, per protocol."""
    maildrop_locked: bool = False
    subscriptions: dict[str, None] = field(default_factory=dict)
    """Names in the order of subscription; a name stays when its mailbox goes (RFC 3501 6.3.6)."""
    annotations: dict[str, bytes] = field(default_factory=dict)
    """METADATA of the server as this account sees it."""
    watchers: set[Callable[[], None]] = field(default_factory=set)
    """Called when a mailbox was made, removed or renamed, or a subscription has changed."""
    labels: Labels | None = None
    """Mailboxes are labels, as Gmail has it; None: each holds messages of its own."""

    @property
    def mailboxes(self) -> dict[str, Mailbox]:
        if self.labels is not None:
            self.labels.settle()
        return self.boxes

    @property
    def inbox(self) -> Mailbox:
        return self.mailboxes["INBOX"]

    def mailbox(self, name: str) -> Mailbox | None:
        """By name; INBOX in any case (RFC 3501 5.1)."""
        return self.mailboxes.get("INBOX" if name.upper() == "INBOX" else name)

    def tell(self) -> None:
        for watcher in tuple(self.watchers):
            watcher()

    def superiors(self, name: str) -> list[str]:
        """The names above `name` in the hierarchy, the highest first; none where there is no hierarchy."""
        levels = name.split(self.delimiter) if self.delimiter else []
        return [self.delimiter.join(levels[:depth]) for depth in range(1, len(levels))]

    def is_below(self, name: str, superior: str) -> bool:
        return bool(self.delimiter) and name.startswith(superior + self.delimiter)

    def inferiors(self, name: str) -> list[Mailbox]:
        """The mailboxes below `name` in the hierarchy, at any depth."""
        return [mailbox for each, mailbox in self.mailboxes.items() if self.is_below(each, name)]


class MailStore:
    """Every account of a host, and mail kept for strangers (recipients with no account here)."""

    def __init__(
        self,
        clock: Clock,
        *,
        delimiter: str = "/",
        mailboxes: Iterable[tuple[str, frozenset[str]]] = (),
        labels: bool = False,
    ) -> None:
        self.clock = clock
        self.accounts: dict[str, Account] = {}
        self._delimiter = delimiter
        self._layout = tuple(mailboxes)
        self._labels = labels
        self._strangers: dict[str, Mailbox] = {}
        self._uidvalidity = 1_000_000

    def add_account(self, address: str, password: str, **properties: object) -> Account:
        account = Account(address, password, properties=dict(properties), delimiter=self._delimiter)
        self.accounts[address.casefold()] = account
        if self._labels:
            account.labels = Labels(account, self.clock)
        self.create(account, "INBOX")
        for name, attributes in self._layout:
            self.create(account, name, attributes)
        return account

    def create(
        self, account: Account, name: str, attributes: frozenset[str] = frozenset(), *, subscribe: bool = True
    ) -> Mailbox:
        mailbox = Mailbox(name, self.next_uidvalidity(), attributes=attributes)
        account.mailboxes[name] = mailbox
        if account.labels is not None:
            account.labels.attach(mailbox)
        if subscribe and "\\Noselect" not in attributes:
            account.subscriptions[name] = None
        account.tell()
        return mailbox

    def rename(self, account: Account, old: str, new: str) -> None:
        """Give a mailbox and its inferiors another name. The messages of INBOX move, and INBOX stays, empty, with its
        inferiors (RFC 3501 6.3.5)."""
        if old == "INBOX":
            target = self.create(account, new, subscribe=False)
            for message in account.inbox.expunge(list(account.inbox.messages)):
                target.add(message.copy())
            return
        renamed = {}
        for name, mailbox in account.mailboxes.items():
            if name == old or account.is_below(name, old):
                name = mailbox.name = new + name[len(old) :]
                for message in mailbox.messages:
                    message.mailbox = name
            renamed[name] = mailbox
        account.boxes = renamed
        account.tell()

    def renumber(self, account: Account, name: str) -> None:
        """Give a mailbox a new UIDVALIDITY and its messages new UIDs, as after a restored backup. Raises KeyError."""
        mailbox = account.mailboxes[name]
        mailbox.uidvalidity = self.next_uidvalidity()
        mailbox.uidnext += len(mailbox.messages) + 100
        for message in mailbox.messages:
            message.uid = mailbox.uidnext
            mailbox.uidnext += 1

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
        for recipient in dict.fromkeys([address.casefold() for address in rcpt_to]):
            account = self.accounts.get(recipient)
            mailbox = account.boxes["INBOX"] if account else self._stranger(recipient)
            copies.append(
                mailbox.add(Message(content, trace, mail_from, rcpt_to, received=received, parameters=parameters))
            )
        return copies

    def messages(self, address: str) -> list[Message]:
        """All messages of an account, or kept for a stranger; oldest first."""
        account = self.account(address)
        if account:
            found = [
                message
                for mailbox in account.mailboxes.values()
                for message in mailbox.messages
                if not (mailbox.permanent and account.labels and len(account.labels.having(message)) > 1)
            ]
            return sorted(found, key=lambda message: message.received)
        stranger = self._strangers.get(address.casefold())
        return list(stranger.messages) if stranger else []

    def strangers(self) -> list[str]:
        return list(self._strangers)

    def _stranger(self, address: str) -> Mailbox:
        return self._strangers.setdefault(address, Mailbox("INBOX", 1))
