"""Reading: dialogues with a scripted server, and that each message is handed over once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from harness.clientstack import Fetched, Mailbox, Settings

from .scripted import ScriptedServer

Make = Callable[..., dict[str, Any]]

LOGIN = """
S: +OK POP3 ready
C: CAPA
S! +OK\\r\\nUSER\\r\\nUIDL\\r\\n.\\r\\n
C: USER alice@example.test
S: +OK
C: PASS sesame-open
S: +OK
"""
TWO = "C: LIST\nS! +OK\\r\\n1 10\\r\\n2 20\\r\\n.\\r\\n\n"
IDS = "C: UIDL\nS! +OK\\r\\n1 a1\\r\\n2 a2\\r\\n.\\r\\n\n"
NO_IDS = "C: UIDL\nS: -ERR unknown command\n"
BYE = "C: QUIT\nS: +OK bye\n"


def retr(number: int, body: str) -> str:
    return f"C: RETR {number}\nS! +OK\\r\\n{body}.\\r\\n\n"


FIRST = retr(1, "Subject: 1\\r\\n\\r\\n..dot\\r\\nbare\\nfeed\\r\\n")
SECOND = retr(2, "Subject: 2\\r\\n\\r\\n")


def fetch(settings: dict[str, Any], state: Path, now: datetime) -> Fetched:
    with Mailbox(Settings.from_json(settings), state, now) as mailbox:
        return mailbox.fetch()


def raws(fetched: Fetched) -> list[bytes]:
    assert fetched.error is None
    return [message.raw for message in fetched.messages]


def test_pop3_gives_the_bytes_and_deletes_after_storing(incoming: Make, tmp_path: Path, now: datetime) -> None:
    dele = "C: DELE 1\nS: +OK\nC: DELE 2\nS: +OK\n"
    with ScriptedServer(LOGIN + TWO + IDS + FIRST + SECOND + dele + BYE) as server:
        found = raws(fetch(incoming(server.port, "pop3", completed=""), tmp_path, now))
    assert found == [b"Subject: 1\r\n\r\n.dot\r\nbare\nfeed\r\n", b"Subject: 2\r\n\r\n"]


def test_pop3_leaves_mail_and_hands_it_over_once(incoming: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(LOGIN + TWO + IDS + FIRST + SECOND + BYE, LOGIN + TWO + IDS + BYE) as server:
        settings = incoming(server.port, "pop3")
        assert len(raws(fetch(settings, tmp_path, now))) == 2
        assert raws(fetch(settings, tmp_path, now)) == []


def test_pop3_without_unique_ids_counts_equal_messages(incoming: Make, tmp_path: Path, now: datetime) -> None:
    same = retr(1, "Subject: x\\r\\n\\r\\n") + retr(2, "Subject: x\\r\\n\\r\\n")
    listing = LOGIN + TWO + NO_IDS + same
    one = LOGIN + "C: LIST\nS! +OK\\r\\n1 10\\r\\n.\\r\\n\n" + NO_IDS + retr(1, "Subject: x\\r\\n\\r\\n") + BYE
    with ScriptedServer(listing + BYE, listing + BYE, one, listing + BYE) as server:
        settings = incoming(server.port, "pop3")
        assert len(raws(fetch(settings, tmp_path, now))) == 2
        assert raws(fetch(settings, tmp_path, now)) == []
        assert raws(fetch(settings, tmp_path, now)) == []
        # One of the two was gone in between, so its equal is a new message.
        assert len(raws(fetch(settings, tmp_path, now))) == 1


def test_pop3_connection_lost_on_the_way_loses_nothing(incoming: Make, tmp_path: Path, now: datetime) -> None:
    cut = LOGIN + TWO + IDS + FIRST + "C: RETR 2\nS: +OK\n!close"
    rest = LOGIN + TWO + IDS + SECOND + "C: DELE 1\nS: +OK\nC: DELE 2\nS: +OK\n" + BYE
    with ScriptedServer(cut, rest) as server:
        settings = incoming(server.port, "pop3", completed="")
        first = fetch(settings, tmp_path, now)
        assert first.error is not None
        assert first.error.category == "disconnected"
        assert len(first.messages) == 1
        assert raws(fetch(settings, tmp_path, now)) == [b"Subject: 2\r\n\r\n"]


def test_what_was_stored_but_not_handed_over_comes_next(incoming: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(LOGIN + TWO + IDS + FIRST + SECOND + BYE, LOGIN + TWO + IDS + BYE) as server:
        settings = incoming(server.port, "pop3")
        with Mailbox(Settings.from_json(settings), tmp_path, now) as mailbox:
            mailbox._read()
        assert len(raws(fetch(settings, tmp_path, now))) == 2


@pytest.mark.parametrize(
    ("reply", "category"),
    [
        ("-ERR [AUTH] invalid", "authentication"),
        ("-ERR [IN-USE] maildrop locked", "temporary"),
        ("-ERR [SYS/TEMP] later", "temporary"),
        ("-ERR [LOGIN-DELAY] wait 300 seconds", "rate-limit"),
        ("-ERR Exceeded the login limit for a 15 minute period.", "rate-limit"),
        ("HTTP/1.1 400 Bad Request", "protocol"),
    ],
)
def test_pop3_refused_logins(reply: str, category: str, incoming: Make, tmp_path: Path, now: datetime) -> None:
    script = "S: +OK\nC: CAPA\nS: -ERR\nC: USER .*\nS: +OK\nC: PASS .*\nS: " + reply + "\n!quit"
    with ScriptedServer(script) as server:
        error = fetch(incoming(server.port, "pop3"), tmp_path, now).error
    assert error is not None
    assert error.category == category


def test_apop(incoming: Make, tmp_path: Path, now: datetime) -> None:
    # The example of RFC 1939 7.
    script = """
    S: +OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>
    C: CAPA
    S: -ERR
    C: APOP mrose c4c9334bac560ecc979e58001b3e22fb
    S: +OK
    C: LIST
    S! +OK\\r\\n.\\r\\n
    """
    with ScriptedServer(script + BYE) as server:
        settings = incoming(
            server.port, "pop3", auth="apop", username="mrose", password="tanstaaf", allow_cleartext=False
        )
        assert raws(fetch(settings, tmp_path, now)) == []


# -- IMAP -----------------------------------------------------------------------------------


def imap(capabilities: str = "IMAP4rev1 UIDPLUS MOVE") -> str:
    return f"""
    S: * OK ready
    C: \\S+ CAPABILITY
    S: * CAPABILITY {capabilities}
    S: {{tag}} OK done
    C: \\S+ LOGIN "alice@example.test" "sesame-open"
    S: {{tag}} OK [CAPABILITY {capabilities}] in
    """


def select(validity: int = 7, name: str = "INBOX") -> str:
    return f"""
    C: \\S+ SELECT "?{name}"?
    S: * 2 EXISTS
    S: * OK [UIDVALIDITY {validity}] ok
    S: {{tag}} OK [READ-WRITE] done
    """


def search(criteria: str, found: str) -> str:
    return f"C: \\S+ UID SEARCH {criteria}\nS: * SEARCH{found}\nS: {{tag}} OK done\n"


def body(uid: int, text: str = "Subject: x\\r\\n\\r\\n", size: int = 14) -> str:
    return f"""
    C: \\S+ UID FETCH {uid} \\(BODY\\.PEEK\\[\\]\\)
    S! * 1 FETCH (UID {uid} BODY[] {{{size}}}\\r\\n{text})\\r\\n
    S: {{tag}} OK done
    """


def sizes(*uids: int, octets: int = 14) -> str:
    said = "".join(f"S: * {uid} FETCH (UID {uid} RFC822.SIZE {octets})\n" for uid in uids)
    return f"C: \\S+ UID FETCH {','.join(map(str, uids))} \\(RFC822\\.SIZE\\)\n{said}S: {{tag}} OK done\n"


def tagged(command: str, answer: str = "OK done") -> str:
    return f"C: \\S+ {command}\nS: {{tag}} {answer}\n"


SEEN = tagged("UID STORE [\\d,]+ \\+FLAGS\\.SILENT \\(\\\\Seen\\)")
OUT = "C: \\S+ LOGOUT\nS: * BYE\nS: {tag} OK out\n"
LISTED = 'C: \\S+ LIST "" "?Completed"?\nS: * LIST () "/" Completed\nS: {tag} OK done\n'
ROOT = 'C: \\S+ LIST "" ""\nS: * LIST (\\Noselect) "/" ""\nS: {tag} OK done\n'


def test_imap_marks_seen_after_storing(incoming: Make, tmp_path: Path, now: datetime) -> None:
    script = imap() + select() + search("\\(?UNSEEN\\)?", " 4") + sizes(4) + body(4) + SEEN + OUT
    with ScriptedServer(script, imap() + select() + search("\\(?UNSEEN\\)?", " 4") + OUT) as server:
        settings = incoming(server.port, "imap")
        assert raws(fetch(settings, tmp_path, now)) == [b"Subject: x\r\n\r\n"]
        assert raws(fetch(settings, tmp_path, now)) == []


def test_imap_files_by_move_and_creates_the_mailbox(incoming: Make, tmp_path: Path, now: datetime) -> None:
    missing = 'C: \\S+ LIST "" "?Completed"?\nS: {tag} OK done\n'
    create = tagged('CREATE "?Completed"?') + tagged('SUBSCRIBE "?Completed"?') + tagged('UID MOVE 4 "?Completed"?')
    script = (
        imap() + select() + search("\\(?UNSEEN\\)?", " 4") + sizes(4) + body(4) + SEEN + ROOT + missing + create + OUT
    )
    with ScriptedServer(script) as server:
        assert len(raws(fetch(incoming(server.port, "imap", completed=""), tmp_path, now))) == 1


def test_imap_without_uidplus_spares_other_peoples_deletions(incoming: Make, tmp_path: Path, now: datetime) -> None:
    copy = tagged('UID COPY 4 "?Completed"?') + tagged("UID STORE 4 \\+FLAGS\\.SILENT \\(\\\\Deleted\\)")
    start = (
        imap("IMAP4rev1") + select() + search("\\(?UNSEEN\\)?", " 4") + sizes(4) + body(4) + SEEN + ROOT + LISTED + copy
    )
    kept = start + search("\\(?DELETED\\)?", " 2 4") + OUT
    gone = start + search("\\(?DELETED\\)?", " 4") + tagged("EXPUNGE") + OUT
    with ScriptedServer(kept, gone) as server:
        settings = incoming(server.port, "imap", completed="Completed")
        assert len(raws(fetch(settings, tmp_path / "1", now))) == 1
        assert len(raws(fetch(settings, tmp_path / "2", now))) == 1


def test_imap_what_somebody_took_away_in_between_is_asked_for_once(
    incoming: Make, tmp_path: Path, now: datetime
) -> None:
    start, unseen = imap() + select(), "\\(?UNSEEN\\)?"
    cut = start + search(unseen, " 3 4") + sizes(3, 4) + body(3) + body(4) + "C: \\S+ UID STORE .*\n!close"
    rest = start + search("UID 3[:,]4|\\(UID 3[:,]4\\)", " 4") + search(unseen, " 4") + SEEN + OUT
    with ScriptedServer(cut, rest, start + search(unseen, "") + OUT) as server:
        settings = incoming(server.port, "imap")
        handed_over = [len(fetch(settings, tmp_path, now).messages) for _ in range(3)]
    assert handed_over == [2, 0, 0]


def test_imap_interrupted_before_the_flag_is_finished_next_time(incoming: Make, tmp_path: Path, now: datetime) -> None:
    cut = imap() + select() + search("\\(?UNSEEN\\)?", " 4") + sizes(4) + body(4) + "C: \\S+ UID STORE .*\n!close"
    rest = imap() + select() + search("UID 4|\\(UID 4\\)", " 4") + search("\\(?UNSEEN\\)?", " 4") + SEEN + OUT
    with ScriptedServer(cut, rest) as server:
        settings = incoming(server.port, "imap")
        first = fetch(settings, tmp_path, now)
        assert first.error is not None
        assert len(first.messages) == 1
        assert raws(fetch(settings, tmp_path, now)) == []


def test_imap_interrupted_after_a_copy_does_not_copy_twice(incoming: Make, tmp_path: Path, now: datetime) -> None:
    text = "Message-ID: <1@x>\\r\\n\\r\\n"
    start = imap("IMAP4rev1 UIDPLUS") + select()
    cut = (
        start
        + search("\\(?UNSEEN\\)?", " 4")
        + sizes(4)
        + body(4, text, 21)
        + SEEN
        + ROOT
        + LISTED
        + "C: \\S+ UID COPY .*\n!close"
    )
    there = 'C: \\S+ EXAMINE "?Completed"?\nS: * 1 EXISTS\nS: * OK [UIDVALIDITY 9]\nS: {tag} OK done\n'
    there += search('\\(?HEADER "?Message-ID"? "?<1@x>"?\\)?', " 1") + select()
    remove = tagged("UID STORE 4 \\+FLAGS\\.SILENT \\(\\\\Deleted\\)") + tagged("UID EXPUNGE 4")
    rest = (
        start
        + search("\\(?UID 4\\)?", " 4")
        + search("\\(?UNSEEN\\)?", "")
        + SEEN
        + ROOT
        + LISTED
        + there
        + remove
        + OUT
    )
    with ScriptedServer(cut, rest) as server:
        settings = incoming(server.port, "imap", completed="Completed")
        assert fetch(settings, tmp_path, now).error is not None
        assert raws(fetch(settings, tmp_path, now)) == []


def test_imap_new_uidvalidity_hands_over_only_what_is_new(incoming: Make, tmp_path: Path, now: datetime) -> None:
    old = imap() + select(7) + search("\\(?ALL\\)?", " 4") + sizes(4) + body(4) + SEEN + OUT
    new = imap() + select(8) + search("\\(?ALL\\)?", " 1 2") + sizes(1, 2) + body(1) + body(2) + SEEN + OUT
    with ScriptedServer(old, new) as server:
        settings = incoming(server.port, "imap", unseen_only=False)
        assert len(raws(fetch(settings, tmp_path, now))) == 1
        # Two equal messages now, one of them known: the other one is new.
        assert len(raws(fetch(settings, tmp_path, now))) == 1


def test_imap_other_inbox_names_are_modified_utf7(incoming: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(imap() + select(name="Eing&AOQ-nge") + search("\\(?UNSEEN\\)?", "") + OUT) as server:
        assert raws(fetch(incoming(server.port, "imap", inbox="Eingänge"), tmp_path, now)) == []


def test_imap_files_within_the_namespace(incoming: Make, tmp_path: Path, now: datetime) -> None:
    space = 'C: \\S+ NAMESPACE\nS: * NAMESPACE (("INBOX." ".")) NIL NIL\nS: {tag} OK done\n'
    space += 'C: \\S+ LIST "" "?Done.2026"?\nS: {tag} OK done\n'
    space += 'C: \\S+ LIST "" "?INBOX.Done.2026"?\nS: * LIST () "." INBOX.Done.2026\nS: {tag} OK done\n'
    script = (
        imap("IMAP4rev1 MOVE NAMESPACE") + select() + search("\\(?UNSEEN\\)?", " 4") + sizes(4) + body(4) + SEEN + space
    )
    with ScriptedServer(script + tagged('UID MOVE 4 "?INBOX.Done.2026"?') + OUT) as server:
        assert len(raws(fetch(incoming(server.port, "imap", completed="Done/2026"), tmp_path, now))) == 1


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        ("NO [AUTHENTICATIONFAILED] Invalid credentials", "authentication"),
        ("NO LOGIN failed.", "authentication"),
        ("BAD [AUTHENTICATIONFAILED] no", "authentication"),
        ("NO [UNAVAILABLE] Temporary authentication failure", "temporary"),
        ("NO [LIMIT] Too many connections", "rate-limit"),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", "rate-limit"),
        ("NO [INUSE] elsewhere", "temporary"),
    ],
)
def test_imap_refused_logins(answer: str, category: str, incoming: Make, tmp_path: Path, now: datetime) -> None:
    script = "S: * OK hi\nC: \\S+ CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: {tag} OK\nC: \\S+ LOGIN .*\nS: {tag} "
    with ScriptedServer(script + answer + "\n" + OUT) as server:
        error = fetch(incoming(server.port, "imap"), tmp_path, now).error
    assert error is not None
    assert error.category == category
    assert "sesame" not in error.text


@pytest.mark.parametrize(
    ("script", "category"),
    [
        ("S: * BYE Too many connections", "rate-limit"),
        ("S: * BYE [UNAVAILABLE] later", "temporary"),
        ("S: * BYE go away", "connect"),
        ("S: HTTP/1.1 400 Bad", "protocol"),
        ("!close", "disconnected"),
    ],
)
def test_imap_greetings(script: str, category: str, incoming: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(script) as server:
        error = fetch(incoming(server.port, "imap"), tmp_path, now).error
    assert error is not None
    assert error.category == category


def test_one_message_that_cannot_be_read_does_not_hide_the_others(
    incoming: Make, tmp_path: Path, now: datetime
) -> None:
    broken = "C: \\S+ UID FETCH 3 .*\nS: {tag} NO [SERVERBUG] cannot\n"
    script = imap() + select() + search("\\(?UNSEEN\\)?", " 3 4") + sizes(3, 4) + broken + body(4) + SEEN + OUT
    with ScriptedServer(script) as server:
        fetched = fetch(incoming(server.port, "imap"), tmp_path, now)
    assert len(fetched.messages) == 1
    assert fetched.error is not None
    assert fetched.error.category == "temporary"


def test_the_ledger_drops_bytes_that_are_the_callers(incoming: Make, tmp_path: Path, now: datetime) -> None:
    dele = "C: DELE 1\nS: +OK\nC: DELE 2\nS: +OK\n"
    empty = LOGIN + "C: LIST\nS! +OK\\r\\n.\\r\\n\n" + BYE
    with ScriptedServer(LOGIN + TWO + IDS + FIRST + SECOND + dele + BYE, empty) as server:
        settings = incoming(server.port, "pop3", completed="")
        fetch(settings, tmp_path, now)
        fetch(settings, tmp_path, now)
    with sqlite3.connect(tmp_path / "mail.sqlite3") as db:
        kept = db.execute("SELECT count(*) FROM incoming WHERE raw IS NOT NULL").fetchone()[0]
    db.close()
    assert kept == 0


# -- servers of UTF-8 or IMAP4rev2 alone -------------------------------------------------------


@pytest.mark.parametrize("said", ["S: * ENABLED\nS: {tag} OK nothing\n", "S: {tag} NO not here\n", "S: {tag} OK\n"])
def test_a_server_that_wants_utf8_and_does_not_enable_it(
    said: str, incoming: Make, tmp_path: Path, now: datetime
) -> None:
    script = imap("IMAP4rev1 UTF8=ONLY ENABLE") + "C: \\S+ ENABLE UTF8=ACCEPT\n" + said + OUT
    with ScriptedServer(script) as server:
        error = fetch(incoming(server.port, "imap"), tmp_path, now).error
    assert error is not None
    assert error.category == "protocol"
    assert "ENABLE" in error.text


def test_mailbox_names_are_utf8_once_it_is_enabled(incoming: Make, tmp_path: Path, now: datetime) -> None:
    enabled = tagged("ENABLE UTF8=ACCEPT").replace("S: {tag}", "S: * ENABLED UTF8=ACCEPT\nS: {tag}")
    script = imap("IMAP4rev1 UTF8=ONLY ENABLE") + enabled + select(name="Eingänge") + search("\\(?UNSEEN\\)?", "") + OUT
    with ScriptedServer(script) as server:
        assert raws(fetch(incoming(server.port, "imap", inbox="Eingänge"), tmp_path, now)) == []


@pytest.mark.parametrize(
    ("answer", "uids"),
    [
        ('* ESEARCH (TAG "{tag}") UID ALL 4', (4,)),
        ('* ESEARCH (TAG "{tag}") UID MIN 3 ALL 3:4,9 COUNT 3', (3, 4, 9)),
        ('* esearch (tag "{tag}") uid all 4:3', (3, 4)),
        ('* ESEARCH (TAG "{tag}") UID', ()),
        ("* ESEARCH", ()),
        ("* SEARCH 4", (4,)),
    ],
)
def test_imap4rev2_answers_a_search_otherwise(
    answer: str, uids: tuple[int, ...], incoming: Make, tmp_path: Path, now: datetime
) -> None:
    found = f"C: \\S+ UID SEARCH .*\nS: {answer}\nS: {{tag}} OK done\n"
    rest = sizes(*uids) + "".join(body(uid) for uid in uids) + SEEN if uids else ""
    with ScriptedServer(imap("IMAP4rev2") + select() + found + rest + OUT) as server:
        assert len(raws(fetch(incoming(server.port, "imap"), tmp_path, now))) == len(uids)


def test_a_search_that_finds_more_than_there_can_be(incoming: Make, tmp_path: Path, now: datetime) -> None:
    found = "C: \\S+ UID SEARCH .*\nS: * ESEARCH UID ALL 1:4294967295\n!hold"
    with ScriptedServer(imap("IMAP4rev2") + select() + found) as server:
        error = fetch(incoming(server.port, "imap"), tmp_path, now).error
    assert error is not None
    assert error.category == "protocol"
