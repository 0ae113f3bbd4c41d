"""One connection as the cores and the rules see it: facts and counts, no socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from fakeservers.actions import TlsFacts
from fakeservers.mailstore import Account
from fakeservers.rules import Effect
from fakeservers.tally import Tally
from fakeservers.templates import placeholders, render
from fakeservers.transcript import HEARD, HEARD_BODY, NOTHING, Where

if TYPE_CHECKING:
    from fakeservers.site import Site

__all__ = ["Connection"]


class Stirs(Protocol):
    def stir(self) -> None: ...


class Connection:
    """Facts of one connection. `protocol` is smtp, imap or pop3; `service` the listener's name."""

    __slots__ = (
        "_tls", "account", "claimed", "client", "ehlo", "facts", "id", "mechanism", "protocol", "service", "site",
        "tally", "variables", "where", "wire",
    )  # fmt: skip

    def __init__(self, site: Site, number: int, service: str, protocol: str, client: str) -> None:
        self.site = site
        self.id = number
        self.service = service
        self.protocol = protocol
        self.client = client
        self._tls: TlsFacts | None = None
        self.where: Where = (number, service, None)
        self.account: Account | None = None
        self.claimed: Account | None = None
        """The account that a login under way names; rules on `account.*` look at it before success too."""
        self.mechanism: str | None = None
        self.ehlo: str | None = None
        self.tally = Tally()
        self.facts: dict[str, object] = {}
        """Facts that outlive one command: `sender`, `recipients`, `mailbox`."""
        self.variables: dict[str, str] = {}
        """The profile's ids of this connection, as far as somebody has seen them."""
        self.wire: Stirs | None = None

    @property
    def tls(self) -> TlsFacts | None:
        """What the handshake settled, None in clear."""
        return self._tls

    @tls.setter
    def tls(self, facts: TlsFacts | None) -> None:
        self._tls = facts
        self.where = (self.id, self.service, facts.version if facts else None)

    @property
    def tls_version(self) -> str | None:
        return self.where[2]

    def wake(self) -> None:
        """Have the session's `stirred` called soon."""
        if self.wire is not None:
            self.wire.stir()

    # --- login

    def login(self, account: Account, mechanism: str) -> None:
        """The client is `account` from here on."""
        self.account, self.mechanism = account, mechanism
        account.sessions[self.protocol] = account.sessions.get(self.protocol, 0) + 1
        self.count("logins")
        self.event(f"logged in as {account.address} by {mechanism}", {"event": "login", "mechanism": mechanism})

    def release(self) -> None:
        """The connection is gone, or its login is."""
        if self.account is not None:
            self.account.sessions[self.protocol] -= 1
            self.account = None

    # --- rules

    def consult(self, command: str, /, **facts: object) -> Effect | None:
        """The rules' word at this protocol's point `command`."""
        return self.site.rules.consult(f"{self.protocol}.{command}", self, **facts)

    def fact(self, key: str, within: float | None) -> object:
        """A fact by its condition key, see `fakeservers.rules`."""
        scope, dot, name = key.partition(".")
        if dot:
            return self.scoped(scope, name, within)
        match key:
            case "tls":
                return self.tls_version
            case "service":
                return self.service
            case "client":
                return self.client
            case "ehlo":
                return self.ehlo
            case "authenticated":
                return self.account is not None
            case "mechanism":
                return self.mechanism
            case "username":
                account = self.account or self.claimed
                return account.address if account else None
            case "elapsed":
                return self.site.clock.now() - self.site.started
            case "sni":
                return self.tls.sni if self.tls else None
        return self.facts.get(key)

    def scoped(self, scope: str, name: str, within: float | None) -> object:
        """A property or counter of the account, the connection or the host."""
        if scope == "account":
            account = self.account or self.claimed
            if account is None:
                return None
            if name == "sessions":
                return account.sessions.get(self.protocol, 0)
            if name in account.properties:
                return account.properties[name]
            return self._count(account.tally, name, within)
        if scope == "host":
            return self.site.sessions if name == "sessions" else self._count(self.site.tally, name, within)
        return self._count(self.tally, name, within)

    def _count(self, tally: Tally, name: str, within: float | None) -> int:
        return tally.total(name) if within is None else tally.within(name, self.site.clock.now(), within)

    def count(self, name: str, amount: int = 1) -> None:
        """Count for this connection, its account and the host."""
        now = self.site.clock.now()
        self.tally.add(name, now, amount)
        self.site.tally.add(name, now, amount)
        if self.account is not None:
            self.account.tally.add(name, now, amount)

    def count_message(self, recipients: int, octets: int) -> None:
        """As `count`, for one message."""
        counted = (self.site.clock.now(), recipients, octets)
        self.tally.add_message(counted)
        self.site.tally.add_message(counted)
        if self.account is not None:
            self.account.tally.add_message(counted)

    # --- words

    def text(self, template: str, **values: object) -> str:
        """A profile's or rule's text with its placeholders filled."""
        if "{" not in template:
            return template
        for name in placeholders(template):
            if name not in values and (word := self.word(name)) is not None:
                values[name] = word
        return render(template, values)

    def word(self, name: str) -> object:
        """A placeholder's value: one of this connection's ids, which are made when a text first has them, or what
        every text may use; None for another name."""
        made = self.variables.get(name)
        if made is None:
            made = self.site.variable(name, self.variables)
        return self.site.word(self, name) if made is None else made

    # --- transcript

    def heard(self, data: bytes, *, body: bool = False, masked: bool = False) -> None:
        """The client said `data`: one command, line, literal or message. `masked`: the caller has hidden a password."""
        self.site.transcript.enter(self.where, HEARD_BODY if body else HEARD, data, masked)

    def secret(self, kind: str = "password") -> None:
        """The client sent a credential over this channel; said by cores that mask by position."""
        self.site.transcript.secret_seen(*self.where, kind)

    def event(self, text: str, facts: Mapping[str, object] = NOTHING, rule: str | None = None) -> None:
        self.site.transcript.enter(self.where, ("*", rule, False, facts), text.encode())
