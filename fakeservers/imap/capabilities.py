"""What is advertised, and what a client may therefore use."""

from __future__ import annotations

from functools import lru_cache

from fakeservers.connection import Connection

__all__ = ["BUILT", "advertised", "login_needs_tls", "offered_ever"]

BUILT = frozenset(
    {
        "IMAP4", "IMAP4REV1", "LITERAL+", "LITERAL-", "SASL-IR", "ID", "ENABLE", "IDLE", "NAMESPACE", "UIDPLUS", "MOVE",
        "CHILDREN", "UNSELECT", "STARTTLS", "LOGINDISABLED", "AUTH", "ESEARCH", "WITHIN", "CONDSTORE", "LIST-EXTENDED",
        "LIST-STATUS", "SPECIAL-USE", "STATUS=SIZE", "QUOTA", "UTF8=ACCEPT", "APPENDLIMIT", "XLIST", "IMAP4REV2",
        "MULTIAPPEND", "BINARY", "SEARCHRES", "SORT", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "OBJECTID",
        "SAVEDATE", "PREVIEW", "CREATE-SPECIAL-USE", "QRESYNC", "METADATA", "METADATA-SERVER", "ACL", "RIGHTS",
        "CATENATE", "COMPRESS=DEFLATE", "NOTIFY", "X-GM-EXT-1", "LOGIN-REFERRALS", "MAILBOX-REFERRALS",
    }
)  # fmt: skip
"""Capabilities that work here, those with a value by what stands before `=` (UTF8=ACCEPT and STATUS=SIZE whole)."""


REV2 = frozenset(
    {
        "BINARY", "CHILDREN", "ENABLE", "ESEARCH", "IDLE", "LIST-EXTENDED", "LIST-STATUS", "LITERAL-", "MOVE",
        "NAMESPACE", "SASL-IR", "SEARCHRES", "SPECIAL-USE", "STATUS=SIZE", "UIDPLUS", "UNSELECT",
    }
)  # fmt: skip
"""What IMAP4rev2 has taken in: a server that offers it need not name these (RFC 9051 appendix E)."""


def login_needs_tls(connection: Connection) -> bool:
    service = connection.site.profile.service(connection.service)
    return service.tls_required and connection.tls is None


def advertised(connection: Connection) -> list[str]:
    """The capabilities of this moment, in the profile's order: before TLS, after TLS, or after login."""
    site = connection.site
    imap = site.profile.imap
    listed = imap.capabilities
    if connection.tls is not None and imap.capabilities_tls is not None:
        listed = imap.capabilities_tls
    logged_in = connection.account is not None
    if logged_in and imap.capabilities_login is not None:
        listed = imap.capabilities_login
    blocked = not logged_in and login_needs_tls(connection)
    found = []
    for word in listed:
        if word == "STARTTLS":
            service = site.profile.service(connection.service)
            if connection.tls is None and service.starttls and not logged_in:
                found.append(word)
        elif word == "AUTH":
            if not (blocked or logged_in):
                found += [f"AUTH={mechanism}" for mechanism in imap.mechanisms]
        elif word == "SASL-IR" and logged_in and imap.capabilities_login is None:
            continue
        elif not (blocked and word.startswith("AUTH=")):
            found.append(word)
    if blocked and "LOGINDISABLED" not in found:
        found.append("LOGINDISABLED")
    return found


@lru_cache(64)
def _ever(lists: tuple[tuple[str, ...], ...]) -> frozenset[str]:
    named = {word.upper() for words in lists for word in words}
    offered = frozenset(named | {word.partition("=")[0] for word in named})
    return offered | REV2 if "IMAP4REV2" in offered else offered


def offered_ever(connection: Connection) -> frozenset[str]:
    """Every capability that the profile offers at some moment, in upper case, those with a value also without it."""
    imap = connection.site.profile.imap
    return _ever(
        tuple(
            tuple(words)
            for words in (imap.capabilities, imap.capabilities_tls, imap.capabilities_login)
            if words is not None
        )
    )
