"""Which errors of a product are mailed, and when: a flood becomes one digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .business import ErrorLog
from .store import Store, stamp

__all__ = ["ErrorBatch", "ErrorMails"]

_KINDS_SHOWN: Final = 50
_LONGEST_SHOWN: Final = 2000


@dataclass(frozen=True)
class ErrorBatch:
    """Errors that go out in one mail; `ids` are theirs in the store."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]

    def subject(self, product: str) -> str:
        what = f"{len(self.texts)} errors" if len(self.texts) > 1 else "Error"
        first = " ".join(self.texts[0].split())[:100] if len(self.texts) == 1 else ""
        return f"{product + ': ' if product else ''}{what}{': ' + first if first else ''}"

    @property
    def text(self) -> str:
        """The errors, each kind once with how often it came, the most frequent first."""
        if len(self.texts) == 1:
            return f"{self.texts[0]}\n"
        kinds = Counter(self.texts).most_common()
        shown = [f"{count} x {text[:_LONGEST_SHOWN]}\n" for text, count in kinds[:_KINDS_SHOWN]]
        more = len(kinds) - _KINDS_SHOWN
        return "".join(shown) + (f"and {more} other kinds of errors\n" if more > 0 else "")


class ErrorMails:
    """The errors of a store. Up to `limit` in a window are mailed one by one; what is more is collected until the
    window of the first collected one has passed."""

    def __init__(self, store: Store, now: datetime, settings: ErrorLog) -> None:
        self._store = store
        self._now = stamp(now)
        self._settings = settings

    @property
    def collected(self) -> int:
        """How many errors wait for a digest."""
        rows = self._store.rows("SELECT count(*) AS count FROM errors WHERE mailed = 0")
        return int(rows[0]["count"])

    def add(self, text: str, times: int = 1) -> Iterator[ErrorBatch]:
        """Keeps an error so many times; gives the mails that are due now, one by one or as a digest. Each has to be
        reported as `mailed` before the next one is asked for."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM errors WHERE mailed = 1 AND at <= ?", (self._now - self._settings.window,))
            waiting = db.execute("SELECT count(*) FROM errors WHERE mailed = 0").fetchone()[0]
            alone = db.execute("SELECT count(*) FROM errors WHERE mailed = 1").fetchone()[0]
            add = "INSERT INTO errors (at, text, mailed) VALUES (?, ?, 0)"
            ids = [int(db.execute(add, (self._now, text)).lastrowid or 0) for _ in range(times)]
        if not waiting:
            for number in ids[: max(self._settings.limit - alone, 0)]:
                yield ErrorBatch((number,), (text,))
        yield from self.due()

    def due(self) -> Iterator[ErrorBatch]:
        """The digest of what was collected, once its window has passed."""
        rows = self._store.rows("SELECT id, at, text FROM errors WHERE mailed = 0 ORDER BY id")
        if rows and (rows[0]["at"] + self._settings.window <= self._now or rows[0]["at"] > self._now):
            # A beginning that lies in the future: the clock was set back, and nobody knows how long it has been.
            yield ErrorBatch(tuple(row["id"] for row in rows), tuple(row["text"] for row in rows))

    def mailed(self, batch: ErrorBatch) -> None:
        """A batch is in the queue."""
        with self._store.transaction() as db:
            db.executemany(
                "UPDATE errors SET mailed = 1, at = ? WHERE id = ?", [(self._now, each) for each in batch.ids]
            )
