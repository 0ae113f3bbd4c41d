"""Clients under test: one module for each way to make one act."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from typing import Any, Protocol

__all__ = [
    "Client",
    "ClientFailed",
    "ClientPool",
    "ClientSilent",
    "check_client",
    "client_names",
    "command_words",
    "open_client",
    "unstartable",
]


class ClientSilent(Exception):
    """No reply came in time, or the client ended without one."""


class ClientFailed(Exception):
    """The client could not be started, or what it said is no valid reply."""


class Client(Protocol):
    """A client under test in this process; requests go to it strictly one after another."""

    name: str
    version: str
    features: list[str]

    def ask(self, action: str, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The client's checked reply within `limit` real seconds. Raises ClientSilent, ClientFailed."""

    def restart(self) -> None:
        """End in good order; the next request starts it again."""

    def kill(self) -> None:
        """SIGKILL, at once and from any thread; the next request starts it again."""

    def complaints(self) -> str:
        """What it wrote to standard error since the last call."""

    def close(self) -> None: ...


def client_names() -> dict[str, str]:
    """Built-in clients with what they are."""
    return {"reference": "mailrig's own client stack (harness.clientstack)"}


def check_client(name: str, command: str | None = None) -> None:
    """What can be known of a client without starting it. Raises ValueError."""
    if command is not None:
        wrong = unstartable(command_words(command)[0])
        if wrong is not None:
            raise ValueError(wrong)
    elif name not in client_names():
        from fakeservers.nearest import unknown

        raise ValueError(unknown("client", name, client_names()))


def open_client(name: str, command: str | None = None) -> Client:
    """A client by name, or any program by its command. Raises ClientFailed."""
    from harness.drivers.command import CommandClient, reference_command

    try:
        check_client(name, command)
    except ValueError as error:
        raise ClientFailed(str(error)) from None
    return CommandClient(reference_command() if command is None else command_words(command))


def command_words(command: str) -> list[str]:
    """The command split as a POSIX shell would, without running one. Raises ValueError."""
    import shlex

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{command!r} cannot be split into words: {str(error).lower()}") from None
    if not words:
        raise ValueError("the client command is empty")
    return words


def unstartable(program: str) -> str | None:
    """Why the program cannot be started, as far as one can tell without trying; None if nothing speaks against it."""
    if shutil.which(program) is not None:
        return None
    if not os.path.exists(program) or (os.path.isfile(program) and os.sep not in program):
        here = f" (write ./{program} for the file here)" if os.path.isfile(program) else ""
        return f"there is no program {program!r}{here}"
    if os.path.isdir(program):
        return f"{program!r} is a folder, not a program"
    return f"{program!r} is not executable: make it so with chmod +x, or put its interpreter before it"


class ClientPool:
    """The clients of this process, opened when first needed and kept. Any thread may open one ahead of need."""

    def __init__(self, command: str | None) -> None:
        self._command = command
        self._open: dict[str, Client] = {}
        self._failed: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Client:
        """Raises ClientFailed; a client that could not be greeted once is not tried again."""
        with self._lock:
            if name not in self._open and name not in self._failed:
                try:
                    self._open[name] = open_client(name, self._command)
                except (ClientSilent, ClientFailed) as error:
                    self._failed[name] = str(error)
            if name in self._failed:
                raise ClientFailed(self._failed[name])
            return self._open[name]

    def open_ahead(self, name: str) -> None:
        """Start and greet the client while this process is busy with something else."""

        def greet() -> None:
            with contextlib.suppress(ClientFailed):
                self.get(name)

        threading.Thread(target=greet, daemon=True).start()

    def close(self) -> None:
        for client in self._open.values():
            client.close()
        self._open.clear()
