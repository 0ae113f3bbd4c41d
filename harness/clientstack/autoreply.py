"""Recognises mail that no person wrote in answer (RFC 3834): nothing may answer it, or take it for an answer."""

from __future__ import annotations

import re
from typing import Final

from .compose import crlf, field_name, header_section

__all__ = ["automatic_reason"]

_BULK: Final = ("bulk", "junk", "list", "auto_reply", "auto-reply")
_MARKS: Final = (b"x-autoreply", b"x-autorespond", b"x-autoresponder", b"x-auto-reply-from")
_SUBJECT: Final = re.compile(
    r"\s*(?:automatic reply|auto(?:matic)? ?response|auto-?reply|out of (?:the )?office|automatische antwort|"
    r"abwesenheits(?:notiz|nachricht)|réponse automatique|respuesta automática|risposta automatica)\b",
    re.IGNORECASE,
)
_SENDER: Final = re.compile(r"<?(?:mailer-daemon|postmaster|no-?reply|bounces?)[+@]", re.IGNORECASE)


def automatic_reason(raw: bytes) -> str | None:
    """Why a message is an automatic reply, or None for one that a person may have written.

    Auto-Submitted decides where it is there; else what responders wrote before it, or beside it.
    """
    fields: dict[bytes, str] = {}
    for each in header_section(crlf(raw)).fields:
        fields.setdefault(field_name(each), _unfolded(each))
    submitted = re.split(r"[;\s(]", fields.get(b"auto-submitted", "").strip().lower())[0]
    if submitted == "no":
        return None
    if submitted:
        return f"Auto-Submitted: {submitted}"
    for mark in _MARKS:
        if fields.get(mark, "no").strip().lower() not in ("", "no"):
            return f"{mark.decode()} is set"
    if (precedence := fields.get(b"precedence", "").strip().lower()) in _BULK:
        return f"Precedence: {precedence}"
    if _SUBJECT.match(_decoded(fields.get(b"subject", ""))):
        return "the subject is that of an automatic reply"
    if fields.get(b"return-path", "").strip() == "<>" or _SENDER.search(fields.get(b"from", "")):
        return "the sender takes no answers"
    return None


def _unfolded(field: bytes) -> str:
    return re.sub(r"\r\n(?=[ \t])", "", field.partition(b":")[2].decode("utf-8", "replace")).strip()


def _decoded(text: str) -> str:
    from email.errors import HeaderParseError
    from email.header import decode_header, make_header

    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return text
