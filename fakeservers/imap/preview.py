"""The first words of a message's text (PREVIEW: RFC 8970)."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from fakeservers.imap.cursor import Cursor
from fakeservers.imap.items import Item, ItemTable
from fakeservers.imap.mime import Part, parse
from fakeservers.imap.spelling import string
from fakeservers.imap.texts import part_text
from fakeservers.mailstore import Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["ITEMS", "preview"]

_LONGEST = 200
"""Characters (RFC 8970 3.1)."""
_ENOUGH = 8192
_UNSEEN = re.compile(r"<(style|script|head)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.DOTALL | re.IGNORECASE)


def preview(message: Message) -> str:
    """The beginning of the first text/plain part, else of the first text/html part; nothing without either: NIL would
    mean that there may be a preview later (RFC 8970 3.2, 4)."""
    raw = message.raw
    leaves = list(_leaves(parse(raw)))
    for kind in (b"PLAIN", b"HTML"):
        for part in leaves:
            if part.kind == (b"TEXT", kind):
                text = part_text(raw, part)[:_ENOUGH]
                if kind == b"HTML":
                    text = html.unescape(_UNSEEN.sub(" ", text))
                return " ".join(text.replace("\0", " ").split())[:_LONGEST].rstrip()
    return ""


def _leaves(part: Part) -> list[Part]:
    if part.message is not None:
        return _leaves(part.message)
    if not part.children:
        return [part]
    return [leaf for child in part.children for leaf in _leaves(child)]


def _read(cursor: Cursor, session: ImapSession, name: str) -> Item:
    """PREVIEW [SP "(" "LAZY" ")"]"""
    if cursor.take(b" ("):
        if cursor.word() != "LAZY":
            cursor.fail("LAZY")
        cursor.expect(b")")
    return Item("PREVIEW", lambda view, message: b"PREVIEW " + string(preview(message).encode("utf-8", "replace")))


ITEMS: ItemTable = {"PREVIEW": ("PREVIEW", _read)}
