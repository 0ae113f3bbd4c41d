"""Corners of the RFCs that are easily got wrong; each test says the sentence that it stands on."""

from __future__ import annotations

import time

import pytest
from imap_dialogue import ALICE, Server

MAIL = [b"Subject: m%d\r\n\r\nbody\r\n" % number for number in range(4)]


def filled() -> Server:
    server = Server()
    server.fill(*MAIL)
    return server


def test_whoever_has_condstore_is_told_uids_where_qresync_is_offered() -> None:
    """RFC 7162 3.2.4: once a CONDSTORE enabling command is issued, both UID and mod-sequence are in all untagged FETCH
    responses, whether caused by STORE, by a FETCH that sets \\Seen implicitly, or by an external agent; not in those
    of a FETCH that does not ask for them."""
    server = filled()
    session, other = server.login("INBOX"), server.login("INBOX")
    assert session.ok("ENABLE CONDSTORE")
    assert session.data("STORE 2 +FLAGS (\\Flagged)") == ["* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent) MODSEQ (6))"]
    assert session.data("STORE 2 +FLAGS.SILENT (\\Draft)") == ["* 2 FETCH (UID 2 MODSEQ (7))"]
    assert session.data("FETCH 1 BODY[]<0.1>")[-1].endswith("S FLAGS (\\Seen \\Recent) MODSEQ (8) UID 1)")
    assert session.data("FETCH 3 (FLAGS BODY[]<0.1>)")[-1].endswith("S MODSEQ (9) UID 3)")
    assert session.data("FETCH 3 FLAGS") == ["* 3 FETCH (FLAGS (\\Seen \\Recent))"]
    assert other.ok("STORE 4 +FLAGS (\\Answered)")
    assert session.data("NOOP") == ["* 4 FETCH (UID 4 FLAGS (\\Answered \\Recent) MODSEQ (10))"]


@pytest.mark.parametrize(
    "command",
    [
        "STATUS INBOX (HIGHESTMODSEQ)", "FETCH 1 MODSEQ", "SEARCH MODSEQ 1", "FETCH 1 FLAGS (CHANGEDSINCE 1)",
        "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()", "ENABLE QRESYNC", "EXAMINE INBOX (CONDSTORE)",
    ],
)  # fmt: skip
def test_every_condstore_enabling_command_enables_it(command: str) -> None:
    """RFC 7162 3.1 lists the CONDSTORE enabling commands."""
    server = filled()
    session, other = server.login("INBOX"), server.login("INBOX")
    assert session.ok(command)
    assert other.ok("STORE 4 +FLAGS (\\Answered)")
    assert "MODSEQ" in session.data("NOOP")[-1]


def test_changedsince_brings_modseq_whatever_it_is() -> None:
    """RFC 7162 3.1.4.1: CHANGEDSINCE implicitly adds the MODSEQ FETCH message data item."""
    session = filled().login("INBOX")
    assert session.data("FETCH 1 FLAGS (CHANGEDSINCE 0)") == ["* 1 FETCH (FLAGS (\\Recent) MODSEQ (2))"]


@pytest.mark.parametrize(
    ("results", "modseq"), [("MIN", 6), ("MAX", 7), ("MIN MAX", 7), ("MIN COUNT", 8), ("ALL", 8), ("SAVE MIN", 6)]
)
def test_the_modseq_of_an_esearch_is_that_of_what_is_returned(results: str, modseq: int) -> None:
    """RFC 4731 3.2: with MIN or MAX alone it is the found message's, with both the higher of the two, otherwise the
    highest of all messages found."""
    session = filled().login("INBOX")
    for number in (1, 4, 2):
        assert session.ok(f"STORE {number} +FLAGS (\\Flagged)")
    said = session.data(f"SEARCH RETURN ({results}) MODSEQ 1")
    assert said[0].endswith(f" MODSEQ {modseq}"), said


@pytest.mark.parametrize("known", ["1:*", "*", "$", "1:4 (* *)", "1:4 (1,3 1,*)"])
def test_known_sets_have_no_star(known: str) -> None:
    """RFC 7162 7: in known-uids and known-sequence-set "*" is not allowed."""
    session = filled().login()
    assert session.ok("ENABLE QRESYNC")
    assert session.tagged(f"SELECT INBOX (QRESYNC (1000001 1 {known}))").startswith("BAD")


def test_many_ranges_of_known_uids_are_answered_at_once() -> None:
    """A long set over a long history costs no more than both together."""
    server = Server()
    server.fill(*[b"x"] * 20_000)
    session = server.login("INBOX")
    server.mailbox().expunge(list(server.mailbox().messages))
    assert session.ok("ENABLE QRESYNC")
    wanted = ",".join(str(uid) for uid in range(1, 10_000, 2))
    said = session.data(f"UID FETCH {wanted} FLAGS (CHANGEDSINCE 1 VANISHED)")
    assert said[0] == f"* VANISHED (EARLIER) {wanted}"


@pytest.mark.parametrize("command", ["COPY 1 Archive", "UID COPY 1:2 Archive", "APPEND Archive {1}"])
def test_a_quota_holds_for_copies_too(command: str) -> None:
    """RFC 5530 3 and RFC 9208 5.1: OVERQUOTA is the answer to what would exceed the quota. A MOVE within the
    account takes no room."""
    server = filled()
    session = server.login("INBOX")
    assert session.ok("CREATE Archive")
    account = server.host.store.account(ALICE)
    assert account is not None
    account.properties["quota"] = sum(map(len, MAIL))
    more = ["x"] if "{" in command else []
    assert session.tagged(command, *more).startswith("NO [OVERQUOTA]")
    assert session.ok("MOVE 1 Archive")


@pytest.mark.parametrize(
    "shape", ["OR 1 " * 500 + "2", "OR " * 500 + "1 2" + " 3" * 499, "OR 4 OR (OR 1 2) NOT OR 3 4"]
)
def test_alternatives_are_not_limited_by_their_depth(shape: str) -> None:
    """RFC 3501 6.4.4: OR takes two search keys, and any of them may be an OR: programs ask for hundreds of Message-IDs
    so."""
    session = filled().login("INBOX")
    found = {"OR 1 ": "* SEARCH 1 2", "OR OR": "* SEARCH 1 2 3", "OR 4 ": "* SEARCH 1 2 4"}[shape[:5]]
    assert session.data(f"SEARCH {shape}") == [found]
    assert session.tagged(f"SEARCH {shape.rpartition(' ')[0]}").startswith("BAD")


def test_catenate_has_a_part() -> None:
    """RFC 4469 5: append-data =/ "CATENATE" SP "(" cat-part *(SP cat-part) ")"."""
    assert Server().login().tagged("APPEND INBOX CATENATE ()").startswith("BAD")


def test_a_search_that_is_no_search_leaves_what_was_saved() -> None:
    """RFC 5182 2.1: BAD leaves the search result variable unchanged, NO empties it."""
    session = filled().login("INBOX")
    assert session.ok("SEARCH RETURN (SAVE) 2:3")
    assert session.tagged("SEARCH RETURN (SAVE) BOGUS").startswith("BAD")
    assert session.data("FETCH $ UID") == ["* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)"]
    assert session.tagged("SEARCH RETURN (SAVE) CHARSET X-NONE ALL").startswith("NO [BADCHARSET")
    assert session.data("FETCH $ UID") == []


HOSTILE = {
    "boundaries": b'Content-Type: multipart/mixed; boundary="-"\r\n\r\n' + b"-" * 2_000_000,
    "lines that nearly are boundaries": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\r\n--bx" * 100_000,
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 100_000 + b"\r\n\r\nx",
    "replies": b"Subject: " + b"Re: " * 400_000 + b"\r\n\r\nx",
    "list names": b"Subject: " + b"[x]" * 400_000 + b"\r\n\r\nx",
    "forwards": b"Subject: " + b"[fwd: " * 60_000 + b"a" + b"]" * 60_000 + b"\r\n\r\nx",
    "references": b"References: " + b"".join(b"<%d@b> " % number for number in range(50_000)) + b"\r\n\r\nx",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_no_message_keeps_the_server_busy(content: bytes) -> None:
    """One loop serves all: what a message costs may grow with its length, not with the square of it."""
    server = Server()
    server.fill(content)
    session = server.login("INBOX")
    start = time.process_time()
    for command in (
        "FETCH 1 (ENVELOPE BODYSTRUCTURE PREVIEW BODY.PEEK[1.1] BINARY.SIZE[1])", "SEARCH SUBJECT zz",
        "SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL",
    ):  # fmt: skip
        assert session.ok(command)
    assert time.process_time() - start < 8


def test_values_with_nul_are_literal8() -> None:
    """RFC 5464 5: value = nstring / literal8; a literal has no NUL (RFC 3501 9: CHAR8)."""
    session = Server().login()
    assert session.send(b'a SETMETADATA "" (/private/x {3+}\r\na\0b)\r\n').startswith(b"a BAD")
    assert session.send(b'b SETMETADATA "" (/private/x ~{3+}\r\na\0b)\r\n').startswith(b"b OK")
    assert session.send(b'c GETMETADATA "" /private/x\r\n').startswith(b'* METADATA "" (/private/x ~{3}\r\na\0b)\r\n')
    assert session.send(b'd SETMETADATA "" (/private/x ~{2+}\r\nab)\r\n').startswith(b"d OK")
    assert session.send(b'e GETMETADATA "" /private/x\r\n').startswith(b'* METADATA "" (/private/x "ab")\r\n')


def test_no_literal_holds_nul() -> None:
    """RFC 3501 4.3.1, 9 (CHAR8): NUL goes out in a literal8 alone. The other sections have as many octets
    without it."""
    server = Server()
    server.fill(b'Subject: a\0b\r\nX\0Y: 1\r\nContent-Type: text/plain; name="a\0b"\r\n\r\nbody\0of\r\n')
    session = server.login("INBOX")
    for item in (
        "BODY[]", "BODY[TEXT]", "BODY[1]", "BODY[HEADER]", "BODY[HEADER.FIELDS (SUBJECT)]", "RFC822", "RFC822.HEADER",
        "RFC822.TEXT", "BODY[]<10.20>", "(UID BODY[])", "(BODY[] FLAGS)", "ENVELOPE", "BODYSTRUCTURE", "PREVIEW",
    ):  # fmt: skip
        assert "\0" not in "".join(session.command(f"FETCH 1 {item}")), item
    assert b"* 1 FETCH (BODY[TEXT] {9}\r\nbody\x80of\r\n)" in session.send("a FETCH 1 BODY[TEXT]\r\n")
    assert b"* 1 FETCH (BINARY[1] ~{9}\r\nbody\0of\r\n)" in session.send("a FETCH 1 BINARY[1]\r\n")
    size = len(server.mailbox().messages[0].raw)
    assert session.data("FETCH 1 RFC822.SIZE") == [f"* 1 FETCH (RFC822.SIZE {size})"]


@pytest.mark.parametrize(
    "command", [b"SELECT {1+}\r\n\0", b"APPEND INBOX {1+}\r\n\0", b"APPEND INBOX () {1+}\r\n\0", b"LIST {1+}\r\n\0 *"]
)
def test_no_literal_of_a_client_holds_nul(command: bytes) -> None:
    assert Server().login().tagged(command).startswith("BAD")


def test_a_bad_url_cannot_say_more_than_it_is() -> None:
    """RFC 4469 5: what stands in BADURL can end neither the code nor the line."""
    session = Server().login()
    url = b'/x"]\r\n* BYE at last\\'
    answer = session.command(b"APPEND INBOX CATENATE (URL {%d+}\r\n%b)" % (len(url), url))
    assert answer == ['NO [BADURL "/x%22%5D%0D%0A* BYE at last%5C"] Nothing there']
    assert session.tagged('APPEND INBOX CATENATE (URL "/x/;UID=1")') == 'NO [BADURL "/x/;UID=1"] Nothing there'


def test_recursivematch_shows_what_is_not_there_above_what_is_subscribed() -> None:
    """RFC 5258 3.5, 5 (example 9)."""
    session = Server().login()
    for command in ("CREATE foo2/bar1", "SUBSCRIBE foo2/bar1", "DELETE foo2/bar1", "DELETE foo2", "UNSUBSCRIBE INBOX"):
        assert session.ok(command)
    said = '* LIST (\\NonExistent) "/" foo2 ("CHILDINFO" ("SUBSCRIBED"))'
    assert session.data('LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"') == [said]
    assert session.data('LIST (SUBSCRIBED) "" "%"') == []


def test_a_name_without_a_mailbox_can_be_created() -> None:
    """RFC 3501 6.3.4: DELETE leaves the name for the sake of its inferiors; APPEND to it is told to create it."""
    session = Server().login()
    assert session.ok("CREATE a/b")
    assert session.ok("DELETE a")
    validity = session.data("STATUS a/b (UIDVALIDITY)")
    assert session.tagged("APPEND a {1+}\r\nx").startswith("NO [TRYCREATE]")
    assert session.ok("CREATE a")
    assert session.ok("APPEND a {1+}\r\nx")
    assert session.data('LIST "" a') == ['* LIST (\\HasChildren) "/" a']
    assert session.data("STATUS a/b (UIDVALIDITY)") == validity
    assert session.tagged("CREATE a").startswith("NO [ALREADYEXISTS]")


def test_notify_tells_the_old_name_to_who_watches_both() -> None:
    """RFC 5465 5.4."""
    server = Server()
    session, other = server.login(), server.login()
    assert other.ok("CREATE x/a")
    assert session.ok("NOTIFY SET (SUBTREE x (MailboxName)) (MAILBOXES y (MessageNew MessageExpunge MailboxName))")
    assert other.ok("RENAME x/a x/b")
    assert session.stirred() == ['* LIST (\\HasNoChildren) "/" x/b ("OLDNAME" (x/a))']
    assert other.ok("RENAME x/b z")
    assert session.stirred() == ['* LIST (\\NonExistent) "/" x/b']
    assert other.ok("RENAME z y")
    assert session.stirred() == ['* LIST (\\HasNoChildren) "/" y']
    # The name stays, and another mailbox comes to be called so.
    assert other.ok("CREATE y/in")
    assert other.ok("DELETE y")
    assert other.ok("CREATE y")
    session.stirred()
    assert other.ok("APPEND y {1+}\r\nx")
    assert [line[: len("* STATUS y (MESSAGES 1 ")] for line in session.stirred()] == ["* STATUS y (MESSAGES 1 "]


@pytest.mark.parametrize(
    "command",
    [
        "SEARCH OLDER 0",
        "SEARCH YOUNGER 0",
        "SELECT INBOX ()",
        'LIST "" ()',
        'LIST "" % RETURN (STATUS ())',
        "UID SEARCH NOT OLDER 0",
    ],
)
def test_what_the_grammar_has_no_room_for(command: str) -> None:
    """RFC 5032 4: nz-number; RFC 4466 2.1, RFC 5258 6: at least one."""
    assert filled().login("INBOX").tagged(command).startswith("BAD")


ODD = [
    b"Content-Type: message/rfc822\r\n\r\n" * 45 + b"x\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * 45 + b"\r\nx\r\n",
    b"Content-Type: multipart/mixed\r\n\r\nx",
    b'Content-Type: multipart/digest; boundary=""\r\n\r\nx',
    b"Content-Type: ;;;\r\nContent-Transfer-Encoding: \xff\xfe\r\nContent-Language: ,,\r\n\r\nx",
    b'Content-Type: message/global; x="open\r\n\r\nSubject: \xc3\xbc\r\n\r\nx',
    b"Content-Disposition: ;\r\nFrom: a\rb <c@d>\r\nTo: ,,;\r\nCc: a:b;\r\nMessage-ID: \r\n\r\n",
    b'From: "a\r\n b" <@r:x@y>, (c\r\nSubject: =?x?=\r\n\tb\r\n\r\n',
    b"",
    b"no header",
]


@pytest.mark.parametrize("number", range(len(ODD)))
def test_what_is_said_of_odd_messages_is_right_by_the_grammar(number: int) -> None:
    server = Server()
    server.fill(ODD[number])
    session = server.login("INBOX")
    for item in (
        "ENVELOPE", "BODYSTRUCTURE", "BODY", "BODY[1]", "BODY[1.1]", "BODY[1.MIME]", "BODY[1.HEADER]", "BODY[TEXT]",
        'BODY[HEADER.FIELDS.NOT (From "x y" {2+}\r\na])]', "BINARY[]", "PREVIEW", "RFC822.HEADER",
        "(EMAILID THREADID SAVEDATE INTERNALDATE MODSEQ RFC822.SIZE)",
    ):  # fmt: skip
        assert session.ok(f"FETCH 1 {item}"), item


def test_a_message_without_text_has_an_empty_preview() -> None:
    """RFC 8970 3.2: NIL is for a preview that is not there yet, and for LAZY alone."""
    server = Server()
    server.fill(b"Content-Type: image/png\r\n\r\nx", b"\r\n")
    assert server.login("INBOX").data("FETCH 1:2 PREVIEW") == ['* 1 FETCH (PREVIEW "")', '* 2 FETCH (PREVIEW "")']
