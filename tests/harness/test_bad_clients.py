"""A client command that is none: one message, and where it was started the files asked for name every case."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.cli.main import main

CASES = ["generic/host-comma-port", "generic/batch-one-connection", "gmail/auth-required"]
DIES = "import sys; sys.exit('no such mailer is installed')"
DIES_LATER = """
import json, sys
for line in sys.stdin:
    if json.loads(line)["action"] != "hello":
        sys.exit("later")
    features = ["send", "queue", "starttls", "implicit-tls", "auth-plain", "host-comma-port"]
    print(json.dumps({"id": 0, "protocol": 1, "name": "x", "version": "1", "features": features}), flush=True)
"""


def script(folder: Path, name: str, text: str, mode: int = 0o755) -> str:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return shlex.quote(str(file))


def python(code: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", code, *arguments])


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-program", "there is no program 'no-such-program'"),
        ("'open quote", "cannot be split into words: no closing quotation"),
        (" ", "the client command is empty"),
    ],
)
def test_what_cannot_be_started_is_told_before_anything_is_done(
    command: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "r.json"
    assert main(["run", "--client-command", command, "--json", str(results), *CASES]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("mailrig: invalid value for --client-command: ")
    assert words in shown.err
    assert shown.out == ""
    assert not results.exists()


def test_a_file_that_is_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(tmp_path, "client.py", "", mode=0o644)
    monkeypatch.chdir(tmp_path)
    for command, words in (
        (str(tmp_path), "is a folder, not a program"),
        ("./client.py", "is not executable: make it so with chmod +x, or put its interpreter before it"),
        ("client.py", "there is no program 'client.py' (write ./client.py for the file here)"),
    ):
        assert main(["run", "--client-command", command, *CASES]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("dies", "the client ended with status 1 without a reply; it wrote: no such mailer is installed"),
        ("speaks-otherwise", "the reply is not JSON: 220 ready"),
        ("echoes", "the reply to hello is not valid: protocol: Field required"),
        ("no-shebang", "it has no #! line: put its interpreter before it"),
        ("no-interpreter", "its first line names an interpreter that is not there"),
    ],
)
def test_a_client_that_does_not_say_hello_is_told_once(
    manner: str, words: str, workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = {
        "dies": python(DIES),
        "speaks-otherwise": python("input(); print('220 ready')"),
        "echoes": python("print(input())"),
        "no-shebang": script(tmp_path, "plain", "echo\n"),
        "no-interpreter": script(tmp_path, "odd", "#!/no/such/interpreter\n"),
    }[manner]
    results, junit = tmp_path / "r.json", tmp_path / "r.xml"
    arguments = ["run", "-n", workers, "--json", str(results), "--junit", str(junit), "--client-command", command]
    assert main([*arguments, *CASES]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("mailrig: --client-command: ")
    assert (shown.out + shown.err).count(words) == 1
    assert "Traceback" not in shown.out + shown.err
    assert f"| {command}\n" in shown.err
    record = json.loads(results.read_text(encoding="utf-8"))
    assert record["interrupted"] is False
    assert record["summary"] == {"pass": 0, "fail": 0, "error": 3, "skip": 0}
    assert [result["id"] for result in record["results"]] == record["selected"] == CASES
    assert all(words in result["reason"] for result in record["results"])
    assert len(ElementTree.parse(junit).findall(".//testcase/error")) == 3


def test_a_client_that_fails_later_fails_case_by_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "r.json"
    assert main(["run", "--json", str(results), "--client-command", python(DIES_LATER), *CASES]) == 1
    assert capsys.readouterr().err == ""
    verdicts = {one["id"]: one["verdict"] for one in json.loads(results.read_text(encoding="utf-8"))["results"]}
    assert verdicts == {CASES[0]: "error", CASES[1]: "skip", CASES[2]: "fail"}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--mailrig-client=refrence", '--mailrig-client: unknown client "refrence": did you mean "reference"?'),
        ("--mailrig-client-command=no-such-program", "--mailrig-client-command: there is no program 'no-such-program'"),
        ("--mailrig-client-command='", "cannot be split into words"),
    ],
)
def test_plain_pytest_refuses_it_too(option: str, words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", option], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert words in done.stderr
    assert "Traceback" not in done.stderr
