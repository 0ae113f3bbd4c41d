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
