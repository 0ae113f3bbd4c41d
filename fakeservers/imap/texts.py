"""The texts of a message as people read them, for SEARCH: encoded words and transfer encodings undone."""

from __future__ import annotations

import binascii
import quopri
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import date
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import mktime_tz, parsedate, parsedate_tz

from fakeservers.imap.headers import body_start, field_values, fields, unfold
from fakeservers.imap.mime import Part, parse
from fakeservers.mailstore import Message

__all__ = ["body_texts", "decoded", "field_texts", "finder", "header_text", "part_text", "sent_day", "sent_moment"]

_EPOCH = date(1970, 1, 1)
_LONGEST_DECODED = 20_000
_WORDS = re.compile(r"\w+")
_ENCODED = re.compile(rb"content-transfer-encoding[ \t]*:[ \t\r\n]*(?:base64|quoted-printable)", re.IGNORECASE)


def finder(wanted: str, *, whole_words: bool) -> Callable[[str], bool]:
    """A test for texts, in any case. `whole_words`: each word wanted must begin a word of the text, in this order."""
    if not whole_words:
        folded = wanted.casefold()
        return lambda text: folded in text.casefold()
    words = _WORDS.findall(wanted)
    if not words:
        return lambda text: not wanted.strip()
    pattern = re.compile(r"\b" + r"\b\W+".join(map(re.escape, words)) + r"\b", re.IGNORECASE)
    return lambda text: pattern.search(text) is not None


def _header(message: Message) -> bytes:
    raw = message.raw
    return raw[: body_start(raw)]


def decoded(value: bytes) -> str:
    """A header value with its encoded words (RFC 2047) as text; one that cannot be decoded stays as it is, and so does
    one so long that nobody means it to be read: the time to decode it grows with its square."""
    text = value.decode("utf-8", "replace")
    if "=?" not in text or len(text) > _LONGEST_DECODED:
        return text
    try:
        parts = decode_header(text)
    except (HeaderParseError, ValueError):
        return text
    return "".join(part if isinstance(part, str) else _text(part, charset or "ascii") for part, charset in parts)


def _text(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset, "replace")
    except (LookupError, ValueError):
        return octets.decode("utf-8", "replace")


def field_texts(message: Message, name: bytes) -> Iterator[str]:
    """The values of every header field of this name (lower case)."""
    for found, lines in fields(_header(message)):
        if found == name:
            yield decoded(unfold(lines))


def header_text(message: Message) -> str:
    """The whole header section, decoded."""
    return "\n".join(f"{name.decode('latin-1')}: {decoded(unfold(lines))}" for name, lines in fields(_header(message)))


def body_texts(message: Message) -> Iterator[str]:
    """The text of the body, and of every part that is text, decoded."""
    raw = message.raw
    if not _ENCODED.search(raw) and raw.isascii():
        yield raw[body_start(raw) :].decode("ascii")
        return
    yield from _part_texts(raw, parse(raw))


def _part_texts(raw: bytes, part: Part) -> Iterator[str]:
    for child in part.children:
        yield raw[child.start : child.body].decode("utf-8", "replace")
        yield from _part_texts(raw, child)
    if part.message is not None:
        yield decoded(raw[part.message.start : part.message.body])
        yield from _part_texts(raw, part.message)
    elif not part.children and part.kind[0] in (b"TEXT", b"MESSAGE"):
        yield part_text(raw, part)


def part_text(raw: bytes, part: Part) -> str:
    """The text of one part that holds text."""
    charset = next((value for name, value in part.parameters if name == b"CHARSET"), b"utf-8")
    octets = _undone(raw[part.body : part.end], part.fields.get(b"content-transfer-encoding", b""))
    return _text(octets, charset.decode("ascii", "replace"))


def _undone(octets: bytes, encoding: bytes) -> bytes:
    match encoding.strip().lower():
        case b"base64":
            try:
                return b64decode(octets)
            except (binascii.Error, ValueError):
                return octets
        case b"quoted-printable":
            return quopri.decodestring(octets)
        case _:
            return octets


def _date(message: Message) -> bytes | None:
    return field_values(_header(message), frozenset({b"date"})).get(b"date")


def sent_moment(message: Message) -> float | None:
    """The Date field as seconds since 1970; None without a date."""
    value = _date(message)
    try:
        moment = parsedate_tz(value.decode("ascii", "replace")) if value is not None else None
        return None if moment is None else float(mktime_tz(moment))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def sent_day(message: Message) -> int | None:
    """The day of the Date field, counted from 1970, its time and zone put aside; None without a date."""
    value = _date(message)
    if value is None:
        return None
    try:
        moment = parsedate(value.decode("ascii", "replace"))
        return None if moment is None else (date(*moment[:3]) - _EPOCH).days
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
