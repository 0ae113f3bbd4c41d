"""No secret reaches the transcript in any form in which it travels, and old entries go."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fakeservers.clock import Clock
from fakeservers.pieces import Pieces
from fakeservers.transcript import SAID_BODY, Entry, Secrets, Transcript

USER = "alice@example.test"


def transcript(*secrets: str, **keep: int) -> Transcript:
    known = Secrets()
    for secret in secrets:
        known.add(secret, user=USER)
    return Transcript(Clock(0), known, **keep)


def kept(of: Transcript, data: bytes) -> bytes:
    of.clear()
    of.add(1, "smtp", "C", data)
    return of[0].data


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


passwords = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=6, max_size=24).filter(
    lambda text: text.strip("*") == text
)
"""Long and odd enough not to be found in the words of the dialogue itself."""


@given(passwords, st.binary(max_size=8), st.binary(max_size=8))
def test_no_form_of_a_password_is_kept(password: str, before: bytes, after: bytes) -> None:
    raw = password.encode()
    forms = [
        raw,
        b64(password),
        b64(f"\0{USER}\0{password}"),
        b64(f"{USER}\0{USER}\0{password}"),
        quote(password, safe="").encode(),
        quote_plus(password).encode(),
        json.dumps(password)[1:-1].encode(),
        raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"'),
    ]
    known = transcript(password)
    for form in forms:
        assume(form not in (before + b" " + after))
        shown = kept(known, b"X " + before + b" " + form + b" " + after + b"\r\n")
        assert form not in shown
        assert known[1].facts == {"event": "secret", "kind": "password", "tls": False}


@given(passwords, st.binary(max_size=40), st.binary(max_size=40))
def test_base64_of_anything_around_a_password_gives_nothing_of_it_away(
    password: str, before: bytes, after: bytes
) -> None:
    raw = password.encode()
    assume(raw not in before + b"|" + after)
    encoded = base64.b64encode(before + raw + after)
    shown = kept(transcript(password), b"AUTH X " + encoded)
    assert b"***" in shown
    left = b"".join(shown.split(b" ", 2)[2].split(b"***"))
    for shift in range(4):
        aligned = left[shift:]
        decoded = base64.b64decode(aligned[: len(aligned) // 4 * 4])
        assert raw not in decoded


@pytest.mark.parametrize("password", ["p\u00e4ssw\u00f6rt", "na\u00efve"])
def test_latin_1_clients_give_nothing_away(password: str) -> None:
    raw = password.encode("latin-1")
    assert raw not in kept(transcript(password), b"PASS " + raw)
    assert base64.b64encode(raw) not in kept(transcript(password), base64.b64encode(raw))


def test_tokens_in_xoauth2() -> None:
    known = Secrets()
    known.add("ya29.token", user=USER, kind="token")
    message = base64.b64encode(f"user={USER}\x01auth=Bearer ya29.token\x01\x01".encode())
    assert known.mask(b"AUTH XOAUTH2 " + message) == (b"AUTH XOAUTH2 ***", "token")


def test_a_secret_inside_another_is_masked_with_it() -> None:
    known = Secrets()
    known.add("pass")
    known.add("password")
    assert known.mask(b"the password") == (b"the ***", "password")


def test_proofs_are_masked_and_the_newest_are_enough() -> None:
    known = Secrets()
    proofs = [f"{number:032x}".encode() for number in range(1000)]
    for proof in proofs:
        known.add_proof(proof)
    assert known.mask(proofs[-1]) == (b"***", "proof")
    assert len(known._ordered) < 100


def test_a_line_seen_clean_is_looked_at_again_when_a_secret_becomes_known() -> None:
    known = Secrets()
    assert known.mask(b"hello hunter2") == (b"hello hunter2", None)
    known.add("hunter2")
    assert known.mask(b"hello hunter2") == (b"hello ***", "password")


def test_an_empty_password_masks_nothing() -> None:
    assert kept(transcript(""), b"abc") == b"abc"


def test_the_channel_of_a_secret_is_an_event_of_the_client_only() -> None:
    known = transcript("hunter22")
    known.add(1, "pop3s", "C", b"PASS hunter22\r\n", tls="TLSv1.3")
    known.add(1, "pop3s", "S", b"you said hunter22\r\n", tls="TLSv1.3")
    assert [entry.text for entry in known] == ["PASS ***", "password sent over TLSv1.3", "you said ***"]
    assert known[1].facts == {"event": "secret", "kind": "password", "tls": True}


def test_bodies_are_kept_as_they_are_and_printed_by_size() -> None:
    known = transcript("hunter22")
    body = b"my password is hunter22\r\n"
    known.add(1, "smtp", "C", body, body=True)
    assert known[0].data is body
    assert known[0].text == "<message of 25 octets>"


def test_pieces_are_kept_as_they_came_and_seen_whole() -> None:
    known = transcript("hunter22", keep_bytes=1000)
    body = Pieces([b"my password ", b"is hunter22\r\n"])
    known.enter((1, "imap", None), SAID_BODY, body)
    assert known[0].data == b"my password is hunter22\r\n"
    assert known[0].text == "<message of 25 octets>"
    known.enter((1, "imap", None), SAID_BODY, Pieces([b"x" * 600, b"y" * 390]))
    assert [len(entry.data) for entry in known] == [990]


def test_entries_are_printed_on_one_line() -> None:
    entry = Entry(1, "smtp", 0.0, 0.0, "S", b"250-a\r\n250 \x1b[31m\xff\r\n")
    assert entry.text == "250-a\\r\\n250 \\x1b[31m\\xff"


def test_old_connections_and_too_many_octets_go() -> None:
    few = transcript(keep_connections=2)
    for number in (1, 1, 2, 3):
        few.add(number, "smtp", "C", b"x")
    assert [entry.connection for entry in few] == [2, 3]
    small = transcript(keep_bytes=10)
    for octet in (b"a", b"b", b"c"):
        small.add(1, "smtp", "C", octet * 4)
    assert [entry.data for entry in small] == [b"bbbb", b"cccc"]
    small.add(1, "smtp", "C", b"d" * 100)
    assert [entry.data for entry in small] == [b"d" * 100], "the newest stays, however long"
    assert len(small) == 1


def test_times_are_those_of_the_host() -> None:
    clock = Clock(1000.0)
    known = Transcript(clock, Secrets())
    known.add(1, "smtp", "C", b"x")
    clock.advance(60)
    known.add(1, "smtp", "C", b"x")
    assert [entry.time for entry in known] == [1000.0, 1060.0]
    assert known[0].elapsed <= known[1].elapsed
