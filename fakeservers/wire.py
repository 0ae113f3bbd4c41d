"""The one transport: carries out what a protocol core asks, over TCP and TLS, as slowly or brokenly as rules want.

TLS runs on memory buffers rather than on asyncio's own layer: implicit TLS and every upgrade are one path, bytes can
be placed before, into and after a handshake, and an idle connection costs a tenth.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import traceback
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from fakeservers.actions import Action, Cut, End, Ending, Inflate, More, Pace, Send, Session, StartTls, TlsFacts, Wait
from fakeservers.certificates import ServerContext, Terms, nameless_context, server_context
from fakeservers.connection import Connection
from fakeservers.deflate import Deflated
from fakeservers.proxyheader import parse as parse_proxy_header
from fakeservers.transcript import NOTHING, SAID, SAID_BODY

if TYPE_CHECKING:
    from fakeservers.host import Listener

__all__ = ["BROKEN_FLIGHTS", "HANDSHAKE_FAULTS", "Wire"]

LINGER = 2.0
"""Seconds for which a closed connection still swallows the client's bytes, lest a RST destroys the last reply."""
SEGMENT_PAUSE = 0.002
PENDING_LIMIT = 1 << 20

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
SLICES = 20
"""Segments a second in which a connection of limited bandwidth is served."""


_buffer = memoryview(bytearray(1 << 18))
"""What every wire reads into: all are served by one loop, and asyncio's buffer of this size for each read, given back
after it, would take more time than all else."""


class Wire(asyncio.BufferedProtocol):
    """One TCP connection of a listener, from accept to close."""

    # What most connections never change stands in the class: an idle connection is smaller, a short one faster.
    _busy = False
    _choked = False
    _ended: Ending | None = None
    _lingers_until = 0.0
    _eof = False
    _budget: Cut | None = None
    _tls: ssl.SSLObject | None = None
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _shaking = False
    _spoiled: tuple[Send, Ending] | None = None
    """What a ClientHello is answered with instead of a ServerHello, and how the connection ends then."""
    _flight: Ending | None = None
    """The server's first flight is cut in half, and the connection ends so."""
    _slice = 0
    """Octets that are sent at once on a connection of limited bandwidth; 0: any number."""
    _certificate = b""
    _nameless: ServerContext | None = None
    """Shown to a client that names no server."""
    _defect: str | None = None
    _sni: str | None = None
    _stirring = False
    _stirred_while_busy = False
    _held = b""
    _proxy: bytes | None = None
    """As much of a PROXY header as has come; None where none is awaited."""
    _draining = False
    """More of an answer is asked for once the client has taken what there is."""
    _deflated: Deflated | None = None

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._site = listener.site
        self._queue: list[Action | Ask] = []
        self._pending = bytearray()
        self._out: list[bytes] = []
        """Bytes of this turn of the loop: a reply made of several parts leaves in one segment."""

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        peer = transport.get_extra_info("peername") or ("unknown",)
        listener = self._listener
        self.connection = Connection(
            self._site, listener.next_connection(), listener.service, listener.protocol, str(peer[0])
        )
        self.connection.wake = self._wake
        self._session: Session = listener.session(self.connection)
        self._tls_at_once = listener.implicit_tls
        listener.opened(self)
        self.active = self._loop.time()
        self.connection.event("connected", {"event": "connect"})
        if listener.proxied:
            self._proxy = b""
        else:
            self._ask(self._accept if self._site.rules.has(listener.accept_point) else self._greet)

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
        self._slice = (effect.bandwidth or 0) // SLICES
        first = effect.around(b"")
        return first if effect.ending is not None else [*first, Ask(self._greet)]

    def _proxy_header(self, data: bytes) -> bytes:
        """Take the PROXY header that comes first; returns what stands behind it."""
        self._proxy = data = (self._proxy or b"") + data
        try:
            header = parse_proxy_header(data)
        except ValueError as error:
            self.connection.event(f"no PROXY header: {error}", {"event": "proxy-failed"})
            self._end("close", None)
            return b""
        if header is None:
            return b""
        self._proxy = None
        facts = {"event": "proxy", "client": header.client, "port": header.port}
        self.connection.event(f"comes through a proxy from {header.client}", facts)
        self.connection.client = header.client or self.connection.client
        self._ask(self._accept if self._site.rules.has(self._listener.accept_point) else self._greet)
        return data[header.octets :]

    def get_buffer(self, sizehint: int) -> memoryview:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(_buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        self.active = self._loop.time()
        if self._ended:
            return
        if self._proxy is not None:
            data = self._proxy_header(data)
            if not data or self._ended:
                return
        if self._spoiled is not None:
            (answer, ending), self._spoiled = self._spoiled, None
            self._shaking = False
            self._write(answer)
            self._end(ending, answer.rule)
            return
        if self._tls is None:
            self._feed(data)
            return
        self._incoming.write(data)
        if self._shaking:
            self._shake()
        if self._tls is not None and not self._shaking:
            self._decrypt(self._tls)

    def eof_received(self) -> bool:
        self._eof = True
        if self._ended in ("stall", "half-close"):
            return self._ended == "stall"
        if self._shaking:
            self._handshake_failed("closed by the client")
            self._transport.close()
            return False
        if self._busy or self._choked:
            return True
        self._transport.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._queue.clear()
        by = "server" if self._ended else "client"
        # A wait under way must not wake a session that is over.
        self._ended = self._ended or "close"
        how = "reset by the client" if isinstance(exc, ConnectionResetError) else "closed"
        try:
            self._session.closed()
        except Exception:  # noqa: BLE001 a defect of ours must surface as the host's error, not die in the loop
            self._listener.failed(traceback.format_exc())
        self.connection.event(how, {"event": "closed", "by": by})
        self.connection.release()
        self._listener.gone(self)
        # Nothing goes in a circle any more, so the connection is given back at once, without the garbage collector.
        self.connection.wake = _nobody
        self._tls = None

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        self.active = self._loop.time()
        if self._draining:
            self._draining = self._busy = False
            self._run()
        else:
            self._proceed()

    # --- for the host

    def abort(self) -> None:
        self._ended = self._ended or "close"
        self._transport.abort()

    def check_idle(self, now: float) -> None:
        if self._lingers_until and now >= self._lingers_until:
            self._transport.close()
        if self._ended or now - self.active <= self._session.idle:
            return
        if self._shaking:
            self._handshake_failed("timed out")
            self._end("close", None)
        elif self._draining:
            # A client that does not read its answer would not read a farewell either.
            self.abort()
        elif not self._busy:
            self._ask(self._session.timed_out)

    # --- between core and socket

    def _wake(self) -> None:
        if not self._stirring:
            self._stirring = True
            self._loop.call_soon(self._stir)

    def _stir(self) -> None:
        self._stirring = False
        if self._busy:
            self._stirred_while_busy = True
        elif not self._ended:
            self._ask(self._session.stirred)

    def _feed(self, data: bytes) -> None:
        if self._budget is not None:
            if len(data) >= self._budget.after:
                cut, self._budget = self._budget, None
                if cut.after:
                    self._feed(data[: cut.after])
                self._queue.clear()
                self._end(cut.how, cut.rule)
                return
            self._budget = Cut(self._budget.after - len(data), self._budget.how, self._budget.rule)
        if self._busy or self._choked or self._pending:
            self._pending += data
            if len(self._pending) > PENDING_LIMIT:
                self._transport.pause_reading()
            return
        self._give(data)

    def _give(self, data: bytes) -> None:
        if self._deflated is not None:
            self._inflate(self._deflated, data)
        else:
            self._hand(data)

    def _hand(self, data: bytes) -> None:
        try:
            actions = self._session.receive(data)
        except Exception:  # noqa: BLE001 no input may stop the host; the defect is reported by it
            self._listener.failed(traceback.format_exc())
            actions = [End("close")]
        self._perform(actions)

    def _inflate(self, deflated: Deflated, data: bytes) -> None:
        """Piece by piece: what the client has packed may be a thousand times as long."""
        try:
            for piece, packed in deflated.inflate(data):
                self._hand(piece)
                if self._ended:
                    return
                if self._busy or self._choked:
                    self._pending[:0] = packed
                    return
        except zlib.error as error:
            self.connection.event(f"no DEFLATE from the client: {error}", {"event": "inflate-failed"})
            self._end("close", None)

    def _ask(self, question: Callable[[], Sequence[Action | Ask]]) -> None:
        self._perform(self._answer(question))

    def _answer(self, question: Callable[[], Sequence[Action | Ask]]) -> Sequence[Action | Ask]:
        try:
            return question()
        except Exception:  # noqa: BLE001 as above
            self._listener.failed(traceback.format_exc())
            return [End("close")]

    def _perform(self, actions: Sequence[Action | Ask]) -> None:
        if len(actions) == 1 and not (self._queue or self._busy or self._ended or self._slice):
            # One plain reply, as to most commands, needs no queue.
            first = actions[0]
            if type(first) is Send and first.pace is None:
                self._write(first)
                self._flush()
                if self._pending or self._eof or self._stirred_while_busy:
                    self._proceed()
                return
        self._queue.extend(actions)
        if not self._busy:
            self._run()

    def _run(self) -> None:
        while self._queue and not self._ended:
            action = self._queue.pop(0)
            if type(action) is Send and action.pace is None and not self._slice:
                self._write(action)
                continue
            match action:
                case Send(data, None) if self._slice and len(data) > self._slice:
                    slices = Pace(step=self._slice, every=1 / SLICES)
                    self._queue[:0] = _segments(replace(action, pace=slices))
                case Send(_, None):
                    self._write(action)
                case Send():
                    self._queue[:0] = _segments(action)
                    if action.pace is not None and action.pace.hold:
                        self._hold(action)
                case Wait(seconds):
                    self._flush()
                    self._busy = True
                    self._loop.call_later(seconds, self._waited)
                    return
                case StartTls():
                    self._begin_tls()
                    if self._shaking or self._ended:
                        return
                case Cut():
                    self._budget = action
                case More(proceed):
                    self._flush()
                    if self._choked:
                        self._queue.insert(0, action)
                        self._busy = self._draining = True
                        return
                    self._queue[:0] = self._answer(proceed)
                case Inflate():
                    self.connection.event("DEFLATE in both directions from here on", {"event": "compress"})
                    self._deflated = Deflated()
                case Ask(question):
                    self._ask(question)
                    return
                case End(how):
                    self._end(how, action.rule, expected=action.expected)
        self._flush()
        self._proceed()

    def _waited(self) -> None:
        self._busy = False
        self._run()

    def _proceed(self) -> None:
        """Give the core what came while it could not read."""
        if self._ended or self._busy or self._choked:
            return
        if self._stirred_while_busy:
            self._stirred_while_busy = False
            self._wake()
        if self._pending:
            data = bytes(self._pending)
            self._pending.clear()
            self._transport.resume_reading()
            self._give(data)
        elif self._eof:
            self._transport.close()

    def _hold(self, action: Send) -> None:
        self._held += action.data

    def _write(self, send: Send) -> None:
        data = send.data
        if self._held:
            data, self._held = self._held + data, b""
        if not data:
            return
        connection = self.connection
        plain = SAID_BODY if send.body else SAID
        what = plain if send.rule is None else ("S", send.rule, send.body, NOTHING)
        self._site.transcript.enter(connection.where, what, b"***\r\n" if send.secret else data, masked=send.secret)
        if self._deflated is not None:
            data = self._deflated.deflate(data)
        if self._tls is None:
            self._out.append(data)
            return
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self._end("close", None)

    def _flush(self) -> None:
        if self._tls is not None and not self._shaking:
            self._out.append(self._outgoing.read())
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            if data:
                self._transport.write(data)

    def _end(self, how: Ending, rule: str | None, *, expected: bool = False) -> None:
        if self._ended:
            return
        self._ended = how
        self._flush()
        self.connection.event(f"server ends the connection: {how}", {"event": "end", "how": how}, rule)
        if how == "reset":
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        elif how != "stall":
            if self._tls is not None and not self._shaking and how != "abandon-tls":
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()
                self._transport.write(self._outgoing.read())
            if self._eof or (expected and self._tls is None):
                self._transport.close()
                return
            with contextlib.suppress(OSError):
                self._transport.write_eof()
            if how != "half-close":
                # The sweep closes it: a timer for each would keep connections alive that are long gone.
                self._lingers_until = self._loop.time() + LINGER

    # --- TLS

    def _begin_tls(self) -> None:
        self._flush()
        first = self._tls_at_once and self.connection.tls is None
        early = bytes(self._pending) if first else b""
        if early:
            self._pending.clear()
        if self._pending:
            # It came before the reply that allows TLS, so it is no ClientHello: nobody may act on it.
            facts = {"event": "plaintext-after-starttls", "octets": len(self._pending)}
            self.connection.event(f"{len(self._pending)} octets of plaintext before TLS are dropped", facts)
            self._pending.clear()
        effect = self.connection.consult("tls")
        if effect is not None and effect.handshake == "skipped":
            self.connection.event("no TLS handshake after all", {"event": "tls-skipped"}, effect.rule)
            self._ask(self._session.connect if first else self._session.tls_skipped)
            return
        self._flight = BROKEN_FLIGHTS.get(effect.handshake or "") if effect is not None else None
        if effect is not None and effect.handshake is not None and self._flight is None:
            answer, ending = HANDSHAKE_FAULTS[effect.handshake]
            if answer:
                self._spoiled = Send(answer, rule=effect.rule), ending
                self._shaking = True
                if early:
                    self.data_received(early)
            else:
                self._end(ending, effect.rule)
            return
        if effect is not None and effect.ending is not None:
            self._end(effect.ending, effect.rule)
            return
        self._defect = effect.certificate if effect is not None else None
        asked = effect.client_certificate if effect is not None else None
        clients = asked or ("optional" if self._listener.takes_client_certificates else "none")
        terms = effect.tls if effect is not None else None
        insists = Terms() if terms is None else Terms(terms.minimum, terms.maximum, terms.ciphers)
        self._nameless = nameless_context() if terms is not None and terms.sni == "required" else None
        context = server_context(tuple(self._site.profile.hosts), self._defect, clients, insists)
        self._certificate = context.certificate
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context.sni_callback = _note_sni
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._tls.mailrig_wire = self  # type: ignore[attr-defined]
        self._shaking = True
        self._busy = True
        if self._defect is not None and effect is not None:
            facts = {"event": "certificate", "defect": self._defect}
            self.connection.event(f"shows a certificate: {self._defect}", facts, effect.rule)
        if early:
            self.data_received(early)

    def _shake(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            flight = self._outgoing.read()
            if self._flight is not None and flight:
                self._transport.write(flight[: len(flight) // 2])
                self._handshake_failed("broken off by a rule")
                self._end(self._flight, None)
                return
            self._transport.write(flight)
            return
        except ssl.SSLError as error:
            self._transport.write(self._outgoing.read())
            self._handshake_failed(error.reason or str(error))
            self._end("close", None)
            return
        self._transport.write(self._outgoing.read())
        self._shaking = False
        self._busy = False
        cipher = self._tls.cipher()
        facts = TlsFacts(
            version=self._tls.version() or "",
            cipher=cipher[0] if cipher else "",
            sni=self._sni,
            client_certificate=self._tls.getpeercert(binary_form=True),
            certificate=self._defect,
            server_certificate=self._certificate,
        )
        first = self.connection.tls is None and self._tls_at_once
        self.connection.tls = facts
        self.connection.event(
            f"{facts.version} with {facts.cipher}, SNI {facts.sni}",
            {"event": "tls", "version": facts.version, "sni": facts.sni, "certificate": facts.certificate},
        )
        self._ask(self._session.connect if first else lambda: self._session.tls_started(facts))

    def _handshake_failed(self, reason: str) -> None:
        self._tls = None
        self._shaking = self._busy = False
        self.connection.event(f"TLS handshake failed: {reason}", {"event": "tls-failed", "reason": reason})

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        while not self._ended:
            try:
                data = tls.read(65536)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                self.connection.event(f"TLS broken: {error.reason}", {"event": "tls-broken"})
                self._end("close", None)
                return
            if not data:
                self._eof = True
                self._proceed()
                break
            self._feed(data)
        if pending := self._outgoing.read():
            self._transport.write(pending)


def _nobody() -> None:
    """Stands for the wire of a connection that is gone."""


def _note_sni(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    # The context is shared by whoever asks for it, so the connection may be somebody else's.
    wire = getattr(tls, "mailrig_wire", None)
    if wire is not None:
        wire._sni = name
        if name is None and wire._nameless is not None:
            tls.context = wire._nameless
            wire._certificate = wire._nameless.certificate


@dataclass(frozen=True, slots=True)
class Ask:
    """Go on with this once what stands before it in the queue is done."""

    question: Callable[[], Sequence[Action | Ask]]


def _segments(send: Send) -> list[Action]:
    """A paced send as plain sends with pauses between; a held one as nothing (it waits in the wire)."""
    pace: Pace | None = send.pace
    assert pace is not None
    if pace.hold:
        return []
    cuts = set(pace.positions)
    if pace.step:
        cuts |= set(range(pace.step, len(send.data), pace.step))
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(send.data)), len(send.data)]
    actions: list[Action] = []
    for start, end in pairwise(edges):
        if actions:
            actions.append(Wait(pace.every or SEGMENT_PAUSE))
        actions.append(Send(send.data[start:end], None, send.rule, send.secret, send.body))
    return actions
