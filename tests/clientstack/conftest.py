from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """A server's TLS context with a certificate for the given names."""

    def make(*names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
        return context

    return make


@pytest.fixture
def outgoing(ca_file: Path) -> Callable[..., dict[str, Any]]:
    """A `settings` object for sending to a port of this machine."""

    def make(port: int, **changes: Any) -> dict[str, Any]:
        section = {
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            "auth": "none",
            "timeout": 5,
            "from_address": "alice@example.test",
            "ca_file": str(ca_file),
        }
        return {"outgoing": section | changes}

    return make


@pytest.fixture
def incoming(ca_file: Path) -> Callable[..., dict[str, Any]]:
    """A `settings` object for reading from a port of this machine."""

    def make(port: int, protocol: str, **changes: Any) -> dict[str, Any]:
        section = {
            "protocol": protocol,
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            "auth": "login",
            "username": "alice@example.test",
            "password": "sesame-open",
            "allow_cleartext": True,
            "timeout": 5,
            "ca_file": str(ca_file),
        }
        return {"incoming": section | changes}

    return make
