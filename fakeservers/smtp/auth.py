"""The AUTH command's dialogue (RFC 4954): base64 lines around an exchange of `fakeservers.sasl`."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from fakeservers import sasl

if TYPE_CHECKING:
    from fakeservers.smtp.session import SmtpSession

__all__ = ["AUTH_LINE_LIMIT", "Authentication", "begin", "credential_kind", "mask_command"]

REFUSALS = ("auth.expired", "auth.disabled")
"""Replies to credentials that are right and of no use."""
AUTH_LINE_LIMIT = 12288
"""Octets of a line of the exchange, line end included (RFC 4954 4)."""

_COMMAND = re.compile(rb"([\0-\x20]*AUTH[\0-\x20]+([^\0-\x20]+)[\0-\x20]+)(.+)", re.IGNORECASE | re.DOTALL)
"""However it is mistyped, a password may be in it."""


def mask_command(line: bytes) -> tuple[bytes, str | None]:
    """An AUTH line with its initial response hidden, and what kind of credential that was or None."""
    text = line.rstrip(b"\r\n")
    match = _COMMAND.match(text)
    if match is None:
        return line, None
    kind = None
    try:
        response = base64.b64decode(match[3], validate=True)
    except binascii.Error:
        response = b""
    if response:
        kind = credential_kind(match[2].decode("ascii", "replace").upper(), response)
    return match[1] + b"***" + line[len(text) :], kind


def credential_kind(mechanism: str, response: bytes, *, named: bool = False) -> str | None:
    """The kind of credential that the client's answer carries as it is, password or token, else None. `named`: the
    exchange knows the username, so the next answer of LOGIN is the password."""
    match mechanism:
        case "LOGIN":
            return "password" if named and response else None
        case "XOAUTH2" | "OAUTHBEARER":
            return "token" if b"auth=" in response.lower() else None
    if mechanism.startswith("PLAIN"):
        parts = response.split(b"\0", 2)
        return "password" if len(parts) == 3 and parts[2] else None
    return None


def begin(dialogue: SmtpSession, mechanism: str, initial: bytes | None) -> None:
    """Answer `AUTH mechanism [initial]`: refuse it, or open the exchange."""
    offered = dialogue.profile.mechanisms if dialogue.overruled else dialogue.offered.mechanisms
    if not offered:
        dialogue.say("auth.tls" if dialogue.auth_needs_tls else "auth.unavailable")
        return
    if mechanism not in offered:
        dialogue.say("auth.mechanism")
        return
    profile = dialogue.profile
    context = sasl.context_of(dialogue.connection, bearer_error=profile.bearer_error, prompts=profile.login_prompts)
    exchange = sasl.begin(mechanism, context)
    if exchange is None:
        dialogue.lacks(f"AUTH {mechanism}")
        dialogue.say("auth.mechanism")
    elif initial is not None and not exchange.client_first:
        dialogue.say("auth.initial-response")
    else:
        Authentication(dialogue, exchange, mechanism).start(initial)


class Authentication:
    """One exchange under way; the session gives it the client's lines until it is over."""

    __slots__ = ("_dialogue", "_exchange", "_mechanism")

    def __init__(self, dialogue: SmtpSession, exchange: sasl.Exchange, mechanism: str) -> None:
        self._dialogue = dialogue
        self._exchange = exchange
        self._mechanism = mechanism

    def start(self, initial: bytes | None) -> None:
        """The AUTH command itself, with its initial response still in base64."""
        if initial is None:
            self._proceed(None)
        elif initial == b"=":
            self._proceed(b"")
        else:
            self._decode(initial)

    def hear(self, line: bytes) -> None:
        """Put a line of the exchange into the transcript, as much of it as may be kept."""
        connection = self._dialogue.connection
        named = bool(self._exchange.username)
        text = line.rstrip(b"\r\n")
        if text in (b"", b"*") or (self._mechanism == "LOGIN" and not named):
            connection.heard(line)
            return
        connection.heard(b"***" + line[len(text) :], masked=True)
        try:
            response = base64.b64decode(text, validate=True)
        except binascii.Error:
            return
        if kind := credential_kind(self._mechanism, response, named=named):
            connection.secret(kind)

    def response(self, line: bytes) -> None:
        """The client's next line, without its line end."""
        dialogue = self._dialogue
        dialogue.authentication = None
        dialogue.consult(
            "smtp.auth-step",
            command="auth",
            argument=line.decode("utf-8", "replace"),
            mechanism=self._mechanism,
            **self._named(),
        )
        if dialogue.refused:
            dialogue.say("auth.bad-credentials")
        elif line == b"*":
            dialogue.say("auth.cancelled")
        else:
            self._decode(line)

    def _named(self) -> dict[str, object]:
        return {"username": self._exchange.username} if self._exchange.username else {}

    def _decode(self, line: bytes) -> None:
        try:
            response = base64.b64decode(line, validate=True)
        except binascii.Error:
            self._dialogue.say("auth.decode")
            return
        self._proceed(response)

    def _proceed(self, response: bytes | None) -> None:
        answer = self._exchange.step(response)
        dialogue = self._dialogue
        # A rule may let the client in early, or never stop asking.
        if isinstance(answer, sasl.Challenge) and self._ruled_by("2"):
            answer = sasl.Outcome(
                "right", self._exchange.username, dialogue.site.store.account(self._exchange.username)
            )
        elif isinstance(answer, sasl.Outcome) and self._ruled_by("334"):
            answer = sasl.Challenge()
        if isinstance(answer, sasl.Challenge):
            self._dialogue.authentication = self
            self._dialogue.say_bytes(b"334 " + base64.b64encode(answer.data) + b"\r\n", secret=answer.secret)
            return
        self._settle(answer)

    def _ruled_by(self, beginning: str) -> bool:
        """Whether a rule at this point answers with what begins so."""
        effect = self._dialogue._effect
        act = effect.reply if effect is not None else None
        return act is not None and (act.reply or "").startswith(beginning)

    def _settle(self, outcome: sasl.Outcome) -> None:
        dialogue, connection = self._dialogue, self._dialogue.connection
        if outcome.result == "cancelled":
            dialogue.say("auth.cancelled")
            return
        if outcome.result == "malformed":
            dialogue.say("auth.malformed")
            return
        connection.claimed = outcome.account
        dialogue.consult(
            "smtp.credentials",
            command="auth",
            credentials=outcome.result,
            mechanism=self._mechanism,
            username=outcome.username,
        )
        if not dialogue.refused and (outcome.result == "right" or dialogue.overruled):
            dialogue.logged_in(outcome.account, self._mechanism)
            dialogue.say("auth.ok")
            return
        self._count_failure()
        own = f"auth.{outcome.result}"
        dialogue.say(own if own in REFUSALS else "auth.bad-credentials")

    def _count_failure(self) -> None:
        """Failures count for the account that was claimed, though nobody has logged in to it."""
        connection = self._dialogue.connection
        connection.count("failed_logins")
        if connection.account is None and connection.claimed is not None:
            connection.claimed.tally.add("failed_logins", connection.site.clock.now())
