"""NTLM with a client side that pyspnego computes: the server's challenge, right and wrong answers, junk."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeservers.clock import Clock
from fakeservers.mailstore import MailStore
from fakeservers.sasl import Challenge, Context, Exchange, Outcome, begin
from fakeservers.transcript import Secrets

pytest.importorskip("spnego")

ALICE = "alice@example.test"


def context() -> Context:
    store = MailStore(Clock(0))
    store.add_account(ALICE, "secret")
    return Context(store=store, secrets=Secrets(), random=Random(1), host="mail.example.test", now=1_700_000_000.0)


def exchange(where: Context) -> Exchange:
    made = begin("NTLM", where)
    assert made is not None
    return made


def negotiate() -> bytes:
    from spnego._ntlm_raw.messages import Negotiate, NegotiateFlags

    return bytes(Negotiate(flags=int(NegotiateFlags.unicode | NegotiateFlags.ntlm)).pack())


def authenticate(challenge: bytes, user: str, password: str, domain: str = "") -> bytes:
    from spnego._ntlm_raw.crypto import compute_response_v2, ntowfv1, ntowfv2
    from spnego._ntlm_raw.messages import Authenticate, FileTime, NTLMMessage

    asked: Any = NTLMMessage.unpack(challenge)
    key = ntowfv2(user, ntowfv1(password), domain)
    nt_response, lm_response, _ = compute_response_v2(
        key, asked.server_challenge, b"12345678", FileTime.now(), asked.target_info
    )
    answer = Authenticate(
        flags=asked.flags,
        lm_challenge_response=lm_response,
        nt_challenge_response=nt_response,
        domain_name=domain,
        username=user,
        workstation="PC",
    )
    return bytes(answer.pack())


def authenticate_v1(challenge: bytes, user: str, password: str) -> bytes:
    """The answer of an old client; with extended session security where the server's challenge has it."""
    from spnego._ntlm_raw.crypto import compute_response_v1, lmowfv1, ntowfv1
    from spnego._ntlm_raw.messages import Authenticate, NTLMMessage

    asked: Any = NTLMMessage.unpack(challenge)
    nt_response, lm_response, _ = compute_response_v1(
        asked.flags, ntowfv1(password), lmowfv1(password), asked.server_challenge, b"12345678", no_lm_response=False
    )
    return bytes(
        Authenticate(
            flags=asked.flags,
            lm_challenge_response=lm_response,
            nt_challenge_response=nt_response,
            domain_name="",
            username=user,
            workstation="PC",
        ).pack()
    )


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize(("password", "expected"), [("secret", "right"), ("wrong", "wrong")])
def test_answers_of_version_1(password: str, expected: str, extended: bool) -> None:
    from spnego._ntlm_raw.messages import Negotiate, NegotiateFlags, NTLMMessage

    flags = NegotiateFlags.unicode | NegotiateFlags.ntlm
    if extended:
        flags |= NegotiateFlags.extended_session_security
    where = context()
    made = exchange(where)
    first = made.step(bytes(Negotiate(flags=int(flags)).pack()))
    assert isinstance(first, Challenge)
    asked: Any = NTLMMessage.unpack(first.data)
    assert bool(asked.flags & NegotiateFlags.extended_session_security) == extended
    last = made.step(authenticate_v1(first.data, ALICE, password))
    assert isinstance(last, Outcome)
    assert (last.result, last.username) == (expected, ALICE)


def test_the_response_of_the_lan_manager_alone_is_wrong() -> None:
    from spnego._ntlm_raw.crypto import desl, lmowfv1
    from spnego._ntlm_raw.messages import Authenticate, NTLMMessage

    made = exchange(context())
    first = made.step(negotiate())
    assert isinstance(first, Challenge)
    asked: Any = NTLMMessage.unpack(first.data)
    response = desl(lmowfv1("secret"), asked.server_challenge)
    answer = Authenticate(flags=asked.flags, lm_challenge_response=response, nt_challenge_response=b"", username=ALICE)
    last = made.step(bytes(answer.pack()))
    assert isinstance(last, Outcome)
    assert last.result == "wrong"


def outcome(user: str, password: str, domain: str = "", where: Context | None = None) -> Outcome:
    made = exchange(where or context())
    first = made.step(negotiate())
    assert isinstance(first, Challenge)
    last = made.step(authenticate(first.data, user, password, domain))
    assert isinstance(last, Outcome)
    return last


@pytest.mark.parametrize(
    ("user", "password", "domain", "expected"),
    [
        (ALICE, "secret", "", "right"),
        ("alice", "secret", "example.test", "right"),
        (ALICE, "secret", "EXAMPLE", "right"),
        (ALICE, "wrong", "", "wrong"),
        ("alice", "secret", "elsewhere.test", "unknown-user"),
        ("nobody", "secret", "", "unknown-user"),
    ],
)
def test_accounts_are_checked_here(user: str, password: str, domain: str, expected: str) -> None:
    assert outcome(user, password, domain).result == expected


@pytest.mark.parametrize(("name", "expected"), [("disabled", "disabled"), ("password_expired", "expired")])
def test_a_right_password_may_be_of_no_use(name: str, expected: str) -> None:
    where = context()
    where.store.accounts[ALICE].properties[name] = True
    assert outcome(ALICE, "secret", where=where).result == expected


def test_no_environment_variable_lets_anybody_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    users = tmp_path / "users"
    users.write_text("EXAMPLE:mallory:letmein", encoding="utf-8")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    assert outcome("mallory", "letmein", "EXAMPLE").result == "unknown-user"


def test_an_exchange_begins_with_or_without_an_initial_response() -> None:
    made = exchange(context())
    assert made.step(None) == Challenge()
    assert isinstance(made.step(negotiate()), Challenge)
    assert made.step(negotiate()) == Outcome("malformed")


@given(st.lists(st.one_of(st.binary(max_size=120), st.just(negotiate())), min_size=1, max_size=3))
def test_no_message_crashes_it_or_logs_in(responses: list[bytes]) -> None:
    made = exchange(context())
    for response in responses:
        said = made.step(response)
        if isinstance(said, Outcome):
            assert said.result in ("malformed", "unknown-user", "wrong")
            break


def test_a_broken_answer_to_a_good_challenge_is_malformed_or_wrong() -> None:
    first = exchange(context()).step(negotiate())
    assert isinstance(first, Challenge)
    whole = authenticate(first.data, ALICE, "secret")
    for length in range(0, len(whole), 7):
        made = exchange(context())
        made.step(negotiate())
        last = made.step(whole[:length])
        assert isinstance(last, Challenge) or last.result != "right", length
