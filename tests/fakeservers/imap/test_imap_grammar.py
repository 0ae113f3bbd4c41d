"""Whatever three sessions say to one account, what they hear is right by the grammar (`imap_dialogue` reads it all)."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from imap_dialogue import Dialogue, Server, with_imap
from imap_grammar import check

MAIL = [
    "",
    "Subject: a\r\n\r\nx",
    "From: =?utf-8?q?=C3=BC?= <a@b>\r\nSubject: ü\r\n\r\nü\r\n",
]
MAIL.append(
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\ny\r\n"
    "--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"
)


def literal(text: str) -> str:
    return f"{{{len(text.encode())}+}}\r\n{text}"


def quoted(text: str) -> str:
    """A line end would be the command's."""
    text = text.replace("\r", "").replace("\n", "")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


TEXTS = st.one_of(
    st.sampled_from(
        ["INBOX", "a", "a/b", "a/b/c", "x y", "Entw&APw-rfe", "&-", 'q"t', "NIL", "[]", "(", "ü", "]\r\nz"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
)
NAMES = TEXTS.flatmap(lambda text: st.sampled_from([literal(text), quoted(text)]))
UPLOADS = st.sampled_from(MAIL).map(literal)
SETS = st.sampled_from(["1", "2", "1:*", "*", "3:1", "2,4", "9", "5:*", "$"])
FLAGS = st.sampled_from(["", "\\Seen", "\\Deleted kw", "KW $Fwd", "\\Flagged"])
MODSEQS = st.integers(1, 30)
ITEMS = st.lists(
    st.sampled_from(
        [
            "FLAGS",
            "UID",
            "ENVELOPE",
            "BODYSTRUCTURE",
            "BODY",
            "BODY[]",
            "BODY.PEEK[1.1]",
            "BODY.PEEK[2.MIME]",
            "BINARY.PEEK[2]",
            "BINARY.SIZE[1]",
            "INTERNALDATE",
            "MODSEQ",
            "EMAILID",
            "THREADID",
            "SAVEDATE",
            "PREVIEW",
            "BODY.PEEK[TEXT]<1.3>",
            "BODY[1.1.HEADER]",
        ]
    ),
    min_size=1,
    max_size=4,
).map(" ".join)
KEYS = st.sampled_from(
    [
        "ALL",
        "NOT DELETED",
        "OR SEEN 2",
        "TEXT x",
        "MODSEQ 3",
        "KEYWORD kw",
        "SINCE 1-Jan-1990",
        "$",
        "SAVEDON 1-Jan-1990",
    ]
)
RESULTS = st.sets(st.sampled_from(["MIN", "MAX", "ALL", "COUNT", "SAVE"])).map(lambda found: " ".join(sorted(found)))
UIDS = st.sampled_from(["", "UID "])


def said(form: str, *parts: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda filled: form.format(*filled))


COMMANDS = st.one_of(
    st.sampled_from(
        [
            "NOOP",
            "EXPUNGE",
            "CLOSE",
            "SELECT INBOX",
            "EXAMINE INBOX",
            "IDLE\r\nDONE",
            'LSUB "" %',
            "ENABLE CONDSTORE",
            "ENABLE QRESYNC",
            "ENABLE UTF8=ACCEPT",
            "ENABLE IMAP4rev2",
            "THREAD REFERENCES UTF-8 ALL",
            "NOTIFY NONE",
            "NOTIFY SET STATUS (SELECTED (MessageNew (FLAGS ENVELOPE) MessageExpunge FlagChange))",
            "NOTIFY SET (PERSONAL (MessageNew MessageExpunge MailboxName SubscriptionChange))",
            'LIST (SUBSCRIBED RECURSIVEMATCH) "" (% *) RETURN (CHILDREN STATUS (MESSAGES SIZE))',
        ]
    ),
    said("SELECT INBOX (QRESYNC (1000001 {} 1:{}))", MODSEQS, MODSEQS),
    said("{}FETCH {} ({})", UIDS, SETS, ITEMS),
    said("UID FETCH {} (FLAGS) (CHANGEDSINCE {} VANISHED)", SETS, MODSEQS),
    said(
        "{}STORE {} {}FLAGS{} ({})",
        UIDS,
        SETS,
        st.sampled_from(["+", "-", ""]),
        st.sampled_from(["", ".SILENT"]),
        FLAGS,
    ),
    said("{}STORE {} (UNCHANGEDSINCE {}) +FLAGS ({})", UIDS, SETS, MODSEQS, FLAGS),
    said("{}{} {} {}", UIDS, st.sampled_from(["COPY", "MOVE"]), SETS, NAMES),
    said("APPEND {} ({}) {}", NAMES, FLAGS, UPLOADS),
    said("APPEND INBOX {} CATENATE (URL {} TEXT {})", UPLOADS, NAMES, UPLOADS),
    said(
        "{} {}",
        st.sampled_from(["SELECT", "CREATE", "DELETE", "SUBSCRIBE", "UNSUBSCRIBE", "GETACL", "GETQUOTAROOT"]),
        NAMES,
    ),
    said("{} {} {}", st.sampled_from(["RENAME", "LISTRIGHTS", "LIST", "LOGIN", "GETMETADATA"]), NAMES, NAMES),
    said("STATUS {} (MESSAGES UIDNEXT UNSEEN SIZE HIGHESTMODSEQ MAILBOXID DELETED)", NAMES),
    said("SETMETADATA {} (/private/a {})", NAMES, NAMES),
    said("{}SEARCH {} SUBJECT {}", UIDS, KEYS, NAMES),
    said("{}SEARCH RETURN ({}) {}", UIDS, RESULTS, KEYS),
    said("{}SORT ({}) UTF-8 {}", UIDS, st.sampled_from(["SUBJECT", "REVERSE DATE", "FROM SIZE"]), KEYS),
)


# Without Phase.shrink: it takes minutes, and the answer that breaks the grammar is shown anyhow.
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.tuples(st.integers(0, 2), COMMANDS), min_size=10, max_size=50))
def test_anything_is_answered_by_the_grammar(spoken: list[tuple[int, str]]) -> None:
    server = Server(with_imap(bad_commands=None))
    server.fill(*(text.encode() for text in MAIL))
    sessions: list[Dialogue] = [server.login("INBOX") for _ in range(3)]
    for which, command in spoken:
        answer = sessions[which].command(command)
        assert answer[-1].partition(" ")[0] in ("OK", "NO", "BAD"), answer
        for session in sessions:
            check("".join(f"{line}\r\n" for line in session.stirred()).encode("utf-8", "surrogateescape"), utf8=True)
