"""The server's side of TLS on memory buffers: octets in, octets out, no socket.

Implicit TLS and every upgrade are one path, octets can be placed before, into and after a handshake, and an idle
connection costs a tenth of what asyncio's own layer takes.
"""

from __future__ import annotations

import contextlib
import ssl

from fakeservers.actions import Ending, TlsFacts
from fakeservers.certificates import ServerContext

__all__ = ["BROKEN_FLIGHTS", "HANDSHAKE_FAULTS", "Tls"]

HANDSHAKE_FAULTS: dict[str, tuple[bytes, Ending]] = {
    "stall": (b"", "stall"),
    "close": (b"", "close"),
    "reset": (b"", "reset"),
    "alert": (b"\x15\x03\x03\x00\x02\x02\x28", "close"),
    "plaintext": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "close"),
}
"""Fault: what is sent instead of a ServerHello, and how the connection ends."""
BROKEN_FLIGHTS: dict[str, Ending] = {"cut": "close", "stall-midway": "stall"}
"""Fault: the server's first flight is sent by half, and this follows."""
_RECORDS = 65536


class Tls:
    """One connection's TLS. `defect` names what is wrong with the certificate of `context`; `nameless` is shown to a
    client that names no server."""

    __slots__ = ("_incoming", "_object", "_outgoing", "certificate", "defect", "nameless", "shaking", "sni")

    def __init__(self, context: ServerContext, defect: str | None, nameless: ServerContext | None) -> None:
        self.certificate = context.certificate
        self.defect = defect
        self.nameless = nameless
        self.sni: str | None = None
        self.shaking = True
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context.sni_callback = _note_sni
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._object.mailrig = self  # type: ignore[attr-defined]

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        return self._outgoing.read()

    def handshake(self, data: bytes) -> TlsFacts | None:
        """Go on with the client's `data`; returns what was settled, or None: more must come. Raises ssl.SSLError."""
        self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return None
        self.forget()
        self.shaking = False
        cipher = self._object.cipher()
        return TlsFacts(
            version=self._object.version() or "",
            cipher=cipher[0] if cipher else "",
            sni=self.sni,
            client_certificate=self._object.getpeercert(binary_form=True),
            certificate=self.defect,
            server_certificate=self.certificate,
        )

    def forget(self) -> None:
        """Nothing goes in a circle from here on: the name is asked for in a handshake only."""
        self._object.mailrig = None  # type: ignore[attr-defined]

    def feed(self, data: bytes) -> None:
        self._incoming.write(data)

    def read(self) -> bytes | None:
        """The next octets in clear, empty at the client's end, None where there are none yet. Raises ssl.SSLError."""
        if not (self._incoming.pending or self._object.pending()):
            # To be told so by an exception takes longer than to read a record.
            return None
        try:
            return self._object.read(_RECORDS)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def write(self, data: bytes) -> None:
        """Raises ssl.SSLError."""
        self._object.write(data)

    def close_notify(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()


def _note_sni(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    # The context is shared by whoever asks for it, so the connection may be somebody else's.
    layer: Tls | None = getattr(tls, "mailrig", None)
    if layer is not None:
        layer.sni = name
        if name is None and layer.nameless is not None:
            tls.context = layer.nameless
            layer.certificate = layer.nameless.certificate
