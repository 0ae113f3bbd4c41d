"""Defects in recipients, batches and time limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from patching import instead
from registry import mutant

from harness.clientstack import delivery, outbox, queue, queued
from harness.clientstack.errors import MailError
from harness.clientstack.smtp import SmtpSession
from harness.clientstack.wire import Wire

# --- recipients


@mutant
def stops_at_the_first_refused_recipient() -> None:
    """Recipients behind a refused one get its answer."""

    @instead(SmtpSession, "command")
    def command(original: Any, session: SmtpSession, line: str, *arguments: Any, **named: Any) -> Any:
        refused = getattr(session, "refused", None)
        if line.startswith("RCPT") and refused is not None:
            return refused
        reply = original(session, line, *arguments, **named)
        session.refused = reply if line.startswith("RCPT") and not reply.positive else None  # type: ignore[attr-defined]
        return reply


def outcomes_of_a_message(change: Callable[[dict[str, MailError | None]], dict[str, MailError | None]]) -> None:
    @instead(SmtpSession, "send")
    def send(original: Any, session: SmtpSession, *arguments: Any) -> Any:
        return change(original(session, *arguments))


@mutant
def ignores_refused_recipients() -> None:
    """With one recipient accepted all are reported as sent."""
    outcomes_of_a_message(lambda outcomes: dict.fromkeys(outcomes) if None in outcomes.values() else outcomes)


@mutant
def counts_a_partial_delivery_as_failed() -> None:
    """One refused recipient makes the message a failed one."""

    def outcome(result: Any) -> str:
        outcomes = {recipient.outcome for recipient in result.recipients}
        return next((each for each in ("failed", "deferred", "sent") if each in outcomes), "failed")

    outbox.Result.outcome = property(outcome)  # type: ignore[assignment,method-assign]


@mutant
def drops_recipients_beyond_the_limit() -> None:
    """Recipients beyond the limit of a message count as sent."""
    outcomes_of_a_message(
        lambda outcomes: {
            address: None if error is not None and "too many recipients" in error.text.lower() else error
            for address, error in outcomes.items()
        }
    )


@mutant
def sends_to_all_again() -> None:
    """A message with a pending recipient goes to all of its recipients again."""

    def pending(message: Any) -> list[str]:
        addresses = [recipient.address for recipient in message.recipients]
        return addresses if any(recipient.pending for recipient in message.recipients) else []

    queued.QueuedMessage.pending = property(pending)  # type: ignore[assignment,method-assign]


# --- batches


@mutant
def opens_a_connection_for_each_message() -> None:
    """Each message has a connection and a login of its own."""
    delivery._CONNECTIONS = 1_000_000  # type: ignore[misc]

    @instead(delivery.Run, "deliver")
    def deliver(original: Any, run: Any, message: Any) -> None:
        original(run, message)
        run.end()


def rest_of_the_batch_fails(after: Callable[[Any, dict[str, Any]], bool]) -> None:
    """Once `after` holds for the session and a message's outcomes, nothing more of that run is tried."""

    @instead(delivery.Run, "_keep")
    def keep(original: Any, run: Any, message: Any, outcomes: dict[str, Any], *arguments: Any) -> None:
        original(run, message, outcomes, *arguments)
        if run._stop is None and after(run._session, outcomes):
            run._stop = MailError("message-refused", "the batch was given up")


@mutant
def gives_up_the_batch_at_a_refusal() -> None:
    """A refused message takes those behind it along."""
    rest_of_the_batch_fails(lambda session, outcomes: session.usable and any(outcomes.values()))


@mutant
def gives_up_the_batch_when_the_connection_ends() -> None:
    """What could not be sent over the first connection has failed."""

    @instead(delivery.Run, "_again")
    def again(original: Any, run: Any, session: Any, *arguments: Any) -> Any:
        if session.usable or run._connections > 1:
            return original(run, session, *arguments)
        run._stop = MailError("message-refused", "the batch was given up")
        return set()


@mutant
def leaves_transactions_open() -> None:
    """After a refusal there is no RSET."""

    @instead(SmtpSession, "reset")
    def reset(original: Any, session: SmtpSession) -> None:
        return


@mutant
def sends_doubtful_messages_at_once_again() -> None:
    """A message whose final reply was lost goes out again over a new connection in the same run."""

    @instead(delivery.Run, "_again")
    def again(original: Any, run: Any, session: Any, outcomes: dict[str, Any], *arguments: Any) -> Any:
        if not session.usable and run._connections < 2:
            return {address for address, error in outcomes.items() if error is not None}
        return original(run, session, outcomes, *arguments)


# --- time


@mutant
def waits_for_ever() -> None:
    """No time limit holds."""

    @instead(Wire, "_remaining")
    def remaining(original: Any, wire: Wire) -> float:
        return 3600.0


@mutant
def waits_a_moment_only() -> None:
    """The time limit is a quarter of a second, whatever the settings say."""

    @instead(Wire, "arm")
    def arm(original: Any, wire: Wire) -> None:
        wire.timeout = min(wire.timeout, 0.25)
        original(wire)


@mutant
def states_no_pause_between_tries() -> None:
    """The next try is due at once."""

    @instead(queue, "_wait")
    def wait(original: Any, attempts: int, error: MailError) -> float:
        return 0.0
