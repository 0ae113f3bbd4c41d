"""What is taken in from a server has bounds: what is beyond them is set aside, named, and stands in nobody's way."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.clientstack import Fetched, Inbound, Mailbox, MailError, Settings
from harness.clientstack.inbound import JUNK
from harness.clientstack.protocol import answer
from harness.clientstack.setaside import Bounds, set_aside_reason

from .scripted import ScriptedServer
from .test_mailbox import BYE, LOGIN, NO_IDS, OUT, SEEN, body, fetch, imap, raws, retr, search, select, sizes

Make = Callable[..., dict[str, Any]]


def bounded(settings: dict[str, Any], **bounds: int) -> dict[str, Any]:
    return {**settings, "business": {"bounds": bounds}}


SMALL = Bounds(largest_message=100_000, most_parts=20, largest_part=5_000, deepest_part=4)
HEAD = b"From: a@example.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
MAIL = b"From: a@example.test\r\n\r\nhello\r\n"


def multipart(*parts: bytes, boundary: bytes = b"b1", kind: bytes = b"mixed") -> bytes:
    """A multipart's header field and body."""
    inner = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return b'Content-Type: multipart/%b; boundary="%b"\r\n\r\npreamble\r\n%b--%b--\r\n' % (
        kind,
        boundary,
        inner,
        boundary,
    )


def file(octets: int, encoding: bytes = b"base64") -> bytes:
    content = base64.encodebytes(Random(octets).randbytes(octets)) if encoding == b"base64" else b"x" * octets
    return b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (encoding, content)


def nested(depth: int) -> bytes:
    found = b"Content-Type: text/plain\r\n\r\nat the bottom"
    for level in range(depth):
        found = multipart(found, boundary=b"level%d" % level)
    return found


def forwarded(depth: int) -> bytes:
    found = HEAD + b"\r\nhello"
    for _ in range(depth):
        found = HEAD + b"Content-Type: message/rfc822\r\n\r\n" + found
    return found


TEXT = b"Content-Type: text/plain\r\n\r\nhello"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (HEAD + multipart(TEXT, file(4_900)), None),
        (HEAD + multipart(TEXT, file(5_100)), "largest_part"),
        (HEAD + multipart(TEXT, file(5_100, b"8bit")), "largest_part"),
        (HEAD + multipart(TEXT, file(5_100)).replace(b"\r\n", b"\n"), "largest_part"),
        (HEAD + b"\r\n" + b"x" * 5_100, "largest_part"),
        (HEAD + b"\r\n" + b"--not-a-boundary\r\n" * 200, None),
        (HEAD + multipart(*[TEXT] * 19), None),
        (HEAD + multipart(*[TEXT] * 20), "most_parts"),
        (HEAD + multipart(*[b""] * 5_000), "most_parts"),
        (HEAD + multipart(*[multipart(*[TEXT] * 9, boundary=inner) for inner in (b"in", b"two")]), "most_parts"),
        (HEAD + nested(4), None),
        (HEAD + nested(5), "deepest_part"),
        (HEAD + nested(600), "deepest_part"),
        (forwarded(4), None),
        (forwarded(5), "deepest_part"),
        (forwarded(900), "deepest_part"),
        (HEAD + multipart(TEXT)[:-9], None),
        (HEAD + multipart(multipart(TEXT, boundary=b"in")[:-8], TEXT), None),
        (HEAD + multipart(TEXT) + b"epilogue\r\n" * 600, None),
        (HEAD + multipart(multipart(TEXT, boundary=b"in") + b"epilogue\r\n" * 600, TEXT), None),
        (HEAD + multipart(TEXT, TEXT + b"\r\n--b1 is no delimiter\r\n" + b"x" * 5_000), "largest_part"),
        (HEAD + b"\r\n" + b"line\r\n" * 20_000, "largest_message"),
        (b"", "empty"),
    ],
)  # fmt: skip
def test_bounds(message: bytes, reason: str | None) -> None:
    found = set_aside_reason(message, SMALL)
    assert found is None if reason is None else reason in str(found)


def test_a_bound_itself_is_allowed() -> None:
    message = HEAD + b"\r\n" + b"x" * 100
    assert set_aside_reason(message, Bounds(largest_message=len(message), largest_part=100)) is None
    assert "largest_message" in str(set_aside_reason(message, Bounds(largest_message=len(message) - 1)))
    assert "largest_part" in str(set_aside_reason(message, Bounds(largest_part=99)))


def test_the_bounds_of_everyday_mail_are_wide() -> None:
    assert set_aside_reason(HEAD + multipart(*[file(30_000)] * 200), Bounds()) is None


def test_looking_costs_no_more_than_the_octets() -> None:
    def seconds(lines: int) -> float:
        message = HEAD + multipart(b"\r\n" + b"--decoy\r\n" * lines)
        begun = time.process_time()
        assert set_aside_reason(message, Bounds()) is None
        return time.process_time() - begun

    small = min(seconds(20_000) for _ in range(3))
    assert min(seconds(160_000) for _ in range(3)) < 8 * 4 * small


@pytest.mark.parametrize("key", ["largest_message", "most_parts", "largest_part", "deepest_part"])
def test_bounds_are_settings(key: str, incoming: Make) -> None:
    bounds = Settings.from_json(bounded(incoming(1, "imap"), **{key: 7})).require_incoming().bounds
    assert getattr(bounds, key) == 7
    with pytest.raises(MailError, match=f"business.bounds.{key} has to be a whole number"):
        Settings.from_json(bounded(incoming(1, "imap"), **{key: 0}))


# -- what is too large to fetch -----------------------------------------------------------------


def test_imap_leaves_what_is_too_large(incoming: Make, tmp_path: Path, now: datetime) -> None:
    large = "C: \\S+ UID FETCH 3,4 \\(RFC822\\.SIZE\\)\nS: * 1 FETCH (UID 3 RFC822.SIZE 5000)\n"
    large += "S: * 2 FETCH (UID 4 RFC822.SIZE 14)\nS: {tag} OK done\n"
    first = imap() + select() + search("\\(?UNSEEN\\)?", " 3 4") + large + body(4) + SEEN + OUT
    again = imap() + select() + search("\\(?UNSEEN\\)?", " 3") + OUT
    wider = imap() + select() + search("\\(?UNSEEN\\)?", " 3") + sizes(3, octets=5000) + body(3) + SEEN + OUT
    with ScriptedServer(first, again, wider) as server:
        settings = bounded(incoming(server.port, "imap"), largest_message=1000)
        found = fetch(settings, tmp_path, now)
        assert [message.raw for message in found.messages] == [b"Subject: x\r\n\r\n"]
        assert found.error is None
        assert len(found.left) == 1
        assert "5000 octets" in found.left[0]
        assert "stays on the server" in found.left[0]
        assert fetch(settings, tmp_path, now).left == ()
        settings["business"]["bounds"]["largest_message"] = 5000
        assert len(raws(fetch(settings, tmp_path, now))) == 1


def test_imap_leaves_it_under_a_new_uidvalidity_without_saying_so_again(
    incoming: Make, tmp_path: Path, now: datetime
) -> None:
    scripts = [
        imap() + select(validity) + search("\\(?UNSEEN\\)?", f" {uid}") + sizes(uid, octets=5000) + OUT
        for validity, uid in ((7, 3), (8, 1))
    ]
    with ScriptedServer(*scripts) as server:
        settings = bounded(incoming(server.port, "imap"), largest_message=1000)
        assert len(fetch(settings, tmp_path, now).left) == 1
        assert fetch(settings, tmp_path, now).left == ()


def test_imap_a_size_that_one_message_lacks_is_asked_for_one_by_one(
    incoming: Make, tmp_path: Path, now: datetime
) -> None:
    refused = "C: \\S+ UID FETCH {} \\(RFC822\\.SIZE\\)\nS: {{tag}} NO [SERVERBUG] damaged\n"
    script = imap() + select() + search("\\(?UNSEEN\\)?", " 3 4 5") + refused.format("3,4,5") + refused.format("3")
    script += sizes(4) + sizes(5, octets=5000) + "C: \\S+ UID FETCH 3 .*\nS: {tag} NO damaged\n" + body(4) + SEEN + OUT
    with ScriptedServer(script) as server:
        found = fetch(bounded(incoming(server.port, "imap"), largest_message=1000), tmp_path, now)
    assert [message.raw for message in found.messages] == [b"Subject: x\r\n\r\n"]
    assert len(found.left) == 1
    assert found.error is not None
    assert "damaged" in found.error.text


def test_imap_a_message_larger_than_it_said_is_passed_over_next_time(
    incoming: Make, tmp_path: Path, now: datetime
) -> None:
    start = imap() + select() + search("\\(?UNSEEN\\)?", " 3 4")
    endless = "C: \\S+ UID FETCH 3 .*\nS: * 1 FETCH (UID 3 BODY[] {999999999}\n!hold"
    rest = start + sizes(4) + body(4) + SEEN + OUT
    with ScriptedServer(start + sizes(3, 4) + endless, rest) as server:
        settings = incoming(server.port, "imap")
        first = fetch(settings, tmp_path, now)
        assert first.error is not None
        assert first.error.category == "size"
        second = fetch(settings, tmp_path, now)
    assert [message.raw for message in second.messages] == [b"Subject: x\r\n\r\n"]


@pytest.mark.parametrize("ids", ["C: UIDL\nS! +OK\\r\\n1 a1\\r\\n2 a2\\r\\n.\\r\\n\n", NO_IDS])
def test_pop3_leaves_and_never_deletes_what_is_too_large(
    ids: str, incoming: Make, tmp_path: Path, now: datetime
) -> None:
    both = "C: LIST\nS! +OK\\r\\n1 5000\\r\\n2 20\\r\\n.\\r\\n\n"
    one = "C: LIST\nS! +OK\\r\\n1 5000\\r\\n.\\r\\n\n"
    first = LOGIN + both + ids + retr(2, "Subject: 2\\r\\n\\r\\n") + "C: DELE 2\nS: +OK\n" + BYE
    with ScriptedServer(first, LOGIN + one + ids.replace("2 a2\\r\\n", "") + BYE) as server:
        settings = bounded(incoming(server.port, "pop3", completed=""), largest_message=1000)
        found = fetch(settings, tmp_path, now)
        assert [message.raw for message in found.messages] == [b"Subject: 2\r\n\r\n"]
        assert len(found.left) == 1
        assert fetch(settings, tmp_path, now) == Fetched(())


def test_pop3_a_message_whose_unique_id_is_not_told_waits_until_it_is(
    incoming: Make, tmp_path: Path, now: datetime
) -> None:
    listing = "C: LIST\nS! +OK\\r\\n1 20\\r\\n2 20\\r\\n.\\r\\n\n"
    one, both = (f"C: UIDL\nS! +OK\\r\\n{ids}2 a2\\r\\n.\\r\\n\n" for ids in ("", "1 a1\\r\\n"))
    mail = {number: retr(number, f"Subject: {number}\\r\\n\\r\\n") for number in (1, 2)}
    with ScriptedServer(LOGIN + listing + one + mail[2] + BYE, LOGIN + listing + both + mail[1] + BYE) as server:
        settings = incoming(server.port, "pop3")
        found = [raws(fetch(settings, tmp_path, now)) for _ in range(2)]
    assert found == [[b"Subject: 2\r\n\r\n"], [b"Subject: 1\r\n\r\n"]]


def test_pop3_without_unique_ids_one_that_cannot_be_given_does_not_hide_the_others(
    incoming: Make, tmp_path: Path, now: datetime
) -> None:
    listing = "C: LIST\nS! +OK\\r\\n1 20\\r\\n2 20\\r\\n.\\r\\n\n"
    refused = "C: RETR 1\nS: -ERR damaged\n"
    with ScriptedServer(LOGIN + listing + NO_IDS + refused + retr(2, "Subject: 2\\r\\n\\r\\n") + BYE) as server:
        found = fetch(incoming(server.port, "pop3"), tmp_path, now)
    assert [message.raw for message in found.messages] == [b"Subject: 2\r\n\r\n"]
    assert found.error is not None
    assert "damaged" in found.error.text


# -- what is told of it -------------------------------------------------------------------------


def test_what_was_set_aside_is_found_as_junk_and_kept(incoming: Make, tmp_path: Path, now: datetime) -> None:
    listing = "C: LIST\nS! +OK\\r\\n1 5000\\r\\n2 20\\r\\n3 20\\r\\n.\\r\\n\n"
    ids = "C: UIDL\nS! +OK\\r\\n1 a1\\r\\n2 a2\\r\\n3 a3\\r\\n.\\r\\n\n"
    wide = retr(2, "Subject: 2\\r\\n\\r\\n" + "x" * 300 + "\\r\\n")
    with ScriptedServer(LOGIN + listing + ids + wide + retr(3, "Subject: 3\\r\\n\\r\\n") + BYE) as server:
        settings = Settings.from_json(bounded(incoming(server.port, "pop3"), largest_message=1000, largest_part=100))
        with Inbound(settings, tmp_path, now) as inbound:
            assert inbound.process() is None
            found = inbound.found(JUNK)
    assert [(each["octets"], each["reason"].partition("(")[2].partition(")")[0]) for each in found] == [
        (5000, "largest_message"),
        (316, "largest_part"),
    ]
    with Mailbox(settings, tmp_path, now) as mailbox, mailbox.alone():
        assert [len(each.raw) for each in mailbox.ledger.waiting()] == [0, 316, 14]


def test_the_protocol_says_that_a_message_was_left(incoming: Make, tmp_path: Path, now: datetime) -> None:
    script = imap() + select() + search("\\(?UNSEEN\\)?", " 3") + sizes(3, octets=5000) + OUT
    with ScriptedServer(script) as server:
        settings = bounded(incoming(server.port, "imap"), largest_message=1000)
        reply = answer({"id": 1, "action": "fetch", "settings": settings, "state_dir": str(tmp_path), "now": None})
    assert reply["messages"] == []
    assert reply["error"]["category"] == "size"
