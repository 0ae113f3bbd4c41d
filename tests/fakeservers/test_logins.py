"""Logins that end in another way than right or wrong, over the cores of all three protocols."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from scramp import ScramClient

from fakeservers import Clock, FakeMailHost, Profile, Rule, load_profile
from fakeservers.actions import Action, Send, TlsFacts
from fakeservers.certificates import client_certificate, server_context
from fakeservers.connection import Connection
from fakeservers.imap.session import ImapSession
from fakeservers.mailstore import MailStore
from fakeservers.pop3.session import Pop3Session
from fakeservers.sasl import Challenge, Context, Outcome, begin
from fakeservers.sasl.scram import end_point_binding
from fakeservers.smtp.session import SmtpSession
from fakeservers.transcript import Secrets

ALICE = "alice@example.test"
SESSIONS: dict[str, Callable[[Connection], Any]] = {
    "smtp": SmtpSession, "imap": ImapSession, "pop3": Pop3Session,
}  # fmt: skip
PROTOCOLS = sorted(SESSIONS)
CERTIFICATE = server_context(("mail.example.test",)).certificate


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def with_mechanisms(*mechanisms: str, **more: Any) -> Profile:
    """`generic` that offers these in all protocols."""
    profile = load_profile("generic")
    changes = {"mechanisms": list(mechanisms), **more}
    parts = {name: getattr(profile, name).model_copy(update=changes) for name in PROTOCOLS}
    return profile.model_copy(update=parts)


class Talk:
    """A session of one protocol under TLS, ready for AUTH."""

    def __init__(self, protocol: str, profile: Profile | str = "generic", *rules: dict[str, Any]) -> None:
        self.protocol = protocol
        made = [Rule.model_validate({"name": f"rule-{n}", **rule}) for n, rule in enumerate(rules)]
        self.host = FakeMailHost(profile, rules=made, clock=Clock(1_700_000_000.0))
        self.reconnect()

    def reconnect(self) -> None:
        service = {"smtp": "smtps", "imap": "imaps", "pop3": "pop3s"}[self.protocol]
        self.connection = Connection(self.host.site, next(self.host.connection_numbers), service, self.protocol, "::1")
        self.connection.tls = TlsFacts("TLSv1.3", "x", server_certificate=CERTIFICATE)
        self.session = SESSIONS[self.protocol](self.connection)
        self.greeting = _said(self.session.connect())
        if self.protocol == "smtp":
            self.say("EHLO client.example")

    def say(self, line: str) -> str:
        return _said(self.session.receive(line.encode() + b"\r\n"))

    def auth(self, mechanism: str, *responses: str) -> str:
        """The last word of the server to AUTH and these responses, already base64."""
        word = {"smtp": "AUTH", "imap": "a AUTHENTICATE", "pop3": "AUTH"}[self.protocol]
        said = self.say(f"{word} {mechanism}")
        for response in responses:
            said = self.say(response)
        return said

    def plain(self, password: str = "secret") -> str:
        return self.auth("PLAIN", b64(f"\0{ALICE}\0{password}"))

    @property
    def account(self) -> Any:
        return self.host.store.accounts[ALICE]


def _said(actions: list[Action]) -> str:
    return b"".join(action.data for action in actions if isinstance(action, Send)).decode()


def good(said: str) -> bool:
    return said.startswith(("235", "a OK", "+OK"))


def refused(said: str) -> bool:
    return said.startswith(("535", "a NO", "-ERR"))


def challenge(said: str) -> bytes:
    return base64.b64decode(said.removeprefix("334").removeprefix("+").strip())


# --- accounts


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("disabled", {"smtp": "535 5.7.13", "imap": "a NO [CONTACTADMIN]", "pop3": "-ERR [AUTH] Account is disabled"}),
        ("password_expired", {"smtp": "535 5.7.8", "imap": "a NO [EXPIRED]", "pop3": "-ERR [AUTH] Password or token"}),
    ],
)
def test_a_right_password_that_is_of_no_use(protocol: str, name: str, words: dict[str, str]) -> None:
    talk = Talk(protocol)
    talk.account.properties[name] = True
    assert talk.plain().startswith(words[protocol])
    assert not good(talk.plain("wrong"))
    talk.account.properties[name] = False
    assert good(talk.plain())


def test_the_plain_commands_know_it_too() -> None:
    imap, pop3 = Talk("imap"), Talk("pop3")
    for talk in (imap, pop3):
        talk.account.properties["disabled"] = True
    assert imap.say(f"a LOGIN {ALICE} secret").startswith("a NO [CONTACTADMIN]")
    pop3.say(f"USER {ALICE}")
    assert pop3.say("PASS secret").startswith("-ERR [AUTH] Account is disabled")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lockout_after_failures_within_a_window(protocol: str) -> None:
    reply = {"smtp": "454 4.7.0 Locked", "imap": "NO [UNAVAILABLE] Locked", "pop3": "-ERR [SYS/TEMP] Locked"}
    talk = Talk(
        protocol,
        "generic",
        {
            "at": f"{protocol}.credentials",
            "when": {"account.failed_logins": {"at_least": 3, "within": "15m"}},
            "reply": reply[protocol],
        },
    )
    for _ in range(3):
        assert "Locked" not in talk.plain("wrong")
    assert "Locked" in talk.plain()
    talk.reconnect()
    assert "Locked" in talk.plain(), "another connection is locked out too"
    talk.host.clock.advance(16 * 60)
    assert good(talk.plain())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_second_login_is_refused(protocol: str) -> None:
    talk = Talk(protocol)
    assert good(talk.plain())
    assert talk.auth("PLAIN").startswith({"smtp": "503", "imap": "a BAD", "pop3": "-ERR"}[protocol])


# --- mechanisms


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_prompts_of_login_are_the_profiles(protocol: str) -> None:
    talk = Talk(protocol, with_mechanisms("LOGIN", login_prompts=("User Name\0", "")))
    assert challenge(talk.auth("LOGIN")) == b"User Name\0"
    assert challenge(talk.say(b64(ALICE))) == b""
    assert good(talk.say(b64("secret")))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mechanism", ["DIGEST-MD5", "GSSAPI"])
def test_advertised_and_refused(protocol: str, mechanism: str) -> None:
    talk = Talk(protocol, with_mechanisms(mechanism))
    said = talk.auth(mechanism)
    if mechanism == "DIGEST-MD5":
        assert b'realm="mail.example.test",nonce="' in challenge(said)
    else:
        assert challenge(said) == b""
    said = talk.say(b64(f'username="{ALICE}",response=0'))
    assert said.startswith({"smtp": "535", "imap": "a NO", "pop3": "-ERR"}[protocol])
    assert not [entry for entry in talk.host.transcript if entry.facts.get("event") == "unimplemented"]
    assert talk.host.site.tally.total("failed_logins") == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_anonymous_needs_an_account_of_that_name(protocol: str) -> None:
    talk = Talk(protocol, with_mechanisms("ANONYMOUS"))
    assert not good(talk.auth("ANONYMOUS", b64("trace@example.test")))
    talk.host.add_user("anonymous", "")
    assert good(talk.auth("ANONYMOUS", b64("trace@example.test")))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cancelled_undecodable_and_too_long(protocol: str) -> None:
    talk = Talk(protocol)
    assert talk.auth("PLAIN", "*").startswith({"smtp": "501", "imap": "a BAD", "pop3": "-ERR"}[protocol])
    assert talk.auth("PLAIN", "!!!").startswith({"smtp": "501", "imap": "a BAD", "pop3": "-ERR"}[protocol])
    said = talk.auth("PLAIN", "A" * 100_000)
    assert said.startswith({"smtp": "500 5.5.6", "imap": "* BAD", "pop3": "-ERR"}[protocol]) or " BAD " in said
    assert good(talk.plain())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_mechanisms_change_after_a_failure(protocol: str) -> None:
    asks = {"smtp": "ehlo", "imap": "capability", "pop3": "capa"}
    only = {
        "smtp": {"remove": ["AUTH"], "add": ["AUTH LOGIN"]},
        "imap": {"only": ["IMAP4rev1", "AUTH=LOGIN"]},
        "pop3": {"remove": ["SASL"], "add": ["SASL LOGIN"]},
    }
    points = [f"{protocol}.{asks[protocol]}"] + (["imap.auth"] if protocol == "imap" else [])
    talk = Talk(
        protocol,
        "generic",
        {"at": points, "when": {"host.failed_logins": {"at_least": 1}}, "capabilities": only[protocol]},
    )
    assert not good(talk.plain("wrong"))
    commands = {"smtp": "EHLO client.example", "imap": "b CAPABILITY", "pop3": "CAPA"}
    offers = talk.say(commands[protocol])
    assert "LOGIN" in offers
    assert "CRAM-MD5" not in offers
    assert not good(talk.plain()), "PLAIN is no longer taken"
    assert good(talk.auth("LOGIN", b64(ALICE), b64("secret")))


# --- SCRAM with channel binding


def scram_plus(talk: Talk, mechanism: str, certificate: bytes) -> str:
    binding = ("tls-server-end-point", end_point_binding(certificate))
    client = ScramClient([mechanism], ALICE, "secret", channel_binding=binding)
    said = talk.auth(mechanism, b64(client.get_client_first()))
    if not said.startswith(("334", "+ ")):
        return said
    client.set_server_first(challenge(said).decode())
    said = talk.say(b64(client.get_client_final()))
    if not said.startswith(("334", "+ ")):
        return said
    client.set_server_final(challenge(said).decode())
    return talk.say("")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
def test_scram_plus_is_bound_to_the_certificate_shown(protocol: str, mechanism: str) -> None:
    profile = with_mechanisms(mechanism)
    assert good(scram_plus(Talk(protocol, profile), mechanism, CERTIFICATE))
    other = server_context(("mail.example.test",), "renewed").certificate
    said = scram_plus(Talk(protocol, profile), mechanism, other)
    assert refused(said), "somebody stands between"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_could_have_bound_and_was_not_told_so_is_refused(protocol: str) -> None:
    """RFC 5802 6: the flag "y" says that the server does not bind."""
    bound = Talk(protocol, with_mechanisms("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"))
    assert refused(scram_plus(bound, "SCRAM-SHA-256", CERTIFICATE))
    assert good(scram_plus(Talk(protocol, with_mechanisms("SCRAM-SHA-256")), "SCRAM-SHA-256", CERTIFICATE))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_does_not_open_a_disabled_account(protocol: str) -> None:
    talk = Talk(protocol, with_mechanisms("EXTERNAL"))
    certificate = x509.load_pem_x509_certificate(client_certificate(ALICE)[0]).public_bytes(Encoding.DER)
    talk.connection.tls = TlsFacts("TLSv1.3", "x", client_certificate=certificate)
    talk.account.properties["disabled"] = True
    assert refused(talk.auth("EXTERNAL", ""))
    talk.account.properties["disabled"] = False
    assert good(talk.auth("EXTERNAL", ""))


# --- tokens


def bearer(mechanism: str, properties: dict[str, Any]) -> tuple[dict[str, str] | None, Outcome]:
    store = MailStore(Clock(0))
    account = store.add_account(ALICE, "secret")
    account.tokens.add("token")
    account.properties.update(properties)
    where = Context(store=store, secrets=Secrets(), random=Random(1), host="h", now=1_700_000_000.0)
    exchange = begin(mechanism, where)
    assert exchange is not None
    header = f"n,a={ALICE},\x01" if mechanism == "OAUTHBEARER" else f"user={ALICE}\x01"
    said = exchange.step(f"{header}auth=Bearer token\x01\x01".encode())
    if isinstance(said, Outcome):
        return None, said
    last = exchange.step(b"\x01")
    assert isinstance(said, Challenge)
    assert isinstance(last, Outcome)
    return json.loads(said.data), last


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize(
    ("properties", "result", "google", "standard"),
    [
        ({}, "right", None, None),
        ({"token_expires": 1_700_000_001}, "right", None, None),
        ({"token_expires": 1_700_000_000}, "expired", "401", "invalid_token"),
        ({"expired_tokens": "token"}, "expired", "401", "invalid_token"),
        ({"revoked_tokens": ["token"]}, "revoked", "401", "invalid_token"),
        ({"foreign_tokens": ["token"]}, "wrong-audience", "400", "insufficient_scope"),
        ({"tokens_refused": True}, "wrong", "400", "invalid_token"),
        ({"disabled": True}, "disabled", "400", "invalid_token"),
    ],
)
def test_what_a_token_is_refused_for(
    mechanism: str, properties: dict[str, Any], result: str, google: str | None, standard: str | None
) -> None:
    error, outcome = bearer(mechanism, properties)
    assert outcome.result == result
    assert (error or {}).get("status") == (google if mechanism == "XOAUTH2" else standard)


@pytest.mark.parametrize(("protocol", "point"), [("imap", "imap.noop"), ("pop3", "pop3.noop"), ("smtp", "smtp.noop")])
def test_a_token_that_expires_during_a_session(protocol: str, point: str) -> None:
    words = {"imap": "* BYE Session expired", "pop3": "-ERR [AUTH] Session expired", "smtp": "421 4.7.0 Expired"}
    talk = Talk(
        protocol,
        with_mechanisms("XOAUTH2"),
        {
            "at": point,
            "when": {"mechanism": "XOAUTH2", "elapsed": {"at_least": 3600}},
            "reply": words[protocol],
            "then": "close",
        },
    )
    talk.account.tokens.add("token")
    assert good(talk.auth("XOAUTH2", b64(f"user={ALICE}\x01auth=Bearer token\x01\x01")))
    noop = "a NOOP" if protocol == "imap" else "NOOP"
    assert "xpired" not in talk.say(noop)
    talk.host.clock.advance(3600)
    assert talk.say(noop).startswith(words[protocol])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("mechanism", "goodbye"), [("XOAUTH2", ""), ("OAUTHBEARER", "AQ==")])
def test_the_answer_to_a_refusal_is_no_token(protocol: str, mechanism: str, goodbye: str) -> None:
    talk = Talk(protocol, with_mechanisms(mechanism))
    header = f"n,a={ALICE},\x01" if mechanism == "OAUTHBEARER" else f"user={ALICE}\x01"
    assert not good(talk.auth(mechanism, b64(f"{header}auth=Bearer old\x01\x01"), goodbye))
    assert [entry.facts["kind"] for entry in talk.host.transcript if entry.facts.get("event") == "secret"] == ["token"]


# --- rules in the middle of an exchange


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_rule_lets_the_client_in_before_the_exchange_is_over(protocol: str) -> None:
    words = {"smtp": "235 2.7.0 Welcome", "imap": "OK Welcome", "pop3": "+OK Welcome"}
    talk = Talk(protocol, "generic", {"at": f"{protocol}.auth-step", "when": {"nth.host": 2}, "reply": words[protocol]})
    client = ScramClient(["SCRAM-SHA-256"], ALICE, "secret")
    talk.auth("SCRAM-SHA-256")
    client.set_server_first(challenge(talk.say(b64(client.get_client_first()))).decode())
    assert good(talk.say(b64(client.get_client_final()))), "the server's own proof is left out"
    assert talk.connection.account is talk.account


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_rule_never_stops_asking(protocol: str) -> None:
    asks = {"smtp": "334 eA==", "imap": "+ eA==", "pop3": "+ eA=="}[protocol]
    talk = Talk(protocol, "generic", {"at": [f"{protocol}.auth", f"{protocol}.auth-step"], "reply": asks})
    assert talk.plain() == f"{asks}\r\n"
    assert {talk.say("eA==") for _ in range(30)} == {f"{asks}\r\n"}
    assert talk.connection.account is None
