from __future__ import annotations

from pathlib import Path

import pytest

from fakeservers.yamlfile import FileError
from harness.casefile import load_cases, scenario_id, shipped_folder

BASE = """title: T
why: W
provider: generic
steps:
  - send: {}
    expect: {outcomes: sent}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "case.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_an_id_is_the_path_under_the_shipped_scenarios() -> None:
    assert scenario_id(shipped_folder() / "gmail" / "daily-limit.yaml") == "gmail/daily-limit"


def test_a_matrix_gives_a_case_for_each_combination_in_the_files_order(tmp_path: Path) -> None:
    matrix = "matrix:\n  reply: [{name: soft, code: 450}, {name: hard, code: 550}]\n  count: [1, 2]\n"
    text = BASE.replace("send: {}", "send: {count: '${count}'}").replace("title: T", "title: T ${reply.code} ${reply}")
    cases = load_cases(write(tmp_path, text + matrix))
    assert [case.id.partition("[")[2] for case in cases] == [
        "reply=soft,count=1]", "reply=soft,count=2]", "reply=hard,count=1]", "reply=hard,count=2]",
    ]  # fmt: skip
    assert cases[2].scenario.title == "T 550 hard"
    assert cases[3].scenario.steps[0].send.count == 2  # type: ignore[union-attr]


def test_a_value_alone_keeps_its_type_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    text = BASE + "settings: {outgoing: {smtputf8: '${flag}'}}\nmatrix: {flag: [true]}\n"
    assert load_cases(write(tmp_path, text))[0].scenario.settings["outgoing"]["smtputf8"] is True
    with pytest.raises(FileError, match=r"case.yaml:7:\d+: unknown matrix value"):
        load_cases(write(tmp_path, text.replace("${flag}", "${falg}")))


@pytest.mark.parametrize(
    "matrix", ["matrix: []", "matrix: {}", "matrix: {a: 1}", "matrix: {a: []}", "matrix: {a: [[1]]}"]
)
def test_a_matrix_of_the_wrong_form_is_refused(tmp_path: Path, matrix: str) -> None:
    with pytest.raises(FileError, match="matrix"):
        load_cases(write(tmp_path, BASE + matrix + "\n"))


def test_where_names_the_line_of_an_expectation(tmp_path: Path) -> None:
    case = load_cases(write(tmp_path, BASE))[0]
    assert case.where(["steps", 0, "expect", "outcomes"]).endswith("case.yaml:6")


def test_the_cached_form_is_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = write(tmp_path, BASE)
    assert load_cases(file)[0].scenario == load_cases(file)[0].scenario
    write(tmp_path, BASE.replace("title: T", "title: U"))
    assert load_cases(file)[0].scenario.title == "U"


def test_a_matrix_key_and_a_field_may_have_a_hyphen(tmp_path: Path) -> None:
    text = BASE.replace("title: T", "title: T ${a-b.c-d} ${a-b}") + "matrix: {a-b: [{name: n, c-d: 7}]}\n"
    assert load_cases(write(tmp_path, text))[0].scenario.title == "T 7 n"


@pytest.mark.parametrize("slot", ["${a b}", "${}", "${1}", "${ a }", "${a-}", "${größe}"])
def test_what_no_matrix_value_fills_is_an_error_at_its_place(tmp_path: Path, slot: str) -> None:
    text = BASE.replace("title: T", f"title: 'T {slot}'") + "matrix: {a: [1]}\n"
    with pytest.raises(FileError, match=r"case.yaml:1:\d+: unknown matrix value .*known: a"):
        load_cases(write(tmp_path, text))


@pytest.mark.parametrize("slot", ["${reply.code}", "${a-b}"])
def test_a_slot_in_a_file_without_a_matrix_is_an_error(tmp_path: Path, slot: str) -> None:
    with pytest.raises(FileError, match=r"case.yaml:6:\d+: .* stays as it is: the file has no `matrix`"):
        load_cases(write(tmp_path, BASE.replace("outcomes: sent", f"outcomes: '{slot}'")))


def test_somebody_elses_text_may_look_like_a_slot(tmp_path: Path) -> None:
    mail = 'given: {mail: [{eml: "Subject: ${HOME}\\n\\n"}]}\n'
    assert load_cases(write(tmp_path, BASE + mail))[0].scenario.given.mail[0].eml == "Subject: ${HOME}\n\n"
    slotted = mail.replace("${HOME}", "${text}") + "matrix: {text: ['${HOME}']}\n"
    assert load_cases(write(tmp_path, BASE + slotted))[0].scenario.given.mail[0].eml == "Subject: ${HOME}\n\n"
