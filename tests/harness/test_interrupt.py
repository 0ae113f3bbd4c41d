"""A run that is interrupted still writes its files, and says so by its exit status."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MAILRIG = Path(sys.executable).with_name("mailrig")
PROGRAM = Path(__file__).with_name("scripted_client.py")


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run(tmp_path: Path, workers: str, number: signal.Signals, status: int) -> None:
    mark = tmp_path / "greeted"
    command = shlex.join([sys.executable, str(PROGRAM), "hangs", str(mark)])
    run = subprocess.Popen(
        [MAILRIG, "run", "-n", workers, "--json", "r.json", "--junit", "j.xml", "--client-command", command,
         "sending/empty-body[message=header-only]"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not mark.exists():
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)  # polling another process's file
    run.send_signal(number)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == status, output
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert written["interrupted"] is True
    assert len(written["selected"]) == 1
    assert (tmp_path / "j.xml").exists()
    assert b"Traceback" not in output
