"""Extensions beyond their traces: subjects, threads, labels, and what several of them do together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from imap_dialogue import NOON, Dialogue, Server

from fakeservers.imap.sorting import base_subject
from fakeservers.imap.threads import ALGORITHMS, Node, written
from fakeservers.mailstore import Message
from fakeservers.profile import load_profile

MAIL = b"From: a@b.test\r\nSubject: one\r\n\r\nHello world\r\n"

# --- SORT and THREAD


@pytest.mark.parametrize(
    ("subject", "base", "answers"),
    [
        ("Lunch", "Lunch", False),
        ("  two   words\t here ", "two words here", False),
        ("Re: Lunch", "Lunch", True),
        ("RE : fw: Fwd[2]: Lunch (fwd) (FWD) ", "Lunch", True),
        ("[list] Re: [list] Lunch", "Lunch", True),
        ("[list]", "[list]", False),
        ("[a] [b] c", "c", False),
        ("[Fwd: Re: Lunch]", "Lunch", True),
        ("Regarding: x", "Regarding: x", False),
        ("(fwd)", "", True),
        ("", "", False),
    ],
)
def test_base_subjects(subject: str, base: str, answers: bool) -> None:
    assert base_subject(subject) == (base, answers)


def message(own: int | None, references: list[int], subject: str, day: int) -> Message:
    head = f"Subject: {subject}\r\nDate: {day + 1} May 1996 12:00:00 +0000\r\n"
    if own is not None:
        head += f"Message-ID: <{own}@x>\r\n"
    if references:
        head += "References: " + " ".join(f"<{each}@x>" for each in references) + "\r\n"
    return Message(head.encode() + b"\r\nbody\r\n")


IDS = st.integers(0, 8)
MESSAGES = st.lists(
    st.builds(message, st.none() | IDS, st.lists(IDS, max_size=5), st.sampled_from(["", "a", "Re: a", "b"]), IDS),
    max_size=12,
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(messages=MESSAGES)
def test_every_message_is_in_one_thread(algorithm: str, messages: list[Message]) -> None:
    threads = ALGORITHMS[algorithm](list(enumerate(messages, 1)))
    said = written(threads).decode()
    assert sorted(map(int, re.findall(r"\d+", said))) == list(range(1, len(messages) + 1))
    assert re.fullmatch(r"(\((\d|[ ()])*\))*", said)
    assert said.count("(") == said.count(")")
    assert "()" not in said


def test_a_long_chain_is_no_trouble() -> None:
    messages = [message(number, [number - 1] if number else [], "a", 0) for number in range(5000)]
    threads = ALGORITHMS["REFERENCES"](list(enumerate(messages, 1)))
    assert written(threads).decode() == f"({' '.join(map(str, range(1, 5001)))})"


def test_a_missing_parent_keeps_its_children_together() -> None:
    root = Node()
    for number in (1, 2):
        root.adopt(Node(number))
    assert written([root]) == b"((1)(2))"


# --- labels


GMAIL = load_profile("gmail")


def gmail() -> tuple[Server, Dialogue]:
    server = Server(GMAIL)
    session = server.session("imaps", tls=True)
    assert session.ok("LOGIN alice@example.test secret")
    return server, session


PLACES = ["INBOX", "Work", "[Gmail]/Starred", "[Gmail]/Trash", "[Gmail]/Spam", "[Gmail]/All Mail"]
REMOVED = {"[Gmail]/Trash", "[Gmail]/Spam"}


class Labelled(RuleBasedStateMachine):
    """Mailboxes against the plain idea of them: each message has a set of places."""

    def __init__(self) -> None:
        super().__init__()
        self.server, self.session = gmail()
        assert self.session.ok("CREATE Work")
        self.places: dict[int, set[str]] = {}

    def put(self, number: int, place: str) -> None:
        places = self.places.setdefault(number, set())
        if place in REMOVED:
            places.clear()
        else:
            places -= REMOVED
            places.add("[Gmail]/All Mail")
        places.add(place)

    def uid(self, number: int, place: str) -> int:
        return next(m.uid for m in self.server.mailbox(place).messages if m.content == b"%d" % number)

    @rule(number=st.integers(0, 5), place=st.sampled_from(PLACES[:-1]))
    def append(self, number: int, place: str) -> None:
        if number not in self.places:
            assert self.session.ok(f'APPEND "{place}" {{1+}}\r\n{number}')
            self.put(number, place)

    @rule(number=st.integers(0, 5), source=st.sampled_from(PLACES), to=st.sampled_from(PLACES), move=st.booleans())
    def copy(self, number: int, source: str, to: str, move: bool) -> None:
        if source not in self.places.get(number, ()) or source == to:
            return
        assert self.session.ok(f'SELECT "{source}"')
        assert self.session.ok(f'UID {"MOVE" if move else "COPY"} {self.uid(number, source)} "{to}"')
        self.put(number, to)
        if move and source != "[Gmail]/All Mail":
            self.places[number].discard(source)

    @rule(number=st.integers(0, 5), place=st.sampled_from(PLACES))
    def delete(self, number: int, place: str) -> None:
        if place in self.places.get(number, ()):
            assert self.session.ok(f'SELECT "{place}"')
            assert self.session.ok(f"UID STORE {self.uid(number, place)} +FLAGS (\\Deleted)")
            if place != "[Gmail]/All Mail":
                self.places[number].discard(place)
            else:
                assert self.session.ok(f"UID STORE {self.uid(number, place)} -FLAGS (\\Deleted)")
            if not self.places[number]:
                del self.places[number]

    @rule(
        number=st.integers(0, 5), add=st.booleans(), label=st.sampled_from(["Work", "\\Inbox", "\\Starred", "\\Trash"])
    )
    def label(self, number: int, add: bool, label: str) -> None:
        place = {"\\Inbox": "INBOX", "\\Starred": "[Gmail]/Starred", "\\Trash": "[Gmail]/Trash"}.get(label, label)
        if "[Gmail]/All Mail" in self.places.get(number, ()):
            assert self.session.ok('SELECT "[Gmail]/All Mail"')
            uid = self.uid(number, "[Gmail]/All Mail")
            assert self.session.ok(f"UID STORE {uid} {'+' if add else '-'}X-GM-LABELS ({label})")
            if add:
                self.put(number, place)
            else:
                self.places[number].discard(place)

    @invariant()
    def every_mailbox_holds_what_has_its_label(self) -> None:
        for place in PLACES:
            there = sorted(int(message.content) for message in self.server.mailbox(place).messages)
            assert there == sorted(number for number, places in self.places.items() if place in places), place

    @invariant()
    def a_star_is_a_flag(self) -> None:
        for place in PLACES:
            for each in self.server.mailbox(place).messages:
                starred = "[Gmail]/Starred" in self.places[int(each.content)]
                assert not starred or "\\Flagged" in each.flags


TestLabelled = Labelled.TestCase
TestLabelled.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


def test_flags_are_the_messages_own_and_so_is_its_id() -> None:
    server, session = gmail()
    server.fill(MAIL)
    assert session.ok("SELECT INBOX")
    assert session.ok("COPY 1 [Gmail]/Important")
    assert session.ok("STORE 1 +FLAGS (\\Seen work)")
    [here] = session.data("FETCH 1 (X-GM-MSGID X-GM-LABELS)")
    assert here.endswith('X-GM-LABELS ("\\\\Important"))')
    assert session.ok('SELECT "[Gmail]/All Mail"')
    [there] = session.data("FETCH 1 (X-GM-MSGID FLAGS)")
    assert there.endswith("FLAGS (\\Seen work))")
    assert re.findall(r"MSGID \d+", here) == re.findall(r"MSGID \d+", there)
    number = re.findall(r"MSGID (\d+)", here)[0]
    assert session.data(f"SEARCH X-GM-MSGID {number} X-GM-LABELS \\Inbox") == ["* SEARCH 1"]
    assert session.data("STORE 1 X-GM-LABELS.SILENT (Neu&APY-)") == []
    assert session.data("FETCH 1 X-GM-LABELS") == ["* 1 FETCH (X-GM-LABELS (Neu&APY-))"]
    assert session.data('STATUS "Neu&APY-" (MESSAGES)') == ["* STATUS Neu&APY- (MESSAGES 1)"]
    assert session.tagged("STORE 1 +X-GM-LABELS (\\Nonsense)").startswith("BAD")
    assert len(server.host.messages("alice@example.test")) == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("hello", "1"), ("hell", ""), ("subject:one from:a", "1"), ("is:unread -in:trash", "1"), ("is:read", ""),
        ("label:work", ""), ("in:anywhere", "1"), ("larger:1k", ""), ("smaller:1M", "1"), ("after:1996/07/16", "1"),
        ("before:1996/07/16", ""), ("has:attachment", ""), ("nothing OR hello", "1"), ("in:inbox", "1"),
        ('\\"hello world\\"', "1"), ("other:thing", ""),
    ],
)  # fmt: skip
def test_the_web_pages_search(query: str, found: str) -> None:
    server, session = gmail()
    server.fill(MAIL)
    assert session.ok("SELECT INBOX")
    assert session.data(f'SEARCH X-GM-RAW "{query}"') == [f"* SEARCH {found}".rstrip()]


# --- together


def test_binary_mail_is_kept_in_base64() -> None:
    session = Server().login("INBOX")
    part = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\x01\x02"
    assert session.tagged(b"APPEND INBOX {%d+}\r\n%b" % (len(part), part)).startswith("BAD")
    assert session.ok(b"APPEND INBOX ~{%d+}\r\n%b" % (len(part), part))
    assert b"\0" not in session.send("x FETCH 1 BODY.PEEK[]\r\n")
    assert b"BINARY[1] ~{3}\r\n\x00\x01\x02)" in session.send("y FETCH 1 BINARY.PEEK[1]\r\n")


def test_nothing_of_a_multiple_append_is_kept_when_one_part_is_refused() -> None:
    server = Server()
    account = server.host.store.account("alice@example.test")
    assert account is not None
    account.properties["quota"] = 8192
    session = server.login()
    two = f"{{5000+}}\r\n{'x' * 5000}"
    assert session.tagged(f"APPEND INBOX {two} {two}").startswith("NO [OVERQUOTA]")
    assert session.tagged(f'APPEND INBOX {two} CATENATE (URL "/INBOX/;UID=9")').startswith("NO [BADURL")
    assert not server.mailbox().messages


def test_what_vanished_before_the_server_began_is_told_whole() -> None:
    server = Server()
    server.fill(MAIL, MAIL, MAIL)
    inbox = server.mailbox()
    inbox.expunge([inbox.messages[0]])
    inbox.vanished.clear()
    inbox.remembers = inbox.highestmodseq
    session = server.login()
    assert session.data("ENABLE QRESYNC")
    answer = session.data(f"SELECT INBOX (QRESYNC ({inbox.uidvalidity} 2))")
    assert "* VANISHED (EARLIER) 1" in answer


def test_rev2_alone_needs_no_enabling() -> None:
    server = Server()
    profile = server.host.profile
    imap = profile.imap.model_copy(update={"capabilities": ["IMAP4rev2", "AUTH"]})
    server = Server(profile.model_copy(update={"imap": imap}))
    server.fill(MAIL)
    session = server.login()
    answer = session.data("SELECT INBOX")
    assert not any("RECENT" in line for line in answer)
    assert '* LIST (\\HasNoChildren) "/" INBOX' in answer
    assert session.data("SEARCH RETURN (SAVE COUNT) ALL")[0].endswith("COUNT 1")
    assert session.data("FETCH $ BINARY.SIZE[1]") == ["* 1 FETCH (BINARY.SIZE[1] 13)"]


def test_notifications_wait_for_a_command_under_way_and_end_with_the_connection() -> None:
    server = Server()
    server.fill(MAIL)
    session = server.login("INBOX")
    assert session.ok("NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
    server.fill(MAIL)
    assert session.stirred() == []
    assert session.data("NOOP") == ["* 2 EXISTS", "* 2 RECENT"]
    assert session.ok("NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
    server.fill(MAIL)
    assert session.stirred() == ["* 3 EXISTS", "* 3 RECENT", "* 3 FETCH (UID 3 FLAGS (\\Recent))"]
    account = server.host.store.account("alice@example.test")
    assert account is not None
    assert account.watchers
    session.session.closed()
    assert not account.watchers
    assert not server.mailbox().watchers


def test_metadata_has_limits() -> None:
    session = Server().login()
    assert session.tagged(f"SETMETADATA INBOX (/private/x {{70000+}}\r\n{'x' * 70000})").startswith(
        "NO [METADATA MAXSIZE"
    )
    many = " ".join(f"/private/x{number} a" for number in range(101))
    assert session.tagged(f"SETMETADATA INBOX ({many})").startswith("BAD"), "a value is no atom"
    many = " ".join(f'/private/x{number} "a"' for number in range(101))
    assert session.tagged(f"SETMETADATA INBOX ({many})").startswith("NO [METADATA TOOMANY]")


def test_moments_of_saving() -> None:
    server = Server()
    server.fill(MAIL)
    server.host.clock.advance(86400)
    session = server.login("INBOX")
    assert session.ok("COPY 1 INBOX")
    assert session.data("FETCH 1:2 SAVEDATE") == [
        '* 1 FETCH (SAVEDATE "17-Jul-1996 09:44:25 +0000")',
        '* 2 FETCH (SAVEDATE "18-Jul-1996 09:44:25 +0000")',
    ]
    assert server.mailbox().messages[1].received == NOON
