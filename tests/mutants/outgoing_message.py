"""Defects in the message and its envelope."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from outgoing_settings import account_with
from patching import instead
from registry import mutant

from harness.clientstack import compose, delivery, outbox, smtp
from harness.clientstack.compose import Address
from harness.clientstack.outbox import Outbox
from harness.clientstack.smtp import SmtpSession

# --- the message


def message_on_the_wire(change: Callable[[bytes], bytes]) -> None:
    @instead(smtp, "dot_stuffed")
    def dot_stuffed(original: Any, message: bytes) -> Any:
        return original(change(message))


@mutant
def doubles_no_dots() -> None:
    """A dot at the beginning of a line is not doubled."""

    @instead(smtp, "dot_stuffed")
    def dot_stuffed(original: Any, message: bytes) -> bytes:
        return message + (b"" if message.endswith(b"\r\n") else b"\r\n") + b".\r\n"


@mutant
def ends_the_last_line_with_the_dot() -> None:
    """The final dot follows a message without a last line end at once."""

    @instead(smtp, "dot_stuffed")
    def dot_stuffed(original: Any, message: bytes) -> bytes:
        return message.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@mutant
def keeps_bare_line_feeds() -> None:
    """Line ends go out as they came."""

    @instead(compose, "crlf")
    def crlf(original: Any, message: bytes) -> bytes:
        return message


@mutant
def keeps_bare_carriage_returns() -> None:
    """Only line feeds are taken for line ends."""

    @instead(compose, "crlf")
    def crlf(original: Any, message: bytes) -> bytes:
        return re.sub(rb"(?<!\r)\n", b"\r\n", message)


@mutant
def folds_long_lines() -> None:
    """Lines of the body are broken after 78 octets."""
    message_on_the_wire(lambda message: re.sub(rb"([^\r\n]{78})(?=[^\r\n])", rb"\1\r\n", message))


@mutant
def strips_the_eighth_bit() -> None:
    """Octets over 127 lose their highest bit."""
    message_on_the_wire(lambda message: bytes(octet & 127 for octet in message) if len(message) < 10_000 else message)


@mutant
def sends_one_block_only() -> None:
    """Of a large message only the first 64 KB are sent."""
    message_on_the_wire(lambda message: message[:65536])


@mutant
def shows_blind_copies() -> None:
    """The Bcc field goes out with the message."""

    @instead(compose, "field_name")
    def field_name(original: Any, field: bytes) -> Any:
        name = original(field)
        return b"x-bcc" if name == b"bcc" else name


def never_adds(field: bytes) -> None:
    @instead(outbox, "complete")
    def complete(original: Any, message: bytes, **named: Any) -> bytes:
        done: bytes = original(message, **named)
        if re.search(rb"^%b:" % field, message, re.IGNORECASE | re.MULTILINE):
            return done
        return re.sub(rb"\A((?:.+\r\n)*?)%b: .*\r\n" % field, rb"\1", done, count=1)


@mutant
def adds_no_date() -> None:
    """A message without Date goes out without."""
    never_adds(b"Date")


@mutant
def adds_no_message_id() -> None:
    """A message without Message-ID goes out without."""
    never_adds(b"Message-ID")


@mutant
def adds_no_from() -> None:
    """A message without From goes out without."""
    never_adds(b"From")


@mutant
def writes_its_own_fields() -> None:
    """Date, Message-ID and From are written anew, beside those that are there."""

    @instead(compose.Headers, "names")
    def names(original: Any, headers: Any) -> Any:
        return original(headers) - {b"date", b"message-id", b"from"}


@mutant
def writes_names_raw() -> None:
    """A display name goes into the header as it is."""

    @instead(outbox, "format_mailbox")
    def format_mailbox(original: Any, name: str, address: str) -> str:
        return f"{name} <{address}>" if name else address


@mutant
def changes_the_message_id_when_it_tries_again() -> None:
    """Each flush gives the messages new Message-IDs."""
    tries: list[int] = []

    @instead(Outbox, "flush")
    def flush(original: Any, box: Outbox) -> Any:
        tries.append(1)
        return original(box)

    def change(message: bytes) -> bytes:
        new = rb"\1<retry-%d@client.test>" % len(tries)
        return re.sub(rb"^(Message-ID:\s*)<[^>]*>", new, message, flags=re.MULTILINE) if tries else message

    message_on_the_wire(change)


# --- the envelope


@mutant
def fills_the_null_reverse_path() -> None:
    """An empty sender is replaced by the account's address."""

    @instead(Outbox, "send")
    def send(original: Any, box: Outbox, messages: Any) -> Any:
        return original(box, [replace(each, sender=each.sender or None) for each in messages])


@mutant
def leaves_the_sender_empty() -> None:
    """A message without a sender gets the null reverse-path."""

    @instead(Outbox, "send")
    def send(original: Any, box: Outbox, messages: Any) -> Any:
        return original(box, [replace(each, sender=each.sender or "") for each in messages])


@mutant
def ignores_the_bounce_address() -> None:
    """The envelope sender is the author."""

    account_with(bounce_address=None)


@mutant
def checks_no_addresses() -> None:
    """Whatever is given as an address goes into the command."""

    for module in (outbox, delivery):

        @instead(module, "parse_address")
        def parse_address(original: Any, text: str) -> Address:
            local, _, domain = text.rpartition("@")
            return Address(local, domain)


@mutant
def sends_raw_domains() -> None:
    """An internationalised domain goes out in UTF-8."""

    @instead(compose, "_ascii_domain")
    def ascii_domain(original: Any, domain: str) -> str:
        return domain


@mutant
def declares_smtputf8_unasked() -> None:
    """SMTPUTF8 is used where an address needs it, whatever the settings and the server say."""

    @instead(SmtpSession, "_utf8")
    def utf8(original: Any, session: SmtpSession, envelope: Any, *arguments: Any) -> bool:
        addresses = [*envelope.recipients.values(), *filter(None, [envelope.sender])]
        return any(address.needs_utf8 for address in addresses)

    account_with(smtputf8=True)


@mutant
def forgets_to_declare_smtputf8() -> None:
    """MAIL never says SMTPUTF8."""

    @instead(SmtpSession, "_utf8")
    def utf8(original: Any, session: SmtpSession, *arguments: Any) -> bool:
        return False
