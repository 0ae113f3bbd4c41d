"""Keeps passwords out of the transcript by where they stand, whatever they are: in LOGIN and AUTHENTICATE."""

from __future__ import annotations

import re

__all__ = ["LoginMasker", "authenticate", "mistyped", "verb_of"]

MASK = b"***"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[^\0-\x20"]+')
_LITERAL = re.compile(rb"\{\d+\+?\}\Z")
_VERB = re.compile(rb"[^ ]+ +([A-Za-z]+)")
_MISTYPED = re.compile(
    rb"[\0-\x20]*(?:[^\0-\x20]+[\0-\x20]+)?(?:LOGIN|AUTHENTICATE)[\0-\x20]+[^\0-\x20]+[\0-\x20]+(?=.)",
    re.IGNORECASE | re.DOTALL,
)


def verb_of(text: bytes) -> bytes:
    """The command's name in upper case, or nothing."""
    match = _VERB.match(text)
    return match[1].upper() if match else b""


def authenticate(text: bytes) -> bytes | None:
    """`tag AUTHENTICATE mechanism initial-response` with the response hidden; None when there is none."""
    words = text.split(None, 3)
    return b" ".join([*words[:3], MASK]) if len(words) > 3 else None


def mistyped(text: bytes) -> bytes | None:
    """A line that is no LOGIN or AUTHENTICATE but was meant for one, without a tag or with a tab, with what may be a
    password hidden; None for others."""
    match = _MISTYPED.match(text)
    return match[0] + MASK if match else None


class LoginMasker:
    """Follows one LOGIN through its lines and literals: everything behind the user name is hidden."""

    __slots__ = ("_seen", "password", "told")

    def __init__(self) -> None:
        self._seen = 0
        self.password = False
        """A password has been sent."""
        self.told = False

    def line(self, text: bytes, *, first: bool) -> bytes:
        head = b""
        if first:
            match = _VERB.match(text)
            assert match is not None
            head, text = match[0], text[match.end() :]
        shown = []
        for token in _TOKEN.findall(text):
            if _LITERAL.fullmatch(token):
                shown.append(token)
            else:
                shown.append(self._argument(token))
        return b" ".join([*([head] if head else []), *shown])

    def literal(self, octets: bytes) -> bytes:
        return self._argument(octets)

    def _argument(self, token: bytes) -> bytes:
        self._seen += 1
        if self._seen < 2:
            return token
        self.password = True
        return MASK
