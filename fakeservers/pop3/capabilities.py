"""CAPA (RFC 2449) and LANG (RFC 6856), which are valid in both states, and which commands there are at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.pop3.answer import AUTHORIZATION, TRANSACTION, Answer, Command, multi_line

if TYPE_CHECKING:
    from fakeservers.pop3.session import Pop3Session

__all__ = ["COMMANDS", "known"]

_OPTIONAL = frozenset({b"CAPA", b"TOP", b"UIDL", b"UTF8", b"LANG"})


def known(session: Pop3Session, name: bytes) -> bool:
    """Commands of an extension exist where the profile offers it."""
    profile = session.profile
    if name == b"APOP":
        return profile.apop
    if name == b"AUTH":
        return bool(session.mechanisms)
    if name == b"STLS":
        return session.service.starttls
    if name not in _OPTIONAL:
        return True
    lists = (profile.capabilities, profile.capabilities_tls or [], profile.capabilities_login or [])
    offered = {line.split(" ")[0].upper() for lines in lists for line in lines}
    if name in (b"TOP", b"UIDL"):
        # A server without CAPA has said nothing about them.
        return not offered or name.decode() in offered
    if name in (b"UTF8", b"LANG"):
        return name.decode() in offered
    return name != b"CAPA" or bool(offered)


def _capa(session: Pop3Session, argument: str) -> Answer:
    profile = session.profile
    lines = profile.capabilities
    if session.connection.tls is not None and profile.capabilities_tls is not None:
        lines = profile.capabilities_tls
    if session.state == "TRANSACTION" and profile.capabilities_login is not None:
        lines = profile.capabilities_login
    offered = [line for each in lines if (line := _capability(session, each)) is not None]
    if session.effect is not None:
        offered = session.effect.capabilities(offered)
        # What a rule offers instead is what works from here on.
        told = [line.split()[1:] for line in offered if line.split()[:1] == ["SASL"]]
        session.mechanisms = [name.upper() for names in told for name in names]
    return session.say("capa", multi_line(offered))


def _capability(session: Pop3Session, line: str) -> str | None:
    match line.upper():
        case "STLS":
            in_time = session.connection.tls is None and session.state == "AUTHORIZATION"
            return line if in_time and session.service.starttls else None
        case "USER":
            return None if session.tls_missing else line
        case "SASL":
            if session.tls_missing or not session.profile.mechanisms:
                return None
            return " ".join(["SASL", *session.profile.mechanisms])
    return line


def _lang(session: Pop3Session, argument: str) -> Answer:
    """RFC 6856 section 3, with English alone."""
    if not argument:
        return session.say("lang-list", b"en English\r\n.\r\n")
    if argument.lower() in ("en", "i-default", "*"):
        return session.say("lang", arg="i-default" if argument == "*" else argument)
    return session.say("lang-unknown", arg=argument)


COMMANDS: dict[bytes, Command] = {
    b"CAPA": Command(AUTHORIZATION | TRANSACTION, 0, 0, _capa),
    b"LANG": Command(AUTHORIZATION | TRANSACTION, 0, 1, _lang),
}
