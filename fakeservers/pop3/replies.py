"""What the POP3 server says: default texts by key; `pop3.replies` of a profile overrides them.

A text is a status indicator and what follows (RFC 1939 section 3), with placeholders. Beside those of
`fakeservers.templates`, `{number}` is the message-number, `{unique_id}` the unique-id and `{timestamp}` the banner of
APOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from fakeservers.connection import Connection
from fakeservers.rules import Act
from fakeservers.templates import format_of, placeholders

__all__ = ["DEFAULTS", "REPLY_KEYS", "Replies", "replies_of", "rule_lines"]

DEFAULTS: Mapping[str, str] = {
    "greeting": "+OK POP3 server ready",
    "capa": "+OK Capability list follows",
    "user": "+OK send PASS",
    "pass": "+OK Logged in.",
    "pass-refused": "-ERR [AUTH] Authentication failed.",
    "apop": "+OK Logged in.",
    "apop-refused": "-ERR [AUTH] Authentication failed.",
    "auth": "+OK Logged in.",
    "auth-refused": "-ERR [AUTH] Authentication failed.",
    "auth-malformed": "-ERR Malformed SASL response.",
    "auth-cancelled": "-ERR Authentication cancelled.",
    "auth-disabled": "-ERR [AUTH] Account is disabled.",
    "auth-expired": "-ERR [AUTH] Password or token has expired.",
    "auth-mechanism": "-ERR Unsupported authentication mechanism.",
    "tls-required": "-ERR [AUTH] TLS is required before authentication: use STLS.",
    "in-use": "-ERR [IN-USE] Maildrop is locked by another session.",
    "login-delay": "-ERR [LOGIN-DELAY] Minimum time between logins has not passed.",
    "stat": "+OK {count} {octets}",
    "list": "+OK {count} messages ({octets} octets)",
    "list-one": "+OK {number} {octets}",
    "uidl": "+OK",
    "uidl-one": "+OK {number} {unique_id}",
    "retr": "+OK {octets} octets",
    "top": "+OK",
    "dele": "+OK message {number} deleted",
    "noop": "+OK",
    "rset": "+OK maildrop has {count} messages ({octets} octets)",
    "quit": "+OK Bye.",
    "quit-update": "+OK Bye.",
    "stls": "+OK Begin TLS negotiation.",
    "stls-refused": "-ERR TLS is already active.",
    "utf8": "+OK UTF8 enabled",
    "lang": "+OK {arg} Language selected.",
    "lang-list": "+OK Language listing follows:",
    "lang-unknown": "-ERR Language is not supported.",
    "no-such-message": "-ERR no such message",
    "already-deleted": "-ERR message {number} already deleted",
    "syntax": "-ERR Syntax error.",
    "wrong-state": "-ERR Command is not valid in this state.",
    "unknown": "-ERR Unknown command.",
    "line-too-long": "-ERR Line too long.",
    "too-many-bad": "-ERR Too many bad commands.",
}
REPLY_KEYS = frozenset(DEFAULTS)

LINE_ENDS = {"crlf": b"\r\n", "lf": b"\n", "cr": b"\r", "none": b""}


@lru_cache(64)
def _replies(own: tuple[tuple[str, str], ...]) -> Replies:
    return Replies(dict(own))


def replies_of(own: Mapping[str, str]) -> Replies:
    """The texts of a profile, the same object for all its sessions."""
    return _replies(tuple(own.items()))


class Replies:
    """The texts of one profile. Most say only what the command itself knows; those skip the connection's own
    placeholders, which cost more than the rest of a command."""

    __slots__ = ("_ready", "_texts")

    def __init__(self, overrides: Mapping[str, str]) -> None:
        self._texts = {**DEFAULTS, **overrides}
        own = {"count", "octets", "number", "unique_id"}
        plain = {key: text for key, text in self._texts.items() if own.issuperset(placeholders(text))}
        self._ready = {key: _lines(format_of(text)).decode() for key, text in plain.items()}

    def template(self, key: str) -> str:
        return self._texts[key]

    def say(self, connection: Connection, key: str, **values: object) -> bytes:
        """The reply's line or lines, ended by CRLF."""
        ready = self._ready.get(key)
        if ready is not None:
            try:
                return (ready % values).encode()
            except KeyError:
                pass  # it says what there is not yet, and its placeholder stays
        return _lines(connection.text(self._texts[key], **values))


def _lines(text: str) -> bytes:
    return ("\r\n".join(text.splitlines() or [""]) + "\r\n").encode()


def rule_lines(connection: Connection, act: Act, **values: object) -> bytes:
    """What a rule says instead: its lines with the line ends it wants; nothing for an empty reply."""
    end = LINE_ENDS[act.line_end]
    text = connection.text(act.reply or "", **values)
    return b"".join(line.encode() + end for line in text.splitlines())
