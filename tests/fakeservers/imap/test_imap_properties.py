"""What each extension promises, for any mail: beside a few words of Python that say the same."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from imap_dialogue import NOON, Dialogue, Server, lines, with_imap

from fakeservers.mailstore import Message

few = settings(max_examples=30, deadline=None)
WORDS = st.sampled_from(["one", "two", "three", "Re: one", "[x] two"])
FLAGS = st.frozensets(st.sampled_from(["\\Seen", "\\Flagged", "\\Deleted", "work"]), max_size=3)
MAIL = st.lists(st.tuples(WORDS, FLAGS), max_size=8)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
OCTETS = st.binary(max_size=60).map(lambda octets: octets.replace(b"\0", b"0"))
ENTRIES = st.sampled_from(["/private/comment", "/shared/comment", "/private/vendor/x/y"])
COMMON = st.sampled_from(["a", "b", "a/c", "Grüße", "b/d"])


def with_mail(mail: Iterable[tuple[str, frozenset[str]]]) -> Dialogue:
    server = Server()
    for subject, flags in mail:
        server.fill(f"Subject: {subject}\r\n\r\n".encode(), flags=flags)
    return server.login("INBOX")


def numbers(written: str) -> list[int]:
    """What a sequence set names."""
    ranges = [part.partition(":") for part in written.split(",") if part]
    return [number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)]


def searched(session: Dialogue, program: str) -> list[int]:
    [line] = [line for line in session.data(f"SEARCH {program}") if line.startswith("* SEARCH")]
    return list(map(int, line.split()[2:]))


# --- searching


@few
@given(
    MAIL,
    st.sampled_from(["ALL", "SEEN", "UNDELETED", "SUBJECT one"]),
    st.sets(st.sampled_from(["MIN", "MAX", "ALL", "COUNT"])),
)
def test_esearch_is_search_in_other_words(
    mail: list[tuple[str, frozenset[str]]], program: str, results: set[str]
) -> None:
    """RFC 4731 3.1, and RFC 5182: `$` is what was found."""
    session = with_mail(mail)
    found = searched(session, program)
    said = session.data(f"SEARCH RETURN (SAVE {' '.join(sorted(results))}) {program}")
    kept = sorted({found[place] for place in (0, -1) if results & {("MIN", "MAX")[place]}} if found else [])
    assert searched(session, "$") == (kept if results and results <= {"MIN", "MAX"} else found)
    if not results:
        assert said == []
        return
    told = dict(re.findall(r"(MIN|MAX|ALL|COUNT) (\S+)", said[0].partition(")")[2]))
    expected = {"COUNT": str(len(found))} if "COUNT" in results else {}
    if found:
        expected |= {name: str(found[place]) for name, place in (("MIN", 0), ("MAX", -1)) if name in results}
    assert {name: value for name, value in told.items() if name != "ALL"} == expected
    assert numbers(told.get("ALL", "")) == (found if "ALL" in results else [])


@few
@given(MAIL, st.sampled_from(["ALL", "UNSEEN", "OR FLAGGED DELETED", "NOT SUBJECT two"]))
def test_rev2_finds_the_same_in_other_words(mail: list[tuple[str, frozenset[str]]], program: str) -> None:
    """RFC 9051 6.4.4 and appendix E: ESEARCH in place of SEARCH, no \\Recent."""
    session = with_mail(mail)
    found = searched(session, program)
    assert session.ok("ENABLE IMAP4rev2")
    [said] = session.data(f"SEARCH {program}")
    assert said.startswith("* ESEARCH (TAG ")
    assert numbers(said.partition(" ALL ")[2]) == found
    assert not any("Recent" in line or "RECENT" in line for line in session.data("SELECT INBOX"))


@few
@given(st.lists(st.integers(0, 1000), max_size=6), st.integers(1, 1000))
def test_within_counts_seconds(ages: list[int], interval: int) -> None:
    """RFC 5032 3: YOUNGER and OLDER divide the mailbox at the interval."""
    server = Server()
    for age in ages:
        server.mailbox().add(Message(b"x", received=NOON - age))
    session = server.login("INBOX")
    younger = searched(session, f"YOUNGER {interval}")
    assert younger == [number for number, age in enumerate(ages, 1) if age < interval] or younger == [
        number for number, age in enumerate(ages, 1) if age <= interval
    ]
    older = searched(session, f"OLDER {interval}")
    assert set(older) | set(younger) == set(range(1, len(ages) + 1))
    assert all(ages[number - 1] == interval for number in set(older) & set(younger))


@few
@given(st.lists(st.integers(0, 3), max_size=8), st.booleans())
def test_sort_is_what_sorting_does(sizes: list[int], reverse: bool) -> None:
    """RFC 5256 3: equal messages stay in the mailbox's order, whether reversed or not."""
    server = Server()
    server.fill(*(b"x" * size for size in sizes))
    [said] = server.login("INBOX").data(f"SORT ({'REVERSE ' if reverse else ''}SIZE) UTF-8 ALL")
    places = sorted(range(len(sizes)), key=lambda place: -sizes[place] if reverse else sizes[place])
    assert said.split()[2:] == [str(place + 1) for place in places]


# --- uploading


@few
@given(st.lists(st.tuples(OCTETS, FLAGS), min_size=1, max_size=4))
def test_multiappend_is_append_many_times(uploads: list[tuple[bytes, frozenset[str]]]) -> None:
    """RFC 3502: all messages of one APPEND, in order, with their own flags."""
    server = Server()
    session = server.login()
    said = b"".join(b" (%b) {%d+}\r\n%b" % (" ".join(flags).encode(), len(octets), octets) for octets, flags in uploads)
    assert b"[APPENDUID" in session.send(b"a APPEND INBOX" + said + b"\r\n")
    assert [(each.content, each.flags) for each in server.mailbox().messages] == uploads


@few
@given(st.lists(OCTETS, min_size=1, max_size=4), st.integers(0, 50), st.integers(1, 50))
def test_catenate_joins_what_it_names(parts: list[bytes], start: int, length: int) -> None:
    """RFC 4469 3: texts, and parts of messages by URL."""
    server = Server()
    server.fill(b"0123456789" * 4)
    session = server.login()
    url = f'URL "/INBOX/;UID=1/;PARTIAL={start}.{length}"'.encode()
    said = b" ".join(b"TEXT {%d+}\r\n%b" % (len(part), part) for part in parts)
    assert b"OK" in session.send(b"a APPEND INBOX CATENATE (%b %b)\r\n" % (said, url))
    expected = b"".join(parts) + (b"0123456789" * 4)[start : start + length]
    assert server.mailbox().messages[-1].content == expected


@few
@given(st.binary(max_size=80))
def test_binary_gives_any_octets_back(octets: bytes) -> None:
    """RFC 3516 4.2 and 4.4: what was sent as a literal8 is fetched decoded, whatever the server keeps it as."""
    server = Server()
    session = server.login()
    sent = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + octets
    assert b"OK" in session.send(b"a APPEND INBOX ~{%d+}\r\n%b\r\n" % (len(sent), sent))
    assert session.ok("SELECT INBOX")
    said = session.send(b"b FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])\r\n")
    assert b"{%d}\r\n%b BINARY.SIZE[1] %d)" % (len(octets), octets, len(octets)) in said


@few
@given(st.integers(1, 2**63))
def test_a_literal_over_the_appendlimit_is_refused_before_it_is_sent(size: int) -> None:
    """RFC 7889 3: up to APPENDLIMIT octets, and not one more."""
    session = Server().login()
    limit = int(re.findall(r"APPENDLIMIT=(\d+)", session.data("CAPABILITY")[0])[0])
    assert session.data("STATUS INBOX (APPENDLIMIT)") == [f"* STATUS INBOX (APPENDLIMIT {limit})"]
    said = session.send(f"a APPEND INBOX {{{size}}}\r\n")
    assert said.startswith(b"+ " if size <= limit else b"a NO [TOOBIG]")
    for over in (0, 1):
        assert Server().login().send(f"a APPEND INBOX {{{limit + over}}}\r\n")[:1] == (b"a" if over else b"+")


# --- mailboxes


@few
@given(st.lists(COMMON, unique=True), st.lists(COMMON), MAIL)
def test_listings_agree(made: list[str], subscribed: list[str], mail: list[tuple[str, frozenset[str]]]) -> None:
    """RFC 5258, 5819, 8438, 3348: SUBSCRIBED, STATUS with SIZE and the children say what LSUB, STATUS and the names
    themselves say."""
    server = Server()
    session = server.login()
    session.session.enable("UTF8=ACCEPT")
    for name in made:
        session.command(f'CREATE "{name}"')
    for name in subscribed:
        session.command(f'SUBSCRIBE "{name}"')
    for subject, flags in mail:
        server.fill(subject.encode(), flags=flags)
    names = [line.rpartition('"/" ')[2].strip('"') for line in session.data('LIST "" *')]
    assert set(names) == {"INBOX", *(made), *(name.partition("/")[0] for name in made)}
    listed = session.data('LIST "" * RETURN (CHILDREN SUBSCRIBED STATUS (MESSAGES SIZE UNSEEN DELETED))')
    statuses = [line for line in listed if line.startswith("* STATUS")]
    assert statuses == [session.data(f'STATUS "{name}" (MESSAGES SIZE UNSEEN DELETED)')[0] for name in names]
    for line, name in zip((line for line in listed if line.startswith("* LIST")), names, strict=True):
        assert ("\\HasChildren" in line) == any(other.startswith(f"{name}/") for other in names)
        assert ("\\Subscribed" in line) == (name == "INBOX" or name in subscribed)
    subscriptions = {line.rpartition(" ")[2] for line in session.data('LIST (SUBSCRIBED) "" *')}
    assert subscriptions == {line.rpartition(" ")[2] for line in session.data('LSUB "" *')}


@few
@given(st.lists(st.sampled_from(["\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"]), unique=True))
def test_special_uses_are_listed_as_they_were_given(uses: list[str]) -> None:
    """RFC 6154 3 and 5: CREATE (USE ...), LIST (SPECIAL-USE) and RETURN (SPECIAL-USE)."""
    session = Server().login()
    for number, use in enumerate(uses):
        assert session.ok(f"CREATE box{number} (USE ({use}))")
    listed = session.data('LIST (SPECIAL-USE) "" *')
    assert [line.rpartition(" ")[2] for line in listed] == [f"box{number}" for number in range(len(uses))]
    assert all(use in line for use, line in zip(uses, listed, strict=True))
    assert [line for line in session.data('LIST "" * RETURN (SPECIAL-USE)') if "box" in line] == listed


@few
@given(st.dictionaries(ENTRIES, TEXT, max_size=3), st.sampled_from(["INBOX", '""']))
def test_metadata_are_kept_until_they_are_taken_away(entries: dict[str, str], mailbox: str) -> None:
    """RFC 5464 4.2 and 4.3."""
    session = Server().login()
    for entry, value in entries.items():
        assert session.ok(
            b"SETMETADATA %b (%b {%d+}\r\n%b)" % (mailbox.encode(), entry.encode(), len(value), value.encode())
        )
    for entry in entries:
        said = "\r\n".join(session.data(f"GETMETADATA {mailbox} {entry}"))
        quoted = entries[entry].replace("\\", "\\\\").replace('"', '\\"')
        assert said == f'* METADATA {mailbox} ({entry} "{quoted}")'
        assert session.ok(f"SETMETADATA {mailbox} ({entry} NIL)")
        assert session.data(f"GETMETADATA {mailbox} {entry}") == [f"* METADATA {mailbox} ({entry} NIL)"]


# --- identities, moments, previews


@few
@given(st.lists(st.sampled_from(["COPY 1 Archive", "MOVE 1 Archive", "RENAME Archive Other", "RENAME Other Archive"])))
def test_ids_go_with_their_objects(commands: list[str]) -> None:
    """RFC 8474 4 and 5: MAILBOXID survives RENAME, EMAILID and THREADID survive COPY and MOVE."""
    server = Server()
    server.fill(b"Subject: one\r\nMessage-ID: <1@x>\r\n\r\n", b"Subject: two\r\nMessage-ID: <2@x>\r\n\r\n")
    session = server.login()
    assert session.ok("CREATE Archive")
    [box] = re.findall(r"MAILBOXID \((\S+)\)", session.data("STATUS Archive (MAILBOXID)")[0])
    ids = set()
    for command in commands:
        assert session.ok("SELECT INBOX")
        ids |= set(
            re.findall(r"EMAILID \(\S+\) THREADID \(\S+\)", str(session.command("FETCH 1:* (EMAILID THREADID)")))
        )
        session.command(command)
    name = next(name for name in ("Archive", "Other") if session.ok(f"STATUS {name} (MESSAGES)"))
    assert box in session.data(f"STATUS {name} (MAILBOXID)")[0]
    assert session.ok(f"SELECT {name}")
    found = re.findall(r"EMAILID \(\S+\) THREADID \(\S+\)", str(session.command("FETCH 1:* (EMAILID THREADID)")))
    assert set(found) <= ids
    assert len(ids) <= 2


@few
@given(st.integers(0, 10**6), st.booleans())
def test_savedate_is_when_it_came_here(later: int, move: bool) -> None:
    """RFC 8514 3: INTERNALDATE goes with a copy, SAVEDATE does not."""
    server = Server()
    server.fill(b"x")
    session = server.login("INBOX")
    assert session.ok("CREATE Archive")
    server.host.clock.advance(later)
    assert session.ok("MOVE 1 Archive" if move else "COPY 1 Archive")
    assert session.ok("SELECT Archive")
    [said] = session.data("FETCH 1 (INTERNALDATE SAVEDATE)")
    internal, saved = re.findall(r'"([^"]+)"', said)
    assert internal == "17-Jul-1996 09:44:25 +0000"
    assert (saved == internal) == (later == 0)


@few
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).map(lambda text: f"{text}\r\n" * 3))
def test_a_preview_is_the_beginning_of_the_text(text: str) -> None:
    """RFC 8970 3.1: the first 200 characters at most of what a person would read."""
    assume("=" not in text and ">" not in text)
    server = Server()
    server.fill(b"Subject: x\r\n\r\n" + text.encode())
    session = server.login("INBOX")
    said = session.send(b"a FETCH 1 (PREVIEW)\r\n").decode()
    quoted = said.partition('PREVIEW "')[2].partition('")\r\na OK')[0]
    preview = re.sub(r'\\(["\\])', r"\1", quoted)
    assert len(preview) <= 200
    assert " ".join(text.split()).startswith(preview.removesuffix("…").strip())
    assert session.data("FETCH 1 (PREVIEW (LAZY))") == lines(said.encode())[:-1]


# --- being told, logging in


@few
@given(
    st.lists(st.sampled_from(["APPEND INBOX {1+}\r\nx", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "STORE 1 FLAGS ()"]))
)
def test_notify_tells_all_that_happens(commands: list[str]) -> None:
    """RFC 5465 5: with MessageNew, MessageExpunge and FlagChange for SELECTED a client that never asks knows all."""
    server = Server()
    server.fill(b"x", b"y")
    watcher, other = server.login("INBOX"), server.login("INBOX")
    assert watcher.ok("NOTIFY SET (SELECTED (MessageNew (UID FLAGS) MessageExpunge FlagChange))")
    count = 2
    for command in commands:
        other.command(command)
        for line in watcher.stirred():
            if (told := re.match(r"\* (\d+) EXISTS", line)) is not None:
                count = int(told[1])
            elif re.match(r"\* \d+ EXPUNGE", line):
                count -= 1
        assert count == len(server.mailbox().messages)
    there = [(message.uid, message.flags) for message in server.mailbox().messages]
    assert len(watcher.data("FETCH 1:* (FLAGS)")) == len(there)


@few
@given(TEXT, TEXT, st.booleans())
def test_an_initial_response_is_the_first_response(user: str, password: str, right: bool) -> None:
    """RFC 4959 3: the outcome is the same whether the response comes with the command or behind a challenge."""
    identity = ("alice@example.test", "secret") if right else (user or "x", password or "x")
    response = base64.b64encode("\0".join(("", *identity)).encode()).decode()
    profile = with_imap(bad_commands=None)
    at_once = Server(profile).session(tls=True).tagged(f"AUTHENTICATE PLAIN {response}")
    asked = Server(profile).session(tls=True).tagged("AUTHENTICATE PLAIN", response)
    assert at_once == asked
    assert at_once.startswith("OK" if right else "NO")


@pytest.mark.parametrize("name", ["Grüße", "日本語", "a&b"])
def test_names_are_utf8_or_modified_utf7_as_the_client_wants(name: str) -> None:
    """RFC 6855 3 and RFC 3501 5.1.3: one mailbox, two spellings."""
    server = Server()
    new, old = server.login(), server.login()
    assert new.ok("ENABLE UTF8=ACCEPT")
    assert new.ok(f'CREATE "{name}"')
    [said] = [line for line in old.data('LIST "" *') if "INBOX" not in line]
    wire = said.rpartition(" ")[2]
    assert wire.isascii()
    assert old.ok(f"SELECT {wire}")
    assert new.ok(f'SELECT "{name}"')
    assert any(name in line for line in new.data('LIST "" *'))
