"""SASL on the server's side (RFC 4422), for SMTP, IMAP and POP3 alike: bytes in, challenges and an outcome out.

A core calls `begin`, then `answer` with each line of the client (or `Exchange.step` with what it has decoded itself)
until that gives an `Outcome`. Nothing here counts failures or asks rules: that is the core's business.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from fakeservers.sasl.bearer import GOODBYE, OAuthBearer, XOAuth2
from fakeservers.sasl.digests import CramMd5, apop, timestamp
from fakeservers.sasl.exchange import Challenge, Context, Exchange, Outcome, Result, check_password, context_of
from fakeservers.sasl.ntlm import Ntlm, available
from fakeservers.sasl.plain import Anonymous, External, Login, Plain
from fakeservers.sasl.refused import DigestMd5, Gssapi
from fakeservers.sasl.scram import Scram

__all__ = [
    "GOODBYE", "Challenge", "Context", "Exchange", "Outcome", "Result", "answer", "apop", "begin", "check_password",
    "context_of", "implemented", "timestamp",
]  # fmt: skip

_MECHANISMS: dict[str, Callable[[Context], Exchange]] = {
    "PLAIN": Plain,
    "LOGIN": Login,
    "CRAM-MD5": CramMd5,
    "XOAUTH2": XOAuth2,
    "OAUTHBEARER": OAuthBearer,
    "EXTERNAL": External,
    "ANONYMOUS": Anonymous,
    "NTLM": Ntlm,
    "DIGEST-MD5": DigestMd5,
    "GSSAPI": Gssapi,
    **{
        name: lambda context, name=name: Scram(context, name)  # type: ignore[misc]
        for name in ("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS")
    },
}


def implemented() -> frozenset[str]:
    """The mechanisms that `begin` knows, in upper case."""
    return frozenset(_MECHANISMS)


def begin(mechanism: str, context: Context) -> Exchange | None:
    """A new exchange, or None for a mechanism that is not built here (or needs a TLS certificate or a library that is
    not there).
    Mechanism names are case-insensitive to us, as all protocols send them in any case."""
    name = mechanism.upper()
    if name.endswith("-PLUS") and context.server_certificate is None:
        return None
    if name == "NTLM" and not available():
        return None
    made = _MECHANISMS.get(name)
    return made(context) if made is not None else None


def answer(exchange: Exchange, line: bytes, *, initial: bool = False) -> Challenge | Outcome:
    """The client's next line, still base64 and without its line end: `*` cancels; `=` is an empty initial response
    (RFC 4954 section 4, RFC 5034 section 4, RFC 4959); what is no base64 is malformed."""
    if line == b"*" and not initial:
        return Outcome("cancelled", exchange.username)
    if initial and line == b"=":
        line = b""
    try:
        return exchange.step(base64.b64decode(line, validate=True))
    except binascii.Error:
        return Outcome("malformed", exchange.username)
