"""The one exception of the client stack, and what it means for a message."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["CATEGORIES", "MailError", "printable"]

CATEGORIES: Final = (
    "connect",
    "dns",
    "timeout",
    "tls-handshake",
    "tls-certificate",
    "tls-required",
    "authentication",
    "auth-mechanism",
    "sender-refused",
    "recipient-refused",
    "message-refused",
    "size",
    "rate-limit",
    "quota",
    "temporary",
    "protocol",
    "disconnected",
    "unsupported",
    "config",
)

# Control characters (line ends and tabs apart), and those that turn the direction of a text.
_INVISIBLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """A server's words as a person may see them: what could steer a terminal or disguise the text is written out."""
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


_ALWAYS_FAILED: Final = frozenset(
    {"tls-certificate", "tls-required", "authentication", "auth-mechanism", "unsupported", "config"}
)
_REFUSED_HERE: Final = frozenset({"sender-refused", "recipient-refused", "message-refused", "size", "quota"})


class MailError(Exception):
    """Something kept mail from being sent or read.

    `category` is one of CATEGORIES; `text` is what the server said, or what this client has to say.
    `code` is the reply code (None for an error of our own), `enhanced` the enhanced code (RFC 3463).
    `retry_after` is the wait in seconds that the server asked for or documents; `scope` is
    "connection" where a limit concerns only the connection at hand; `in_doubt` is true where the
    server may have taken the message although its final reply never came.
    """

    def __init__(
        self,
        category: str,
        text: str,
        *,
        code: int | None = None,
        enhanced: str | None = None,
        retry_after: float | None = None,
        scope: str | None = None,
        in_doubt: bool = False,
    ) -> None:
        super().__init__(category, printable(text))
        if category not in CATEGORIES:
            raise ValueError(f"unknown error category {category!r}")
        self.category = category
        self.text = printable(text)
        self.code = code
        self.enhanced = enhanced
        self.retry_after = retry_after
        self.scope = scope
        self.in_doubt = in_doubt

    def __str__(self) -> str:
        codes = " ".join(str(part) for part in (self.code, self.enhanced) if part)
        return f"{self.category}: {codes + ' ' if codes else ''}{self.text}"

    @property
    def permanent(self) -> bool:
        """Whether trying again as things stand cannot help: the message failed, it is not deferred."""
        if self.category == "rate-limit":
            return False
        if self.category == "connect":
            # A 5xx greeting speaks about the server's present state, not about the message.
            return False
        temporary_reply = self.code is not None and 400 <= self.code < 500
        if self.category in _ALWAYS_FAILED:
            return not temporary_reply
        if self.code is not None and self.code >= 500:
            return True
        return self.category in _REFUSED_HERE and not temporary_reply

    @property
    def outcome(self) -> str:
        """`failed` or `deferred`."""
        return "failed" if self.permanent else "deferred"

    def for_others(self) -> MailError:
        """The same error for messages that it kept from being tried: nothing about those is in doubt."""
        return MailError(
            self.category,
            self.text,
            code=self.code,
            enhanced=self.enhanced,
            retry_after=self.retry_after,
            scope=self.scope,
        )

    def as_json(self) -> dict[str, Any]:
        """The ERROR object: {"category", "code", "enhanced", "text"}."""
        return {
            "category": self.category,
            "code": self.code,
            "enhanced": self.enhanced,
            "text": self.text,
        }
