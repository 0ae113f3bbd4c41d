"""AUTH (RFC 4954): the dialogue around the mechanisms, and what the transcript keeps of it."""

from __future__ import annotations

import base64

import pytest

from .dialogue import ALICE, STRANGER, Dialogue, b64, generic, hello


def secure(**changes: object) -> Dialogue:
    return hello(generic(**changes), "smtps")


def test_plain_with_and_without_initial_response() -> None:
    assert secure().login() == "235 2.7.0 Authentication successful"
    dialogue = secure()
    assert dialogue.say("auth plain") == "334 "
    assert dialogue.say(b64(f"\0{ALICE}\0secret").decode()) == "235 2.7.0 Authentication successful"
    assert dialogue.connection.account is dialogue.host.store.accounts[ALICE]
    assert dialogue.connection.mechanism == "PLAIN"


def test_login() -> None:
    dialogue = secure()
    assert base64.b64decode(dialogue.say("AUTH LOGIN")[4:]) == b"Username:"
    assert base64.b64decode(dialogue.say(b64(ALICE).decode())[4:]) == b"Password:"
    assert dialogue.say(b64("secret").decode()).startswith("235")


@pytest.mark.parametrize(("user", "password", "counted"), [(ALICE, "wrong", 1), ("nobody@example.test", "secret", 0)])
def test_wrong_credentials(user: str, password: str, counted: int) -> None:
    dialogue = secure()
    assert dialogue.login(user, password) == "535 5.7.8 Authentication credentials invalid"
    assert dialogue.connection.account is None
    assert dialogue.connection.tally.total("failed_logins") == 1
    assert dialogue.host.site.tally.total("failed_logins") == 1
    assert dialogue.host.store.accounts[ALICE].tally.total("failed_logins") == counted
    assert dialogue.say("MAIL FROM:<a@b.example>").startswith("530 5.7.0")


def test_expired_password() -> None:
    dialogue = hello(generic(replies={"auth.expired": "535 5.7.8 Change it"}), "smtps")
    dialogue.host.store.accounts[ALICE].properties["password_expired"] = True
    assert dialogue.login() == "535 5.7.8 Change it"


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        (["AUTH"], "501 5.5.4"),
        (["AUTH PLAIN x y"], "501 5.5.4"),
        (["AUTH NTLM"], "504 5.5.4"),
        (["AUTH PLAIN !!!"], "501 5.5.2"),
        (["AUTH PLAIN", "!!!"], "501 5.5.2"),
        (["AUTH PLAIN", "c"], "501 5.5.2"),
        (["AUTH PLAIN", "*"], "501 5.0.0"),
        (["AUTH PLAIN ="], "501 5.5.2"),
        (["AUTH PLAIN " + b64("no nul").decode()], "501 5.5.2"),
        (["AUTH CRAM-MD5 ="], "501 5.7.0"),
        (["AUTH PLAIN", "A" * 12287], "500 5.5.6"),
        (["AUTH PLAIN", "A" * 20000], "500 5.5.6"),
    ],
)  # fmt: skip
def test_refused(lines: list[str], reply: str) -> None:
    dialogue = secure()
    assert dialogue.say(*lines[:-1]) in ("", "334 ")
    assert dialogue.say(lines[-1]).startswith(reply)
    assert dialogue.say("NOOP").startswith("250")
    assert dialogue.login().startswith("235")


def test_long_responses_pass() -> None:
    dialogue = secure()
    dialogue.say("AUTH PLAIN")
    assert dialogue.say(b64(f"\0{ALICE}\0" + "x" * 9000).decode()).startswith("535")
    assert dialogue.login(ALICE, "x" * 9000).startswith("535")


def test_bare_lf_ends_the_exchange() -> None:
    dialogue = secure()
    dialogue.say("AUTH PLAIN")
    assert dialogue.send(b64(f"\0{ALICE}\0secret") + b"\n").startswith("500 5.5.2")
    assert dialogue.say("NOOP").startswith("250")


def test_sequence() -> None:
    dialogue = Dialogue(service="smtps")
    assert dialogue.say("AUTH PLAIN").startswith("503")
    dialogue.say("HELO x")
    assert dialogue.say("AUTH PLAIN").startswith("503")
    dialogue.say("EHLO x")
    dialogue.login()
    assert dialogue.login() == "503 5.5.1 Already authenticated"
    open_transaction = hello()
    open_transaction.say(f"MAIL FROM:<{STRANGER}>")
    assert open_transaction.say("AUTH PLAIN").startswith("503 5.5.1 AUTH is not permitted")


def test_auth_in_clear() -> None:
    assert hello().login() == "538 5.7.11 Encryption required for requested authentication mechanism"
    assert hello(generic(hides_auth_before_tls=False)).login().startswith("235")
    assert hello(generic(ehlo=["HELP"])).login() == "503 5.5.1 AUTH is not available here"


def test_a_mechanism_that_is_advertised_and_not_built() -> None:
    dialogue = secure(mechanisms=["PLAIN", "X-NONE"])
    assert dialogue.say("AUTH X-NONE") == "504 5.5.4 Unrecognized authentication type"
    assert dialogue.events("unimplemented")[0].facts["what"] == "AUTH X-NONE"
    assert not dialogue.events("secret")


def kinds(dialogue: Dialogue) -> list[tuple[object, object]]:
    return [(entry.facts["kind"], entry.facts["tls"]) for entry in dialogue.events("secret")]


def test_passwords_are_masked_by_their_place() -> None:
    dialogue = secure()
    dialogue.login(ALICE, "never seen before")
    dialogue.say("AUTH PLAIN", b64(f"\0{ALICE}\0other").decode())
    dialogue.say("AUTH LOGIN", b64(ALICE).decode(), b64("third").decode())
    assert dialogue.heard()[1:] == [
        b"AUTH PLAIN ***\r\n",
        b"AUTH PLAIN\r\n",
        b"***\r\n",
        b"AUTH LOGIN\r\n",
        b64(ALICE) + b"\r\n",
        b"***\r\n",
    ]
    assert kinds(dialogue) == [("password", True)] * 3


def test_a_refused_auth_command_has_shown_its_password_too() -> None:
    dialogue = hello()
    assert dialogue.login().startswith("538")
    dialogue.say("AUTH\tPLAIN " + b64("\0a\0b").decode())
    assert dialogue.heard()[1:] == [b"AUTH PLAIN ***\r\n", b"AUTH\tPLAIN ***\r\n"]
    assert kinds(dialogue) == [("password", False)] * 2


@pytest.mark.parametrize(
    "written",
    ["  AUTH PLAIN {}", "\tauth PLAIN {}", "AUTH PLAIN\r{}", "\0AUTH PLAIN {}", "AUTH \0 PLAIN {}", "AUTH PLAIN {}\rx"],
)
def test_a_mistyped_auth_command_is_masked_too(written: str) -> None:
    dialogue = hello()
    response = b64(f"\0{ALICE}\0never seen before").decode()
    assert dialogue.say(written.format(response)).startswith("500 5.5.2")
    heard = dialogue.heard()[-1].decode()
    assert response not in heard
    assert "***" in heard


def test_what_is_no_credential_is_no_secret() -> None:
    dialogue = secure(mechanisms=["PLAIN", "LOGIN", "OAUTHBEARER", "CRAM-MD5"])
    dialogue.say("AUTH PLAIN", "*", "AUTH PLAIN", "", "AUTH PLAIN =", "AUTH LOGIN", "*", "AUTH CRAM-MD5", "AAAA")
    assert kinds(dialogue) == []


def test_tokens() -> None:
    dialogue = secure(mechanisms=["XOAUTH2"], bearer_error="json")
    account = dialogue.host.store.accounts[ALICE]
    account.tokens.add("right")
    token = b64(f"user={ALICE}\x01auth=Bearer bad\x01\x01").decode()
    assert dialogue.say(f"AUTH XOAUTH2 {token}").startswith("334 ")
    assert dialogue.say("").startswith("535")
    token = b64(f"user={ALICE}\x01auth=Bearer right\x01\x01").decode()
    assert dialogue.say(f"AUTH XOAUTH2 {token}").startswith("235")
    assert kinds(dialogue) == [("token", True)] * 2
    assert not any(b"right" in entry.data or token.encode() in entry.data for entry in dialogue.host.transcript)
