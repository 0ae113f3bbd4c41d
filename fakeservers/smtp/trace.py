"""The trace header fields that a server puts in front of mail it keeps (RFC 5321 4.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

__all__ = ["trace_fields"]


def trace_fields(
    *, sender: str, ehlo: str, client: str, host: str, protocol: str, identifier: str, now: float
) -> bytes:
    """Return-Path and Received, CRLF behind each. `now` is seconds since 1970."""
    return (
        f"Return-Path: <{sender}>\r\nReceived: from {_name(ehlo)} ([{client}])\r\n"
        f"\tby {host} with {protocol} id {identifier};\r\n\t{_date(int(now))}\r\n"
    ).encode("utf-8", "replace")


@lru_cache(maxsize=256)
def _name(ehlo: str) -> str:
    """The client's name, without what could break the header field."""
    return "".join(c if c.isalnum() or c in ".-_[]:" else "?" for c in ehlo) or "unknown"


@lru_cache(maxsize=16)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))
