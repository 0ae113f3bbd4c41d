"""When a message came into its mailbox (SAVEDATE: RFC 8514)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.imap.items import ItemTable, plain
from fakeservers.imap.spelling import internal_date
from fakeservers.mailstore import Message

if TYPE_CHECKING:
    from fakeservers.imap.search import Key, KeyTable, Reading, Test

__all__ = ["ITEMS", "KEYS"]


def _saved(message: Message) -> float:
    return message.received if message.saved is None else message.saved


def _day(message: Message) -> int:
    return int(_saved(message)) // 86400


ITEMS: ItemTable = {
    "SAVEDATE": ("SAVEDATE", plain("SAVEDATE", lambda view, message: b"SAVEDATE " + internal_date(_saved(message), 0)))
}


def _key(relation: str) -> Key:
    """SAVEDBEFORE / SAVEDON / SAVEDSINCE SP date (RFC 8514 4.3)"""

    def read(reading: Reading) -> Test:
        from fakeservers.imap.search import date_key

        return date_key(_day, 1, relation)(reading)

    return read


def _supported(reading: Reading) -> Test:
    """SAVEDATESUPPORTED: every mailbox here keeps the date."""
    from fakeservers.imap.search import Test

    return Test(1, lambda seq, message: True)


KEYS: KeyTable = {
    "SAVEDBEFORE": ("SAVEDATE", _key("before")),
    "SAVEDON": ("SAVEDATE", _key("on")),
    "SAVEDSINCE": ("SAVEDATE", _key("since")),
    "SAVEDATESUPPORTED": ("SAVEDATE", _supported),
}
