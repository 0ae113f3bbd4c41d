"""Defects in TLS and EHLO."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from outgoing_settings import account_with
from patching import instead
from registry import mutant

from harness.clientstack import smtp
from harness.clientstack.errors import MailError
from harness.clientstack.replies import Reply
from harness.clientstack.smtp import SmtpSession
from harness.clientstack.tls import Trust
from harness.clientstack.wire import Wire

# --- TLS


def tls_context(weaken: Callable[[Trust, ssl.SSLContext], None]) -> None:
    """Every context of the client as `weaken` leaves it."""

    @instead(Trust, "context")
    def context(original: Any, trust: Trust) -> Any:
        made = original(trust)
        weaken(trust, made)
        return made


@mutant
def accepts_any_certificate() -> None:
    """No certificate is checked."""

    def weaken(trust: Trust, context: ssl.SSLContext) -> None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

    tls_context(weaken)


@mutant
def skips_the_host_name_check() -> None:
    """A good certificate for any other host will do."""

    def weaken(trust: Trust, context: ssl.SSLContext) -> None:
        context.check_hostname = False

    tls_context(weaken)


@mutant
def takes_the_common_name() -> None:
    """A certificate's common name counts as its host name."""

    def weaken(trust: Trust, context: ssl.SSLContext) -> None:
        context.hostname_checks_common_name = True

    tls_context(weaken)


@mutant
def ignores_certificate_dates() -> None:
    """Expired certificates are accepted, and those of the future."""
    no_check_time = 0x200000

    def weaken(trust: Trust, context: ssl.SSLContext) -> None:
        context.verify_flags |= no_check_time

    tls_context(weaken)


@mutant
def trusts_all_without_a_ca_file() -> None:
    """No CA file is taken for no check."""

    def weaken(trust: Trust, context: ssl.SSLContext) -> None:
        if trust.ca_file is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE

    tls_context(weaken)


@mutant
def checks_the_domain_in_place_of_the_host() -> None:
    """The certificate is compared with the host name's domain."""

    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        host = wire.host
        if not host.replace(".", "").isdigit():
            wire.host = host.partition(".")[2]
        try:
            original(wire)
        finally:
            wire.host = host


def security(given: str, used: str) -> None:
    @instead(SmtpSession, "secure")
    def secure(original: Any, session: SmtpSession) -> None:
        settings = session._settings
        if settings.security == given:
            session._settings = replace(settings, security=used)
        try:
            original(session)
        finally:
            session._settings = settings


@mutant
def required_starttls_falls_back() -> None:
    """STARTTLS is required and still the mail goes in clear where it is not to be had."""
    security("starttls", "opportunistic")


@mutant
def opportunistic_insists_on_tls() -> None:
    """The best possible encryption is never none."""
    security("opportunistic", "starttls")


@mutant
def opportunistic_never_encrypts() -> None:
    """The best possible encryption is always none."""
    security("opportunistic", "none")


@mutant
def opportunistic_falls_back_on_broken_tls() -> None:
    """After a bad certificate or a broken handshake the mail goes in clear."""

    @instead(SmtpSession, "open")
    def open_(original: Any, session: SmtpSession) -> None:
        try:
            original(session)
        except MailError as error:
            if session._settings.security != "opportunistic" or not error.category.startswith("tls-"):
                raise
            settings = session._settings
            session._settings = replace(settings, security="none")
            session.wire = Wire(settings.host, settings.timeout, settings.trust, session.wire.dialogue)
            original(session)


@mutant
def logs_in_before_tls() -> None:
    """AUTH comes before STARTTLS where it is offered."""

    @instead(SmtpSession, "open")
    def open_(original: Any, session: SmtpSession) -> None:
        session.connect()
        session.greet()
        if "AUTH" in session.keywords:
            session.authenticate()
        session.secure()
        if session.mechanism is None:
            session.authenticate()


@mutant
def acts_on_plaintext_behind_starttls() -> None:
    """What came in clear behind the STARTTLS reply is read as the first reply under TLS."""

    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        kept = bytes(wire._buffer)
        wire._buffer.clear()
        original(wire)
        wire._buffer += kept


@mutant
def keeps_the_offers_from_before_tls() -> None:
    """Keywords of the clear EHLO reply stay in force under TLS."""

    @instead(SmtpSession, "secure")
    def secure(original: Any, session: SmtpSession) -> None:
        before = dict(session.keywords)
        original(session)
        session.keywords = {**session.keywords, **before}


@mutant
def sends_no_second_ehlo() -> None:
    """After STARTTLS there is no new EHLO."""

    @instead(SmtpSession, "_ehlo")
    def ehlo(original: Any, session: SmtpSession) -> None:
        if not (session.wire.encrypted and session._settings.security != "implicit"):
            original(session)


# --- EHLO


@mutant
def says_localhost() -> None:
    """Without a name in the settings EHLO says localhost."""

    @instead(smtp, "_address_literal")
    def name(original: Any, address: str) -> str:
        return "localhost"


@mutant
def ignores_the_ehlo_name() -> None:
    """The EHLO name of the settings is not used."""

    account_with(ehlo_name=None)


@mutant
def loses_the_words_of_a_refused_greeting() -> None:
    """A refused greeting or EHLO is reported as a lost connection."""

    @instead(SmtpSession, "greet", "_ehlo")
    def greet(original: Any, session: SmtpSession) -> None:
        try:
            original(session)
        except MailError as error:
            if error.code is None:
                raise
            raise MailError("disconnected", "the connection was closed unexpectedly") from None


@mutant
def uses_extensions_unasked() -> None:
    """MAIL carries SIZE and BODY whatever EHLO offered."""

    @instead(SmtpSession, "_mail")
    def mail(original: Any, session: SmtpSession, sender: Any, message: bytes, utf8: bool) -> str:
        command = str(original(session, sender, message, utf8)).partition(" SIZE=")[0].partition(" BODY=")[0]
        return f"{command} SIZE={len(message)} BODY=8BITMIME"


@mutant
def reads_keywords_by_case() -> None:
    """EHLO keywords count in capitals only, and the old form of AUTH does not."""

    @instead(smtp, "_keywords")
    def keywords(original: Any, reply: Reply) -> Any:
        usual = [line for line in reply.lines[1:] if line.partition(" ")[0].isupper() and "AUTH=" not in line]
        return original(replace(reply, lines=(reply.lines[0], *usual)))


@mutant
def takes_size_zero_for_a_limit() -> None:
    """SIZE 0 and SIZE without a number mean that nothing may be sent."""

    @instead(SmtpSession, "_mail")
    def mail(original: Any, session: SmtpSession, *arguments: Any) -> Any:
        if session.keywords.get("SIZE") in ("", "0"):
            raise MailError("size", "the server takes no octets at all")
        return original(session, *arguments)
