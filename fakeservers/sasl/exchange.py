"""What every mechanism is made of: contexts, challenges, outcomes, and the check of a password."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal, Protocol

from fakeservers.mailstore import Account, MailStore
from fakeservers.sasl.saslprep import prepared
from fakeservers.transcript import Secrets

if TYPE_CHECKING:
    from fakeservers.connection import Connection

__all__ = ["Challenge", "Context", "Exchange", "Outcome", "Result", "account_state", "check_password", "context_of"]

Result = Literal[
    "right", "wrong", "unknown-user", "expired", "revoked", "wrong-audience", "disabled", "malformed", "cancelled"
]
"""`expired` is said of passwords and tokens, `revoked` and `wrong-audience` of tokens, `disabled` of accounts whose
credentials were right."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Ask the client further; `data` is not base64 yet. `secret`: it proves a password (a SCRAM server signature) and
    goes out with `Send.secret`."""

    data: bytes = b""
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exchange is over. `account` is set when `result` is right (and where the claimed user exists)."""

    result: Result
    username: str = ""
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What mechanisms need to know of the server. Certificates are DER; `random` makes nonces repeatable; `now` is
    seconds since 1970. `prompts` are the challenges of LOGIN. `bearer_error` is the challenge with which XOAUTH2 and
    OAUTHBEARER refuse a token: None for the mechanism's own JSON, empty for none (the outcome comes at once). `prefix`
    may stand before every name (Gmail's `recent:`). `mechanisms` are those that the profile has."""

    store: MailStore
    secrets: Secrets
    random: Random
    host: str
    now: float
    client_certificate: bytes | None = None
    server_certificate: bytes | None = None
    prompts: tuple[bytes, bytes] = (b"Username:", b"Password:")
    bearer_error: bytes | None = None
    prefix: str = ""
    mechanisms: tuple[str, ...] = ()

    def account(self, username: str) -> Account | None:
        """The account that a client's `username` means."""
        return self.store.account(username.removeprefix(self.prefix))


def context_of(connection: Connection, *, bearer_error: str, prompts: tuple[str, str], prefix: str = "") -> Context:
    """The context of an exchange on `connection`. `bearer_error` is a profile's word for how tokens are refused."""
    site, tls = connection.site, connection.tls
    return Context(
        store=site.store,
        secrets=site.secrets,
        random=site.random,
        host=site.host_name(connection.service),
        now=site.clock.now(),
        client_certificate=tls.client_certificate if tls else None,
        server_certificate=tls.server_certificate if tls else None,
        prompts=(prompts[0].encode(), prompts[1].encode()),
        bearer_error=b"" if bearer_error == "none" else None,
        prefix=prefix,
        mechanisms=tuple(getattr(site.profile, connection.protocol).mechanisms),
    )


class Exchange(Protocol):
    """One exchange of one mechanism."""

    mechanism: str
    client_first: bool
    """The mechanism allows an initial response."""
    username: str
    """The name that the client has claimed so far, or empty."""

    def step(self, response: bytes | None) -> Challenge | Outcome:
        """The client's next answer, decoded; None for the start without an initial response."""


def check_password(where: MailStore | Context, username: str, password: str) -> Outcome:
    """The outcome of a login by name and password. Both sides are compared after SASLprep (RFC 4616 section 2)."""
    account = where.account(prepared(username))
    if account is None:
        return Outcome("unknown-user", username)
    if prepared(password) != prepared(account.password):
        return Outcome("wrong", username, account)
    return Outcome(account_state(account), username, account)


def account_state(account: Account) -> Result:
    """What the right password is worth: the account properties `disabled` and `password_expired` say so."""
    if account.properties.get("disabled"):
        return "disabled"
    return "expired" if account.properties.get("password_expired") else "right"
