"""What a worker process of `mailrig run -n` loads: the run's facts from its controller, results into its reports."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from harness.collector import RUN, RunFacts
from harness.session import attach_result

__all__: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    handed = getattr(config, "workerinput", {}).get("mailrig")
    if handed is not None:
        config.stash[RUN] = RunFacts.from_plain(handed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if hasattr(item.config, "workerinput"):
        attach_result(item, report)
    return report
