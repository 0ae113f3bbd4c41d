"""Defects in what the client does after a server's no: the heads of the retry oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from patching import instead
from registry import mutant

from harness.clientstack import compose, delivery, mailbox, outbox, queued, replies
from harness.clientstack.errors import MailError
from harness.clientstack.outbox import Outbox
from harness.clientstack.queue import Queue

TIMES = 12
"""So often a restless client goes on: more than any other has a reason to."""
PASSING = ("connect", "disconnected", "temporary", "tls-handshake")


@mutant
def waits_half_of_what_was_stated() -> None:
    """The client is back when half of the stated time is over."""

    @instead(replies, "stated_wait")
    def stated_wait(original: Any, *arguments: Any) -> float | None:
        wait: float | None = original(*arguments)
        return wait / 2 if wait else None


@mutant
def connects_again_at_once() -> None:
    """A server that cannot be had is tried a dozen times in a row."""

    @instead(delivery.Run, "_ready")
    def ready(original: Any, run: Any) -> Any:
        session = original(run)
        for _ in range(TIMES):
            if session is None and run._stop is not None and run._stop.category in PASSING:
                run._stop, run._connections = None, 0
                session = original(run)
        return session


@mutant
def asks_again_after_a_refusal_for_good() -> None:
    """What a 5xx refused is asked for once more in the same run."""

    @instead(delivery.Run, "_again")
    def again(original: Any, run: Any, session: Any, outcomes: dict[str, Any], *arguments: Any) -> Any:
        refused = {
            address for address, error in outcomes.items() if error is not None and error.code in range(550, 555)
        }
        tried: set[str] = getattr(run, "tried", set())
        once_more = refused - tried if session.usable else set()
        run.tried = tried | once_more
        return original(run, session, outcomes, *arguments) | once_more


@mutant
def tries_refused_recipients_with_the_deferred_ones() -> None:
    """A message that waits for one recipient goes to the refused ones again as well."""
    queued.RecipientState.pending = property(lambda each: each.state != queued.DONE)  # type: ignore[assignment,method-assign]


@mutant
def gives_a_message_in_doubt_another_id() -> None:
    """The Message-ID is made when a message is sent, each time a new one, unless the caller gave one."""
    made: set[bytes] = set()

    @instead(outbox, "complete")
    def complete(original: Any, eml: bytes, **named: Any) -> bytes:
        whole: bytes = original(eml, **named)
        if not compose.message_id(eml):
            made.add(str(compose.message_id(whole)).encode())
        return whole

    @instead(delivery.Run, "deliver")
    def deliver(original: Any, run: Any, message: Any) -> None:
        for value in made:
            if value in message.eml and message.recipients[0].attempts:
                message = replace(message, eml=message.eml.replace(value, b"<again-" + value[1:]))
        original(run, message)


@mutant
def gives_up_at_the_second_no() -> None:
    """What was refused for now a second time has failed."""

    @instead(Queue, "_record")
    def record(original: Any, waiting: Queue, db: Any, message: Any, recipient: Any, *rest: Any) -> None:
        original(waiting, db, message, recipient, *rest)
        if recipient.attempts and rest[0] is not None:
            change = "UPDATE recipients SET state = 'in-error' WHERE message = ? AND address = ?"
            db.execute(change, (message.id, recipient.address))


@mutant
def reports_the_queue_without_trying() -> None:
    """A flush says what waits, and sends nothing."""

    @instead(Outbox, "flush")
    def flush(original: Any, box: Any) -> Any:
        box._deliver = lambda ids: None
        return original(box)


@mutant
def names_only_the_accepted_recipients() -> None:
    """A message with an accepted recipient is sent, and nothing is said of the others."""

    @instead(outbox.Result, "as_json")
    def as_json(original: Any, result: Any) -> dict[str, Any]:
        told: dict[str, Any] = original(result)
        accepted = {who: one for who, one in told["recipients"].items() if one["outcome"] == "sent"}
        return {**told, "outcome": "sent", "error": None, "recipients": accepted} if accepted else told


@mutant
def reads_again_at_once() -> None:
    """A mailbox server that cannot be had is asked a dozen times in a row."""

    @instead(mailbox.Mailbox, "read")
    def read(original: Any, box: Any) -> MailError | None:
        error: MailError | None = original(box)
        for _ in range(TIMES):
            if error is not None and error.category in PASSING:
                error = original(box)
        return error


@mutant
def keeps_a_mailbox_for_broken() -> None:
    """A mailbox server that could not be had once is not asked again."""
    broken: dict[str, MailError] = {}

    @instead(mailbox.Mailbox, "read")
    def read(original: Any, box: Any) -> MailError | None:
        folder = str(box._folder)
        error: MailError | None = broken.get(folder) or original(box)
        if error is not None and error.category in PASSING:
            broken[folder] = error
        return error
