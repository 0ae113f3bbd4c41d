"""SASL mechanisms against the RFCs' own examples, an independent client (scramp), and junk."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient

from fakeservers.clock import Clock
from fakeservers.mailstore import MailStore
from fakeservers.sasl import Challenge, Context, Exchange, Outcome, answer, apop, begin, check_password, implemented
from fakeservers.sasl import scram as scram_module
from fakeservers.sasl.saslprep import saslprep
from fakeservers.transcript import Secrets

TOKEN = "ya29.a0AfH6SMBx-token"
RIGHT = "secret"


def context(
    users: dict[str, str] | None = None, *, seed: int = 1, prompts: tuple[bytes, bytes] | None = None
) -> Context:
    store = MailStore(Clock(0))
    for address, password in (users or {"alice@example.test": RIGHT}).items():
        store.add_account(address, password)
    made = Context(store=store, secrets=Secrets(), random=Random(seed), host="mail.example.test", now=1700000000.0)
    return made if prompts is None else Context(**{name: getattr(made, name) for name in (
        "store", "secrets", "random", "host", "now")}, prompts=prompts)  # fmt: skip


def exchange(mechanism: str, where: Context) -> Exchange:
    made = begin(mechanism, where)
    assert made is not None
    return made


def run(mechanism: str, where: Context, *responses: bytes | None) -> Challenge | Outcome:
    """The last word of the server after all `responses`."""
    made = exchange(mechanism, where)
    last: Challenge | Outcome | None = None
    for response in responses:
        assert not isinstance(last, Outcome), f"the exchange was over before {response!r}"
        last = made.step(response)
    assert last is not None
    return last


def result(said: Challenge | Outcome) -> str:
    assert isinstance(said, Outcome), said
    return said.result


# --- names


def test_mechanisms_are_known_in_any_case_and_what_is_not_built_is_refused() -> None:
    where = context()
    assert {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"} < (
        implemented()
    )
    assert begin("plain", where) is not None
    for name in ("KERBEROS_V4", "SECURID", "", "PLAIN2"):
        assert begin(name, where) is None
    assert begin("SCRAM-SHA-256-PLUS", where) is None, "no channel, no binding"


def test_which_mechanisms_take_an_initial_response() -> None:
    where = context()
    assert not exchange("CRAM-MD5", where).client_first
    assert exchange("PLAIN", where).client_first
    assert result(run("CRAM-MD5", where, b"alice 00")) == "malformed"


# --- PLAIN and LOGIN


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\0alice@example.test\0secret", "right"),
        (b"\0ALICE@example.TEST\0secret", "right"),
        (b"alice@example.test\0alice@example.test\0secret", "right"),
        (b"bob@example.test\0alice@example.test\0secret", "wrong"),
        (b"\0alice@example.test\0Secret", "wrong"),
        (b"\0alice@example.test\0", "wrong"),
        (b"\0nobody@example.test\0secret", "unknown-user"),
        (b"\0\0secret", "malformed"),
        (b"alice@example.test\0secret", "malformed"),
        (b"\0alice@example.test\0secret\0", "malformed"),
        (b"\0alice\xff\0secret", "malformed"),
        (b"", "malformed"),
    ],
)
def test_plain(message: bytes, expected: str) -> None:
    assert result(run("PLAIN", context(), message)) == expected
    assert result(run("PLAIN", context(), None, message)) == expected


def test_plain_answers_a_missing_initial_response_with_an_empty_challenge() -> None:
    assert run("PLAIN", context(), None) == Challenge(b"")


def test_outcome_names_the_account_even_when_the_password_is_wrong() -> None:
    where = context()
    said = run("PLAIN", where, b"\0alice@example.test\0no")
    assert said == Outcome("wrong", "alice@example.test", where.store.account("alice@example.test"))


def test_an_expired_password_is_told_from_a_wrong_one() -> None:
    where = context()
    account = where.store.accounts["alice@example.test"]
    account.properties["password_expired"] = True
    assert check_password(where.store, "alice@example.test", RIGHT).result == "expired"
    assert check_password(where.store, "alice@example.test", "other").result == "wrong"


@given(st.text(min_size=1).filter(lambda text: "\0" not in text and text.isprintable()))
def test_plain_takes_any_password(password: str) -> None:
    where = context({"alice@example.test": password})
    assert result(run("PLAIN", where, b"\0alice@example.test\0" + password.encode())) == "right"


def test_login_prompts_and_takes_the_username_first() -> None:
    where = context()
    login = exchange("LOGIN", where)
    assert login.step(None) == Challenge(b"Username:")
    assert login.step(b"alice@example.test") == Challenge(b"Password:")
    assert login.username == "alice@example.test"
    assert result(login.step(b"secret")) == "right"
    assert run("LOGIN", where, b"alice@example.test") == Challenge(b"Password:")
    assert result(run("LOGIN", where, b"alice@example.test", b"no")) == "wrong"
    assert result(run("LOGIN", where, b"stranger", b"no")) == "unknown-user"
    assert run("LOGIN", where, b"") == Challenge(b"Username:")
    assert result(run("LOGIN", where, None, b"")) == "malformed"


def test_login_prompts_vary() -> None:
    where = context(prompts=(b"User Name\0", b"Password\0"))
    assert run("LOGIN", where, None) == Challenge(b"User Name\0")
    assert run("LOGIN", where, None, b"a") == Challenge(b"Password\0")


# --- challenge and response


def test_cram_md5_example_of_rfc_2195(monkeypatch: pytest.MonkeyPatch) -> None:
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    monkeypatch.setattr("fakeservers.sasl.digests.timestamp", lambda context: challenge)
    where = context({"tim": "tanstaaftanstaaf"})
    cram = exchange("CRAM-MD5", where)
    assert cram.step(None) == Challenge(challenge)
    reply = b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"
    assert result(answer(cram, reply)) == "right"
    assert where.secrets.mask(b"say " + reply)[0] == b"say ***"
    assert b"b913a602" not in where.secrets.mask(base64.b64decode(reply))[0]


def cram(challenge: Challenge | Outcome, user: bytes, password: bytes) -> bytes:
    assert isinstance(challenge, Challenge)
    return user + b" " + hmac.new(password, challenge.data, "md5").hexdigest().encode()


def test_cram_md5_refuses_what_is_wrong_and_what_is_malformed() -> None:
    where = context()
    made = exchange("CRAM-MD5", where)
    assert result(made.step(cram(made.step(None), b"alice@example.test", b"no"))) == "wrong"
    made = exchange("CRAM-MD5", where)
    assert result(made.step(cram(made.step(None), b"nobody", b"secret"))) == "unknown-user"
    for junk in (b"", b"alice@example.test", b"alice@example.test 12", b" " + b"0" * 32, b"a " + b"G" * 32):
        assert result(run("CRAM-MD5", where, None, junk)) == "malformed"


def test_cram_md5_challenges_differ_and_repeat_with_the_seed() -> None:
    where = context(seed=5)
    first, second = (run("CRAM-MD5", where, None) for _ in range(2))
    assert first != second
    assert run("CRAM-MD5", context(seed=5), None) == first


def test_apop_example_of_rfc_1939() -> None:
    where = context({"mrose": "tanstaaf"})
    banner = b"<1896.697170952@dbc.mtview.ca.us>"
    digest = b"c4c9334bac560ecc979e58001b3e22fb"
    assert apop(where.store, where.secrets, banner, "mrose", digest).result == "right"
    assert apop(where.store, where.secrets, banner[:-1], "mrose", digest).result == "wrong"
    assert apop(where.store, where.secrets, banner, "rose", digest).result == "unknown-user"
    assert apop(where.store, where.secrets, banner, "mrose", digest.upper()).result == "malformed"
    assert where.secrets.mask(b"APOP mrose " + digest)[0] == b"APOP mrose ***"


# --- SCRAM

EXAMPLES = {
    "SCRAM-SHA-1": (
        "QSXCR+Q6sek8bf92",
        b"3rfcNHYJY1ZVvWVs7j",
        b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "SCRAM-SHA-256": (
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


@pytest.mark.parametrize("mechanism", EXAMPLES)
def test_scram_examples_of_rfc_5802_and_7677(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    salt, nonce, first, server_first, final, server_final = EXAMPLES[mechanism]
    monkeypatch.setattr(scram_module, "_salt", lambda username: base64.b64decode(salt))
    monkeypatch.setattr(scram_module, "_nonce", lambda random: nonce)
    where = context({"user": "pencil"})
    made = exchange(mechanism, where)
    assert made.step(first) == Challenge(server_first)
    assert made.step(final) == Challenge(server_final, secret=True)
    assert made.step(b"") == Outcome("right", "user", where.store.account("user"))
    for proof in (final, base64.b64encode(final), server_final, base64.b64encode(server_final)):
        assert where.secrets.mask(proof)[1] == "proof"


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("password", ["secret", "päss,w=ord", "\u2168\u00ad"])
def test_scram_with_a_client_we_did_not_write(mechanism: str, password: str) -> None:
    where = context({"al,i=ce@example.test": password})
    client = ScramClient([mechanism], "al,i=ce@example.test", password)
    made = exchange(mechanism, where)
    challenge = made.step(client.get_client_first().encode())
    assert isinstance(challenge, Challenge)
    client.set_server_first(challenge.data.decode())
    last = made.step(client.get_client_final().encode())
    assert isinstance(last, Challenge)
    client.set_server_final(last.data.decode())
    assert result(made.step(b"")) == "right"


def scram_outcome(where: Context, user: str, password: str) -> str:
    client = ScramClient(["SCRAM-SHA-256"], user, password)
    made = exchange("SCRAM-SHA-256", where)
    challenge = made.step(client.get_client_first().encode())
    assert isinstance(challenge, Challenge)
    client.set_server_first(challenge.data.decode())
    return result(made.step(client.get_client_final().encode()))


def test_scram_refuses_a_wrong_password_and_an_unknown_user_at_the_same_step() -> None:
    where = context()
    assert scram_outcome(where, "alice@example.test", "no") == "wrong"
    assert scram_outcome(where, "nobody@example.test", "no") == "unknown-user"
    where.store.accounts["alice@example.test"].properties["password_expired"] = True
    assert scram_outcome(where, "alice@example.test", RIGHT) == "expired"


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n,,",
        b"n,,n=,r=abc",
        b"n,,n=alice",
        b"n,,n=al=ice,r=abc",
        b"n,,n=alice,r=a c",
        b"n,,m=ext,n=alice,r=abc",
        b"p=tls-unique,,n=alice,r=abc",
        b"n,,n=al\xffice,r=abc",
        b"n,,n=al\0ice,r=abc",
        b"x,,n=alice,r=abc",
        b"n,,n=\xc2\x80,r=abc",
    ],
)
def test_scram_malformed_first_messages(first: bytes) -> None:
    assert result(run("SCRAM-SHA-256", context(), first)) == "malformed"


@pytest.mark.parametrize(
    ("final", "expected"),
    [
        (b"", "malformed"),
        (b"c=biws,r=abc", "malformed"),
        (b"c=biws,r={nonce},p=AAAA", "malformed"),
        (b"c=biws,r={nonce},p====", "malformed"),
        (b"c=biws,r={nonce},p=" + base64.b64encode(bytes(32)), "wrong"),
    ],
)
def test_scram_malformed_final_messages(final: bytes, expected: str) -> None:
    made = exchange("SCRAM-SHA-256", context())
    challenge = made.step(b"n,,n=alice@example.test,r=abc")
    assert isinstance(challenge, Challenge)
    nonce = challenge.data[2:].partition(b",")[0]
    assert result(made.step(final.replace(b"{nonce}", nonce))) == expected


def test_scram_wants_its_own_nonce_and_the_header_back() -> None:
    where = context()
    for change in ((b"c=biws", b"c=eSws"), (b",r=", b",r=x")):
        client = ScramClient(["SCRAM-SHA-256"], "alice@example.test", RIGHT)
        made = exchange("SCRAM-SHA-256", where)
        challenge = made.step(client.get_client_first().encode())
        assert isinstance(challenge, Challenge)
        client.set_server_first(challenge.data.decode())
        assert result(made.step(client.get_client_final().encode().replace(*change))) == "wrong"


def test_scram_authorization_identity_must_be_oneself() -> None:
    where = context()
    assert result(run("SCRAM-SHA-1", where, b"n,a=bob,n=alice@example.test,r=abc")) == "wrong"
    assert isinstance(run("SCRAM-SHA-1", where, b"n,a=alice@example.test,n=alice@example.test,r=abc"), Challenge)


# --- tokens


def bearer_context() -> Context:
    where = context()
    account = where.store.accounts["alice@example.test"]
    account.tokens.add(TOKEN)
    account.properties["expired_tokens"] = ["old"]
    return where


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("XOAUTH2", "user=alice@example.test\x01auth=Bearer {token}\x01\x01"),
        ("OAUTHBEARER", "n,a=alice@example.test,\x01host=h\x01port=995\x01auth=Bearer {token}\x01\x01"),
        ("OAUTHBEARER", "n,,\x01auth=bearer {token}\x01\x01"),
    ],
)
def test_tokens(mechanism: str, message: str) -> None:
    where = bearer_context()
    right = run(mechanism, where, message.format(token=TOKEN).encode())
    assert right == Outcome("right", "alice@example.test", where.store.account("alice@example.test"))
    for token, expected in (("bad", "wrong"), ("old", "expired")):
        made = exchange(mechanism, where)
        error = made.step(message.format(token=token).encode())
        assert isinstance(error, Challenge)
        assert "status" in json.loads(error.data)
        assert result(made.step(b"" if mechanism == "XOAUTH2" else b"\x01")) == expected


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("XOAUTH2", b""),
        ("XOAUTH2", b"user=alice@example.test\x01auth=Bearer x"),
        ("XOAUTH2", b"user=alice@example.test\x01auth=Basic x\x01\x01"),
        ("XOAUTH2", b"auth=Bearer x\x01\x01"),
        ("XOAUTH2", b"user=\xff\x01auth=Bearer x\x01\x01"),
        ("OAUTHBEARER", b"\x01auth=Bearer x\x01\x01"),
        ("OAUTHBEARER", b"p=tls-unique,,\x01auth=Bearer x\x01\x01"),
        ("OAUTHBEARER", b"n,a=alice@example.test,"),
        ("OAUTHBEARER", b"n,b=alice@example.test,\x01auth=Bearer x\x01\x01"),
    ],
)
def test_malformed_token_messages(mechanism: str, message: bytes) -> None:
    assert result(run(mechanism, context(), message)) == "malformed"


# --- EXTERNAL and ANONYMOUS


def test_external_without_a_certificate_and_anonymous_are_refused() -> None:
    where = context()
    assert result(run("EXTERNAL", where, b"alice@example.test")) == "wrong"
    assert result(run("ANONYMOUS", where, b"trace")) == "unknown-user"
    where.store.add_account("anonymous", "")
    assert result(run("ANONYMOUS", where, b"trace")) == "right"


# --- lines, and junk


def test_answer_decodes_cancels_and_refuses() -> None:
    where = context()
    assert answer(exchange("PLAIN", where), b"*") == Outcome("cancelled")
    assert answer(exchange("PLAIN", where), b"not base64") == Outcome("malformed")
    assert answer(exchange("PLAIN", where), b"*", initial=True) == Outcome("malformed")
    assert answer(exchange("EXTERNAL", where), b"=", initial=True) == Outcome("wrong")
    assert result(answer(exchange("PLAIN", where), base64.b64encode(b"\0alice@example.test\0secret"))) == "right"


@given(st.sampled_from(sorted(implemented())), st.lists(st.binary(max_size=60) | st.none(), min_size=1, max_size=5))
def test_no_message_crashes_a_mechanism_or_logs_in(mechanism: str, responses: list[bytes | None]) -> None:
    made = begin(mechanism, context({"a": "b\0"}))
    if made is None:
        return
    for response in responses:
        said = made.step(response)
        if isinstance(said, Outcome):
            assert said.result != "right"
            return


# --- SASLprep


@pytest.mark.parametrize(
    ("text", "expected"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_saslprep_examples_of_rfc_4013(text: str, expected: str) -> None:
    assert saslprep(text) == expected


@pytest.mark.parametrize("text", ["\x07", "\u0627\x31", "\u0627a", "\ue000"])
def test_saslprep_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"SASLprep|right-to-left"):
        saslprep(text)


@given(st.text())
def test_saslprep_is_idempotent(text: str) -> None:
    try:
        once = saslprep(text)
    except ValueError:
        return
    assert saslprep(once) == once


def test_apop_digest_is_plain_md5() -> None:
    where = context()
    digest = hashlib.md5(b"<1@x>secret").hexdigest().encode()
    assert apop(where.store, where.secrets, b"<1@x>", "alice@example.test", digest).result == "right"


def test_an_account_whose_tokens_are_refused() -> None:
    where = bearer_context()
    where.store.accounts["alice@example.test"].properties["tokens_refused"] = True
    made = exchange("XOAUTH2", where)
    assert isinstance(made.step(f"user=alice@example.test\x01auth=Bearer {TOKEN}\x01\x01".encode()), Challenge)
    assert result(made.step(b"")) == "wrong"


def test_a_refusal_without_a_challenge_and_a_prefix_before_the_name() -> None:
    plain = bearer_context()
    where = Context(
        store=plain.store,
        secrets=plain.secrets,
        random=plain.random,
        host=plain.host,
        now=plain.now,
        bearer_error=b"",
        prefix="recent:",
    )
    assert result(run("XOAUTH2", where, b"user=alice@example.test\x01auth=Bearer x\x01\x01")) == "wrong"
    said = run("PLAIN", where, b"\0recent:alice@example.test\0secret")
    assert said == Outcome("right", "recent:alice@example.test", plain.store.account("alice@example.test"))
    assert result(run("PLAIN", plain, b"\0recent:alice@example.test\0secret")) == "unknown-user"
