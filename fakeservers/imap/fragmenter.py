"""Cuts the stream into lines and literals before anything is parsed: a malformed command never eats the next one."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Announced", "Fragmenter", "LineTooLongError", "announced"]

_ANNOUNCEMENT = re.compile(rb"\{(\d{1,20})(\+?)\}\Z")
_UPLOAD = re.compile(rb"([^\x00-\x20(){%*\"\\\x7f-\xff+]+ APPEND [^\r\n{}]*)\{(\d{1,9})\+\}\r\n", re.IGNORECASE)
_HEAD = 1024


class LineTooLongError(Exception):
    """A line over the limit has come to its end; `head` is how it began, the rest was not kept."""

    def __init__(self, head: bytes) -> None:
        super().__init__("line too long")
        self.head = head


class Announced(NamedTuple):
    """A literal that a line announces at its end (RFC 3501 4.3, RFC 7888): `text` is the line before `{`."""

    text: bytes
    size: int
    synchronizing: bool


def announced(line: bytes) -> Announced | None:
    """`line` comes without its line end."""
    if not line.endswith(b"}"):
        return None
    match = _ANNOUNCEMENT.search(line)
    if match is None:
        return None
    return Announced(line[: match.start()], int(match[1]), not match[2])


class Fragmenter:
    """A buffer that gives whole lines and whole runs of octets; None means that more must come first."""

    __slots__ = ("_buffer", "_head", "_limit", "_scanned", "_skipping")

    def __init__(self, line_limit: int) -> None:
        self._buffer = bytearray()
        self._limit = line_limit
        self._scanned = 0
        self._skipping = 0
        self._head: bytes | None = None

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        if self._skipping:
            taken = min(self._skipping, len(data))
            self._skipping -= taken
            data = data[taken:]
        self._buffer += data

    def line(self) -> bytes | None:
        """The next line with its line end, LF or CRLF. Raises LineTooLongError once such a line is over."""
        if self._skipping:
            return None
        buffer = self._buffer
        end = buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(buffer)
            if len(buffer) > self._limit:
                # Nothing of an endless line is kept but its head, where the tag is.
                if self._head is None:
                    self._head = bytes(buffer[:_HEAD])
                buffer.clear()
                self._scanned = 0
            return None
        self._scanned = 0
        head, self._head = self._head, None
        if head is None and end > self._limit:
            head = bytes(buffer[:_HEAD])
        line = bytes(buffer[: end + 1]) if head is None else b""
        del buffer[: end + 1]
        if head is not None:
            raise LineTooLongError(head)
        return line

    def octets(self, count: int) -> bytes | None:
        """The next `count` octets, all of them or none yet."""
        if len(self._buffer) < count:
            return None
        with memoryview(self._buffer) as view:
            taken = bytes(view[:count])
        del self._buffer[:count]
        return taken

    def whole_upload(self, limit: int) -> tuple[bytes, bytes, bytes] | None:
        """An APPEND that has come in one piece and ends with a literal up to `limit` that nobody has to ask for: its
        first line, that line's text, and the literal. Most uploads are read so, in a third of the time."""
        buffer = self._buffer
        if self._scanned or self._skipping or self._head is not None:
            return None
        found = _UPLOAD.match(buffer)
        if found is None:
            return None
        start = found.end()
        end = start + int(found[2])
        if end - start > limit or start > self._limit or buffer[end : end + 2] != b"\r\n":
            return None
        line, text = found[0], found[1]
        with memoryview(buffer) as view:
            octets = bytes(view[start:end])
        del buffer[: end + 2]
        return line, text, octets

    def skip(self, count: int) -> None:
        """Swallow the next `count` octets, whenever they come, without keeping them."""
        taken = min(count, len(self._buffer))
        del self._buffer[:taken]
        self._skipping = count - taken

    def keep(self, count: int) -> None:
        """Forget what has come behind the next `count` octets."""
        del self._buffer[count:]

    def drop(self) -> int:
        """Forget what was not yet taken; returns how many octets that were."""
        dropped = len(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        self._head = None
        return dropped
