"""Manners of a server that no rule can give: `imap.options` of a profile or quirk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

__all__ = ["OPTIONS", "Manners", "check_options", "manners_of"]


def _option(default: bool | str | int, text: str) -> Any:
    return field(default=default, metadata={"text": text, "choices": ()})


def _choice(choices: tuple[str, ...], text: str) -> Any:
    """One of several words; the first is the default. Where `mixed` is chosen, the host's seed decides each time."""
    return field(default=choices[0], metadata={"text": f"{text}: {', '.join(choices)}", "choices": choices})


@dataclass(frozen=True, slots=True)
class Manners:
    """The options of one profile with their defaults. Raises TypeError for one that does not exist."""

    search_whole_words: bool = _option(False, "SEARCH finds whole words and their beginnings, not any substring")
    search_strict_charset: bool = _option(False, "8-bit search strings are BAD unless CHARSET or UTF8=ACCEPT says so")
    recent_never: bool = _option(False, "\\Recent is not kept: RECENT is always 0")
    caps_untagged_after_login: bool = _option(
        False, "capabilities after login come as untagged data before the tagged OK, not as a response code"
    )
    caps_silent_after_login: bool = _option(False, "capabilities are not told after login: the client has to ask")
    deleted_auto_expunge: bool = _option(False, "STORE of \\Deleted expunges at once")
    no_unseen_code: bool = _option(False, "SELECT has no [UNSEEN n]")
    no_keywords: bool = _option(False, "clients cannot make keywords: no \\* in PERMANENTFLAGS")
    exists_first: bool = _option(False, "SELECT says EXISTS and RECENT before FLAGS")
    bare_highestmodseq: bool = _option(False, "the HIGHESTMODSEQ code of SELECT has no text behind it")
    fetch_modseq_always: bool = _option(False, "with CONDSTORE every FETCH response carries MODSEQ, not only changes")
    copyuid_tagged_for_move: bool = _option(False, "COPYUID of MOVE stands in the tagged OK")
    special_use_always: bool = _option(False, "LIST shows special-use attributes though SPECIAL-USE is not offered")
    list_root_name: bool = _option(False, "LIST of the root names it by the delimiter rather than by nothing")
    create_ignores_case: bool = _option(False, "CREATE refuses a name that differs from another in case only")
    idle_strict: bool = _option(False, "IDLE with a blank behind is BAD")
    say_strings: str = _choice(("plain", "literals", "quoted", "mixed"), "the form of strings and mailbox names")
    say_items: str = _choice(("asked", "reversed", "mixed"), "the order of a FETCH response's data items")
    say_case: str = _choice(("upper", "lower", "mixed"), "the letters of data items and NIL in FETCH responses")
    say_empty: str = _choice(("nil", "empty", "mixed"), 'what ENVELOPE has for a string that is not there: NIL or ""')
    say_dates: str = _choice(("blank", "zero", "zones", "mixed"), "INTERNALDATE: ` 7-Feb`, `07-Feb`, or in other zones")
    say_codes: str = _choice(
        ("all", "few", "mixed"), "response codes: all, or only those that a client cannot do without"
    )
    say_more: str = _choice(("nothing", "often", "mixed"), "untagged data that nobody asked for between responses")
    say_split: str = _choice(("whole", "literals", "mixed"), "literals come in one segment or in several")
    append_checks_first: bool = _option(False, "APPEND to a mailbox that is not there is refused before the literal")
    append_needs_crlf: bool = _option(False, "APPEND of a message with a bare CR or LF is refused")


@lru_cache(256)
def _manners(options: tuple[tuple[str, object], ...]) -> Manners:
    return Manners(**dict(options))  # type: ignore[arg-type]


def manners_of(options: Mapping[str, object]) -> Manners:
    """The manners of a profile, the same object for all its sessions."""
    return _manners(tuple(options.items()))


OPTIONS: Mapping[str, tuple[object, str]] = {
    option.name: (option.default, option.metadata["text"]) for option in fields(Manners)
}
"""Option: its default, and what it means."""


_CHOICES: Mapping[str, tuple[str, ...]] = {option.name: option.metadata["choices"] for option in fields(Manners)}


def check_options(options: Mapping[str, object]) -> None:
    """Raises ValueError for an option that does not exist, naming the nearest, or whose value is of another type."""
    from fakeservers.rules import unknown

    for name, value in options.items():
        if name not in OPTIONS:
            raise ValueError(unknown("option", name, OPTIONS))
        kind = type(OPTIONS[name][0])
        if type(value) is not kind:
            raise ValueError(f'option "{name}" takes {kind.__name__}, not {value!r}')
        choices = _CHOICES[name]
        if choices and value not in choices:
            raise ValueError(unknown(f"value of {name}", str(value), choices))
