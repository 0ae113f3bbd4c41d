"""Raw DEFLATE in both directions of a connection (RFC 4978)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

__all__ = ["Deflated"]

_PIECE = 64 * 1024


class Deflated:
    """What the server says is packed, what the client says unpacked."""

    __slots__ = ("_in", "_out")

    def __init__(self) -> None:
        self._out = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._in = zlib.decompressobj(wbits=-zlib.MAX_WBITS)

    def deflate(self, data: bytes) -> bytes:
        """Packed so that the client can read all of it at once."""
        return self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH)

    def inflate(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pieces, and what of `data` is still packed behind each. Raises zlib.error."""
        while True:
            piece = self._in.decompress(data, _PIECE)
            data = self._in.unconsumed_tail
            if piece:
                yield piece, data
            if len(piece) < _PIECE:
                return
