"""One run over the queue's messages of an account: its connections, and what ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .compose import Address, parse_address
from .errors import MailError
from .limits import Allowance
from .queue import Queue
from .queued import QueuedMessage
from .ratelimit import RateLimit, RateLimits
from .settings import Outgoing
from .smtp import Envelope
from .transport import Session

__all__ = ["Run"]

_CONNECTIONS: Final = 2


class Run:
    """One run over several messages of an account: at most two connections, and an end to it at a rate limit.

    `_stop` is the error that keeps all further messages from being tried.
    """

    def __init__(
        self,
        account: Outgoing,
        connect: Callable[[], Session],
        queue: Queue,
        limits: RateLimits,
        allowance: Allowance,
    ) -> None:
        """`connect` makes a session that is not open yet."""
        self.account = account
        self._connect = connect
        self._queue = queue
        self._limits = limits
        self._allowance = allowance
        self._session: Session | None = None
        self._connections = 0
        self._limit: RateLimit | None = limits.active(account.account)
        self._stop: MailError | None = self._limit.error if self._limit else None
        self._lost: MailError | None = None
        self._attempts = self._limit is None
        self._strikes = limits.known(account.account)
        self._unrecorded: tuple[QueuedMessage, Mapping[str, MailError | None], str] | None = None
        self._fault: MailError | None = None

    def deliver(self, message: QueuedMessage) -> None:
        """Sends one message to its pending recipients and records what became of each."""
        waiting = list(message.pending)
        while waiting:
            session = self._ready()
            if session is None:
                self._put_off(message, waiting)
                return
            if len(waiting) > 1 or not session.groups:
                self._settle()
            before = session.accepted
            outcomes = session.send(
                self._envelope(message, waiting), message.eml, lambda who: self._on_its_way(message, who)
            )
            if self._fault is not None:
                # What is not kept must not be sent; nor is it the message's fault.
                raise self._fault
            progress = session.accepted > before
            again = self._again(session, outcomes, before, progress)
            final = {address: error for address, error in outcomes.items() if address not in again}
            self._keep(message, final, progress, session.said)
            waiting = [address for address in waiting if address in again]

    def end(self) -> None:
        try:
            self._settle()
        finally:
            if self._session is not None:
                self._session.leave()

    def _on_its_way(self, message: QueuedMessage, recipients: Sequence[str]) -> None:
        """Before the message itself goes out: it is in doubt, and what became of the one before is kept as well."""
        try:
            if self._unrecorded is None:
                self._queue.sending(message.id, recipients)
            else:
                self._queue.record_and_send(*self._unrecorded, message.id, recipients)
                self._unrecorded = None
        except MailError as fault:
            self._fault = fault
            raise

    def _settle(self) -> None:
        """Keeps what became of the last message, where that waits until the server has the next commands."""
        if self._unrecorded is not None:
            message, outcomes, said = self._unrecorded
            self._unrecorded = None
            self._queue.record(message, outcomes, said, attempted=True, not_before=None)

    def _ready(self) -> Session | None:
        """The open session, a new one, or None when the run has to stop."""
        if self._stop is None and (spent := self._allowance.spent()) is not None:
            self._halt(spent)
        if self._stop is not None:
            return None
        most = self._allowance.known.per_connection
        if self._session is not None and self._session.usable and most is not None and self._session.accepted >= most:
            self._session.leave()
            self._connections -= 1
        if self._session is not None and self._session.usable:
            return self._session
        if self._connections >= _CONNECTIONS:
            self._halt(self._lost or MailError("disconnected", "the server closed the connection"))
            return None
        self._connections += 1
        session = self._connect()
        try:
            session.open()
        except MailError as error:
            self._halt(error)
            return None
        self._session = session
        return session

    def _again(self, session: Session, outcomes: dict[str, MailError | None], before: int, progress: bool) -> set[str]:
        """The recipients that may be tried at once, in another transaction or over a new connection."""
        errors = {address: error for address, error in outcomes.items() if error is not None}
        spent = [error for error in errors.values() if error.scope == "connection"]
        if spent and before:
            # This connection has carried all the server takes over one; that is no reason to wait.
            session.leave()
            self._connections -= 1
            return {address for address, error in errors.items() if error.scope == "connection"}
        for error in errors.values():
            if error.category == "rate-limit":
                self._halt(error)
                return set()
        if not session.usable:
            # Why the connection is gone, not why a recipient was refused before.
            self._lost = next(filter(_ends_connection, errors.values()), None)
            if self._lost is not None and self._lost.category == "timeout":
                self._halt(self._lost)
            elif before and not progress and self._connections < _CONNECTIONS:
                return {address for address, error in errors.items() if _ends_connection(error) and not error.in_doubt}
            return set()
        if progress:
            return {address for address, error in errors.items() if _too_many_recipients(error)}
        return set()

    def _halt(self, error: MailError) -> None:
        self._stop = error.for_others()
        if error.category == "rate-limit":
            self._limit = self._limits.hit(self.account.account, error)
            self._strikes = True

    def _keep(
        self, message: QueuedMessage, outcomes: Mapping[str, MailError | None], progress: bool, said: str
    ) -> None:
        self._settle()
        plain = self._limit is None and not any(outcomes.values())
        if plain and self._session is not None and self._session.usable and self._session.groups:
            # The commands of the next message are about to leave in one go: there is time for this while they travel.
            self._unrecorded = (message, outcomes, said)
        else:
            until = self._limit.until if self._limit else None
            self._queue.record(message, outcomes, said, attempted=True, not_before=until)
        if progress:
            self._allowance.count()
            if self._limit is None and self._strikes:
                self._limits.cleared(self.account.account)
                self._strikes = False

    def _put_off(self, message: QueuedMessage, recipients: list[str]) -> None:
        assert self._stop is not None
        self._settle()
        until = self._limit.until if self._limit else None
        stopped = dict.fromkeys(recipients, self._stop)
        self._queue.record(message, stopped, attempted=self._attempts, not_before=until)

    def _envelope(self, message: QueuedMessage, recipients: list[str]) -> Envelope:
        sender: Address | None = parse_address(message.sender) if message.sender else None
        return Envelope(sender, {address: parse_address(address) for address in recipients})


def _ends_connection(error: MailError) -> bool:
    return error.code == 421 or error.category in ("disconnected", "timeout", "protocol")


def _too_many_recipients(error: MailError) -> bool:
    """RFC 5321 4.5.3.1.10: the rest of the recipients go in another transaction."""
    return error.enhanced == "4.5.3" or (error.code == 452 and "too many" in error.text.lower())
