"""AUTH (RFC 5034): every mechanism through the core, with and without an initial response."""

from __future__ import annotations

import base64
import hmac

import pytest
from scramp import ScramClient

from .dialogue import ALICE, Dialogue, fake_host, rule

MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER", "NTLM"]


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def challenge(said: str) -> bytes:
    assert said.startswith("+ "), said
    assert said.endswith("\r\n")
    return base64.b64decode(said[2:-2], validate=True)


def test_plain() -> None:
    message = b64(f"\0{ALICE}\0secret")
    assert Dialogue(fake_host()).say(f"AUTH PLAIN {message}") == "+OK Logged in.\r\n"
    assert Dialogue(fake_host()).say("auth plain", message) == "+ \r\n+OK Logged in.\r\n"
    assert Dialogue(fake_host()).say(f"AUTH PLAIN {b64(f'{chr(0)}{ALICE}{chr(0)}x')}").startswith("-ERR [AUTH]")


def test_login() -> None:
    client = Dialogue(fake_host())
    assert challenge(client.say("AUTH LOGIN")) == b"Username:"
    assert challenge(client.say(b64(ALICE))) == b"Password:"
    assert client.say(b64("secret")) == "+OK Logged in.\r\n"
    assert challenge(Dialogue(fake_host()).say(f"AUTH LOGIN {b64(ALICE)}")) == b"Password:"


def test_cram_md5() -> None:
    client = Dialogue(fake_host())
    digest = hmac.new(b"secret", challenge(client.say("AUTH CRAM-MD5")), "md5").hexdigest()
    assert client.say(b64(f"{ALICE} {digest}")) == "+OK Logged in.\r\n"


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("initial", [True, False])
def test_scram(mechanism: str, initial: bool) -> None:
    host = fake_host()
    client, scram = Dialogue(host), ScramClient([mechanism], ALICE, "secret")
    first = b64(scram.get_client_first())
    said = (
        client.say(f"AUTH {mechanism} {first}")
        if initial
        else client.say(f"AUTH {mechanism}", first).split("\r\n", 1)[1]
    )
    scram.set_server_first(challenge(said).decode())
    final = scram.get_client_final()
    said = client.say(b64(final))
    verifier = challenge(said).decode()
    scram.set_server_final(verifier)
    assert client.say("") == "+OK Logged in.\r\n"
    assert client.connection.mechanism == mechanism
    shown = b"\n".join(entry.data for entry in host.transcript).decode()
    assert not any(proof in shown or b64(proof) in shown for proof in (final, verifier))


@pytest.mark.parametrize("way", ["json", "none"])
def test_tokens(way: str) -> None:
    host = fake_host(mechanisms=MECHANISMS, options={"bearer_error": way})
    host.store.accounts[ALICE].tokens.add("token")
    message = "user={}\x01auth=Bearer {}\x01\x01"
    assert Dialogue(host).say(f"AUTH XOAUTH2 {b64(message.format(ALICE, 'token'))}") == "+OK Logged in.\r\n"
    host.store.accounts[ALICE].maildrop_locked = False
    client = Dialogue(host)
    said = client.say("AUTH XOAUTH2", b64(message.format(ALICE, "stale"))).removeprefix("+ \r\n")
    if way == "json":
        assert b'"status"' in challenge(said)
        said = client.say("")
    assert said == "-ERR [AUTH] Authentication failed.\r\n"
    tokens = [entry.text for entry in host.transcript if entry.facts.get("event") == "secret"]
    assert tokens == ["token sent over clear"] * 2


def test_cancelling_refusing_and_going_on() -> None:
    host = fake_host()
    client = Dialogue(host)
    assert client.say("AUTH PLAIN", "*") == "+ \r\n-ERR Authentication cancelled.\r\n"
    assert client.say("AUTH PLAIN", "no base64!") == "+ \r\n-ERR Malformed SASL response.\r\n"
    assert client.say("AUTH NTLM") == "-ERR Unsupported authentication mechanism.\r\n"
    assert client.say("AUTH") == "-ERR Syntax error.\r\n"
    assert host.site.tally.total("failed_logins") == 0
    client.login()


def test_a_mechanism_that_is_offered_but_not_built_is_noted() -> None:
    host = fake_host(mechanisms=[*MECHANISMS, "KERBEROS_V4"])
    assert Dialogue(host).say("AUTH KERBEROS_V4").startswith("-ERR")
    noted = [e.facts["what"] for e in host.transcript if e.facts.get("event") == "unimplemented"]
    assert noted == ["AUTH KERBEROS_V4"]


def test_rules_at_auth_auth_step_and_credentials() -> None:
    host = fake_host(
        rules=[
            rule(name="two-lines", at="pop3.auth", when={"argument": {"glob": "PLAIN ?*"}}, reply="-ERR on two lines"),
            rule(name="odd-challenge", at="pop3.auth-step", when={"mechanism": "CRAM-MD5"}, reply="-ERR busy"),
            rule(name="app-password", at="pop3.credentials", when={"credentials": "right", "account.app": True},
                 reply="-ERR [AUTH] Application-specific password required"),
            rule(name="third", at="pop3.credentials", when={"account.failed_logins": {"at_least": 2}},
                 reply="-ERR [AUTH] locked", then="close"),
        ]
    )  # fmt: skip
    account = host.store.accounts[ALICE]
    client = Dialogue(host)
    assert client.say(f"AUTH PLAIN {b64('x')}") == "-ERR on two lines\r\n"
    assert client.say("AUTH CRAM-MD5", "eA==").endswith("-ERR busy\r\n")
    account.properties["app"] = True
    assert client.say(f"USER {ALICE}", "PASS secret").endswith("-ERR [AUTH] Application-specific password required\r\n")
    account.properties["app"] = False
    assert client.say(f"USER {ALICE}", "PASS x").endswith("-ERR [AUTH] Authentication failed.\r\n")
    assert client.say(f"USER {ALICE}", "PASS secret").endswith("-ERR [AUTH] locked\r\n")
    assert client.ended()
