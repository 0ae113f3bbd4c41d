"""Address lists of header fields (RFC 5322 3.4), the obsolete forms and broken ones included."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from fakeservers.imap.spelling import nstring

__all__ = ["Address", "address_list", "parse_addresses"]

_SIMPLE = re.compile(
    rb'\s*(?:(?:"([^"\\\r\n]*)"|([^"<>@,;:()\\\[\]\r\n]*?))\s*<([^\s"<>@,;:()\\\[\]]+)@([^\s"<>@,;:()\\\[\]]+)>'
    rb'|([^\s"<>@,;:()\\\[\]]+)@([^\s"<>@,;:()\\\[\]]+))\s*\Z'
)
_TOKEN = re.compile(
    rb'(?P<quoted>"(?:[^"\\]|\\.)*"?)|(?P<literal>\[[^\]]*\]?)|(?P<comment>\()|(?P<special>[<>@,;:])'
    rb"|(?P<blank>\s+)|(?P<atom>[^\s\"()<>@,;:\[]+|\))",
    re.DOTALL,
)
_PARENTHESIS = re.compile(rb"\\.|[()]", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_MOST = 10_000


class Address(NamedTuple):
    """name, source route, local-part, domain. (None, None, group name, None) opens a group, four times None ends
    it (RFC 3501 7.4.2)."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


@lru_cache(4096)
def address_list(value: bytes) -> bytes:
    """The value of an address field as ENVELOPE has it; `NIL` for none."""
    found = parse_addresses(value)
    if not found:
        return b"NIL"
    return b"(%b)" % b"".join([b"(%b)" % b" ".join(map(nstring, address)) for address in found])


def parse_addresses(value: bytes) -> list[Address]:
    """Never fails: what is no address becomes one whose domain is empty."""
    simple = _SIMPLE.match(value)
    if simple is not None:
        quoted, phrase, mailbox, host, bare_mailbox, bare_host = simple.groups()
        if bare_mailbox is not None:
            return [Address(None, None, bare_mailbox, bare_host)]
        return [Address((quoted if quoted is not None else phrase) or None, None, mailbox, host)]
    return _Reader(value).read()


class _Reader:
    """Walks over the tokens of a list, one address at a time."""

    def __init__(self, value: bytes) -> None:
        self.found: list[Address] = []
        self._tokens = _tokens(value)
        self._in_group = False
        self._clear()

    def _clear(self) -> None:
        self.words: list[bytes] = []
        self.comment: bytes | None = None
        self.spec: list[bytes] | None = None
        """What stands between `<` and `>`."""
        self.host: list[bytes] | None = None

    def read(self) -> list[Address]:
        inside = False
        for kind, text in self._tokens:
            if len(self.found) >= _MOST:
                break
            if kind == "comment":
                self.comment = text
            elif inside:
                assert self.spec is not None
                if text == b">" and kind == "special":
                    inside = False
                elif text == b"," and kind == "special" and not (self.spec and self.spec[0] == b"@"):
                    # A `<` that nobody closed: the next address must not be lost in it.
                    inside = False
                    self._flush()
                elif kind != "blank":
                    self.spec.append(text)
            elif kind != "special":
                self._word(kind, text)
            elif text == b"<":
                self.spec, inside = [], True
            elif text == b"@":
                self.host = []
            elif text == b":" and not self._in_group:
                self.found.append(Address(None, None, self._phrase() or b"", None))
                self._in_group = True
                self._clear()
            elif text in b",;":
                self._flush()
                if text == b";" and self._in_group:
                    self._in_group = False
                    self.found.append(Address(None, None, None, None))
        self._flush()
        if self._in_group:
            self.found.append(Address(None, None, None, None))
        return self.found

    def _word(self, kind: str, text: bytes) -> None:
        if self.host is not None:
            if kind != "blank":
                self.host.append(text)
        else:
            self.words.append(b" " if kind == "blank" else text)

    def _phrase(self) -> bytes:
        return re.sub(rb" +", b" ", b"".join(self.words)).strip()

    def _flush(self) -> None:
        phrase = self._phrase()
        if self.spec is not None:
            route, mailbox, host = _split(self.spec)
            self.found.append(Address(phrase or self.comment, route, mailbox, host))
        elif self.host is not None:
            mailbox = b"".join(word for word in self.words if word != b" ")
            self.found.append(Address(self.comment, None, mailbox, b"".join(self.host)))
        elif phrase:
            self.found.append(Address(self.comment, None, phrase, b""))
        self._clear()


def _split(spec: list[bytes]) -> tuple[bytes | None, bytes, bytes]:
    """The inside of an angle-addr: obsolete route, local-part, domain."""
    route = None
    if spec and spec[0] == b"@" and b":" in spec:
        end = spec.index(b":")
        route, spec = b"".join(spec[:end]), spec[end + 1 :]
    if b"@" not in spec:
        return route, b"".join(spec), b""
    at = len(spec) - 1 - spec[::-1].index(b"@")
    return route, b"".join(spec[:at]), b"".join(spec[at + 1 :])


def _tokens(value: bytes) -> list[tuple[str, bytes]]:
    """Quoted strings and comments without their marks and escapes."""
    found = []
    at = 0
    while at < len(value):
        match = _TOKEN.match(value, at)
        if match is None:
            at += 1
            continue
        kind, text, at = match.lastgroup or "atom", match[0], match.end()
        if kind == "comment":
            text, at = _comment(value, at)
        elif kind == "quoted":
            text = _ESCAPE.sub(rb"\1", text[1:-1] if len(text) > 1 and text.endswith(b'"') else text[1:])
        found.append((kind, text))
    return found


def _comment(value: bytes, at: int) -> tuple[bytes, int]:
    """The text of a comment whose `(` stands before `at`, inner parentheses kept, and the place behind it."""
    depth = 1
    for match in _PARENTHESIS.finditer(value, at):
        depth += {b"(": 1, b")": -1}.get(match[0], 0)
        if depth == 0:
            return _ESCAPE.sub(rb"\1", value[at : match.start()]), match.end()
    return value[at:], len(value)
