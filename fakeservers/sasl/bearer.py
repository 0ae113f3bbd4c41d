"""OAuth2 access tokens over SASL: OAUTHBEARER (RFC 7628) and its forerunner XOAUTH2."""

from __future__ import annotations

import json

from fakeservers.mailstore import Account
from fakeservers.sasl.exchange import Challenge, Context, Outcome, Result

__all__ = ["GOODBYE", "OAuthBearer", "XOAuth2"]

GOODBYE = b"\x01"
"""What a client of OAUTHBEARER answers to the reason of a refusal (RFC 7628 section 3.2.3); no token is in it."""

SCOPE = "https://mail.google.com/"


class _Bearer:
    """A token is right when it is in `Account.tokens`, unless an account property says otherwise: `expired_tokens`,
    `revoked_tokens` and `foreign_tokens` (of another audience) are a token or several; `tokens_refused` makes every
    token wrong, `token_expires` (seconds since 1970) every right one expired from then on. A token that is refused
    gets a challenge with the error as JSON; the client answers it, then the exchange fails."""

    mechanism = ""
    client_first = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._refusal: Outcome | None = None
        self.username = ""

    def step(self, response: bytes | None) -> Challenge | Outcome:
        if self._refusal is not None:
            # The client's answer means nothing: empty for XOAUTH2, %x01 for OAUTHBEARER (RFC 7628 section 3.2.3).
            return self._refusal
        if response is None:
            return Challenge()
        token = self._parse(response)
        if token is None:
            return Outcome("malformed", self.username)
        outcome = self._check(token)
        if outcome.result == "right":
            return outcome
        error = self._context.bearer_error
        if error == b"":
            return outcome
        self._refusal = outcome
        return Challenge(self._error(outcome.result) if error is None else error)

    def _parse(self, response: bytes) -> str | None:
        """The token, after setting the username; None for a malformed message."""
        raise NotImplementedError

    def _error(self, result: Result) -> bytes:
        raise NotImplementedError

    def _check(self, token: str) -> Outcome:
        if self.username:
            account = self._context.account(self.username)
            if account is None:
                return Outcome("unknown-user", self.username)
            return Outcome(_state(account, token, self._context.now), self.username, account)
        # Without a name the token alone says who the client is.
        for account in self._context.store.accounts.values():
            if (state := _state(account, token, self._context.now)) != "wrong":
                return Outcome(state, account.address, account)
        return Outcome("wrong")


class XOAuth2(_Bearer):
    r"""`user=NAME\x01auth=Bearer TOKEN\x01\x01`, as Google and Microsoft describe it."""

    mechanism = "XOAUTH2"

    def _parse(self, response: bytes) -> str | None:
        fields = _fields(response)
        self.username = fields.get("user", "")
        return _token(fields) if self.username else None

    def _error(self, result: Result) -> bytes:
        status = "401" if result in ("expired", "revoked") else "400"
        return json.dumps({"status": status, "schemes": "Bearer", "scope": SCOPE}, separators=(",", ":")).encode()


class OAuthBearer(_Bearer):
    r"""`n,a=NAME,\x01host=H\x01port=P\x01auth=Bearer TOKEN\x01\x01`; the name may be left out."""

    mechanism = "OAUTHBEARER"

    def _parse(self, response: bytes) -> str | None:
        header, separator, rest = response.partition(b"\x01")
        try:
            binding, authzid, empty = header.decode().split(",")
        except ValueError:
            return None
        # RFC 7628 section 3.1: no channel binding is defined for the bearer scheme.
        if not separator or binding not in ("n", "y") or empty or (authzid and not authzid.startswith("a=")):
            return None
        self.username = authzid[2:].replace("=2C", ",").replace("=3D", "=")
        return _token(_fields(rest))

    def _error(self, result: Result) -> bytes:
        status = "insufficient_scope" if result == "wrong-audience" else "invalid_token"
        return json.dumps({"status": status, "schemes": "bearer", "scope": SCOPE}).encode()


def _fields(message: bytes) -> dict[str, str]:
    r"""`key=value` pairs, each ended by \x01, the whole by one more; empty when that form is broken."""
    try:
        text = message.decode()
    except ValueError:
        return {}
    if not text.endswith("\x01\x01"):
        return {}
    pairs = [pair.partition("=") for pair in text[:-2].split("\x01")]
    return {key: value for key, equals, value in pairs if key and equals}


def _token(fields: dict[str, str]) -> str | None:
    scheme, space, token = fields.get("auth", "").partition(" ")
    return token.strip() if space and scheme.lower() == "bearer" else None


_TOKEN_LISTS: tuple[tuple[str, Result], ...] = (
    ("expired_tokens", "expired"),
    ("revoked_tokens", "revoked"),
    ("foreign_tokens", "wrong-audience"),
)


def _state(account: Account, token: str, now: float) -> Result:
    properties = account.properties
    if properties.get("tokens_refused"):
        return "wrong"
    for name, result in _TOKEN_LISTS:
        listed = properties.get(name)
        if token in (listed if isinstance(listed, list | tuple | set | frozenset) else (listed,)):
            return result
    if token not in account.tokens:
        return "wrong"
    if properties.get("disabled"):
        return "disabled"
    expires = properties.get("token_expires")
    return "expired" if isinstance(expires, int | float) and now >= expires else "right"
