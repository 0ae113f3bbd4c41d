"""Defects in whom the client believes, and to whom it shows a password."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from hostile import keep_what_came_in_clear
from patching import instead
from registry import mutant

from harness.clientstack.errors import MailError
from harness.clientstack.imap import ImapSession
from harness.clientstack.imapwire import Client, Connection
from harness.clientstack.pop3 import Pop3Session
from harness.clientstack.smtp import SmtpSession
from harness.clientstack.tls import Trust
from harness.clientstack.wire import Wire


@mutant
def ignores_revocation_lists() -> None:
    """A list of revoked certificates in the CA file is loaded, and never asked."""

    @instead(Trust, "context")
    def context(original: Any, trust: Trust) -> ssl.SSLContext:
        made: ssl.SSLContext = original(trust)
        made.verify_flags &= ~ssl.VERIFY_CRL_CHECK_LEAF
        return made


# --- names and uses of certificates


def names(matches: Callable[[str, str, str], bool]) -> None:
    """A certificate is for the host where one of its names, by kind and value, matches the host."""

    @instead(Trust, "context")
    def context(original: Any, trust: Trust) -> ssl.SSLContext:
        made: ssl.SSLContext = original(trust)
        made.check_hostname = False
        return made

    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        original(wire)
        assert isinstance(wire._sock, ssl.SSLSocket)
        named: Any = (wire._sock.getpeercert() or {}).get("subjectAltName", ())
        if not any(matches(kind, value, wire.host) for kind, value in named):
            wire.close()
            raise MailError("tls-certificate", "the certificate is for somebody else")


@mutant
def lets_a_wildcard_stand_for_two_labels() -> None:
    """`*.test` is good for mail.example.test."""
    names(lambda kind, value, host: fnmatchcase(host, value))


@mutant
def takes_an_address_for_a_name() -> None:
    """An address is compared with the host names of the certificate as well."""
    names(lambda kind, value, host: value == host)


@mutant
def takes_certificates_of_clients() -> None:
    """What a certificate may be used for is not asked, if its issuer, its dates and its names are right."""

    @instead(Trust, "context")
    def context(original: Any, trust: Trust) -> ssl.SSLContext:
        made: ssl.SSLContext = original(trust)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        original(wire)
        assert isinstance(wire._sock, ssl.SSLSocket)
        shown = x509.load_der_x509_certificate(wire._sock.getpeercert(binary_form=True) or b"")
        try:
            shown.verify_directly_issued_by(x509.load_pem_x509_certificate(Path(wire.trust.ca_file or "").read_bytes()))
            named = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (InvalidSignature, ValueError, x509.ExtensionNotFound):
            named = x509.SubjectAlternativeName([])
        good = [*named.get_values_for_type(x509.DNSName), *map(str, named.get_values_for_type(x509.IPAddress))]
        if wire.host not in good or not shown.not_valid_before_utc < datetime.now(UTC) < shown.not_valid_after_utc:
            wire.close()
            raise MailError("tls-certificate", "the certificate is not good")


# --- who reads along


@mutant
def reads_after_a_login_in_clear() -> None:
    """The login to a mailbox comes before STARTTLS and STLS where it is welcome."""
    for session in (ImapSession, Pop3Session):

        @instead(session, "secure")
        def secure(original: Any, self: Any) -> None:
            self.authenticate()
            self.wire.send(b"x STARTTLS\r\n" if isinstance(self, ImapSession) else b"STLS\r\n")
            if b"OK" in self.wire.read_line():
                self.wire.start_tls()

        @instead(session, "authenticate")
        def authenticate(original: Any, self: Any) -> None:
            if self.mechanism is None:
                original(self)


@mutant
def takes_any_other_answer_to_starttls_for_a_refusal() -> None:
    """Whatever is neither 220 nor a refusal means that TLS is not wanted here."""

    @instead(SmtpSession, "_error")
    def error(original: Any, session: SmtpSession, reply: Any, command: str) -> Any:
        made = original(session, reply, command)
        if command == "STARTTLS" and reply.code < 400:
            made.category = "no-tls"
        return made

    @instead(SmtpSession, "secure")
    def secure(original: Any, session: SmtpSession) -> None:
        try:
            original(session)
        except MailError as failure:
            if failure.category != "no-tls":
                raise


@mutant
def believes_the_first_capabilities() -> None:
    """What came in clear is not thrown away, and of several lists of capabilities the first one counts."""
    keep_what_came_in_clear()

    @instead(Connection, "secure")
    def secure(original: Any, engine: Connection) -> None:
        engine._wire.start_tls()
        engine._tls_established = True
        early = engine.untagged_responses.get("CAPABILITY", [])
        engine.untagged_responses.clear()
        engine.untagged_responses["CAPABILITY"] = early[:1]
        engine._simple_command("CAPABILITY")
        told: Any = engine.untagged_responses.pop("CAPABILITY")
        first = bytes(told[0])
        engine.capabilities = tuple(first.decode().upper().split())
        engine.kept = first.upper().split()  # type: ignore[attr-defined]

    @instead(Client, "capabilities")
    def capabilities(original: Any, client: Client) -> Any:
        return tuple(getattr(client._imap, "kept", ())) or original(client)
