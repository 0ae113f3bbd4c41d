"""Programs found on the machine, against `generic`, trusting only its CA file."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from round_trip import Account, which

from fakeservers import FakeMailHost

Served = dict[str, Any]


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    file = folder / "endpoints.json"
    mailrig = Path(sys.executable).with_name("mailrig")
    command = [str(mailrig), "serve", "generic", "--endpoints", str(file), "--no-ui", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not file.exists():
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)  # polling another process's file
        yield json.loads(file.read_text(encoding="utf-8"))
    finally:
        server.terminate()
        assert server.wait(30) == 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The endpoint file's content of a `mailrig serve generic` in a process of its own."""
    with serving(tmp_path) as endpoints:
        yield endpoints


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., bytes]:
    """`program("curl", ...)` runs it to its end and gives its output; the test is skipped where it is not installed."""

    def run(name: str, *arguments: str, given: bytes = b"", env: dict[str, str] | None = None) -> bytes:
        path = which(name)
        done = subprocess.run(
            [path, *arguments], input=given, capture_output=True, cwd=tmp_path, timeout=60,
            env={"HOME": str(tmp_path), "PATH": os.environ.get("PATH", os.defpath), **(env or {})},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace") + done.stdout.decode("utf-8", "replace")
        return done.stdout

    return run


@pytest.fixture
def running(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Callable[[Callable[[], bool]], None]]]:
    """Like `program`, for one that runs until it is killed, which it is when the block ends. What the block gets waits
    until something is true."""

    @contextlib.contextmanager
    def run(
        name: str, *arguments: str, env: dict[str, str] | None = None
    ) -> Iterator[Callable[[Callable[[], bool]], None]]:
        with (tmp_path / "said").open("wb") as said, subprocess.Popen(
            [which(name), *arguments], stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": os.environ.get("PATH", os.defpath), **(env or {})},
        ) as process:  # fmt: skip

            def wait(true: Callable[[], bool]) -> None:
                deadline = time.monotonic() + 30
                while not true():
                    text = (tmp_path / "said").read_text(encoding="utf-8", errors="replace")
                    assert process.poll() is None, text
                    assert time.monotonic() < deadline, text
                    time.sleep(0.02)  # polling another process's files

            try:
                yield wait
            finally:
                # Asked kindly, some take ten seconds, and getmail may not listen.
                process.kill()

    return run


@pytest.fixture
def terminal(tmp_path: Path) -> Callable[..., None]:
    """Like `program`, for one that wants a terminal; `answer` gives the keys for all that has been shown so far."""

    def run(name: str, *arguments: str, env: dict[str, str], answer: Callable[[bytes], bytes] | None = None) -> None:
        path = which(name)
        ours, theirs = os.openpty()
        shown = bytearray()
        with subprocess.Popen(
            [which("setsid"), "-c", path, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path,
            env={"HOME": str(tmp_path), "TERM": "xterm", "PATH": os.environ.get("PATH", os.defpath), **env},
        ) as process:  # fmt: skip
            os.close(theirs)
            deadline = time.monotonic() + 40
            while process.poll() is None:
                if time.monotonic() > deadline:
                    process.kill()
                ready, _, _ = select.select([ours], [], [], 0.1)
                with contextlib.suppress(OSError):  # EIO: the other side is gone
                    shown += os.read(ours, 65536) if ready else b""
                    if answer is not None and (keys := answer(bytes(shown))):
                        os.write(ours, keys)
        os.close(ours)
        assert process.returncode == 0, shown.decode("utf-8", "replace")

    return run


@pytest.fixture(scope="session")
def shared_host() -> Iterator[FakeMailHost]:
    with FakeMailHost("generic") as host:
        yield host


_numbers = count()


@pytest.fixture
def account(shared_host: FakeMailHost) -> Account:
    """An account that no other test has, on the server of all."""
    return _account(shared_host)


@pytest.fixture
def other_account(shared_host: FakeMailHost) -> Account:
    return _account(shared_host)


def _account(shared_host: FakeMailHost) -> Account:
    user = f"user{next(_numbers)}@example.test"
    shared_host.add_user(user, "secret")
    endpoints = shared_host.endpoints()
    return Account(user, endpoints["ports"], endpoints["ca_file"], transcript=shared_host.transcript)
