"""What every command is: a name, the states it may come in, a grammar, and what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from fakeservers.actions import Action
from fakeservers.imap.cursor import Cursor

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = [
    "ANY",
    "LOGGED_IN",
    "NOT_LOGGED_IN",
    "SELECTED",
    "Answer",
    "Around",
    "Command",
    "Interlude",
    "RefusedError",
    "State",
]


class State(Enum):
    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"

    __hash__ = object.__hash__


ANY = frozenset(State)
NOT_LOGGED_IN = frozenset({State.NOT_AUTHENTICATED})
LOGGED_IN = frozenset({State.AUTHENTICATED, State.SELECTED})
SELECTED = frozenset({State.SELECTED})


class RefusedError(Exception):
    """The command is answered with the reply `key`, see `fakeservers.imap.replies`; it had no effect."""

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key)
        self.key = key
        self.values: Mapping[str, object] = values


class Interlude:
    """Takes the client's lines while no commands are read: an AUTHENTICATE exchange, IDLE, a rule's own dialogue."""

    def heard(self, session: ImapSession, line: bytes) -> None:
        """Enter `line` (with its end) in the transcript, without what must not stand there."""
        session.connection.heard(line)

    def line(self, session: ImapSession, line: bytes) -> list[Action]:
        """`line` comes without its end."""
        raise NotImplementedError

    def stirred(self, session: ImapSession) -> list[Action]:
        return []


Around = tuple[bytes, bytes, bytes]
"""A line with a literal that nobody has to copy: what stands before it, its octets, and what stands behind."""


@dataclass(slots=True)
class Answer:
    """What a command that succeeded says. `key` is the tagged reply's; `interlude` means that it is not said yet."""

    key: str
    values: dict[str, object] = field(default_factory=dict)
    interlude: Interlude | None = None
    then: list[Action] = field(default_factory=list)
    line: str = ""
    """Said with an interlude: the continuation request."""
    secret: bool = False
    """The line proves a password."""
    stream: Iterator[bytes | Around] | None = None
    """Untagged lines that are made while they are sent, because there may be many."""


class Command:
    """One command of one session. An instance is made by `parse`; nothing has happened yet then."""

    name: ClassVar[str]
    states: ClassVar[frozenset[State]]
    capability: ClassVar[str | None] = None
    """The command exists only where this is offered."""
    expunges: ClassVar[bool] = True
    """Whether EXPUNGE may be announced with the answer: not with FETCH, STORE and SEARCH (RFC 3501 7.4.1)."""
    has_uid_form: ClassVar[bool] = False

    def __init__(self, *, uid: bool = False) -> None:
        self.uid = uid

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        """Read the arguments, space first. Raises BadSyntaxError, or RefusedError for what is NO by its form."""

    def facts(self, session: ImapSession) -> dict[str, object]:
        """What rules may ask of this command."""
        return {}

    def run(self, session: ImapSession) -> Answer:
        """Have the effect; untagged data go to `session.out`. Raises RefusedError."""
        return Answer(f"{self.name.lower()}.ok")
