"""YAML files read into models, with errors that point at line and column.

Reading is quick because the parsed form is cached by content; positions are looked up only for an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fakeservers.nearest import unknown

__all__ = ["FileError", "cache_folder", "load_model", "load_text", "locate", "parse", "validate"]

Model = TypeVar("Model", bound=BaseModel)
Path_ = Sequence[str | int]


class FileError(Exception):
    """A file that cannot be used: where (1-based line and column, 0 when unknown), what, and how to fix it.

    `more` holds the other errors of the same file.
    """

    def __init__(self, file: str, line: int, column: int, message: str, more: Sequence[FileError] = ()) -> None:
        message = re.sub(r"[\x00-\x1f\x7f]", lambda match: repr(match[0])[1:-1], message)
        self.file, self.line, self.column, self.message = file, line, column, message
        self.more = tuple(more)
        super().__init__(f"{file}:{line}:{column}: {message}" if line else f"{file}: {message}")

    @property
    def all(self) -> list[FileError]:
        return [self, *self.more]


def cache_folder() -> Path:
    """The user's cache folder for mailrig."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "mailrig"


def load_text(path: Path) -> str:
    """The file's text. Raises FileError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(str(path), 0, 0, f"not UTF-8 (octet {error.start}): save the file as UTF-8") from None
    except OSError as error:
        raise FileError(str(path), 0, 0, f"cannot be read: {error.strerror or error}") from None


def load_model(path: Path, model: type[Model], *, shown: str | None = None) -> Model:
    """The file as `model`. `shown` is the name that errors carry. Raises FileError, with all errors of the file."""
    file = shown or str(path)
    text = load_text(path)
    data = parse(text, file)
    if not isinstance(data, dict):
        raise FileError(file, 1, 1, f"expected a mapping of keys, found {_kind(data)}")
    return validate(data, model, text, file)


def validate(data: dict[str, Any], model: type[Model], text: str, file: str) -> Model:
    """`data`, read from `text`, as `model`. Raises FileError, with all errors."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        errors = [_explain(one, model, text, file) for one in error.errors(include_url=False)]
        errors.sort(key=lambda one: (one.line, one.column, not one.message.startswith("unknown key")))
        unique = list({(one.line, one.column): one for one in reversed(errors)}.values())[::-1]
        raise FileError(unique[0].file, unique[0].line, unique[0].column, unique[0].message, unique[1:]) from None


def parse(text: str, file: str) -> Any:
    """Plain data of YAML 1.2; dates become text. Raises FileError."""
    key = hashlib.sha256(b"1" + text.encode()).hexdigest()
    cached = cache_folder() / "yaml" / f"{key}.json"
    with suppress(OSError, ValueError):
        return json.loads(cached.read_bytes())
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    try:
        data = _plain(YAML(typ="safe", pure=True).load(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise FileError(file, line, column, f"not valid YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise FileError(
            file, 1, 1, "not valid YAML: a part of the file contains itself, or is nested too deep"
        ) from None
    except ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        raise FileError(
            file, line, column, f"not valid YAML: U+{error.character:04X} may not stand in a file"
        ) from None
    except YAMLError as error:
        raise FileError(file, 1, 1, f"not valid YAML: {error}") from None
    try:
        form = json.dumps(data)
    except (TypeError, ValueError) as error:
        raise FileError(file, 1, 1, f"not plain data (texts, numbers, lists, mappings): {error}") from None
    with suppress(OSError):
        cached.parent.mkdir(parents=True, exist_ok=True)
        scratch = cached.with_suffix(f".{os.getpid()}")
        scratch.write_text(form, encoding="utf-8")
        scratch.replace(cached)
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


def locate(text: str, path: Path_, *, of_key: bool = False) -> tuple[int, int]:
    """Line and column (1-based) of the value at `path`, or of its key; of the nearest part that exists."""
    from ruamel.yaml import YAML

    node: Any = YAML(typ="rt", pure=True).load(text)
    line, column = 1, 1
    for index, step in enumerate(path):
        last = index == len(path) - 1
        marks: Any = getattr(node, "lc", None)
        if isinstance(node, dict) and step in node:
            at_key = (of_key and last) or isinstance(node[step], dict | list)
            position = marks.key(step) if at_key else marks.value(step)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            position = marks.item(step)
        else:
            continue
        line, column = position[0] + 1, position[1] + 1
        node = node[step]
    return line, column


def _explain(error: Any, model: type[BaseModel], text: str, file: str) -> FileError:
    """One pydantic error as where, what, how to fix it."""
    path: list[str | int] = list(error["loc"])
    kind = error["type"]
    message = error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        key = str(path[-1])
        known = sorted(_keys_at(model, path[:-1]))
        near = get_close_matches(key, known, n=1)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        message = f'unknown key "{key}": {hint}(known: {", ".join(known)})'
    elif kind == "missing":
        message = f'"{path[-1]}" is missing'
        path.pop()
    elif kind == "literal_error" and isinstance(error["input"], str):
        message = unknown("value", error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]))
    else:
        found = error.get("input")
        if kind != "value_error" and not isinstance(found, dict | list):
            message = f"{message[0].lower()}{message[1:]}, found {json.dumps(found, default=str)}"
    line, column = locate(text, path, of_key=kind == "extra_forbidden")
    return FileError(file, line, column, message)


def _keys_at(model: type[BaseModel], path: Path_) -> set[str]:
    """The keys that the model under `path` knows; of every alternative where the path goes through a union."""
    types_: list[Any] = [model]
    for step in path:
        further = [inner for each in types_ for inner in _step(each, step)]
        types_ = further or types_
    return {field.alias or name for each in types_ for one in _models(each) for name, field in one.model_fields.items()}


def _step(kind: Any, step: str | int) -> Iterator[Any]:
    for model in _models(kind):
        for name, field in model.model_fields.items():
            if step in (name, field.alias):
                yield field.annotation
    for part in _alternatives(kind):
        # A tagged alternative: pydantic puts the tag into the path.
        if any(getattr(mark, "tag", None) == step for mark in getattr(part, "__metadata__", ())):
            yield part
    for part in _parts(kind):
        origin, arguments = typing.get_origin(part), typing.get_args(part)
        if origin is dict or (origin in (list, tuple, Sequence) and isinstance(step, int)):
            yield arguments[-1] if origin is dict else arguments[0]


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union as they were written, with their marks."""
    inner = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    return typing.get_args(inner)


def _models(kind: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(kind) if isinstance(part, type) and issubclass(part, BaseModel)]


def _parts(kind: Any) -> list[Any]:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _parts(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [part for argument in typing.get_args(kind) for part in _parts(argument)]
    return [kind]


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
