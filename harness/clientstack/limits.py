"""What a provider is known to allow before it says so: messages per connection and per minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from .errors import MailError
from .replies import reply_table
from .store import Store, stamp

__all__ = ["Allowance", "Known", "known_limits"]

_MINUTE: Final = 60.0


@dataclass(frozen=True)
class Known:
    """Limits of a provider; None where none is known."""

    per_connection: int | None = None
    per_minute: int | None = None


@lru_cache(maxsize=64)
def known_limits(host: str) -> Known:
    """The limits that stand in replies.yaml for this server."""
    entry: Mapping[str, Any] = reply_table()["providers"].get(host.lower().rstrip("."), {})
    return Known(entry.get("per_connection"), entry.get("per_minute"))


class Allowance:
    """How much an account may still send in this minute. Kept on disk, so that a restart forgets nothing."""

    def __init__(self, store: Store, account: str, host: str, now: datetime) -> None:
        self.known = known_limits(host)
        self._store = store
        self._account = account
        self._host = host
        self._now = stamp(now)

    def spent(self) -> MailError | None:
        """The limit that keeps the next message from being sent now, None while it may go."""
        if self.known.per_minute is None:
            return None
        rows = self._store.rows(
            "SELECT min(at) AS first, total(messages) AS messages FROM sent WHERE account = ? AND at > ? AND at <= ?",
            self._account,
            self._now - _MINUTE,
            self._now,
        )
        if rows[0]["messages"] < self.known.per_minute:
            return None
        return MailError(
            "rate-limit",
            f"{self._host} takes {self.known.per_minute} messages a minute, and they have been sent",
            retry_after=rows[0]["first"] + _MINUTE - self._now,
        )

    def count(self) -> None:
        """One message more was accepted."""
        if self.known.per_minute is None:
            return
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO sent (account, at, messages) VALUES (?, ?, 1) "
                "ON CONFLICT (account, at) DO UPDATE SET messages = messages + 1",
                (self._account, self._now),
            )
            db.execute("DELETE FROM sent WHERE account = ? AND at <= ?", (self._account, self._now - 2 * _MINUTE))
