"""Until when an account must not send: set by a rate-limit reply, kept on disk, cleared by success."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .errors import MailError
from .store import Store, stamp

__all__ = ["RateLimit", "RateLimits"]

_FIRST_WAIT: Final = 300.0
_LONGEST_WAIT: Final = 4 * 3600.0


@dataclass(frozen=True)
class RateLimit:
    """A limit in force: its end (seconds since 1970), and the server's words."""

    until: float
    error: MailError


class RateLimits:
    """The limits of all accounts of a store, by the given clock."""

    def __init__(self, store: Store, now: datetime) -> None:
        self._store = store
        self._now = stamp(now)

    def active(self, account: str) -> RateLimit | None:
        """The limit that holds now, or None."""
        rows = self._store.rows("SELECT * FROM rate_limits WHERE account = ? AND until > ?", account, self._now)
        if not rows:
            return None
        return RateLimit(rows[0]["until"], _error(rows[0]["error"]))

    def hit(self, account: str, error: MailError) -> RateLimit:
        """Keeps a limit: for as long as the reply says or the provider documents, else twice as long with
        every limit in a row, up to 4 hours."""
        rows = self._store.rows("SELECT strikes FROM rate_limits WHERE account = ?", account)
        strikes = rows[0]["strikes"] if rows else 0
        wait = error.retry_after
        if wait is None:
            wait = min(_FIRST_WAIT * 2.0 ** min(strikes, 16), _LONGEST_WAIT)
        until = self._now + wait
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO rate_limits (account, until, strikes, error) VALUES (?, ?, ?, ?) ON CONFLICT (account) "
                "DO UPDATE SET until = excluded.until, strikes = excluded.strikes, error = excluded.error",
                (account, until, strikes + 1, json.dumps(error.as_json(), ensure_ascii=False)),
            )
        return RateLimit(until, error)

    def known(self, account: str) -> bool:
        """Whether there is something to clear: a limit, or the back-off that one has left."""
        return bool(self._store.rows("SELECT 1 FROM rate_limits WHERE account = ?", account))

    def cleared(self, account: str) -> None:
        """A message was accepted: the limit and its back-off are over."""
        if self.known(account):
            with self._store.transaction() as db:
                db.execute("DELETE FROM rate_limits WHERE account = ?", (account,))


def _error(text: str) -> MailError:
    data = json.loads(text)
    return MailError(data["category"], data["text"], code=data["code"], enhanced=data["enhanced"])
