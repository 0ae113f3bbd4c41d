"""Reads what a server says by the formal syntax (RFC 3501 9, RFC 9051 9, that of each extension), and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["check"]

_ATOM = re.compile(rb"[^\x00-\x20(){%*\"\\\]\x7f-\xff]+")
_ASTRING = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff]+")
_NUMBER = re.compile(rb"0|[1-9]\d{0,18}")
_POSITIVE = re.compile(rb"[1-9]\d{0,18}")
_QUOTED = re.compile(rb'"(?:[\x01-\x09\x0b\x0c\x0e-!#-\[\]-\x7f]|\\["\\])*"')
_QUOTED_UTF8 = re.compile(rb'"(?:[\x01-\x09\x0b\x0c\x0e-!#-\[\]-\xff]|\\["\\])*"')
_LITERAL = re.compile(rb"\{(0|[1-9]\d*)\}\r\n")
_TEXT = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]+")
_CODE = re.compile(rb"\[([A-Z][A-Z0-9-]*)((?: [\x01-\x09\x0b\x0c\x0e-\x5c\x5e-\x7f]+)?)\] ")
_SET = re.compile(rb"\d+(?::\d+)?(?:,\d+(?::\d+)?)*")
_DATE = re.compile(
    rb'"(?: \d|[0-3]\d)-(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-\d{4} [0-2]\d:[0-5]\d:[0-6]\d [+-]\d{4}"'
)
_SECTION = re.compile(rb"\[(?:(\d+(?:\.\d+)*)\.?)?(HEADER\.FIELDS(?:\.NOT)? (?=\()|HEADER|TEXT|MIME)?", re.IGNORECASE)
_NAME = re.compile(rb"[A-Za-z0-9.-]+")
_TAG = re.compile(rb"[^\x00-\x20(){%*\"\\\x7f-\xff+]+")
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_SYSTEM = {b"\\ANSWERED", b"\\FLAGGED", b"\\DELETED", b"\\SEEN", b"\\DRAFT", b"\\RECENT"}


class _Reader:
    def __init__(self, data: bytes, *, utf8: bool) -> None:
        self.data = data
        self.at = 0
        self.utf8 = utf8

    def fail(self, expected: str) -> None:
        before, behind = self.data[max(0, self.at - 200) : self.at], self.data[self.at : self.at + 200]
        raise AssertionError(f"expected {expected} behind {before!r}, got {behind!r}")

    def take(self, text: bytes) -> bool:
        if self.data[self.at : self.at + len(text)].upper() != text.upper():
            return False
        self.at += len(text)
        return True

    def expect(self, text: bytes) -> None:
        if not self.take(text):
            self.fail(repr(text))

    def match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        found = pattern.match(self.data, self.at)
        if found is None:
            self.fail(what)
            raise AssertionError
        self.at = found.end()
        return found[0]

    def listed(self, item: Callable[[], object], *, least: int = 0) -> int:
        """ "(" items with one space between ")" """
        self.expect(b"(")
        count = 0
        while not self.take(b")"):
            if count:
                self.expect(b" ")
            item()
            count += 1
        if count < least:
            self.fail("more in the list")
        return count

    # --- strings

    def number(self) -> int:
        return int(self.match(_NUMBER, "a number"))

    def positive(self) -> int:
        return int(self.match(_POSITIVE, "a number over 0"))

    def literal(self, *, eight: bool = False) -> bytes:
        size = int(self.match(_LITERAL, "a literal")[1:-3])
        octets = self.data[self.at : self.at + size]
        self.at += size
        assert len(octets) == size, "a literal that is cut off"
        assert eight or b"\0" not in octets, "NUL in a literal"
        return octets

    def string(self) -> bytes:
        if self.data[self.at : self.at + 1] == b"{":
            return self.literal()
        return self.match(_QUOTED_UTF8 if self.utf8 else _QUOTED, "a string")[1:-1]

    def nstring(self) -> None:
        if not self.take(b"NIL"):
            self.string()

    def nstring8(self) -> None:
        if self.take(b"~"):
            self.literal(eight=True)
        else:
            self.nstring()

    def astring(self) -> None:
        if self.data[self.at : self.at + 1] in (b'"', b"{"):
            self.string()
        else:
            self.match(_ASTRING, "an astring")

    def flag(self) -> None:
        if self.data[self.at : self.at + 1] == b"\\":
            start = self.at
            self.at += 1
            self.match(_ATOM, "a flag")
            assert self.data[start : self.at].upper() in _SYSTEM, "a flag-extension"
        else:
            self.match(_ATOM, "a keyword")

    # --- responses

    def response(self) -> None:
        if self.take(b"+ "):
            end = self.data.index(b"\r\n", self.at)
            if _BASE64.fullmatch(self.data, self.at, end):
                self.at = end
            else:
                self.text()
        elif self.take(b"* "):
            self.untagged()
        else:
            self.match(_TAG, "a tag")
            self.expect(b" ")
            assert self.match(_ATOM, "a status") in (b"OK", b"NO", b"BAD")
            self.expect(b" ")
            self.text()
        self.expect(b"\r\n")

    def text(self) -> None:
        """resp-text = ["[" resp-text-code "]" SP] text"""
        if self.data[self.at : self.at + 1] == b"[":
            found = _CODE.match(self.data, self.at)
            if found is None:
                self.fail("a response code with text behind it")
                return
            self.at = found.end()
        self.match(_TEXT, "text")

    def untagged(self) -> None:
        if self.data[self.at : self.at + 1].isdigit():
            number = self.number()
            self.expect(b" ")
            word = self.match(_ATOM, "EXISTS, RECENT, EXPUNGE or FETCH")
            if word in (b"EXISTS", b"RECENT"):
                return
            assert number, "message sequence number 0"
            if word == b"FETCH":
                self.expect(b" ")
                self.listed(self.attribute, least=1)
            else:
                assert word == b"EXPUNGE", word
            return
        word = self.match(_ATOM, "a response")
        match word:
            case b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH":
                self.expect(b" ")
                self.text()
            case b"FLAGS":
                self.expect(b" ")
                self.listed(self.flag)
            case b"LIST" | b"LSUB" | b"XLIST":
                self.expect(b" ")
                self.mailbox_list()
            case b"SEARCH" | b"SORT":
                while self.take(b" "):
                    if self.take(b"(MODSEQ "):
                        self.positive()
                        self.expect(b")")
                        return
                    self.positive()
            case b"THREAD":
                if self.take(b" "):
                    self.thread()
                    while self.data[self.at : self.at + 1] == b"(":
                        self.thread()
            case b"ESEARCH":
                self.esearch()
            case b"STATUS":
                self.expect(b" ")
                self.astring()
                self.expect(b" ")
                self.listed(self.status)
            case b"CAPABILITY":
                self.expect(b" ")
                self.match(_ATOM, "a capability")
                while self.take(b" "):
                    self.match(_ATOM, "a capability")
            case b"ENABLED":
                while self.take(b" "):
                    self.match(_ATOM, "a capability")
            case b"NAMESPACE":
                for _ in range(3):
                    self.expect(b" ")
                    if not self.take(b"NIL"):
                        self.expect(b"(")
                        self.listed_namespace()
            case b"ID":
                self.expect(b" ")
                if not self.take(b"NIL"):
                    self.listed(self.nstring)
            case b"QUOTA":
                self.expect(b" ")
                self.astring()
                self.expect(b" ")
                assert self.listed(lambda: self.match(_ATOM, "a resource")) % 3 == 0
            case b"QUOTAROOT" | b"ACL" | b"MYRIGHTS" | b"LISTRIGHTS":
                self.expect(b" ")
                self.astring()
                while self.take(b" "):
                    self.astring()
            case b"METADATA":
                self.expect(b" ")
                self.astring()
                self.expect(b" ")
                self.listed(self.entry, least=1)
            case b"VANISHED":
                self.expect(b" ")
                self.take(b"(EARLIER) ")
                self.match(_SET, "a set of UIDs")
            case _:
                self.fail("a response that is known")

    def listed_namespace(self) -> None:
        self.expect(b"(")
        self.string()
        self.expect(b" ")
        self.nstring()
        self.expect(b")")
        if not self.take(b")"):
            self.listed_namespace()

    def mailbox_list(self) -> None:
        def attribute() -> None:
            self.expect(b"\\")
            self.match(_ATOM, "a mailbox attribute")

        self.listed(attribute)
        self.expect(b" ")
        if not self.take(b"NIL"):
            assert len(self.match(_QUOTED, "a delimiter").replace(b"\\", b"", 1)) in (2, 3), "one character"
        self.expect(b" ")
        self.astring()
        if self.take(b" "):
            self.listed(self.childinfo)

    def childinfo(self) -> None:
        """mbox-list-extended-item = mbox-list-extended-item-tag SP tagged-ext-val"""
        self.astring()
        self.expect(b" ")
        self.listed(self.astring, least=1)

    def thread(self) -> None:
        """thread-list = "(" (thread-members / thread-nested) ")" """
        self.expect(b"(")
        nested = 0
        if self.data[self.at : self.at + 1] != b"(":
            self.positive()
            while self.take(b" "):
                if self.data[self.at : self.at + 1] == b"(":
                    break
                self.positive()
        while self.data[self.at : self.at + 1] == b"(":
            self.thread()
            nested += 1
        assert nested != 1, "a thread with one branch"
        self.expect(b")")

    def esearch(self) -> None:
        if self.take(b" (TAG "):
            self.string()
            self.expect(b")")
        self.take(b" UID")
        while self.take(b" "):
            name = self.match(_ATOM, "a result")
            self.expect(b" ")
            match name:
                case b"COUNT" | b"MODSEQ":
                    self.number()
                case b"MIN" | b"MAX":
                    self.positive()
                case b"ALL":
                    self.match(_SET, "a sequence set")
                case _:
                    self.fail("a result that is known")

    def status(self) -> None:
        name = self.match(_ATOM, "a status item")
        self.expect(b" ")
        match name:
            case b"MAILBOXID":
                self.expect(b"(")
                self.match(_ATOM, "an object id")
                self.expect(b")")
            case b"UIDVALIDITY" | b"UIDNEXT":
                self.positive()
            case _:
                self.number()

    def entry(self) -> None:
        self.astring()
        self.expect(b" ")
        self.nstring8()

    # --- FETCH

    def attribute(self) -> None:
        name = self.match(_NAME, "a data item").upper()
        if name in (b"BODY", b"BINARY", b"BINARY.SIZE") and self.data[self.at : self.at + 1] == b"[":
            self.section()
            self.expect(b" ")
            if name == b"BINARY.SIZE":
                self.number()
            elif name == b"BINARY":
                self.nstring8()
            else:
                self.nstring()
            return
        self.expect(b" ")
        match name:
            case b"UID":
                self.positive()
            case b"RFC822.SIZE" | b"X-GM-MSGID" | b"X-GM-THRID":
                self.number()
            case b"FLAGS":
                self.listed(self.flag)
            case b"X-GM-LABELS":
                self.listed(self.label)
            case b"MODSEQ":
                self.expect(b"(")
                self.positive()
                self.expect(b")")
            case b"EMAILID" | b"THREADID":
                if not self.take(b"NIL"):
                    self.expect(b"(")
                    self.match(_ATOM, "an object id")
                    self.expect(b")")
            case b"INTERNALDATE":
                self.match(_DATE, "a date-time")
            case b"SAVEDATE":
                _ = self.take(b"NIL") or self.match(_DATE, "a date-time")
            case b"RFC822" | b"RFC822.HEADER" | b"RFC822.TEXT" | b"PREVIEW":
                self.nstring()
            case b"ENVELOPE":
                self.envelope()
            case b"BODY" | b"BODYSTRUCTURE":
                self.body(extended=name == b"BODYSTRUCTURE")
            case _:
                self.fail("a data item that is known")

    def label(self) -> None:
        if self.take(b"\\"):
            self.match(_ATOM, "a label")
        else:
            self.astring()

    def section(self) -> None:
        found = self.match(_SECTION, "a section")
        if found.endswith(b" "):
            self.listed(self.astring, least=1)
        self.expect(b"]")
        if self.take(b"<"):
            self.number()
            self.expect(b">")

    def envelope(self) -> None:
        self.expect(b"(")
        for place in range(10):
            if place:
                self.expect(b" ")
            if 2 <= place <= 7:
                if not self.take(b"NIL"):
                    self.expect(b"(")
                    self.address()
                    while not self.take(b")"):
                        self.address()
            else:
                self.nstring()
        self.expect(b")")

    def address(self) -> None:
        self.expect(b"(")
        for place in range(4):
            if place:
                self.expect(b" ")
            self.nstring()
        self.expect(b")")

    def body(self, *, extended: bool) -> None:
        self.expect(b"(")
        if self.data[self.at : self.at + 1] == b"(":
            while self.data[self.at : self.at + 1] == b"(":
                self.body(extended=extended)
            self.expect(b" ")
            self.string()
            if extended:
                self.expect(b" ")
                self.parameters()
        else:
            self.one_part(extended=extended)
        if extended:
            self.expect(b" ")
            if not self.take(b"NIL"):
                self.expect(b"(")
                self.string()
                self.expect(b" ")
                self.parameters()
                self.expect(b")")
            self.expect(b" ")
            if self.data[self.at : self.at + 1] == b"(":
                self.listed(self.string, least=1)
            else:
                self.nstring()
            self.expect(b" ")
            self.nstring()
        self.expect(b")")

    def one_part(self, *, extended: bool) -> None:
        kind = self.string().upper()
        self.expect(b" ")
        subtype = self.string().upper()
        assert kind != b"MULTIPART", "a multipart without parts"
        message = kind == b"MESSAGE" and subtype in (b"RFC822", b"GLOBAL")
        self.expect(b" ")
        self.parameters()
        for field in (self.nstring, self.nstring, self.string, self.number):
            self.expect(b" ")
            field()
        if message:
            self.expect(b" ")
            self.envelope()
            self.expect(b" ")
            self.body(extended=extended)
        if message or kind == b"TEXT":
            self.expect(b" ")
            self.number()
        if extended:
            self.expect(b" ")
            self.nstring()

    def parameters(self) -> None:
        if not self.take(b"NIL"):
            assert self.listed(self.string, least=2) % 2 == 0


def check(said: bytes, *, utf8: bool = False) -> None:
    """Raises AssertionError where a server's octets, whole responses, break the grammar. `utf8`: quoted strings may
    hold UTF-8 (RFC 6855, IMAP4rev2)."""
    reader = _Reader(said, utf8=utf8)
    while reader.at < len(said):
        reader.response()
