from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.casefile import load_cases
from harness.drivers import open_client
from harness.reports import jsonfile, junit
from harness.reports.atomic import CannotWrite, check_writable, write_whole
from harness.reports.record import RunRecord
from harness.reports.text import TextReport, make_console
from harness.reports.wording import failure_line, group, plain, safe
from harness.results import Result
from harness.runner import run_case


def line(direction: str, text: str, *, step: int = 1, connection: int = 1, rule: str | None = None) -> dict[str, Any]:
    data = {"step": step, "connection": connection, "service": "submission", "direction": direction, "text": text}
    return {**data, "tls": None, **({"rule": rule} if rule else {})}


DIALOGUE = [
    line("*", "connected"),
    line("S", "220 mail.example.test ESMTP"),
    line("C", "EHLO client.example.test"),
    line("S", "250-mail.example.test\\r\\n250-SIZE 35882577\\r\\n250 STARTTLS"),
    line("C", "MAIL FROM:<alice@example.test> [bold]AUTH=<>[/bold]", step=2, connection=2),
    line(
        "S", "550-5.4.5 Daily user sending limit exceeded.\\r\\n550 5.4.5 Come back", step=2, connection=2, rule="limit"
    ),
]
FAILED = Result(
    "gmail/daily-limit", "gmail", "reference", ["rate-limit"], "fail", 0.04,
    title="The [red]daily[/red] limit is kept", why="A newsletter was sent again and again.",
    failures=[
        {
            "expectation": "outcomes", "expected": ["sent", "deferred"], "observed": ["sent", "failed"],
            "where": "scenarios/gmail/daily-limit.yaml:23", "step": 2, "ref": "RFC 5321 4.2.1",
        }
    ],
    dialogue=DIALOGUE,
)  # fmt: skip
BROKEN = Result(
    "faults/cut[at=smtp.rcpt]", "generic", "reference", [], "error", 2.5,
    reason="step 1 (send): the client ended with status 1", complaints="Traceback \x1b[31m\nValueError: [x]\n",
)  # fmt: skip
WARNING = {"expectation": "saw", "expected": {"client": "^QUIT"}, "observed": "not seen", "where": "x.yaml:9"}
PASSED = Result("faults/ok", "generic", "reference", [], "pass", 0.01, warnings=[WARNING])
SKIPPED = [
    Result(f"graph/s{n}", "office365", "reference", [], "skip", 0.0, reason="the client lacks graph") for n in range(5)
]
RESULTS = [FAILED, BROKEN, PASSED, *SKIPPED]


def record(results: list[Result] | None = None) -> RunRecord:
    results = RESULTS if results is None else results
    return RunRecord(
        "0.1.0", 7, "2026-11-22T08:00:00Z", 12.3456, selected=[result.id for result in results], results=results
    )


def shown(results: list[Result], width: int = 80, *, quiet: bool = False, encoding: str = "utf-8", **more: Any) -> str:
    octets = io.BytesIO()
    file = io.TextIOWrapper(octets, encoding=encoding, write_through=True)
    report = TextReport(make_console(file=file, width=width), len(results), quiet)
    report.start(len(results), ["reference"], 7, 2)
    for done, result in enumerate(results, 1):
        report.result(result, done)
    report.finish(results, 12.3, more.get("interrupted", False), more.get("status"))
    return octets.getvalue().decode(encoding)


# --- the terminal


@pytest.mark.parametrize("width", [80, 140])
def test_no_line_is_wider_than_the_terminal_and_none_ends_in_blanks(width: int) -> None:
    text = shown(RESULTS, width)
    free = ("passed", "scenarios/gmail/daily-limit.yaml:23", "mailrig:")
    for each in text.splitlines():
        assert len(each) <= width or any(word in each for word in free), each
    assert not re.search(r"\S +$", text.partition("fail  ")[2], re.MULTILINE)
    assert "\x1b" not in text


def test_a_failure_is_told_with_its_place_and_its_dialogue_side_by_side() -> None:
    text = shown(RESULTS)
    assert "The [red]daily[/red] limit is kept" in text
    assert "outcomes  step 2  scenarios/gmail/daily-limit.yaml:23  RFC 5321 4.2.1" in text
    assert "expected  [sent, deferred]\n    observed  [sent, failed]" in text
    rows = [each.split(" \u2502 ") for each in text.splitlines() if " \u2502 " in each]
    left, right = [row[0].strip() for row in rows], [row[1] for row in rows]
    greeting = left.index("EHLO client.example.test")
    assert right[greeting : greeting + 3] == ["250-mail.example.test", "250-SIZE 35882577", "250 STARTTLS"]
    assert "2 MAIL FROM:<alice@example.test>" in left
    assert "connection 2, submission" in text
    assert "(rule limit)" in text


def test_an_error_gives_the_reason_and_what_the_client_wrote() -> None:
    text = shown(RESULTS)
    assert "error faults/cut[at=smtp.rcpt]  2.50 s" in text
    assert "the client wrote to standard error:\n    Traceback \\x1b[31m\n    ValueError: [x]" in text


def test_the_rest_is_summed_up() -> None:
    text = shown(RESULTS)
    assert re.search(r"^faults +1 +- +1 +- +2.51", text, re.MULTILINE)
    assert re.search(r"^all +1 +1 +1 +5 +2.55", text, re.MULTILINE)
    assert "faults/ok: saw: expected {client: ^QUIT}, observed not seen (x.yaml:9)" in text
    assert "5: the client lacks graph (graph/s0, graph/s1, graph/s2 and 2 more)" in text
    assert "slowest\n  2.50 s  faults/cut" in text
    last = text.splitlines()[-1]
    assert last.startswith("1 passed, 1 failed, 1 in error, 5 skipped in 12.3 s: ")
    assert last.endswith("(exit 1)")


def test_a_log_gets_a_letter_for_each_case() -> None:
    assert shown(RESULTS).splitlines()[1] == "FE.sssss 8/8"
    many = shown([replace(PASSED, id=f"faults/{n}") for n in range(130)]).splitlines()
    assert many[1:4] == ["." * 60 + "  60/130", "." * 60 + " 120/130", "." * 10 + " " * 50 + " 130/130"]


def test_quiet_shows_failures_and_the_last_line() -> None:
    text = shown(RESULTS, quiet=True)
    assert text.strip().startswith("fail  gmail/daily-limit")
    assert "warning" not in text
    assert "seconds" not in text
    assert len(shown([PASSED], quiet=True).splitlines()) == 1


@pytest.mark.parametrize(
    ("results", "more", "ending"),
    [
        ([PASSED], {}, "the client does what it must (exit 0)"),
        ([SKIPPED[0]], {}, "nothing passed (exit 1)"),
        ([PASSED], {"interrupted": True, "status": 130}, "interrupted (exit 130)"),
        ([PASSED], {"status": 2}, "results are missing (exit 2)"),
    ],
)
def test_the_last_line_says_what_the_status_means(results: list[Result], more: dict[str, Any], ending: str) -> None:
    assert shown(results, **more).splitlines()[-1].endswith(ending)


def test_cases_that_never_ran_are_counted() -> None:
    file = io.StringIO()
    report = TextReport(make_console(file=file, width=80), 3, True)
    report.finish([PASSED], 1.0, True, 143)
    assert "1 passed, 0 failed, 0 in error, 0 skipped, 2 not run in 1.00 s: interrupted (exit 143)" in file.getvalue()


def test_an_ascii_terminal_gets_ascii() -> None:
    assert " | 250-SIZE 35882577" in shown(RESULTS, encoding="ascii")


def test_two_clients_stand_apart() -> None:
    text = shown([PASSED, replace(PASSED, client="other")])
    assert re.search(r"^faults +reference +1", text, re.MULTILINE)
    assert re.search(r"^faults +other +1", text, re.MULTILINE)


def test_a_terminal_sees_progress_and_failures_at_once() -> None:
    file = io.StringIO()
    report = TextReport(make_console(file=file, width=80, force_terminal=True), 2, False)
    report.start(2, ["reference"], 7, 1)
    report.begin("gmail/daily-limit")
    report.result(FAILED, 1)
    before_the_end = file.getvalue()
    report.result(PASSED, 2)
    report.close()
    assert "gmail/daily-limit" in before_the_end
    report.close()


# --- words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "yes"),
        ("as it is: [x]", "as it is: [x]"),
        (["sent", "not, sent", ""], '[sent, "not, sent", ""]'),
        ({"category": "size", "code": 552, "text": 'say "no"'}, 'category: size, code: 552, text: "say \\"no\\""'),
        ({}, "{}"),
    ],
)
def test_values_read_as_a_person_writes_them(value: Any, text: str) -> None:
    assert plain(value) == text


def test_nothing_that_a_terminal_obeys_comes_through() -> None:
    assert safe("a\x1b[2J\r\nb\x07\udc80\u202e") == "a\\x1b[2J\nb\\x07\\udc80\\u202e"
    assert "\n" not in failure_line({"expectation": "x", "expected": "a\nb", "observed": "c"})


@pytest.mark.parametrize(
    ("name", "theme"),
    [("gmail/limit", "gmail"), ("faults/cut[at=a/b]", "faults"), ("alone", "generic"), ("/tmp/x/own", "generic")],
)
def test_results_are_grouped_by_their_first_folder(name: str, theme: str) -> None:
    assert group(name, "generic") == theme


# --- files


def test_a_results_file_is_read_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.json"
    jsonfile.write(file, record())
    data = json.loads(file.read_text(encoding="utf-8"))
    assert list(data) == [
        "mailrig", "seed", "started", "seconds", "interrupted", "shard", "selected", "results", "summary",
    ]  # fmt: skip
    assert data["summary"] == {"pass": 1, "fail": 1, "error": 1, "skip": 5}
    assert data["results"][0]["failures"][0]["where"] == "scenarios/gmail/daily-limit.yaml:23"
    again = jsonfile.read(file)
    assert again.results == RESULTS
    assert again.to_json() == data


def test_unknown_keys_are_passed_over_and_wrong_ones_named(tmp_path: Path) -> None:
    data = {**record([PASSED]).to_json(), "later": 1}
    data["results"][0] |= {"trace": "x.zip", "verdict": "pass"}
    assert RunRecord.from_json(data).results[0].verdict == "pass"
    changes: list[tuple[dict[str, Any], str]] = [
        ({"results": [{**data["results"][0], "verdict": "good"}]}, r"results\[0\]: verdict 'good'"),
        ({"results": {}}, '"results" is not a list'),
        ({"selected": [1]}, '"selected" is not a list of ids'),
        ({"results": [{"id": 1}]}, "'id' is not a text"),
    ]
    for change, words in changes:
        with pytest.raises(ValueError, match=words):
            RunRecord.from_json({**data, **change})
    file = tmp_path / "x.json"
    file.write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.json is no results file: the file is not a JSON object"):
        jsonfile.read(file)


def test_half_a_character_does_not_spoil_the_file(tmp_path: Path) -> None:
    jsonfile.write(tmp_path / "x.json", record([replace(PASSED, reason="\udc80")]))
    assert jsonfile.read(tmp_path / "x.json").results[0].reason == "\udc80"


def test_junit_has_a_suite_for_each_theme_and_only_legal_characters() -> None:
    root = ElementTree.fromstring(junit.render(record()))
    assert root.attrib == {
        "name": "mailrig", "tests": "8", "failures": "1", "errors": "1", "skipped": "5", "time": "12.346",
    }  # fmt: skip
    assert [suite.get("name") for suite in root] == ["faults", "gmail", "graph"]
    failed = root.find(".//testcase[@name='gmail/daily-limit']")
    assert failed is not None
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message", "").startswith("outcomes: expected [sent, deferred], observed [sent, failed]")
    assert "C: EHLO client.example.test" in (failure.text or "")
    broken = root.find(".//testcase[@name='faults/cut[at=smtp.rcpt]']")
    assert broken is not None
    assert broken.findtext("system-err") == "Traceback [31m\nValueError: [x]\n"
    skipped = root.find(".//skipped")
    assert skipped is not None
    assert skipped.get("message") == "the client lacks graph"


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.json"
    write_whole(file, "old")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(CannotWrite, match="No space left"):
        write_whole(file, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert file.read_text(encoding="utf-8") == "old"


def test_what_cannot_be_written_is_found_out_early(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "x.json"):
        with pytest.raises(CannotWrite, match="cannot write"):
            check_writable(path)
    check_writable(tmp_path / "deep" / "x.json")
    assert not (tmp_path / "deep" / "x.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and pipes are POSIX")
def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    write_whole(link, "x")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "x"
    write_whole(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()


def test_octets_that_are_no_text_do_not_fill_the_dialogue(tmp_path: Path) -> None:
    """The author forgot `service: smtps`, so the client's TLS handshake comes as commands."""
    file = tmp_path / "x.yaml"
    file.write_text(
        "title: x\nwhy: x\nprovider: generic\nsource: x\nsettings: {outgoing: {security: implicit}}\n"
        "steps: [{send: , expect: {outcomes: sent}}]\n",
        encoding="utf-8",
    )
    client = open_client("reference")
    try:
        [case] = load_cases(file)
        result = run_case(case, client, now=1_790_000_000.0, seed=1)
    finally:
        client.close()
    assert result.verdict == "fail"
    spoken = [line["text"] for line in result.dialogue if line["direction"] == "C"]
    assert any(text.endswith(" characters)") for text in spoken)
    assert max(map(len, spoken)) < 200
