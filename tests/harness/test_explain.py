from __future__ import annotations

import io
import json
import sys
from random import Random
from typing import Any

import pytest

from fakeservers.profile import load_profile, profile_names
from fakeservers.templates import generate, render
from harness.cli.main import main
from harness.explain import explain

CREDENTIALS = """535-5.7.8 Username and Password not accepted. For more information, go to
535 5.7.8  https://support.google.com/mail/?p=BadCredentials a640c23a62f3a-ab123sm41469948gu.50 - gsmtp"""
UNCODED = CREDENTIALS.replace("535-", "").replace("535 ", "")
TENANT = (
    "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. "
    "Visit https://aka.ms/smtp_auth_disabled for more information. "
    "[AM0PR02CA0123.eurprd02.prod.outlook.com 2025-01-01T10:00:00.000Z 08DD2A]"
)
VALUES = {
    "client_ip": "203.0.113.9", "host": "mx.example", "user": "alice@example.test", "arg": "foo.example",
    "size_limit": 35882577, "unix_time": 1764104400, "date": "Tue, 25 Nov 2025 21:00:00 +0000", "ehlo": "pc.example",
    "date_unpadded": "Tue, 25 Nov 2025 21:00:00 +0000", "iso_time": "2025-11-25T21:00:00.123Z", "sp": " ",
    "address": "bob@example.net", "sender": "alice@example.test", "size": 12345, "count": 3, "octets": 999,
    "mailbox": "INBOX", "tag": "A1", "command": "MAIL FROM:<alice@example.test>", "message_id": "abc@example.test",
}  # fmt: skip


def replies() -> list[tuple[str, str, str | None]]:
    """Quirk, text as it would come over the wire, category."""
    found: list[tuple[str, str, str | None]] = []
    for name in profile_names():
        profile = load_profile(name)
        random = Random(7)
        values: dict[str, Any] = dict(VALUES)
        for variable, pattern in profile.variables.items():
            values[variable] = render(generate(pattern, random), values)
        for short, quirk in profile.quirks.items():
            for rule in quirk.rules:
                found += [
                    (f"{name}/{short}", render(act.reply, values), quirk.category)
                    for act in (rule, *rule.in_turn)
                    if act.reply and quirk.category is not None
                ]
    return found


def words(text: str) -> str:
    return " ".join(word for word in text.split() if not any(char.isdigit() for char in word))


REPLIES = [(name, text, category) for name, text, category in replies() if text[:1] not in "23"]
SAID_BY: dict[str, set[str]] = {}
"""Words: the quirks that say them; some say the same."""
for _name, _text, _ in REPLIES:
    SAID_BY.setdefault(words(_text), set()).add(_name)


@pytest.mark.parametrize("glue", ["\n", " ", "\\r\\n"], ids=["lines", "folded", "escaped"])
def test_every_quirk_is_known_by_its_words(glue: str) -> None:
    missed = []
    for name, text, category in REPLIES:
        found = explain(text.replace("\n", glue))
        told = found and (found.confidence, found.category, found.quirk in SAID_BY[words(text)])
        if told != ("exact", category, True):
            missed.append((name, text, found))
    assert missed == []


def test_the_object_has_the_contracts_keys() -> None:
    found = explain(CREDENTIALS)
    assert found is not None
    data = found.to_json()
    assert list(data) == [
        "known", "category", "provider", "code", "enhanced", "fixed_by", "meaning", "steps", "source", "quirk",
        "scenario", "confidence",
    ]  # fmt: skip
    assert data | {"meaning": "", "steps": [], "source": "", "scenario": None} == {
        "known": True, "category": "authentication", "provider": "gmail", "code": 535, "enhanced": "5.7.8",
        "fixed_by": "sender-settings", "meaning": "", "steps": [], "source": "", "quirk": "gmail/bad-credentials",
        "scenario": None, "confidence": "exact",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "quirk"),
    [
        (f"smtplib.SMTPAuthenticationError: (535, b{UNCODED!r})", "gmail/bad-credentials"),
        (f"S: {CREDENTIALS}", "gmail/bad-credentials"),
        ("2025-11-25 10:00:01 server said: " + TENANT, "office365/smtp-auth-disabled-tenant"),
        (TENANT.replace("AM0PR02", "FR2P281").replace("2025", "2026"), "office365/smtp-auth-disabled-tenant"),
        ("535 5.7.8 Username and Password not accepted.", "gmail/bad-credentials"),
    ],
    ids=["python", "transcript", "log", "other-ids", "first-line"],
)  # fmt: skip
def test_the_forms_in_which_people_paste_it(text: str, quirk: str) -> None:
    found = explain(text)
    assert found is not None
    assert found.quirk is not None
    assert found.quirk.removesuffix("-old") == quirk
    assert found.confidence == "exact"


def test_a_similar_text_with_the_same_codes_is_a_pattern() -> None:
    found = explain("535 5.7.139 Authentication unsuccessful, SMTP AUTH is switched off for this Tenant by policy.")
    assert found is not None
    assert found.confidence == "pattern"
    assert found.provider == "office365"


@pytest.mark.parametrize(
    ("text", "category", "fixed_by"),
    [
        ("550 5.1.1 <x@example.test>: Recipient address rejected: User unknown", "recipient-refused", "recipient"),
        ("452 4.2.2 mailbox full", "quota", "recipient"),
        ("552 5.3.4 message too big for system", "size", "sender-settings"),
        ("530 5.7.10 encryption by TLS is mandatory here", "tls-required", "sender-settings"),
        ("504 5.5.4 that way of proving who you are is not for us", "auth-mechanism", "sender-settings"),
        ("450 4.3.2 please come back", "temporary", "provider-wait"),
        ("550 5.7.1 you have exceeded your daily sending limit of this plan", "rate-limit", "provider-wait"),
        ("-ERR [IN-USE] maildrop locked by somebody", "temporary", "provider-wait"),
        ("a1 NO [AUTHENTICATIONFAILED] no", "authentication", "mailbox-owner"),
        ("socket.gaierror: [Errno -2] Name or service not known", "dns", "sender-settings"),
        ("ssl.SSLCertVerificationError: certificate verify failed: self-signed", "tls-certificate", "sender-settings"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "tls-handshake", "sender-settings"),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "connect", "network"),
    ],
)
def test_what_no_profile_says_is_classed_by_the_rulings(text: str, category: str, fixed_by: str) -> None:
    found = explain(text)
    assert found is not None
    assert (found.category, found.fixed_by, found.confidence) == (category, fixed_by, "class")
    assert found.quirk is None
    assert found.steps


@pytest.mark.parametrize("text", ["hello world", "250 2.0.0 OK", "the year 2025", "220 mail.example.test ESMTP"])
def test_what_is_no_error_is_unknown(text: str) -> None:
    assert explain(text) is None


# --- the command


def test_the_command_tells_who_can_fix_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", TENANT]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("authentication (535 5.7.139), known as office365/smtp-auth-disabled-tenant")
    assert "Who can fix it: the administrator of the organisation's mail (tenant-admin)" in shown
    assert "  1. " in shown


@pytest.mark.parametrize("text", ["-ERR [AUTH] Username and password not accepted.", "-- hello"])
def test_a_text_may_look_like_an_option(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--json", text]) == (0 if "ERR" in text else 1)
    assert json.loads(capsys.readouterr().out)["known"] is ("ERR" in text)


def test_standard_input_and_an_unknown_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CREDENTIALS.encode() + b"\xff"), encoding="utf-8"))
    assert main(["explain", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quirk"] == "gmail/bad-credentials"
    assert main(["explain", "--json", "hello"]) == 1
    assert json.loads(capsys.readouterr().out) == {"known": False}
    assert main(["explain", "hello"]) == 1
