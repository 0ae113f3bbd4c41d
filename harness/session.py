"""A conformance run: pytest, sealed off from the folder it runs in, with our collector and our reports."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest

from fakeservers.yamlfile import cache_folder
from harness.casefile import Case
from harness.collector import CLIENTS, RUN, RunFacts, ScenarioItem
from harness.drivers import ClientPool
from harness.drivers.command import SAVED_ENVIRONMENT
from harness.results import Result

__all__ = ["Outcome", "run_cases"]

AGAIN = 0.5
"""Seconds after which a signal that has not ended the run is sent once more."""
INI = "[pytest]\nmailrig_scenarios = /\n"


@dataclass(slots=True)
class Outcome:
    """What came of a run: results in the order they came, and the signal that ended it early or None."""

    results: list[Result] = field(default_factory=list)
    signal: int | None = None
    ending: bool = False
    """The signal has reached pytest, which ends in good order from here on."""
    trouble: str | None = None
    unusable: str | None = None
    """Why the client could not be started or greeted in the first case; the others were not run."""


def run_cases(
    cases: list[Case], facts: RunFacts, pool: ClientPool, *, workers: str = "0", on_result: Callable[[Result], None]
) -> Outcome:
    """Run the cases with pytest; `workers` is a number or `auto`, 0 runs them here, with `pool`'s clients."""
    outcome = Outcome()
    if not cases:
        return outcome
    home = cache_folder() / "run"
    home.mkdir(parents=True, exist_ok=True)
    ini = home / "pytest.ini"
    if not ini.exists() or ini.read_text(encoding="utf-8") != INI:
        ini.write_text(INI, encoding="utf-8")
    arguments = [
        f"--config-file={ini}", f"--rootdir={home}", f"-ocache_dir={home / 'cache'}", "--noconftest", "--assert=plain",
        "-pno:terminal", "-pno:faulthandler", "-pno:logging", "-pno:warnings", "-pno:doctest", "-pno:cacheprovider",
        "-pno:unraisableexception", "-pno:threadexception", "-pno:stepwise", "-pharness.pytest_plugin",
    ]  # fmt: skip
    if workers != "0":
        arguments += ["-pxdist.plugin", f"-n{workers}", "-pharness.session_worker"]
    arguments += list(dict.fromkeys(str(case.file.resolve()) for case in cases))
    with _sealed_environment(), _signals(outcome), TemporaryDirectory(prefix="mailrig-pids-") as pids:
        try:
            status = pytest.main(arguments, plugins=[_RunPlugin(facts, pool, outcome, on_result, Path(pids))])
        except KeyboardInterrupt:
            status = pytest.ExitCode.INTERRUPTED
    if status == pytest.ExitCode.INTERRUPTED and outcome.signal is None and outcome.unusable is None:
        outcome.signal = signal.SIGINT
    if outcome.signal is None:
        _account_for(cases, facts, outcome, on_result)
    return outcome


def _account_for(cases: list[Case], facts: RunFacts, outcome: Outcome, on_result: Callable[[Result], None]) -> None:
    """A case without a result is an error, never silence."""
    seen = {(result.id, result.client) for result in outcome.results}
    if len(seen) >= len(cases) * len(facts.names):
        return
    known = {result.id for result in outcome.results}
    for case in cases:
        if case.id not in known:
            reason = outcome.unusable or outcome.trouble or "the case was never run"
            scenario = case.scenario
            result = Result(case.id, scenario.provider, facts.names[0], scenario.tags, "error", 0.0, reason)
            outcome.results.append(result)
            if outcome.unusable is None:
                on_result(result)


class _RunPlugin:
    """Gives pytest the run's facts, takes the results from its reports."""

    def __init__(
        self, facts: RunFacts, pool: ClientPool, outcome: Outcome, on_result: Callable[[Result], None], pids: Path
    ) -> None:
        self._facts = facts
        self._pool = pool
        self._outcome = outcome
        self._on_result = on_result
        self._pids = pids

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[RUN] = self._facts
        config.stash[CLIENTS] = self._pool
        config.add_cleanup(self._pool.close)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["mailrig"] = {"facts": asdict(self._facts), "pids": str(self._pids)}

    def pytest_keyboard_interrupt(self) -> None:
        """A worker that waits for a client would wait on: tell it too."""
        self._outcome.ending = True
        for file in self._pids.iterdir():
            with suppress(OSError):
                os.kill(int(file.name), signal.SIGTERM)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        report = yield
        attach_result(item, report)
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        plain = getattr(report, "mailrig", None)
        unusable = getattr(report, "mailrig_unusable", None)
        if unusable is not None and not self._outcome.results:
            # It will not fare better in the other cases: what is wrong is said once.
            self._outcome.unusable = unusable
            pytest.exit(unusable, pytest.ExitCode.INTERRUPTED)
        elif plain is not None:
            self._take(Result.from_json(plain))
        elif report.failed:
            # A defect of the harness, not a verdict: pytest's own account of it is the reason.
            self._take(Result(_id_of(report.nodeid), "", self._facts.names[0], [], "error", 0.0, str(report.longrepr)))

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._outcome.trouble = str(excrepr)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._outcome.trouble = str(report.longrepr)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: Any) -> None:
        report.longrepr = "the worker process died in this case"

    def _take(self, result: Result) -> None:
        self._outcome.results.append(result)
        self._on_result(result)


def attach_result(item: pytest.Item, report: Any) -> None:
    if report.when == "call" and isinstance(item, ScenarioItem) and item.result is not None:
        report.mailrig = item.result.to_json()
        report.mailrig_unusable = item.unusable


def _id_of(nodeid: str) -> str:
    return nodeid.rpartition("::")[2].partition("@")[0]


@contextmanager
def _sealed_environment() -> Iterator[None]:
    """No variable meant for somebody's pytest reaches ours; clients under test still get the user's own."""
    wanted: dict[str, str | None] = {name: None for name in os.environ if name.startswith("PYTEST_")}
    wanted |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONSAFEPATH": "1"}
    saved = {name: os.environ.get(name) for name in wanted}
    os.environ[SAVED_ENVIRONMENT] = json.dumps(saved)
    _set(wanted)
    try:
        yield
    finally:
        _set({**saved, SAVED_ENVIRONMENT: None})


def _set(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _signals(outcome: Outcome) -> Iterator[None]:
    """SIGTERM ends a run as SIGINT does: what was seen so far is still reported."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        outcome.signal = number
        # An exception that strikes inside a finalizer is swallowed by Python: then it has to be raised again.
        again = threading.Timer(AGAIN, lambda: None if outcome.ending else os.kill(os.getpid(), number))
        again.daemon = True
        again.start()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        outcome.ending = True
        for number, handler in before.items():
            signal.signal(number, handler)
