"""Conditions of rules: the facts that they may look at, and the tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fakeservers.durations import Duration
from fakeservers.nearest import unknown

__all__ = ["SCOPES", "Condition", "Scalar", "fact_names", "known_fact"]

Scalar = str | int | float | bool | None

FACTS: Mapping[str, str] = {
    "tls": "true under TLS, or the version as text (`TLSv1.2`)",
    "service": "smtp, submission, smtps, imap, imaps, pop3, pop3s",
    "command": "the command's name in lower case",
    "argument": "what follows the command, without the line end",
    "ehlo": "the name given in EHLO or HELO; null before",
    "authenticated": "true after a successful login",
    "mechanism": "the SASL mechanism in upper case, or `LOGIN` / `USER` / `APOP` for the plain commands",
    "username": "the name that the client claims",
    "credentials": "right, wrong, unknown-user, expired, disabled, revoked or wrong-audience (at `*.credentials`)",
    "address": "the address in MAIL or RCPT, without brackets; empty for the null reverse-path",
    "domain": "its domain",
    "sender": "the reverse-path of this transaction",
    "parameters": "MAIL or RCPT parameters as one text",
    "recipients": "recipients of this transaction, this one included at `smtp.rcpt`",
    "size": "octets: declared at MAIL, real at `message`, of the literal at APPEND",
    "smtputf8": "true when the transaction uses it",
    "eight_bit": "true when the message has octets over 127",
    "bare_lf": "true when the message has LF without CR, or CR without LF",
    "from_header": "the addr-spec of the message's From",
    "subject": "the message's Subject, decoded",
    "mailbox": "the mailbox that the command names or has selected",
    "items": "FETCH items or the SEARCH program as they came",
    "client": "the client's IP address",
    "sni": "the server name of the TLS handshake, or null",
    "elapsed": "seconds that the host's clock has moved since the host was made",
}
SCOPES = ("connection", "account", "host")
COUNTERS = (
    "messages",
    "recipients",
    "connections",
    "sessions",
    "logins",
    "failed_logins",
    "commands",
    "bad_commands",
    "octets",
)


def fact_names() -> dict[str, str]:
    """Every plain condition key with its meaning."""
    return dict(FACTS)


class Condition(BaseModel):
    """A test on one fact: all given parts must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    equals: Scalar | list[Scalar] = None
    not_: Scalar | list[Scalar] = Field(default=None, alias="not")
    glob: str | None = None
    regex: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    every: int | None = Field(default=None, gt=0, description="true for each multiple of this number")
    within: Duration | None = Field(default=None, description="counters: the window, e.g. 24h")
    present: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return value if isinstance(value, dict | Condition) else {"equals": value}

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return value

    def compiled(self) -> Callable[[object], bool]:
        """`test`, made short for the conditions that stand at every message."""
        given = self.model_fields_set - {"within"}
        if given == {"equals"}:
            equals = self.equals
            return lambda value: _among(value, equals)
        if given == {"not_"}:
            unwanted = self.not_
            return lambda value: not _among(value, unwanted)
        if given == {"regex"} and self.regex is not None:
            search = re.compile(self.regex, re.IGNORECASE).search
            return lambda value: search("" if value is None else str(value)) is not None
        if given == {"at_least"} and self.at_least is not None:
            least = self.at_least
            return lambda value: isinstance(value, int | float) and value >= least
        return self.test

    def test(self, value: object) -> bool:
        """Texts are compared without case; a list means any of them."""
        given = self.model_fields_set
        if "present" in given and (value is not None) != self.present:
            return False
        if "equals" in given and not _among(value, self.equals):
            return False
        if "not_" in given and _among(value, self.not_):
            return False
        text = "" if value is None else str(value)
        if self.glob is not None and not fnmatchcase(text.lower(), self.glob.lower()):
            return False
        if self.regex is not None and not re.search(self.regex, text, re.IGNORECASE):
            return False
        if self.at_least is None and self.at_most is None and self.every is None:
            return True
        if not isinstance(value, int | float):
            return False
        if self.at_least is not None and value < self.at_least:
            return False
        if self.at_most is not None and value > self.at_most:
            return False
        return self.every is None or value % self.every == 0


def _among(value: object, wanted: Scalar | list[Scalar]) -> bool:
    if isinstance(wanted, list):
        return any(_among(value, one) for one in wanted)
    if isinstance(wanted, bool) or wanted is None:
        return bool(value) == wanted if isinstance(wanted, bool) else value is None
    if isinstance(wanted, str):
        return value is not None and str(value).casefold() == wanted.casefold()
    return value == wanted


def known_fact(key: str) -> None:
    """Raises ValueError, naming what there is, for a condition key that no core could ever set."""
    scope, dot, name = key.partition(".")
    if key in FACTS or key == "probability" or (dot and scope == "header"):
        return
    if dot and scope == "nth" and name in SCOPES:
        return
    if dot and scope == "account" and name:
        return
    if dot and scope in SCOPES and name in COUNTERS:
        return
    known = [*FACTS, "probability", "header.<name>", *(f"nth.{s}" for s in SCOPES), "account.<property>",
             *(f"{s}.{c}" for s in SCOPES for c in COUNTERS)]  # fmt: skip
    raise ValueError(unknown("condition", key, known))
