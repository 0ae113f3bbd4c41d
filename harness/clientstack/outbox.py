"""Sends mail through the queue: what cannot go now stays there, and nothing goes twice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from .compose import complete, format_mailbox, parse_address
from .debugfile import dialogue_for
from .delivery import Run
from .errors import MailError
from .lease import Lease
from .limits import Allowance
from .queue import Queue
from .queued import NewMessage, RecipientState, digest_of
from .ratelimit import RateLimits
from .routing import account_of, route
from .settings import Outgoing, Settings
from .store import Store, timestamp
from .transport import check_transport, session_for

__all__ = ["Message", "Outbox", "Report", "Result"]

_PATIENCE: Final = 10.0
_LOOK_FOR_URGENT: Final = 0.1
"""Seconds between two looks into the queue for urgent mail of others."""


@dataclass(frozen=True)
class Message:
    """Mail to send: `name` is the caller's own id; `sender` None means the settings' address, "" the null
    reverse-path; `eml` the message with any line ends.

    Urgent messages go before all others. `tenant` chooses the server; `kind` is the caller's word for what it is;
    `faults` are recipients that are kept with the reason why nothing is sent to them; `return_path` is the envelope
    sender whatever the account says.
    """

    name: str
    sender: str | None
    recipients: tuple[str, ...]
    eml: bytes
    urgent: bool = False
    tenant: str = ""
    kind: str = ""
    faults: Mapping[str, MailError] = field(default_factory=dict)
    return_path: str | None = None


@dataclass(frozen=True)
class Result:
    """What became of a message: the recipients that were to be tried, as they stand now. `fault` is the ERROR of
    a message that could not even be queued."""

    name: str
    recipients: tuple[RecipientState, ...]
    fault: dict[str, Any] | None = None

    @property
    def outcome(self) -> str:
        """`deferred` if any recipient is, else `sent` if any was accepted, else `failed`."""
        outcomes = {recipient.outcome for recipient in self.recipients}
        return next((each for each in ("deferred", "sent") if each in outcomes), "failed")

    @property
    def error(self) -> dict[str, Any] | None:
        """The ERROR of the first recipient with the message's outcome; None when sent."""
        if self.outcome == "sent" or self.fault is not None:
            return self.fault
        return next((each.error for each in self.recipients if each.outcome == self.outcome and each.error), None)

    @property
    def retry_at(self) -> float | None:
        """The earliest retry, in seconds since 1970."""
        times = [each.retry_at for each in self.recipients if each.pending and each.retry_at is not None]
        return min(times, default=None)

    def as_json(self) -> dict[str, Any]:
        """The RESULT object."""
        return {
            "message": self.name,
            "outcome": self.outcome,
            "error": self.error,
            "retry_at": timestamp(self.retry_at),
            "recipients": {
                each.address: {"outcome": each.outcome, "error": None if each.outcome == "sent" else each.error}
                for each in self.recipients
            },
        }


@dataclass(frozen=True)
class Report:
    """The results of a run, and the end of the account's rate limit if one holds (seconds since 1970)."""

    results: tuple[Result, ...]
    rate_limited_until: float | None

    def as_json(self) -> dict[str, Any]:
        return {
            "results": [result.as_json() for result in self.results],
            "rate_limited_until": timestamp(self.rate_limited_until),
        }


class Outbox:
    """The outgoing side of an account: `send` new mail, `flush` what waits.

    `now` is the only clock for what is stored; `dial` maps host:port to where to connect instead.
    """

    def __init__(
        self, settings: Settings, state_dir: str | Path, now: datetime, dial: Mapping[str, str] | None = None
    ) -> None:
        """Opens the state folder. Raises MailError `config`, or `unsupported` for Graph."""
        self._settings = settings
        if settings.business is None:
            settings.require_outgoing()
        check_transport(settings)
        self._now = now
        self._dial = dial
        self._folder = state_dir
        self._store = Store(state_dir, settings.durability)
        self._lease = Lease(state_dir)
        self.queue = Queue(self._store, now)
        self._limits = RateLimits(self._store, now)

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._store.close()

    @property
    def store(self) -> Store:
        return self._store

    @property
    def rate_limited_until(self) -> float | None:
        """Seconds since 1970, or None while the global account may send."""
        if self._settings.outgoing is None:
            return None
        limit = self._limits.active(self._settings.outgoing.account)
        return limit.until if limit else None

    def send(self, messages: Iterable[Message]) -> Report:
        """Queues all messages, then tries them, the urgent ones first.

        A message that the same request left pending before (a caller that was interrupted and asks again)
        is taken up instead of being queued twice.
        """
        messages = list(messages)
        queued = self._queued(messages)
        numbers = [(place, urgent) for place, urgent in queued if isinstance(place, int)]
        self._deliver([place for first in (True, False) for place, urgent in numbers if urgent is first])
        recipients = self.queue.recipients_of([place for place, _ in numbers])
        return self._report(
            [
                Result(message.name, recipients[place]) if isinstance(place, int) else place
                for message, (place, _) in zip(messages, queued, strict=True)
            ]
        )

    def _queued(self, messages: Iterable[Message]) -> list[tuple[int | Result, bool | None]]:
        """Each message's number in the queue and whether it is urgent, or the result of one that cannot be queued."""
        places: list[tuple[int | Result | None, bool | None]] = []
        fresh: list[NewMessage] = []
        taken = set()
        # An empty queue has nothing that a request could have left there.
        idle = self.queue.next_pending() is None
        for message in messages:
            try:
                entry = self._entry(message)
            except MailError as error:
                places.append((Result(message.name, (), error.as_json()), None))
                continue
            found = None if idle else self.queue.find_pending(message.name, entry.digest)
            if found is None or found in taken:
                places.append((None, message.urgent))
                fresh.append(entry)
            else:
                taken.add(found)
                places.append((found, message.urgent))
        added = iter(self.queue.add_all(fresh))
        return [(next(added) if place is None else place, urgent) for place, urgent in places]

    def flush(self) -> Report:
        """Tries everything that is pending, whatever its back-off; a rate limit still holds. Reports the
        recipients that were pending."""
        ids = self.queue.pending_ids()
        pending = {number: {each.address for each in self.queue.recipients(number) if each.pending} for number in ids}
        self._deliver(ids)
        return self._report([self._result(number, pending[number]) for number in ids])

    def _report(self, results: list[Result]) -> Report:
        return Report(tuple(results), self.rate_limited_until)

    def _result(self, number: int, only: set[str] | None = None) -> Result:
        recipients = [each for each in self.queue.recipients(number) if only is None or each.address in only]
        return Result(self.queue.name(number), tuple(recipients))

    # -- before anything is sent -----------------------------------------------------------

    def _entry(self, message: Message) -> NewMessage:
        """The message as it is queued: its envelope sender, each recipient once, with the reason why it cannot be
        tried. Raises MailError `config`."""
        if not message.recipients:
            raise MailError("config", f"message {message.name} has no recipients")
        account = account_of(self._settings, message.tenant)
        sender = message.sender
        fault = None
        if sender != "":
            bounces = message.return_path or (account.bounce_address if account else None)
            sender = bounces or sender or (account.from_address if account else "")
            fault = self._fault(sender, account) if not message.faults else None
        recipients = {
            address: message.faults.get(address) or fault or self._fault(address, account)
            for address in dict.fromkeys(message.recipients)
        }
        digest = digest_of(sender, recipients, message.eml)
        hopeless = all(recipients.values())
        eml = message.eml if hopeless else self._complete(message, sender, account)
        return NewMessage(message.name, sender, recipients, eml, digest, message.tenant, message.urgent, message.kind)

    def _fault(self, address: str, account: Outgoing | None) -> MailError | None:
        try:
            parsed = parse_address(address)
        except MailError as error:
            return error
        if parsed.needs_utf8 and account is not None and not account.smtputf8:
            return MailError(
                "unsupported",
                f"{address} has non-ASCII characters before the @, which needs SMTPUTF8; the settings say that the "
                "server does not support it",
            )
        return None

    def _complete(self, message: Message, sender: str, account: Outgoing | None) -> bytes:
        author = (account.from_address if account else "") or message.sender or sender
        mailbox = format_mailbox(account.from_name if account else "", author) if author else ""
        domain = (author or sender).rpartition("@")[2]
        if not domain.isascii():
            domain = parse_address(author or sender).wire.rpartition("@")[2]
        return complete(message.eml, from_mailbox=mailbox, now=self._now, domain=domain or "mail.invalid")

    # -- sending ------------------------------------------------------------------------------

    def _deliver(self, ids: Sequence[int]) -> None:
        """Tries messages in this order; urgent ones that come meanwhile, from whatever process, go in between."""
        if not ids:
            return
        outgoing = self._settings.outgoing
        patience = outgoing.timeout if outgoing else _PATIENCE
        with self._lease.held(patience, lambda: not self.queue.any_pending(ids)) as held:
            if not held:
                for number in ids:
                    self.queue.hold(self.queue.message(number), MailError("temporary", "another process sends now"))
                return
            self._deliver_in_turn(deque(ids))

    def _deliver_in_turn(self, waiting: deque[int]) -> None:
        runs: dict[str, Run | MailError] = {}
        tried: set[int] = set()
        try:
            look = time.monotonic()
            while waiting:
                number = None
                if time.monotonic() >= look:
                    number = next((each for each in self.queue.fresh_urgent() if each not in tried), None)
                    look = look if number is not None else time.monotonic() + _LOOK_FOR_URGENT
                if number is None:
                    number = waiting.popleft()
                    if number in tried:
                        continue
                tried.add(number)
                message = self.queue.message(number)
                if not message.pending:
                    continue
                if message.tenant not in runs:
                    runs[message.tenant] = self._run(message.tenant, runs)
                run = runs[message.tenant]
                if isinstance(run, MailError):
                    self.queue.hold(message, run)
                else:
                    run.deliver(message)
        finally:
            for run in set(runs.values()):
                if isinstance(run, Run):
                    run.end()

    def _run(self, tenant: str, runs: Mapping[str, Run | MailError]) -> Run | MailError:
        """The run over the server of a tenant, shared by all that have the same one."""
        where = route(self._settings, tenant)
        if isinstance(where, MailError):
            return where
        same = (run for run in runs.values() if isinstance(run, Run) and run.account is where)
        return next(same, None) or self._begin(where)

    def _begin(self, account: Outgoing) -> Run:
        dialogue = dialogue_for(account.credentials, account.debug_file, self._now, self._folder)
        return Run(
            account,
            lambda: session_for(account, dialogue, self._dial, self._now),
            self.queue,
            self._limits,
            Allowance(self._store, account.account, account.host, self._now),
        )
