"""A mail client for server-side software: sends through a durable queue, reads each message once.

Everything is imported when it is first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .checks import Check, check_incoming, check_outgoing, ping
    from .diagnosis import Diagnosis, diagnose
    from .errors import MailError
    from .mailbox import Fetched, IncomingMessage, Mailbox
    from .outbox import Message, Outbox, Report, Result
    from .queue import Queue
    from .settings import Incoming, Outgoing, Settings

__version__: Final = "0.1.0"

_HOME: Final = {
    "Check": "checks",
    "Diagnosis": "diagnosis",
    "Fetched": "mailbox",
    "Incoming": "settings",
    "IncomingMessage": "mailbox",
    "MailError": "errors",
    "Mailbox": "mailbox",
    "Message": "outbox",
    "Outbox": "outbox",
    "Outgoing": "settings",
    "Queue": "queue",
    "Report": "outbox",
    "Result": "outbox",
    "Settings": "settings",
    "check_incoming": "checks",
    "check_outgoing": "checks",
    "diagnose": "diagnosis",
    "ping": "checks",
}

__all__ = [
    "Check",
    "Diagnosis",
    "Fetched",
    "Incoming",
    "IncomingMessage",
    "MailError",
    "Mailbox",
    "Message",
    "Outbox",
    "Outgoing",
    "Queue",
    "Report",
    "Result",
    "Settings",
    "check_incoming",
    "check_outgoing",
    "diagnose",
    "ping",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
