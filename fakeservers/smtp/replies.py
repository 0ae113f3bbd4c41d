"""What the server says, by key; a profile's `smtp.replies` overrides a text.

A text holds the whole reply as on the wire, code included, its lines without line ends; of `ehlo` only the first line,
its code optional, since the keywords follow it. Texts may hold placeholders, see `fakeservers.templates`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fakeservers.actions import Send
from fakeservers.points import STRICT
from fakeservers.templates import split

if TYPE_CHECKING:
    from fakeservers.profile import SmtpProfile

__all__ = ["MISTAKES", "REPLIES", "REPLY_KEYS", "Replies", "check_reply_keys", "encode", "is_auth", "pieces"]

REPLIES: Mapping[str, str] = {
    "greeting": "220 {host} ESMTP ready",
    "helo": "250 {host}",
    "helo.syntax": "501 5.5.4 A domain name or address literal is needed",
    "ehlo": "250 {host} greets {arg}",
    "ehlo-first": "503 5.5.1 Send EHLO first",
    "starttls.ok": "220 2.0.0 Ready to start TLS",
    "starttls.again": "503 5.5.1 TLS is already active",
    "tls.required": "530 5.7.0 Must issue a STARTTLS command first",
    "auth.ok": "235 2.7.0 Authentication successful",
    "auth.bad-credentials": "535 5.7.8 Authentication credentials invalid",
    "auth.expired": "535 5.7.8 Authentication credentials have expired",
    "auth.disabled": "535 5.7.13 User account is disabled",
    "auth.mechanism": "504 5.5.4 Unrecognized authentication type",
    "auth.unavailable": "503 5.5.1 AUTH is not available here",
    "auth.tls": "538 5.7.11 Encryption required for requested authentication mechanism",
    "auth.required": "530 5.7.0 Authentication required",
    "auth.twice": "503 5.5.1 Already authenticated",
    "auth.in-transaction": "503 5.5.1 AUTH is not permitted during a mail transaction",
    "auth.cancelled": "501 5.0.0 Authentication cancelled",
    "auth.decode": "501 5.5.2 Cannot decode base64",
    "auth.malformed": "501 5.5.2 Malformed authentication exchange",
    "auth.initial-response": "501 5.7.0 This mechanism takes no initial response",
    "auth.line-length": "500 5.5.6 Authentication exchange line is too long",
    "auth.syntax": "501 5.5.4 Syntax: AUTH mechanism [initial-response]",
    "mail.ok": "250 2.1.0 OK",
    "mail.syntax": "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]",
    "mail.address": "553 5.1.7 Malformed sender address",
    "mail.size": "552 5.3.4 Message size exceeds fixed maximum message size",
    "mail-first": "503 5.5.1 Need MAIL command",
    "rcpt.ok": "250 2.1.5 OK",
    "rcpt.syntax": "501 5.5.4 Syntax: RCPT TO:<address> [parameters]",
    "rcpt.address": "553 5.1.3 Malformed recipient address",
    "rcpt.unknown-user": "550 5.1.1 <{address}>: no such user here",
    "rcpt.relay": "550 5.7.1 <{address}>: relaying denied",
    "rcpt.too-many": "452 4.5.3 Too many recipients",
    "mail.hold": "501 5.5.4 Cannot hold a message for so long",
    "mail.deliver-by": "501 5.5.4 Cannot deliver a message so soon",
    "limits.mail": "452 4.5.3 Too many messages in this session",
    "limits.domains": "452 4.5.3 Too many domains",
    "rcpt-first": "503 5.5.1 Need RCPT command",
    "parameter.syntax": "501 5.5.4 Invalid parameter",
    "parameter.unknown": "555 5.5.4 Parameter not recognized or not implemented",
    "smtputf8.required": "553 5.6.7 Address needs SMTPUTF8",
    "data.go": "354 End data with <CR><LF>.<CR><LF>",
    "data.ok": "250 2.0.0 OK",
    "data.size": "552 5.3.4 Message size exceeds fixed maximum message size",
    "data.bare-lf": "550 5.6.0 The message has LF without CR",
    "data.bare-cr": "550 5.6.0 The message has CR without LF",
    "data.long-line": "550 5.6.0 The message has a line over 1,000 octets",
    "data.eight-bit": "554 5.6.1 The message has octets over 127 without BODY=8BITMIME",
    "data.binary": "503 5.5.1 BODY=BINARYMIME needs BDAT",
    "bdat.chunk": "250 2.0.0 {size} octets received",
    "bdat.ok": "250 2.0.0 OK",
    "bdat.syntax": "501 5.5.4 Syntax: BDAT size [LAST]",
    "rset.ok": "250 2.0.0 OK",
    "noop.ok": "250 2.0.0 OK",
    "quit": "221 2.0.0 {host} closing connection",
    "vrfy": "252 2.1.5 Cannot verify the user, but will accept the message and attempt delivery",
    "vrfy.ok": "250 2.1.5 <{arg}>",
    "vrfy.unknown": "550 5.1.1 <{arg}>: no such user here",
    "vrfy.syntax": "501 5.5.4 Syntax: VRFY string",
    "expn": "502 5.5.1 Command not implemented",
    "etrn.ok": "251 2.0.0 No messages are waiting for {arg}",
    "etrn.refused": "459 4.7.0 {arg}: not a node of this server",
    "etrn.syntax": "501 5.5.4 Syntax: ETRN node",
    "xclient.syntax": "501 5.5.4 Syntax: XCLIENT attribute=value ...",
    "help": "214 2.0.0 Commands: {commands}",
    "sequence": "503 5.5.1 Bad sequence of commands",
    "argument": "501 5.5.4 This command takes no argument",
    "pipelining": "503 5.5.0 Improper command pipelining",
    "line": "500 5.5.2 Syntax error",
    "line.eight-bit": "500 5.5.2 Octets over 127 in a command",
    "line.bare-lf": "500 5.5.2 Lines end with CR LF",
    "line.length": "500 5.5.2 Line too long",
    "unknown": "500 5.5.2 Command not recognized",
    "unimplemented": "502 5.5.1 Command not implemented",
    "unknown.too-many": "421 4.7.0 Too many bad commands, closing connection",
    "timeout": "421 4.4.2 {host} Timeout, closing connection",
}
REPLY_KEYS = frozenset(REPLIES)

MISTAKES = frozenset(key for key in REPLIES if key.endswith((".syntax", "-first"))) | {
    "argument", "auth.malformed", "auth.decode", "expn", "line", "line.bare-lf", "line.eight-bit", "line.length",
    "parameter.unknown", "pipelining", "sequence", "unimplemented", "unknown",
}  # fmt: skip
"""Replies to a bad command: a row of them ends the connection."""


def check_reply_keys(keys: Iterable[str]) -> None:
    """Raises ValueError, with the nearest key and the list, for a key that the server never says."""
    for key in keys:
        if key not in REPLIES:
            from fakeservers.rules import unknown

            raise ValueError(unknown("reply key", key, REPLIES))


@lru_cache(maxsize=1024)
def pieces(text: str) -> tuple[bytes | str, ...]:
    """A reply as octets, line ends put in, and the names of placeholders in turn."""
    parts = split("".join(f"{line}\r\n" for line in text.splitlines()))
    return tuple(part if place % 2 else part.encode("utf-8", "surrogateescape") for place, part in enumerate(parts))


def encode(lines: Iterable[str], line_end: bytes = b"\r\n") -> bytes:
    """Reply lines as bytes, each with `line_end`."""
    return b"".join(line.encode("utf-8", "surrogateescape") + line_end for line in lines)


def is_auth(keyword: str) -> bool:
    """The EHLO keyword offers AUTH, in the old form `AUTH=` too."""
    return keyword[:4].upper() == "AUTH" and keyword[4:5] in ("", " ", "=")


class Lasting(NamedTuple):
    """Replies that hold the connection's ids and the second, and nothing of a command: their keys, `form` as octets to
    be formatted with a NUL between the replies, the names in it in turn, the ids among them, whether the second is
    among them, and all that is no name."""

    keys: tuple[str, ...]
    form: bytes
    names: tuple[str, ...]
    ids: tuple[str, ...]
    timed: bool
    literal: bytes


_LASTING = {"sp", "unix_time"}
_USUAL = ("greeting", "mail.ok", "rcpt.ok", "data.go", "quit")
"""What nearly every connection hears is made at once: one by one takes twice as long."""


def _lasting(texts: Mapping[str, str], ids: frozenset[str]) -> dict[str, Lasting]:
    """Those of these replies that last, by their keys."""
    lasting = {}
    for key, text in texts.items():
        names = tuple(str(name) for name in pieces(text)[1::2])
        if (ids | _LASTING).issuperset(names):
            lasting[key] = (names, [part for part in pieces(text)[::2] if isinstance(part, bytes)])
    usual = [key for key in _USUAL if key in lasting and "unix_time" not in lasting[key][0]]
    groups = [usual, *([key] for key in lasting if key not in usual)]
    return {key: _group(keys, lasting) for keys in groups for key in keys}


def _group(keys: Sequence[str], lasting: Mapping[str, tuple[tuple[str, ...], list[bytes]]]) -> Lasting:
    names = tuple(name for key in keys for name in lasting[key][0])
    forms = [b"%b".join(part.replace(b"%", b"%%") for part in lasting[key][1]) for key in keys]
    literals = [part for key in keys for part in lasting[key][1]]
    ids = tuple(dict.fromkeys(name for name in names if name != "unix_time"))
    return Lasting(tuple(keys), b"\0".join(forms), names, ids, "unix_time" in names, b"\0".join(literals))


class Replies:
    """The texts of one profile for one of its hosts. `usual` holds those without placeholders as they go to the wire,
    but for the answers to mistakes, which are counted; `lasting` those that stay as they are for a connection or a
    second of it (`ids` are the placeholders that a connection has of its own); `checks` is what the profile minds,
    `mechanisms` what it offers."""

    __slots__ = ("_keywords", "checks", "lasting", "mechanisms", "texts", "usual")

    def __init__(
        self,
        overrides: Mapping[str, str],
        host: str,
        checks: frozenset[str] = frozenset(STRICT),
        mechanisms: tuple[str, ...] = (),
        ids: frozenset[str] = frozenset(),
    ) -> None:
        self.checks = checks
        self.mechanisms = mechanisms
        self._keywords: dict[tuple[bool, bool, bool], tuple[str, ...]] = {}
        texts = {**REPLIES, **overrides}
        if "expn" not in overrides:
            texts["expn"] = texts["unimplemented"]
        self.texts = {key: text.replace("{host}", host) for key, text in texts.items()}
        self.usual = {
            key: Send(encode(text.splitlines()))
            for key, text in self.texts.items()
            if "{" not in text and key not in MISTAKES
        }
        self.lasting = _lasting(
            {key: text for key, text in self.texts.items() if key not in self.usual and key not in MISTAKES}, ids
        )

    def keywords(self, profile: SmtpProfile, *, starttls: bool, auth: bool, tls: bool) -> tuple[str, ...]:
        """The profile's EHLO keywords, STARTTLS and AUTH only where they are offered, REQUIRETLS under TLS (RFC 8689
        2)."""
        known = self._keywords.get((starttls, auth, tls))
        if known is None:
            hidden = {name for name, shown in (("STARTTLS", starttls), ("REQUIRETLS", tls)) if not shown}
            known = self._keywords[starttls, auth, tls] = tuple(
                keyword for keyword in profile.ehlo if keyword.upper() not in hidden and (auth or not is_auth(keyword))
            )
        return known
