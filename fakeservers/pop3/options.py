"""Manners of the POP3 server that a profile or quirk can choose (`pop3.options`, `pop3.<name>` in a quirk)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["OPTIONS", "Option", "check_options", "options_of"]


@dataclass(frozen=True, slots=True)
class Option:
    """One manner: its default, what it means, and for a text the values that it may have (empty: any)."""

    default: bool | int | str
    about: str
    choices: tuple[str, ...] = ()


OPTIONS: Mapping[str, Option] = {
    "exclusive": Option(True, "one session per maildrop at a time (RFC 1939 section 4); a second one gets [IN-USE]"),
    "unique_id": Option(
        "{uidvalidity_hex}{uid_hex}",
        "form of unique-ids; placeholders uid, uidvalidity, uid_hex and uidvalidity_hex (8 digits), uid_hex16",
    ),
    "login_delay": Option(0, "seconds that must lie between two logins of an account (RFC 2449 section 6.5); 0: none"),
    "gmail_popped": Option(
        False,
        "messages RETRieved in a session that ended with QUIT are not shown again; TOP, and a connection lost before "
        "QUIT, hide nothing",
    ),
    "popped_action": Option(
        "keep",
        "what QUIT does to RETRieved messages under gmail_popped: leaves them, sets \\Seen, moves them to the \\All "
        "or \\Archive mailbox, or moves them to the \\Trash mailbox",
        ("keep", "mark-read", "archive", "delete"),
    ),
    "dele_keeps": Option(False, "DELE is answered +OK and hides the message in this session, but QUIT removes nothing"),
    "recent_prefix": Option(
        False,
        "`recent:` before the name shows the last 30 days of every mailbox but Trash and Junk, popped or not; "
        "nothing is hidden or removed in such a session",
    ),
    "batch": Option(0, "show at most so many of the oldest messages in a session; 0: all"),
    "bearer_error": Option(
        "json",
        "how XOAUTH2 and OAUTHBEARER refuse a token: a challenge with JSON that the client answers first, or at once",
        ("json", "none"),
    ),
}  # fmt: skip


@lru_cache(64)
def _options(given: tuple[tuple[str, bool | int | str], ...]) -> Mapping[str, bool | int | str]:
    return {name: option.default for name, option in OPTIONS.items()} | dict(given)


def options_of(given: Mapping[str, bool | int | str]) -> Mapping[str, bool | int | str]:
    """A profile's options and the defaults of the others, the same object for all its sessions."""
    return _options(tuple(given.items()))


def check_options(given: Mapping[str, bool | int | str]) -> None:
    """Raises ValueError, naming what there is, for an option or value that does not exist."""
    from fakeservers.rules import unknown

    for name, value in given.items():
        option = OPTIONS.get(name)
        if option is None:
            raise ValueError(unknown("pop3 option", name, OPTIONS))
        if type(value) is not type(option.default):
            raise ValueError(f'pop3 option "{name}" wants {_kind(option.default)}, found {value!r}')
        if option.choices and value not in option.choices:
            raise ValueError(unknown(f"value of the pop3 option {name}:", str(value), option.choices))


def _kind(value: object) -> str:
    return {bool: "true or false", int: "a number"}.get(type(value), "a text")
