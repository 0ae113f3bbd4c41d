"""Counting over windows: how many messages in the last 24 hours."""

from __future__ import annotations

from array import array
from bisect import bisect_right

__all__ = ["Tally"]

EXACT = 10_000
"""So many events are kept at their own times; when there are more, those of one second become one at its last time."""


class Tally:
    """Named counts with the times at which they were made, in arrays: a list would take four times the memory."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, tuple[array[float], array[int]]] = {}

    def add(self, name: str, now: float, amount: int = 1) -> None:
        """Count at `now`. After a clock was moved back, events are taken as made at the latest time known."""
        counts = self._counts.get(name)
        if counts is None:
            self._counts[name] = (array("d", (now,)), array("q", (amount,)))
            return
        times, sums = counts
        if now <= times[-1]:
            # A clock that stands still makes one entry of any number of events.
            sums[-1] += amount
            return
        times.append(now)
        sums.append(sums[-1] + amount)
        if len(times) % EXACT == 0:
            counts[0][:], counts[1][:] = _by_seconds(times, sums)

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


def _by_seconds(times: array[float], sums: array[int]) -> tuple[array[float], array[int]]:
    """One entry for each second, the newest half left as it is."""
    half = len(times) // 2
    merged: dict[int, tuple[float, int]] = {}
    for time, total in zip(times[:half], sums[:half], strict=True):
        merged[int(time)] = (time, total)
    old = merged.values()
    return (
        array("d", (time for time, _ in old)) + times[half:],
        array("q", (total for _, total in old)) + sums[half:],
    )
