"""The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who a proxy's client is."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

__all__ = ["ProxyHeader", "parse"]

V2 = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_V1 = 107
"""Octets of a version 1 header, CRLF included."""


class ProxyHeader(NamedTuple):
    """`octets` long; `client` and `port` are None where the proxy speaks for itself (LOCAL) or does not know."""

    octets: int
    client: str | None = None
    port: int | None = None


def parse(data: bytes) -> ProxyHeader | None:
    """Read the header at the beginning of `data`; None when it is not whole. Raises ValueError where none stands."""
    if data.startswith(V2[: len(data)]):
        return _version_2(data) if len(data) >= 16 else None
    if data.startswith(b"PROXY "[: len(data)]):
        end = data.find(b"\r\n", 0, LONGEST_V1)
        if end >= 0:
            return _version_1(data[:end])
        if len(data) < LONGEST_V1:
            return None
    raise ValueError("no PROXY header")


def _version_1(line: bytes) -> ProxyHeader:
    words = line.decode("ascii").split(" ")
    octets = len(line) + 2
    if words[1] == "UNKNOWN":
        return ProxyHeader(octets)
    _, family, source, destination, *ports = words
    if family not in ("TCP4", "TCP6") or len(ports) != 2:
        raise ValueError("malformed PROXY header")
    for address in (source, destination):
        if ip_address(address).version != int(family[3]):
            raise ValueError("the address is of another family")
    port, _ = (_port(text) for text in ports)
    return ProxyHeader(octets, source, port)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
        raise ValueError("no port")
    return int(text)


def _version_2(data: bytes) -> ProxyHeader | None:
    version, command = data[12] >> 4, data[12] & 15
    octets = 16 + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1:
        raise ValueError("malformed PROXY header")
    if len(data) < octets:
        return None
    size = {1: 4, 2: 16}.get(data[13] >> 4)
    if command == 0 or size is None:
        return ProxyHeader(octets)
    if octets < 16 + 2 * size + 4:
        raise ValueError("malformed PROXY header")
    source = ip_address(data[16 : 16 + size])
    port = int.from_bytes(data[16 + 2 * size : 18 + 2 * size], "big")
    return ProxyHeader(octets, str(source), port)
