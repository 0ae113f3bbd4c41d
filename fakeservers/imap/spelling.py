"""How data stand in responses: atoms, quoted strings, literals, NIL (RFC 3501 4), flags and dates."""

from __future__ import annotations

import re
import time
from functools import lru_cache

__all__ = ["astring", "flag_list", "internal_date", "nstring", "quoted", "string", "textual"]

_NOT_QUOTABLE = re.compile(rb"[\x00\r\n\x80-\xff]")
_NOT_QUOTABLE_UTF8 = re.compile(rb"[\x00\r\n]")
_ATOM = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff]+\Z")
_LONGEST_QUOTED = 1000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ORDER = {"\\Answered": 0, "\\Flagged": 1, "\\Deleted": 2, "\\Seen": 3, "\\Draft": 4}


def quoted(text: bytes) -> bytes:
    """A quoted string; the caller knows that there is no CR, LF, NUL or (without UTF8=ACCEPT) octet over 127."""
    if b"\\" in text or b'"' in text:
        text = text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % text


def string(text: bytes) -> bytes:
    """A quoted string where that can be, else a literal."""
    if len(text) > _LONGEST_QUOTED or _NOT_QUOTABLE.search(text):
        return b"{%d}\r\n%b" % (len(text), text)
    return quoted(text)


def textual(octets: bytes) -> bytes:
    """What can stand in a literal, which holds no NUL (RFC 3501 4.3.1, CHAR8): as many octets, 0x80 for NUL as Dovecot
    has it. The octets as they are can be had with BINARY."""
    return octets.replace(b"\0", b"\x80") if b"\0" in octets else octets


def nstring(text: bytes | None) -> bytes:
    return b"NIL" if text is None else string(text)


def astring(text: bytes, *, utf8: bool = False) -> bytes:
    """An atom where that can be, else a string; `utf8`: quoted strings may hold UTF-8."""
    if _ATOM.match(text) and text.upper() != b"NIL":
        return text
    if utf8 and not _NOT_QUOTABLE_UTF8.search(text):
        return quoted(text)
    return string(text)


@lru_cache(8192)
def flag_list(flags: frozenset[str], recent: bool = False) -> bytes:
    """`(\\Seen work)`: system flags in the RFC's order, keywords by name, `\\Recent` last."""
    ordered = sorted(flags, key=lambda flag: (_ORDER.get(flag, 9), flag))
    return b"(%b)" % " ".join([*ordered, "\\Recent"] if recent else ordered).encode("utf-8", "replace")


def internal_date(seconds: float, zone: int) -> bytes:
    """date-time, quotes included: `"17-Jul-1996 02:44:25 -0700"`; `zone` is minutes east of UTC."""
    when = time.gmtime(int(seconds) + zone * 60)
    sign = "-" if zone < 0 else "+"
    hours, minutes = divmod(abs(zone), 60)
    return (
        f'"{when.tm_mday:2d}-{_MONTHS[when.tm_mon - 1]}-{when.tm_year:04d} '
        f'{when.tm_hour:02d}:{when.tm_min:02d}:{when.tm_sec:02d} {sign}{hours:02d}{minutes:02d}"'
    ).encode()
