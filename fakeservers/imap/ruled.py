"""What a rule says in place of the server's own answer, in IMAP's form."""

from __future__ import annotations

from collections.abc import Mapping

from fakeservers.connection import Connection
from fakeservers.rules import Effect

__all__ = ["refuses", "spoken", "status_words"]

_LINE_ENDS: Mapping[str, bytes] = {"crlf": b"\r\n", "lf": b"\n", "cr": b"\r", "none": b""}


def status_words(effect: Effect) -> set[str]:
    """The status words of a rule's reply: OK, NO, BAD, PREAUTH, BYE, +; none where it says nothing."""
    act = effect.reply
    reply = act.reply if act is not None else None
    return {line.removeprefix("* ").partition(" ")[0] for line in (reply or "").splitlines()}


def refuses(effect: Effect) -> bool:
    """Whether the rule's own reply keeps the command from having its effect: every reply without an OK does.

    So does one that writes `{tag} OK` itself: it is the whole answer.
    """
    if effect.reply is None:
        return False
    words = status_words(effect)
    return not words & {"OK", "PREAUTH", "+"} or bool(words & {"NO", "BAD"})


def spoken(
    connection: Connection, effect: Effect, said: list[bytes], last: str, *, tag: str, words: Mapping[str, object]
) -> bytes:
    """Untagged lines of the rule first; then the server's own data; then the rule's reply or the server's `last`."""
    out = []
    for line in effect.untagged:
        line = connection.text(line, **words)
        out.append((line if line.startswith("* ") else f"* {line}").encode() + b"\r\n")
    act = effect.reply
    if act is None or act.reply is None:
        return b"".join([*out, *said, last.encode("utf-8", "surrogateescape"), b"\r\n"])
    if not refuses(effect):
        out += said
    end = _LINE_ENDS[act.line_end]
    for line in act.reply.splitlines():
        line = connection.text(line, **words)
        first = line.partition(" ")[0]
        if first in ("OK", "NO", "BAD", "PREAUTH"):
            line = f"{tag} {line}"
        elif first == "BYE":
            line = f"* {line}"
        out.append(line.encode() + end)
    return b"".join(out)
