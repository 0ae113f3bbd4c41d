from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakeservers.profile import load_profile, profile_names
from harness import casefile
from harness.cli.main import main


def listed(what: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["list", what, "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed("scenarios", capsys)
    assert any(row["id"].startswith("generic/send[") and row["provider"] == "generic" for row in rows)
    assert {"title", "tags", "covers", "file"} <= rows[0].keys()


def test_providers_with_what_they_offer(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in listed("providers", capsys)}
    assert list(rows) == profile_names()
    gmail = rows["gmail"]
    assert gmail["services"]["submission"] == {"host": "smtp.gmail.com", "port": 587, "protocol": "smtp"}
    assert gmail["advertised"].keys() == {"smtp", "imap", "pop3"}
    assert gmail["unimplemented"] == load_profile("gmail").unimplemented
    assert rows["generic"]["unimplemented"] == []
    # Each state of a session with what it is told then.
    for name in ("gmail", "office365", "generic"):
        imap = load_profile(name).imap
        told = rows[name]["advertised"]["imap"]
        assert told["capabilities"] == imap.capabilities
        assert told.get("capabilities_tls") == imap.capabilities_tls
        assert told.get("capabilities_login") == imap.capabilities_login


def test_quirks_and_clients(capsys: pytest.CaptureFixture[str]) -> None:
    quirk = next(row for row in listed("quirks", capsys) if row["quirk"] == "gmail/bad-credentials")
    assert quirk["category"] == "authentication"
    assert quirk["fixed_by"] == "sender-settings"
    assert quirk["confidence"] == "seen"
    assert [row["name"] for row in listed("clients", capsys)] == ["reference"]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("scenarios", "generic/send["),
        ("providers", "gmail: Gmail and Google Workspace"),
        ("quirks", "gmail/bad-credentials "),
        ("clients", "reference "),
    ],
)
def test_people_get_lines(what: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    assert any(each.startswith(line) for each in capsys.readouterr().out.splitlines())


def test_a_broken_file_is_told_after_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = "title: T\nwhy: W\nprovider: generic\nsteps:\n  - send: {}\n    expect: {outcomes: sent}\n"
    (tmp_path / "good.yaml").write_text(good, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(good.replace("why", "wyh"), encoding="utf-8")
    monkeypatch.setattr(casefile, "shipped_folder", lambda: tmp_path)
    assert main(["list", "scenarios"]) == 2
    shown = capsys.readouterr()
    assert "good" in shown.out
    assert 'bad.yaml:2:1: unknown key "wyh": did you mean "why"?' in shown.err
