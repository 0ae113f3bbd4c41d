"""What a POP3 session takes from the mail store at login, and what QUIT does to it (RFC 1939 sections 4 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

from fakeservers.mailstore import Account
from fakeservers.pop3.maildrop import DAYS_30, Item, all_mail

if TYPE_CHECKING:
    from fakeservers.pop3.session import Pop3Session

__all__ = ["messages_of", "update"]


def messages_of(account: Account, options: Mapping[str, bool | int | str], now: float, *, recent: bool) -> list[Item]:
    """The messages that a session sees."""
    if recent:
        return all_mail(account, now - DAYS_30)
    inbox = account.inbox
    popped: Set[int] = _popped(account) if options["gmail_popped"] else frozenset()
    items = [Item(message, inbox) for message in inbox.messages if message.uid not in popped]
    batch = int(options["batch"])
    return items[:batch] if batch else items


def update(session: Pop3Session) -> None:
    """Remove what was deleted, and mark what was retrieved."""
    account = session.connection.account
    if account is None or session.recent:
        return
    drop, options = session.drop, session.options
    if not options["dele_keeps"] and (items := drop.deleted()):
        items[0].mailbox.expunge([item.message for item in items])
    if options["gmail_popped"]:
        items = [item for number in sorted(drop.retrieved) if (item := drop.get(number))]
        _popped(account).update(item.message.uid for item in items)
        _after_download(account, items, str(options["popped_action"]))


def _popped(account: Account) -> set[int]:
    """UIDs of INBOX that Gmail's POP hides; kept with the account."""
    popped = account.properties.setdefault("popped", set())
    assert isinstance(popped, set)
    return popped


def _after_download(account: Account, items: list[Item], action: str) -> None:
    if action == "mark-read":
        account.inbox.set_flags([item.message for item in items], lambda flags: flags | {"\\Seen"})
    elif action in ("archive", "delete"):
        wanted = {"\\All", "\\Archive"} if action == "archive" else {"\\Trash"}
        target = next((box for box in account.mailboxes.values() if box.attributes & wanted), None)
        gone = account.inbox.expunge([item.message for item in items])
        if target is not None:
            for message in gone:
                target.add(message)
