"""FETCH data items (RFC 3501 6.4.5): reading what is wanted, and writing it for one message after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakeservers.imap import binary, gmail, identity, preview, savedate
from fakeservers.imap.bodystructure import body_of, bodystructure_of
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.envelope import envelope_of
from fakeservers.imap.headers import body_start, select_fields
from fakeservers.imap.items import Item, ItemTable, Writer, read_part_numbers, read_partial
from fakeservers.imap.mime import Part, parse
from fakeservers.imap.selected import Selected
from fakeservers.imap.spelling import astring, internal_date, textual
from fakeservers.mailstore import Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Item", "Section", "parse_items", "read_section"]

_MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}


@dataclass(frozen=True, slots=True)
class Section:
    """What stands in BODY[...]: part numbers, then nothing, HEADER, TEXT, MIME or HEADER.FIELDS(.NOT) with names."""

    numbers: tuple[int, ...] = ()
    text: str = ""
    names: tuple[bytes, ...] = ()

    def spelled(self) -> bytes:
        words = [b"%d" % number for number in self.numbers]
        if self.text:
            words.append(self.text.encode())
        inner = b".".join(words)
        return inner + b" (%b)" % b" ".join(map(astring, self.names)) if self.names else inner

    def cut(self, raw: bytes) -> bytes | None:
        """The octets of this section; None for a part that is not there."""
        if not self.numbers:
            if not self.text:
                return raw
            body = body_start(raw)
            if self.text == "TEXT":
                return raw[body:]
            return self._header(raw[:body])
        part = parse(raw).find(self.numbers)
        if part is None:
            return None
        return self._of_part(raw, part)

    def _of_part(self, raw: bytes, part: Part) -> bytes | None:
        if not self.text:
            return raw[part.body : part.end]
        if self.text == "MIME":
            return raw[part.start : part.body]
        inner = part.message
        if inner is None:
            return None
        if self.text == "TEXT":
            return raw[inner.body : inner.end]
        return self._header(raw[inner.start : inner.body])

    def _header(self, header: bytes) -> bytes:
        if self.text == "HEADER":
            return header
        names = frozenset(name.lower() for name in self.names)
        return select_fields(header, names, others=self.text == "HEADER.FIELDS.NOT")


# --- what stands in the command


def parse_items(cursor: Cursor, session: ImapSession) -> list[Item]:
    """ "ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")" """
    if not cursor.peek(b"("):
        return _item_or_macro(cursor, session)
    items = cursor.parenthesized(lambda: _item_or_macro(cursor, session))
    if not items:
        cursor.fail("a data item")
    return [item for found in items for item in found]


def _item_or_macro(cursor: Cursor, session: ImapSession) -> list[Item]:
    name = _name(cursor)
    if name in _MACROS:
        return [_simple(each) for each in _MACROS[name]]
    if name in ("BODY", "BODY.PEEK") and cursor.peek(b"["):
        return [_body(cursor, sees=name == "BODY")]
    found = _EXTENSIONS.get(name)
    if found is not None:
        capability, read = found
        session.require(cursor, capability, "a data item")
        return [read(cursor, session, name)]
    if name not in _SIMPLE:
        cursor.fail("a data item that this server knows")
    return [_simple(name)]


def _name(cursor: Cursor) -> str:
    start = cursor.at
    text = cursor.text
    while cursor.at < len(text) and (text[cursor.at : cursor.at + 1].isalnum() or text[cursor.at] in b".-"):
        cursor.at += 1
    return text[start : cursor.at].decode("ascii").upper()


def _body(cursor: Cursor, *, sees: bool) -> Item:
    section = read_section(cursor)
    partial = read_partial(cursor)
    key = b"BODY[%b]" % section.spelled() + (b"" if partial is None else b"<%d>" % partial[0])
    whole = key if section == Section() and partial is None else None
    return Item("BODY[]", _section_writer(key, section, partial), sees, whole)


def read_section(cursor: Cursor) -> Section:
    """section = "[" [section-spec] "]" """
    cursor.expect(b"[")
    numbers = read_part_numbers(cursor)
    if cursor.take(b"]"):
        return Section(numbers)
    if numbers:
        cursor.expect(b".")
    text = _name(cursor)
    names: tuple[bytes, ...] = ()
    if text in ("HEADER.FIELDS", "HEADER.FIELDS.NOT"):
        cursor.space()
        names = tuple(cursor.parenthesized(cursor.astring))
        if not names:
            cursor.fail("a header field name")
    elif text not in ("HEADER", "TEXT") and not (text == "MIME" and numbers):
        cursor.fail("HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME")
    cursor.expect(b"]")
    return Section(numbers, text, names)


# --- how items are written


def _section_writer(key: bytes, section: Section, partial: tuple[int, int] | None) -> Writer:
    def write(view: Selected, message: Message) -> bytes:
        octets = section.cut(message.raw)
        if octets is None:
            return key + b" NIL"
        if partial is not None:
            octets = octets[partial[0] : partial[0] + partial[1]]
        return b"%b {%d}\r\n%b" % (key, len(octets), textual(octets))

    return write


def _simple(name: str) -> Item:
    return Item(name, _SIMPLE[name], name in ("RFC822", "RFC822.TEXT"), b"RFC822" if name == "RFC822" else None)


def _rfc822_header(raw: bytes) -> bytes:
    return raw[: body_start(raw)]


def _rfc822_text(raw: bytes) -> bytes:
    return raw[body_start(raw) :]


def _literal(name: bytes, cut: Callable[[bytes], bytes]) -> Writer:
    def write(view: Selected, message: Message) -> bytes:
        octets = cut(message.raw)
        return b"%b {%d}\r\n%b" % (name, len(octets), textual(octets))

    return write


_SIMPLE: dict[str, Writer] = {
    "UID": lambda view, message: b"UID %d" % message.uid,
    "FLAGS": lambda view, message: b"FLAGS " + view.flags(message),
    "INTERNALDATE": lambda view, message: b"INTERNALDATE " + internal_date(message.received, message.zone),
    "RFC822.SIZE": lambda view, message: b"RFC822.SIZE %d" % message.size,
    "ENVELOPE": lambda view, message: b"ENVELOPE " + (message.envelope or envelope_of(message)),
    "BODYSTRUCTURE": lambda view, message: b"BODYSTRUCTURE " + bodystructure_of(message),
    "BODY": lambda view, message: b"BODY " + body_of(message),
    "RFC822": _literal(b"RFC822", lambda raw: raw),
    "RFC822.HEADER": _literal(b"RFC822.HEADER", _rfc822_header),
    "RFC822.TEXT": _literal(b"RFC822.TEXT", _rfc822_text),
}


def _modseq(cursor: Cursor, session: ImapSession, name: str) -> Item:
    session.enable("CONDSTORE")
    return Item("MODSEQ", lambda view, message: b"MODSEQ (%d)" % message.modseq)


_EXTENSIONS: ItemTable = {
    "MODSEQ": ("CONDSTORE|QRESYNC", _modseq),
    **binary.ITEMS,
    **gmail.ITEMS,
    **identity.ITEMS,
    **preview.ITEMS,
    **savedate.ITEMS,
}
