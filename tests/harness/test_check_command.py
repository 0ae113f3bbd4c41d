from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.main import main

SCENARIO = """title: T
why: W
provider: {provider}
steps:
  - send: {{}}
    expect: {{outcomes: sent}}
"""
PROFILE = """name: acme
title: Acme mail
services:
  submission: {host: smtp.acme.test, port: 587}
settings: {incoming: null}
quirks:
  grumpy:
    title: Grumpy
    explain: It is grumpy.
    rules: [{name: grumpy, at: smtp.mail, reply: 550 no}]
"""


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_all_that_mailrig_brings_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.endswith("files are fine\n")


def test_a_folder_is_searched_and_a_profile_known_by_its_services(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "acme.yaml", PROFILE)
    write(tmp_path, "deep/own.yaml", SCENARIO.format(provider="../acme.yaml") + "given: {quirks: [acme/grumpy]}\n")
    assert main(["check", str(tmp_path)]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out == "2 files are fine\n"


def test_mistakes_in_a_profile_have_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "other.yaml", PROFILE.replace("at: smtp.mail", "at: imap.fetch").replace("null", "imaps"))
    assert main(["check", "other.yaml"]) == 2
    assert capsys.readouterr().out.splitlines() == [
        'other.yaml:5:22: unknown service of acme "imaps": (known: submission)',
        "other.yaml:10:32: can never act: acme has no imap service",
        'other.yaml:1:7: the file of the profile "acme" has to be called acme.yaml',
    ]


def test_mistakes_in_the_profile_of_a_scenario_are_told_at_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "acme.yaml", PROFILE.replace("title: Acme", "titel: Acme"))
    write(tmp_path, "own.yaml", SCENARIO.format(provider="acme.yaml"))
    assert main(["check", "own.yaml"]) == 2
    assert 'acme.yaml:2:1: unknown key "titel": did you mean "title"?' in capsys.readouterr().out


def test_the_cases_of_a_matrix_share_their_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = "matrix: {code: [450, 451, 452]}\n"
    file = write(tmp_path, "own.yaml", SCENARIO.format(provider="gmail") + matrix + "given: {quirks: [nosuch]}\n")
    assert main(["check", str(file)]) == 2
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1
    assert shown.err == "mailrig: 1 error in 1 of 1 file\n"


@pytest.mark.parametrize(("name", "words"), [("nosuch.yaml", "cannot be read"), (".", "no files *.yaml")])
def test_what_is_not_there_is_an_error(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", name]) == 2
    shown = capsys.readouterr()
    assert words in shown.out + shown.err


def test_a_name_that_no_file_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "x" * 5000]) == 2
    assert "cannot be read: File name too long" in capsys.readouterr().out


def test_a_link_that_leads_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, target in (("loop.yaml", "loop.yaml"), ("gone.yaml", "nothing.yaml")):
        (tmp_path / name).symlink_to(target)
        assert main(["check", str(tmp_path / name)]) == 2
        assert f"{tmp_path / name}: cannot be read: " in capsys.readouterr().out
