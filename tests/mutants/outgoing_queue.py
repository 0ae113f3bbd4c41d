"""Defects in the queue, in rate limits, in settings and in the test button."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from outgoing_batch import outcomes_of_a_message
from patching import instead
from registry import mutant

from harness.clientstack import checks, delivery, replies, section, settings
from harness.clientstack.errors import MailError
from harness.clientstack.outbox import Outbox
from harness.clientstack.queue import Queue
from harness.clientstack.ratelimit import RateLimit, RateLimits
from harness.clientstack.wire import Wire

# --- the queue


@mutant
def keeps_the_queue_in_memory() -> None:
    """What waits is gone when the process is."""
    folders: defaultdict[str, tempfile.TemporaryDirectory[str]] = defaultdict(tempfile.TemporaryDirectory)

    @instead(Outbox, "__init__")
    def init(original: Any, box: Outbox, settings: Any, state_dir: Any, *arguments: Any) -> None:
        original(box, settings, folders[str(state_dir)].name, *arguments)


@mutant
def forgets_what_was_sent() -> None:
    """A flush sends everything again."""

    @instead(Outbox, "flush")
    def flush(original: Any, box: Outbox) -> Any:
        with box._store.transaction() as db:
            db.execute("UPDATE recipients SET state = 'not-done'")
        return original(box)


@mutant
def forgets_the_queue_at_flush() -> None:
    """A flush sends nothing."""

    @instead(Queue, "pending_ids")
    def pending_ids(original: Any, waiting: Queue) -> list[int]:
        return []


@mutant
def flushes_only_what_is_due() -> None:
    """A flush by hand waits for the messages' back-off."""

    @instead(Queue, "pending_ids")
    def pending_ids(original: Any, waiting: Queue) -> list[int]:
        due = lambda each: each.retry_at is None or each.retry_at <= waiting._now  # noqa: E731
        return [number for number in original(waiting) if any(map(due, waiting.message(number).recipients))]


@mutant
def records_at_the_end_of_a_batch() -> None:
    """What was sent is written down when the whole batch is over."""
    kept: list[Callable[[], None]] = []

    @instead(delivery.Run, "_keep")
    def keep(original: Any, run: Any, *arguments: Any) -> None:
        kept.append(lambda: original(run, *arguments))

    @instead(delivery.Run, "end")
    def end(original: Any, run: Any) -> None:
        for write in kept:
            write()
        kept.clear()
        original(run)


@mutant
def takes_doubt_for_success() -> None:
    """A message whose final reply was lost counts as sent."""
    outcomes_of_a_message(
        lambda outcomes: {
            address: None if error is not None and error.in_doubt else error for address, error in outcomes.items()
        }
    )


@mutant
def remembers_the_first_settings() -> None:
    """Messages of a queue go through the account that it had first."""
    first: dict[str, Any] = {}

    @instead(Outbox, "__init__")
    def init(original: Any, box: Outbox, settings: Any, state_dir: Any, *arguments: Any) -> None:
        original(box, first.setdefault(str(state_dir), settings), state_dir, *arguments)


# --- rate limits


@mutant
def ignores_limits() -> None:
    """Nothing stops the account from trying while a limit holds."""

    @instead(RateLimits, "active")
    def active(original: Any, limits: RateLimits, account: str) -> None:
        return None


@mutant
def goes_on_behind_a_limit() -> None:
    """The rest of a batch is tried after the limit was met."""

    @instead(delivery.Run, "_halt")
    def halt(original: Any, run: Any, error: MailError) -> None:
        original(run, error)
        if error.category == "rate-limit":
            run._stop = None


@mutant
def forgets_limits_at_a_restart() -> None:
    """A limit is gone when the process is."""
    known: set[str] = set()

    @instead(Outbox, "__init__")
    def init(original: Any, box: Outbox, settings: Any, state_dir: Any, *arguments: Any) -> None:
        original(box, settings, state_dir, *arguments)
        if str(state_dir) not in known:
            known.add(str(state_dir))
            with box._store.transaction() as db:
                db.execute("DELETE FROM rate_limits")


@mutant
def keeps_limits_for_ever() -> None:
    """A limit never ends."""

    @instead(RateLimits, "active")
    def active(original: Any, limits: RateLimits, account: str) -> Any:
        now, limits._now = limits._now, 0.0
        try:
            return original(limits, account)
        finally:
            limits._now = now


@mutant
def shows_limits_that_are_over() -> None:
    """`rate_limited_until` still stands there after the mail has gone out again."""
    last: dict[str, RateLimit] = {}

    @instead(RateLimits, "hit")
    def hit(original: Any, limits: RateLimits, account: str, error: MailError) -> Any:
        last[account] = original(limits, account, error)
        return last[account]

    def until(box: Outbox) -> float | None:
        assert box._settings.outgoing is not None
        limit = last.get(box._settings.outgoing.account)
        return limit.until if limit else None

    Outbox.rate_limited_until = property(until)  # type: ignore[assignment,method-assign]


@mutant
def hears_no_stated_times() -> None:
    """How long to wait is the client's guess, whatever the server says."""

    @instead(replies, "stated_wait")
    def stated_wait(original: Any, *arguments: Any) -> None:
        return None


@mutant
def shares_limits_among_accounts() -> None:
    """The limit of one account holds for all."""
    settings.Outgoing.account = property(lambda account: "smtp://everybody")  # type: ignore[assignment,method-assign]


# --- settings and the test button


@mutant
def ignores_the_port_behind_the_comma() -> None:
    """`host,port` means host, and the port of the other setting."""

    @instead(section, "split_host")
    def split_host(original: Any, text: str) -> Any:
        return original(text)[0], None


@mutant
def takes_25_for_every_mode() -> None:
    """The default port is 25."""
    settings._OUTGOING_PORTS = dict.fromkeys(settings._OUTGOING_PORTS, 25)  # type: ignore[misc]


@mutant
def takes_a_closed_port_for_a_timeout() -> None:
    """A refused connection is reported as a silent server."""

    @instead(Wire, "connect")
    def connect(original: Any, wire: Wire, *arguments: Any) -> None:
        try:
            original(wire, *arguments)
        except MailError as error:
            raise MailError("timeout", error.text) from None


@mutant
def tests_with_a_mail() -> None:
    """The test without an address sends a mail to the account itself."""

    @instead(checks, "_try_outgoing")
    def try_outgoing(original: Any, outgoing: Any, dialogue: Any, now: Any, to: Any, dial: Any) -> Any:
        return original(outgoing, dialogue, now, to or outgoing.from_address, dial)


@mutant
def tests_without_a_mail() -> None:
    """The test with an address logs in and sends nothing."""

    @instead(checks, "_try_outgoing")
    def try_outgoing(original: Any, outgoing: Any, dialogue: Any, now: Any, to: Any, dial: Any) -> Any:
        return original(outgoing, dialogue, now, None, dial)


@mutant
def is_content_with_a_connection() -> None:
    """The test is passed once the server's name has an address."""

    @instead(checks.Check, "as_json")
    def as_json(original: Any, check: Any) -> Any:
        return {**original(check), "ok": True, "error": None}
