"""The arguments of MAIL and RCPT."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeservers.smtp.paths import parameter_error, parse_mail, parse_rcpt, split_address

from .dialogue import ALICE, STRANGER, generic, hello

ATOMS = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~é", min_size=1, max_size=8)
DOMAINS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z0-9]{1,5}){0,3}\Z")


@given(st.lists(ATOMS, min_size=1, max_size=3), DOMAINS)
def test_any_dot_string_address_is_read_as_it_is(atoms: list[str], domain: str) -> None:
    address = f"{'.'.join(atoms)}@{domain}"
    mail = parse_mail(f"FROM:<{address}>")
    assert (mail.address, mail.domain, mail.error) == (address, domain, None)


@given(st.text(max_size=60))
def test_no_argument_breaks_the_reading(text: str) -> None:
    for argument in (text, f"FROM:<{text}>", f"FROM:<a@b.example> {text}", f"TO:<{text}>"):
        assert parse_mail(argument) == parse_mail(argument)
        parse_rcpt(argument)
        split_address(argument)


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("FROM:<>", ""),
        ("from:<a@b.example>", "a@b.example"),
        ('FROM:<"john doe"@b.example>', '"john doe"@b.example'),
        (r'FROM:<"a\"b>"@b.example>', r'"a\"b>"@b.example'),
        ("FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("FROM:<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"),
        ("FROM:<@relay.example,@two.example:a@b.example>", "a@b.example"),
        ("FROM:<jörg@münchen.example>", "jörg@münchen.example"),
    ],
)
def test_reverse_paths(argument: str, address: str) -> None:
    mail = parse_mail(argument)
    assert (mail.address, mail.error) == (address, None)


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("", "mail.syntax"),
        ("<a@b.example>", "mail.syntax"),
        ("FROM: <a@b.example>", "mail.syntax"),
        ("FROM:a@b.example", "mail.syntax"),
        ("FROM:<a@b.example>SIZE=1", "mail.syntax"),
        ("FROM:<a>", "mail.address"),
        ("FROM:<a@>", "mail.address"),
        ("FROM:<a b@c.example>", "mail.address"),
        ("FROM:<a..b@c.example>", "mail.address"),
        ("FROM:<a@b..example>", "mail.address"),
        ("FROM:<a@-b.example>", "mail.address"),
        ("FROM:<a@b.example> SIZE=", "parameter.syntax"),
        ("FROM:<a@b.example> SIZE=1 SIZE=2", "parameter.syntax"),
        ("FROM:<a@b.example> =1", "parameter.syntax"),
        ("FROM:<\udcff@b.example>", "mail.address"),
    ],
)
def test_refused_reverse_paths(argument: str, error: str) -> None:
    assert parse_mail(argument).error == error


def test_forward_paths() -> None:
    assert parse_rcpt("TO:<postMASTER>").address == "postMASTER"
    assert parse_rcpt("TO:<>").error == "rcpt.address"
    assert parse_rcpt("TO:<someone>").error == "rcpt.address"
    assert parse_rcpt("FROM:<a@b.example>").error == "rcpt.syntax"


EVERYTHING = frozenset({"SIZE", "8BITMIME", "SMTPUTF8", "DSN", "AUTH"})


@pytest.mark.parametrize(
    ("verb", "parameters", "error"),
    [
        ("MAIL", "SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1 AUTH=<>", None),
        ("MAIL", "AUTH=e+3Dmc2@example.com body=7bit", None),
        ("MAIL", "SIZE=big", "parameter.syntax"),
        ("MAIL", "SIZE=" + "1" * 21, "parameter.syntax"),
        ("MAIL", "SIZE", "parameter.syntax"),
        ("MAIL", "SMTPUTF8=yes", "parameter.syntax"),
        ("MAIL", "BODY=9BIT", "parameter.syntax"),
        ("MAIL", "BODY=BINARYMIME", "parameter.syntax"),
        ("MAIL", "RET=SOME", "parameter.syntax"),
        ("MAIL", "NOTIFY=NEVER", "parameter.unknown"),
        ("MAIL", "XYZ", "parameter.unknown"),
        ("RCPT", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@example.com", None),
        ("RCPT", "NOTIFY=NEVER,DELAY", "parameter.syntax"),
        ("RCPT", "ORCPT=nothing", "parameter.syntax"),
        ("RCPT", "ORCPT=rfc822;a+b@example.com", "parameter.syntax"),
        ("RCPT", "ORCPT=rfc822;a+2b", "parameter.syntax"),
        ("RCPT", "ORCPT=rfc822;j\u00f6rg@example.com", "parameter.syntax"),
        ("RCPT", "orcpt=UTF-8;j\u00f6rg@example.com", None),
        ("RCPT", "ORCPT=utf-8;j\\x{F6}rg@example.com", None),
        ("RCPT", "SIZE=1", "parameter.unknown"),
    ],
)
def test_parameters(verb: str, parameters: str, error: str | None) -> None:
    argument = parse_mail(f"FROM:<a@b.example> {parameters}")
    assert parameter_error(verb, argument, EVERYTHING) == error


def test_a_parameter_needs_its_keyword_in_the_ehlo_reply() -> None:
    dialogue = hello(generic(ehlo=["SIZE 1000"]))
    assert dialogue.say("MAIL FROM:<a@b.example> BODY=8BITMIME").startswith("555 5.5.4")
    assert dialogue.say("MAIL FROM:<a@b.example> SIZE=1001").startswith("250")
    helo = hello()
    helo.say("HELO x")
    assert helo.say("MAIL FROM:<a@b.example> SIZE=1").startswith("555 5.5.4")


def test_declared_size() -> None:
    dialogue = hello(generic(size_limit=1000))
    assert dialogue.say("MAIL FROM:<a@b.example> SIZE=1001").startswith("552 5.3.4")
    assert dialogue.say("MAIL FROM:<a@b.example> SIZE=1000").startswith("250")


def test_utf8_addresses_need_smtputf8() -> None:
    dialogue = hello()
    assert dialogue.say("MAIL FROM:<jörg@b.example>").startswith("553 5.6.7")
    assert dialogue.say("MAIL FROM:<jörg@b.example> SMTPUTF8").startswith("250")
    assert dialogue.say("RCPT TO:<jörg@example.test>").startswith("550 5.1.1 <jörg@example.test>")
    dialogue.say("RSET", "MAIL FROM:<a@b.example>")
    assert dialogue.say("RCPT TO:<jörg@example.test>").startswith("553 5.6.7")
    assert dialogue.say(f"RCPT TO:<{ALICE}> ORCPT=utf-8;jörg@example.test").startswith("553 5.6.7")


@pytest.mark.parametrize(
    ("written", "meant"),
    [('"alice"', "alice"), (r'"al\ice"', "alice"), ('"a.b"', "a.b"), ('"a b"', '"a b"'), ('".a"', '".a"'),
     (r'"a\"b"', r'"a\"b"'), ('""', '""'), ('"a@b"', '"a@b"')],
)  # fmt: skip
def test_quotes_that_change_nothing(written: str, meant: str) -> None:
    """RFC 5321 4.1.2: both forms are one mailbox."""
    assert parse_rcpt(f"TO:<{written}@b.example>").address == f"{meant}@b.example"
    assert parse_mail(f"FROM:<{written}@b.example>").address == f"{meant}@b.example"


def test_mail_for_a_quoted_name_is_its_user_s() -> None:
    dialogue = hello()
    dialogue.mail('"alice"@example.test')
    assert dialogue.say("x", ".").startswith("250")
    assert dialogue.contents() == [b"x\r\n"]


def test_parameters_are_kept_with_the_message_as_they_came() -> None:
    dialogue = hello()
    dialogue.say(f"MAIL FROM:<{STRANGER}> SIZE=3 body=8bitmime ENVID=QQ314159")
    dialogue.say(f"RCPT TO:<{ALICE}> NOTIFY=SUCCESS,failure ORCPT=rfc822;Alice@example.test", "DATA", "x", ".")
    (message,) = dialogue.host.messages(ALICE)
    assert message.parameters == (
        "SIZE=3", "body=8bitmime", "ENVID=QQ314159", "NOTIFY=SUCCESS,failure", "ORCPT=rfc822;Alice@example.test",
    )  # fmt: skip


def test_vrfy_addresses() -> None:
    assert split_address("<a@b.example>") == split_address(" a@b.example ") == "a@b.example"
    assert split_address('Fred "the" Foobar <a@b.example>') == "a@b.example"
    assert split_address("somebody") is None
