"""Defects in reading replies, and in what they are taken to mean."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from patching import instead
from registry import mutant

from harness.clientstack import replies, smtp
from harness.clientstack.errors import MailError
from harness.clientstack.replies import Reply
from harness.clientstack.smtp import SmtpSession
from harness.clientstack.wire import Wire

# --- reading replies


@mutant
def reads_one_line_of_a_refusal() -> None:
    """The first line of a negative reply, and of 250 to a recipient, is taken for the whole."""

    @instead(Wire, "read_line")
    def read_line(original: Any, wire: Wire, *arguments: Any) -> bytes:
        line = bytes(original(wire, *arguments))
        return line[:3] + b" " + line[4:] if line[:1] in b"45" and line[3:4] == b"-" else line


@mutant
def shows_the_last_line_only() -> None:
    """Of a reply of several lines the last one is the text."""

    @instead(smtp, "smtp_error")
    def smtp_error(original: Any, reply: Reply, *arguments: Any) -> Any:
        return original(replace(reply, lines=reply.lines[-1:]), *arguments)


@mutant
def needs_a_text_behind_the_code() -> None:
    """A reply without a text is no reply."""

    @instead(Wire, "read_line")
    def read_line(original: Any, wire: Wire, *arguments: Any) -> bytes:
        line = bytes(original(wire, *arguments))
        return b"?" + line if re.fullmatch(rb"[2-5][0-9]{2} ?\r?\n?", line) else line


@mutant
def takes_a_read_for_a_reply() -> None:
    """What one read brings is taken for one reply."""

    @instead(Wire, "read_line")
    def read_line(original: Any, wire: Wire, *arguments: Any) -> bytes:
        if not wire._buffer:
            wire._fill()
        elif b"\n" in wire._buffer:
            return bytes(original(wire, *arguments))
        line = bytes(wire._buffer)
        wire._buffer.clear()
        return line


@mutant
def reads_512_octets_of_a_line() -> None:
    """The rest of a longer line is read as the next one."""

    @instead(Wire, "read_line")
    def read_line(original: Any, wire: Wire, *arguments: Any) -> bytes:
        line = bytes(original(wire, *arguments))
        wire._buffer[:0] = line[512:]
        return line[:512]


@mutant
def knows_250_only() -> None:
    """Other codes of acceptance than 250 are refusals."""
    Reply.positive = property(lambda reply: reply.code in (220, 221, 235, 250))  # type: ignore[assignment,method-assign]


@mutant
def believes_the_words() -> None:
    """The words of a reply decide whether it is final."""

    def permanent(error: MailError, usual: bool) -> bool:
        text = error.text.lower()
        return False if "try again" in text else True if "permanent" in text else usual

    judged(permanent)


@mutant
def takes_any_acceptance_of_data() -> None:
    """A 250 to DATA will do in place of 354."""

    @instead(SmtpSession, "command")
    def command(original: Any, session: SmtpSession, line: str, *arguments: Any, **named: Any) -> Reply:
        reply: Reply = original(session, line, *arguments, **named)
        return replace(reply, code=354) if line == "DATA" and reply.code == 250 else reply


@mutant
def waits_for_a_good_end() -> None:
    """A QUIT without a proper answer, or without the TLS farewell, undoes what was sent."""

    @instead(SmtpSession, "leave")
    def quit_(original: Any, session: SmtpSession) -> None:
        if session.usable:
            if session.command("QUIT").code != 221:
                raise MailError("disconnected", "the server did not say goodbye")
            if isinstance(session.wire._sock, ssl.SSLSocket):
                try:
                    session.wire._sock.unwrap()
                except OSError as error:
                    raise MailError("disconnected", f"no farewell: {error}") from None
        original(session)


# --- what a refusal means


def judged(permanent: Callable[[MailError, bool], bool]) -> None:
    """Whether an error is final, as `permanent` says it, given the right answer."""
    usual: Any = MailError.permanent.fget  # type: ignore[attr-defined]
    MailError.permanent = property(lambda error: permanent(error, usual(error)))  # type: ignore[assignment,method-assign]


@mutant
def fails_at_4xx() -> None:
    """What the server cannot take now has failed."""
    judged(lambda error, usual: usual or (error.category != "rate-limit" and 400 <= (error.code or 0) < 500))


@mutant
def tries_5xx_again() -> None:
    """What the server refuses for good is deferred."""
    judged(lambda error, usual: usual and error.code is None)


@mutant
def tries_large_messages_again() -> None:
    """A message that is too large is deferred."""
    judged(lambda error, usual: usual and error.category != "size")


@mutant
def fails_when_the_line_breaks() -> None:
    """A lost connection, a silent server or a broken handshake is final."""
    broken = ("disconnected", "timeout", "protocol", "tls-handshake", "connect")
    judged(lambda error, usual: usual or error.category in broken)


@mutant
def fails_at_a_limit_with_5xx() -> None:
    """A rate limit that is said with a 5xx is final."""
    judged(lambda error, usual: usual or (error.code or 0) >= 500)


@mutant
def defers_missing_tls() -> None:
    """Missing STARTTLS is tried again and again."""
    judged(lambda error, usual: usual and error.category != "tls-required")


@mutant
def blames_the_recipient() -> None:
    """Each 5xx is about the recipient."""

    @instead(replies, "_by_command")
    def by_command(original: Any, code: int, command: str) -> Any:
        return "recipient-refused" if code >= 500 else original(code, command)


def category(wrong: Callable[[int, str, str, str], str | None]) -> None:
    """The category of a reply as `wrong(code, text, command, right category)` has it, where that says something."""

    @instead(replies, "_smtp_category")
    def smtp_category(original: Any, code: int, enhanced: Any, text: str, command: str) -> Any:
        right, entry = original(code, enhanced, text, command)
        said = wrong(code, text, command, right)
        return (right, entry) if said is None else (said, None)


@mutant
def blames_the_password_for_everything() -> None:
    """Each refusal of a login is a wrong password."""
    category(lambda code, text, command, right: "authentication" if command == "AUTH" else None)


@mutant
def blames_the_sender_at_mail() -> None:
    """Each refusal of MAIL is about the sender's address."""
    category(lambda code, text, command, right: "sender-refused" if command == "MAIL" else None)


@mutant
def takes_missing_tls_for_a_login() -> None:
    """530 and 538 are about the login, whatever they say."""
    category(lambda code, text, command, right: "authentication" if code in (530, 538) else None)


@mutant
def takes_size_and_quota_for_refusals() -> None:
    """Size and full mailboxes have no category of their own."""
    category(
        lambda code, text, command, right: replies._by_command(code, command) if right in ("size", "quota") else None
    )


@mutant
def takes_a_refused_greeting_for_a_refused_message() -> None:
    """A 5xx greeting is about the message."""
    category(lambda code, text, command, right: "message-refused" if right == "connect" else None)


@mutant
def knows_no_limits() -> None:
    """A rate limit is what its code says."""
    category(lambda code, text, command, right: replies._by_command(code, command) if right == "rate-limit" else None)


@mutant
def takes_greylisting_for_a_limit() -> None:
    """What concerns one recipient stops all sending."""
    about_one = re.compile("greylist|receiving", re.IGNORECASE)
    category(lambda code, text, command, right: "rate-limit" if about_one.search(text) else None)


# --- groups of commands


@mutant
def takes_the_last_reply_of_a_group() -> None:
    """Of MAIL, RCPT and DATA in one go only the reply to DATA is looked at."""

    @instead(SmtpSession, "_group")
    def group(original: Any, session: SmtpSession, mail: str, recipient: Any, outcomes: Any, *rest: Any) -> list[str]:
        key, address = recipient
        session.wire.send(f"{mail}\r\nRCPT TO:<{address.wire}>\r\nDATA\r\n".encode())
        for before_data in rest:
            before_data([key])
        *_, reply = [session._read_reply() for _ in range(3)]
        if reply.code != 354:
            session._failed_transaction(reply, "DATA")
        outcomes[key] = None
        return [key]
