"""The small parsers: whole, in pieces, with trailing bytes, and round trips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeservers.imap import sequence, spelling, utf7
from fakeservers.imap.addresses import Address, address_list, parse_addresses
from fakeservers.imap.bodystructure import render
from fakeservers.imap.cursor import BadSyntaxError, Cursor
from fakeservers.imap.envelope import envelope
from fakeservers.imap.fragmenter import Fragmenter, LineTooLongError, announced
from fakeservers.imap.headers import body_start, select_fields
from fakeservers.imap.listmatch import matcher
from fakeservers.imap.mime import parse
from fakeservers.mailstore import Mailbox, Message

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


# --- modified UTF-7


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("A&B", b"A&-B"),
        ("Entwürfe", b"Entw&APw-rfe"),
        ("\U0001f600", b"&2D3eAA-"),
    ],
)
def test_modified_utf7_of_the_rfc(name: str, wire: bytes) -> None:
    assert utf7.encode(name) == wire
    assert utf7.decode(wire) == name


@given(NAMES)
def test_modified_utf7_there_and_back(name: str) -> None:
    assert utf7.decode(utf7.encode(name)) == name


@given(st.binary(max_size=20) | st.text("&-AaZz,+/09", max_size=12).map(str.encode))
def test_modified_utf7_has_one_spelling(wire: bytes) -> None:
    try:
        name = utf7.decode(wire)
    except ValueError:
        return
    assert utf7.decode(utf7.encode(name)) == name


@pytest.mark.parametrize("wire", [b"a&b", b"&", b"&AGE-", b"&2D0-", b"\xff", b"&A-", b"&AOk"])
def test_malformed_utf7(wire: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 codec errors are ValueErrors of many texts
        utf7.decode(wire)


# --- strings


@given(st.binary(max_size=60).filter(lambda text: b"\0" not in text))
def test_strings_there_and_back(text: bytes) -> None:
    for written in (spelling.string(text), spelling.astring(text)):
        parts = [written]
        mark = announced(written.partition(b"\r\n")[0])
        if mark is not None and written.startswith(b"{"):
            parts = [mark.text, written.partition(b"\r\n")[2], b""]
        cursor = Cursor(parts)
        assert cursor.astring() == text
        cursor.end()


@given(st.text(max_size=30))
def test_flag_names_never_break_the_list(text: str) -> None:
    assert spelling.flag_list(frozenset({text})).startswith(b"(")


@pytest.mark.parametrize(
    "written", [b'"17-Jul-1996 02:44:25 -0700"', b'" 1-Feb-2024 23:59:59 +1245"', b'"31-Dec-1969 00:00:00 +0000"']
)
def test_date_time_there_and_back(written: bytes) -> None:
    assert spelling.internal_date(*Cursor([written]).date_time()) == written


@pytest.mark.parametrize(
    "written",
    [
        b'"30-Feb-2024 00:00:00 +0000"',
        b'"01-Foo-2024 00:00:00 +0000"',
        b'"01-Jan-2024 25:00:00 +0000"',
        b'"1-Jan-2024 00:00:00 +0000"',
        b'""',
    ],
)
def test_date_times_that_are_none(written: bytes) -> None:
    with pytest.raises(BadSyntaxError):
        Cursor([written]).date_time()


# --- sequence sets


@given(st.sets(st.integers(1, 300), min_size=1), st.integers(1, 300))
def test_sequence_sets_there_and_back(numbers: set[int], exists: int) -> None:
    written = sequence.compact(sorted(numbers))
    mailbox = Mailbox("INBOX", 1, uidnext=1)
    for _ in range(exists):
        mailbox.add(Message(b""))
    spans = sequence.uid_spans(sequence.parse(written), mailbox.messages, exists)
    found = [mailbox.messages[place].uid for start, stop in spans for place in range(start, stop)]
    assert found == [number for number in sorted(numbers) if number <= exists]


def test_star_means_the_last_message() -> None:
    assert sequence.seq_spans(sequence.parse(b"*"), 5) == [(4, 5)]
    assert sequence.seq_spans(sequence.parse(b"9:*"), 5) == [(4, 5)]
    assert sequence.seq_spans(sequence.parse(b"*:2,1"), 5) == [(0, 5)]
    assert sequence.seq_spans(sequence.parse(b"1:*"), 0) == []
    with pytest.raises(ValueError, match="no such"):
        sequence.seq_spans(sequence.parse(b"1:6"), 5)


@pytest.mark.parametrize("text", [b"", b"0", b"1:", b":1", b"1,,2", b"1,", b"a", b"01", b"4294967296", b"1:2:3", b"**"])
def test_malformed_sequence_sets(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        sequence.parse(text)


# --- fragments


@given(st.binary(max_size=200), st.lists(st.integers(1, 9), max_size=50))
def test_lines_do_not_depend_on_the_cuts(data: bytes, cuts: list[int]) -> None:
    assert _lines([data]) == _lines(_pieces(data, cuts))


def _lines(pieces: list[bytes]) -> list[bytes]:
    fragmenter = Fragmenter(20)
    found = []
    for piece in pieces:
        fragmenter.feed(piece)
        while True:
            try:
                line = fragmenter.line()
            except LineTooLongError as error:
                line = b"long " + error.head[:10]
            if line is None:
                break
            found.append(line)
    return found


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    out = []
    for cut in cuts:
        out.append(data[:cut])
        data = data[cut:]
    return [*out, data]


def test_skipped_octets_are_not_kept() -> None:
    fragmenter = Fragmenter(100)
    fragmenter.feed(b"abc")
    fragmenter.skip(10)
    fragmenter.feed(b"defg")
    assert fragmenter.line() is None
    fragmenter.feed(b"hijnext\r\n")
    assert fragmenter.line() == b"next\r\n"


# --- patterns


def matches(pattern: str, name: str) -> bool:
    """As RFC 3501 6.3.8 puts it: "*" matches zero or more characters, "%" too but no hierarchy delimiter."""
    if not pattern:
        return not name
    if pattern[0] in "*%":
        crosses = bool(name) and (pattern[0] == "*" or name[0] != "/")
        return matches(pattern[1:], name) or (crosses and matches(pattern, name[1:]))
    return name[:1] == pattern[0] and matches(pattern[1:], name[1:])


@given(st.text("ab/%*", max_size=8), st.text("ab/", max_size=8))
def test_patterns_match_as_the_rfc_says(pattern: str, name: str) -> None:
    assert matcher(pattern.encode(), b"/")(name.encode()) == matches(pattern, name)


@pytest.mark.parametrize("pattern", ["inbox", "In%", "*x", "i*n*b*X", "%n%o%x"])
def test_inbox_matches_in_any_case(pattern: str) -> None:
    assert matcher(pattern.encode(), b"/")(b"INBOX")
    assert not matcher(pattern.encode(), b"/")(b"OUTBOx/")


def test_many_wildcards_take_no_time() -> None:
    assert not matcher(b"a*" * 200 + b"c", b"/")(b"a" * 1000)
    patterns = [matcher(b"*a" * wildcards + b"b", b"/") for wildcards in range(30)]
    assert not any(test(b"a" * 300) for test in patterns)


# --- addresses


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"joe@example.com", [Address(None, None, b"joe", b"example.com")]),
        (b"Joe Q. Public <john.q@example.com>", [Address(b"Joe Q. Public", None, b"john.q", b"example.com")]),
        (b'"Giant; \\"Big\\" Box" <services@a.test>', [Address(b'Giant; "Big" Box', None, b"services", b"a.test")]),
        (
            b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            [
                Address(None, None, b"A Group", None),
                Address(b"Ed Jones", None, b"c", b"a.test"),
                Address(None, None, b"joe", b"where.test"),
                Address(b"John", None, b"jdoe", b"one.test"),
                Address(None, None, None, None),
            ],
        ),
        (b"Nobody known:;", [Address(None, None, b"Nobody known", None), Address(None, None, None, None)]),
        (b"<@a.test,@b.test:jdoe@c.test>", [Address(None, b"@a.test,@b.test", b"jdoe", b"c.test")]),
        (b"pete(his account)@silly.test(his host)", [Address(b"his host", None, b"pete", b"silly.test")]),
        (b"joe@[192.0.2.1]", [Address(None, None, b"joe", b"[192.0.2.1]")]),
        (b'"joe blow"@example.com', [Address(None, None, b"joe blow", b"example.com")]),
        (b"<>", [Address(None, None, b"", b"")]),
        (b"nobody", [Address(None, None, b"nobody", b"")]),
        (b"J <j@a.test, jim@b.test", [Address(b"J", None, b"j", b"a.test"), Address(None, None, b"jim", b"b.test")]),
        (b" , ,", []),
    ],
)  # fmt: skip
def test_addresses(value: bytes, found: list[Address]) -> None:
    assert parse_addresses(value) == found


@given(st.binary(max_size=80) | st.text('a@<>,;:"()\\ []', max_size=40).map(str.encode))
def test_any_address_field_can_be_said(value: bytes) -> None:
    said = address_list(value)
    assert said == b"NIL" or said.startswith(b"((")


# --- messages

NESTED = (
    b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\npreamble\r\n--outer\r\n'
    b"Content-Type: text/plain\r\n\r\nfirst\r\n--outer\r\n"
    b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n"
    b"--in\r\n\r\nplain\r\n--in\r\nContent-Type: text/html; charset=utf-8\r\n"
    b'Content-Disposition: attachment; filename="a b.html"\r\nContent-Language: de, en\r\n\r\n<p>\r\n--in--\r\n'
    b"--outer--\r\nepilogue\r\n"
)


def test_bodystructure_of_a_nested_message() -> None:
    inner = b"%d" % (NESTED.index(b"\r\n--outer--") - NESTED.index(b"Subject: inner"))
    assert render(NESTED, parse(NESTED), extended=True) == (
        b'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 0 NIL NIL NIL NIL)'
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" ' + inner + b' (NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL) '
        b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 5 0 NIL NIL NIL NIL)'
        b'("TEXT" "HTML" ("CHARSET" "utf-8") NIL NIL "7BIT" 3 0 NIL ("ATTACHMENT" ("FILENAME" "a b.html"))'
        b' ("de" "en") NIL)'
        b' "ALTERNATIVE" ("BOUNDARY" "in") NIL NIL NIL) 12 NIL NIL NIL NIL)'
        b' "MIXED" ("BOUNDARY" "outer") NIL NIL NIL)'
    )


def test_parts_by_number() -> None:
    root = parse(NESTED)
    text = {
        numbers: NESTED[part.body : part.end]
        for numbers in [(1,), (2, 1), (2, 2), (1, 1), (3,), (2, 3)]
        if (part := root.find(numbers))
    }
    assert text == {(1,): b"first", (2, 1): b"plain", (2, 2): b"<p>"}
    plain = b"Subject: x\r\n\r\nbody"
    part = parse(plain).find((1,))
    assert part is not None
    assert plain[part.body : part.end] == b"body"


@given(st.binary(max_size=300) | st.lists(st.sampled_from(NESTED.splitlines(keepends=True)), max_size=30).map(b"".join))
def test_any_message_has_a_structure(raw: bytes) -> None:
    root = parse(raw)
    assert render(raw, root, extended=True).startswith(b"(")
    assert envelope(raw[: body_start(raw)]).count(b" ") >= 9


def test_depth_and_number_of_parts_are_bounded() -> None:
    deep = b"Content-Type: message/rfc822\r\n\r\n" * 5000
    assert render(deep, parse(deep), extended=True).count(b"RFC822") <= 50
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 20_000
    assert len(parse(many).children) <= 5000


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_header_fields_are_chosen_by_name(end: bytes) -> None:
    header = end.join([b"From: a", b"X-Long: one", b"\ttwo", b"TO: b", b"", b"body"])
    assert body_start(header) == len(header) - 4
    assert select_fields(header[:-4], frozenset({b"to", b"x-long"}), others=False) == (
        b"X-Long: one" + end + b"\ttwo" + end + b"TO: b" + end + b"\r\n"
    )
    assert select_fields(header[:-4], frozenset({b"from"}), others=True).startswith(b"X-Long")
