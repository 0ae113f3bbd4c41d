"""Puts an IMAP client's lines and literals together to whole commands, and notes in the transcript what it hears.

Literals too large, too many or sent unasked are refused before they are kept; passwords are hidden by where they stand.
"""

from __future__ import annotations

from typing import NamedTuple

from fakeservers.connection import Connection
from fakeservers.imap import masking
from fakeservers.imap.fragmenter import Fragmenter, LineTooLongError, announced
from fakeservers.profile import ImapProfile

__all__ = ["Reader", "Refused", "Stray", "Wanted", "Whole"]

_MERELY_NAMED = 64 * 1024
"""Octets of a literal that a client may send before it has logged in."""
_LITERALS = 64
"""Literals in one command other than the messages of APPEND; more only serves to fill the memory."""
_HEAD = 1024


class Whole(NamedTuple):
    """A command, its texts and literals in turn: text, literal, text, ..., text."""

    parts: list[bytes]


class Wanted(NamedTuple):
    """A literal that is announced; the command so far is `Reader.parts`. `waits`: the client sends it once it is told
    to, else it comes unasked."""

    size: int
    waits: bool = True


class Refused(NamedTuple):
    """A command that cannot be read: how it began, and the reply's key; an empty one where it was answered already."""

    head: bytes
    key: str


class Stray(NamedTuple):
    """A line that is no command: an interlude is under way."""

    line: bytes


class Reader:
    __slots__ = (
        "_connection", "_held", "_input", "_literal", "_masker", "_offered", "_profile", "_refused", "_uploads",
        "parts",
    )  # fmt: skip

    def __init__(self, connection: Connection, profile: ImapProfile, offered: frozenset[str]) -> None:
        self._connection = connection
        self._profile = profile
        self._offered = offered
        self._input = Fragmenter(profile.line_limit)
        self._uploads = "LITERAL+" in offered
        self.parts: list[bytes] = []
        self._literal: int | None = None
        self._refused: str | None = None
        self._held = 0
        self._masker: masking.LoginMasker | None = None

    def __len__(self) -> int:
        """Octets that have come and were not yet taken."""
        return len(self._input)

    def feed(self, data: bytes) -> None:
        self._input.feed(data)

    def drop(self) -> int:
        """Forget what was not yet taken; returns how many octets that were."""
        return self._input.drop()

    def keep(self, octets: int) -> None:
        """Forget what has come behind the next so many octets."""
        self._input.keep(octets)

    def forget(self) -> None:
        """Give up the command that has begun."""
        self.parts, self._literal, self._refused, self._held = [], None, None, 0

    def swallow(self) -> None:
        """Give up the command that has begun and was answered, when its literal comes all the same."""
        size, self._literal = self._literal, None
        self._skip(size or 0, "")

    def next(self, *, strays: bool, announced_all: bool = False) -> Whole | Wanted | Refused | Stray | None:
        """What has come next; None when more must come first. `strays`: the next line begins no command.
        `announced_all`: literals that come unasked are told too."""
        if (
            self._uploads
            and not (strays or self.parts or announced_all)
            and (parts := self._whole_upload()) is not None
        ):
            return Whole(parts)
        while True:
            if self._literal is not None:
                octets = self._input.octets(self._literal)
                if octets is None:
                    return None
                self._literal = None
                self._take(octets)
            try:
                line = self._input.line()
            except LineTooLongError as error:
                self._connection.heard(error.head)
                self.forget()
                return Refused(error.head, "bad.line")
            if line is None:
                return None
            if strays and not self.parts:
                return Stray(line)
            text = line[:-2] if line.endswith(b"\r\n") else line[:-1]
            self._hear(line, text)
            if text[-1:] != b"}" or (literal := announced(text)) is None:
                self.parts.append(text)
                parts, self.parts = self.parts, []
                refused, self._refused, self._held = self._refused, None, 0
                return Whole(parts) if refused is None else Refused(parts[0], refused)
            self.parts.append(literal.text)
            refusal = self._refusal(literal.size) if self._refused is None else self._refused
            if literal.synchronizing:
                if refusal is not None:
                    head = self.parts[0]
                    self.forget()
                    return Refused(head, refusal)
                self._expect(literal.size)
                return Wanted(literal.size)
            if refusal is None and not self._takes_unasked(literal.size):
                refusal = "append.too-big" if "LITERAL-" in self._offered else "bad.syntax"
            if refusal is not None:
                self._skip(literal.size, refusal)
                continue
            self._expect(literal.size)
            if announced_all:
                return Wanted(literal.size, waits=False)

    def _whole_upload(self) -> list[bytes] | None:
        limit = self._profile.literal_limit if self._connection.account is not None else 0
        found = self._input.whole_upload(limit)
        if found is None:
            return None
        line, text, octets = found
        self._masker = None
        self._connection.heard(line)
        self._connection.heard(octets, body=True)
        return [text, octets, b""]

    def _expect(self, size: int) -> None:
        self._literal = size
        self._held += size

    def _skip(self, size: int, refusal: str) -> None:
        """Swallow a literal that the client sends all the same; the command is answered at its end."""
        self._refused = refusal
        self._input.skip(size)
        self.parts[1:] = []
        self.parts[0] = self.parts[0][:_HEAD]
        self._connection.event(f"literal of {size} octets not kept", {"event": "literal-refused", "octets": size})

    def _takes_unasked(self, size: int) -> bool:
        return "LITERAL+" in self._offered or ("LITERAL-" in self._offered and size <= 4096)

    def _refusal(self, size: int) -> str | None:
        """The reply's key for a literal that is not even read."""
        limit = self._profile.literal_limit if self._connection.account is not None else _MERELY_NAMED
        if size > limit or self._held + size > 2 * limit or len(self.parts) > 2 * _LITERALS:
            return "append.too-big"
        return None

    def _take(self, octets: bytes) -> None:
        if self._masker is not None:
            self._connection.heard(self._masker.literal(octets), masked=True)
        else:
            self._connection.heard(octets, body=masking.verb_of(self.parts[0]) == b"APPEND")
        self.parts.append(octets)

    def _hear(self, line: bytes, text: bytes) -> None:
        if not self.parts:
            self._masker = None
            verb = masking.verb_of(text)
            if verb == b"AUTHENTICATE":
                shown = masking.authenticate(text)
                self._connection.heard(line if shown is None else shown + b"\r\n", masked=shown is not None)
                return
            if verb == b"LOGIN":
                self._masker = masking.LoginMasker()
            elif self._connection.account is None and (shown := masking.mistyped(text)) is not None:
                self._connection.heard(shown + b"\r\n", masked=True)
                return
        if self._masker is not None:
            self._connection.heard(self._masker.line(text, first=not self.parts) + b"\r\n", masked=True)
            if self._masker.password and not self._masker.told:
                self._masker.told = True
                self._connection.secret("password")
            return
        if text or not self.parts:
            self._connection.heard(line)
