"""Reads delivery status notifications (RFC 3464): which message came back, for whom, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from typing import Any, Final

from .errors import MailError
from .replies import Reply, smtp_error

__all__ = ["Notification", "ReturnedRecipient", "read_notification"]

_ACTIONS: Final = ("failed", "delayed", "delivered", "relayed", "expanded")
_DIAGNOSTIC: Final = re.compile(r"\s*(?:\w+;)?\s*(?:(\d{3})[ -])?(.*)", re.DOTALL)
_MESSAGE_ID: Final = re.compile(r"^Message-ID:\s*(<[^<>\s]+>)", re.IGNORECASE | re.MULTILINE)
_MOST_PARTS: Final = 200


@dataclass(frozen=True)
class ReturnedRecipient:
    """One recipient of a notification. `status` is the enhanced code, `diagnostic` what the other server said."""

    address: str
    action: str
    status: str
    diagnostic: str

    @property
    def error(self) -> MailError:
        """The refusal as this client would have met it itself."""
        match = _DIAGNOSTIC.fullmatch(self.diagnostic)
        code, words = (match.group(1), match.group(2)) if match else (None, self.diagnostic)
        text = f"{self.status} {words}".strip() if self.status and self.status not in words else words
        number = int(code) if code else 500 if self.status.startswith("5") else 400
        return smtp_error(Reply(number, (text or "the message came back",)), "RCPT")


@dataclass(frozen=True)
class Notification:
    """A notification: the Message-ID of the message that it is about (None where it does not say), and recipients."""

    message_id: str | None
    recipients: tuple[ReturnedRecipient, ...]


def read_notification(raw: bytes) -> Notification | None:
    """The notification that a message is, None for any other message."""
    message = BytesParser(policy=compat32).parsebytes(raw)
    parts = [part for part, _ in zip(message.walk(), range(_MOST_PARTS), strict=False)]
    status = next((part for part in parts if part.get_content_type().endswith("/delivery-status")), None)
    if status is None:
        return None
    recipients = tuple(_recipients(status))
    return Notification(_original(parts), recipients) if recipients else None


def _recipients(part: Message[str, str]) -> Iterator[ReturnedRecipient]:
    """The per-recipient fields: the parser cuts the part into one block for each, after one for the message."""
    blocks: Any = part.get_payload()
    for block in blocks if isinstance(blocks, list) else ():
        address = _value(block, "Original-Recipient") or _value(block, "Final-Recipient")
        action = str(block.get("Action", "")).strip().lower()
        if not address or action not in _ACTIONS:
            continue
        status = re.search(r"\d\.\d{1,3}\.\d{1,3}", str(block.get("Status", "")))
        diagnostic = re.sub(r"\s+", " ", str(block.get("Diagnostic-Code", ""))).strip()
        yield ReturnedRecipient(address, action, status.group(0) if status else "", diagnostic)


def _value(block: Any, name: str) -> str:
    """`rfc822; <bob@example.test>` as bob@example.test."""
    return str(block.get(name, "")).rpartition(";")[2].strip().strip("<>").strip()


def _original(parts: list[Any]) -> str | None:
    """The Message-ID of the message or header section that came back with the notification."""
    for part in parts:
        if part.get_content_type() == "message/rfc822":
            inner = part.get_payload()
            if isinstance(inner, list) and inner and (found := str(inner[0].get("Message-ID") or "").strip()):
                return found
        elif part.get_content_type() in ("text/rfc822-headers", "message/rfc822-headers"):
            payload = part.get_payload(decode=True) or b""
            if match := _MESSAGE_ID.search(payload.decode("utf-8", "replace")):
                return match.group(1)
    return None
