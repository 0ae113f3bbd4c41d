"""What the two clients of our own share below their protocols: a socket, TLS over it, and what goes wrong there."""

from __future__ import annotations

import re
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["STYLES", "Connection", "Trouble"]

STYLES = frozenset(sys.argv[1:])
WAITS = {"connect", "dns", "timeout", "tls-handshake", "disconnected", "protocol", "temporary", "rate-limit"}


class Trouble(Exception):
    def __init__(self, category: str, text: str = "", code: int | None = None) -> None:
        super().__init__(text)
        self.category, self.text, self.code = category, text, code
        match = re.match(r"\s*([245]\.\d{1,3}\.\d{1,3})(?=\s|$)", text)
        self.enhanced = match[1] if match and code else None

    @property
    def outcome(self) -> str:
        if self.category in ("rate-limit", "connect"):
            return "deferred"
        if self.category == "tls-required":
            return "failed"
        if self.code is not None:
            return "failed" if self.code >= 500 else "deferred"
        return "deferred" if self.category in WAITS else "failed"

    def told(self) -> dict[str, Any]:
        text = self.text
        if "terse" in STYLES:
            lines = text.split("\n")
            text = " ".join(f"{self.code}{'- '[line is lines[-1]]}{line}" for line in lines) if self.code else text
        text = "".join(c if c.isprintable() else "?" for c in text)
        enhanced = None if "terse" in STYLES else self.enhanced
        return {"category": self.category, "code": self.code, "enhanced": enhanced, "text": text}


@contextmanager
def told_as(category: str) -> Iterator[None]:
    """What the socket says, in the contract's words; `category` is what no other word is for."""
    try:
        yield
    except ssl.SSLCertVerificationError as failure:
        raise Trouble("tls-certificate", failure.verify_message) from None
    except TimeoutError as failure:
        raise Trouble("timeout", str(failure)) from None
    except socket.gaierror as failure:
        raise Trouble("dns", str(failure)) from None
    except OSError as failure:
        raise Trouble(category, str(failure)) from None


class Connection:
    """Octets in both directions. A subclass says in `begin` how its protocol starts."""

    def __init__(self, settings: dict[str, Any], dial: dict[str, str], host: str, port: int) -> None:
        self.settings = settings
        self.buffer = b""
        self.secure = False
        self.host = host.strip("[]")
        where = dial.get(f"{self.host}:{port}", "").rpartition(":")
        address = (where[0].strip("[]"), int(where[2])) if where[2] else (self.host, port)
        with told_as("connect"):
            self.socket = socket.create_connection(address, settings["timeout"])
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if settings["security"] == "implicit":
                self.start_tls()
            self.begin()
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        raise NotImplementedError

    def start_tls(self) -> None:
        # What came before the handshake was said in clear.
        self.buffer = b""
        context = ssl.create_default_context(cafile=self.settings["ca_file"])
        context.hostname_checks_common_name = False
        if self.settings["client_cert"]:
            context.load_cert_chain(self.settings["client_cert"], self.settings["client_key"])
        with told_as("tls-handshake"):
            self.socket = context.wrap_socket(self.socket, server_hostname=self.host)
        self.secure = True

    def put(self, data: bytes) -> None:
        with told_as("disconnected"):
            self.socket.sendall(data)

    def more(self) -> None:
        with told_as("disconnected"):
            data = self.socket.recv(65536)
        if not data:
            raise Trouble("disconnected", "the server closed the connection")
        self.buffer += data

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()
