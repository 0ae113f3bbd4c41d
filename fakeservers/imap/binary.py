"""Parts without their transfer encoding (BINARY: RFC 3516, RFC 9051 6.4.5)."""

from __future__ import annotations

import binascii
import quopri
import re
from base64 import b64decode, encodebytes
from typing import TYPE_CHECKING

from fakeservers.imap.command import RefusedError
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.items import Item, ItemTable, read_part_numbers, read_partial
from fakeservers.imap.mime import Part, parse
from fakeservers.imap.selected import Selected
from fakeservers.mailstore import Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["ITEMS", "encoded"]

_CAPABILITY = "BINARY|IMAP4REV2"
_BINARY = re.compile(rb"^(content-transfer-encoding[ \t]*:[ \t]*)binary\b", re.IGNORECASE | re.MULTILINE)
_HAS_ENCODING = re.compile(rb"^content-transfer-encoding[ \t]*:", re.IGNORECASE | re.MULTILINE)


def decoded(message: Message, numbers: tuple[int, ...]) -> bytes | None:
    """The octets of a part as they were before they were encoded; None for a part that is not there. Without numbers
    it is the whole message as it stands. Raises RefusedError for an encoding that is not known."""
    raw = message.raw
    if not numbers:
        return raw
    part = parse(raw).find(numbers)
    if part is None:
        return None
    octets = raw[part.body : part.end]
    if part.children or part.message is not None:
        return octets
    try:
        match part.fields.get(b"content-transfer-encoding", b"7bit").strip().lower():
            case b"7bit" | b"8bit" | b"binary" | b"":
                return octets
            case b"base64":
                return b64decode(octets)
            case b"quoted-printable":
                return quopri.decodestring(octets)
            case _:
                raise RefusedError("fetch.unknown-cte")
    except (binascii.Error, ValueError):
        raise RefusedError("fetch.unknown-cte") from None


def _read(cursor: Cursor, session: ImapSession, name: str) -> Item:
    """ "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary"""
    cursor.expect(b"[")
    numbers = read_part_numbers(cursor)
    cursor.expect(b"]")
    section = ".".join(map(str, numbers)).encode()
    if name == "BINARY.SIZE":
        return Item("BINARY.SIZE[]", lambda view, message: b"BINARY.SIZE[%b] %d" % (section, _size(message, numbers)))
    partial = read_partial(cursor)
    key = b"BINARY[%b]" % section + (b"" if partial is None else b"<%d>" % partial[0])

    def write(view: Selected, message: Message) -> bytes:
        octets = decoded(message, numbers)
        if octets is None:
            return key + b" NIL"
        if partial is not None:
            octets = octets[partial[0] : partial[0] + partial[1]]
        # literal8 only where a literal cannot be: it may not hold NUL.
        return b"%b %b{%d}\r\n%b" % (key, b"~" if b"\0" in octets else b"", len(octets), octets)

    return Item("BINARY[]", write, sees=name == "BINARY")


def _size(message: Message, numbers: tuple[int, ...]) -> int:
    return len(decoded(message, numbers) or b"")


ITEMS: ItemTable = dict.fromkeys(("BINARY", "BINARY.PEEK", "BINARY.SIZE"), (_CAPABILITY, _read))


def encoded(content: bytes) -> bytes:
    """A message with its binary parts in base64: a store whose messages everybody can fetch has to encode what came in
    a literal8 (RFC 3516 4.4)."""
    if b"\0" not in content:
        return content
    out = content
    # From the last part to the first, so that the places of the others stay what they are.
    for part in sorted(_leaves(parse(content)), key=lambda leaf: leaf.start, reverse=True):
        if b"\0" not in content[part.body : part.end]:
            continue
        header = content[part.start : part.body]
        if _BINARY.search(header):
            header = _BINARY.sub(rb"\1base64", header)
        elif _HAS_ENCODING.search(header):
            raise RefusedError("append.unknown-cte")
        else:
            header = b"Content-Transfer-Encoding: base64\r\n" + header
        body = encodebytes(content[part.body : part.end]).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
        out = out[: part.start] + header + body + out[part.end :]
    if b"\0" in out:
        raise RefusedError("append.unknown-cte")
    return out


def _leaves(part: Part) -> list[Part]:
    inside = part.children or ([part.message] if part.message is not None else [])
    return [leaf for child in inside for leaf in _leaves(child)] if inside else [part]
