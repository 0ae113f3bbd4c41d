"""What a message needs before it leaves, on its bytes: nothing else in it is touched."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Final

from .errors import MailError
from .wire import ascii_host

__all__ = [
    "Address", "Headers", "complete", "dot_stuffed", "format_mailbox", "header_section", "message_id", "parse_address",
]  # fmt: skip

_FIELD: Final = re.compile(rb"[!-9;-~]+[ \t]*:")
_MESSAGE_ID: Final = re.compile(rb"^message-id[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE | re.MULTILINE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_HOSTS: Final = re.compile(r"[!-,/:-@[-^`{-~]")
"""ASCII that no name of a host holds; the underscore is met in some."""
_ATOM: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


@dataclass(frozen=True)
class Address:
    """An addr-spec (RFC 5322 3.4.1). `wire` is what MAIL and RCPT carry: the domain as A-labels unless the
    local-part needs SMTPUTF8 itself."""

    local: str
    domain: str

    @property
    def needs_utf8(self) -> bool:
        return not self.local.isascii()

    @cached_property
    def wire(self) -> str:
        if not self.domain:
            return self.local
        domain = self.domain if self.needs_utf8 else _ascii_domain(self.domain)
        return f"{self.local}@{domain}"


@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address:
    """One bare address. Raises MailError `config` for anything that could not stand between < and >."""
    local, at, domain = text.rpartition("@")
    if not at:
        # "postmaster" alone is an address (RFC 5321 4.1.1.3); servers judge the others.
        local, domain = text, ""
    unquoted = not (len(local) > 1 and local.startswith('"') and local.endswith('"'))
    bad = (
        bool(_CONTROL.search(text))
        or not local
        or bool(at and not domain)
        or bool(re.search(r"[\s<>,;@\\\"()]", domain) or (not domain.startswith("[") and _NOT_IN_HOSTS.search(domain)))
        or bool(unquoted and re.search(r"[\s<>,;:@\\\"()\[\]]", local))
        or bool(not unquoted and re.search(r'(?<!\\)(?:\\\\)*"', local[1:-1]))
    )
    if bad:
        raise MailError("config", f"{text!r} is not an e-mail address")
    _ascii_domain(domain)
    return Address(local, domain)


def _ascii_domain(domain: str) -> str:
    return domain if domain.startswith("[") or not domain else ascii_host(domain)


@dataclass(frozen=True)
class Headers:
    """A header section cut into fields: each with its folded lines, line ends included."""

    fields: tuple[bytes, ...]
    end: int
    separated: bool

    def names(self) -> set[bytes]:
        return set(map(field_name, self.fields))


def field_name(field: bytes) -> bytes:
    """The lower-case name of a header field."""
    return field.partition(b":")[0].strip().lower()


def header_section(message: bytes) -> Headers:
    """Cuts the header section of a message with CRLF line ends.

    It ends before the first empty line (`separated`), or before the first line that is no field.
    """
    fields: list[bytes] = []
    position = 0
    while position < len(message):
        end = message.find(b"\r\n", position)
        end = len(message) if end < 0 else end + 2
        line = message[position:end]
        if line == b"\r\n":
            return Headers(tuple(fields), position, True)
        if fields and line[:1] in (b" ", b"\t"):
            fields[-1] += line
        elif _FIELD.match(line) or (not fields and line.startswith(b"From ")):
            fields.append(line)
        else:
            return Headers(tuple(fields), position, False)
        position = end
    return Headers(tuple(fields), position, False)


def message_id(raw: bytes) -> str | None:
    """The Message-ID of a message as it stands in its header field, None where there is none."""
    end = next((end for end in (raw.find(b"\r\n\r\n"), raw.find(b"\n\n")) if end >= 0), len(raw))
    match = _MESSAGE_ID.search(raw, 0, end)
    value = match.group(1).strip().decode("ascii", "replace") if match else ""
    return value if value and '"' not in value else None


def complete(message: bytes, *, from_mailbox: str, now: datetime, domain: str) -> bytes:
    """The message as it is sent: CRLF line ends, no Bcc, Date, Message-ID and From added where absent.

    `from_mailbox` is the value of a From that has to be added ("" adds none); `domain` ends the Message-ID.
    """
    from email.utils import format_datetime

    message = crlf(message)
    headers = header_section(message)
    names = headers.names()
    added = b""
    if b"date" not in names:
        added += f"Date: {format_datetime(now)}\r\n".encode("ascii")
    if b"message-id" not in names:
        added += f"Message-ID: <{os.urandom(16).hex()}@{domain}>\r\n".encode("ascii")
    if b"from" not in names and from_mailbox:
        added += f"From: {from_mailbox}\r\n".encode()
    if not added and b"bcc" not in names:
        return message
    kept = b"".join(field for field in headers.fields if field_name(field) != b"bcc")
    rest = message[headers.end :]
    if kept and not kept.endswith(b"\r\n"):
        kept += b"\r\n"
    if rest and not headers.separated:
        # A body that began without the empty line would be taken for header fields.
        rest = b"\r\n" + rest
    if kept.startswith(b"From "):
        line, _, others = kept.partition(b"\r\n")
        return line + b"\r\n" + added + others + rest
    return added + kept + rest


def crlf(message: bytes) -> bytes:
    """Every line end as CRLF; a bare CR is one, too (RFC 5321 2.3.8)."""
    if b"\r" not in message:
        return message.replace(b"\n", b"\r\n")
    if message.count(b"\r\n") == message.count(b"\n") == message.count(b"\r"):
        return message
    return re.sub(rb"\r\n|\r|\n", b"\r\n", message)


def dot_stuffed(message: bytes) -> bytes:
    """The message as DATA carries it, the final dot included (RFC 5321 4.5.2)."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + b".\r\n"


def format_mailbox(name: str, address: str) -> str:
    """`Name <address>` for a header field: quoted, or as encoded-words (RFC 2047), never two lines.

    Raises MailError `config` for a name or address with control characters.
    """
    if _CONTROL.search(name) or _CONTROL.search(address):
        raise MailError("config", "a name or address for a header field must not hold control characters")
    local, at, domain = address.rpartition("@")
    if at and local.isascii():
        address = f"{local}@{_ascii_domain(domain)}"
    if not name:
        return address
    if not name.isascii():
        from email.header import Header

        # Header folds with a bare line feed; the field has to end up with CRLF.
        encoded = Header(name, "utf-8", header_name="From").encode(linesep="\r\n")
        return f"{encoded} <{address}>"
    if all(_ATOM.fullmatch(word) for word in name.split(" ")):
        return f"{name} <{address}>"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address}>'
