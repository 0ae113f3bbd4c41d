"""What of aiosmtpd is replaced, and why: each test names a defect that must not come back."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap

import aiosmtpd.smtp
import pytest

from fakeservers.smtp.commands import AIOSMTPD_TEXTS, Commands
from fakeservers.smtp.replies import REPLIES

from .dialogue import ALICE, STRANGER, Dialogue, b64, generic, hello

KEPT = ["smtp_HELO", "smtp_NOOP", "smtp_RSET", "smtp_QUIT", "smtp_EXPN"]


def test_these_commands_are_aiosmtpd_s() -> None:
    assert issubclass(Commands, aiosmtpd.smtp.SMTP)
    for name in KEPT:
        assert getattr(Commands, name) is getattr(aiosmtpd.smtp.SMTP, name)


def test_every_text_in_a_kept_command_has_a_key() -> None:
    """A newer aiosmtpd that words a refusal anew must be noticed."""
    texts = set()
    for name in KEPT:
        tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(aiosmtpd.smtp.SMTP, name))))
        texts |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    replies = {text for text in texts if re.match(r"[45]\d\d ", text)}
    assert replies == set(AIOSMTPD_TEXTS)
    assert set(AIOSMTPD_TEXTS.values()) <= set(REPLIES)


def test_auth_is_offered_on_implicit_tls() -> None:
    assert "AUTH" in Dialogue(service="smtps").say("EHLO x")


def test_lower_case_mechanism_names() -> None:
    dialogue = hello("generic", "smtps")
    assert dialogue.say("auth plain " + b64(f"\0{ALICE}\0secret").decode()).startswith("235")


def test_no_print_and_no_warning_at_auth(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    hello("generic", "smtps").login()
    assert tuple(capfd.readouterr()) == ("", "")
    assert not caplog.records


def test_mail_with_an_empty_auth_parameter() -> None:
    assert hello("generic", "smtps", rules=[]).login()
    dialogue = hello("generic", "smtps")
    dialogue.login()
    assert dialogue.say(f"MAIL FROM:<{ALICE}> AUTH=<>").startswith("250")


def test_parameters_keep_their_case_and_rcpt_has_some() -> None:
    dialogue = hello()
    assert dialogue.say(f"MAIL FROM:<{STRANGER}> ENVID=aB").startswith("250")
    assert dialogue.say(f"RCPT TO:<{ALICE}> NOTIFY=never").startswith("250")
    dialogue.say("DATA", ".")
    assert dialogue.host.messages(ALICE)[0].parameters == ("ENVID=aB", "NOTIFY=never")


def test_the_null_reverse_path_is_empty_and_opens_a_transaction() -> None:
    dialogue = hello()
    assert dialogue.say("MAIL FROM:<>").startswith("250")
    assert dialogue.say("MAIL FROM:<>").startswith("503")
    dialogue.say(f"RCPT TO:<{ALICE}>", "DATA", ".")
    message = dialogue.host.messages(ALICE)[0]
    assert message.mail_from == ""
    assert message.trace.startswith(b"Return-Path: <>\r\n")


def test_bare_lf_commands_are_refused() -> None:
    assert hello().send(b"NOOP\n").startswith("500 5.5.2")


def test_lines_of_any_length_in_a_message() -> None:
    dialogue = hello()
    dialogue.mail()
    assert dialogue.send(b"x" * 100_000 + b"\r\n.\r\n").startswith("250")


def test_a_new_connection_changes_no_limits_of_others() -> None:
    before = dict(aiosmtpd.smtp.SMTP.command_size_limits)
    first = hello()
    long_argument = f"MAIL FROM:<{STRANGER}> ENVID=" + "x" * 100 + " AUTH=" + "y" * 600
    for _ in range(3):
        hello()
    assert aiosmtpd.smtp.SMTP.command_size_limits == before
    assert first.say(long_argument).startswith("250") or "AUTH" not in first.session.offered.names
    assert hello("generic", "smtps").session.offered.names >= {"AUTH"}


def test_no_name_is_looked_up_per_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> str:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr("socket.getfqdn", forbidden)
    monkeypatch.setattr("asyncio.new_event_loop", forbidden)
    assert Dialogue().greeting.startswith("220")


def test_help_is_214_and_needs_no_login() -> None:
    assert hello("generic", "smtps").say("HELP").startswith("214 ")


def test_help_names_what_there_is() -> None:
    named = hello("generic").say("HELP").split()
    assert {"EHLO", "MAIL", "VRFY"} < set(named)
    assert not {"LHLO", "XCLIENT", "ETRN", "BDAT"} & set(named)
    assert "BDAT" in hello(generic(ehlo=["CHUNKING"])).say("HELP").split()


def test_a_command_that_waits_is_a_defect() -> None:
    class Pause:
        def __await__(self):  # type: ignore[no-untyped-def]
            yield

    async def waits() -> None:
        await Pause()

    with pytest.raises(RuntimeError, match="waited"):
        hello(generic()).session._commands.run(waits())
