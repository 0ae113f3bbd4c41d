"""Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3), or UTF-8 after ENABLE UTF8=ACCEPT (RFC 6855)."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, b2a_base64
from functools import lru_cache

__all__ = ["decode", "encode"]

_OUTSIDE = re.compile(r"[^\x20-\x7e]+|&")
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")


@lru_cache(4096)
def encode(name: str) -> bytes:
    """A name in modified UTF-7."""
    return _OUTSIDE.sub(_shift, name).encode("ascii")


def _shift(run: re.Match[str]) -> str:
    if run[0] == "&":
        return "&-"
    packed = b2a_base64(run[0].encode("utf-16-be", "surrogatepass"), newline=False)
    return "&" + packed.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


@lru_cache(4096)
def decode(name: bytes) -> str:
    """The name in Unicode. Raises ValueError for what is no well-formed modified UTF-7: octets over 127, a shift
    without end, bad base64, half a surrogate pair, or printable ASCII that was shifted."""
    out = []
    at = 0
    while (shift := name.find(b"&", at)) >= 0:
        out.append(name[at:shift].decode("ascii"))
        match = _SHIFTED.match(name, shift)
        if match is None:
            raise ValueError("a shift without its end")
        out.append(_unshift(match[1]) if match[1] else "&")
        at = match.end()
    out.append(name[at:].decode("ascii"))
    return "".join(out)


def _unshift(packed: bytes) -> str:
    try:
        octets = a2b_base64(packed.replace(b",", b"/") + b"=" * (-len(packed) % 4))
    except Error as error:
        raise ValueError(f"bad base64: {error}") from None
    text = octets.decode("utf-16-be")
    # One spelling per name: otherwise two wire names would mean one mailbox.
    if any(" " <= character <= "~" for character in text):
        raise ValueError("printable ASCII must not be shifted")
    if _shift_of(text) != packed:
        raise ValueError("bits behind the last character")
    return text


def _shift_of(text: str) -> bytes:
    return b2a_base64(text.encode("utf-16-be"), newline=False).rstrip(b"=").replace(b"/", b",")
