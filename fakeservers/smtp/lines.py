"""Command lines taken apart, once for each line that comes again."""

from __future__ import annotations

import re
from typing import NamedTuple

from fakeservers.smtp.auth import AUTH_LINE_LIMIT
from fakeservers.smtp.commands import Command, Commands

__all__ = ["KNOWN", "CommandLine", "Verb", "line_limit", "take_apart"]


class Verb(NamedTuple):
    """A command: its rule point and its function. `in_clear`: allowed before STARTTLS where TLS is required (RFC 3207
    4, and what changes nothing). `in_groups`: need not be the last of its group (RFC 2920 3.1, RFC 3030 4.2)."""

    name: str
    point: str
    method: Command
    in_clear: bool
    in_groups: bool

    def is_followed(self, argument: str) -> bool:
        """Others may come behind it in its group: AUTH where nothing is left to say (RFC 4954 4) too."""
        return self.in_groups or (self.name == "AUTH" and _IN_ONE_STEP.match(argument) is not None)


_IN_ONE_STEP = re.compile(r"(?:PLAIN|EXTERNAL) +\S", re.IGNORECASE)
_IN_CLEAR = {"NOOP", "EHLO", "HELO", "STARTTLS", "QUIT", "RSET", "HELP"}
_IN_GROUPS = {"MAIL", "RCPT", "RSET", "BDAT"}
_WITH_ADDRESS = {"MAIL", "RCPT", "VRFY", "EXPN", "AUTH"}
_VERBS = {
    name.encode(): Verb(name, f"smtp.{name.lower()}", method, name in _IN_CLEAR, name in _IN_GROUPS)
    for name, method in Commands._smtp_methods.items()
}
KNOWN: dict[bytes, CommandLine] = {}
"""Lines taken apart before: a dictionary, asked in place, as a function around it would cost as much as it saves."""
KNOWN_LINES, KNOWN_LENGTH = 1024, 512
"""How many lines are remembered, and how long they may be."""


class CommandLine(NamedTuple):
    """A line taken apart: its verb, None where nobody knows it; the name as it came or the verb's; the argument; the
    reply key that refuses the line whatever it says, or None; the strictness that it is a matter of, empty for what is
    never taken; and whether the line carries credentials."""

    verb: Verb | None
    name: str
    argument: str
    fault: str | None = None
    minded: str = ""
    secret: bool = False


def _parsed(line: bytes) -> CommandLine:
    word, _, rest = line.rstrip(b"\r\n").partition(b" ")
    verb = _VERBS.get(word.upper())
    name = verb.name if verb is not None else word.decode("utf-8", "replace")
    argument = rest.decode("utf-8", "surrogateescape").rstrip(" \t")
    command = CommandLine(verb, name, argument, secret=name == "AUTH" and verb is not None)
    if b"\r" in line[:-2] or b"\0" in line:
        return command._replace(fault="line")
    if line[-2:] != b"\r\n":
        return command._replace(fault="line.bare-lf", minded="bare-lf")
    if verb is not None and name not in _WITH_ADDRESS and not line.isascii():
        return command._replace(fault="line.eight-bit", minded="eight-bit")
    return command


def take_apart(line: bytes) -> CommandLine:
    """Read a line, and remember it where it is short and holds no credentials."""
    command = _parsed(line)
    if len(line) <= KNOWN_LENGTH and not command.secret:
        if len(KNOWN) >= KNOWN_LINES:
            KNOWN.clear()
        KNOWN[line] = command
    return command


def line_limit(command: CommandLine, limit: int | None) -> int:
    """Octets of the longest such line that is taken: `limit`, or where nobody minds or credentials may be long
    AUTH's."""
    return AUTH_LINE_LIMIT if command.secret or limit is None else limit
