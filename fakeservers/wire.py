"""The one wire: a protocol core's connection from accept to close, over TCP and TLS."""

from __future__ import annotations

import socket
import traceback
import zlib
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from fakeservers.actions import Action, Cut, Send, StartTls
from fakeservers.carrying import MASKED, SLICES, Ask, Rare
from fakeservers.connection import Connection
from fakeservers.deflate import Deflated
from fakeservers.proxyheader import parse as parse_proxy_header
from fakeservers.securing import Secured
from fakeservers.tcp import Poller
from fakeservers.transcript import SAID, SAID_BODY, What

if TYPE_CHECKING:
    from fakeservers.host import Listener

__all__ = ["Wire"]

PENDING_LIMIT = 1 << 20


class Wire(Secured):
    """One TCP connection of a listener, from accept to close."""

    __slots__ = ("_stirred_while_busy", "_stirring", "active")

    def __init__(self, listener: Listener, poller: Poller, sock: socket.socket, client: str) -> None:
        super().__init__(listener, poller, sock)
        self._stirring = self._stirred_while_busy = False
        self._tls_at_once = listener.implicit_tls
        self.active = monotonic()
        self.connection = Connection(
            listener.site, listener.next_connection(), listener.service, listener.protocol, client
        )
        self.connection.wire = self
        self._session = listener.session(self.connection)
        listener.opened(self)
        self._enter(self.connection.where, _CONNECTED, b"connected")
        if listener.proxied:
            self._rarely().proxy = b""
        else:
            self._ask(self._accept if listener.site.rules.has(listener.accept_point) else self._greet)
        self.read(True)

    def _greet(self) -> Sequence[Action | Ask]:
        return [StartTls()] if self._tls_at_once else self._session.connect()

    def _accept(self) -> Sequence[Action | Ask]:
        """What rules want of a connection before a word is said on it."""
        effect = self.connection.consult("accept")
        if effect is None:
            return self._greet()
        terms = effect.tls
        if terms is not None and terms.at_once is not None:
            self._tls_at_once = terms.at_once
        if effect.bandwidth:
            self._rarely().slice = effect.bandwidth // SLICES
        first = effect.around(b"")
        return first if effect.ending is not None else [*first, Ask(self._greet)]

    def _proxy_header(self, rare: Rare, data: bytes) -> bytes:
        """Take the PROXY header that comes first; returns what stands behind it."""
        rare.proxy = data = (rare.proxy or b"") + data
        try:
            header = parse_proxy_header(data)
        except ValueError as error:
            self.connection.event(f"no PROXY header: {error}", {"event": "proxy-failed"})
            self._end("close", None)
            return b""
        if header is None:
            return b""
        rare.proxy = None
        facts = {"event": "proxy", "client": header.client, "port": header.port}
        self.connection.event(f"comes through a proxy from {header.client}", facts)
        self.connection.client = header.client or self.connection.client
        listener = self._listener
        self._ask(self._accept if listener.site.rules.has(listener.accept_point) else self._greet)
        return data[header.octets :]

    # --- what the socket tells

    def received(self, data: bytes) -> None:
        self.active = monotonic()
        if self._ended:
            return
        rare = self._rare
        if rare is None and self._tls is None:
            # So it is with most octets, and one plain reply answers them.
            if self._busy or self.choked or self._pending is not None:
                self._feed(data)
                return
            try:
                actions = self._session.receive(data)
            except Exception:  # noqa: BLE001 no input may stop the host; the defect is reported by it
                actions = self._failed()
            if len(actions) == 1:
                reply = actions[0]
                if type(reply) is Send and reply.pace is None and reply.rule is None and reply.data:
                    secret = reply.secret
                    what = SAID_BODY if reply.body else SAID
                    self._enter(self.connection.where, what, MASKED if secret else reply.data, secret or reply.clean)
                    self.write(reply.data)
                    return
            if actions:
                self._perform(actions)
            return
        if rare is not None:
            if rare.proxy is not None:
                data = self._proxy_header(rare, data)
                if not data or self._ended:
                    return
            if rare.spoiled is not None:
                (answer, ending), rare.spoiled = rare.spoiled, None
                self._write(answer)
                self._end(ending, answer.rule)
                return
        if self._tls is None:
            self._feed(data)
        elif self._tls.shaking:
            self._shake(self._tls, data)
        else:
            self._tls.feed(data)
            self._decrypt(self._tls)

    def eof_received(self) -> bool:
        self._eof = True
        if self._ended in ("stall", "half-close"):
            return self._ended == "stall"
        if self._shaking:
            self._handshake_failed("closed by the client")
            return False
        return self._busy or self.choked

    def connection_lost(self, error: OSError | None) -> None:
        self._queue = None
        by = "server" if self._ended else "client"
        # A wait under way must not wake a session that is over.
        self._ended = self._ended or "close"
        try:
            self._session.closed()
        except Exception:  # noqa: BLE001 a defect of ours must surface as the host's error, not die in the loop
            self._listener.failed(traceback.format_exc())
        if isinstance(error, ConnectionResetError):
            self.connection.event("reset by the client", {"event": "closed", "by": by})
        else:
            self._enter(self.connection.where, _CLOSED[by], b"closed")
        self.connection.release()
        self._listener.gone(self)
        # Nothing goes in a circle any more, so the connection is given back at once, without the garbage collector.
        self.connection.wire = None
        if self._tls is not None:
            self._tls.forget()
            self._tls = None

    def resume_writing(self) -> None:
        self.active = monotonic()
        if self._draining:
            self._draining = self._busy = False
            self._run()
        else:
            self._proceed()

    # --- for the host

    def cut(self) -> None:
        """Break the connection off."""
        self._ended = self._ended or "close"
        self.abort()

    def check_idle(self, now: float) -> None:
        if self._lingers_until and now >= self._lingers_until:
            self.close()
        if self._ended or now - self.active <= self._session.idle:
            return
        if self._shaking:
            self._handshake_failed("timed out")
            self._end("close", None)
        elif self._draining:
            # A client that does not read its answer would not read a farewell either.
            self.cut()
        elif not self._busy:
            self._ask(self._session.timed_out)

    def stir(self) -> None:
        """Call the session's `stirred` soon."""
        if not self._stirring:
            self._stirring = True
            self.loop.call_soon(self._stir)

    # --- between core and socket

    def _stir(self) -> None:
        self._stirring = False
        if self._busy:
            self._stirred_while_busy = True
        elif not self._ended:
            self._ask(self._session.stirred)

    def _feed(self, data: bytes) -> None:
        rare = self._rare
        if rare is not None and rare.budget is not None:
            if len(data) >= rare.budget.after:
                cut, rare.budget = rare.budget, None
                if cut.after:
                    self._feed(data[: cut.after])
                self._queue = None
                self._end(cut.how, cut.rule)
                return
            rare.budget = Cut(rare.budget.after - len(data), rare.budget.how, rare.budget.rule)
        if self._busy or self.choked or self._pending is not None:
            if self._pending is None:
                self._pending = bytearray()
            self._pending += data
            if len(self._pending) > PENDING_LIMIT:
                self.read(False)
            return
        self._give(data)

    def _give(self, data: bytes) -> None:
        if self._rare is not None and self._rare.deflated is not None:
            self._inflate(self._rare.deflated, data)
        else:
            self._hand(data)

    def _hand(self, data: bytes) -> None:
        self._ask(lambda: self._session.receive(data))

    def _inflate(self, deflated: Deflated, data: bytes) -> None:
        """Piece by piece: what the client has packed may be a thousand times as long."""
        try:
            for piece, packed in deflated.inflate(data):
                self._hand(piece)
                if self._ended:
                    return
                if self._busy or self.choked:
                    if packed:
                        self._pending = bytearray(packed) + (self._pending or b"")
                    return
        except zlib.error as error:
            self.connection.event(f"no DEFLATE from the client: {error}", {"event": "inflate-failed"})
            self._end("close", None)

    def _proceed(self) -> None:
        """Give the core what came while it could not read."""
        if self._ended or self._busy or self.choked:
            return
        if self._stirred_while_busy:
            self._stirred_while_busy = False
            self.stir()
        if self._pending is not None:
            data, self._pending = bytes(self._pending), None
            self.read(not self._eof)
            self._give(data)
        elif self._eof:
            self.close()


_CONNECTED: What = ("*", None, False, {"event": "connect"})
_CLOSED: dict[str, What] = {by: ("*", None, False, {"event": "closed", "by": by}) for by in ("server", "client")}
"""How the transcript tells of what happens to every connection."""
