"""The JSON Schema of scenario and profile files, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

__all__ = ["KINDS", "schema"]

KINDS = ("scenario", "profile")
EMPTY = {"send", "flush", "fetch", "restart", "crash", "test_outgoing", "test_incoming"}
"""Keys of a step after which nothing need stand."""
SLOT = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_.]*\}", "description": "a value of the matrix"}
SCALAR = {"type": ["string", "number", "boolean", "null"]}
DURATION = {
    "anyOf": [
        {"type": "number", "description": "seconds"},
        {"type": "string", "pattern": r"^\s*[+-]?(\d+(\.\d+)?[smhd])+\s*$", "description": "e.g. 90s, 15m, 1h30m, 7d"},
    ]
}
MATRIX = {
    "type": "object",
    "title": "Matrix",
    "description": "key: values; the file is one case for each combination, `${key}` stands for the value",
    "minProperties": 1,
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [SCALAR, {"type": "object", "required": ["name"]}]},
    },
}


def schema(kind: str) -> dict[str, Any]:
    """The schema of one of `KINDS` as plain data."""
    if kind == "scenario":
        from harness.scenario import Scenario

        model: type[BaseModel] = Scenario
    else:
        from fakeservers.profile import Profile

        model = Profile
    made = model.model_json_schema(by_alias=True)
    definitions = made.get("$defs", {})
    _shorthands(definitions)
    _durations(model, made, definitions)
    if kind == "scenario":
        made = _with_slots(made)
        made["properties"]["matrix"] = MATRIX
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": f"mailrig {kind}"}


def _shorthands(definitions: dict[str, Any]) -> None:
    """What validators take beside the long form."""
    if "Number" in definitions:
        definitions["Number"] = {"anyOf": [{"type": "integer"}, definitions["Number"]]}
    if "Condition" in definitions:
        scalars = {"type": "array", "items": SCALAR}
        definitions["Condition"] = {"anyOf": [SCALAR, scalars, definitions["Condition"]]}
    for definition in definitions.values():
        properties = definition.get("properties", {})
        for name in EMPTY & properties.keys():
            properties[name] = {"anyOf": [properties[name], {"type": "null"}]}


def _durations(model: type[BaseModel], made: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Durations are numbers to the model, but texts in files."""
    for each in {model, *_models(model)}:
        target = made if each is model else definitions.get(each.__name__, {})
        for part in target.get("anyOf", [target]):
            for name, field in each.model_fields.items():
                node = part.get("properties", {}).get(field.alias or name)
                if node is not None and _is_duration(field):
                    _replace_number(node)


def _replace_number(node: dict[str, Any]) -> None:
    options = node.get("anyOf")
    if options is None:
        node.pop("type")
        node["anyOf"] = DURATION["anyOf"]
    else:
        node["anyOf"] = [*DURATION["anyOf"], *(option for option in options if option.get("type") != "number")]


def _is_duration(field: Any) -> bool:
    from fakeservers.durations import seconds

    marks = [*field.metadata, *_marks(field.annotation)]
    return any(getattr(mark, "func", None) is seconds for mark in marks)


def _marks(annotation: Any) -> list[Any]:
    import typing

    found = list(getattr(annotation, "__metadata__", ()))
    for part in typing.get_args(annotation):
        found += _marks(part)
    return found


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Every model that fields of `model` lead to."""
    import typing

    found: set[type[BaseModel]] = set()
    waiting: list[Any] = [field.annotation for field in model.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in found:
                found.add(kind)
                waiting += [field.annotation for field in kind.model_fields.values()]
        else:
            waiting += typing.get_args(kind)
    return found


def _with_slots(node: Any) -> Any:
    """Wherever a plain value stands, `${...}` may stand too; keys keep their meaning."""
    if isinstance(node, list):
        return [_with_slots(item) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {
        key: {name: _with_slots(item) for name, item in value.items()}
        if key in ("properties", "$defs")
        else _with_slots(value)
        if key in ("items", "additionalProperties", "anyOf", "oneOf", "prefixItems")
        else value
        for key, value in node.items()
    }
    if "anyOf" in changed:
        changed["anyOf"] = [*changed["anyOf"], SLOT]
        return changed
    plain = "enum" in changed or "const" in changed or changed.get("type") in ("integer", "number", "boolean", "array")
    free = changed.get("type") == "object" and "properties" not in changed
    if not (plain or free or (changed.get("type") == "string" and "pattern" in changed)):
        return changed
    outer = {key: changed.pop(key) for key in ("title", "description", "default") if key in changed}
    return {**outer, "anyOf": [changed, SLOT]}
