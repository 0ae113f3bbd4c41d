"""Other ways of saying the same: whatever the server's manner, a client reads the same out of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_dialogue import TRACES, Dialogue, Server, with_imap
from imapclient.response_parser import parse_fetch_response
from imapclient.response_types import Envelope

from fakeservers.actions import Send
from fakeservers.imap.options import OPTIONS
from fakeservers.imap.voice import _responses, _value

CHOICES = {name: text.rpartition(": ")[2].split(", ") for name, (_, text) in OPTIONS.items() if name[:4] == "say_"}
MANNERS = st.fixed_dictionaries(
    {name: st.sampled_from(words) for name, words in CHOICES.items() if name != "say_case"}
)  # IMAPClient knows NIL in capitals only
MIXED = (
    b"Content-Type: multipart/mixed; boundary=b\r\nTo: a@b.test, c@d.test\r\n\r\n--b\r\nContent-Disposition: inline\r\n"
    b"\r\nGr\xc3\xbc\xc3\x9fe (\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    b'Subject: in "quotes"\r\n\r\nhi\r\n--b--\r\n'
)
MAIL = [(TRACES / "rfc3501-8.eml").read_bytes().replace(b"\n", b"\r\n"), MIXED, b"Subject: \r\n\r\n"]
ITEMS = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (Subject To)] BODY.PEEK[1])"


def session_with(manners: dict[str, str], seed: int = 0) -> Dialogue:
    server = Server(with_imap(options=manners))
    server.host.site.random.seed(seed)
    server.fill(*MAIL)
    account = server.host.store.account("alice@example.test")
    assert account is not None
    server.host.store.create(account, 'with "quotes"')
    return server.login("INBOX")


def read(said: bytes) -> dict[int, dict[bytes, object]]:
    """FETCH responses as IMAPClient reads them."""
    parts: list[object] = []
    for response in _responses(said):
        if not re.match(rb"\* \d+ FETCH", response):
            continue
        text = response[2:].replace(b" FETCH ", b" ", 1)
        at = 0
        for literal in list(re.finditer(rb"\{(\d+)\}\r\n", text)):
            if literal.start() < at:
                continue
            end = literal.end() + int(literal[1])
            parts.append((text[at : literal.end() - 2], text[literal.end() : end]))
            at = end
        parts.append(text[at:].removesuffix(b"\r\n"))
    found = parse_fetch_response(parts, normalise_times=False)
    return {seq: dict(data) for seq, data in found.items()}


def same(value: object) -> object:
    if isinstance(value, Envelope):
        return {name: same(each or None) for name, each in vars(value).items()}
    if isinstance(value, tuple | list):
        return tuple(same(each) for each in value)
    return value.timestamp() if hasattr(value, "timestamp") else value


PLAIN = read(session_with({}).send(f"x FETCH 1:* {ITEMS}\r\n"))


@settings(deadline=None, max_examples=40)
@given(MANNERS, st.integers(0, 1000))
def test_a_client_reads_the_same(manners: dict[str, str], seed: int) -> None:
    session = session_with(manners, seed)
    said = session.send(f"x FETCH 1:* {ITEMS}\r\n")
    found = read(said)
    assert found.keys() == PLAIN.keys()
    for seq, data in PLAIN.items():
        assert {name.upper(): same(value) for name, value in found[seq].items()} == {
            name.upper(): same(value) for name, value in data.items()
        }
    names = set()
    for response in _responses(session.send('y LIST "" *\r\n')):
        if response.startswith(b"* LIST"):
            value, end = _value(response, response.index(b'"/" ') + 4)
            assert response[end:] == b"\r\n"
            names.add(value[0] if isinstance(value, tuple) else value)
    assert names == {b"INBOX", b'with "quotes"'}


def test_letters_of_either_case_say_the_same() -> None:
    plain, mixed = (session_with(manner).send(f"x FETCH 1:* {ITEMS}\r\n") for manner in ({}, {"say_case": "mixed"}))
    assert plain != mixed
    assert plain.upper() == mixed.upper()


@pytest.mark.parametrize(
    ("manner", "expected"),
    [
        ({"say_case": "lower"}, "* 3 FETCH (uid 3 envelope (nil"),
        ({"say_items": "reversed"}, "* 3 FETCH (ENVELOPE (NIL"),
        ({"say_empty": "empty"}, '* 3 FETCH (UID 3 ENVELOPE ("" "" NIL'),
    ],
)
def test_each_manner(manner: dict[str, str], expected: str) -> None:
    assert session_with(manner).command("FETCH 3 (UID ENVELOPE)")[0].startswith(expected)


def test_strings_as_literals_and_dates_with_a_zero() -> None:
    session = session_with({"say_strings": "literals", "say_dates": "zero"})
    assert session.command('LIST "" INBOX')[:2] == ['* LIST (\\HasNoChildren) "/" {5}', "INBOX"]
    assert session.ok('APPEND INBOX " 7-Feb-1994 22:43:04 -0800" {1+}\r\nx')
    assert session.data("FETCH 4 INTERNALDATE")[0] == '* 4 FETCH (INTERNALDATE "07-Feb-1994 22:43:04 -0800")'
    session = session_with({"say_strings": "quoted"})
    assert session.data("FETCH 1 BODY.PEEK[1]<0.5>") == ['* 1 FETCH (BODY[1]<0> "The m")']


def test_few_codes_and_data_that_nobody_asked_for() -> None:
    session = session_with({"say_codes": "few", "say_more": "often"})
    answer = session.command("SELECT INBOX")
    assert not any(code in line for line in answer for code in ("[UNSEEN", "[PERMANENTFLAGS", "[READ-WRITE"))
    assert any("[UIDVALIDITY" in line for line in answer)
    assert "* OK Still here" in answer
    assert session.tagged("APPEND nowhere {1+}\r\nx").startswith("NO [TRYCREATE]")


def test_literals_come_in_pieces() -> None:
    session = session_with({"say_split": "literals"})
    session.actions.clear()
    session.command("FETCH 1 BODY.PEEK[TEXT]")
    [send] = session.actions
    assert isinstance(send, Send)
    assert send.pace is not None
    start = send.data.index(b"}\r\n") + 3
    assert start in send.pace.positions
    assert any(start < cut < len(send.data) - 20 for cut in send.pace.positions)


def test_a_rule_gives_manners_for_the_rest_of_the_connection() -> None:
    rule = {"name": "r", "at": "imap.select", "when": {"mailbox": "INBOX"}, "manners": {"say_case": "lower"}}
    server = Server(rules=[rule])
    server.fill(MAIL[0])
    session = server.login()
    assert session.data("EXAMINE INBOX")
    assert session.data("FETCH 1 UID") == ["* 1 FETCH (UID 1)"]
    assert session.data("SELECT INBOX")
    assert session.data("FETCH 1 UID") == ["* 1 FETCH (uid 1)"]


def test_a_manner_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match='unknown value of say_case "small"'):
        with_imap().imap.model_validate({"options": {"say_case": "small"}})
