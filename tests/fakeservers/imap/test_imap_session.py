"""Sessions without sockets: logins, rules, limits, several sessions, and input of any kind."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_dialogue import ALICE, Dialogue, Server, lines, offering, with_imap

import fakeservers.imap
from fakeservers.actions import Action, Cut, End, More, Send, Wait
from fakeservers.imap.options import OPTIONS
from fakeservers.imap.replies import DEFAULTS
from fakeservers.profile import ImapProfile, load_profile

MAIL = b"From: a@b.test\r\nSubject: one\r\n\r\nHello world\r\n"


def b64(text: bytes) -> str:
    return base64.b64encode(text).decode()


# --- logging in


@pytest.mark.parametrize(
    "parts",
    [
        (f"LOGIN {ALICE} secret",),
        (f'login "{ALICE}" "secret"',),
        ("LOGIN {18}", ALICE + " {6}", "secret"),
        (f"LOGIN {ALICE} {{6+}}\r\nsecret",),
        ("AUTHENTICATE PLAIN", b64(f"\0{ALICE}\0secret".encode())),
        ("AUTHENTICATE PLAIN " + b64(f"\0{ALICE}\0secret".encode()),),
        ("authenticate login", b64(ALICE.encode()), b64(b"secret")),
    ],
    ids=range(7),
)  # fmt: skip
def test_every_way_to_say_a_password(parts: tuple[str, ...]) -> None:
    server = Server()
    session = server.session()
    assert session.ok(*parts)
    assert session.connection.account is not None
    said = "\n".join(server.said_by_client())
    assert "secret" not in said
    assert b64(f"\0{ALICE}\0secret".encode()) not in said
    assert "***" in said
    assert [event.facts["tls"] for event in server.events("secret")] == [False]


@pytest.mark.parametrize(
    "line",
    [
        f"LOGIN {ALICE} hunter2", f" a LOGIN {ALICE} hunter2", f"a\tlogin {ALICE} hunter2",
        f"a LOGIN\t{ALICE}\thunter2", f"a \0LOGIN {ALICE} hunter2", f"a LOGIN {ALICE}\rhunter2",
        "AUTHENTICATE PLAIN hunter2",
    ],
)  # fmt: skip
def test_a_password_in_a_mistyped_command_is_hidden(line: str) -> None:
    server = Server()
    session = server.session()
    assert " BAD " in session.send(f"{line}\r\n").decode()
    assert session.connection.account is None
    (said,) = server.said_by_client()
    assert "hunter2" not in said
    assert "***" in said


def test_a_wrong_password_is_hidden_too() -> None:
    server = Server()
    assert server.session().tagged(f'LOGIN {ALICE} "hunter 2"').startswith("NO [AUTHENTICATIONFAILED]")
    assert not any("hunter" in line for line in server.said_by_client())
    account = server.host.store.account(ALICE)
    assert account is not None
    assert account.tally.total("failed_logins") == 1


def demanding_tls() -> Server:
    profile = load_profile("generic")
    service = profile.services["imap"].model_copy(update={"tls_required": True})
    return Server(profile.model_copy(update={"services": {**profile.services, "imap": service}}))


def test_login_needs_tls_where_the_service_says_so() -> None:
    session = demanding_tls().session()
    assert b"LOGINDISABLED" in session.greeting
    assert b"AUTH=" not in session.greeting
    assert session.tagged(f"LOGIN {ALICE} secret").startswith("NO [PRIVACYREQUIRED]")
    assert session.tagged("AUTHENTICATE PLAIN").startswith("NO [PRIVACYREQUIRED]")
    secure = demanding_tls().session(tls=True)
    assert b"LOGINDISABLED" not in secure.greeting
    assert secure.ok(f"LOGIN {ALICE} secret")


def test_login_is_refused_where_the_profile_says_that_it_is_off() -> None:
    """RFC 9051 section 6.2.3: LOGINDISABLED holds under TLS too."""
    imap = load_profile("generic").imap
    server = Server(
        load_profile("generic").model_copy(
            update={"imap": imap.model_copy(update={"capabilities": [*imap.capabilities, "LOGINDISABLED"]})}
        )
    )
    session = server.session(tls=True)
    assert b"LOGINDISABLED" in session.greeting
    assert session.tagged(f"LOGIN {ALICE} secret") == "NO [CANNOT] LOGIN is disabled"


def test_plaintext_behind_starttls_is_dropped() -> None:
    server = Server()
    session = server.session()
    said = session.send(b"a STARTTLS\r\nb LOGIN alice@example.test secret\r\n")
    assert lines(said) == ["a OK Begin TLS negotiation now"]
    assert session.began_tls
    assert [event.facts["octets"] for event in server.events("plaintext-after-starttls")] == [35]
    assert session.connection.account is None


def test_capabilities_follow_the_state() -> None:
    session = Server().session()
    [before] = session.data("CAPABILITY")
    assert "STARTTLS" in before
    assert "AUTH=SCRAM-SHA-256" in before
    after = session.tagged(f"LOGIN {ALICE} secret")
    assert "STARTTLS" not in after
    assert "AUTH=" not in after


# --- rules


def rule(at: str, **more: object) -> dict[str, object]:
    return {"name": "r", "at": at, **more}


def test_a_rule_refuses_with_the_tag() -> None:
    server = Server(rules=[rule("imap.select", when={"mailbox": "INBOX"}, reply="NO [UNAVAILABLE] {mailbox} is away")])
    session = server.login()
    assert session.tagged("SELECT INBOX") == "NO [UNAVAILABLE] INBOX is away"
    assert session.session.selected is None


def test_an_accepting_rule_has_the_commands_effect() -> None:
    session = Server(rules=[rule("imap.select", untagged="OK [ALERT] hello", reply="OK Fine")]).login()
    answer = session.command("SELECT INBOX")
    assert answer[0] == "* OK [ALERT] hello"
    assert "* 0 EXISTS" in answer
    assert answer[-1] == "OK Fine"


def test_a_rule_that_writes_the_tag_itself_is_the_whole_answer() -> None:
    session = Server(rules=[rule("imap.create", reply="* X\n{tag} OK Fine")]).login()
    assert session.command("CREATE Away") == ["* X", "OK Fine"]
    assert not any("Away" in line for line in session.data('LIST "" *'))


def test_a_silent_rule_says_and_does_nothing() -> None:
    session = Server(rules=[rule("imap.create", reply="")]).login()
    assert session.command("CREATE x") == []
    assert not any("x" in line for line in session.data('LIST "" *'))


def test_a_rule_refuses_a_literal_before_it_has_come() -> None:
    large = rule(
        "imap.literal", when={"size": {"at_least": 100}, "mailbox": "INBOX"}, reply="NO [TOOBIG] {size} octets"
    )
    slow = rule("imap.literal", when={"command": "append"}, delay=2) | {"name": "slow"}
    session = Server(rules=[large, slow]).login()
    assert session.command("APPEND INBOX (\\Seen) {100}") == ["NO [TOOBIG] 100 octets"]
    session.actions.clear()
    assert session.ok("APPEND INBOX {3}", "abc")
    assert Wait(2) in session.actions
    assert session.tagged("APPEND Other {100}").startswith("+")


def test_a_server_may_look_for_the_mailbox_before_the_message() -> None:
    session = Server(with_imap(options={"append_checks_first": True})).login()
    assert session.command("APPEND nowhere {3}")[0].startswith("NO [TRYCREATE]")
    assert session.ok("APPEND INBOX {3}", "abc")


def test_a_bye_ends_the_connection() -> None:
    server = Server(rules=[rule("imap.fetch", reply="BYE System Error")])
    server.fill(MAIL)
    session = server.login("INBOX")
    assert session.command("UID FETCH 1 FLAGS") == ["* BYE System Error"]
    assert session.ended
    assert session.send("x NOOP\r\n") == b""


def test_a_greeting_can_refuse() -> None:
    session = Server(rules=[rule("imap.connect", reply="BYE Too many connections")]).session()
    assert session.greeting == b"* BYE Too many connections\r\n"
    assert session.ended


def test_rules_at_credentials_see_the_account() -> None:
    quirk = rule(
        "imap.credentials", when={"credentials": "right", "account.imap_off": True}, reply="NO [ALERT] Disabled"
    )
    server = Server(rules=[quirk])
    account = server.host.store.account(ALICE)
    assert account is not None
    account.properties["imap_off"] = True
    session = server.session()
    assert session.tagged(f"LOGIN {ALICE} secret") == "NO [ALERT] Disabled"
    assert session.tagged("AUTHENTICATE PLAIN " + b64(f"\0{ALICE}\0secret".encode())) == "NO [ALERT] Disabled"
    assert session.connection.account is None
    assert session.ok("LOGIN bob@example.test secret")


def test_delays_and_endings_keep_the_servers_own_answer() -> None:
    session = Server(rules=[rule("imap.noop", delay=3, truncate=5, then="reset")]).login()
    session.actions.clear()
    session.send("abc NOOP\r\n")
    assert session.actions == [Wait(3), Send(b"abc O", None, "r"), End("reset", "r")]


def test_an_idle_rule_and_the_rules_capabilities() -> None:
    session = Server(rules=[rule("imap.capability", capabilities={"remove": ["IDLE"], "add": ["X-NEW"]})]).session()
    [said] = session.data("CAPABILITY")
    assert "IDLE" not in said.split()
    assert said.endswith("X-NEW")


def test_what_is_offered_and_lacks_is_told_to_the_harness() -> None:
    server = Server(offering("XYZZY"))
    assert server.login().tagged("XYZZY").startswith("BAD")
    assert [event.facts["capability"] for event in server.events("unimplemented")] == ["XYZZY"]
    other = Server()
    assert other.login().tagged("XYZZY").startswith("BAD")
    assert not other.events("unimplemented")


@pytest.mark.parametrize(
    ("capability", "command"),
    [
        ("SORT", "SORT (DATE) UTF-8 ALL"),
        ("PREVIEW", "FETCH 1 PREVIEW"),
        ("SAVEDATE", "SEARCH SAVEDATESUPPORTED"),
        ("OBJECTID", "STATUS INBOX (MAILBOXID)"),
        ("SEARCHRES", "SEARCH RETURN (SAVE) ALL"),
        ("X-GM-EXT-1", "STORE 1 +X-GM-LABELS (x)"),
    ],
)
def test_a_part_of_a_command_that_is_lacked_is_told_too(capability: str, command: str) -> None:
    server = Server(offering(capability).model_copy(update={"unimplemented": [capability]}))
    server.fill(MAIL)
    assert server.login("INBOX").tagged(command) == f"BAD mailrig lacks {capability}"
    assert [event.facts["capability"] for event in server.events("unimplemented")] == [capability]


# --- limits


def test_a_literal_over_the_limit_is_refused_before_it_is_read() -> None:
    server = Server(with_imap(literal_limit=100))
    session = server.login()
    assert session.command("APPEND INBOX {101}") == ["NO [TOOBIG] Literal is too big"]
    assert session.ok("NOOP")
    assert session.send(b"a APPEND INBOX {101+}\r\n" + b"x" * 60) == b""
    assert session.send(b"x" * 41 + b"\r\nb NOOP\r\n") == b"a NO [TOOBIG] Literal is too big\r\nb OK NOOP completed\r\n"
    assert len(server.events("literal-refused")) == 1
    assert session.send(b"c APPEND INBOX {99999999999999999999+}\r\n") == b""


def test_a_line_over_the_limit_is_bad_and_the_next_is_read() -> None:
    session = Server(with_imap(line_limit=100)).login()
    assert session.send(b"a NOOP " + b"x" * 5000) == b""
    assert session.send(b"\r\nb NOOP\r\n") == b"a BAD Command line is too long\r\nb OK NOOP completed\r\n"


def test_too_many_bad_commands_in_a_row() -> None:
    session = Server(with_imap(bad_commands=3)).session()
    session.command("X")
    session.command("X")
    session.command("NOOP")
    session.command("X")
    session.command("X")
    assert not session.ended
    assert session.command("X")[-1].startswith("* BYE")
    assert session.ended


def test_autologout() -> None:
    session = Server().login()
    assert lines(session._said(session.session.timed_out())) == ["* BYE Autologout; idle for too long"]
    assert session.ended


# --- mailboxes


def test_rename_of_inbox_moves_its_messages() -> None:
    server = Server()
    server.fill(MAIL, MAIL)
    session = server.login("INBOX")
    assert "* 1 EXPUNGE" in session.data("RENAME INBOX old")
    assert session.data("STATUS old (MESSAGES)") == ["* STATUS old (MESSAGES 2)"]
    assert session.data("STATUS INBOX (MESSAGES)") == ["* STATUS INBOX (MESSAGES 0)"]


def test_names_with_any_characters() -> None:
    session = Server().login()
    assert session.ok('CREATE "Entw&APw-rfe/&ZeVnLIqe-"')
    assert session.data('LIST "" "*rfe*"') == [
        '* LIST (\\HasChildren) "/" Entw&APw-rfe',
        '* LIST (\\HasNoChildren) "/" Entw&APw-rfe/&ZeVnLIqe-',
    ]
    assert session.ok('CREATE "with \\"quotes\\""')
    assert session.data('LIST "" "with*"') == ['* LIST (\\HasNoChildren) "/" "with \\"quotes\\""']
    assert session.tagged("CREATE a//b").startswith("NO")
    assert session.tagged(b"CREATE {3+}\r\na\r\n").startswith("NO")


@pytest.mark.parametrize("delimiter", [".", "\\", "|"])
def test_any_hierarchy_delimiter(delimiter: str) -> None:
    session = Server(with_imap(delimiter=delimiter)).login()
    quoted = delimiter.replace("\\", "\\\\")
    assert session.ok(f'CREATE "a{quoted}b{quoted}"')
    assert session.data('LIST "" "%"') == [
        f'* LIST (\\HasNoChildren) "{quoted}" INBOX',
        f'* LIST (\\HasChildren) "{quoted}" a',
    ]
    assert session.data(f'LIST "" "a{quoted}%"')[0].startswith("* LIST (\\HasNoChildren)")
    assert session.ok('RENAME a "c/d"'), "another delimiter's character is one like all others"
    assert len(session.data('LIST "" "c*"')) == 2


def test_names_without_a_hierarchy() -> None:
    session = Server(with_imap(delimiter="", namespace='(("" NIL)) NIL NIL')).login()
    assert session.ok('CREATE "a/b.c"')
    assert session.data('LIST "" "%"')[1] == "* LIST (\\HasNoChildren) NIL a/b.c"
    assert session.ok("RENAME a/b.c x")
    assert session.data('LIST "" ""') == ['* LIST (\\Noselect) NIL ""']
    assert session.data("NAMESPACE") == ['* NAMESPACE (("" NIL)) NIL NIL']


def test_a_namespace_with_a_prefix() -> None:
    session = Server(with_imap(delimiter=".", namespace='(("INBOX." ".")) NIL (("shared." "."))')).login()
    assert session.tagged("CREATE Work").startswith("NO [CANNOT]")
    assert session.ok("CREATE INBOX.Work")
    assert session.ok("CREATE shared.Team")
    assert session.tagged("RENAME INBOX.Work Work").startswith("NO [CANNOT]")
    assert session.ok("DELETE INBOX.Work")


def test_utf8_names_after_enable() -> None:
    session = Server().login()
    assert session.tagged('CREATE "Größe"').startswith("NO [CANNOT]"), "RFC 3501 5.1"
    assert session.data("ENABLE UTF8=ACCEPT") == ["* ENABLED UTF8=ACCEPT"]
    assert session.ok('CREATE "Entwürfe"')
    assert session.data('LIST "" "E*"') == ['* LIST (\\HasNoChildren) "/" "Entwürfe"']


# --- searching

DATED = b"Date: Mon, 5 Feb 1996 23:00:00 -0800\r\n\r\n"
IN_BASE64 = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
SEARCHED = [
    b"From: A <alice@a.test>\r\nTo: bob@b.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" + DATED + b"plain body\r\n",
    b"From: Bob\r\nCc: carol@c.test\r\nX-Spam: yes\r\n\r\nRechnungOnline liegt bei\r\n",
    b"Subject: encoded\r\n" + IN_BASE64 + b"R3LDvMOfZSBhdXMgSmVuYQ==\r\n",
]


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("ALL", "1 2 3"), ("1:2", "1 2"), ("*", "3"), ("2:*", "2 3"), ("NOT 1", "2 3"), ("UID 3:*,1", "1 3"),
        ("7:9", ""),
        ("FROM alice", "1"), ("FROM BOB", "2"), ("TO b.test", "1"), ("CC carol", "2"), ("BCC x", ""),
        ('SUBJECT "encod"', "3"), ("HEADER X-SPAM \"\"", "2"), ("HEADER x-spam no", ""),
        ("OR FROM alice CC carol", "1 2"),
        ("BODY rechnung", "2"), ("TEXT plain", "1 3"), ("BODY jena", "3"), ("SEEN", "2"), ("UNSEEN", "1 3"),
        ("KEYWORD Work", "3"), ("UNKEYWORD work", "1 2"), ("LARGER 100", "1 3"), ("SMALLER 100", "2"),
        ("SENTON 5-Feb-1996", "1"), ("SENTSINCE 6-Feb-1996", ""), ("SENTBEFORE \"6-Feb-1996\"", "1"),
        ("ON 17-Jul-1996", "1 2 3"), ("BEFORE 17-Jul-1996", ""), ("SINCE 17-Jul-1996", "1 2 3"),
        ("(OR (SEEN) (FROM alice)) NOT DELETED", "1 2"), ("RECENT", "1 2 3"), ("NEW", "1 3"), ("OLD", ""),
        ("CHARSET UTF-8 ALL", "1 2 3"), ("ANSWERED", ""), ("UNDRAFT UNFLAGGED UNDELETED UNANSWERED", "1 2 3"),
    ],
)  # fmt: skip
def test_search_keys(program: str, found: str) -> None:
    session = searched()
    assert session.data(f"SEARCH {program}") == [f"* SEARCH {found}".rstrip()]
    assert session.data(f"UID SEARCH {program}") == [f"* SEARCH {found}".rstrip()]


def searched(**options: bool) -> Dialogue:
    server = Server(with_imap(options=options))
    server.fill(*SEARCHED)
    session = server.login("INBOX")
    assert session.ok("STORE 2 +FLAGS (\\Seen)")
    assert session.ok("STORE 3 +FLAGS (work)")
    return session


def test_search_in_utf8() -> None:
    session = searched()
    assert session.data(b"SEARCH CHARSET UTF-8 TEXT {6+}\r\nGR\xc3\x9c\xc3\x9f") == ["* SEARCH 1 3"]
    assert session.tagged("SEARCH CHARSET KOI8-R ALL").startswith("NO [BADCHARSET")
    assert session.tagged(b"SEARCH CHARSET US-ASCII TEXT {2+}\r\n\xc3\x9c").startswith("BAD")


def test_search_for_whole_words() -> None:
    session = searched(search_whole_words=True)
    assert session.data("SEARCH BODY rechnung") == ["* SEARCH"]
    assert session.data("SEARCH BODY liegt") == ["* SEARCH 2"]


def test_extended_search() -> None:
    server = Server(offering("ESEARCH"))
    server.fill(MAIL, MAIL, MAIL)
    session = server.login("INBOX")
    [said] = session.data("UID SEARCH RETURN (MIN MAX COUNT ALL) ALL")
    assert said == f'* ESEARCH (TAG "t{session._tag}") UID MIN 1 MAX 3 COUNT 3 ALL 1:3'
    [said] = session.data("SEARCH RETURN () SEEN")
    assert said == f'* ESEARCH (TAG "t{session._tag}")'


@pytest.mark.parametrize(
    "program", ["", "FOO", "FROM", "(ALL", "()", "NOT", "OR ALL", "SINCE 99-Jan-2024", "LARGER x", "UID", "UID a"]
)
def test_bad_search_programs(program: str) -> None:
    assert searched().tagged(f"SEARCH {program}").startswith("BAD")


# --- fetching


def test_sections_and_partial_ranges() -> None:
    server = Server()
    server.fill(MAIL)
    session = server.login("INBOX")
    assert session.data("FETCH 1 BODY.PEEK[TEXT]<6.5>") == ["* 1 FETCH (BODY[TEXT]<6> {5}", "world)"]
    assert session.data("FETCH 1 (BODY.PEEK[]<1000.5>)") == ["* 1 FETCH (BODY[]<1000> {0}", ")"]
    assert session.data("FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (from)]") == [
        "* 1 FETCH (BODY[HEADER.FIELDS.NOT (from)] {16}", "Subject: one", "", ")",
    ]  # fmt: skip
    assert session.data("FETCH 1 BODY.PEEK[2]") == ["* 1 FETCH (BODY[2] NIL)"]
    assert session.data("FETCH 1 (RFC822.HEADER UID UID)")[0] == "* 1 FETCH (RFC822.HEADER {32}"
    assert session.data("FETCH 1 FLAGS") == ["* 1 FETCH (FLAGS (\\Recent))"]
    assert session.data("FETCH 1 RFC822.TEXT")[-1] == " FLAGS (\\Seen \\Recent))"


@pytest.mark.parametrize(
    "items",
    [
        "",
        "()",
        "BODY[",
        "BODY[0]",
        "BODY[MIME]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[]<0.0>",
        "FOO",
        "(FLAGS",
        "BODY[1.FOO]",
        "FLAGS UID",
    ],
)
def test_bad_items(items: str) -> None:
    server = Server()
    server.fill(MAIL)
    assert server.login("INBOX").tagged(f"FETCH 1 {items}").startswith("BAD")


def test_condstore() -> None:
    server = Server(offering("CONDSTORE"))
    server.fill(MAIL, MAIL)
    session = server.login()
    highest = next(line for line in session.data("SELECT INBOX (CONDSTORE)") if "HIGHESTMODSEQ" in line)
    modseq = int(highest.split()[3].rstrip("]"))
    assert session.data("STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Flagged)") == []
    answer = session.command(f"STORE 1:2 (UNCHANGEDSINCE {modseq - 1}) +FLAGS.SILENT (\\Flagged)")
    assert answer == [f"* 1 FETCH (UID 1 MODSEQ ({modseq + 1}))", "OK [MODIFIED 2] Conditional STORE failed"]
    assert session.data(f"FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})") == [
        f"* 1 FETCH (FLAGS (\\Flagged \\Recent) MODSEQ ({modseq + 1}))"
    ]
    assert session.data(f"SEARCH MODSEQ {modseq + 1}") == [f"* SEARCH 1 (MODSEQ {modseq + 1})"]


def test_deleted_mail_goes_at_once_where_that_is_the_manner() -> None:
    server = Server(with_imap(options={"deleted_auto_expunge": True}))
    server.fill(MAIL, MAIL)
    session = server.login("INBOX")
    assert session.data("STORE 1 +FLAGS (\\Deleted)") == ["* 1 FETCH (FLAGS (\\Deleted \\Recent))", "* 1 EXPUNGE"]


# --- any input

WORDS = st.sampled_from(
    [
        *(
            "a1",
            "LOGIN",
            "alice@example.test",
            "secret",
            "SELECT",
            "INBOX",
            "FETCH",
            "1:*",
            "(",
            ")",
            "BODY[]",
            "STORE",
        ),
        *(
            "BODY.PEEK[HEADER.FIELDS",
            "(TO)]",
            "<0.1>",
            "+FLAGS",
            "\\Seen",
            "SEARCH",
            "OR",
            "NOT",
            "TEXT",
            "UID",
            "COPY",
        ),
        *("EXPUNGE", "{3}", "{3+}", "{0}", '"', "\\", "*", "%", "IDLE", "DONE", "AUTHENTICATE", "PLAIN", "=", "APPEND"),
        *(
            "LIST",
            "NIL",
            "CREATE",
            "RENAME",
            "STATUS",
            "MESSAGES",
            "CLOSE",
            "ENABLE",
            "ID",
            "0",
            "$",
            "~{2+}",
            "SORT",
            "THREAD",
            "REFERENCES",
            "UTF-8",
            "(DATE)",
            "RETURN",
            "(SAVE)",
            "GETMETADATA",
            "NOTIFY",
            "SET",
            "QRESYNC",
            "IMAP4rev2",
            "CATENATE",
            "BINARY[1]",
            "CHANGEDSINCE",
            "4294967296",
            "\0",
            "ÿ",
        ),
    ]
)
TALK = st.lists(st.lists(WORDS, max_size=8).map(" ".join), max_size=8).map(
    lambda said: "\r\n".join(said).encode("latin-1")
)


@settings(deadline=None)
@given(TALK | st.binary(max_size=200), st.lists(st.integers(1, 12), max_size=60), st.booleans())
def test_no_input_harms(data: bytes, cuts: list[int], logged_in: bool) -> None:
    def answers(pieces: list[bytes]) -> bytes:
        server = Server(with_imap(bad_commands=None))
        server.fill(MAIL, MAIL)
        session = server.login("INBOX") if logged_in else server.session()
        said = b"".join(session.send(piece) for piece in pieces)
        session.session.closed()
        return said

    pieces = []
    rest = data + b"\r\n"
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    assert answers([data + b"\r\n"]) == answers([*pieces, rest])


@given(
    st.lists(
        st.sampled_from([b"a FETCH (", b"b SEARCH (((", b'c LIST "x', b"d APPEND INBOX {x}", b"\xff\x00", b"e"]),
        min_size=1,
    )
)
def test_a_malformed_command_never_eats_the_next(bad: list[bytes]) -> None:
    session = Server(with_imap(bad_commands=None)).login("INBOX")
    for line in bad:
        assert b" BAD " in session.send(line + b"\r\n")
        assert session.ok("NOOP")


def test_deep_nesting_is_refused() -> None:
    session = Server().login("INBOX")
    assert session.tagged("SEARCH " + "(" * 5000 + "ALL" + ")" * 5000).startswith("BAD")
    assert session.tagged("SEARCH " + "NOT " * 5000 + "ALL").startswith("BAD")
    assert session.tagged("FETCH 1:* " + "(" * 5000).startswith("BAD")


def test_a_full_mailbox_refuses_mail() -> None:
    server = Server()
    account = server.host.store.account(ALICE)
    assert account is not None
    account.properties["quota"] = 4096
    session = server.login()
    assert session.ok(f"APPEND INBOX {{3000+}}\r\n{'x' * 3000}")
    assert session.tagged(f"APPEND INBOX {{3000+}}\r\n{'x' * 3000}").startswith("NO [OVERQUOTA]")
    assert session.data('GETQUOTA ""') == ['* QUOTA "" (STORAGE 2 4)']


def test_xlist_names_special_uses_its_own_way() -> None:
    server = Server(with_imap("gmail", options={}).model_copy(update={"unimplemented": []}))
    said = server.session("imaps", tls=True)
    assert said.ok(f"LOGIN {ALICE} secret")
    listed = said.data('XLIST "" "*"')
    assert '* XLIST (\\HasNoChildren \\Inbox) "/" Inbox' in listed
    assert '* XLIST (\\AllMail \\HasNoChildren) "/" "[Gmail]/All Mail"' in listed


def test_search_by_age() -> None:
    server = Server()
    server.fill(MAIL)
    server.host.clock.advance(100)
    session = server.login("INBOX")
    assert session.data("SEARCH OLDER 100") == ["* SEARCH 1"]
    assert session.data("SEARCH YOUNGER 99") == ["* SEARCH"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"replies": {"login.fail": "NO"}}, 'unknown reply "login.fail": did you mean "login.failed"'),
        ({"options": {"idle_strikt": True}}, 'unknown option "idle_strikt": did you mean "idle_strict"'),
        ({"options": {"idle_strict": "yes"}}, 'option "idle_strict" takes bool'),
    ],
)
def test_a_profile_with_what_no_server_knows(part: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImapProfile.model_validate(part)


def test_every_reply_has_its_status_word() -> None:
    for key, text in DEFAULTS.items():
        assert text.startswith(("OK ", "NO ", "BAD ", "BYE ", "+ ")), key


def test_a_greeting_can_let_the_client_in() -> None:
    session = Server(rules=[rule("imap.connect", reply="PREAUTH welcome")]).session()
    assert session.greeting == b"* PREAUTH welcome\r\n"
    assert session.ok("SELECT INBOX")


def test_every_option_is_known_to_the_server() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(fakeservers.imap.__file__).parent.rglob("*.py"))
    assert [name for name in OPTIONS if f"manners.{name}" not in source] == []


UPLOADS = (
    b"a APPEND INBOX {5+}\r\nhello\r\n", b"a append inBox {0+}\r\n\r\n", b"a APPEND none {2+}\r\nhi\r\n",
    b"a APPEND a&b {2+}\r\nhi\r\n", b'a APPEND "INBOX" (\\Seen $x) "17-Jul-1996 02:44:25 -0700" {2+}\r\n\r\n\r\n',
    b"a APPEND INBOX {2+}\r\n\0x\r\n", b"a APPEND INBOX  {2+}\r\nhi\r\n", b"a APPEND INBOX {2+}\r\nhi {1+}\r\nx\r\n",
    b"a APPEND INBOX {2+}\r\nhi x\r\n", b"a APPEND INBOX {2+}\r\nhi\nb NOOP\r\n", b"DONE\r\n",
    b"a APPEND {5+}\r\nINBOX {1+}\r\nx\r\n", b"a APPEND INBOX {2+}\r\nhi\r\n",
    b"a APPEND INBOX {50000000+}\r\n", b"a NOOP\r\n", b"a APPEND INBOX ~{2+}\r\n\0x\r\n", b"a IDLE\r\n",
    b"a LOGIN b {1+}\r\nc\r\n", b"a XAPPEND INBOX {2+}\r\nhi\r\n", b"a APPEND (INBOX {2+}\r\nhi\r\n",
)  # fmt: skip


@given(st.lists(st.sampled_from(UPLOADS), min_size=1, max_size=5), st.booleans())
def test_uploads_in_one_piece_are_read_as_those_that_come_by_octets(commands: list[bytes], logged_in: bool) -> None:
    servers = Server(with_imap(bad_commands=None)), Server(with_imap(bad_commands=None))
    sessions = [server.login() if logged_in else server.session(tls=True) for server in servers]
    sent = b"".join(commands)
    together = sessions[0].send(sent)
    apart = b"".join(sessions[1].send(sent[at : at + 1]) for at in range(len(sent)))
    # An upload that is too large for anybody may not have come to its end.
    assert together == apart
    stored = [[(each.content, each.flags, each.received) for each in server.mailbox().messages] for server in servers]
    assert stored[0] == stored[1]
    assert servers[0].said_by_client() == servers[1].said_by_client()
    for session in sessions:
        session.session.closed()
    assert [str(entry.facts) for entry in servers[0].host.transcript] == [
        str(entry.facts) for entry in servers[1].host.transcript
    ]


def test_many_long_answers_are_made_as_the_client_takes_them() -> None:
    """A few kilobytes of commands must not make the server hold gigabytes, and what was pipelined behind is read on."""
    server = Server()
    server.fill(b"x" * 200_000)
    session = server.login("INBOX")
    actions: Sequence[Action] = session.session.receive(b"a FETCH 1 BODY.PEEK[]\r\n" * 1000 + b"b NOOP\r\n")
    pieces = 0
    while isinstance(actions[-1], More):
        assert sum(len(action.data) for action in actions if isinstance(action, Send)) < 1_000_000
        pieces += 1
        actions = actions[-1].proceed()
    assert pieces >= 200
    assert isinstance(actions[-1], Send)
    assert actions[-1].data == b"b OK NOOP completed\r\n"


def test_a_rule_hears_of_a_literal_that_comes_unasked() -> None:
    """RFC 7888 4: the server may answer before it has the octets, and has to swallow them all the same."""
    large = rule("imap.literal", when={"size": {"at_least": 100}}, reply="NO [TOOBIG] {size} octets")
    slow = rule("imap.literal", when={"size": 3}, delay=2) | {"name": "slow"}
    session = Server(rules=[large, slow]).login()
    assert session.send("a APPEND INBOX {100+}\r\nx NOOP\r\n") == b"a NO [TOOBIG] 100 octets\r\n"
    assert session.send("x" * 92 + " {4+}\r\nabcd {4}\r\nb NOOP\r\n") == b"b OK NOOP completed\r\n"
    session.actions.clear()
    assert session.ok("APPEND INBOX {3+}\r\nabc")
    assert Wait(2) in session.actions
    assert session.ok("APPEND INBOX {4+}\r\nabcd")


@pytest.mark.parametrize(("after", "answered"), [(0, 0), (7, 0), (8, 1), (15, 1), (16, 2), (17, 2)])
def test_a_cut_counts_the_octets_that_have_come_already(after: int, answered: int) -> None:
    """Commands behind the one that the rule met are carried out as far as the client got with them."""
    session = Server(rules=[rule("imap.create", cut={"after": after, "how": "close"})]).login()
    said = session.send("a CREATE x\r\nb NOOP\r\nc NOOP\r\n")
    assert said.count(b" OK ") == 1 + answered
    assert session.ended == (after <= 16)
    assert (Cut(1, "close", "r") in session.actions) == (after == 17)


@pytest.mark.parametrize("sent", [2, 10])
@pytest.mark.parametrize("after", [0, 5, 11])
def test_a_literal_is_cut(after: int, sent: int) -> None:
    server = Server(rules=[rule("imap.literal", cut={"after": after, "how": "close"})])
    session = server.login()
    session.send("a APPEND INBOX {10+}\r\n" + "0123456789"[:sent])
    assert session.ended == (after <= sent)
    assert session.ended or Cut(after - sent, "close", "r") in session.actions
    assert not server.mailbox().messages
