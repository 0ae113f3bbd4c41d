"""Sockets on the loop's own selector: what is not taken at once, ends of both halves, and too many connections."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fakeservers.pieces import Pieces
from fakeservers.tcp import HIGH, Acceptor, Poller, Tcp

MUCH = b"0123456789abcdef" * (1 << 19)
"""More than a socket takes at once."""


class Talk(Tcp):
    """Keeps what it is told."""

    def __init__(self, poller: Poller, sock: socket.socket) -> None:
        super().__init__(poller, sock)
        self.got = b""
        self.told: list[str] = []
        self.keeps_open = False
        self.lost: asyncio.Future[OSError | None] = poller.loop.create_future()

    def received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keeps_open

    def resume_writing(self) -> None:
        self.told.append("resumed")

    def connection_lost(self, error: OSError | None) -> None:
        self.lost.set_result(error)


@contextmanager
def pair() -> Iterator[tuple[Poller, Talk, socket.socket]]:
    """A connection to a client's socket, which does not block."""
    poller = Poller()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as far:
        near, _ = listening.accept()
        near.setblocking(False)
        far.setblocking(False)
        talk = Talk(poller, near)
        talk.read(True)
        try:
            yield poller, talk, far
        finally:
            talk.abort()
            poller.loop.run_until_complete(asyncio.wait_for(asyncio.shield(talk.lost), 10))
            poller.loop.close()


def run(poller: Poller, work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, 20)

    return poller.loop.run_until_complete(bounded())


async def until(happened: Callable[[], object]) -> None:
    while not happened():
        await asyncio.sleep(0)


async def everything(far: socket.socket) -> bytes:
    loop, got = asyncio.get_running_loop(), []
    while data := await loop.sock_recv(far, 1 << 16):
        got.append(data)
    return b"".join(got)


def test_what_the_socket_does_not_take_follows_in_order_and_then_the_end() -> None:
    with pair() as (poller, talk, far):
        talk.write(MUCH)
        choked = [talk.choked]
        talk.write(b"and more")
        talk.write_eof()
        assert run(poller, everything(far)) == MUCH + b"and more"
        assert talk.told == ["resumed"]
        assert [*choked, talk.choked] == [True, False]
        assert not talk.lost.done(), "only our half has ended"


def test_pieces_are_sent_in_order_however_many_and_large_they_are() -> None:
    small = [b"%d," % number for number in range(3_000)]
    with pair() as (poller, talk, far):
        talk.write_all(Pieces(small))
        talk.write_all(Pieces([MUCH, b"and", b"more"]))
        assert talk.choked
        talk.write_all(Pieces([b"behind ", b"it"]))
        talk.close()
        assert run(poller, everything(far)) == b"".join(small) + MUCH + b"andmorebehind it"
        talk.write_all(Pieces([b"nobody", b"takes it"]))


def test_pieces_for_a_connection_that_was_reset() -> None:
    with pair() as (poller, talk, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        talk.read(False)
        talk.write_all(Pieces([MUCH, MUCH]))
        assert isinstance(run(poller, talk.lost), ConnectionError)


def test_a_close_waits_for_what_is_unsent() -> None:
    with pair() as (poller, talk, far):
        talk.write(MUCH)
        talk.close()
        assert run(poller, everything(far)) == MUCH
        assert run(poller, talk.lost) is None


def test_little_is_sent_at_once() -> None:
    with pair() as (_, talk, far):
        talk.write(b"x" * (HIGH // 8))
        assert not talk.choked
        assert len(far.recv(HIGH)) == HIGH // 8


def test_octets_stay_where_they_are_while_nobody_reads() -> None:
    with pair() as (poller, talk, far):
        talk.read(False)
        far.sendall(b"early")
        for _ in range(5):
            run(poller, asyncio.sleep(0))
        assert talk.got == b""
        talk.read(True)
        run(poller, until(lambda: talk.got == b"early"))


@pytest.mark.parametrize("keeps_open", [False, True])
def test_the_other_side_ends_its_half(keeps_open: bool) -> None:
    with pair() as (poller, talk, far):
        talk.keeps_open = keeps_open
        far.sendall(b"last")
        far.shutdown(socket.SHUT_WR)
        run(poller, until(lambda: talk.told))
        assert (talk.got, talk.told) == (b"last", ["eof"])
        if keeps_open:
            talk.write(b"answer")
            talk.close()
            assert run(poller, everything(far)) == b"answer"
        assert run(poller, talk.lost) is None


def test_a_reset_from_here() -> None:
    with pair() as (poller, talk, far):
        talk.abort(reset=True)
        assert run(poller, talk.lost) is None
        with pytest.raises(ConnectionResetError):
            run(poller, everything(far))
        talk.write(b"nobody takes it")
        talk.close()


@pytest.mark.parametrize("unsent", [b"", MUCH])
def test_a_reset_from_there(unsent: bytes) -> None:
    with pair() as (poller, talk, far):
        if unsent:
            talk.read(False)
            talk.write(unsent)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        assert isinstance(run(poller, talk.lost), ConnectionError)


class _Full:
    """A listening socket of a process that has no file descriptor left, and then one."""

    def __init__(self, *answers: OSError | tuple[Any, Any]) -> None:
        self.answers = list(answers)
        self._listening = socket.create_server(("127.0.0.1", 0))

    def fileno(self) -> int:
        return self._listening.fileno()

    def accept(self) -> tuple[Any, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def close(self) -> None:
        self._listening.close()


def test_too_many_connections_wait_until_others_have_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakeservers.tcp._FULL_PAUSE", 0.001)
    poller, made = Poller(), []
    with socket.socket() as client:
        full = _Full(OSError(errno.EMFILE, "too many"), (client, ("192.0.2.1", 1)), BlockingIOError())
        acceptor = Acceptor(poller, full, lambda sock, address: made.append((sock, address)))  # type: ignore[arg-type]
        acceptor.ready(1)
        assert full.fileno() not in poller.get_map()
        run(poller, until(lambda: full.fileno() in poller.get_map()))
        acceptor.ready(1)
        assert made == [(client, "192.0.2.1")]
        assert not client.getblocking()
        acceptor.close()
        acceptor.close()
    poller.loop.close()


def test_a_defect_in_accepting_is_told(caplog: pytest.LogCaptureFixture) -> None:
    poller, seen = Poller(), []

    def made(sock: socket.socket, address: str) -> None:
        seen.append(address)
        sock.close()
        raise RuntimeError("a defect")

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    acceptor = Acceptor(poller, listening, made)
    with socket.create_connection(listening.getsockname()):
        run(poller, until(lambda: seen))
    acceptor.close()
    poller.loop.close()
    assert "a defect" in caplog.text
