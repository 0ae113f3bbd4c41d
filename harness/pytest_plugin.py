"""pytest collects scenario files: those under the folders that the ini option `mailrig_scenarios` names.

Loaded in every session of an environment that has mailrig, so nothing heavy is imported before a file is collected.
"""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["pytest_addoption", "pytest_collect_file"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("mailrig_scenarios", "folders (relative to the ini file) whose *.yaml are scenarios", type="paths")
    group = parser.getgroup("mailrig", "mail scenarios")
    group.addoption("--mailrig-client", default="reference", metavar="NAME", help="the client under test")
    group.addoption("--mailrig-client-command", metavar="CMD", help="any program as the client under test")
    group.addoption("--mailrig-seed", type=int, default=0, metavar="N", help="makes a run repeatable")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    folders = parent.config.getini("mailrig_scenarios")
    if not any(file_path.is_relative_to(folder) for folder in folders):
        return None
    from harness.collector import ScenarioFile

    return ScenarioFile.from_parent(parent, path=file_path)
