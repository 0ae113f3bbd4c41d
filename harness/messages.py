"""The messages of a scenario as octets: those that lie in mailboxes, and those that the client is to send."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from typing import Any

from harness.scenario import Mail, OutgoingMessage

__all__ = ["incoming_mail", "outgoing_message"]

PLAIN = OutgoingMessage()
LINE = "0123456789 " * 6 + "\n"


def incoming_mail(mail: Mail, number: int, date: datetime) -> bytes:
    """The `number`th message of `mail`, lines ending with CRLF."""
    if mail.eml is not None:
        return _crlf(mail.eml.replace("{n}", str(number)), mail.charset)
    return _compose(
        sender=mail.sender,
        to=[mail.to],
        subject=mail.subject.replace("{n}", str(number)),
        body=mail.body.replace("{n}", str(number)) + LINE * ((mail.octets or 0) // len(LINE)),
        date=date,
        message_id=f"<given-{number}-{abs(hash_of(mail.subject + mail.mailbox + mail.to))}@example.test>",
    )


def outgoing_message(
    message: OutgoingMessage | None, to: list[str], number: int, date: datetime
) -> tuple[dict[str, Any], bytes]:
    """The request's `id`, `from` and `to`, and the octets. `eml` goes out as it stands in the file."""
    given = message or PLAIN.model_copy(update={"to": to})
    name = given.id or f"m{number}"
    data: dict[str, Any] = {"id": name, "to": given.to}
    if given.sender is not None:
        data["from"] = given.sender
    if given.eml is not None:
        return data, given.eml.encode()
    body = given.body + LINE * ((given.octets or 0) // len(LINE))
    raw = _compose(
        sender=given.sender or "alice@example.test",
        to=given.to,
        subject=given.subject if message else f"{given.subject} {number}",
        body=body,
        date=date,
        message_id=f"<{name}.scenario@example.test>",
    )
    return data, raw


def hash_of(text: str) -> int:
    """The same in every process, unlike `hash`."""
    from zlib import crc32

    return crc32(text.encode())


def _compose(*, sender: str, to: list[str], subject: str, body: str, date: datetime, message_id: str) -> bytes:
    if all(text.isascii() for text in (sender, *to, subject, body)) and "\n" not in subject:
        head = {
            "From": sender,
            "To": ", ".join(to),
            "Subject": subject,
            "Date": format_datetime(date),
            "Message-ID": message_id,
        }
        return _crlf("".join(f"{key}: {value}\n" for key, value in head.items() if value) + "\n" + body)
    message = EmailMessage(policy=SMTP if all(text.isascii() for text in (sender, *to)) else SMTPUTF8)
    message["From"], message["To"], message["Subject"] = sender, ", ".join(to), subject
    message["Date"], message["Message-ID"] = format_datetime(date), message_id
    message.set_content(body)
    return message.as_bytes()


def _crlf(text: str, charset: str = "utf-8") -> bytes:
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode(charset)
