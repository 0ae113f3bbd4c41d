"""The client command protocol for a mail library: requests in, replies out, and what a server's code means."""

from __future__ import annotations

import base64
import json
import re
import ssl
import sys
from collections.abc import Callable, Iterable
from email import message_from_bytes, policy
from email.utils import formataddr, formatdate, make_msgid
from typing import Any

__all__ = ["Refused", "category", "context", "error", "incoming", "results", "reverse_path", "serve", "wire_form"]

ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\s*")
BY_COMMAND = {
    "greeting": "connect", "auth": "authentication", "mail": "sender-refused", "rcpt": "recipient-refused",
    "data": "message-refused",
}  # fmt: skip


class Refused(Exception):
    """What kept a message, by the contract's category."""

    def __init__(self, category: str, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.category = category
        self.text = text
        self.code = code

    @property
    def outcome(self) -> str:
        if self.code is not None:
            return "failed" if self.code >= 500 and self.category not in ("connect", "rate-limit") else "deferred"
        waits = ("connect", "dns", "timeout", "tls-handshake", "disconnected", "protocol", "temporary", "rate-limit")
        return "deferred" if self.category in waits else "failed"


def category(code: int, text: str, command: str) -> str:
    """As the contract's rulings have it, as far as codes go."""
    enhanced = ENHANCED.match(text)
    detail = enhanced[1][2:] if enhanced else ""
    if "limit exceeded" in text.lower():
        return "rate-limit"
    if detail == "3.4" or "size" in text.lower().split():
        return "size"
    if detail == "2.2":
        return "quota"
    if code == 538 or (code == 530 and "TLS" in text.upper()):
        return "tls-required"
    if 400 <= code < 500:
        return "temporary"
    if command == "auth" and code == 504:
        return "auth-mechanism"
    if code == 530:
        return "authentication"
    return BY_COMMAND.get(command, "protocol") if code >= 500 else "protocol"


INCOMING = {
    "temporary": re.compile(r"\[(UNAVAILABLE|SYS/TEMP|IN-?USE)\]|\bunavailable\b", re.IGNORECASE),
    "rate-limit": re.compile(r"\[(LIMIT|LOGIN-DELAY)\]|\btoo many\b", re.IGNORECASE),
}


def incoming(text: str, otherwise: str) -> str:
    """As the contract's rulings have it for IMAP and POP3: by response code and words."""
    return next((known for known, pattern in INCOMING.items() if pattern.search(text)), otherwise)


def error(kept: Refused) -> dict[str, Any]:
    """The ERROR object."""
    match = ENHANCED.match(kept.text)
    # Libraries hand over what the server said; what could steer a terminal is written out here.
    said = " ".join(ENHANCED.sub("", line, count=1).strip() for line in kept.text.splitlines())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)
    return {
        "category": kept.category,
        "code": kept.code,
        "enhanced": match[1] if match else None,
        "text": text,
    }


def results(messages: Iterable[dict[str, Any]], send: Callable[[dict[str, Any]], dict[str, Refused]]) -> dict[str, Any]:
    """The reply to `send`: `send` hands one message over, gives each refused recipient's reason, or raises Refused."""
    told = []
    stop: Refused | None = None
    for message in messages:
        try:
            if stop is not None:
                raise stop
            refused = send(message)
        except Refused as kept:
            refused = dict.fromkeys(message["to"], kept)
            # What is wrong with the login or with TLS is wrong for all.
            stop = kept if kept.category in ("authentication", "auth-mechanism", "tls-certificate") else None
        outcomes = {to: refused[to].outcome if to in refused else "sent" for to in message["to"]}
        outcome = next((word for word in ("deferred", "sent") if word in outcomes.values()), "failed")
        worst = next((kept for kept in refused.values() if kept.outcome == outcome), None)
        told.append(
            {
                "message": message["id"],
                "outcome": outcome,
                "error": error(worst) if worst is not None and outcome != "sent" else None,
                "retry_at": None,
                "recipients": {
                    to: {"outcome": word, "error": error(refused[to]) if to in refused else None}
                    for to, word in outcomes.items()
                },
            }
        )
    return {"results": told, "rate_limited_until": None}


def reverse_path(message: dict[str, Any], settings: dict[str, Any]) -> str:
    """The envelope sender; an empty `from` is the null reverse-path, whatever the account has."""
    if message.get("from") == "":
        return ""
    return str(settings["bounce_address"] or message.get("from") or settings["from_address"])


def wire_form(message: dict[str, Any], settings: dict[str, Any]) -> bytes:
    """The message with the fields that the contract wants added, none for blind copies, and CRLF line ends: given
    octets, the libraries see to dots alone."""
    raw = re.sub(rb"\r\n|\r|\n", b"\r\n", base64.b64decode(message["eml_base64"]))
    head, blank, body = raw.partition(b"\r\n\r\n")
    raw = re.sub(rb"(?im)^bcc[ \t]*:[^\r]*(\r\n[ \t][^\r]*)*\r\n", b"", head + b"\r\n") + blank[2:] + body
    parsed = message_from_bytes(raw, policy=policy.compat32)
    added = b""
    if "Date" not in parsed:
        added += f"Date: {formatdate()}\r\n".encode()
    if "Message-ID" not in parsed:
        added += f"Message-ID: {make_msgid(domain='client.example.test')}\r\n".encode()
    if "From" not in parsed:
        address = message.get("from") or settings["from_address"]
        added += f"From: {formataddr((settings['from_name'], address))}\r\n".encode()
    return added + raw


def context(settings: dict[str, Any]) -> ssl.SSLContext:
    """What Python's documentation recommends, with the account's CA."""
    made = ssl.create_default_context(cafile=settings["ca_file"])
    if settings.get("client_cert"):
        made.load_cert_chain(settings["client_cert"], settings["client_key"])
    return made


def serve(name: str, features: list[str], answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read requests from standard input to its end."""
    for line in sys.stdin:
        request = json.loads(line)
        if request["action"] == "hello":
            reply: dict[str, Any] = {"protocol": 1, "name": name, "version": "1", "features": features}
        else:
            reply = answer(request)
        sys.stdout.write(json.dumps({"id": request["id"], **reply}) + "\n")
        sys.stdout.flush()
