"""Mail transactions as the wire shows them: who was offered what, and what the server said to it. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.observations import Line

__all__ = ["SMTP", "Attempt", "attempts", "identity", "message_id"]

SMTP = ("smtp", "submission", "smtps")
_REPLY = re.compile(rb"(?:\d{3}-[^\n]*\n)*(\d{3})(?: [^\n]*)?\r?\n|(?!\d{3}-)[^\n]*\n")
"""A reply, or a line that is none (a masked proof, junk): that answers a command too."""
_ADDRESS = re.compile(r"<([^>]*)>")
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]+>)", re.IGNORECASE | re.MULTILINE)

_SUBJECT = re.compile(rb"^subject:([^\n]*)", re.IGNORECASE | re.MULTILINE)


@dataclass(slots=True)
class Attempt:
    """One transaction: from MAIL to the final reply, or to where it ended. Codes are None where no reply came.

    `asked`: the MAIL command as it was given. `content`: what was read of the message while the server listened.
    `ruled`: the final reply was a rule's and nothing shows yet that the client has seen it whole.
    """

    step: int
    connection: int
    sender: str
    asked: str = ""
    mail: int | None = None
    recipients: dict[str, int | None] = field(default_factory=dict)
    message_id: str | None = None
    content: bytes | None = None
    final: int | None = None
    ruled: bool = False

    @property
    def accepted(self) -> list[str]:
        """The recipients that the server took the message for."""
        if not _good(self.final):
            return []
        return [address for address, code in self.recipients.items() if _good(code)]

    @property
    def refused(self) -> bool:
        """Whether the server's own words ended it, rather than a lost connection."""
        if self.final is not None:
            return not _good(self.final)
        if self.mail is not None and not _good(self.mail):
            return True
        return bool(self.recipients) and all(code is not None and not _good(code) for code in self.recipients.values())


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


def identity(content: bytes) -> bytes | None:
    """What stays of a message whatever fields a client adds: its subject and its body."""
    head, _, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    match = _SUBJECT.search(head)
    return match[1].strip() + b"\n" + body.rstrip() if match else None


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
        self._over = False
        self._unseen: Attempt | None = None
        """Its final reply was a rule's; an answer to a later command shows that the client has read it."""

    def read(self, line: Line) -> None:
        if line.facts.get("event") in ("end", "closed"):
            self._over = True
        elif self._over:
            return
        elif line.direction == "C":
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
                self._current.content = self._chunks or line.data
                self._current.message_id = message_id(self._current.content)
            return
        verb = text.partition(" ")[0].upper()
        address = _ADDRESS.search(text)
        if verb == "MAIL" and address:
            self._current = Attempt(line.step, line.connection, address[1].casefold(), text)
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
        if self._unseen is not None:
            self._unseen.ruled, self._unseen = False, None
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
            self._unseen = current if current.ruled else None
            self._current = self._chunks = None
