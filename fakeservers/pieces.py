"""Octets in the pieces that they are made of."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Pieces"]


class Pieces:
    """Octets in pieces, put together by `bytes(...)` when somebody has to see them whole: a copy of every message that
    is read takes more time than all else that reading it costs, and memory once more."""

    __slots__ = ("_size", "each")

    def __init__(self, each: Sequence[bytes]) -> None:
        self.each = each
        self._size = sum(map(len, each))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.each)
