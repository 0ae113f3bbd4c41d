"""The client command protocol in a process that kills itself at the nth point where it talks to disk or server.

`python -m tests.clientstack.killed N` serves as the client does, and dies by SIGKILL just before (odd N) or just after
(even N) its (N // 2)th call of that kind; N = 0 counts the calls and writes how many there were to standard error.
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["Points"]


class Points:
    """Counts calls; dies at the one that was asked for."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = 0

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.at == 2 * self.calls - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **kwargs)
            if self.at == 2 * self.calls:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted


def main(at: int) -> int:
    points = Points(at)

    class Connection(sqlite3.Connection):
        execute = points.wrap(sqlite3.Connection.execute)
        executemany = points.wrap(sqlite3.Connection.executemany)

    connect = sqlite3.connect

    def connected(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return connect(*args, factory=Connection, **kwargs)

    sqlite3.connect = connected  # type: ignore[assignment]

    class Socket(socket.socket):
        connect = points.wrap(socket.socket.connect)
        sendall = points.wrap(socket.socket.sendall)
        recv = points.wrap(socket.socket.recv)

    socket.socket = Socket  # type: ignore[misc]

    from harness.clientstack.protocol import serve

    status = serve(sys.stdin.buffer, sys.stdout.buffer)
    sys.stderr.write(f"{points.calls}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
