"""Message data out of the stream: the end of DATA (RFC 5321 4.5.2) and BDAT chunks (RFC 3030).

The data is searched, never read line by line, and kept as it came: only CRLF.CRLF ends it, and only a dot right
behind CRLF is transparency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakeservers.rules import Effect

__all__ = ["ChunkReader", "DataReader", "irregularities", "parse_chunk"]

END = b"\r\n.\r\n"
DOT = b"\r\n."
LONGEST_LINE = 1000
"""Octets of a text line, CRLF included (RFC 5321 4.5.3.1.6)."""


class DataReader:
    """Reads the data of one DATA command. Over `limit` octets nothing is kept, and the data is read to its end."""

    __slots__ = ("_dots", "_dots_to", "_kept", "_limit", "_stuffed", "content", "octets", "too_big")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._dots = self._dots_to = 0
        self._stuffed = False
        """A dot stands behind a line end that is not the end."""
        self.content = b""
        self.octets = 0
        """Octets read so far, the transparency dots among them."""
        self.too_big = False

    @property
    def partial(self) -> bytes:
        """What is kept of data whose end has not come."""
        return bytes(self._kept)

    def feed(self, data: bytes, start: int) -> int:
        """Take `data` from `start`. Returns the position behind the end of data, or -1: it took all and needs more."""
        kept = self._kept
        if not kept:
            if data.startswith(b".\r\n", start):
                return start + 3
            end = self._end(data, start)
            if end >= 0:
                self._finish(data[start : end + 2], dots=self._stuffed)
                return end + 5
            kept += data[start:] if start else data
            self.octets = len(kept)
            self._bound()
            return -1
        before = len(kept)
        kept += data[start:] if start else data
        if before == self.octets < 3 and kept.startswith(b".\r\n"):
            self.octets = 0
            return start + 3 - before
        end = self._end(kept, max(0, before - 4))
        if end < 0:
            self.octets += len(kept) - before
            self._bound()
            return -1
        self.octets += end + 2 - before
        if not self.too_big:
            self._finish(bytes(memoryview(kept)[: end + 2]), dots=self._stuffed)
        self._kept = bytearray()
        return start + end + 5 - before

    def _end(self, kept: bytes | bytearray, start: int) -> int:
        """Where the end of data stands behind `start`, -1 if nowhere. Most messages hold no dot behind a line end but
        the last: as long as none has come, one search finds either."""
        if not self._stuffed:
            dot = kept.find(DOT, start)
            if dot < 0 or kept.startswith(END, dot):
                return dot
            if dot + len(END) > len(kept):
                return -1
            self._stuffed = True
        return kept.find(END, start)

    def _bound(self) -> None:
        """Let go of what is kept once it cannot be accepted any more."""
        kept = self._kept
        if self.too_big:
            del kept[:-4]
        elif len(kept) > self._limit:
            self._dots += kept.count(b"\r\n.", max(0, self._dots_to - 2))
            self._dots_to = len(kept)
            if len(kept) - self._dots - 1 > self._limit + len(END):
                self.too_big = True
                del kept[:-4]

    def _finish(self, raw: bytes, *, dots: bool) -> None:
        self.octets = len(raw)
        if raw.startswith(b"."):
            raw = raw[1:]
        if dots:
            raw = raw.replace(DOT, b"\r\n")
        if len(raw) > self._limit:
            self.too_big = True
        else:
            self.content = raw


class ChunkReader:
    """Reads the octets of one BDAT command; with `keep` false it only counts them off. `effect` is what the rules
    want around the answer, which comes after the octets."""

    __slots__ = ("_kept", "_left", "_parts", "effect", "last")

    def __init__(self, octets: int, *, last: bool, keep: bool, effect: Effect | None) -> None:
        self._left = octets
        self._parts: list[bytes] = []
        self._kept = keep
        self.last = last
        self.effect = effect

    @property
    def content(self) -> bytes:
        return b"".join(self._parts)

    def feed(self, data: bytes, start: int) -> int:
        """As `DataReader.feed`."""
        part = data[start : start + self._left]
        if self._kept:
            self._parts.append(part)
        self._left -= len(part)
        return -1 if self._left else start + len(part)


def parse_chunk(argument: str) -> tuple[int, bool] | None:
    """The octets of a BDAT command, and whether they are the last; None for an argument of a wrong form."""
    size, _, last = argument.partition(" ")
    if not (size.isascii() and size.isdecimal() and len(size) <= 20) or last.strip().upper() not in ("", "LAST"):
        return None
    return int(size), bool(last.strip())


def irregularities(content: bytes) -> list[str]:
    """What RFC 5321 forbids in message text, by name: `bare-lf`, `bare-cr`, `long-line`."""
    found = []
    lines = content.count(b"\r\n")
    if content.count(b"\n") != lines:
        found.append("bare-lf")
    if content.count(b"\r") != lines:
        found.append("bare-cr")
    start, octets = 0, len(content)
    while octets - start > LONGEST_LINE:
        end = content.rfind(b"\r\n", start, start + LONGEST_LINE)
        if end < 0:
            found.append("long-line")
            break
        start = end + 2
    return found
