"""Numbers that a message, its thread and a mailbox keep wherever they go (OBJECTID: RFC 8474)."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from fakeservers.imap.headers import body_start, field_values
from fakeservers.imap.items import ItemTable, plain
from fakeservers.mailstore import Mailbox, Message

if TYPE_CHECKING:
    from fakeservers.imap.search import KeyTable, Reading, Test

__all__ = ["ITEMS", "KEYS", "email_id", "mailbox_id", "message_ids", "thread_key"]

_ID = re.compile(rb"<[^<>\s]+>")
_THREAD_FIELDS = frozenset({b"references", b"in-reply-to", b"message-id"})


def email_id(message: Message) -> int:
    """The same for all copies of a message. Without a store that numbers them it is made of the content."""
    if not message.object_id:
        message.object_id = _number(message.raw)
    return message.object_id


def thread_key(message: Message) -> int:
    """The same for a message and those that answer it: made of the message that the thread began with."""
    references, reply_to, own = message_ids(message)
    return _number((references or reply_to or own or [message.raw])[0])


def message_ids(message: Message) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """The identifiers in References, In-Reply-To and Message-ID."""
    raw = message.raw
    values = field_values(raw[: body_start(raw)], _THREAD_FIELDS)
    found = [_ID.findall(values.get(name, b"")) for name in (b"references", b"in-reply-to", b"message-id")]
    return found[0], found[1], found[2]


def mailbox_id(mailbox: Mailbox) -> str:
    """UIDVALIDITY is unique in this store and stays when a mailbox is renamed (RFC 8474 4)."""
    return f"F{mailbox.uidvalidity}"


def _number(octets: bytes) -> int:
    return int.from_bytes(blake2b(octets, digest_size=8).digest(), "big") >> 1 or 1


def _email(message: Message) -> bytes:
    return b"M%016x" % email_id(message)


def _thread(message: Message) -> bytes:
    return b"T%016x" % thread_key(message)


ITEMS: ItemTable = {
    "EMAILID": ("OBJECTID", plain("EMAILID", lambda view, message: b"EMAILID (%b)" % _email(message))),
    "THREADID": ("OBJECTID", plain("THREADID", lambda view, message: b"THREADID (%b)" % _thread(message))),
}


def _email_key(reading: Reading) -> Test:
    """EMAILID SP objectid"""
    from fakeservers.imap.search import Test

    reading.cursor.space()
    wanted = reading.cursor.astring()
    return Test(4, lambda seq, message: _email(message) == wanted)


def _thread_key(reading: Reading) -> Test:
    """THREADID SP objectid"""
    from fakeservers.imap.search import Test

    reading.cursor.space()
    wanted = reading.cursor.astring()
    return Test(4, lambda seq, message: _thread(message) == wanted)


KEYS: KeyTable = {"EMAILID": ("OBJECTID", _email_key), "THREADID": ("OBJECTID", _thread_key)}
