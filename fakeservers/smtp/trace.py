"""The trace header fields that a server puts in front of mail it keeps (RFC 5321 4.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

__all__ = ["trace_fields"]


def trace_fields(
    sender: str, ehlo: str, client: str, host: str, protocol: str, identifier: bytes, second: int
) -> bytes:
    """Return-Path and Received, CRLF behind each. `second` is one since 1970."""
    return b"%b%b;\r\n\t%b\r\n" % (_head(sender, ehlo, client, host, protocol), identifier, _date(second))


@lru_cache(maxsize=256)
def _head(sender: str, ehlo: str, client: str, host: str, protocol: str) -> bytes:
    """All that stands before the identifier."""
    return (
        f"Return-Path: <{sender}>\r\nReceived: from {_name(ehlo)} ([{client}])\r\n\tby {host} with {protocol} id "
    ).encode("utf-8", "replace")


def _name(ehlo: str) -> str:
    """The client's name, without what could break the header field."""
    return "".join(c if c.isalnum() or c in ".-_[]:" else "?" for c in ehlo) or "unknown"


@lru_cache(maxsize=16)
def _date(second: int) -> bytes:
    return format_datetime(datetime.fromtimestamp(second, UTC)).encode()
