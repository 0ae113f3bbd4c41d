"""What a POP3 command says, and how a command is described."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fakeservers.actions import Action
from fakeservers.rules import Effect

if TYPE_CHECKING:
    from fakeservers.pop3.session import Pop3Session

__all__ = ["AUTHORIZATION", "TRANSACTION", "Answer", "Command", "State", "merged", "multi_line", "printable"]

State = Literal["AUTHORIZATION", "TRANSACTION", "UPDATE"]
AUTHORIZATION: frozenset[State] = frozenset({"AUTHORIZATION"})
TRANSACTION: frozenset[State] = frozenset({"TRANSACTION"})


@dataclass(slots=True)
class Answer:
    """What a command says: the status line, the data of a multi-line response with its terminating line, and what
    happens then. `effect` are rules met inside the command, and `ruled` says that the status line is one of theirs."""

    status: bytes
    data: bytes = b""
    message: bool = False
    """The data are a message's."""
    then: list[Action] = field(default_factory=list)
    effect: Effect | None = None
    ruled: bool = False
    secret: bool = False
    bad: bool = False
    """The command was not understood, or came when it may not."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: in which states it is valid, the number of arguments (`rest`: all that follows is one), its code."""

    states: frozenset[State]
    least: int
    most: int
    run: Callable[[Pop3Session, str], Answer]
    rest: bool = False


def merged(inner: Effect | None, outer: Effect | None) -> Effect | None:
    """Both words on one command; the inner one stands first."""
    if inner is None or outer is None:
        return inner or outer
    return Effect(f"{inner.rule}+{outer.rule}", [*inner.acts, *outer.acts])


def multi_line(lines: list[str]) -> bytes:
    """Lines as the data of a multi-line response."""
    return b"".join(b"." + line if line.startswith(b".") else line for line in (f"{x}\r\n".encode() for x in lines)) + (
        b".\r\n"
    )


def printable(text: str) -> str:
    """A client's own text as it may be said back: no line ends, no broken UTF-8."""
    return "".join(c if c.isprintable() else "?" for c in text)
