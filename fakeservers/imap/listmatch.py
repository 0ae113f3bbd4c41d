"""Mailbox patterns of LIST and LSUB: `*` is anything, `%` anything but the hierarchy delimiter (RFC 3501 6.3.8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["matcher"]


@lru_cache(512)
def matcher(pattern: bytes, delimiter: bytes) -> Callable[[bytes], bool]:
    """A test for names as they stand on the wire. INBOX matches in any case."""
    # Wildcards in a row mean what one of them means; left as they are, they would make the expression explode.
    pattern = re.sub(rb"[*%]*\*[*%]*", b"*", pattern)
    pattern = re.sub(rb"%+", b"%", pattern)
    if pattern.count(b"*") + pattern.count(b"%") > 16:
        return lambda name: _matches(pattern, name, delimiter)
    other = b"[^" + re.escape(delimiter) + b"]*" if delimiter else b".*"
    expression = b"".join(
        b".*" if part == b"*" else other if part == b"%" else re.escape(part) for part in re.split(rb"([*%])", pattern)
    )
    compiled = re.compile(expression, re.DOTALL)
    inbox = re.compile(expression, re.DOTALL | re.IGNORECASE)
    return lambda name: (inbox if name == b"INBOX" else compiled).fullmatch(name) is not None


def _matches(pattern: bytes, name: bytes, delimiter: bytes) -> bool:
    """The same without backtracking, for patterns of many wildcards: the set of places reached, octet by octet."""
    reached = {0}
    for octet in name:
        following = set()
        for place in _closure(reached, pattern):
            if place == len(pattern):
                continue
            wanted = pattern[place]
            if wanted == 0x2A or (wanted == 0x25 and octet not in delimiter):
                following.add(place)
            elif wanted not in b"*%" and wanted == octet:
                following.add(place + 1)
        reached = following
    return len(pattern) in _closure(reached, pattern)


def _closure(places: set[int], pattern: bytes) -> set[int]:
    found = set()
    for place in places:
        found.add(place)
        while place < len(pattern) and pattern[place] in b"*%":
            place += 1
            found.add(place)
    return found
