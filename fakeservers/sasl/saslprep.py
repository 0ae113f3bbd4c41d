"""SASLprep (RFC 4013): two ways of typing the same name or password compare equal."""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable

__all__ = ["prepared", "saslprep"]

_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """`text` prepared as a query (unassigned code points allowed). Raises ValueError for a prohibited character or
    for left-to-right mixed with right-to-left (RFC 3454 section 6)."""
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else "" if stringprep.in_table_b1(c) else c for c in text
    )  # fmt: skip
    prepared = unicodedata.normalize("NFKC", mapped)
    for character in prepared:
        if any(prohibited(character) for prohibited in _PROHIBITED):
            raise ValueError(f"SASLprep prohibits U+{ord(character):04X}")
    if any(map(stringprep.in_table_d1, prepared)):
        if any(map(stringprep.in_table_d2, prepared)):
            raise ValueError("left-to-right and right-to-left characters in one string")
        if not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])):
            raise ValueError("right-to-left text must begin and end right-to-left")
    return prepared


def prepared(text: str) -> str:
    """`text` after SASLprep, or as it is where SASLprep refuses it."""
    try:
        return saslprep(text)
    except ValueError:
        return text
