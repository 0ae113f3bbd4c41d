"""What a worker process of `mailrig run -n` loads: the run's facts from its controller, results into its reports."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from harness.collector import RUN, RunFacts
from harness.session import attach_result

__all__: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    handed = getattr(config, "workerinput", {}).get("mailrig")
    if handed is not None:
        config.stash[RUN] = RunFacts(**handed["facts"])
        signal.signal(signal.SIGTERM, _stop)
        # Where the controller looks for whom to stop when it is interrupted.
        (Path(handed["pids"]) / str(os.getpid())).touch()


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if hasattr(item.config, "workerinput"):
        attach_result(item, report)
    return report
