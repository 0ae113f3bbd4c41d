"""What every mechanism is made of: contexts, challenges, outcomes, and the check of a password."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol

from fakeservers.mailstore import Account, MailStore
from fakeservers.sasl.saslprep import prepared
from fakeservers.transcript import Secrets

__all__ = ["Challenge", "Context", "Exchange", "Outcome", "Result", "check_password"]

Result = Literal["right", "wrong", "unknown-user", "expired", "malformed", "cancelled"]


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
    may stand before every name (Gmail's `recent:`)."""

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

    def account(self, username: str) -> Account | None:
        """The account that a client's `username` means."""
        return self.store.account(username.removeprefix(self.prefix))


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
    """The outcome of a login by name and password. Both sides are compared after SASLprep (RFC 4616 section 2); the
    account property `password_expired` makes the right password an expired one."""
    account = where.account(prepared(username))
    if account is None:
        return Outcome("unknown-user", username)
    if prepared(password) != prepared(account.password):
        return Outcome("wrong", username, account)
    return Outcome("expired" if account.properties.get("password_expired") else "right", username, account)
