"""What a scenario's `settings` may say: the contract's keys, and those that mailrig fills in itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["SECTIONS", "setting_problem"]

SECURITY = ("none", "starttls", "opportunistic", "implicit")
AUTH = ("auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "xoauth2", "oauthbearer", "external")
TEXT, TEXT_OR_NULL, FLAG, PORT, SECONDS = "a text", "a text or null", "true or false", "a port or null", "seconds"
Kind = str | tuple[str, ...]

_BOTH: Mapping[str, Kind] = {
    "service": TEXT,
    "account": TEXT,
    "host": TEXT,
    "port": PORT,
    "security": SECURITY,
    "username": TEXT,
    "password": TEXT,
    "access_token": TEXT_OR_NULL,
    "allow_cleartext": FLAG,
    "timeout": SECONDS,
    "ca_file": TEXT_OR_NULL,
    "client_cert": TEXT_OR_NULL,
    "client_key": TEXT_OR_NULL,
}
SECTIONS: Mapping[str, Mapping[str, Kind]] = {
    "outgoing": {
        **_BOTH,
        "auth": ("none", *AUTH),
        "ehlo_name": TEXT_OR_NULL,
        "smtputf8": FLAG,
        "from_address": TEXT,
        "from_name": TEXT,
        "reply_to": TEXT_OR_NULL,
        "bounce_address": TEXT_OR_NULL,
    },
    "incoming": {
        **_BOTH,
        "protocol": ("none", "pop3", "imap"),
        "auth": (*AUTH, "apop"),
        "inbox": TEXT_OR_NULL,
        "completed": TEXT_OR_NULL,
        "unseen_only": FLAG,
    },
    "graph": dict.fromkeys(("tenant_id", "client_id", "client_secret", "authority", "base_url", "ca_file"), TEXT),
}
"""Section: key: what its value is, or the values that there are. `business` is free."""


def setting_problem(section: str, key: str, value: Any) -> str | None:
    """What is wrong with the value of a known key, or None."""
    kind = SECTIONS[section][key]
    if isinstance(kind, tuple):
        if value in kind:
            return None
        from fakeservers.nearest import unknown

        return unknown(key, str(value), kind)
    return None if _fits(kind, value) else f"{key}: expected {kind}, found {value!r}"


def _fits(kind: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == FLAG:
        return isinstance(value, bool)
    if kind == PORT:
        return value is None or (number and value == int(value) and 1 <= value <= 65535)
    if kind == SECONDS:
        return number and value > 0
    return isinstance(value, str) or (value is None and kind == TEXT_OR_NULL)
