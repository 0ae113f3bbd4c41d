"""The seam between the queue and whatever carries mail: SMTP here, others beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from .errors import MailError
from .settings import Outgoing, Settings
from .smtp import Envelope, SmtpSession
from .wire import Dialogue

__all__ = ["Session", "check_transport", "session_for"]


class Session(Protocol):
    """One connection to a mail service.

    `open` raises MailError. `send` never does: it returns each recipient's error, None where accepted, and
    calls `before_data` with the recipients it is about to hand the message over for. `accepted` counts
    messages, `said` is what the service said to the last of them; `usable` tells whether another one may
    follow; `groups` that `before_data` comes at once for a message to one recipient.
    """

    accepted: int
    said: str

    @property
    def usable(self) -> bool: ...

    @property
    def groups(self) -> bool: ...

    def open(self) -> None: ...

    def send(
        self, envelope: Envelope, message: bytes, before_data: Callable[[Sequence[str]], None]
    ) -> dict[str, MailError | None]: ...

    def leave(self) -> None: ...


def session_for(account: Outgoing, dialogue: Dialogue, dial: Mapping[str, str] | None, now: datetime) -> Session:
    """A session with the service that carries an account's mail, not opened yet."""
    return SmtpSession(account, dialogue, dial=dial, now=now)


def check_transport(settings: Settings) -> None:
    """Raises MailError `unsupported` where the settings want a transport that this client does not have."""
    if settings.graph is not None:
        raise MailError("unsupported", "sending through Microsoft Graph is not supported by this client")
