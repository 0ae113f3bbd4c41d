"""Programs found on the machine, against `mailrig serve generic`, trusting only its CA file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Served = dict[str, Any]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The endpoint file's content of a `mailrig serve generic` in a process of its own."""
    file = tmp_path / "endpoints.json"
    mailrig = Path(sys.executable).with_name("mailrig")
    server = subprocess.Popen([mailrig, "serve", "generic", "--endpoints", file, "--no-ui"], stdout=subprocess.DEVNULL)
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
def program(tmp_path: Path) -> Callable[..., bytes]:
    """`program("curl", ...)` runs it to its end and gives its output; the test is skipped where it is not installed."""

    def run(name: str, *arguments: str, given: bytes = b"") -> bytes:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")
        done = subprocess.run(
            [path, *arguments], input=given, capture_output=True, cwd=tmp_path, timeout=60, env={"HOME": str(tmp_path)}
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace") + done.stdout.decode("utf-8", "replace")
        return done.stdout

    return run
