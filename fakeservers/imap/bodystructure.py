"""BODY and BODYSTRUCTURE (RFC 3501 7.4.2)."""

from __future__ import annotations

import re

from fakeservers.imap.envelope import envelope
from fakeservers.imap.mime import Parameters, Part, parse, parse_parameters
from fakeservers.imap.spelling import nstring, string
from fakeservers.mailstore import Message

__all__ = ["body_of", "bodystructure_of", "render"]

_TOKEN = re.compile(rb"\s*([^\s;]+)")


def bodystructure_of(message: Message) -> bytes:
    """The message's BODYSTRUCTURE with extension data, made once."""
    if message.structure is None:
        raw = message.raw
        message.structure = render(raw, parse(raw), extended=True)
    return message.structure


def body_of(message: Message) -> bytes:
    """BODY without extension data."""
    raw = message.raw
    return render(raw, parse(raw), extended=False)


def render(raw: bytes, part: Part, *, extended: bool) -> bytes:
    """body = "(" (body-type-1part / body-type-mpart) ")" """
    if part.children:
        said = [b"".join([render(raw, child, extended=extended) for child in part.children]), string(part.kind[1])]
        if extended:
            said.append(_parameters(part.parameters))
    else:
        fields = part.fields
        said = [
            string(part.kind[0]),
            string(part.kind[1]),
            _parameters(part.parameters),
            nstring(fields.get(b"content-id")),
            nstring(fields.get(b"content-description")),
            string(fields.get(b"content-transfer-encoding", b"7BIT").upper() or b"7BIT"),
            b"%d" % (part.end - part.body),
        ]
        if part.message is not None:
            inner = part.message
            said += [envelope(raw[inner.start : inner.body]), render(raw, inner, extended=extended)]
        if part.message is not None or part.kind[0] == b"TEXT":
            said.append(b"%d" % raw.count(b"\n", part.body, part.end))
        if extended:
            said.append(nstring(fields.get(b"content-md5")))
    if extended:
        said += [
            _disposition(part.fields.get(b"content-disposition")),
            _language(part.fields.get(b"content-language")),
            nstring(part.fields.get(b"content-location")),
        ]
    return b"(%b)" % b" ".join(said)


def _parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    return b"(%b)" % b" ".join([string(text) for parameter in parameters for text in parameter])


def _disposition(value: bytes | None) -> bytes:
    match = _TOKEN.match(value) if value else None
    if value is None or match is None:
        return b"NIL"
    return b"(%b %b)" % (string(match[1].upper()), _parameters(parse_parameters(value[match.end() :])))


def _language(value: bytes | None) -> bytes:
    tags = [tag.strip() for tag in value.split(b",") if tag.strip()] if value else []
    if not tags:
        return b"NIL"
    return string(tags[0]) if len(tags) == 1 else b"(%b)" % b" ".join(map(string, tags))
