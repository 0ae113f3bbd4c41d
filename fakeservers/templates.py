"""Placeholders in replies: `{queue_id}`, `{client_ip}`, and a profile's own variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from random import Random
from struct import Struct

__all__ = ["DYNAMIC", "format_of", "generate", "placeholders", "render", "split"]

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PATTERN = re.compile(r"\[([^\]]+)\]\{(\d+)\}|\[([^\]]+)\]|([^\[]+)")

DYNAMIC: Mapping[str, str] = {
    "client_ip": "the client's address",
    "host": "the server's host name for this service",
    "arg": "the command's argument",
    "command": "the command as sent",
    "user": "the account that logged in, or that is claimed",
    "address": "the address of MAIL or RCPT",
    "sender": "the reverse-path",
    "mailbox": "the mailbox named",
    "tag": "the IMAP command's tag",
    "size": "octets of the message",
    "size_limit": "the profile's size limit",
    "unix_time": "seconds since 1970 on the host's clock",
    "date": "RFC 5322 date on the host's clock",
    "date_unpadded": "the same without a zero before the day: `Mon, 4 Aug 2025 11:15:30 +0000`",
    "ehlo": "the name that the client gave in EHLO or HELO",
    "iso_time": "UTC time with milliseconds and Z",
    "message_id": "the message's Message-ID without angle brackets",
    "count": "how many messages there are",
    "octets": "octets of the maildrop or message",
    "sp": "one space that would be invisible at a line's end",
}


@lru_cache(maxsize=1024)
def split(text: str) -> tuple[str, ...]:
    """Literal text and names in turn."""
    return tuple(_PLACEHOLDER.split(text))


def placeholders(text: str) -> list[str]:
    """The names used in a template, in order."""
    return list(split(text)[1::2])


def render(text: str, values: Mapping[str, object]) -> str:
    """`text` with its placeholders filled; a name that is not there stays as it is."""
    if "{" not in text:
        return text
    parts = list(split(text))
    for place in range(1, len(parts), 2):
        name = parts[place]
        parts[place] = str(values[name]) if name in values else f"{{{name}}}"
    return "".join(parts)


def format_of(text: str) -> str:
    """The template as `%` fills it, in a third of the time; every placeholder must have its value then."""
    return "".join(f"%({each})s" if place % 2 else each.replace("%", "%%") for place, each in enumerate(split(text)))


def generate(pattern: str, random: Random) -> str:
    """A text of the form that `pattern` gives: `[0-9a-f]{13}-sm[a-z]{3}`; sets in brackets, all else literal."""
    form, sets, choices = _form(pattern)
    return (form % tuple(map(bytes.translate, sets.unpack(random.randbytes(sets.size)), choices))).decode()


@lru_cache(maxsize=256)
def _form(pattern: str) -> tuple[bytes, Struct, list[bytes]]:
    """The text with a place for each set; how many characters each set takes of those that are drawn; and what each of
    256 numbers stands for in it. Sets are ASCII."""
    form = b""
    sizes = ""
    choices = []
    for many, times, one, literal in _PATTERN.findall(pattern):
        if literal:
            form += literal.encode().replace(b"%", b"%%")
        else:
            form += b"%b"
            sizes += f"{int(times or 1)}s"
            choices.append((_alphabet(many or one).encode("ascii") * 256)[:256])
    return form, Struct(sizes), choices


def _alphabet(charset: str) -> str:
    return re.sub(r"(.)-(.)", lambda match: "".join(map(chr, range(ord(match[1]), ord(match[2]) + 1))), charset)
