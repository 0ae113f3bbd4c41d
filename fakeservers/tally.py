"""Counting over windows: how many messages in the last 24 hours."""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["Tally"]


class Tally:
    """Named counts with the times at which they were made."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, tuple[list[float], list[int]]] = {}

    def add(self, name: str, now: float, amount: int = 1) -> None:
        """Count at `now`. After a clock was moved back, events are taken as made at the latest time known."""
        times, sums = self._counts.setdefault(name, ([], []))
        times.append(max(now, times[-1]) if times else now)
        sums.append((sums[-1] if sums else 0) + amount)

    def total(self, name: str) -> int:
        counts = self._counts.get(name)
        return counts[1][-1] if counts else 0

    def within(self, name: str, now: float, seconds: float) -> int:
        """The sum of what was counted in the `seconds` before `now`; an event exactly that old has left."""
        counts = self._counts.get(name)
        if counts is None:
            return 0
        times, sums = counts
        left = bisect_right(times, now - seconds)
        return sums[-1] - (sums[left - 1] if left else 0)

    def names(self) -> list[str]:
        return sorted(self._counts)
