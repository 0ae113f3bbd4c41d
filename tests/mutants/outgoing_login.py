"""Defects in logging in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from patching import instead
from registry import mutant

from harness.clientstack import sasl, smtp
from harness.clientstack.errors import MailError
from harness.clientstack.smtp import SmtpSession


def chooses(choice: Callable[..., Any]) -> None:
    instead(sasl, "choose")(choice)


@mutant
def sends_passwords_in_clear() -> None:
    """Without TLS passwords go out, whatever the settings allow."""

    def choice(original: Any, setting: str, offered: Any, who: Any, **named: Any) -> Any:
        return original(setting, offered, who, **{**named, "secrets_allowed": True})

    chooses(choice)


@mutant
def never_logs_in_in_clear() -> None:
    """Without TLS there is no login, though the settings allow it or the mechanism is safe."""

    @instead(SmtpSession, "authenticate")
    def authenticate(original: Any, session: SmtpSession) -> None:
        if session._settings.auth != "none" and not session.wire.encrypted:
            raise MailError("tls-required", "no login without TLS")
        original(session)


@mutant
def takes_the_weakest_mechanism() -> None:
    """Left the choice, the client takes the weakest mechanism."""
    weak_first: Any = tuple(reversed(sasl._STRENGTH))
    sasl._STRENGTH = weak_first  # type: ignore[misc]


@mutant
def takes_plain_unasked() -> None:
    """PLAIN, or the mechanism of the settings, is used without a look at the offer."""

    def choice(original: Any, setting: str, offered: Any, who: Any, **named: Any) -> list[str]:
        return ["PLAIN" if setting == "auto" else setting.upper()]

    chooses(choice)


@mutant
def takes_another_mechanism() -> None:
    """The mechanism of the settings is a wish: any that is offered is used."""

    def choice(original: Any, setting: str, offered: Any, who: Any, **named: Any) -> Any:
        return original("auto", offered, who, **named)

    chooses(choice)


@mutant
def prefers_the_password_to_the_token() -> None:
    """With a password and a token the password is sent."""

    def choice(original: Any, setting: str, offered: Any, who: Any, **named: Any) -> Any:
        if setting == "xoauth2" and who.password:
            return original("auto", offered, replace(who, access_token=None), **named)
        return original(setting, offered, who, **named)

    chooses(choice)


@mutant
def gives_up_at_504() -> None:
    """Only the first mechanism is tried."""

    def choice(original: Any, *arguments: Any, **named: Any) -> Any:
        return original(*arguments, **named)[:1]

    chooses(choice)


@mutant
def names_no_mechanisms() -> None:
    """The error of a failed choice says nothing about the offer."""

    def choice(original: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return original(*arguments, **named)
        except MailError as error:
            raise MailError(error.category, "cannot log in") from None

    chooses(choice)


@mutant
def goes_on_without_a_login() -> None:
    """A failed login is ignored."""

    @instead(SmtpSession, "authenticate")
    def authenticate(original: Any, session: SmtpSession) -> None:
        try:
            original(session)
        except MailError:
            if session.wire.closed:
                raise


@mutant
def hammers_with_a_refused_password() -> None:
    """A refused password is tried again, five times in all."""

    @instead(SmtpSession, "authenticate")
    def authenticate(original: Any, session: SmtpSession) -> None:
        for attempt in range(5):
            try:
                original(session)
            except MailError as error:
                if error.category not in ("authentication", "rate-limit") or attempt == 4 or session.wire.closed:
                    raise
            else:
                return


@mutant
def logs_in_unasked() -> None:
    """With a user name set there is a login, though the settings say none."""

    @instead(SmtpSession, "authenticate")
    def authenticate(original: Any, session: SmtpSession) -> None:
        settings = session._settings
        if settings.auth == "none" and "AUTH" in session.keywords:
            session._settings = replace(settings, auth="auto")
        original(session)


@mutant
def strips_passwords() -> None:
    """Blanks around a password are cut off, and quotes in it."""

    @instead(sasl, "create")
    def create(original: Any, name: str, who: Any, *arguments: Any) -> Any:
        return original(name, replace(who, password=who.password.strip().replace('"', "")), *arguments)


@mutant
def writes_passwords_in_latin_1() -> None:
    """Umlauts in a password become question marks."""

    @instead(sasl, "create")
    def create(original: Any, name: str, who: Any, *arguments: Any) -> Any:
        password = who.password.encode("ascii", "replace").decode()
        return original(name, replace(who, password=password), *arguments)


@mutant
def sends_long_tokens_inline() -> None:
    """An initial response stands on the command line however long it is."""
    smtp._LONGEST_AUTH_LINE = 1_000_000  # type: ignore[misc]


@mutant
def answers_the_reason_with_the_token() -> None:
    """The challenge that tells why a token was refused is answered with the token."""

    @instead(sasl._OneShot, "__init__")
    def init(original: Any, mechanism: Any, name: str, response: bytes, goodbye: bytes = b"") -> None:
        original(mechanism, name, response, response)


@mutant
def writes_tokens_wrongly() -> None:
    """The SASL message of a token lacks its last octet."""

    @instead(sasl._OneShot, "__init__")
    def init(original: Any, mechanism: Any, name: str, response: bytes, goodbye: bytes = b"") -> None:
        original(mechanism, name, response[:-1] if b"Bearer" in response else response, goodbye)
