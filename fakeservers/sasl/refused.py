"""Mechanisms that a server advertises and in whose exchange nobody succeeds: DIGEST-MD5 and GSSAPI.

So does an Exchange server outside its domain, or a Cyrus without a keytab: what matters is what the client does next.
"""

from __future__ import annotations

from fakeservers.sasl.exchange import Challenge, Context, Outcome

__all__ = ["DigestMd5", "Gssapi"]


class DigestMd5:
    """RFC 2831, which RFC 6331 has made historic: a challenge as the RFC wants it; every response is refused."""

    mechanism = "DIGEST-MD5"
    client_first = False

    def __init__(self, context: Context) -> None:
        self._context = context
        self.username = ""

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if response is None:
            nonce = self._context.random.randbytes(12).hex()
            realm = self._context.host
            return Challenge(
                f'realm="{realm}",nonce="{nonce}",qop="auth",charset=utf-8,algorithm=md5-sess'.encode(
                    "ascii", "replace"
                )
            )
        self.username = _directive(response, b"username")
        return Outcome("wrong", self.username, self._context.account(self.username))


class Gssapi:
    """RFC 4752: an empty challenge, then no token is good enough, for there is no key to read it with."""

    mechanism = "GSSAPI"
    client_first = True

    def __init__(self, context: Context) -> None:
        self.username = ""

    def step(self, response: bytes | None) -> Challenge | Outcome:
        return Challenge() if response is None else Outcome("wrong")


def _directive(response: bytes, name: bytes) -> str:
    """The value of `name="..."` in a DIGEST-MD5 response, or empty."""
    _, found, rest = response.partition(name + b'="')
    return rest.partition(b'"')[0].decode("utf-8", "replace") if found else ""
