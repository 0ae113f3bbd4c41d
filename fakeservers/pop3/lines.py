"""Cuts what a POP3 client sends into lines, and hides the passwords in them by where they stand."""

from __future__ import annotations

import re

__all__ = ["Lines", "masked", "plain_credential"]

SASL_LINE_LIMIT = 12288
"""Octets of a line that carries SASL data, whatever the profile's line limit (RFC 5034 section 4)."""
_PLAINTEXT = {"PLAIN": "password", "LOGIN": "password", "XOAUTH2": "token", "OAUTHBEARER": "token"}
"""Mechanisms that send a credential as it is, and what it is."""
_CREDENTIALS = re.compile(rb"[\0-\x20]*(?:(PASS)|(APOP)|(AUTH))(?=[\0-\x20])", re.IGNORECASE)
_WORD = re.compile(rb"([\0-\x20]*[^\0-\x20]*)([\0-\x20]?)(.*)", re.DOTALL)
"""What stands before a credential, and the credential. However it is mistyped, a password may be in it."""


class Lines:
    """A buffer that gives whole lines. `sasl`: a SASL exchange is under way, whose lines may be long."""

    def __init__(self, limit: int) -> None:
        self.sasl = False
        self.buffer = bytearray()
        self._limit = limit
        self._scanned = 0
        self._too_long = False

    def next(self) -> bytes | None:
        """The next line with its end; empty for one that was too long; None when there is none yet."""
        end = self.buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self.buffer)
            if self._too_long or len(self.buffer) > self._limit_of(self.buffer):
                # What is too long is thrown away as it comes; the reply waits for its end, as RFC order demands.
                self._too_long = True
                self.buffer.clear()
                self._scanned = 0
            return None
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        self._scanned = 0
        if self._too_long or len(line) > self._limit_of(line):
            self._too_long = False
            return b""
        return line

    def starting(self, pattern: re.Pattern[bytes], at: int) -> re.Match[bytes] | None:
        """A line of some form that comes next, behind `at` octets; it stays until `skip`. Forms are shorter than any
        limit."""
        return None if self._too_long else pattern.match(self.buffer, at)

    def skip(self, octets: int) -> None:
        del self.buffer[:octets]
        self._scanned = 0

    def drop(self) -> int:
        """Forget what was not yet taken; returns how many octets that were."""
        octets = len(self.buffer)
        self.buffer.clear()
        self._scanned = 0
        return octets

    def _limit_of(self, line: bytes | bytearray) -> int:
        if self.sasl or line[:5].upper() == b"AUTH ":
            return max(SASL_LINE_LIMIT, self._limit)
        return self._limit


def masked(line: bytes) -> tuple[bytes, str | None] | None:
    """A command line with the credentials in it hidden, known to the host or not, and the kind of one that was sent as
    it is; None where none can be."""
    text = line.removesuffix(b"\n").removesuffix(b"\r")
    found = _CREDENTIALS.match(text)
    if found is None or not text[found.end() :].strip():
        return None
    head, rest = text[: found.end()], text[found.end() :]
    if found[1]:
        return head + b" ***" + line[len(text) :], "password"
    word = _WORD.match(rest)
    assert word is not None
    kept, space, hidden = word[1].lstrip(), word[2], word[3]
    shown = head + b" " + kept + (b" ***" if hidden else space) + line[len(text) :]
    # (LOGIN's initial response is a name.)
    in_clear = found[3] and hidden and kept.upper() != b"LOGIN"
    return shown, plain_credential(kept.decode("ascii", "replace")) if in_clear else None


def plain_credential(mechanism: str) -> str | None:
    """What a SASL mechanism sends as it is, if anything."""
    return _PLAINTEXT.get(mechanism.upper())
