"""Which cases a run takes: by id, file, folder, provider, tag, words, and shard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import isdir, isfile
from pathlib import Path

from fakeservers.nearest import unknown
from fakeservers.profile import profile_names
from fakeservers.yamlfile import FileError
from harness.casefile import Case, load_cases, scenario_files, shipped_folder

__all__ = ["Expression", "Selection", "SelectionError", "select", "shard_of"]


class SelectionError(Exception):
    """What was asked for does not exist or cannot be read; the text says how to fix it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """`cases` of this shard; `ids` of all shards; `broken` are the errors of files that cannot be used."""

    cases: list[Case]
    ids: list[str]
    broken: list[FileError] = field(default_factory=list)


def select(
    wanted: Sequence[str],
    *,
    providers: Iterable[str] = (),
    tags: Iterable[str] = (),
    expression: str | None = None,
    shard: tuple[int, int] | None = None,
    times: Mapping[str, float] | None = None,
) -> Selection:
    """The cases that all given conditions leave. Raises SelectionError for an id, file or folder that is not there."""
    providers, tags = set(providers), set(tags)
    words = Expression(expression) if expression else None
    cases: dict[str, Case] = {}
    seen_providers, seen_tags = set(profile_names()), set[str]()
    broken: list[FileError] = []
    for file, only in _files(wanted):
        try:
            loaded = load_cases(file)
        except FileError as error:
            broken += error.all
            continue
        if only is not None and not any(case.id == only for case in loaded):
            raise SelectionError(_no_case(only, [case.id for case in loaded]))
        for case in loaded:
            scenario = case.scenario
            seen_providers.add(scenario.provider)
            seen_tags.update(scenario.tags)
            if (
                (only is None or case.id == only)
                and (not providers or scenario.provider in providers)
                and tags <= set(scenario.tags)
                and (words is None or words.holds(f"{case.id} {' '.join(scenario.tags)} {scenario.provider}"))
            ):
                cases[case.id] = case
    if not broken:
        for what, given, known in (("provider", providers, seen_providers), ("tag", tags, seen_tags)):
            for name in sorted(given - known):
                raise SelectionError(f"--{what}: {unknown(what, name, known)}")
    ids = list(cases)
    chosen = set(ids if shard is None else shard_of(ids, *shard, times or {}))
    return Selection([case for case in cases.values() if case.id in chosen], ids, broken)


def _files(wanted: Sequence[str]) -> Iterable[tuple[Path, str | None]]:
    """Each file, with the one case of it that was asked for or None."""
    if not wanted:
        for file in scenario_files(shipped_folder()):
            yield file, None
    for name in wanted:
        if not name:
            raise SelectionError("an empty name where an id, a file or a folder is expected")
        path = Path(name)
        shipped = shipped_folder() / name
        case_file = re.sub(r"\[[^\]]*\]$", "", name)
        # os.path rather than Path: what cannot be looked at is not there.
        if isfile(path):
            yield path, None
        elif isdir(path) or isdir(shipped):
            files = scenario_files(path if isdir(path) else shipped)
            if not files:
                raise SelectionError(f"no scenario files (*.yaml) in {name}")
            for file in files:
                yield file, None
        elif isfile(file := shipped_folder() / f"{case_file}.yaml") or isfile(file := Path(f"{case_file}.yaml")):
            yield file, name if case_file != name else None
        else:
            raise SelectionError(_no_case(name, _shipped_ids()))


def _shipped_ids() -> list[str]:
    root = shipped_folder()
    return [file.relative_to(root).with_suffix("").as_posix() for file in scenario_files(root)]


def _no_case(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    if name.endswith((".yaml", ".yml")):
        return f'there is no file "{name}"'
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f'did you mean "{near[0]}"?' if near else "`mailrig list scenarios` shows what there is"
    return f'no scenario, file or folder "{name}": {hint}'


def shard_of(ids: Sequence[str], index: int, count: int, times: Mapping[str, float]) -> list[str]:
    """The ids of shard `index` (from 1) of `count`, depending on the ids, `count` and `times` alone: the longest go
    first, each to the shard that has least to do."""
    known = [times[name] for name in ids if name in times]
    usual = sum(known) / len(known) if known else 1.0
    loads = [0.0] * count
    chosen = []
    for name in sorted(ids, key=lambda name: (-times.get(name, usual), name)):
        target = loads.index(min(loads))
        loads[target] += times.get(name, usual)
        if target == index - 1:
            chosen.append(name)
    return chosen


def read_times(file: Path) -> dict[str, float]:
    """Seconds by id, from a results file or a plain mapping. Raises SelectionError."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if "results" in data:
            return {result["id"]: float(result["seconds"]) for result in data["results"]}
        return {str(name): float(seconds) for name, seconds in data.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SelectionError(
            f"--times {file}: neither a results file nor a mapping of id to seconds: {error}"
        ) from None


class Expression:
    """`-k`: words that must stand in the id, the tags or the provider, joined by and, or, not, and brackets.

    Raises SelectionError for one that cannot be read.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = re.findall(r"[()]|[^\s()]+", text)
        self._at = 0
        self.holds("")

    def holds(self, name: str) -> bool:
        self._at = 0
        value = self._either(name.lower())
        if self._at != len(self._words):
            raise self._wrong()
        return value

    def _either(self, name: str) -> bool:
        value = self._both(name)
        while self._take("or"):
            other = self._both(name)
            value = value or other
        return value

    def _both(self, name: str) -> bool:
        value = self._one(name)
        while self._take("and"):
            other = self._one(name)
            value = value and other
        return value

    def _one(self, name: str) -> bool:
        if self._take("not"):
            return not self._one(name)
        if self._take("("):
            value = self._either(name)
            if not self._take(")"):
                raise self._wrong()
            return value
        if self._at >= len(self._words) or self._words[self._at].lower() in ("and", "or", ")"):
            raise self._wrong()
        word = self._words[self._at].lower()
        self._at += 1
        return word in name

    def _take(self, word: str) -> bool:
        if self._at < len(self._words) and self._words[self._at].lower() == word:
            self._at += 1
            return True
        return False

    def _wrong(self) -> SelectionError:
        return SelectionError(f"-k {self._text!r} cannot be read: words joined by and, or, not, and brackets")
