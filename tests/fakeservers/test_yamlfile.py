"""Files into models: what is wrong, where, and how to fix it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from fakeservers.yamlfile import FileError, cache_folder, load_model, load_text, locate, parse


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")
    expect: dict[str, int] = {}
    wait: float = 0


class Book(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str
    steps: list[Step] = []


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))


def write(folder: Path, text: str) -> Path:
    file = folder / "book.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def failure(folder: Path, text: str) -> FileError:
    with pytest.raises(FileError) as caught:
        load_model(write(folder, text), Book, shown="book.yaml")
    return caught.value


def test_a_right_file_is_read_and_read_again_from_the_cache(tmp_path: Path) -> None:
    file = write(tmp_path, "title: \u00fcber\nsteps:\n- expect: {a: 1}\n- {wait: 2}\n")
    first = load_model(file, Book)
    assert first.title == "\u00fcber"
    assert len(list((cache_folder() / "yaml").glob("*.json"))) == 1
    assert load_model(file, Book) == first


def test_a_broken_cache_is_not_believed(tmp_path: Path) -> None:
    file = write(tmp_path, "title: x\n")
    load_model(file, Book)
    (cached,) = (cache_folder() / "yaml").glob("*.json")
    cached.write_text("{", encoding="utf-8")
    assert load_model(file, Book).title == "x"


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("title: x\nsteps:\n  - expct: {a: 1}\n", (3, 5), 'unknown key "expct": did you mean "expect"?'),
        ("title: x\nsteps:\n  - expect: {a: b}\n", (3, 17), "found \"b\""),
        ("title: x\nsteps:\n  - wait: soon\n", (3, 11), "found \"soon\""),
        ("steps: []\n", (1, 1), '"title" is missing'),
        ("title: [1]\n", (1, 1), "string"),
        ("- a\n", (1, 1), "expected a mapping of keys, found a list"),
        ("", (1, 1), "expected a mapping of keys, found nothing"),
        ("title: {\n", (2, 1), "not valid YAML"),
        ("title: a\ntitle: b\n", (2, 1), "not valid YAML"),
        ("title: x\ntabs:\n\t- a\n", (3, 1), "not valid YAML"),
        ("title: !!binary aGVsbG8=\n", (1, 1), "not plain data"),
        ("title: &a [*a]\n", (1, 1), "contains itself"),
    ],
)  # fmt: skip
def test_an_error_points_at_itself(tmp_path: Path, text: str, position: tuple[int, int], message: str) -> None:
    error = failure(tmp_path, text)
    assert message in error.message
    assert (error.line, error.column) == position
    assert str(error).startswith(f"book.yaml:{position[0]}:{position[1]}: ")


def test_all_errors_of_a_file_are_told_in_order(tmp_path: Path) -> None:
    error = failure(tmp_path, "titel: x\nsteps:\n- {wait: a}\n- {wiat: 1}\n")
    assert [(one.line, one.column) for one in error.all] == sorted((one.line, one.column) for one in error.all)
    assert len(error.all) >= 3


def test_dates_become_text_and_keys_too() -> None:
    assert parse("2024: 2026-11-22\nyes: no\n", "x") == {"2024": "2026-11-22", "yes": "no"}


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        load_text(tmp_path / "absent.yaml")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("title: \u00fc".encode("latin-1"))
    with pytest.raises(FileError, match="octet 7"):
        load_text(latin)


def test_locate() -> None:
    text = "a:\n  - b: 1\n    c: [x, y]\n"
    assert locate(text, ["a", 0, "b"]) == (2, 8)
    assert locate(text, ["a", 0, "b"], of_key=True) == (2, 5)
    assert locate(text, ["a", 0, "c", 1]) == (3, 12)
    assert locate(text, ["a", 7]) == (1, 1), "the nearest part that exists"


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_json_is_yaml(data: object) -> None:
    text = json.dumps(data)
    assert parse(text, "x") == data
    assert parse(text, "x") == data, "and the same from the cache"
