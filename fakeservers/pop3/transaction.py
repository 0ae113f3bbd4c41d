"""POP3's TRANSACTION state: what is asked of a maildrop (RFC 1939 sections 5 and 7), and QUIT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.actions import End
from fakeservers.pop3.answer import AUTHORIZATION, TRANSACTION, Answer, Command, multi_line, printable
from fakeservers.pop3.maildrop import Item, as_data, top
from fakeservers.pop3.update import update

if TYPE_CHECKING:
    from fakeservers.pop3.session import Pop3Session

__all__ = ["COMMANDS"]


def _item(session: Pop3Session, argument: str) -> tuple[int, Item] | Answer:
    """The message-number's item, or the refusal."""
    number = int(argument) if argument.isascii() and argument.isdigit() and len(argument) < 11 else 0
    item = session.drop.get(number)
    if item is None:
        return session.say("no-such-message", number=printable(argument))
    if item.deleted:
        return session.say("already-deleted", number=number)
    return number, item


def _stat(session: Pop3Session, argument: str) -> Answer:
    return session.say("stat", **session.totals())


def _list(session: Pop3Session, argument: str) -> Answer:
    if not argument:
        data = b"".join([b"%d %d\r\n" % (number, item.size) for number, item in session.drop])
        return session.say("list", data + b".\r\n", **session.totals())
    found = _item(session, argument)
    return found if isinstance(found, Answer) else session.say("list-one", number=found[0], octets=found[1].size)


def _uidl(session: Pop3Session, argument: str) -> Answer:
    drop = session.drop
    if not argument:
        lines = [f"{number} {drop.unique_id(item)}" for number, item in drop]
        return session.say("uidl", multi_line(lines), **session.totals_for("uidl"))
    found = _item(session, argument)
    if isinstance(found, Answer):
        return found
    return session.say("uidl-one", number=found[0], unique_id=drop.unique_id(found[1]))


def _retr(session: Pop3Session, argument: str) -> Answer:
    found = _item(session, argument)
    if isinstance(found, Answer):
        return found
    number, item = found
    session.drop.retrieved.add(number)
    octets, data = as_data(item.message.raw)
    return session.say("retr", data, message=True, number=number, octets=octets)


def _top(session: Pop3Session, argument: str) -> Answer:
    number, _, lines = argument.partition(" ")
    if not (lines.isascii() and lines.isdigit() and len(lines) < 11):
        return session.misused("syntax")
    found = _item(session, number)
    if isinstance(found, Answer):
        return found
    _, data = as_data(top(found[1].message.raw, int(lines)))
    return session.say("top", data, message=True, number=found[0], octets=found[1].size)


def _dele(session: Pop3Session, argument: str) -> Answer:
    found = _item(session, argument)
    if isinstance(found, Answer):
        return found
    session.drop.delete(found[1])
    return session.say("dele", number=found[0])


def _rset(session: Pop3Session, argument: str) -> Answer:
    session.drop.reset()
    return session.say("rset", **session.totals())


def _noop(session: Pop3Session, argument: str) -> Answer:
    return session.say("noop")


def _quit(session: Pop3Session, argument: str) -> Answer:
    if session.state == "AUTHORIZATION":
        said = session.say("quit")
    else:
        totals = session.totals_for("quit-update")
        session.state = "UPDATE"
        update(session)
        session.unlock()
        said = session.say("quit-update", **totals)
    said.then = [End("close")]
    return said


COMMANDS: dict[bytes, Command] = {
    b"QUIT": Command(AUTHORIZATION | TRANSACTION, 0, 0, _quit),
    b"NOOP": Command(TRANSACTION, 0, 0, _noop),
    b"STAT": Command(TRANSACTION, 0, 0, _stat),
    b"LIST": Command(TRANSACTION, 0, 1, _list),
    b"UIDL": Command(TRANSACTION, 0, 1, _uidl),
    b"RETR": Command(TRANSACTION, 1, 1, _retr),
    b"TOP": Command(TRANSACTION, 2, 2, _top),
    b"DELE": Command(TRANSACTION, 1, 1, _dele),
    b"RSET": Command(TRANSACTION, 0, 0, _rset),
}
"""NOOP is one of TRANSACTION alone (RFC 1939 section 5)."""
