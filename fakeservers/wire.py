"""The one wire: carries out what a protocol core asks, over TCP and TLS, as slowly or brokenly as rules want."""

from __future__ import annotations

import socket
import ssl
import traceback
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING, get_args

from fakeservers.actions import Action, Cut, End, Ending, Inflate, More, Pace, Send, Session, StartTls, Wait
from fakeservers.certificates import ServerContext, Terms, nameless_context, server_context
from fakeservers.connection import Connection
from fakeservers.deflate import Deflated
from fakeservers.proxyheader import parse as parse_proxy_header
from fakeservers.rules import Effect
from fakeservers.tcp import Poller, Tcp
from fakeservers.tls import BROKEN_FLIGHTS, HANDSHAKE_FAULTS, Tls
from fakeservers.transcript import NOTHING, SAID, SAID_BODY

if TYPE_CHECKING:
    from fakeservers.host import Listener

__all__ = ["Wire"]

LINGER = 2.0
"""Seconds for which a closed connection still swallows the client's bytes, lest a RST destroys the last reply."""
SEGMENT_PAUSE = 0.002
PENDING_LIMIT = 1 << 20
MASKED = b"***\r\n"
SLICES = 20
"""Segments a second in which a connection of limited bandwidth is served."""


class _Rare:
    """What few connections have: one without it is smaller, and asks for all of it at once."""

    __slots__ = ("budget", "deflated", "flight", "held", "proxy", "slice", "spoiled")

    def __init__(self) -> None:
        self.proxy: bytes | None = None
        """As much of a PROXY header as has come; None where none is awaited."""
        self.slice = 0
        """Octets that are sent at once on a connection of limited bandwidth; 0: any number."""
        self.budget: Cut | None = None
        self.held = b""
        self.deflated: Deflated | None = None
        self.spoiled: tuple[Send, Ending] | None = None
        """What a ClientHello is answered with instead of a ServerHello, and how the connection ends then."""
        self.flight: Ending | None = None
        """The server's first flight is cut in half, and the connection ends so."""


class Wire(Tcp):
    """One TCP connection of a listener, from accept to close."""

    __slots__ = (
        "_busy", "_draining", "_ended", "_enter", "_eof", "_lingers_until", "_listener", "_out", "_pending", "_queue",
        "_rare", "_session", "_stirred_while_busy", "_stirring", "_tls", "_tls_at_once", "active", "connection",
    )  # fmt: skip

    def __init__(self, listener: Listener, poller: Poller, sock: socket.socket, client: str) -> None:
        super().__init__(poller, sock)
        self._listener = listener
        self._enter = listener.enter
        self._queue: list[Action | Ask] | None = None
        self._pending: bytearray | None = None
        self._out: list[bytes] | None = None
        """Bytes of this turn of the loop: a reply made of several parts leaves in one segment."""
        self._busy = False
        self._draining = False
        """More of an answer is asked for once the client has taken what there is."""
        self._ended: Ending | None = None
        self._lingers_until = 0.0
        self._eof = False
        self._tls: Tls | None = None
        self._rare: _Rare | None = None
        self._stirring = self._stirred_while_busy = False
        self._tls_at_once = listener.implicit_tls
        self.active = monotonic()
        self.connection = Connection(
            listener.site, listener.next_connection(), listener.service, listener.protocol, client
        )
        self.connection.wire = self
        self._session: Session = listener.session(self.connection)
        listener.opened(self)
        self.connection.event("connected", _CONNECTED)
        if listener.proxied:
            self._rarely().proxy = b""
        else:
            self._ask(self._accept if listener.site.rules.has(listener.accept_point) else self._greet)
        self.read(True)

    def _rarely(self) -> _Rare:
        if self._rare is None:
            self._rare = _Rare()
        return self._rare

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

    def _proxy_header(self, rare: _Rare, data: bytes) -> bytes:
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

    @property
    def _shaking(self) -> bool:
        if self._tls is not None:
            return self._tls.shaking
        return self._rare is not None and self._rare.spoiled is not None

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
            self.connection.event("closed", _CLOSED[by])
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

    def _ask(self, question: Callable[[], Sequence[Action | Ask]]) -> None:
        self._perform(self._answer(question))

    def _answer(self, question: Callable[[], Sequence[Action | Ask]]) -> Sequence[Action | Ask]:
        try:
            return question()
        except Exception:  # noqa: BLE001 as above
            return self._failed()

    def _failed(self) -> list[Action]:
        self._listener.failed(traceback.format_exc())
        return [End("close")]

    def _perform(self, actions: Sequence[Action | Ask]) -> None:
        if self._queue is None and self._rare is None and not (self._busy or self._ended):
            # Plain replies, as to most commands, need no queue.
            plain = 0
            for action in actions:
                if type(action) is not Send or action.pace is not None:
                    break
                self._write(action)
                plain += 1
            if plain == len(actions):
                self._flush()
                if self._pending is not None or self._eof or self._stirred_while_busy:
                    self._proceed()
                return
            actions = actions[plain:]
        if self._queue is None:
            self._queue = list(actions)
        else:
            self._queue.extend(actions)
        if not self._busy:
            self._run()

    def _run(self) -> None:
        rare = self._rare
        while self._queue and not self._ended:
            action = self._queue.pop(0)
            match action:
                case Send(data, None) if rare is not None and 0 < rare.slice < len(data):
                    slices = Pace(step=rare.slice, every=1 / SLICES)
                    self._queue[:0] = _segments(replace(action, pace=slices))
                case Send(_, None):
                    self._write(action)
                case Send(data, Pace(hold=True)):
                    rare = self._rarely()
                    rare.held += data
                case Send():
                    self._queue[:0] = _segments(action)
                case Wait(seconds):
                    self._flush()
                    self._busy = True
                    self.loop.call_later(seconds, self._waited)
                    return
                case StartTls():
                    self._begin_tls()
                    if self._shaking or self._ended:
                        return
                    rare = self._rare
                case Cut():
                    rare = self._rarely()
                    rare.budget = action
                case More(proceed):
                    self._flush()
                    if self.choked:
                        self._queue.insert(0, action)
                        self._busy = self._draining = True
                        return
                    self._queue[:0] = self._answer(proceed)
                case Inflate():
                    self.connection.event("DEFLATE in both directions from here on", {"event": "compress"})
                    rare = self._rarely()
                    rare.deflated = Deflated()
                case Ask(question):
                    self._ask(question)
                    return
                case End(how):
                    self._end(how, action.rule, expected=action.expected)
        if not self._queue:
            self._queue = None
        self._flush()
        self._proceed()

    def _waited(self) -> None:
        self._busy = False
        self._run()

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

    def _write(self, send: Send) -> None:
        data = send.data
        rare = self._rare
        if rare is not None and rare.held:
            data, rare.held = rare.held + data, b""
        if not data:
            return
        plain = SAID_BODY if send.body else SAID
        what = plain if send.rule is None else ("S", send.rule, send.body, NOTHING)
        self._enter(self.connection.where, what, MASKED if send.secret else data, send.secret or send.clean)
        if rare is not None and rare.deflated is not None:
            data = rare.deflated.deflate(data)
        if self._tls is not None:
            try:
                self._tls.write(data)
            except ssl.SSLError:
                self._end("close", None)
        elif self._out is None:
            self._out = [data]
        else:
            self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, None
        if out is not None:
            self.write(out[0] if len(out) == 1 else b"".join(out))
        if self._tls is not None and not self._tls.shaking:
            self._send(self._tls.outgoing())

    def _send(self, data: bytes) -> None:
        if data:
            self.write(data)

    def _end(self, how: Ending, rule: str | None, *, expected: bool = False) -> None:
        if self._ended:
            return
        self._ended = how
        self._flush()
        self.connection.event(f"server ends the connection: {how}", _ENDED[how], rule)
        if how == "reset":
            self.abort(reset=True)
        elif how != "stall":
            if self._tls is not None and not self._tls.shaking and how != "abandon-tls":
                self._tls.close_notify()
                self._send(self._tls.outgoing())
            if self._eof or (expected and self._tls is None):
                self.close()
                return
            self.write_eof()
            if how != "half-close":
                # The sweep closes it: a timer for each would keep connections alive that are long gone.
                self._lingers_until = monotonic() + LINGER

    # --- TLS

    def _begin_tls(self) -> None:
        self._flush()
        first = self._tls_at_once and self.connection.tls is None
        early = b""
        if self._pending is not None:
            pending, self._pending = bytes(self._pending), None
            if first:
                early = pending
            else:
                # It came before the reply that allows TLS, so it is no ClientHello: nobody may act on it.
                facts = {"event": "plaintext-after-starttls", "octets": len(pending)}
                self.connection.event(f"{len(pending)} octets of plaintext before TLS are dropped", facts)
        effect = self.connection.consult("tls")
        if effect is None:
            effect = _AS_USUAL
        if effect.handshake == "skipped":
            self.connection.event("no TLS handshake after all", {"event": "tls-skipped"}, effect.rule)
            self._ask(self._session.connect if first else self._session.tls_skipped)
            return
        flight = BROKEN_FLIGHTS.get(effect.handshake or "")
        if flight is not None:
            self._rarely().flight = flight
        elif effect.handshake is not None:
            answer, ending = HANDSHAKE_FAULTS[effect.handshake]
            if answer:
                self._rarely().spoiled = Send(answer, rule=effect.rule), ending
                if early:
                    self.received(early)
            else:
                self._end(ending, effect.rule)
            return
        if effect.ending is not None:
            self._end(effect.ending, effect.rule)
            return
        self._tls = Tls(*self._contexts(effect))
        self._busy = True
        if effect.certificate is not None:
            facts = {"event": "certificate", "defect": effect.certificate}
            self.connection.event(f"shows a certificate: {effect.certificate}", facts, effect.rule)
        if early:
            self.received(early)

    def _contexts(self, effect: Effect) -> tuple[ServerContext, str | None, ServerContext | None]:
        """What a handshake needs: its context, the certificate's defect, and what a nameless client is shown."""
        takes = self._listener.takes_client_certificates
        clients = effect.client_certificate or ("optional" if takes else "none")
        terms = effect.tls
        insists = Terms() if terms is None else Terms(terms.minimum, terms.maximum, terms.ciphers)
        nameless = nameless_context() if terms is not None and terms.sni == "required" else None
        hosts = tuple(self._listener.site.profile.hosts)
        return server_context(hosts, effect.certificate, clients, insists), effect.certificate, nameless

    def _shake(self, tls: Tls, data: bytes) -> None:
        try:
            facts = tls.handshake(data)
        except ssl.SSLError as error:
            self._send(tls.outgoing())
            self._handshake_failed(error.reason or str(error))
            self._end("close", None)
            return
        said = tls.outgoing()
        if facts is None:
            flight = self._rare.flight if self._rare is not None else None
            if flight is not None and said:
                self._send(said[: len(said) // 2])
                self._handshake_failed("broken off by a rule")
                self._end(flight, None)
            else:
                self._send(said)
            return
        self._send(said)
        self._busy = False
        first = self.connection.tls is None and self._tls_at_once
        self.connection.tls = settled = facts
        self.connection.event(
            f"{facts.version} with {facts.cipher}, SNI {facts.sni}",
            {"event": "tls", "version": facts.version, "sni": facts.sni, "certificate": facts.certificate},
        )
        self._ask(self._session.connect if first else lambda: self._session.tls_started(settled))
        self._decrypt(tls)

    def _handshake_failed(self, reason: str) -> None:
        if self._tls is not None:
            self._tls.forget()
            self._tls = None
        if self._rare is not None:
            self._rare.spoiled = None
        self._busy = False
        self.connection.event(f"TLS handshake failed: {reason}", {"event": "tls-failed", "reason": reason})

    def _decrypt(self, tls: Tls) -> None:
        while not self._ended:
            try:
                data = tls.read()
            except ssl.SSLError as error:
                self.connection.event(f"TLS broken: {error.reason}", {"event": "tls-broken"})
                self._end("close", None)
                return
            if data is None:
                break
            if not data:
                self._eof = True
                self._proceed()
                break
            self._feed(data)
        if not self._lost:
            self._send(tls.outgoing())


_AS_USUAL = Effect("", [])
_CONNECTED = {"event": "connect"}
_CLOSED = {by: {"event": "closed", "by": by} for by in ("server", "client")}
_ENDED = {how: {"event": "end", "how": how} for how in get_args(Ending)}
"""Facts of what happens to every connection."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Go on with this once what stands before it in the queue is done."""

    question: Callable[[], Sequence[Action | Ask]]


def _segments(send: Send) -> list[Action]:
    """A paced send as plain sends with pauses between."""
    pace: Pace | None = send.pace
    assert pace is not None
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
