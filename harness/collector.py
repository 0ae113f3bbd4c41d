"""Scenario files as pytest sees them: a file is a collector, each case with each client an item."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest

from fakeservers.yamlfile import FileError
from harness.casefile import Case, load_cases
from harness.drivers import ClientFailed, ClientPool
from harness.results import Result
from harness.runner import run_case

__all__ = ["CLIENTS", "RUN", "CaseFailed", "RunFacts", "ScenarioFile", "ScenarioItem"]


class CaseFailed(Exception):
    """A case that failed or was in error; carries the result."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.id)
        self.result = result


class RunFacts:
    """What all cases of a run share. `names` and `command` say who is tested; `chosen` are the ids to run, None all."""

    def __init__(
        self, names: list[str], command: str | None, seed: int, now: float, chosen: frozenset[str] | None = None
    ) -> None:
        self.names, self.command, self.seed, self.now, self.chosen = names, command, seed, now, chosen

    def to_plain(self) -> dict[str, Any]:
        """For a worker process."""
        chosen = None if self.chosen is None else sorted(self.chosen)
        return {"names": self.names, "command": self.command, "seed": self.seed, "now": self.now, "chosen": chosen}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> RunFacts:
        chosen = None if plain["chosen"] is None else frozenset(plain["chosen"])
        return cls(plain["names"], plain["command"], plain["seed"], plain["now"], chosen)


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
        try:
            cases = load_cases(self.path)
        except FileError as error:
            raise self.CollectError("\n".join(map(str, error.all))) from None
        for case in cases:
            if facts.chosen is None or case.id in facts.chosen:
                for client in facts.names:
                    name = case.id if len(facts.names) == 1 else f"{case.id}@{client}"
                    yield ScenarioItem.from_parent(self, name=name, case=case, client_name=client)


class ScenarioItem(pytest.Item):
    result: Result | None = None

    def __init__(self, *, case: Case, client_name: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.case = case
        self.client_name = client_name
        self.extra_keyword_matches.update([*case.scenario.tags, case.scenario.provider])

    def runtest(self) -> None:
        facts = facts_of(self.config)
        try:
            client = pool_of(self.config).get(self.client_name)
        except ClientFailed as error:
            scenario = self.case.scenario
            self.result = Result(
                self.case.id,
                scenario.provider,
                self.client_name,
                scenario.tags,
                "error",
                0.0,
                str(error),
                file=self.case.shown,
            )
        else:
            self.result = run_case(self.case, client, now=facts.now, seed=facts.seed)
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
