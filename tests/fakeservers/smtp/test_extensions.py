"""What EHLO may offer beyond the usual: REQUIRETLS, LIMITS, XCLIENT, FUTURERELEASE, DELIVERBY, ETRN, VRFY, LMTP."""

from __future__ import annotations

from typing import Any

import pytest

from fakeservers import Profile
from fakeservers.clock import Clock
from fakeservers.smtp.extensions import parse_xclient

from .dialogue import ALICE, BOB, STRANGER, Dialogue, generic, hello


def offering(*keywords: str, **options: Any) -> Dialogue:
    return hello(generic(ehlo=["PIPELINING", "CHUNKING", *keywords]), **options)


# --- REQUIRETLS (RFC 8689)


def test_requiretls_is_offered_under_tls_only() -> None:
    clear = offering("REQUIRETLS")
    assert "REQUIRETLS" not in clear.session.offered.names
    assert clear.say(f"MAIL FROM:<{STRANGER}> REQUIRETLS").startswith("555 ")
    secure = offering("REQUIRETLS", service="smtp", tls=True)
    assert secure.say(f"MAIL FROM:<{STRANGER}> REQUIRETLS=yes").startswith("501 ")
    assert secure.say(f"MAIL FROM:<{STRANGER}> REQUIRETLS").startswith("250 ")
    secure.say(f"RCPT TO:<{ALICE}>", "DATA", "x", ".")
    assert secure.host.messages(ALICE)[0].parameters == ("REQUIRETLS",)


# --- LIMITS (RFC 9422)


def test_limits_of_recipients_and_domains() -> None:
    dialogue = offering("LIMITS RCPTMAX=3 RCPTDOMAINMAX=1", rules=[{"name": "any", "at": "smtp.rcpt", "when": {}}])
    dialogue.say(f"MAIL FROM:<{STRANGER}>")
    assert dialogue.say(f"RCPT TO:<{ALICE}>").startswith("250 ")
    assert dialogue.say("RCPT TO:<postmaster>").startswith("452 4.5.3 Too many domains")
    assert dialogue.say(f"RCPT TO:<{BOB}>", f"RCPT TO:<{ALICE}>").count("250 ") == 2
    assert dialogue.say(f"RCPT TO:<{BOB}>").startswith("452 4.5.3 Too many recipients")


def test_limit_of_messages_in_a_session() -> None:
    dialogue = offering("LIMITS MAILMAX=2")
    for _ in range(2):
        assert dialogue.mail().startswith("354")
        dialogue.say(".")
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>").startswith("452 4.5.3 Too many messages")
    assert len(dialogue.contents()) == 2


def test_limits_are_what_was_said_and_no_more() -> None:
    dialogue = offering("LIMITS RCPTMAX=many MAILMAX= =3 X")
    assert dialogue.session.offered.limits == {"": 3}
    assert dialogue.mail(ALICE, BOB).startswith("354")


# --- FUTURERELEASE (RFC 4865), DELIVERBY (RFC 2852)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("HOLDFOR=3600", "250"),
        ("HOLDFOR=3601", "501 5.5.4 Cannot hold"),
        ("HOLDFOR=x", "501 5.5.4 Invalid"),
        ("HOLDFOR=0", "501 5.5.4 Invalid"),
        ("HOLDFOR=0010", "501 5.5.4 Invalid"),
        ("HOLDUNTIL=1970-01-01T01:00:00Z", "250"),
        ("holduntil=1970-01-01t01:00:00z", "250"),
        ("HOLDUNTIL=1970-01-01T02:00:00Z", "501 5.5.4 Cannot hold"),
        ("HOLDUNTIL=1970-13-01T01:00:00Z", "501 5.5.4 Invalid"),
        ("HOLDUNTIL=soon", "501 5.5.4 Invalid"),
        ("HOLDFOR=1 HOLDUNTIL=1970-01-01T01:00:00Z", "501 5.5.4 Invalid"),
        ("BY=120;R", "250"),
        ("BY=-5;NT", "250"),
        ("BY=0;R", "501 5.5.4 Invalid"),
        ("BY=59;RT", "501 5.5.4 Cannot deliver"),
        ("BY=1234567890;N", "501 5.5.4 Invalid"),
        ("BY=5;X", "501 5.5.4 Invalid"),
    ],
)
def test_times_of_release_and_delivery(parameters: str, code: str) -> None:
    dialogue = offering("FUTURERELEASE 3600 1970-01-02T00:00:00Z", "DELIVERBY 60", clock=Clock(0.0))
    assert dialogue.say(f"MAIL FROM:<{STRANGER}> {parameters}").startswith(code)


def test_the_last_date_of_a_release() -> None:
    dialogue = offering("FUTURERELEASE 864000 1970-01-02T00:00:00Z", clock=Clock(0.0))
    assert dialogue.say(f"MAIL FROM:<{STRANGER}> HOLDUNTIL=1970-01-03T00:00:00Z").startswith("501 5.5.4 Cannot hold")


def test_parameters_that_were_not_offered() -> None:
    for parameter in ("HOLDFOR=1", "HOLDUNTIL=1970-01-01T01:00:00Z", "BY=5;N", "REQUIRETLS"):
        assert offering().say(f"MAIL FROM:<{STRANGER}> {parameter}").startswith("555 ")


# --- VRFY, EXPN, ETRN


def test_vrfy_tells_nothing_unless_the_profile_does() -> None:
    assert hello().say(f"VRFY {ALICE}").startswith("252 ")
    assert hello().say("VRFY \u00e4").startswith("252 ")
    open_ = hello(generic(verifies=True))
    for asked in (ALICE, f"<{ALICE}>", f"Alice <{ALICE}>", "alice", "ALICE", f"{ALICE} smtputf8", f" {ALICE} "):
        assert open_.say(f"VRFY {asked}") == f"250 2.1.5 <{ALICE}>", asked
    for asked in ("nobody", "SMTPUTF8", "<nobody@example.test>", "alice@elsewhere.test", "alice smith"):
        assert open_.say(f"VRFY {asked}").startswith("550 5.1.1 "), asked
    assert open_.say("VRFY \u00e4@example.test").startswith("553 5.6.7 ")
    assert open_.say("VRFY \u00e4@example.test SMTPUTF8").startswith("550 5.1.1 <\u00e4@example.test>")


def test_expn_has_words_of_its_own_or_those_of_any_command_that_is_not_there() -> None:
    assert hello().say("EXPN list").startswith("502 5.5.1 ")
    assert hello(generic(replies={"unimplemented": "502 no"})).say("EXPN list") == "502 no"
    assert hello(generic(replies={"expn": "252 maybe"})).say("EXPN list") == "252 maybe"


def test_etrn() -> None:
    assert hello().say("ETRN example.test").startswith("502 ")
    dialogue = offering("ETRN")
    assert dialogue.say("ETRN example.test").startswith("251 ")
    assert dialogue.say("ETRN @Example.TEST").startswith("251 ")
    assert dialogue.say("ETRN elsewhere.example").startswith("459 4.7.0 elsewhere.example")
    assert dialogue.say("ETRN").startswith("501 ")
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>", "ETRN example.test").endswith("503 5.5.1 Bad sequence of commands")


# --- XCLIENT


def test_xclient_makes_another_client_and_begins_anew() -> None:
    dialogue = offering("XCLIENT NAME ADDR HELO LOGIN")
    assert dialogue.say(f"XCLIENT NAME=a+2Eexample ADDR=IPV6:2001:db8::1 LOGIN={ALICE}").startswith("220 ")
    assert dialogue.connection.client == "2001:db8::1"
    assert dialogue.connection.account is dialogue.host.store.account(ALICE)
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>").startswith("503 5.5.1 Send EHLO first")
    dialogue.say("EHLO proxied.example")
    dialogue.mail()
    dialogue.say(".")
    assert b"([2001:db8::1])" in dialogue.host.messages(ALICE)[0].trace
    assert dialogue.events("xclient")[0].facts["NAME"] == "a.example"


def test_replies_after_xclient_name_the_new_client() -> None:
    dialogue = hello(generic(ehlo=["XCLIENT ADDR"], replies={"noop.ok": "250 2.0.0 OK {client_ip}"}))
    assert dialogue.say("NOOP") == "250 2.0.0 OK 192.0.2.1"
    dialogue.say("XCLIENT ADDR=192.0.2.9", "EHLO proxied.example")
    assert dialogue.say("NOOP") == "250 2.0.0 OK 192.0.2.9"


def test_xclient_where_it_may_not_stand() -> None:
    assert hello().say("XCLIENT ADDR=192.0.2.9").startswith("502 ")
    dialogue = offering("XCLIENT ADDR")
    for argument in ("", "ADDR", "ADDR=", "NAME=x", "ADDR=+zz", "ADDR=a=b"):
        assert dialogue.say(f"XCLIENT {argument}").startswith("501 "), argument
    assert dialogue.say(f"MAIL FROM:<{STRANGER}>", "XCLIENT ADDR=192.0.2.9").endswith(
        "503 5.5.1 Bad sequence of commands"
    )


def test_what_the_proxy_does_not_know() -> None:
    assert parse_xclient("NAME=[UNAVAILABLE] addr=[tempunavail]", ()) == {"NAME": None, "ADDR": None}


# --- LMTP (RFC 2033)


def lmtp(**options: Any) -> Dialogue:
    profile = generic(ehlo=["PIPELINING", "CHUNKING", "8BITMIME"])
    service = profile.services["smtp"].model_copy(update={"lmtp": True})
    services: Profile = profile.model_copy(update={"services": {**profile.services, "smtp": service}})
    dialogue = Dialogue(services, **options)
    assert dialogue.say("LHLO client.example").startswith("250-")
    return dialogue


def test_lmtp_says_lhlo_and_smtp_does_not() -> None:
    dialogue = lmtp()
    assert dialogue.say("EHLO x", "HELO x").count("500 ") == 2
    assert Dialogue().say("LHLO x").startswith("500 ")


def test_lmtp_answers_for_each_recipient() -> None:
    dialogue = lmtp()
    dialogue.mail(ALICE, BOB)
    assert dialogue.say("x", ".").splitlines() == ["250 2.0.0 OK"] * 2
    assert b" with LMTP id " in dialogue.host.messages(BOB)[0].trace
    dialogue.say(f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{ALICE}>", f"RCPT TO:<{BOB}>")
    assert dialogue.send(b"BDAT 3 LAST\r\nx\r\n").count("250 2.0.0 OK") == 2


def test_lmtp_with_a_recipient_that_is_refused_behind_the_data() -> None:
    full = {"name": "full", "at": "smtp.message", "when": {"address": ALICE}, "reply": "452 4.2.2 <{address}> is full"}
    dialogue = lmtp(rules=[full])
    dialogue.mail(ALICE, BOB)
    said = dialogue.say("x", ".").splitlines()
    assert said == [f"452 4.2.2 <{ALICE}> is full", "250 2.0.0 OK"]
    assert (dialogue.contents(ALICE), dialogue.contents(BOB)) == ([], [b"x\r\n"])
    assert dialogue.host.site.tally.total("messages") == 1


def test_lmtp_data_without_a_valid_recipient_has_no_354() -> None:
    dialogue = lmtp()
    assert dialogue.mail("nobody@example.test").startswith("503 ")


def test_lmtp_too_big_for_everybody() -> None:
    profile = generic(size_limit=10)
    service = profile.services["smtp"].model_copy(update={"lmtp": True})
    dialogue = Dialogue(profile.model_copy(update={"services": {**profile.services, "smtp": service}}))
    dialogue.say("LHLO x")
    dialogue.mail(ALICE, BOB)
    assert dialogue.send(b"x" * 20 + b"\r\n.\r\n").count("552 5.3.4") == 2


def test_lmtp_refuses_the_last_chunk_for_everybody() -> None:
    busy = {"name": "busy", "at": "smtp.bdat", "when": {"argument": {"glob": "* LAST"}}, "reply": "451 4.3.0 Busy"}
    dialogue = lmtp(rules=[busy])
    dialogue.say(f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{ALICE}>", f"RCPT TO:<{BOB}>")
    assert dialogue.send(b"BDAT 1\r\nx") == "250 2.0.0 1 octets received\r\n"
    assert dialogue.send(b"BDAT 1 LAST\r\nx") == "451 4.3.0 Busy\r\n" * 2
    assert dialogue.send(b"BDAT 1\r\nx") == "503 5.5.1 Bad sequence of commands\r\n"
