"""SASL on the server's side (RFC 4422), for SMTP, IMAP and POP3 alike: bytes in, challenges and an outcome out."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal, Protocol

from fakeservers.mailstore import Account, MailStore
from fakeservers.transcript import Secrets

__all__ = ["Challenge", "Context", "Exchange", "Outcome", "begin", "implemented"]

Result = Literal["right", "wrong", "unknown-user", "expired", "malformed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """Ask the client further; `data` is not base64 yet."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exchange is over. `account` is set when `result` is right (and where the claimed user exists)."""

    result: Result
    username: str = ""
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What mechanisms need to know of the server. `client_certificate` is DER; `random` makes nonces repeatable."""

    store: MailStore
    secrets: Secrets
    random: Random
    host: str
    now: float
    client_certificate: bytes | None = None
    server_certificate: bytes | None = None


class Exchange(Protocol):
    """One exchange of one mechanism."""

    mechanism: str
    client_first: bool
    """The mechanism allows an initial response."""

    def step(self, response: bytes | None) -> Challenge | Outcome:
        """The client's next answer, decoded; None for the start without an initial response."""


def implemented() -> frozenset[str]:
    """The mechanisms that `begin` knows, in upper case."""
    raise LookupError


def begin(mechanism: str, context: Context) -> Exchange | None:
    """A new exchange, or None for a mechanism that is not built here."""
    raise LookupError
