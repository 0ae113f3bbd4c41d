"""Mutants found by breaking clients that were built otherwise than the reference client."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from imapclient import imap_utf7
from outgoing_message import message_on_the_wire
from patching import instead
from registry import mutant

from harness.clientstack import compose, replies, sasl, smtp
from harness.clientstack.errors import MailError
from harness.clientstack.pop3 import Pop3Session
from harness.clientstack.redaction import Redactor
from harness.clientstack.session import MailSession
from harness.clientstack.smtp import SmtpSession


@mutant
def takes_504_for_a_wrong_password() -> None:
    """A 504 at AUTH is reported as a refused password."""

    @instead(smtp, "smtp_error")
    def smtp_error(original: Any, reply: Any, command: str, now: Any) -> Any:
        if command == "AUTH" and reply.code == 504:
            return original(replace(reply, code=535), command, now)
        return original(reply, command, now)


@mutant
def tells_passwords_in_errors() -> None:
    """The error of a refused login holds what was sent, and nothing takes it out."""
    Redactor.__call__ = lambda self, text: text  # type: ignore[method-assign]

    @instead(MailSession, "_redacted")
    def redacted(original: Any, session: Any, error: MailError) -> Any:
        made = original(session, error)
        made.text = f"{made.text} ({session._settings.credentials.username}:{session._settings.credentials.password})"
        return made


@mutant
def takes_any_scram_nonce() -> None:
    """A nonce that somebody else has begun is answered with a proof."""

    @instead(sasl._Scram, "answer")
    def answer(original: Any, mechanism: Any, challenge: bytes) -> Any:
        try:
            return original(mechanism, challenge)
        except MailError:
            return b"c=biws,r=chosen-by-the-server-alone,p=AAAA"


@mutant
def writes_scram_names_as_they_are() -> None:
    """An equals sign or a comma of the user name parts the attributes."""

    @instead(sasl._Scram, "initial")
    def initial(original: Any, mechanism: Any) -> Any:
        first: bytes = original(mechanism)
        return first.replace(b"=3D", b"=").replace(b"=2C", b",")


def paths(change: Callable[[str], str]) -> None:
    """`change` stands between an address and what MAIL and RCPT say."""
    written = vars(compose.Address)["wire"].func
    compose.Address.wire = property(lambda address: change(written(address)))  # type: ignore[assignment]


@mutant
def makes_addresses_lower_case() -> None:
    """The local part loses its capitals."""
    paths(str.lower)


@mutant
def takes_quotation_marks_off_addresses() -> None:
    """A quoted local part goes out without its quotation marks."""
    paths(lambda path: path.replace('"', ""))


@mutant
def knows_positive_codes_by_list() -> None:
    """A positive code that it has not heard of is no success."""
    known = (211, 214, 220, 221, 235, 250, 251, 252)
    replies.Reply.positive = property(lambda reply: reply.code in known)  # type: ignore[assignment,method-assign]


@mutant
def unfolds_header_fields() -> None:
    """A folded header field goes out as one line."""

    def unfolded(message: bytes) -> bytes:
        head, blank, body = message.partition(b"\r\n\r\n")
        return re.sub(rb"\r\n[ \t]+", b" ", head) + blank + body

    message_on_the_wire(unfolded)


@mutant
def quotes_from_lines() -> None:
    """A line that begins with From gets a >."""
    message_on_the_wire(lambda message: re.sub(rb"(?m)^From ", b">From ", message))


@mutant
def keeps_one_field_of_a_name() -> None:
    """Of header fields of one name the last is left."""

    def thinned(message: bytes) -> bytes:
        head, blank, body = message.partition(b"\r\n\r\n")
        fields = re.split(rb"\r\n(?![ \t])", head)
        return b"\r\n".join({field.partition(b":")[0].lower(): field for field in fields}.values()) + blank + body

    message_on_the_wire(thinned)


@mutant
def remembers_offers_of_before() -> None:
    """What was offered in clear holds under TLS as well, where it is not said anew."""
    before: dict[str, str] = {}

    @instead(SmtpSession, "_take_greeting")
    def take_greeting(original: Any, session: Any) -> Any:
        before.clear()
        return original(session)

    @instead(smtp, "_keywords")
    def keywords(original: Any, reply: Any) -> Any:
        before.update(original(reply))
        return dict(before)


@mutant
def encodes_domains_as_they_are() -> None:
    """Capitals and decomposed letters go into the A-label."""

    @instead(compose, "_ascii_domain")
    def ascii_domain(original: Any, domain: str) -> Any:
        labels = domain.split(".")
        return ".".join(one if one.isascii() else "xn--" + one.encode("punycode").decode() for one in labels)


@mutant
def remembers_message_numbers() -> None:
    """The number that a message has in this session is taken for its unique-id."""

    @instead(Pop3Session, "unique_ids")
    def unique_ids(original: Any, session: Any) -> Any:
        found = original(session)
        return found and {number: str(number) for number in found}


@mutant
def leaves_slashes_in_utf7() -> None:
    """The base64 in a mailbox name is that of MIME."""

    @instead(imap_utf7, "base64_utf7_encode")
    def encoded(original: Any, buffer: Any) -> Any:
        return original(buffer).replace(b",", b"/")
