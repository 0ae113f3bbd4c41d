"""SASL mechanisms (RFC 4422) without any I/O, and the choice among those a server offers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from .errors import MailError

__all__ = ["Credentials", "Mechanism", "choose", "create", "sends_secret"]


@dataclass(frozen=True)
class Credentials:
    """Who logs in; no repr shows how. `certificate`: a client certificate is in use, so EXTERNAL can say who we are."""

    username: str = ""
    password: str = field(default="", repr=False)
    access_token: str | None = field(default=None, repr=False)
    certificate: bool = False

    @property
    def present(self) -> bool:
        return bool(self.username or self.access_token)


class Mechanism(Protocol):
    """One exchange: an initial response (None where the server speaks first), then an answer to each
    challenge. `finish` is called when the server says that all is well, and may disagree."""

    name: str

    def initial(self) -> bytes | None: ...

    def answer(self, challenge: bytes) -> bytes: ...

    def finish(self) -> None: ...


class _OneShot:
    """A mechanism whose initial response says everything; a challenge after it is a failure report
    that has to be answered with `goodbye` before the server refuses (RFC 7628 3.2.3)."""

    def __init__(self, name: str, response: bytes, goodbye: bytes = b"") -> None:
        self.name = name
        self._response: bytes | None = response
        self._goodbye: bytes | None = goodbye

    def initial(self) -> bytes:
        response, self._response = self._response, None
        return response or b""

    def answer(self, challenge: bytes) -> bytes:
        if self._response is not None:
            return self.initial()
        goodbye, self._goodbye = self._goodbye, None
        if goodbye is None:
            raise MailError("protocol", f"the server goes on asking after the end of {self.name}")
        return goodbye

    def finish(self) -> None:
        return


class _Login:
    """LOGIN: two prompts whose words do not matter."""

    name = "LOGIN"

    def __init__(self, credentials: Credentials) -> None:
        self._answers = [credentials.username.encode(), credentials.password.encode()]

    def initial(self) -> None:
        return None

    def answer(self, challenge: bytes) -> bytes:
        if not self._answers:
            raise MailError("protocol", "the server asked for more than a user name and a password")
        return self._answers.pop(0)

    def finish(self) -> None:
        return


class _CramMd5:
    """CRAM-MD5 (RFC 2195)."""

    name = "CRAM-MD5"

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._answered = False

    def initial(self) -> None:
        return None

    def answer(self, challenge: bytes) -> bytes:
        if self._answered or not challenge:
            raise MailError("protocol", "the server's CRAM-MD5 challenge makes no sense")
        self._answered = True
        digest = hmac.new(self._credentials.password.encode(), challenge, hashlib.md5).hexdigest()
        return f"{self._credentials.username} {digest}".encode()

    def finish(self) -> None:
        return


class _Scram:
    """SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, 7677), without channel binding."""

    def __init__(self, name: str, credentials: Credentials) -> None:
        from scramp import ScramClient, ScramException

        self.name = name
        self._failure: type[Exception] = ScramException
        try:
            self._client: Any = ScramClient([name], credentials.username, str(credentials.password))
        except ScramException as error:
            raise MailError("config", f"user name or password cannot be used with {name}: {error}") from None
        self._verified = False
        self._steps = 0

    def initial(self) -> bytes:
        self._steps = 1
        return str(self._client.get_client_first()).encode()

    def answer(self, challenge: bytes) -> bytes:
        if self._steps == 0:
            return self.initial()
        self._steps += 1
        try:
            if self._steps == 2:
                self._client.set_server_first(challenge.decode())
                return str(self._client.get_client_final()).encode()
            if self._steps == 3:
                self._client.set_server_final(challenge.decode())
                self._verified = True
                return b""
        except (self._failure, UnicodeDecodeError) as error:
            raise MailError("authentication", f"the server's part of {self.name} is wrong: {error}") from None
        raise MailError("protocol", f"the server goes on after the end of {self.name}")

    def finish(self) -> None:
        if not self._verified:
            raise MailError("authentication", f"the server did not prove that it knows the password ({self.name})")


# The strongest first. PLAIN before LOGIN: one round trip, and a standard.
_STRENGTH: Final = ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN")
_TOKEN: Final = ("OAUTHBEARER", "XOAUTH2")
_SECRET_ON_THE_WIRE: Final = frozenset({"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "USER"})


def sends_secret(name: str) -> bool:
    """Whether the mechanism shows the password or token itself to whoever listens."""
    return name in _SECRET_ON_THE_WIRE


def choose(
    setting: str,
    offered: Sequence[str],
    credentials: Credentials,
    *,
    secrets_allowed: bool,
    plain_login: str | None = None,
) -> list[str]:
    """The mechanisms to try, in this order; more than one only for `auto`.

    `offered` are the server's names in capitals. `plain_login` names the protocol's own login command
    (IMAP's LOGIN, POP3's USER) when the server takes it. `secrets_allowed`: the connection is encrypted, or
    the user accepts cleartext. Raises MailError `auth-mechanism`, or `tls-required` where only the missing
    encryption stands in the way.
    """
    available = [*offered, plain_login] if plain_login else list(offered)
    if setting == "auto":
        wanted = _wanted(credentials)
    elif setting == "login":
        wanted = [name for name in (plain_login, "LOGIN") if name]
    else:
        wanted = [setting.upper()]
    if plain_login and setting == "auto" and not credentials.access_token:
        wanted.insert(wanted.index("LOGIN"), plain_login)
    common = [name for name in dict.fromkeys(wanted) if name in available]
    if not common:
        supported = ", ".join((*_STRENGTH, *_TOKEN, "EXTERNAL"))
        offers = ", ".join([*offered, *(["the protocol's own login command"] if plain_login else [])]) or "none"
        what = f"{setting.upper()} was chosen" if setting != "auto" else f"supported here: {supported}"
        raise MailError("auth-mechanism", f"no common authentication mechanism: the server offers {offers}; {what}")
    usable = [name for name in common if secrets_allowed or not sends_secret(name)]
    if not usable:
        raise MailError(
            "tls-required",
            f"the connection is not encrypted, and {', '.join(common)} would show the password or token; "
            "use TLS, or allow cleartext",
        )
    return usable


def _wanted(credentials: Credentials) -> list[str]:
    if credentials.access_token:
        return [*_TOKEN, *(_STRENGTH if credentials.password else ())]
    if credentials.certificate and not credentials.password:
        return ["EXTERNAL", *_STRENGTH]
    return list(_STRENGTH)


def create(name: str, credentials: Credentials, host: str, port: int) -> Mechanism:
    """A fresh exchange. Raises MailError `config` where the mechanism lacks what it needs."""
    user = credentials.username
    if name in _TOKEN:
        token = credentials.access_token or credentials.password
        if not token:
            raise MailError("config", f"{name} needs an access token, and none is set")
        if name == "XOAUTH2":
            return _OneShot(name, f"user={user}\x01auth=Bearer {token}\x01\x01".encode())
        identity = user.replace("=", "=3D").replace(",", "=2C")
        response = f"n,a={identity},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"
        return _OneShot(name, response.encode(), goodbye=b"\x01")
    if name == "EXTERNAL":
        if not credentials.certificate:
            raise MailError("config", "EXTERNAL needs a client certificate, and none is set")
        return _OneShot(name, user.encode())
    if not user:
        raise MailError("config", f"{name} needs a user name, and none is set")
    if name == "PLAIN":
        if "\0" in user or "\0" in credentials.password:
            raise MailError("config", "a user name or password with a NUL cannot be used with PLAIN")
        return _OneShot(name, f"\0{user}\0{credentials.password}".encode())
    if name == "LOGIN":
        return _Login(credentials)
    if name == "CRAM-MD5":
        return _CramMd5(credentials)
    if name in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
        return _Scram(name, credentials)
    raise MailError("config", f"unknown authentication mechanism {name}")


def offered_names(keywords: Iterable[str]) -> list[str]:
    """Mechanism names as capitals, each once, in the server's order."""
    return list(dict.fromkeys(word.upper() for word in keywords))
