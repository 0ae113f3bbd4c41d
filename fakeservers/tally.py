"""Counting over windows: how many messages in the last 24 hours."""

from __future__ import annotations

from array import array
from bisect import bisect_right

__all__ = ["Tally"]

EXACT = 10_000
"""So many events are kept at their own times; when there are more, those of one second become one at its last time."""
FRESH = 256
"""So many messages are noted before they are counted; whoever asks has them counted at once."""
Single = tuple[float, int]
Counts = tuple["array[float]", "array[int]"]
"""The times of events, and the sums up to each: arrays, for lists would take four times the memory."""
MessageCount = tuple[float, int, int]
"""When, and how many recipients and octets."""


class Tally:
    """Named counts with the times at which they were made."""

    __slots__ = ("_counts", "_fresh")

    def __init__(self) -> None:
        self._counts: dict[str, Single | Counts] = {}
        """A name with one event so far does without arrays: most counts of a connection stay so."""
        self._fresh: list[MessageCount] | None = None

    def add(self, name: str, now: float, amount: int = 1) -> None:
        """Count at `now`. After a clock was moved back, events are taken as made at the latest time known."""
        counts = self._counts.get(name)
        if counts is None:
            self._counts[name] = (now, amount)
            return
        first, second = counts
        if isinstance(first, float):
            assert isinstance(second, int)
            if now <= first:
                # A clock that stands still makes one entry of any number of events.
                self._counts[name] = (first, second + amount)
                return
            self._counts[name] = (array("d", (first, now)), array("q", (second, second + amount)))
            return
        assert isinstance(second, array)
        total = second[-1] + amount
        if now <= first[-1]:
            second[-1] = total
            return
        first.append(now)
        second.append(total)
        if len(first) % EXACT == 0:
            first[:], second[:] = _by_seconds(first, second)

    def add_message(self, counted: MessageCount) -> None:
        """Count a message, its recipients and its octets: noted for the time being, which takes a tenth of the time."""
        fresh = self._fresh
        if fresh is None:
            self._fresh = [counted]
        else:
            fresh.append(counted)
            if len(fresh) >= FRESH:
                self._settle()

    def total(self, name: str) -> int:
        if self._fresh is not None:
            self._settle()
        counts = self._counts.get(name)
        if counts is None:
            return 0
        last = counts[1]
        return last if isinstance(last, int) else last[-1]

    def within(self, name: str, now: float, seconds: float) -> int:
        """The sum of what was counted in the `seconds` before `now`; an event exactly that old has left."""
        if self._fresh is not None:
            self._settle()
        counts = self._counts.get(name)
        if counts is None:
            return 0
        times, sums = counts
        if isinstance(times, float):
            assert isinstance(sums, int)
            return sums if times > now - seconds else 0
        assert isinstance(sums, array)
        left = bisect_right(times, now - seconds)
        return sums[-1] - (sums[left - 1] if left else 0)

    def names(self) -> list[str]:
        if self._fresh is not None:
            self._settle()
        return sorted(self._counts)

    def _settle(self) -> None:
        fresh, self._fresh = self._fresh or [], None
        for now, recipients, octets in fresh:
            self.add("messages", now)
            self.add("recipients", now, recipients)
            self.add("octets", now, octets)


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
