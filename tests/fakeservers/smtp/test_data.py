"""Message data: end of data, transparency, sizes, and bytes kept as they came."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeservers.smtp.reading import DataReader, irregularities

from .dialogue import ALICE, BOB, Dialogue, generic, hello

TRICKY = st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"..", b"\r\n.", b"\xff"]), max_size=30).map(
    b"".join
)
CUTS = st.lists(st.integers(1, 7), max_size=60)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    out = []
    for cut in cuts:
        if data:
            out.append(data[:cut])
            data = data[cut:]
    return [*out, data]


def read(data: bytes, cuts: list[int], limit: int = 1 << 20) -> tuple[DataReader, bytes]:
    """The reader behind end of data, and what it left; all of `data` goes in."""
    reader = DataReader(limit)
    parts = pieces(data, cuts)
    for number, part in enumerate(parts):
        position = reader.feed(part, 0)
        if position >= 0:
            return reader, b"".join([part[position:], *parts[number + 1 :]])
    raise AssertionError("no end of data")


def stuffed(content: bytes) -> bytes:
    """What a right client sends for content that ends with CRLF (RFC 5321 4.5.2)."""
    dotted = content.replace(b"\r\n.", b"\r\n..")
    return (b"." + dotted if dotted.startswith(b".") else dotted) + b".\r\n"


@given(TRICKY, CUTS)
def test_what_is_stuffed_comes_out_as_it_was(text: bytes, cuts: list[int]) -> None:
    content = text + b"\r\n" if text else b""
    reader, rest = read(stuffed(content) + b"NOOP\r\n", cuts)
    assert (reader.content, rest, reader.too_big) == (content, b"NOOP\r\n", False)


@given(TRICKY, CUTS)
def test_any_cutting_gives_the_same(text: bytes, cuts: list[int]) -> None:
    data = text + b"\r\n.\r\nQUIT\r\n"
    whole, rest = read(data, [])
    cut, cut_rest = read(data, cuts)
    assert (whole.content, rest, whole.octets) == (cut.content, cut_rest, cut.octets)


@given(TRICKY, CUTS, st.integers(1, 20))
def test_the_limit_is_on_the_message_without_its_dots(text: bytes, cuts: list[int], limit: int) -> None:
    content = text + b"\r\n"
    reader, rest = read(stuffed(content) + b"!", cuts, limit)
    assert reader.too_big == (len(content) > limit)
    assert reader.content == (b"" if reader.too_big else content)
    assert rest == b"!"


def test_nothing_is_kept_beyond_the_limit() -> None:
    reader = DataReader(1000)
    for _ in range(100):
        reader.feed(b"x" * 1000, 0)
        assert len(reader.partial) <= 2000
    assert reader.feed(b"\r\n.\r\n", 0) == 5
    assert (reader.too_big, reader.octets, reader.content) == (True, 100_002, b"")


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\r\n.\n", b"\n\n.\r\n"]
)
def test_only_crlf_dot_crlf_ends_data(end: bytes) -> None:
    """SMTP smuggling: whatever else looks like an end of data stays data."""
    dialogue = hello()
    dialogue.mail()
    assert dialogue.send(b"one" + end + b"MAIL FROM:<x@y.example>\r\nRCPT TO:<bob@example.test>\r\n") == ""
    assert dialogue.send(b".\r\n") == "250 2.0.0 OK\r\n"
    assert dialogue.contents(BOB) == []
    # A dot right behind CRLF is transparency all the same.
    assert dialogue.contents()[0].startswith(b"one" + end.replace(b"\r\n.", b"\r\n"))


def test_an_empty_message() -> None:
    dialogue = hello()
    dialogue.mail()
    assert dialogue.send(b".\r\n") == "250 2.0.0 OK\r\n"
    assert dialogue.contents() == [b""]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"plain\r\n" * 300, []),
        (b"a\nb\r\n", ["bare-lf"]),
        (b"a\rb\r\n", ["bare-cr"]),
        (b"a\r\r\n", ["bare-cr"]),
        (b"x" * 998 + b"\r\n" + b"y" * 998 + b"\r\n", []),
        (b"short\r\n" + b"x" * 999 + b"\r\n", ["long-line"]),
        (b"\n\r" + b"x" * 5000, ["bare-lf", "bare-cr", "long-line"]),
    ],
)
def test_irregular_text_is_kept_and_noted(content: bytes, names: list[str]) -> None:
    assert irregularities(content) == names
    dialogue = hello()
    dialogue.mail()
    dialogue.send(content + b"\r\n.\r\n")
    assert dialogue.contents() == [content + b"\r\n"]
    assert [name for name in ("bare-lf", "bare-cr", "long-line") if dialogue.events(name)] == names


@pytest.mark.parametrize(
    ("parameters", "content", "noted"),
    [
        ("", b"\xe4", True),
        (" BODY=7BIT", b"\xe4", True),
        (" body=8bitmime", b"\xe4", False),
        (" SMTPUTF8", b"\xe4", False),
        ("", b"a", False),
    ],
)
def test_octets_over_127_without_8bitmime_are_noted(parameters: str, content: bytes, noted: bool) -> None:
    dialogue = hello()
    dialogue.say(f"MAIL FROM:<a@b.example>{parameters}", f"RCPT TO:<{ALICE}>", "DATA")
    assert dialogue.send(content + b"\r\n.\r\n").startswith("250")
    assert bool(dialogue.events("undeclared-8bit")) == noted


def test_a_message_over_the_limit_is_read_to_its_end() -> None:
    dialogue = hello(generic(size_limit=1000))
    dialogue.mail()
    assert dialogue.send(b"x" * 3000) == dialogue.send(b"\r\nNOOP\r\n") == ""
    assert dialogue.send(b".\r\nNOOP\r\n").startswith(
        "552 5.3.4 Message size exceeds fixed maximum message size\r\n250 "
    )
    assert dialogue.contents() == []
    assert dialogue.events("too-big")
    assert dialogue.mail().startswith("354")


def test_35_megabytes() -> None:
    content = (b"x" * 70 + b"\r\n..\r\n") * 500_000
    content = content[: 35 * 1024 * 1024 - 2] + b"\r\n"
    dialogue = hello()
    dialogue.mail()
    data = stuffed(content)
    for start in range(0, len(data), 1 << 18):
        reply = dialogue.send(data[start : start + (1 << 18)])
    assert reply == "250 2.0.0 OK\r\n"
    assert dialogue.contents() == [content]


# --- BDAT (RFC 3030)


def chunking() -> Dialogue:
    return hello(generic(ehlo=["CHUNKING", "8BITMIME", "BINARYMIME"], size_limit=100))


def test_bdat() -> None:
    dialogue = chunking()
    dialogue.say("MAIL FROM:<a@b.example> BODY=BINARYMIME", f"RCPT TO:<{ALICE}>")
    assert dialogue.say("DATA") == "503 5.5.1 BODY=BINARYMIME needs BDAT"
    assert dialogue.send(b"BDAT 6\r\n.\r\n\0\n.BDAT 5 LAST\r\n12345NOOP\r\n").splitlines() == [
        "250 2.0.0 6 octets received",
        "250 2.0.0 OK",
        "250 2.0.0 OK",
    ]
    assert dialogue.contents() == [b".\r\n\0\n.12345"]


def test_bdat_last_of_nothing() -> None:
    dialogue = chunking()
    dialogue.say("MAIL FROM:<a@b.example>", f"RCPT TO:<{ALICE}>")
    assert dialogue.send(b"BDAT 3\r\nabcBDAT 0 LAST\r\n").splitlines()[1] == "250 2.0.0 OK"
    assert dialogue.contents() == [b"abc"]


def test_bdat_octets_are_no_commands_even_when_refused() -> None:
    dialogue = chunking()
    assert dialogue.send(b"BDAT 6\r\nNOOP\r\n") == "503 5.5.1 Need MAIL command\r\n"
    dialogue.say("MAIL FROM:<a@b.example>")
    assert dialogue.send(b"BDAT 6 LAST\r\nNOOP\r\n") == "503 5.5.1 Need RCPT command\r\n"
    assert dialogue.send(b"BDAT 6 LAST\r\nNOOP\r\n") == "503 5.5.1 Bad sequence of commands\r\n"
    assert dialogue.say("RSET", f"RCPT TO:<{ALICE}>").splitlines()[1] == "503 5.5.1 Need MAIL command"


@pytest.mark.parametrize(
    ("service", "rule", "reply"),
    [
        ("submission", None, "530 5.7.0"),
        ("smtp", {"at": "smtp.connect", "reply": "554 5.3.2 Closed today"}, "503 5.5.1"),
        ("smtp", {"at": "smtp.bdat", "reply": "451 4.3.0 Not now"}, "451 4.3.0"),
    ],
)
def test_bdat_octets_are_no_commands_where_nothing_is_taken(
    service: str, rule: dict[str, Any] | None, reply: str
) -> None:
    profile = generic(ehlo=["CHUNKING", "STARTTLS"])
    dialogue = hello(profile, service, rules=[{"name": "no", **rule}] if rule else [])
    assert dialogue.send(b"BDAT 6 LAST\r\nNOOP\r\n").startswith(reply)
    assert len(dialogue.send(b"BDAT 12\r\nNOOP\r\nNOOP\r\nNOOP\r\n").splitlines()) == 2


def test_bdat_over_the_limit() -> None:
    dialogue = chunking()
    dialogue.say("MAIL FROM:<a@b.example>", f"RCPT TO:<{ALICE}>")
    dialogue.send(b"BDAT 60\r\n" + b"x" * 60)
    assert dialogue.send(b"BDAT 60 LAST\r\n" + b"x" * 60).startswith("552 5.3.4")
    assert dialogue.contents() == []


def test_no_other_command_between_chunks() -> None:
    dialogue = chunking()
    dialogue.say("MAIL FROM:<a@b.example>", f"RCPT TO:<{ALICE}>")
    dialogue.send(b"BDAT 1\r\nx")
    assert dialogue.say("DATA").startswith("503")
    assert dialogue.say(f"RCPT TO:<{BOB}>").startswith("503")
    assert dialogue.say("NOOP").startswith("250")


@pytest.mark.parametrize("argument", ["", "x", "-1", "1 FIRST", "1" * 21, "²"])
def test_bdat_syntax(argument: str) -> None:
    assert chunking().say(f"BDAT {argument}").startswith("501 5.5.4")


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"x", b"\x0b", b"\x85"]), max_size=12), st.booleans())
def test_line_ends_are_told_apart(parts: list[bytes], long: bool) -> None:
    content = b"".join(parts) + (b"x\r\n" * 6000 if long else b"")
    rest = content.replace(b"\r\n", b"")
    assert irregularities(content) == ["bare-lf"] * (b"\n" in rest) + ["bare-cr"] * (b"\r" in rest)
