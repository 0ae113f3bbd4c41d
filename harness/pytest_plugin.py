"""pytest collects scenario files: those under the folders that the ini option `mailrig_scenarios` names.

Loaded in every session of an environment that has mailrig, so nothing heavy is imported before a file is collected.
"""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["pytest_addoption", "pytest_collect_file", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("mailrig_scenarios", "folders (relative to the ini file) whose *.yaml are scenarios", type="paths")
    group = parser.getgroup("mailrig", "mail scenarios")
    group.addoption("--mailrig-client", default="reference", metavar="NAME", help="the client under test")
    group.addoption("--mailrig-client-command", metavar="CMD", help="any program as the client under test")
    group.addoption("--mailrig-seed", type=int, default=0, metavar="N", help="makes a run repeatable")


def pytest_configure(config: pytest.Config) -> None:
    name, command = config.getoption("--mailrig-client"), config.getoption("--mailrig-client-command")
    if name != "reference" or command is not None:
        from harness.drivers import check_client

        try:
            check_client(name, command)
        except ValueError as error:
            option = "--mailrig-client" if command is None else "--mailrig-client-command"
            raise pytest.UsageError(f"{option}: {error}") from None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    folders = parent.config.getini("mailrig_scenarios")
    if not any(file_path.is_relative_to(folder) for folder in folders):
        return None
    from harness.collector import ScenarioFile

    return ScenarioFile.from_parent(parent, path=file_path)
