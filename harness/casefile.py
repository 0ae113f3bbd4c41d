"""Scenario files: found, read, their matrix filled in, and named."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakeservers.yamlfile import FileError, load_text, locate, parse, validate
from harness.scenario import Scenario

__all__ = ["Case", "load_cases", "scenario_files", "scenario_id", "shipped_folder"]

_SLOT = re.compile(r"\$\{([^{}]*)\}")
_NAMED = re.compile(r"\$\{[A-Za-z_][\w.-]*\}")
_FREE_TEXT = frozenset({"eml", "body", "reply", "untagged", "append"})
"""Keys whose text, in a file without a matrix, is somebody else's and may hold what looks like a slot."""
FILE_NAME = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a scenario file. `id` is what results and selections call it."""

    id: str
    file: Path
    shown: str
    scenario: Scenario

    def where(self, path: list[str | int]) -> str:
        """`file:line` of a part of the scenario, for failures."""
        return f"{self.shown}:{locate(load_text(self.file), path)[0]}"


def shipped_folder() -> Path:
    """The folder of the scenarios that mailrig brings: in the wheel beside this module, else in the source tree."""
    inside = Path(__file__).parent / "scenarios"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "scenarios"


def scenario_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.yaml") if path.is_file())


def scenario_id(file: Path) -> str:
    """The path under the shipped scenarios without its ending; else the path relative to the current folder."""
    file = file.resolve()
    for root in (shipped_folder().resolve(), Path.cwd()):
        if file.is_relative_to(root):
            return file.relative_to(root).with_suffix("").as_posix()
    return file.with_suffix("").as_posix()


def load_cases(file: Path) -> list[Case]:
    """The file's cases in order. Raises FileError."""
    shown = _shown(file)
    text = load_text(file)
    data = parse(text, shown)
    if not isinstance(data, dict):
        raise FileError(shown, 1, 1, "expected a mapping of keys: title, why, provider, steps, ...")
    name = scenario_id(file)
    matrix = data.pop("matrix", None)
    if matrix is None:
        _no_slots(data, text, shown, [])
        return [Case(name, file, shown, validate(data, Scenario, text, shown))]
    cases = []
    labels: set[str] = set()
    for values in _combinations(matrix, text, shown):
        label = ",".join(f"{key}={_label(value)}" for key, value in values.items())
        if label in labels:
            where = locate(text, ["matrix"], of_key=True)
            raise FileError(shown, *where, f'matrix: two cases are called "{label}": give the values different names')
        labels.add(label)
        filled = _fill(data, values, text, shown, [])
        cases.append(Case(f"{name}[{label}]", file, shown, validate(filled, Scenario, text, shown)))
    return cases


def _shown(file: Path) -> str:
    try:
        return file.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(file)


def _combinations(matrix: Any, text: str, shown: str) -> Iterator[dict[str, Any]]:
    """Every combination, in the file's order. A value is a plain one, or a mapping with a `name` for the id."""
    if not isinstance(matrix, dict) or not matrix:
        raise FileError(shown, *locate(text, ["matrix"], of_key=True), "matrix: expected keys with lists of values")
    for key, values in matrix.items():
        if not isinstance(values, list) or not values:
            raise FileError(
                shown, *locate(text, ["matrix", key], of_key=True), f"matrix.{key}: expected a list of values"
            )
        for index, value in enumerate(values):
            if isinstance(value, list) or (isinstance(value, dict) and "name" not in value):
                raise FileError(
                    shown,
                    *locate(text, ["matrix", key, index]),
                    f"matrix.{key}: a plain value, or a mapping with a `name`",
                )
    for combination in itertools.product(*matrix.values()):
        yield dict(zip(matrix, combination, strict=True))


def _label(value: Any) -> str:
    return str(value["name"] if isinstance(value, dict) else value)


def _no_slots(node: Any, text: str, shown: str, path: list[str | int]) -> None:
    """Without a matrix nothing is filled in. Raises FileError where a slot waits for it."""
    if "${" not in text:
        return
    if isinstance(node, dict):
        for key, item in node.items():
            if key not in _FREE_TEXT:
                _no_slots(key, text, shown, [*path, key])
                _no_slots(item, text, shown, [*path, key])
    elif isinstance(node, list):
        for index, item in enumerate(node):
            _no_slots(item, text, shown, [*path, index])
    elif isinstance(node, str) and (slot := _NAMED.search(node)):
        raise FileError(shown, *locate(text, path), f"{slot[0]} stays as it is: the file has no `matrix`")


def _fill(node: Any, values: Mapping[str, Any], text: str, shown: str, path: list[str | int]) -> Any:
    """`${key}` and `${key.field}` replaced; alone in a value they keep their type. Whatever else stands in `${}` is an
    error; a text that is to hold it is a matrix value itself."""
    if isinstance(node, dict):
        return {
            _fill(key, values, text, shown, path): _fill(item, values, text, shown, [*path, key])
            for key, item in node.items()
        }
    if isinstance(node, list):
        return [_fill(item, values, text, shown, [*path, index]) for index, item in enumerate(node)]
    if not isinstance(node, str) or "${" not in node:
        return node

    def look_up(slot: str) -> Any:
        key, dot, field = slot.partition(".")
        value = values.get(key)
        if isinstance(value, dict):
            field = field or "name"
            if field in value:
                return value[field]
        elif key in values and not dot:
            return value
        known = ", ".join(
            f"{name}.{inner}" if inner else name
            for name, one in values.items()
            for inner in (one if isinstance(one, dict) else [""])
        )
        raise FileError(shown, *locate(text, path), f'unknown matrix value "${{{slot}}}" (known: {known})')

    whole = _SLOT.fullmatch(node)
    return look_up(whole[1]) if whole else _SLOT.sub(lambda match: str(look_up(match[1])), node)
