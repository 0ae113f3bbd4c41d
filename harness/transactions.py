"""Mail transactions as the wire shows them: who was offered what, and what the server said to it. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.observations import Line

__all__ = ["Attempt", "attempts", "message_id"]

SMTP = ("smtp", "submission", "smtps")
_REPLY = re.compile(rb"(?:\d{3}-[^\n]*\n)*(\d{3})(?: [^\n]*)?\r?\n|(?!\d{3}-)[^\n]*\n")
"""A reply, or a line that is none (a masked proof, junk): that answers a command too."""
_ADDRESS = re.compile(r"<([^>]*)>")
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]+>)", re.IGNORECASE | re.MULTILINE)


@dataclass(slots=True)
class Attempt:
    """One transaction: from MAIL to the final reply, or to where it ended. Codes are None where no reply came.

    `ruled`: the final reply was a rule's, so the client may never have seen it whole.
    """

    step: int
    connection: int
    sender: str
    mail: int | None = None
    recipients: dict[str, int | None] = field(default_factory=dict)
    message_id: str | None = None
    final: int | None = None
    ruled: bool = False

    @property
    def accepted(self) -> list[str]:
        """The recipients that the server took the message for."""
        if not _good(self.final):
            return []
        return [address for address, code in self.recipients.items() if _good(code)]


def attempts(lines: Iterable[Line]) -> list[Attempt]:
    """Every transaction over SMTP, in the order in which they began."""
    found: list[Attempt] = []
    sessions: dict[int, _Session] = {}
    for line in lines:
        if line.service in SMTP:
            session = sessions.setdefault(line.connection, _Session(found))
            session.read(line)
    return found


def message_id(content: bytes) -> str | None:
    match = _MESSAGE_ID.search(content.partition(b"\r\n\r\n")[0].replace(b"\n\n", b"\r\n\r\n"))
    return match[1].decode("utf-8", "replace") if match else None


def _good(code: int | None) -> bool:
    return code is not None and 200 <= code < 300


class _Session:
    """Follows one connection: replies answer commands in their order (RFC 2920 3.1)."""

    def __init__(self, found: list[Attempt]) -> None:
        self._found = found
        self._asked: deque[str] = deque()
        self._said = bytearray()
        self._current: Attempt | None = None
        self._greeted = False
        self._chunks: bytes | None = None

    def read(self, line: Line) -> None:
        if line.direction == "C":
            self._command(line)
        elif line.direction == "S":
            self._said += line.data
            while match := _REPLY.match(self._said):
                code, end = int(match[1] or 0), match.end()
                del match, self._said[:end]
                self._reply(code, line)

    def _command(self, line: Line) -> None:
        text = line.data.decode("utf-8", "replace").strip()
        if line.body:
            if self._chunks is not None:
                self._chunks += line.data
            else:
                self._asked.append("message")
            if self._current is not None:
                self._current.message_id = message_id(self._chunks or line.data)
            return
        verb = text.partition(" ")[0].upper()
        address = _ADDRESS.search(text)
        if verb == "MAIL" and address:
            self._current = Attempt(line.step, line.connection, address[1].casefold())
            self._found.append(self._current)
        elif verb == "RCPT" and address and self._current is not None:
            self._current.recipients[address[1].casefold()] = None
            verb = f"RCPT {address[1].casefold()}"
        elif verb == "BDAT":
            self._chunks = self._chunks or b""
            verb = "message" if text.upper().endswith(" LAST") else "BDAT"
        self._asked.append(verb)

    def _reply(self, code: int, line: Line) -> None:
        if not self._greeted:
            self._greeted = True
            return
        if not self._asked:
            return
        verb, _, address = self._asked.popleft().partition(" ")
        current = self._current
        if current is None:
            return
        if verb == "MAIL":
            current.mail = code
        elif verb == "RCPT":
            current.recipients[address] = code
        elif verb == "message":
            current.final, current.ruled = code, line.rule is not None
            self._current = self._chunks = None
