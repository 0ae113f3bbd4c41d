"""The time a host lives in: limits and windows run on it, and a scenario can move it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["Clock"]


class Clock:
    """Seconds since 1970 in UTC. With ``start`` the clock stands still until moved; without, it runs."""

    def __init__(self, start: float | None = None) -> None:
        self._start = start
        self.moved = 0.0
        """Seconds that the clock was moved in all."""

    def now(self) -> float:
        return (time.time() if self._start is None else self._start) + self.moved

    def date(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)

    def advance(self, seconds: float) -> None:
        """Move the clock; a negative number moves it back, as real clocks sometimes do."""
        self.moved += seconds
