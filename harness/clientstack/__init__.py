"""A mail client for server-side software: sends through a durable queue, reads each message once.

Everything is imported when it is first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .business import Business, Tenant, User
    from .checks import Check, check_incoming, check_outgoing, ping
    from .diagnosis import Diagnosis, diagnose
    from .errors import MailError
    from .inbound import Inbound
    from .itip import Meeting
    from .mailbox import Fetched, IncomingMessage, Mailbox
    from .mailer import Mailer, Sending
    from .mime import Attachment, Draft, Person, write_message
    from .outbox import Message, Outbox, Report, Result
    from .queue import Queue
    from .settings import Incoming, Outgoing, Settings
    from .settingsfile import load_settings

__version__: Final = "0.1.0"

_HOME: Final = {
    "Attachment": "mime",
    "Business": "business",
    "Check": "checks",
    "Diagnosis": "diagnosis",
    "Draft": "mime",
    "Fetched": "mailbox",
    "Inbound": "inbound",
    "Incoming": "settings",
    "IncomingMessage": "mailbox",
    "MailError": "errors",
    "Mailbox": "mailbox",
    "Mailer": "mailer",
    "Meeting": "itip",
    "Message": "outbox",
    "Outbox": "outbox",
    "Outgoing": "settings",
    "Person": "mime",
    "Queue": "queue",
    "Report": "outbox",
    "Result": "outbox",
    "Sending": "mailer",
    "Settings": "settings",
    "Tenant": "business",
    "User": "business",
    "check_incoming": "checks",
    "check_outgoing": "checks",
    "diagnose": "diagnosis",
    "load_settings": "settingsfile",
    "ping": "checks",
    "write_message": "mime",
}

__all__ = [
    "Attachment",
    "Business",
    "Check",
    "Diagnosis",
    "Draft",
    "Fetched",
    "Inbound",
    "Incoming",
    "IncomingMessage",
    "MailError",
    "Mailbox",
    "Mailer",
    "Meeting",
    "Message",
    "Outbox",
    "Outgoing",
    "Person",
    "Queue",
    "Report",
    "Result",
    "Sending",
    "Settings",
    "Tenant",
    "User",
    "check_incoming",
    "check_outgoing",
    "diagnose",
    "load_settings",
    "ping",
    "write_message",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
