from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.selection import Expression, SelectionError, read_times, select, shard_of

SCENARIO = """
title: T
why: W
provider: {provider}
tags: [{tag}]
steps:
  - send: {{}}
    expect: {{outcomes: sent}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for name, provider, tag in (("one", "generic", "a"), ("two", "gmail", "b"), ("three", "gmail", "a")):
        (tmp_path / "mine" / f"{name}.yaml").write_text(SCENARIO.format(provider=provider, tag=tag), encoding="utf-8")
    return tmp_path / "mine"


def test_a_folder_gives_its_files_with_ids_relative_to_the_current_folder(folder: Path) -> None:
    assert select(["mine"]).ids == ["mine/one", "mine/three", "mine/two"]


def test_conditions_all_hold(folder: Path) -> None:
    assert select(["mine"], providers=["gmail"], tags=["a"]).ids == ["mine/three"]
    assert select(["mine"], expression="one or (gmail and not three)").ids == ["mine/one", "mine/two"]


def test_a_case_of_a_matrix_is_selected_by_its_id(folder: Path) -> None:
    text = SCENARIO.format(provider="generic", tag="a") + "matrix:\n  n: [1, 2]\n"
    (folder / "many.yaml").write_text(text.replace("T\n", "T ${n}\n", 1), encoding="utf-8")
    assert select(["mine/many[n=2]"]).ids == ["mine/many[n=2]"]
    assert select(["mine/many"]).ids == ["mine/many[n=1]", "mine/many[n=2]"]
    with pytest.raises(SelectionError, match=r"no scenario.*n=3"):
        select(["mine/many[n=3]"])


def test_an_unknown_name_says_what_was_meant() -> None:
    with pytest.raises(SelectionError, match="no scenario, file or folder"):
        select(["generic/no-such-thing"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"providers": ["gmail", "genric"]}, '--provider: unknown provider "genric": did you mean "generic"?'),
        ({"tags": ["a", "bb"]}, '--tag: unknown tag "bb": did you mean "b"? (known: a, b)'),
    ],
)
def test_a_condition_that_nothing_can_meet_is_a_mistake(
    options: dict[str, list[str]], words: str, folder: Path
) -> None:
    with pytest.raises(SelectionError) as caught:
        select(["mine"], **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(words)


def test_a_provider_of_mailrig_is_known_where_no_scenario_uses_it(folder: Path) -> None:
    assert select(["mine"], providers=["office365"]).ids == []


def test_a_name_that_no_file_can_have_is_not_there() -> None:
    with pytest.raises(SelectionError, match="no scenario, file or folder"):
        select(["x" * 5000])


def test_an_empty_name_is_not_the_current_folder(folder: Path) -> None:
    with pytest.raises(SelectionError, match="an empty name"):
        select([""])


def test_a_broken_file_is_reported_with_its_line(folder: Path) -> None:
    (folder / "bad.yaml").write_text("title: T\nwyh: W\n", encoding="utf-8")
    broken = select(["mine"]).broken
    assert any(error.line == 2 and 'did you mean "why"' in error.message for error in broken)


@pytest.mark.parametrize("text", ["and", "(a", "a b", "a or", "not", ")"])
def test_an_expression_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SelectionError, match="-k"):
        Expression(text)


ids = st.lists(st.text("abcdef/-", min_size=1), unique=True, max_size=40)


@given(ids, st.integers(1, 7), st.dictionaries(st.text("abcdef/-", min_size=1), st.floats(0, 100)))
def test_shards_part_the_ids(names: list[str], count: int, times: dict[str, float]) -> None:
    shards = [shard_of(names, index, count, times) for index in range(1, count + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(names)
    assert shards == [shard_of(list(reversed(names)), index, count, times) for index in range(1, count + 1)]


def test_times_balance_the_shards() -> None:
    times = {"slow": 10.0, "a": 1.0, "b": 1.0, "c": 1.0}
    assert shard_of(list(times), 1, 2, times) == ["slow"]


def test_times_come_from_a_results_file_or_a_mapping(tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text('{"results": [{"id": "a", "seconds": 2}]}', encoding="utf-8")
    assert read_times(file) == {"a": 2.0}
    file.write_text('{"a": 3}', encoding="utf-8")
    assert read_times(file) == {"a": 3.0}
    file.write_text("[1]", encoding="utf-8")
    with pytest.raises(SelectionError, match="--times"):
        read_times(file)
