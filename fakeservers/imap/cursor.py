"""Reads the grammar's small parts (RFC 3501 9) off one command that the fragmenter has cut out."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import date
from typing import NoReturn, TypeVar

from fakeservers.imap import sequence, utf7

__all__ = ["SYSTEM_FLAGS", "BadSyntaxError", "Cursor"]

T = TypeVar("T")
_TAG = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff+]+")
_PLAIN_HEAD = re.compile(rb"([^\x00-\x20(){%*\"\\\x7f-\xff+]+) ([A-Za-z]+)(?= |\Z)")
_ATOM_AND_LITERAL = re.compile(rb" ([A-Za-z0-9._/-]+) \Z")
_ATOM = re.compile(rb"[^\x00-\x20(){%*\"\\\]\x7f-\xff]+")
_ASTRING = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff]+")
_LIST = re.compile(rb"[^\x00-\x20(){\"\\\x7f-\xff]+")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00\x80-\xff]|\\["\\])*)"')
_QUOTED_UTF8 = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_ESCAPE = re.compile(rb"\\(.)")
_NUMBER = re.compile(rb"\d{1,20}")
_SEQUENCE = re.compile(rb"[\d:*,]+")
_FLAG = re.compile(rb"\\?[^\x00-\x20(){%*\"\\\]\x7f-\xff]+")
_DATE = re.compile(rb"(\d{1,2})-([A-Za-z]{3})-(\d{4})")
_DATE_TIME = re.compile(rb'"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"')
_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
SYSTEM_FLAGS = {
    flag.lower(): flag for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft", "\\Recent")
}


class BadSyntaxError(Exception):
    """The command breaks the grammar: answered with BAD; the text says what was expected."""


class Cursor:
    """A place in a command. `parts` are its texts and literals in turn: text, literal, text, ..., text."""

    __slots__ = ("_parts", "at", "part", "saved", "text", "utf8")

    def __init__(self, parts: list[bytes], *, utf8: bool = False, saved: bool = False) -> None:
        self._parts = parts
        self.part = 0
        self.text = parts[0]
        self.at = 0
        self.utf8 = utf8
        self.saved = saved
        """`$` may stand for a sequence set."""

    # --- small steps

    def fail(self, expected: str) -> NoReturn:
        raise BadSyntaxError(f"expected {expected}")

    def finished(self) -> bool:
        return self.at >= len(self.text) and self.part + 1 >= len(self._parts)

    def end(self) -> None:
        # Blanks at the end are forgiven: widely used clients send them.
        if self.text[self.at :].strip(b" ") or self.part + 1 < len(self._parts):
            self.fail("the end of the command")

    def peek(self, text: bytes) -> bool:
        return self.text.startswith(text, self.at)

    def at_word(self, text: bytes) -> bool:
        """Whether `text` (in upper case) comes next, in any case."""
        return self.text[self.at : self.at + len(text)].upper() == text

    def take(self, text: bytes) -> bool:
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def expect(self, text: bytes) -> None:
        if not self.take(text):
            self.fail(f'"{text.decode()}"')

    def space(self) -> None:
        text, at = self.text, self.at
        if text[at : at + 1] != b" ":
            self.fail("a space")
        while text[at : at + 1] == b" ":
            at += 1
        self.at = at

    def more(self) -> bool:
        """Whether a further argument follows; the space before it is taken."""
        if self.take(b" "):
            while self.take(b" "):
                pass
            return not self.finished()
        return False

    def _match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        match = pattern.match(self.text, self.at)
        if match is None:
            self.fail(what)
        self.at = match.end()
        return match

    def rest(self) -> bytes:
        """What is left of this part of the text."""
        taken = self.text[self.at :]
        self.at = len(self.text)
        return taken

    def whole(self, place: tuple[int, int]) -> str:
        """All text from a place on, as rules and people read it: literals stand as their octets, long ones cut."""
        part, at = place
        shown = [self._parts[part].lstrip(b" ") if at == 0 else self._parts[part][at:].lstrip(b" ")]
        shown += [each[:1000] for each in self._parts[part + 1 :]]
        return b"".join(shown).decode("utf-8", "replace")

    # --- words

    def tag(self) -> str:
        return self._match(_TAG, "a tag")[0].decode("ascii")

    def head(self) -> tuple[str, str] | None:
        """Tag and command where they stand plainly, as they nearly always do; None leaves them to be read by steps."""
        match = _PLAIN_HEAD.match(self.text)
        if match is None:
            return None
        self.at = match.end()
        return match[1].decode("ascii"), match[2].decode("ascii").upper()

    def word(self) -> str:
        """An atom in upper case: a command or key."""
        return self._match(_ATOM, "a word")[0].decode("ascii").upper()

    def atom(self) -> bytes:
        return self._match(_ATOM, "an atom")[0]

    def number(self, limit: int = 2**32 - 1) -> int:
        number = int(self._match(_NUMBER, "a number")[0])
        if number > limit:
            self.fail(f"a number up to {limit}")
        return number

    # --- strings

    def at_literal(self) -> bool:
        return self.at == len(self.text) and self.part + 1 < len(self._parts)

    def literal(self) -> bytes:
        """A literal, `~` before it (literal8, which alone may hold NUL) or not."""
        eight = self.peek(b"~") and self.at + 1 == len(self.text)
        self.at += eight
        if not self.at_literal():
            self.fail("a literal")
        taken = self._parts[self.part + 1]
        if not eight and b"\0" in taken:
            self.fail("a literal without NUL")
        self.part += 2
        self.text = self._parts[self.part]
        self.at = 0
        return taken

    def string(self, *, eight_bit: bool = False) -> bytes:
        """`eight_bit`: a quoted string may hold octets over 127, which the grammar keeps for literals."""
        if self.at_literal():
            return self.literal()
        inner = self._match(_QUOTED_UTF8 if self.utf8 or eight_bit else _QUOTED, "a string")[1]
        return _ESCAPE.sub(rb"\1", inner) if b"\\" in inner else inner

    def nstring(self) -> bytes | None:
        if self.text[self.at : self.at + 3].upper() == b"NIL":
            self.at += 3
            return None
        return self.string()

    def astring(self, *, eight_bit: bool = False) -> bytes:
        if self.peek(b'"') or self.at_literal():
            return self.string(eight_bit=eight_bit)
        return self._match(_ASTRING, "an atom or string")[0]

    def list_pattern(self) -> bytes:
        """list-mailbox = 1*list-char / string."""
        if self.peek(b'"') or self.at_literal():
            return self.string()
        return self._match(_LIST, "a mailbox pattern")[0]

    def mailbox(self) -> str:
        """A mailbox name in Unicode, INBOX in upper case. A name that is no modified UTF-7 comes back with its octets
        as surrogates, so it is no mailbox's name and still prints as it came. Clients do send raw UTF-8 (RFC 3501 5.1
        forbids it, and LIST could not give it back): NO, as Dovecot says, lets them go on with other mailboxes, which
        a BAD does not."""
        raw = self.astring(eight_bit=True)
        if raw.upper() == b"INBOX":
            return "INBOX"
        return self.mailbox_name(raw)

    def mailbox_name(self, raw: bytes) -> str:
        if self.utf8:
            return raw.decode("utf-8", "surrogateescape")
        try:
            return utf7.decode(raw)
        except ValueError:
            return "\udc80" + raw.decode("latin-1")

    def atom_and_literal(self) -> tuple[str, bytes] | None:
        """A mailbox whose name is an ASCII atom, and the literal that ends the command, as nearly every APPEND has
        them; None leaves the arguments to be read by steps."""
        if len(self._parts) != 3 or self._parts[2]:
            return None
        match = _ATOM_AND_LITERAL.match(self.text, self.at)
        if match is None:
            return None
        self.part, self.text, self.at = 2, b"", 0
        name = match[1].decode("ascii")
        return "INBOX" if name.upper() == "INBOX" else name, self._parts[1]

    # --- compound

    def sequence_set(self) -> sequence.SequenceSet:
        """sequence-set / seq-last-command = "$" (RFC 5182)"""
        if self.saved and self.take(b"$"):
            return sequence.SAVED
        text = self._match(_SEQUENCE, "a sequence set")[0]
        try:
            return sequence.parse(text)
        except ValueError as error:
            raise BadSyntaxError(str(error)) from None

    def flag(self) -> str:
        text = self._match(_FLAG, "a flag")[0].decode("ascii")
        if text[0] == "\\":
            known = SYSTEM_FLAGS.get(text.lower())
            if known is None:
                self.fail("a flag that this server knows")
            return known
        return text

    def attribute(self) -> str:
        """ "\\" atom, as LIST and CREATE have it."""
        self.expect(b"\\")
        return "\\" + self.atom().decode("ascii")

    def flags(self) -> list[str]:
        """flag-list, or flags with spaces between."""
        if not self.peek(b"("):
            found = [self.flag()]
            while self.more():
                found.append(self.flag())
            return found
        return self.parenthesized(self.flag)

    def parenthesized(self, item: Callable[[], T]) -> list[T]:
        """`(` items with spaces between, possibly none `)`."""
        self.expect(b"(")
        found: list[T] = []
        while self.take(b" "):
            pass
        while not self.take(b")"):
            found.append(item())
            if not self.peek(b")"):
                self.space()
        return found

    def date(self) -> date:
        """date, quoted or not; raises BadSyntaxError for a day that the calendar lacks."""
        quote = self.take(b'"')
        match = self._match(_DATE, "a date like 1-Feb-1994")
        if quote:
            self.expect(b'"')
        try:
            return date(int(match[3]), _MONTHS[match[2].decode().capitalize()], int(match[1]))
        except (ValueError, KeyError):
            self.fail("a date like 1-Feb-1994")

    def date_time(self) -> tuple[float, int]:
        """date-time as seconds since 1970 and minutes east of UTC."""
        match = self._match(_DATE_TIME, 'a date-time like "17-Jul-1996 02:44:25 -0700"')
        try:
            day = date(int(match[3]), _MONTHS[match[2].decode().capitalize()], int(match[1]))
        except (ValueError, KeyError):
            self.fail("a date that exists")
        hour, minute, second = int(match[4]), int(match[5]), int(match[6])
        zone = int(match[8]) * 60 + int(match[9])
        if hour > 23 or minute > 59 or second > 60 or zone >= 24 * 60:
            self.fail("a time that exists")
        zone = -zone if match[7] == b"-" else zone
        moment = calendar.timegm((day.year, day.month, day.day, hour, minute, second, 0, 0, 0))
        return float(moment - zone * 60), zone
