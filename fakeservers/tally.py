"""Counting over windows: how many messages in the last 24 hours."""

from __future__ import annotations

from array import array
from bisect import bisect_right

__all__ = ["Tally"]

EXACT = 10_000
"""So many events are kept at their own times; when there are more, those of one second become one at its last time."""
Counts = tuple["array[float]", "array[int]"]
"""The times of events, and the sums up to each: arrays, for lists would take four times the memory."""


class Tally:
    """Named counts with the times at which they were made."""

    __slots__ = ("_counts", "_single")

    def __init__(self) -> None:
        self._single: dict[str, tuple[float, int]] = {}
        """Names with one event so far: most counts of a connection stay so, and do without arrays."""
        self._counts: dict[str, Counts] = {}

    def add(self, name: str, now: float, amount: int = 1) -> None:
        """Count at `now`. After a clock was moved back, events are taken as made at the latest time known."""
        counts = self._counts.get(name)
        if counts is None:
            single = self._single.get(name)
            if single is None:
                self._single[name] = (now, amount)
                return
            counts = self._spread(name)
        times, sums = counts
        total = sums[-1] + amount
        if now <= times[-1]:
            # A clock that stands still makes one entry of any number of events.
            sums[-1] = total
            return
        times.append(now)
        sums.append(total)
        if len(times) % EXACT == 0:
            counts[0][:], counts[1][:] = _by_seconds(times, sums)

    def total(self, name: str) -> int:
        counts = self._counts.get(name)
        if counts is None:
            return self._single.get(name, (0.0, 0))[1]
        return counts[1][-1]

    def within(self, name: str, now: float, seconds: float) -> int:
        """The sum of what was counted in the `seconds` before `now`; an event exactly that old has left."""
        if name in self._single:
            self._spread(name)
        counts = self._counts.get(name)
        if counts is None:
            return 0
        times, sums = counts
        left = bisect_right(times, now - seconds)
        return sums[-1] - (sums[left - 1] if left else 0)

    def names(self) -> list[str]:
        return sorted([*self._single, *self._counts])

    def _spread(self, name: str) -> Counts:
        now, amount = self._single.pop(name)
        counts = self._counts[name] = (array("d", (now,)), array("q", (amount,)))
        return counts


def _by_seconds(times: array[float], sums: array[int]) -> Counts:
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
