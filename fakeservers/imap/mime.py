"""The parts of a message (RFC 2045, 2046), as places in its octets: nothing is decoded or copied."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count

from fakeservers.imap.headers import body_start, field_values

__all__ = ["Part", "parse", "parse_parameters"]

_DEEPEST = 40
_MOST_PARTS = 5000
_NAMES = frozenset(
    {
        b"content-type", b"content-id", b"content-description", b"content-transfer-encoding", b"content-disposition",
        b"content-language", b"content-location", b"content-md5",
    }
)  # fmt: skip
_TYPE = re.compile(rb"\s*([^\s/;()]+)\s*/\s*([^\s;()]+)")
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^\s;]*))', re.DOTALL)
_COMMENT = re.compile(rb"\([^()]*\)")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)

Parameters = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Part:
    """An entity: its header is raw[start:body], its body raw[body:end]. `kind` is (type, subtype) in upper case."""

    start: int
    body: int
    end: int
    kind: tuple[bytes, bytes]
    parameters: Parameters
    fields: dict[bytes, bytes]
    children: list[Part] = field(default_factory=list)
    message: Part | None = None
    """The message inside a message/rfc822."""

    @property
    def multipart(self) -> bool:
        return bool(self.children)

    def find(self, numbers: tuple[int, ...]) -> Part | None:
        """A part by its part specifier (RFC 3501 6.4.5); self for no numbers."""
        inside: Part | None = self
        found = self
        for number in numbers:
            if inside is None:
                return None
            if inside.children:
                if number > len(inside.children):
                    return None
                found = inside.children[number - 1]
                inside = found.message or (found if found.children else None)
            elif number == 1:
                # The body of a message that is no multipart is its part 1.
                found = inside
                inside = found.message
            else:
                return None
        return found


def parse(raw: bytes) -> Part:
    """The tree of a message's parts. Depth and number are bounded: beyond, a part is taken as a leaf."""
    return _entity(raw, 0, len(raw), 0, count(1), (b"TEXT", b"PLAIN"))


def _entity(raw: bytes, start: int, end: int, depth: int, parts: count[int], default: tuple[bytes, bytes]) -> Part:
    body = body_start(raw, start, end)
    found = field_values(raw[start:body], _NAMES)
    kind, parameters = _content_type(found.get(b"content-type"), default)
    part = Part(start, body, end, kind, parameters, found)
    if kind[0] == b"MULTIPART":
        boundary = next((value for name, value in parameters if name == b"BOUNDARY"), b"")
        if boundary and depth < _DEEPEST:
            inner = (b"MESSAGE", b"RFC822") if kind[1] == b"DIGEST" else (b"TEXT", b"PLAIN")
            for first, last in _split(raw, body, end, boundary):
                if next(parts) > _MOST_PARTS:
                    break
                part.children.append(_entity(raw, first, last, depth + 1, parts, inner))
        if not part.children:
            # A multipart has at least one part in BODYSTRUCTURE's grammar.
            part.children.append(Part(end, end, end, (b"TEXT", b"PLAIN"), [], {}))
    elif kind in ((b"MESSAGE", b"RFC822"), (b"MESSAGE", b"GLOBAL")):
        if depth < _DEEPEST:
            part.message = _entity(raw, body, end, depth + 1, parts, (b"TEXT", b"PLAIN"))
        else:
            # BODYSTRUCTURE has no message without what is in it.
            part.kind, part.parameters = (b"APPLICATION", b"OCTET-STREAM"), []
    return part


def _split(raw: bytes, start: int, end: int, boundary: bytes) -> list[tuple[int, int]]:
    """Where the parts between the delimiter lines begin and end (RFC 2046 5.1.1)."""
    delimiter = b"--" + boundary
    found: list[tuple[int, int]] = []
    at, first = start, -1
    while (at := raw.find(delimiter, at, end)) >= 0:
        behind = at + len(delimiter)
        if at > start and raw[at - 1] != 0x0A:
            at = behind
            continue
        line_end = raw.find(b"\n", behind, end)
        line_end = end if line_end < 0 else line_end + 1
        closing = raw.startswith(b"--", behind, end)
        rest = raw[behind + 2 * closing : line_end]
        if rest.strip():
            at = line_end
            continue
        if first >= 0:
            last = at - 1 if at > first else at
            if last > first and raw[last - 1] == 0x0D:
                last -= 1
            found.append((first, max(first, last)))
        first = -1 if closing else line_end
        if closing or len(found) > _MOST_PARTS:
            return found
        at = line_end
    if first >= 0:
        found.append((first, end))
    return found


def _content_type(value: bytes | None, default: tuple[bytes, bytes]) -> tuple[tuple[bytes, bytes], Parameters]:
    if value is None:
        return default, [(b"CHARSET", b"US-ASCII")] if default[0] == b"TEXT" else []
    match = _TYPE.match(value)
    if match is None:
        return (b"TEXT", b"PLAIN"), [(b"CHARSET", b"US-ASCII")]
    return (match[1].upper(), match[2].upper()), parse_parameters(value[match.end() :])


def parse_parameters(value: bytes) -> Parameters:
    """`; name=value` pairs; names in upper case, values without quotes. RFC 2231 forms stay as they are."""
    if b"(" in value and b'"' not in value:
        value = _COMMENT.sub(b"", value)
    found = []
    for name, quoted, token in _PARAMETER.findall(value):
        text = _ESCAPE.sub(rb"\1", quoted) if quoted else token
        found.append((name.upper(), text))
    return found
