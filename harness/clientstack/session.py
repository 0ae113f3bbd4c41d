"""What the sessions of all protocols have in common: how a connection is opened and left."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Generic, TypeVar

from .errors import MailError
from .settings import Incoming, Outgoing
from .wire import Dialogue, Wire

__all__ = ["PARTING_PATIENCE", "MailSession"]

PARTING_PATIENCE: Final = 2.0
"""Seconds that a server gets to answer the last command, which changes nothing any more."""

Account = TypeVar("Account", Incoming, Outgoing)


class MailSession(ABC, Generic[Account]):
    """One connection to a mail server."""

    def __init__(
        self,
        settings: Account,
        dialogue: Dialogue,
        *,
        dial: Mapping[str, str] | None = None,
        now: datetime | None = None,
    ) -> None:
        self._settings: Account = settings
        self._dial = dial
        self._now = now
        self.wire = Wire(settings.host, settings.timeout, settings.trust, dialogue)
        self.mechanism: str | None = None

    def open(self) -> None:
        """Connects, secures and logs in. Raises MailError; the connection is closed then."""
        try:
            self.connect()
            self.greet()
            self.secure()
            self.authenticate()
        except MailError:
            self.leave()
            raise

    def connect(self) -> None:
        self.wire.connect(self._settings.port, self._dial)

    def greet(self) -> None:
        """TLS first where it is implicit; the greeting; what the server can do."""
        if self._settings.security == "implicit":
            self.wire.start_tls()
        self.wire.dialogue.stage("greeting")
        self._take_greeting()

    @abstractmethod
    def _take_greeting(self) -> None: ...

    @abstractmethod
    def secure(self) -> None:
        """Starts TLS as the security setting says. Only a missing or refused offer may go on in clear."""

    @abstractmethod
    def authenticate(self) -> None:
        """Logs in as the settings say."""

    def leave(self) -> None:
        """Says goodbye as the connection allows, and closes it. What happens now changes nothing any more."""
        if not self.wire.closed:
            self.wire.timeout = min(self.wire.timeout, PARTING_PATIENCE)
            self._say_goodbye()
        self.wire.close()

    @abstractmethod
    def _say_goodbye(self) -> None: ...

    def _redacted(self, error: MailError) -> MailError:
        error.text = self.wire.dialogue.redactor(error.text)
        return error
