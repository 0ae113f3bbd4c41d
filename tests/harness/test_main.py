from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.cli import main as module
from harness.cli.main import COMMANDS, main

TABLE = ["run", "serve", "list", "check", "schema", "explain", "reproduce", "record", "merge", "client"]


def test_help_lists_every_command_in_the_contracts_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = re.findall(r"^  ([a-z]+)  +\S", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
    assert listed == TABLE


@pytest.mark.parametrize("name", [name for name in TABLE if COMMANDS[name][0]])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: mailrig {name}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"mailrig \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], 'mailrig: unknown command "rnu": did you mean "run"?'),
        (["run", "--jsno", "x"], "mailrig: no such option '--jsno'"),
        (["run", "generic/sedn"], 'mailrig: no scenario, file or folder "generic/sedn"'),
        (["run", "--html", "x.html"], "mailrig: --html is not built yet"),
        (["run", "--client", "refrence"], "mailrig: invalid value for --client: unknown client"),
        (["run", "-k", "nothing-is-called-this"], "mailrig: nothing is selected"),
        (["run", "no-such.yaml"], 'mailrig: there is no file "no-such.yaml"\n'),
        (["run", "--provider", "gmial"], 'mailrig: --provider: unknown provider "gmial": did you mean "gmail"?'),
        (["list", "scenarois"], "mailrig: invalid value"),
        (["reproduce", "x.log", "-o", "y.yaml"], "mailrig: `mailrig reproduce` is not built yet"),
        (["record", "--to", "a:25", "--help"], "mailrig: `mailrig record` is not built yet"),
        (["serve", "nosuch"], 'mailrig: nosuch: unknown provider "nosuch"'),
        (["explain", " "], "mailrig: the text is empty"),
    ],
)
def test_a_mistake_is_a_message_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(message)
    assert shown.out == ""


def test_without_a_command_there_is_help_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_an_unwritable_file_is_refused_before_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "generic/send", "--json", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"mailrig: cannot write {tmp_path}: it is a folder\n"


def test_one_file_for_two_reports_is_refused_before_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "r")
    assert main(["run", "generic/send", "--json", file, "--junit", file]) == 2
    assert capsys.readouterr().err == f"mailrig: cannot write {file} twice: give each report a file of its own\n"
    assert not (tmp_path / "r").exists()


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    command = click.Command("run", callback=interrupted)
    monkeypatch.setattr(module._Commands, "get_command", lambda *_: command)
    assert main(["run"]) == 130


def test_a_defect_of_ours_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError

    command = click.Command("run", callback=broken)
    monkeypatch.setattr(module._Commands, "get_command", lambda *_: command)
    with pytest.raises(ZeroDivisionError):
        main(["run"])


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys; from harness.cli.main import main; main(['--help'])\n"
        "heavy = {'pydantic', 'rich', 'pytest', 'trustme', 'harness.cli.run'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_characters_that_the_terminal_lacks_are_escaped() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli.main", "\u2192"],
        capture_output=True, env={"PYTHONIOENCODING": "latin-1", "LC_ALL": "C.UTF-8"}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b'unknown command "\\u2192"' in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "from harness.cli.main import main; main(['schema', 'profile'])"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaints = process.stderr.read()
        process.wait(60)
    assert complaints == b""
