"""How values and failures read in reports: short, on one line where it can be, with nothing that a terminal obeys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["failure_line", "group", "plain", "safe"]

_BARE = re.compile(r"[^\s,:{}\[\]\"'#][^,:{}\[\]\"'\n]*")


def plain(value: Any) -> str:
    """Plain data as a person writes it: `[sent, deferred]`, `{category: rate-limit, code: 550}`, `none`."""
    return _plain(value, top=True)


def _plain(value: Any, *, top: bool = False) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case dict():
            inner = ", ".join(f"{_plain(str(key))}: {_plain(item)}" for key, item in value.items())
            return inner if top and inner else f"{{{inner}}}"
        case list() | tuple():
            inner = ", ".join(_plain(item) for item in value)
            return f"[{inner}]"
        case str() if top or (_BARE.fullmatch(value) and value == value.strip()):
            return value
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        case _:
            return str(value)


def safe(text: object) -> str:
    """Text with control characters written out, so that a terminal shows them and obeys none. Line ends stay."""
    cleaned = str(text).replace("\r\n", "\n").expandtabs(4)
    return "".join(
        char if char == "\n" or char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in cleaned
    )


def failure_line(failure: Mapping[str, Any]) -> str:
    """A broken expectation on one line: `outcomes: expected [sent, deferred], observed [sent, failed] (file:23)`."""
    notes = [str(failure[name]) for name in ("where", "ref") if failure.get(name)]
    expected, observed = (_plain(failure.get(name)) for name in ("expected", "observed"))
    tail = f" ({'; '.join(notes)})" if notes else ""
    return safe(f"{failure.get('expectation')}: expected {expected}, observed {observed}{tail}").replace("\n", "\\n")


def group(name: str, provider: str) -> str:
    """The provider or theme under which a result is listed: the first folder of its id."""
    theme, slash, _ = name.partition("[")[0].rpartition("/")
    return theme.split("/")[0] if slash and theme.split("/")[0] else provider
