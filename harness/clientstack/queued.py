"""What the queue holds, as values: messages, recipients and their states."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .errors import MailError

__all__ = [
    "DONE",
    "IN_DOUBT",
    "IN_ERROR",
    "NOT_DONE",
    "NOT_WRITTEN",
    "NewMessage",
    "QueuedMessage",
    "RecipientState",
    "digest_of",
]

NOT_DONE: Final = "not-done"
IN_DOUBT: Final = "in-doubt"
DONE: Final = "done"
IN_ERROR: Final = "in-error"

NOT_WRITTEN: Final = b"X-Not-Sent: "
"""How the bytes begin that are kept in place of a message that could not be written."""


@dataclass(frozen=True)
class RecipientState:
    """A recipient as the queue has it; `error` is the ERROR object of its last attempt."""

    address: str
    state: str
    attempts: int
    retry_at: float | None
    error: dict[str, Any] | None

    @property
    def pending(self) -> bool:
        return self.state in (NOT_DONE, IN_DOUBT)

    @property
    def outcome(self) -> str:
        return {DONE: "sent", IN_ERROR: "failed"}.get(self.state, "deferred")


@dataclass(frozen=True)
class QueuedMessage:
    """A message as it is sent, with its envelope sender ("": the null reverse-path)."""

    id: int
    name: str
    sender: str
    eml: bytes
    created: float
    recipients: tuple[RecipientState, ...]
    tenant: str = ""

    @property
    def pending(self) -> list[str]:
        return [recipient.address for recipient in self.recipients if recipient.pending]


@dataclass(frozen=True)
class NewMessage:
    """A message to be queued. `recipients`: each with the error that keeps it from being tried, or None.

    `tenant` chooses the server ("": the global one); urgent messages go before all others; `kind` is the caller's
    word for what the message is.
    """

    name: str
    sender: str
    recipients: Mapping[str, MailError | None]
    eml: bytes
    digest: str
    tenant: str = ""
    urgent: bool = False
    kind: str = ""


def digest_of(sender: str, recipients: Iterable[str], eml: bytes) -> str:
    """What makes a repeated request the same request."""
    lines = "\n".join((sender, *recipients)).encode()
    return hashlib.sha256(lines + b"\0" + eml).hexdigest()
