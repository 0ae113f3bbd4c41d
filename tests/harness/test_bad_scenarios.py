from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.cli.main import main

FOLDER = Path(__file__).parent / "bad-scenarios"
FILES = sorted(FOLDER.glob("*.yaml"))


def forgiving(text: str, wanted: str) -> str:
    """A list that grows with the profiles stands as `(known: *)` in the file of messages."""
    return re.sub(r"\(known: [^)]*\)", "(known: *)", text) if "(known: *)" in wanted else text


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_mistake_is_told_with_its_place_and_a_way_out(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(FOLDER)
    wanted = file.with_suffix(".err").read_text(encoding="utf-8")
    assert main(["check", file.name]) == 2
    assert forgiving(capsys.readouterr().out, wanted) == wanted


@pytest.mark.parametrize(
    "name", ["misspelt-key", "wrong-type", "unknown-quirk", "at-least-zero", "never-absent-service"]
)
def test_run_refuses_the_file_with_the_same_message(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(FOLDER)
    wanted = (FOLDER / f"{name}.err").read_text(encoding="utf-8")
    assert main(["run", f"{name}.yaml"]) == 2
    shown = capsys.readouterr()
    assert forgiving(shown.err, wanted) == wanted
    assert shown.out == ""


def test_every_file_of_messages_has_its_scenario() -> None:
    assert {file.stem for file in FOLDER.glob("*.err")} == {file.stem for file in FILES}
