"""ENVELOPE (RFC 3501 7.4.2): the header fields that every list of messages shows."""

from __future__ import annotations

from fakeservers.imap.addresses import address_list
from fakeservers.imap.headers import body_start, field_values
from fakeservers.imap.spelling import nstring
from fakeservers.mailstore import Message

__all__ = ["envelope", "envelope_of"]

_NAMES = frozenset(
    {b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"in-reply-to", b"message-id"}
)


def envelope_of(message: Message) -> bytes:
    """The message's ENVELOPE, made once."""
    if message.envelope is None:
        raw = message.raw
        message.envelope = envelope(raw[: body_start(raw)])
    return message.envelope


def envelope(header: bytes) -> bytes:
    """(date subject from sender reply-to to cc bcc in-reply-to message-id); sender and reply-to default to from."""
    values = field_values(header, _NAMES)
    get = values.get
    sender = address_list(get(b"from", b""))

    def or_from(name: bytes) -> bytes:
        value = get(name)
        found = address_list(value) if value else b"NIL"
        return sender if found == b"NIL" else found

    def addresses(name: bytes) -> bytes:
        value = get(name)
        return address_list(value) if value else b"NIL"

    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(get(b"date")),
        nstring(get(b"subject")),
        sender,
        or_from(b"sender"),
        or_from(b"reply-to"),
        addresses(b"to"),
        addresses(b"cc"),
        addresses(b"bcc"),
        nstring(get(b"in-reply-to")),
        nstring(get(b"message-id")),
    )
