"""Scenario files as pytest sees them: a file is a collector, each case with each client an item."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from fakeservers.yamlfile import FileError
from harness.casefile import Case, load_cases
from harness.drivers import ClientFailed, ClientPool
from harness.results import Result
from harness.runner import run_case

__all__ = ["CLIENTS", "RUN", "CaseFailed", "RunFacts", "ScenarioFile", "ScenarioItem", "by_file"]


class CaseFailed(Exception):
    """A case that failed or was in error; carries the result."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.id)
        self.result = result


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What all cases of a run share, as plain data for worker processes. `names` and `command` say who is tested;
    `chosen` are the ids to run by file, None all of every file: known ids spare a process the files it does not run."""

    names: list[str]
    command: str | None
    seed: int
    now: float
    chosen: dict[str, list[str]] | None = None


def by_file(cases: Iterable[Case]) -> dict[str, list[str]]:
    """The ids of each file, as `RunFacts.chosen` wants them."""
    files: dict[str, list[str]] = {}
    for case in cases:
        files.setdefault(str(case.file.resolve()), []).append(case.id)
    return files


@lru_cache(maxsize=32)
def _cases(file: Path) -> dict[str, Case]:
    return {case.id: case for case in load_cases(file)}


RUN = pytest.StashKey[RunFacts]()
CLIENTS = pytest.StashKey[ClientPool]()


def facts_of(config: pytest.Config) -> RunFacts:
    """The run's facts: those of `mailrig run`, or made from plain pytest's options."""
    if RUN not in config.stash:
        config.stash[RUN] = RunFacts(
            [config.getoption("--mailrig-client")],
            config.getoption("--mailrig-client-command"),
            config.getoption("--mailrig-seed"),
            float(int(time.time())),
        )
    return config.stash[RUN]


def pool_of(config: pytest.Config) -> ClientPool:
    if CLIENTS not in config.stash:
        pool = ClientPool(facts_of(config).command)
        config.stash[CLIENTS] = pool
        config.add_cleanup(pool.close)
    return config.stash[CLIENTS]


class ScenarioFile(pytest.File):
    def collect(self) -> Iterable[ScenarioItem]:
        facts = facts_of(self.config)
        if facts.chosen is not None:
            ids = facts.chosen.get(str(self.path), [])
        else:
            try:
                ids = list(_cases(self.path))
            except FileError as error:
                raise self.CollectError("\n".join(map(str, error.all))) from None
        for case_id in ids:
            for client in facts.names:
                name = case_id if len(facts.names) == 1 else f"{case_id}@{client}"
                item: ScenarioItem = ScenarioItem.from_parent(self, name=name, case_id=case_id, client_name=client)
                if facts.chosen is None:
                    scenario = item.case.scenario
                    item.extra_keyword_matches.update([*scenario.tags, scenario.provider])
                yield item


class ScenarioItem(pytest.Item):
    result: Result | None = None
    unusable: str | None = None
    """Why the client could not be started or greeted."""

    def __init__(self, *, case_id: str, client_name: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.case_id = case_id
        self.client_name = client_name

    @property
    def case(self) -> Case:
        return _cases(self.path)[self.case_id]

    def runtest(self) -> None:
        facts, case = facts_of(self.config), self.case
        try:
            client = pool_of(self.config).get(self.client_name)
        except ClientFailed as error:
            scenario, self.unusable = case.scenario, str(error)
            self.result = Result(
                case.id, scenario.provider, self.client_name, scenario.tags, "error", 0.0, str(error), file=case.shown
            )
        else:
            self.result = run_case(case, client, now=facts.now, seed=facts.seed)
        if self.result.verdict == "skip":
            pytest.skip(self.result.reason or "skipped")
        if self.result.verdict != "pass":
            raise CaseFailed(self.result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, CaseFailed):
            from harness.reports.plain import failure_text

            return failure_text(excinfo.value.result)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, 0, self.name
