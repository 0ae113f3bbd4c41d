"""Actions of a protocol core carried out over a connection, as slowly or brokenly as rules want."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, get_args

from fakeservers.actions import Action, Bulk, Cut, End, Ending, Inflate, More, Pace, Send, Session, StartTls, Wait
from fakeservers.connection import Connection
from fakeservers.deflate import Deflated
from fakeservers.tcp import Poller, Tcp
from fakeservers.tls import Tls
from fakeservers.transcript import NOTHING, SAID, SAID_BODY, What

if TYPE_CHECKING:
    import socket

    from fakeservers.host import Listener

__all__ = ["MASKED", "SLICES", "Ask", "Carrier", "Rare"]

LINGER = 2.0
"""Seconds for which a closed connection still swallows the client's bytes, lest a RST destroys the last reply."""
SEGMENT_PAUSE = 0.002
MASKED = b"***\r\n"
SLICES = 20
"""Segments a second in which a connection of limited bandwidth is served."""


class Rare:
    """What few connections have: one without it is smaller, and asks for all of it at once."""

    __slots__ = ("budget", "deflated", "flight", "held", "proxy", "slice", "spoiled")

    def __init__(self) -> None:
        self.proxy: bytes | None = None
        """As much of a PROXY header as has come; None where none is awaited."""
        self.slice = 0
        """Octets that are sent at once on a connection of limited bandwidth; 0: any number."""
        self.budget: Cut | None = None
        self.held: list[Send] = []
        """What leaves with the next octets, or at last before the end."""
        self.deflated: Deflated | None = None
        self.spoiled: tuple[Send, Ending] | None = None
        """What a ClientHello is answered with instead of a ServerHello, and how the connection ends then."""
        self.flight: Ending | None = None
        """The server's first flight is cut in half, and the connection ends so."""


class Carrier(Tcp):
    """A connection with a queue of actions. A subclass begins TLS, and gives the core what came meanwhile."""

    __slots__ = (
        "_busy", "_draining", "_ended", "_enter", "_eof", "_lingers_until", "_listener", "_out", "_pending", "_queue",
        "_rare", "_session", "_tls", "connection",
    )  # fmt: skip
    connection: Connection
    _session: Session

    def __init__(self, listener: Listener, poller: Poller, sock: socket.socket) -> None:
        super().__init__(poller, sock)
        self._listener = listener
        self._enter = listener.enter
        self._queue: list[Action | Ask] | None = None
        self._pending: bytearray | None = None
        """What came while the core could not read."""
        self._out: list[bytes] | None = None
        """Bytes of this turn of the loop: a reply made of several parts leaves in one segment."""
        self._busy = False
        self._draining = False
        """More of an answer is asked for once the client has taken what there is."""
        self._ended: Ending | None = None
        self._lingers_until = 0.0
        self._eof = False
        self._tls: Tls | None = None
        self._rare: Rare | None = None

    def _begin_tls(self) -> None:
        raise NotImplementedError

    def _proceed(self) -> None:
        """Give the core what came while it could not read."""
        raise NotImplementedError

    def _rarely(self) -> Rare:
        if self._rare is None:
            self._rare = Rare()
        return self._rare

    @property
    def _shaking(self) -> bool:
        if self._tls is not None:
            return self._tls.shaking
        return self._rare is not None and self._rare.spoiled is not None

    def _ask(self, question: Callable[[], Sequence[Action | Ask]]) -> None:
        self._perform(self._answer(question))

    def _answer(self, question: Callable[[], Sequence[Action | Ask]]) -> Sequence[Action | Ask]:
        try:
            return question()
        except Exception:  # noqa: BLE001 no input may stop the host; the defect is reported by it
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
                case Send(_, Pace(hold=seconds)) if seconds:
                    rare = self._rarely()
                    rare.held.append(action)
                    if seconds < inf:
                        self.loop.call_later(seconds, self._let_go)
                case Send():
                    self._queue[:0] = _segments(action)
                case Bulk(pieces):
                    if rare is None and self._tls is None:
                        self._flush()
                        self._enter(self.connection.where, SAID_BODY, pieces)
                        self.write_all(pieces)
                    else:
                        self._queue.insert(0, Send(bytes(pieces), body=True))
                case Wait(seconds):
                    self._flush()
                    self._busy = True
                    self.loop.call_later(seconds, self._waited)
                    return
                case StartTls():
                    self._write(_NOTHING)
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

    def _let_go(self) -> None:
        """What was held has waited long enough."""
        if not self._ended:
            self._perform([_NOTHING])

    def _write(self, send: Send) -> None:
        data = send.data
        rare = self._rare
        if rare is not None and rare.held:
            held, rare.held = rare.held, []
            for each in held:
                self._said(each)
            data = b"".join([*(each.data for each in held), data])
        if not data:
            return
        if send.data:
            self._said(send)
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

    def _said(self, send: Send) -> None:
        plain = SAID_BODY if send.body else SAID
        what = plain if send.rule is None else ("S", send.rule, send.body, NOTHING)
        self._enter(self.connection.where, what, MASKED if send.secret else send.data, send.secret or send.clean)

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
        if how not in ("reset", "stall"):
            self._write(_NOTHING)
        self._ended = how
        self._flush()
        what, text = _ENDED[how]
        self._enter(self.connection.where, what if rule is None else ("*", rule, False, what[3]), text)
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


_NOTHING = Send(b"")
_ENDED: dict[str, tuple[What, bytes]] = {
    how: (("*", None, False, {"event": "end", "how": how}), f"server ends the connection: {how}".encode())
    for how in get_args(Ending)
}
"""How the transcript tells of an end."""


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
