"""Placeholders in replies: `{queue_id}`, `{client_ip}`, and a profile's own variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

__all__ = ["DYNAMIC", "generate", "placeholders", "render"]

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


def placeholders(text: str) -> list[str]:
    """The names used in a template, in order."""
    return _PLACEHOLDER.findall(text)


def render(text: str, values: Mapping[str, object]) -> str:
    """`text` with its placeholders filled; a name that is not there stays as it is."""
    if "{" not in text:
        return text
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), text)


def generate(pattern: str, random: Random) -> str:
    """A text of the form that `pattern` gives: `[0-9a-f]{13}-sm[a-z]{3}`; sets in brackets, all else literal."""
    out = []
    for many, times, one, literal in _PATTERN.findall(pattern):
        if literal:
            out.append(literal)
        else:
            alphabet = _alphabet(many or one)
            out += random.choices(alphabet, k=int(times or 1))
    return "".join(out)


def _alphabet(charset: str) -> str:
    return re.sub(r"(.)-(.)", lambda match: "".join(map(chr, range(ord(match[1]), ord(match[2]) + 1))), charset)
