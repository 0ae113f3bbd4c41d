"""Why a message is set aside instead of being handed on as mail: it is none, or it is beyond the bounds.

A message from outside may be made to exhaust who reads it. What is looked at here costs no more than its octets, and
stops at the first bound that does not hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import Final

from .compose import crlf, header_section

__all__ = ["Bounds", "left_on_server", "set_aside_reason"]

_MEGABYTE: Final = 1024 * 1024
_LARGEST_HEADER: Final = 256 * 1024
_MAIL_FIELDS: Final = frozenset({b"from", b"date", b"received", b"message-id", b"subject", b"to", b"return-path"})
_END_OF_HEADER: Final = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_DELIMITER: Final = re.compile(rb"(?:\A|\n)--([^\r\n]{1,200})")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]+")
_NEVER: Final = b"\n"
"""In the place of a delimiter: a message within a message has none."""


@dataclass(frozen=True)
class Bounds:
    """What a message may have at the most: octets, parts (attachments are parts), octets of a part once decoded, and
    parts within parts."""

    largest_message: int = 100 * _MEGABYTE
    most_parts: int = 1000
    largest_part: int = 100 * _MEGABYTE
    deepest_part: int = 30


def left_on_server(octets: int, bounds: Bounds) -> str | None:
    """Why a message of this size is not fetched, or None."""
    if octets <= bounds.largest_message:
        return None
    most = bounds.largest_message
    return f"the message has {octets} octets, more than {most} (largest_message): it stays on the server"


def set_aside_reason(raw: bytes, bounds: Bounds) -> str | None:
    """Why a message that was read is not for others to parse, or None."""
    if len(raw) > bounds.largest_message:
        return f"the message has {len(raw)} octets, more than {bounds.largest_message} (largest_message)"
    return junk_reason(raw) or _excess(raw, bounds)


def junk_reason(raw: bytes) -> str | None:
    """Why a message cannot be read as mail, or None."""
    if not raw.strip():
        return "the message is empty"
    headers = header_section(crlf(raw))
    if not headers.fields:
        return "the message has no header"
    if not headers.names() & _MAIL_FIELDS:
        return "the message has none of the header fields that mail has"
    return None


# -- parts -------------------------------------------------------------------------------


def _excess(raw: bytes, bounds: Bounds) -> str | None:
    """The first bound that the parts of a message break. Delimiter lines are searched for, not lines read: a part
    ends where the delimiter of any multipart around it stands."""
    open_parts: list[bytes] = []
    parts = 0
    position: int | None = 0
    while position is not None:
        parts += 1
        if parts > bounds.most_parts:
            return f"the message has more than {bounds.most_parts} parts (most_parts)"
        header, body = _header(raw, position)
        kind = header.get_content_type()
        boundary = header.get_boundary() if header.get_content_maintype() == "multipart" else None
        inner = kind in ("message/rfc822", "message/global") or boundary is not None
        if inner and len(open_parts) == bounds.deepest_part:
            return f"the message has parts within parts, more than {bounds.deepest_part} deep (deepest_part)"
        if boundary is not None:
            open_parts.append(boundary.encode("utf-8", "surrogateescape"))
        elif inner:
            # Its own header comes next. It ends with the part around it.
            open_parts.append(_NEVER)
            position = body
            continue
        end, position = _next_part(raw, body, open_parts)
        if boundary is None and end - body > bounds.largest_part < _decoded(header, raw, body, end):
            return f"a part of the message has more than {bounds.largest_part} octets (largest_part)"
    return None


def _header(raw: bytes, position: int) -> tuple[Message[str, str], int]:
    """A part's header section and where its body begins."""
    found = _END_OF_HEADER.search(raw[position : position + _LARGEST_HEADER])
    length = found.end() if found else min(_LARGEST_HEADER, len(raw) - position)
    section = raw[position : position + length]
    return BytesHeaderParser(policy=compat32).parsebytes(section), position + length


def _next_part(raw: bytes, position: int, open_parts: list[bytes]) -> tuple[int, int | None]:
    """Where this part ends, and where the header of the next one begins, None after the last. Forgets the multiparts
    that end in between."""
    end: int | None = None
    for found in _DELIMITER.finditer(raw, max(position - 1, 0)) if open_parts else ():
        line = found[1].rstrip()
        closing = line.removesuffix(b"--")
        if line in open_parts:
            del open_parts[open_parts.index(line) + 1 :]
            after = raw.find(b"\n", found.end())
            return (end if end is not None else found.start()), (after + 1 if after >= 0 else None)
        if closing in open_parts:
            end = end if end is not None else found.start()
            del open_parts[open_parts.index(closing) :]
    return (end if end is not None else len(raw)), None


def _decoded(header: Message[str, str], raw: bytes, start: int, end: int) -> int:
    """The octets of a part once it is decoded; no encoding makes them more than they were."""
    if str(header.get("Content-Transfer-Encoding", "")).strip().lower() != "base64":
        return end - start
    return len(_NOT_BASE64.sub(b"", raw[start:end])) * 3 // 4
