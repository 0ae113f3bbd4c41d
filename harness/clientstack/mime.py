"""Writes messages (RFC 5322, 2045-2049, 2231): text with an HTML alternative, a calendar part, attachments.

No field can smuggle in another one: line ends and other control characters in a header field are refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from typing import Final

from .compose import format_mailbox, parse_address
from .errors import MailError

__all__ = ["Attachment", "Draft", "Person", "write_message"]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*", re.IGNORECASE)
_FOLD_AT: Final = 76
_LONGEST_WORD: Final = 900
_LONGEST_NAME: Final = 40
_PIECE: Final = 18
_NOT_IN_NAMES: Final = frozenset(" \"%&'()*,/:;<=>?@[\\]") | frozenset(map(chr, range(33)))
"""What is no attribute-char (RFC 2231 7)."""


@dataclass(frozen=True)
class Person:
    """A mailbox for a header field: a display name ("" for none) and an address."""

    name: str
    address: str


@dataclass(frozen=True)
class Attachment:
    """A file that goes with a message."""

    filename: str
    content: bytes
    content_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Draft:
    """What a message says. `calendar` is an iCalendar object with its METHOD (RFC 6047); `fields` are further header
    fields."""

    sender: Person
    to: tuple[Person, ...]
    subject: str
    text: str
    reply_to: str = ""
    html: str | None = None
    calendar: tuple[str, bytes] | None = None
    attachments: tuple[Attachment, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)


def write_message(draft: Draft) -> bytes:
    """The message with CRLF line ends, without Date and Message-ID. Raises MailError `config` for what cannot stand in
    a header field."""
    people = [draft.sender, *draft.to]
    utf8 = any(parse_address(person.address).needs_utf8 for person in people)
    head = {"From": _mailboxes([draft.sender])}
    if draft.to:
        head["To"] = _mailboxes(draft.to)
    head["Subject"] = _unstructured("Subject", draft.subject)
    if draft.reply_to:
        head["Reply-To"] = _mailboxes([Person("", draft.reply_to)])
    head |= {name: _unstructured(name, value) for name, value in draft.fields.items()}
    # Seven bits, unless an address needs more anyway: no server on the way has to be able to do anything special.
    body = _content(draft).as_bytes(policy=SMTPUTF8 if utf8 else SMTP.clone(cte_type="7bit"))
    return "".join(f"{name}: {value}\r\n" for name, value in head.items()).encode() + body


def _mailboxes(people: Iterable[Person]) -> str:
    for person in people:
        _plain("a name", person.name)
        _plain("an address", person.address)
        parse_address(person.address)
    return ",\r\n ".join(format_mailbox(person.name, person.address) for person in people)


def _unstructured(name: str, value: str) -> str:
    """The value of a header field, folded; as encoded-words where it is not plain ASCII, or could be taken for one."""
    if not re.fullmatch(r"[!-9;-~]+", name):
        raise MailError("config", f"{name!r} is not the name of a header field")
    _plain(name, value)
    plain = value.isascii() and "=?" not in value and max(map(len, value.split()), default=0) < _LONGEST_WORD
    header = Header(value, "us-ascii" if plain else "utf-8", maxlinelen=_FOLD_AT, header_name=name)
    return header.encode(linesep="\r\n", splitchars=" ").strip()


def _plain(what: str, value: str) -> None:
    if _CONTROL.search(value):
        raise MailError("config", f"{what} must not hold line ends or other control characters: {value!r}")
    if not _encodable(value):
        raise MailError("config", f"{what} is not valid text: {value!r}")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _content(draft: Draft) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    if not _encodable(draft.text + (draft.html or "")):
        raise MailError("config", "the text is not valid text")
    message.set_content(draft.text)
    if draft.html is not None:
        message.add_alternative(draft.html, subtype="html")
    if draft.calendar is not None:
        method, calendar = draft.calendar
        # Clients look for the method here before they look into the object (RFC 6047 2.4).
        message.add_alternative(
            calendar.decode(), subtype="calendar", charset="utf-8", params={"method": method, "component": "VEVENT"}
        )
    for attachment in draft.attachments:
        _plain("a file name", attachment.filename)
        if not _TYPE.fullmatch(attachment.content_type):
            raise MailError("config", f"{attachment.content_type!r} is not a media type")
        kind, _, subtype = attachment.content_type.partition("/")
        if kind.lower() in ("text", "multipart", "message"):
            _attach_readable(message, attachment)
        else:
            message.add_attachment(attachment.content, kind, subtype)
        _name(message, attachment.filename)
    _settle(message)
    return message


def _settle(message: EmailMessage) -> None:
    """The same content makes the same octets: boundaries come from it. MIME-Version stands on top only (RFC 2045 4)."""
    digest = hashlib.sha256()
    parts = list(message.walk())
    for part in parts:
        if not part.is_multipart():
            digest.update(part.get_payload(decode=True) or b"")  # type: ignore[arg-type]
        if part is not message:
            del part["MIME-Version"]
    for number, part in enumerate(part for part in parts if part.is_multipart()):
        part.set_boundary(f"=_{digest.hexdigest()[:32]}_{number}")


def _attach_readable(message: EmailMessage, attachment: Attachment) -> None:
    """Text is attached as text where it is some: every program can show it."""
    try:
        text = attachment.content.decode()
    except UnicodeDecodeError:
        message.add_attachment(attachment.content, "application", "octet-stream")
        return
    subtype = attachment.content_type.partition("/")[2] if attachment.content_type.startswith("text/") else "plain"
    message.add_attachment(text, subtype=subtype)


def _name(message: EmailMessage, filename: str) -> None:
    """Gives the last part its file name. The email package decodes an encoded-word in a quoted name, line ends and all,
    and writes them: what could be taken for one goes out in the form of RFC 2231, and past the package."""
    part = list(message.iter_parts())[-1]
    if filename.isascii() and "=?" not in filename and len(filename) <= _LONGEST_NAME:
        escaped = re.sub(r'([\\"])', r"\\\1", filename)
        value = f'attachment; filename="{escaped}"'
    else:
        octets = [
            f"%{octet:02X}" if chr(octet) in _NOT_IN_NAMES or octet > 126 else chr(octet) for octet in filename.encode()
        ]
        pieces = ["".join(octets[start : start + _PIECE]) for start in range(0, len(octets), _PIECE)]
        pieces[0] = f"utf-8''{pieces[0]}"
        lines = [f"filename*{number}*={piece}" for number, piece in enumerate(pieces)]
        value = ";\r\n ".join(["attachment", *(lines if len(lines) > 1 else [f"filename*={pieces[0]}"])])
    del part["Content-Disposition"]
    part.set_raw("Content-Disposition", value)
