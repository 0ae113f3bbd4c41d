"""What a FETCH data item is; extensions bring their own in a table `ITEMS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakeservers.imap.cursor import Cursor
from fakeservers.imap.selected import Selected
from fakeservers.mailstore import Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Item", "ItemReader", "ItemTable", "Writer", "plain", "read_part_numbers", "read_partial"]

Writer = Callable[[Selected, Message], bytes]


@dataclass(frozen=True, slots=True)
class Item:
    """One data item: its name, how it is written, and whether fetching it sets \\Seen. Items of one `name` are said
    once, unless the name ends in `[]`. `whole`: it is the whole message as a literal, and stands under this key."""

    name: str
    write: Writer
    sees: bool = False
    whole: bytes | None = None


ItemReader = Callable[[Cursor, "ImapSession", str], Item]
"""Reads what stands behind the item's name."""
ItemTable = Mapping[str, tuple[str, ItemReader]]
"""Item: the capabilities that bring it (`|` between), and its reader."""


def plain(name: str, write: Writer) -> ItemReader:
    """An item with nothing behind its name."""
    return lambda cursor, session, said: Item(name, write)


def read_partial(cursor: Cursor) -> tuple[int, int] | None:
    """partial = "<" number "." nz-number ">" """
    if not cursor.take(b"<"):
        return None
    start = cursor.number()
    cursor.expect(b".")
    length = cursor.number()
    if not length:
        cursor.fail("a length over 0")
    cursor.expect(b">")
    return start, length


def read_part_numbers(cursor: Cursor) -> tuple[int, ...]:
    """section-part = nz-number *("." nz-number); a dot before a word behind them is left."""
    numbers: list[int] = []
    while cursor.text[cursor.at : cursor.at + 1].isdigit():
        number = cursor.number()
        if not number or len(numbers) > 100:
            cursor.fail("a part number")
        numbers.append(number)
        if not (cursor.peek(b".") and cursor.text[cursor.at + 1 : cursor.at + 2].isdigit()):
            break
        cursor.at += 1
    return tuple(numbers)
