"""TCP connections watched by the loop's selector itself, without asyncio's transports.

A transport with its extras and handles takes 1.6 KB and half of what a short reply costs, and every accepted
connection a task and two turns of the loop. What is left here is a socket and the octets that it did not take yet; the
names and the order of calls are asyncio's.
"""

from __future__ import annotations

import asyncio
import errno
import selectors
import socket
import struct
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE

from fakeservers.pieces import Pieces

__all__ = ["Acceptor", "Poller", "Tcp", "Watched"]

HIGH, LOW = 64 * 1024, 16 * 1024
"""Octets not yet sent, above which the connection is choked, and at which it is not any more."""
_PIECES = 1024 if hasattr(socket.socket, "sendmsg") else 0
"""As many as one call takes (Linux' IOV_MAX): more are short ones, which are better sent as one. Windows has no such
call."""
AT_ONCE = 64
"""Connections accepted before others are served."""
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_FULL_PAUSE = 1.0

_buffer = memoryview(bytearray(1 << 18))
"""What every connection reads into: all are served by one loop, and a buffer of this size for each read, given back
after it, would take more time than all else."""


class Watched:
    """A socket that the poller calls when it is ready."""

    __slots__ = ()

    def ready(self, events: int) -> None:
        raise NotImplementedError


class Poller(selectors.DefaultSelector):
    """The selector of a loop of its own, `loop`. Sockets that were registered with a `Watched` are served as soon as
    they are ready, all others are left to the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.SelectorEventLoop(self)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        others = []
        for event in super().select(timeout):
            watched = event[0].data
            if not isinstance(watched, Watched):
                others.append(event)
                continue
            try:
                watched.ready(event[1])
            except Exception as error:  # noqa: BLE001 as the loop does with a callback
                context = {"message": f"a defect in serving {watched!r}", "exception": error}
                self.loop.call_exception_handler(context)
        return others


class Tcp(Watched):
    """One connection. A subclass says what to do when octets came, when the other side has ended its half, when there
    is room again for what is to be sent, and when all is over (always from the loop, never within another call)."""

    __slots__ = ("_closing", "_finishing", "_lost", "_poller", "_sock", "_unsent", "_watched", "choked")

    def __init__(self, poller: Poller, sock: socket.socket) -> None:
        self._poller = poller
        self._sock = sock
        self._unsent: bytearray | None = None
        self._watched = 0
        self.choked = False
        """So much is unsent that nothing should be added."""
        self._closing = self._finishing = self._lost = False

    # --- what happens, for the subclass

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def eof_received(self) -> bool:
        """The other side sends no more; true keeps the connection open."""
        raise NotImplementedError

    def resume_writing(self) -> None:
        """It is not choked any more."""
        raise NotImplementedError

    def connection_lost(self, error: OSError | None) -> None:
        raise NotImplementedError

    # --- what may be done

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._poller.loop

    def write(self, data: bytes) -> None:
        """Send now what the socket takes, and the rest as it takes it."""
        if self._unsent is None:
            if self._lost:
                return
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._drop(error)
                return
            if sent == len(data):
                return
            self._unsent = bytearray(memoryview(data)[sent:])
            self._watch(self._watched | EVENT_WRITE)
        else:
            self._unsent += data
        if len(self._unsent) > HIGH:
            self.choked = True

    def write_all(self, pieces: Pieces) -> None:
        """The same for many pieces, of which those that the socket takes at once are not copied."""
        if self._unsent is None and len(pieces.each) <= _PIECES:
            if self._lost:
                return
            try:
                sent = self._sock.sendmsg(pieces.each)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._drop(error)
                return
            if sent < len(pieces):
                self.write(bytes(pieces)[sent:])
        else:
            self.write(bytes(pieces))

    def write_eof(self) -> None:
        """End our half behind what is unsent."""
        if not (self._finishing or self._closing):
            self._finishing = True
            if self._unsent is None:
                self._shut()

    def close(self) -> None:
        """Close behind what is unsent."""
        if not self._closing:
            self._closing = True
            self._watch(self._watched & ~EVENT_READ)
            if self._unsent is None:
                self._lost = True
                self.loop.call_soon(self._over, None)

    def abort(self, *, reset: bool = False) -> None:
        """Close now; `reset`: with a RST."""
        if not self._lost:
            if reset:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._drop(None)

    def read(self, on: bool) -> None:
        """Take octets in from here on, or leave them where they are. An end of the other side's half is for good."""
        if not self._closing:
            self._watch(self._watched | EVENT_READ if on else self._watched & ~EVENT_READ)

    # --- from the poller

    def ready(self, events: int) -> None:
        if events & EVENT_READ and not self._closing:
            try:
                octets = self._sock.recv_into(_buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._drop(error)
                return
            if octets:
                try:
                    self.received(_buffer[:octets].tobytes())
                except BaseException:
                    self._drop(None)
                    raise
            elif self.eof_received():
                self.read(False)
            else:
                self.close()
        if events & EVENT_WRITE and self._unsent is not None:
            self._send_more(self._unsent)

    def _send_more(self, unsent: bytearray) -> None:
        try:
            sent = self._sock.send(unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._drop(error)
            return
        del unsent[:sent]
        if not unsent:
            self._unsent = None
            self._watch(self._watched & ~EVENT_WRITE)
        if self.choked and len(unsent) <= LOW:
            self.choked = False
            self.resume_writing()
        if self._unsent is None:
            if self._closing and not self._lost:
                self._lost = True
                self.loop.call_soon(self._over, None)
            elif self._finishing:
                self._shut()

    def _watch(self, events: int) -> None:
        before, self._watched = self._watched, events
        if not before:
            if events:
                self._poller.register(self._sock.fileno(), events, self)
        elif not events:
            self._poller.unregister(self._sock.fileno())
        elif events != before:
            self._poller.modify(self._sock.fileno(), events, self)

    def _shut(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            """The other side is gone already, and reading tells so."""

    def _drop(self, error: OSError | None) -> None:
        if not self._lost:
            self._closing = self._lost = True
            self._unsent = None
            self._watch(0)
            self.loop.call_soon(self._over, error)

    def _over(self, error: OSError | None) -> None:
        try:
            self.connection_lost(error)
        finally:
            self._sock.close()


class Acceptor(Watched):
    """A listening socket; `made` is given each connection's socket and the client's address."""

    def __init__(self, poller: Poller, sock: socket.socket, made: Callable[[socket.socket, str], None]) -> None:
        self._poller, self._sock, self._made = poller, sock, made
        self._open = True
        self._listening = False
        self._listen(True)

    def _listen(self, on: bool) -> None:
        if on and not self._listening:
            self._poller.register(self._sock.fileno(), EVENT_READ, self)
        elif self._listening and not on:
            self._poller.unregister(self._sock.fileno())
        self._listening = on

    def ready(self, events: int) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                # Clients wait in the backlog until others have left.
                self._listen(False)
                self._poller.loop.call_later(_FULL_PAUSE, self._again)
                return
            sock.setblocking(False)
            self._made(sock, address[0])

    def _again(self) -> None:
        if self._open:
            self._listen(True)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._listen(False)
            self._sock.close()
