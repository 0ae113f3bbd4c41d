"""Header sections as they are on the wire (RFC 5322 2.2), found and cut without building anything."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["body_start", "field_values", "fields", "select_fields", "unfold"]

_FOLD = re.compile(rb"\r?\n(?=[ \t])")


def body_start(raw: bytes, start: int = 0, end: int | None = None) -> int:
    """Where the body begins, behind the empty line; `end` when there is none. Lines may end in CRLF or LF."""
    end = len(raw) if end is None else end
    if raw.startswith(b"\r\n", start, end):
        return start + 2
    if raw.startswith(b"\n", start, end):
        return start + 1
    crlf = raw.find(b"\n\r\n", start, end)
    lf = raw.find(b"\n\n", start, end if crlf < 0 else crlf + 1)
    if lf >= 0:
        return lf + 2
    return end if crlf < 0 else crlf + 3


def field_values(header: bytes, names: frozenset[bytes]) -> dict[bytes, bytes]:
    """The first value of each header field in `names` (lower case), unfolded, without the blanks around it."""
    found: dict[bytes, bytes] = {}
    current: bytes | None = None
    for line in header.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            if current is not None:
                found[current] += line.rstrip(b"\r")
            continue
        name, colon, value = line.partition(b":")
        current = None
        if colon:
            name = name.rstrip().lower()
            if name in names and name not in found:
                found[name] = value.rstrip(b"\r")
                current = name
    return {name: value.strip().replace(b"\0", b"") for name, value in found.items()}


def fields(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each header field: its name in lower case, and all its lines with their ends. What is no field is passed over."""
    name, lines = b"", b""
    for line in header.splitlines(keepends=True) if b"\r" not in header else _lines(header):
        if line[:1] in (b" ", b"\t"):
            lines += line
            continue
        if name:
            yield name, lines
        before, colon, _ = line.partition(b":")
        name, lines = (before.rstrip().lower(), line) if colon else (b"", b"")
    if name:
        yield name, lines


def _lines(text: bytes) -> list[bytes]:
    # bytes.splitlines also cuts at a bare CR, which ends no line in a message.
    parts = text.split(b"\n")
    last = parts.pop()
    return [part + b"\n" for part in parts] + ([last] if last else [])


def select_fields(header: bytes, names: frozenset[bytes], *, others: bool) -> bytes:
    """Those lines of a header whose names are in `names` (or, with `others`, are not), and the empty line behind."""
    chosen = []
    for name, lines in fields(header):
        if (name in names) != others:
            chosen.append(lines if lines.endswith(b"\n") else lines + b"\r\n")
    return b"".join(chosen) + b"\r\n"


def unfold(lines: bytes) -> bytes:
    """The value of one field (name, colon and all its lines), unfolded and stripped."""
    return _FOLD.sub(b"", lines.partition(b":")[2]).strip()
