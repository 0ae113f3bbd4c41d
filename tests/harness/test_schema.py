from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers.profile import PROFILES
from fakeservers.yamlfile import parse
from harness.casefile import scenario_files, shipped_folder
from harness.cli.main import main

BAD = Path(__file__).parent / "bad-scenarios"


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    from harness.schema import schema

    return {kind: schema(kind) for kind in ("scenario", "profile")}


def wrong(file: Path, schema: dict[str, Any]) -> list[str]:
    return list(complaints(parse(file.read_text(encoding="utf-8"), file.name), schema, schema))


def test_every_shipped_file_fits(schemas: dict[str, dict[str, Any]]) -> None:
    found = {file.name: wrong(file, schemas["scenario"]) for file in scenario_files(shipped_folder())}
    found |= {file.name: wrong(file, schemas["profile"]) for file in PROFILES.glob("*.yaml")}
    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.parametrize(
    "name",
    ["misspelt-key", "misspelt-top-key", "wrong-type", "wrong-value", "missing-key", "bad-duration", "no-action"],
)
def test_mistakes_of_form_do_not_fit(name: str, schemas: dict[str, dict[str, Any]]) -> None:
    assert wrong(BAD / f"{name}.yaml", schemas["scenario"])


@pytest.mark.parametrize(
    "text",
    [
        "steps: [{flush: }, {wait: 1h30m}, {wait: 90}, {restart: {}}, {fetch: , expect: {messages: 3}}]",
        "matrix: {n: [1, {name: two, value: 2}]}\nsteps: [{send: {count: '${n}'}, expect: {outcomes: '${n.name}'}}]",
        "steps: [{wait: '${n}'}]\nmatrix: {n: [1h]}",
        "steps: [{send: {}}]\ngiven: {rules: [{name: a, at: smtp.mail, when: {tls: false, domain: [a, b]}}]}",
    ],
)
def test_the_short_forms_fit(text: str, schemas: dict[str, dict[str, Any]]) -> None:
    data = parse(f"title: T\nwhy: W\nprovider: generic\n{text}\n", "x.yaml")
    assert list(complaints(data, schemas["scenario"], schemas["scenario"])) == []


@pytest.mark.parametrize("kind", ["scenario", "profile"])
def test_the_command_prints_it(
    kind: str, capsys: pytest.CaptureFixture[str], schemas: dict[str, dict[str, Any]]
) -> None:
    assert main(["schema", kind]) == 0
    assert json.loads(capsys.readouterr().out) == schemas[kind]
    assert schemas[kind]["title"] == f"mailrig {kind}"


# --- as much of JSON Schema 2020-12 as our schemas use, so that no validator has to be installed

KNOWN = {
    "$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default", "description", "enum",
    "exclusiveMinimum", "items", "maximum", "maxItems", "maxProperties", "minimum", "minItems", "minLength",
    "minProperties", "oneOf", "pattern", "prefixItems", "properties", "propertyNames", "required", "title", "type",
    "patternProperties", "maxLength", "exclusiveMaximum", "discriminator",
}  # fmt: skip
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float),
    "integer": int,
}  # fmt: skip


def complaints(value: Any, schema: Any, top: dict[str, Any], path: str = "") -> Iterator[str]:
    """Where and why `value` is not what `schema` (a part of `top`) wants."""
    if isinstance(schema, bool):
        if not schema:
            yield f"{path}: not allowed"
        return
    unknown = schema.keys() - KNOWN
    assert not unknown, f"the validator lacks {unknown}"
    if "$ref" in schema:
        yield from complaints(value, top["$defs"][schema["$ref"].rpartition("/")[2]], top, path)
    if "type" in schema and not _is(value, schema["type"]):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        yield f"{path}: {value!r} is none of {schema.get('enum', schema.get('const'))}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} does not match {schema['pattern']}"
    for kind in ("anyOf", "oneOf"):
        if kind in schema:
            tried = [list(complaints(value, option, top, path)) for option in schema[kind]]
            if not any(not one for one in tried):
                yield from min(tried, key=len)
    yield from _bounds(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, top, path)
    if isinstance(value, list):
        for index, item in enumerate(value):
            first = schema.get("prefixItems", [])
            wanted = first[index] if index < len(first) else schema.get("items", True)
            yield from complaints(item, wanted, top, f"{path}/{index}")


def _is(value: Any, kind: str | list[str]) -> bool:
    if isinstance(kind, list):
        return any(_is(value, one) for one in kind)
    if isinstance(value, bool) and kind in ("number", "integer"):
        return False
    return isinstance(value, TYPES[kind])


def _bounds(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    size = len(value) if isinstance(value, str | list | dict) else None
    number = value if isinstance(value, int | float) else None
    what = "Length" if isinstance(value, str) else "Items" if isinstance(value, list) else "Properties"
    if size is not None and not schema.get(f"min{what}", 0) <= size <= schema.get(f"max{what}", size):
        yield f"{path}: {size} of it are too few or too many"
    if number is not None and not schema.get("minimum", number) <= number <= schema.get("maximum", number):
        yield f"{path}: {number} is out of bounds"


def _object(value: dict[str, Any], schema: dict[str, Any], top: dict[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}: {name} is missing"
    for name, item in value.items():
        if "propertyNames" in schema:
            yield from complaints(name, schema["propertyNames"], top, f"{path}/{name}")
        wanted = properties.get(name)
        if wanted is None:
            patterns = schema.get("patternProperties", {})
            matching = [inner for pattern, inner in patterns.items() if re.search(pattern, name)]
            wanted = matching[0] if matching else schema.get("additionalProperties", True)
        yield from complaints(item, wanted, top, f"{path}/{name}")
