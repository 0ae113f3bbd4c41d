"""Any program as the client under test, by JSON Lines on its standard input and output (CONTRACTS section 4)."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
from typing import IO, Any, cast

from harness.drivers import ClientFailed, ClientSilent, unstartable
from harness.protocol import BadReply, checked

__all__ = ["SAVED_ENVIRONMENT", "CommandClient", "reference_command"]

HELLO_LIMIT = 30.0
CLOSE_LIMIT = 5.0
LAST_WORDS_LIMIT = 0.3
SAVED_ENVIRONMENT = "MAILRIG_SAVED_ENVIRONMENT"
"""A variable that holds, as JSON, those that a run changed for its own sake, as they were before."""
KEPT_COMPLAINTS = 16_384


def reference_command() -> list[str]:
    """The reference client as a program like any other."""
    return [sys.executable, "-P", "-m", "harness.clientstack"]


def _users_environment() -> dict[str, str]:
    """The environment without what a run changed in it for its own sake."""
    environment = dict(os.environ)
    for name, value in json.loads(environment.pop(SAVED_ENVIRONMENT, "{}")).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


def _why_not(program: str, error: OSError) -> str:
    why = unstartable(program)
    if why is None and isinstance(error, FileNotFoundError):
        why = f"cannot start {program!r}: its first line names an interpreter that is not there"
    if why is None and error.errno == errno.ENOEXEC:
        why = f"cannot start {program!r}: it has no #! line: put its interpreter before it"
    return why or f"cannot start {program!r}: {error.strerror or error}"


class _Process:
    """One life of the program. Its three streams have a thread each, so that no deadline depends on its manners."""

    def __init__(self, words: list[str], complain: bytearray) -> None:
        try:
            self._popen = subprocess.Popen(
                words,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_users_environment(),
            )
        except OSError as error:
            raise ClientFailed(_why_not(words[0], error)) from None
        self._killed = False
        self._unheard = False
        self._given = threading.Event()
        """The writer has done with the last request, one way or the other."""
        self.answered = False
        self.busy = False
        """It owes a reply; then there is no good order to end it in."""
        self.lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        """Its replies; None when there will be no more."""
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._complain = complain
        for target, stream in ((self._write, self._popen.stdin), (self._read, self._popen.stdout)):
            threading.Thread(target=target, args=(stream,), daemon=True).start()
        self._listener = threading.Thread(target=self._listen, args=(self._popen.stderr,), daemon=True)
        self._listener.start()

    def _write(self, stream: IO[bytes]) -> None:
        while (line := self._requests.get()) is not None:
            rest = memoryview(line)
            try:
                while rest:
                    rest = rest[stream.write(rest) :]
            except OSError:
                self._unheard = True
            self._given.set()
        with contextlib.suppress(OSError):
            stream.close()

    def _read(self, stream: IO[bytes]) -> None:
        with io.BufferedReader(cast(io.RawIOBase, stream), 1 << 16) as lines:
            for line in lines:
                self.lines.put(line)
        self.lines.put(None)

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            while chunk := stream.read(4096):
                self._complain += chunk
                del self._complain[:-KEPT_COMPLAINTS]

    def say(self, line: bytes) -> None:
        """Nothing is said to a program that is gone: the end of its output tells."""
        self._given.clear()
        self._requests.put(line)

    def alive(self) -> bool:
        return not self._killed and self._popen.poll() is None

    def unheard(self) -> bool:
        """The request still lies in the pipe, or never got into it: the program has not read it."""
        self._given.wait(1)
        if self._unheard:
            return True
        assert self._popen.stdin is not None
        try:
            from fcntl import ioctl
            from termios import FIONREAD

            return any(ioctl(self._popen.stdin, FIONREAD, bytes(4)))
        except (ImportError, OSError, ValueError):
            return False

    def kill(self) -> None:
        self._killed = True
        self._popen.kill()

    def end(self) -> int:
        """Close its input and wait; killed if it stays. Returns the exit status."""
        self._requests.put(None)
        if self.busy:
            self._popen.kill()
        try:
            status = self._popen.wait(CLOSE_LIMIT)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            status = self._popen.wait()
        # Its last words tell why it ended; a child that it left behind may keep the stream open.
        self._listener.join(LAST_WORDS_LIMIT)
        return status


class CommandClient:
    """Speaks with the program; greets it once, starts it again whenever it has ended. Raises ClientFailed."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._complaints = bytearray()
        self._number = 0
        self._process: _Process | None = None
        self._running()
        try:
            hello = self._exchange({"id": 0, "action": "hello"}, "hello", HELLO_LIMIT)
        except (ClientSilent, ClientFailed) as error:
            said = self.complaints().strip()
            raise ClientFailed(
                f"the client did not say hello: {error}" + (f"; it wrote: {said[-2000:]}" if said else "")
            ) from None
        self.name: str = hello["name"]
        self.version: str = hello["version"]
        self.features: list[str] = hello["features"]

    def ask(self, action: str, request: dict[str, Any], limit: float) -> dict[str, Any]:
        self._number += 1
        return self._exchange({"id": self._number, "action": action, **request}, action, limit)

    def restart(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def complaints(self) -> str:
        taken = bytes(self._complaints)
        # Not `clear`: the listening thread may have added to it by now.
        del self._complaints[: len(taken)]
        return taken.decode("utf-8", "replace")

    def close(self) -> None:
        self.restart()

    def _exchange(self, request: dict[str, Any], action: str, limit: float) -> dict[str, Any]:
        line = json.dumps(request).encode() + b"\n"
        deadline = time.monotonic() + limit
        process = self._running()
        answer = self._answer(process, line, deadline, limit)
        if answer is None:
            answered, unheard = process.answered, process.unheard()
            status = self._gone(process)
            if answered and (unheard or status == 0):
                # It left after its last reply, which it may, and never read this request.
                process = self._running()
                answer = self._answer(process, line, deadline, limit)
                status = self._gone(process) if answer is None else 0
            if answer is None:
                raise ClientSilent(f"the client ended with status {status} without a reply")
        process.answered = True
        return self._parsed(answer, request["id"], action, process)

    def _answer(self, process: _Process, line: bytes, deadline: float, limit: float) -> bytes | None:
        """The program's next line; None when it has ended."""
        process.busy = True
        process.say(line)
        try:
            answer = process.lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            self._gone(process, kill=True)
            raise ClientSilent(f"no reply within {limit:g} s") from None
        process.busy = False
        return answer

    def _parsed(self, answer: bytes, number: int, action: str, process: _Process) -> dict[str, Any]:
        shown = answer[:200].decode("utf-8", "replace").rstrip("\n")
        try:
            reply = json.loads(answer)
        except ValueError:
            self._gone(process, kill=True)
            raise ClientFailed(f"the reply is not JSON: {shown}") from None
        if not isinstance(reply, dict) or reply.get("id") != number:
            self._gone(process, kill=True)
            raise ClientFailed(f"the reply does not repeat the request's id {number}: {shown}")
        try:
            return checked(action, reply)
        except BadReply as error:
            raise ClientFailed(f"the reply to {action} is not valid: {error}") from None

    def _running(self) -> _Process:
        if self._process is not None and not self._process.alive():
            self._gone(self._process)
        if self._process is None:
            self._process = _Process(self._words, self._complaints)
        return self._process

    def _gone(self, process: _Process, *, kill: bool = False) -> int:
        if kill:
            process.kill()
        self._process = None
        return process.end()
