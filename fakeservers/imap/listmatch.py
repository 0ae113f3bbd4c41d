"""Mailbox patterns of LIST and LSUB: `*` is anything, `%` anything but the hierarchy delimiter (RFC 3501 6.3.8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["matcher"]

_FEW = 2
"""Wildcards up to which an expression cannot try many ways to match."""


@lru_cache(512)
def matcher(pattern: bytes, delimiter: bytes) -> Callable[[bytes], bool]:
    """A test for names as they stand on the wire. INBOX matches in any case."""
    # Wildcards in a row mean what one of them means.
    pattern = re.sub(rb"[*%]*\*[*%]*", b"*", pattern)
    pattern = re.sub(rb"%+", b"%", pattern)
    few = pattern.count(b"*") + pattern.count(b"%") <= _FEW
    test, inbox = ((_expression if few else _places)(each, delimiter) for each in (pattern, pattern.upper()))
    return lambda name: (inbox if name == b"INBOX" else test)(name)


def _expression(pattern: bytes, delimiter: bytes) -> Callable[[bytes], bool]:
    other = b"[^" + re.escape(delimiter) + b"]*" if delimiter else b".*"
    expression = b"".join(
        b".*" if part == b"*" else other if part == b"%" else re.escape(part) for part in re.split(rb"([*%])", pattern)
    )
    compiled = re.compile(expression, re.DOTALL)
    return lambda name: compiled.fullmatch(name) is not None


def _places(pattern: bytes, delimiter: bytes) -> Callable[[bytes], bool]:
    """The same without trying: the places of the pattern that are reached, as the bits of a number, octet by octet."""
    literal: dict[int, int] = {}
    anything = level = 0
    for place, octet in enumerate(pattern):
        if octet == 0x2A:
            anything |= 1 << place
        elif octet == 0x25:
            level |= 1 << place
        else:
            literal[octet] = literal.get(octet, 0) | 1 << place
    wild = anything | level
    end = 1 << len(pattern)

    def test(name: bytes) -> bool:
        reached = 1 | (1 & wild) << 1
        for octet in name:
            stays = reached & (anything if octet in delimiter else wild)
            reached = stays | (reached & literal.get(octet, 0)) << 1
            reached |= (reached & wild) << 1
            if not reached:
                return False
        return bool(reached & end)

    return test
