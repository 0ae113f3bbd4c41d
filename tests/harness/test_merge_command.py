from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.reports import jsonfile
from harness.reports.record import RunRecord
from harness.results import Result

SELECTED = ["a/one", "a/two", "a/three"]


def shard(folder: Path, name: str, ids: list[str], verdict: str = "pass", client: str = "reference") -> str:
    results = [Result(each, "generic", client, [], verdict, 0.1) for each in ids]  # type: ignore[arg-type]
    record = RunRecord("0.1.0", 7, "2026-11-22T08:00:00Z", 2.0, shard="1/2", selected=SELECTED, results=results)
    jsonfile.write(folder / f"{name}.json", record)
    return str(folder / f"{name}.json")


def test_shards_become_one_in_the_order_of_the_selection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [shard(tmp_path, "x", ["a/three", "a/one"]), shard(tmp_path, "y", ["a/two"])]
    merged = tmp_path / "merged.json"
    assert main(["merge", "--json", str(merged), "--junit", str(tmp_path / "m.xml"), *files]) == 0
    data = json.loads(merged.read_text(encoding="utf-8"))
    assert [result["id"] for result in data["results"]] == SELECTED
    assert data["shard"] is None
    assert data["summary"]["pass"] == 3
    assert (tmp_path / "m.xml").exists()
    assert "3 passed" in capsys.readouterr().out


def test_a_failure_is_status_1(tmp_path: Path) -> None:
    assert main(["merge", shard(tmp_path, "x", SELECTED[:1], "fail"), shard(tmp_path, "y", SELECTED[1:])]) == 1


def test_a_missing_case_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "-q", shard(tmp_path, "x", SELECTED[:2])]) == 2
    shown = capsys.readouterr()
    assert "a/three is missing" in shown.err
    assert "results are missing (exit 2)" in shown.out


def test_a_case_that_stands_twice_is_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", shard(tmp_path, "x", SELECTED), shard(tmp_path, "y", ["a/two"])]) == 2
    assert "a/two stands twice" in capsys.readouterr().err


def test_every_client_has_to_have_run_every_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [shard(tmp_path, "x", SELECTED), shard(tmp_path, "y", SELECTED[:2], client="other")]
    assert main(["merge", *files]) == 2
    assert "a/three is missing (client other)" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "words"), [("{", "is no results file"), ("{}", '"results" is not a list')])
def test_what_is_no_results_file_is_said(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8")
    assert main(["merge", str(file)]) == 2
    assert words in capsys.readouterr().err
    assert main(["merge", str(tmp_path / "nosuch.json")]) == 2
