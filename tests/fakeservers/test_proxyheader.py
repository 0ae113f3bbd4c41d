"""The PROXY header before everything else, for plain ports and TLS ports of every protocol."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeservers import FakeMailHost, load_profile
from fakeservers.certificates import ca_pem
from fakeservers.proxyheader import V2, ProxyHeader, parse

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n"
IPV4 = V2 + b"\x21\x11" + struct.pack(">H4s4sHH", 12, bytes([192, 0, 2, 7]), bytes(4), 40000, 25)
IPV6 = V2 + b"\x21\x21" + struct.pack(">H16s16sHH", 36 + 3, b"\x20\x01" + bytes(13) + b"\1", bytes(16), 1, 2) + b"tlv"
LOCAL = V2 + b"\x20\x00\0\0"


@pytest.mark.parametrize(
    ("header", "client", "port"),
    [
        (V1, "192.0.2.7", 40000),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1", 1),
        (b"PROXY UNKNOWN ffff:: whatever\r\n", None, None),
        (IPV4, "192.0.2.7", 40000),
        (IPV6, "2001::1", 1),
        (LOCAL, None, None),
    ],
)
def test_headers(header: bytes, client: str | None, port: int | None) -> None:
    assert parse(header + b"EHLO x\r\n") == ProxyHeader(len(header), client, port)
    for end in range(len(header)):
        assert parse(header[:end]) is None, "not whole"


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO x\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 65536\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.8 1 2\r\n",
        b"PROXY \xff\r\n",
        b"PROXY " + b"x" * 200,
        V2 + b"\x11\x11\0\x0c" + bytes(12),
        V2 + b"\x21\x11\0\x04" + bytes(4),
        V2 + b"\x22\x11\0\0",
    ],
)
def test_no_headers(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(data)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(V2.__add__) | st.binary(max_size=40).map(b"PROXY ".__add__))
def test_any_bytes(data: bytes) -> None:
    try:
        header = parse(data)
    except ValueError:
        return
    assert header is None or header.octets <= len(data)


@pytest.fixture
def host() -> Iterator[FakeMailHost]:
    profile = load_profile("generic")
    services = {name: service.model_copy(update={"proxy_protocol": True}) for name, service in profile.services.items()}
    with FakeMailHost(profile.model_copy(update={"services": services}), services=["smtp", "smtps", "pop3"]) as host:
        yield host
        assert host.errors == []


def connect(host: FakeMailHost, service: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", host.endpoints()["ports"][service]), timeout=10)


@pytest.mark.parametrize("service", ["smtp", "pop3"])
@pytest.mark.parametrize("header", [V1, IPV4])
def test_the_greeting_waits_for_the_header(host: FakeMailHost, service: str, header: bytes) -> None:
    with connect(host, service) as sock:
        for octet in header[:-1]:
            sock.sendall(bytes([octet]))
        host.settle()
        assert not [entry for entry in host.transcript if entry.direction == "S"]
        sock.sendall(header[-1:] + b"QUIT\r\n")
        file = sock.makefile("rb")
        assert file.readline().startswith((b"220 ", b"+OK"))
        assert file.readline().startswith((b"221 ", b"+OK"))
    told = [entry.facts for entry in host.transcript if entry.facts.get("event") == "proxy"]
    assert told == [{"event": "proxy", "client": "192.0.2.7", "port": 40000}]


def test_under_tls_the_header_is_in_clear(host: FakeMailHost) -> None:
    context = ssl.create_default_context(cadata=ca_pem().decode())
    with connect(host, "smtps") as sock:
        sock.sendall(V1)
        with context.wrap_socket(sock, server_hostname="localhost") as secure:
            assert secure.recv(100).startswith(b"220 ")


def test_a_client_without_a_header_is_turned_away(host: FakeMailHost) -> None:
    with connect(host, "smtp") as sock:
        sock.sendall(b"EHLO x\r\n")
        assert sock.recv(100) == b""
    assert [entry for entry in host.transcript if entry.facts.get("event") == "proxy-failed"]
