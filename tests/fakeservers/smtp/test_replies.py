"""The texts: every one well-formed, every key known, a profile's own in their place."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from fakeservers.profile import SmtpProfile
from fakeservers.smtp import replies

from .dialogue import ALICE, Dialogue, generic, hello

REPLY = re.compile(r"[2345]\d\d(-| ).*")


@pytest.mark.parametrize("key", sorted(replies.REPLY_KEYS))
def test_default_texts(key: str) -> None:
    text = replies.REPLIES[key]
    assert REPLY.fullmatch(text)
    assert len(text) < 500
    # RFC 2034 4: no enhanced code in the greeting and after HELO, EHLO, and none with 3xx.
    enhanced = re.match(r"\d\d\d (\d)\.\d{1,3}\.\d{1,3} ", text)
    assert (enhanced is None) == (key in ("greeting", "helo", "ehlo", "data.go"))
    assert enhanced is None or enhanced[1] == text[0]


def test_mistakes_are_keys() -> None:
    assert replies.MISTAKES < replies.REPLY_KEYS


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ValidationError, match=r'unknown reply key "mail\.okay": did you mean "mail\.ok"\?'):
        SmtpProfile(replies={"mail.okay": "250 fine"})


def test_checking_keys_loads_no_aiosmtpd() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from fakeservers.profile import SmtpProfile; SmtpProfile(replies={'quit': '221 bye'});"
        "assert 'aiosmtpd' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_profile_texts_with_lines_and_placeholders() -> None:
    texts = {
        "greeting": "220-{host}\n220 {client_ip}{sp}",
        "ehlo": "{host} at your service, [{client_ip}]",
        "mail.ok": "250 2.1.0 {sender} {nothing}",
        "rcpt.unknown-user": "550-5.1.1 no {address}\n550 5.1.1 here",
        "data.ok": "250 2.6.0 <{message_id}> {size} {unix_time}",
        "unknown": "500 5.3.3 Unrecognized command '{command}'",
    }
    dialogue = Dialogue(generic(replies=texts))
    assert dialogue.greeting == "220-mail.example.test\r\n220 192.0.2.1 \r\n"
    assert dialogue.say("EHLO x").splitlines()[0] == "250-mail.example.test at your service, [192.0.2.1]"
    assert dialogue.say("MAIL FROM:<a@b.example>") == "250 2.1.0 a@b.example {nothing}"
    assert dialogue.say("RCPT TO:<x@example.test>") == "550-5.1.1 no x@example.test\r\n550 5.1.1 here"
    dialogue.say(f"RCPT TO:<{ALICE}>", "DATA")
    assert re.fullmatch(r"250 2\.6\.0 <1@b> 23 \d+\r\n", dialogue.send(b"Message-ID: <1@b>\r\n\r\n\r\n.\r\n"))
    assert dialogue.say("fOo bar") == "500 5.3.3 Unrecognized command 'fOo'"


@pytest.mark.parametrize("provider", ["gmail", "google-relay", "office365"])
def test_shipped_providers_speak(provider: str) -> None:
    dialogue = hello(provider, "submission", tls=True)
    assert dialogue.greeting.startswith("220 ")
    assert "{" not in dialogue.greeting + dialogue.say("MAIL FROM:<a@b.example>", "RSET", "FOO", "QUIT")
