"""A server that plays a written dialogue: what it says, and what it must hear."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["ScriptedServer"]


class ScriptedServer:
    """Plays one script per connection, in order; a connection without a script is refused.

    Lines of a script: `S: text` is sent with CRLF; `C: regex` must match the whole next line (the first word of
    an IMAP line is its tag, later written `{tag}`); `S! text` is sent as it is, with Python escapes. `!data`
    reads to CRLF.CRLF, `!tls` does a handshake, `!close` closes, `!hold` waits until the client leaves,
    `!quit` answers a QUIT if there is one, `!signal` sets `reached`. `heard` has the lines of each connection,
    `data` the messages. `forgiving`: that the client does not play its part is no fault.
    """

    def __init__(self, *scripts: str, context: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._context = context
        self.heard: list[list[str]] = []
        self.data: list[bytes] = []
        self.faults: list[str] = []
        self.forgiving = False
        self.reached = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Wakes an accept that waits for a connection that never came.
        with socket.socket() as waker:
            waker.settimeout(1)
            waker.connect_ex(("127.0.0.1", self.port))
        self._thread.join(10)
        self._listener.close()
        if error is None and self.faults and not self.forgiving:
            raise AssertionError("\n".join(self.faults))

    @property
    def connections(self) -> int:
        return len(self.heard)

    def _serve(self) -> None:
        for script in self._scripts:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(5)
                lines: list[str] = []
                try:
                    self._play(script, connection, lines)
                except (OSError, AssertionError) as problem:
                    if lines or isinstance(problem, AssertionError):
                        self.faults.append(f"{problem} (heard: {lines})")
        self._listener.close()

    def _play(self, script: str, connection: socket.socket, heard: list[str]) -> None:
        stream = _Stream(connection)
        self.heard.append(heard)
        try:
            self._converse(script, stream, heard)
        finally:
            stream.socket.close()

    def _converse(self, script: str, stream: _Stream, heard: list[str]) -> None:
        tag = ""
        for line in filter(None, map(str.strip, script.splitlines())):
            if line.startswith("S:"):
                stream.send((line[2:].lstrip().replace("{tag}", tag) + "\r\n").encode())
            elif line.startswith("S!"):
                text = line[2:].lstrip().replace("{tag}", tag)
                stream.send(text.encode().decode("unicode_escape").encode("latin-1"))
            elif line.startswith("C:"):
                said = stream.line()
                heard.append(said)
                assert re.fullmatch(line[2:].strip(), said), f"expected {line[2:].strip()!r}, heard {said!r}"
                # The line that ends IDLE has no tag: what answers it is the command before.
                tag = tag if said == "DONE" else said.partition(" ")[0]
            elif line == "!data":
                self.data.append(stream.until(b"\r\n.\r\n"))
            elif line == "!tls":
                assert self._context is not None
                stream.socket = self._context.wrap_socket(stream.socket, server_side=True)
            elif line == "!hold":
                stream.rest()
            elif line == "!close":
                return
            elif line == "!signal":
                self.reached.set()
            elif line == "!quit":
                stream.leave()
            else:
                raise AssertionError(f"unknown script line {line!r}")
        stream.rest()


class _Stream:
    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> str:
        return self.until(b"\n").decode().rstrip("\r\n")

    def until(self, end: bytes) -> bytes:
        self._fill(lambda: end in self._buffer)
        found, _, self._buffer = self._buffer.partition(end)
        return found + end

    def leave(self) -> None:
        try:
            if self.line() == "QUIT":
                self.send(b"221 Bye\r\n")
        except (OSError, AssertionError):
            return

    def rest(self) -> None:
        try:
            while self.socket.recv(65536):
                pass
        except OSError:
            return

    def _fill(self, enough: Callable[[], bool]) -> None:
        while not enough():
            data = self.socket.recv(65536)
            assert data, f"the client left after {self._buffer!r}"
            self._buffer += data
