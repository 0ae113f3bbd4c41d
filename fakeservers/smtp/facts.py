"""What rules may ask about a whole message; header fields are read only when a rule does."""

from __future__ import annotations

import re
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from functools import cache
from typing import Any

__all__ = ["message_facts", "message_id"]

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<([^<>\r\n]*)>", re.IGNORECASE | re.MULTILINE)
_parser = BytesHeaderParser(policy=policy.default)


def message_id(content: bytes) -> str:
    """The Message-ID without its angle brackets, or an empty text."""
    match = _MESSAGE_ID.search(_header_section(content))
    return match[1].decode("utf-8", "replace") if match else ""


def message_facts(content: bytes, envelope: Any, irregular: list[str]) -> dict[str, object]:
    """The facts of the point `message`. `header` answers for one field by its name; it and the callable facts are read
    when a condition asks for them."""

    @cache
    def header() -> EmailMessage:
        return _parser.parsebytes(_header_section(content))

    def field(name: str) -> str | None:
        try:
            value = header().get(name)
        except Exception:  # noqa: BLE001 the email package fails in many ways on fields that are no fields
            return None
        return None if value is None else str(value)

    def from_header() -> str | None:
        try:
            addresses = header()["From"].addresses
        except Exception:  # noqa: BLE001 as above
            return None
        return addresses[0].addr_spec if addresses else None

    return {
        "size": len(content),
        "recipients": len(envelope.rcpt_tos),
        "sender": envelope.mail_from or "",
        "eight_bit": not content.isascii(),
        "bare_lf": "bare-lf" in irregular or "bare-cr" in irregular,
        "smtputf8": envelope.smtp_utf8,
        "from_header": from_header,
        "subject": lambda: field("Subject"),
        "header": field,
    }


def _header_section(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n")
    return content if end < 0 else content[: end + 2]
