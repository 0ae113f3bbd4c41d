"""Words for a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["unknown"]


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist: with the nearest one, and the list."""
    from difflib import get_close_matches

    names = sorted(known)
    if not names:
        return f'unknown {what} "{given}": there is none'
    near = get_close_matches(given, names, n=1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    most = 8 if near else 40
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f'unknown {what} "{given}": {hint}(known: {shown})'
