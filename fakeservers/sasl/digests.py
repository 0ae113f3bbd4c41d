"""CRAM-MD5 (RFC 2195), and APOP (RFC 1939 section 7) which is the same idea without SASL."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

from fakeservers.mailstore import MailStore
from fakeservers.sasl.exchange import Challenge, Context, Outcome, account_state
from fakeservers.sasl.saslprep import prepared
from fakeservers.transcript import Secrets

__all__ = ["CramMd5", "apop", "timestamp"]


def timestamp(context: Context) -> bytes:
    """A msg-id that no other connection is given: `<digits.seconds@host>`."""
    return f"<{context.random.getrandbits(60)}.{int(context.now)}@{context.host}>".encode()


class CramMd5:
    """The client answers a timestamp with its name and the HMAC-MD5 of the timestamp under its password."""

    mechanism = "CRAM-MD5"
    client_first = False

    def __init__(self, context: Context) -> None:
        self._context = context
        self._challenge: bytes | None = None
        self.username = ""

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if self._challenge is None:
            if response is not None:
                return Outcome("malformed")
            self._challenge = timestamp(self._context)
            return Challenge(self._challenge)
        name, space, digest = (response or b"").rpartition(b" ")
        try:
            self.username = name.decode()
        except ValueError:
            return Outcome("malformed")
        if not (space and name) or not _is_digest(digest):
            return Outcome("malformed", self.username)
        self._context.secrets.add_proof(digest)
        self._context.secrets.add_proof(base64.b64encode(response or b""))
        challenge = self._challenge
        return _outcome(
            self._context,
            self.username,
            digest,
            lambda password: hmac.new(password, challenge, "md5").hexdigest(),
        )


def apop(where: MailStore | Context, secrets: Secrets, banner: bytes, username: str, digest: bytes) -> Outcome:
    """The outcome of `APOP username digest`: MD5, in lower-case hexadecimal, of the greeting's timestamp (with its
    angle brackets) and the password. A digest of another form is malformed."""
    if not _is_digest(digest):
        return Outcome("malformed", username)
    secrets.add_proof(digest)
    return _outcome(where, username, digest, lambda password: hashlib.md5(banner + password).hexdigest())


def _is_digest(digest: bytes) -> bool:
    return len(digest) == 32 and not digest.translate(None, b"0123456789abcdef")


def _outcome(where: MailStore | Context, username: str, digest: bytes, proof: Callable[[bytes], str]) -> Outcome:
    account = where.account(prepared(username))
    if account is None:
        return Outcome("unknown-user", username)
    passwords = {account.password, prepared(account.password)}
    if all(proof(password.encode()).encode() != digest for password in passwords):
        return Outcome("wrong", username, account)
    return Outcome(account_state(account), username, account)
