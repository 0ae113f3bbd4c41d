from __future__ import annotations

import imaplib
import json
import queue
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import main

DEADLINE = 30.0


class Serving:
    """`mailrig serve` as a child; what it prints can be read line by line with a deadline."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli.main", "serve", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        self.lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            for line in out:
                self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line_with(self, words: str) -> str:
        deadline = time.monotonic() + DEADLINE
        while (line := self.lines.get(timeout=max(0.1, deadline - time.monotonic()))) is not None:
            if words in line:
                return line
        raise AssertionError(f"it ended without saying {words!r}: {self.errors()}")

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@contextmanager
def serving(*arguments: str) -> Iterator[Serving]:
    child = Serving(*arguments)
    try:
        yield child
    finally:
        if child.process.poll() is None:
            child.process.kill()
        child.process.wait(DEADLINE)
        child._reader.join(DEADLINE)
        if child.process.stderr is not None:
            child.process.stderr.close()


def endpoints(file: Path, child: Serving) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE
    while not file.exists():
        assert child.process.poll() is None, child.errors()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_mail_goes_in_and_comes_out_until_the_signal(number: int, tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    with serving("--endpoints", str(file), "--user", "carol@example.test:pass:word", "--no-ui") as child:
        facts = endpoints(file, child)
        assert facts["provider"] == "generic"
        assert facts["pid"] == child.process.pid
        assert facts["users"] == [{"username": "carol@example.test", "password": "pass:word"}]
        assert facts["ports"].keys() == {"smtp", "submission", "smtps", "imap", "imaps", "pop3", "pop3s"}
        assert child.line_with("CA file").split()[-1] == facts["ca_file"]
        trust = ssl.create_default_context(cafile=facts["ca_file"])
        with smtplib.SMTP("localhost", facts["ports"]["submission"], timeout=DEADLINE) as smtp:
            smtp.starttls(context=trust)
            smtp.login("carol@example.test", "pass:word")
            smtp.sendmail("carol@example.test", ["carol@example.test"], "Subject: Hello\r\n\r\nHello.\r\n")
        with imaplib.IMAP4_SSL("localhost", facts["ports"]["imaps"], ssl_context=trust, timeout=DEADLINE) as imap:
            imap.login("carol@example.test", "pass:word")
            assert imap.select()[1] == [b"1"]
        assert child.end(number) == 0
        assert not file.exists()
        assert child.errors() == ""


def test_the_dialogue_is_printed_when_asked_for_with_secrets_masked(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    with serving("gmail", "--endpoints", str(file), "--quirk", "bad-credentials", "--verbose") as child:
        facts = endpoints(file, child)
        with smtplib.SMTP("localhost", facts["ports"]["submission"], timeout=DEADLINE) as smtp:
            smtp.starttls(context=ssl.create_default_context(cafile=facts["ca_file"]))
            with pytest.raises(smtplib.SMTPAuthenticationError, match="BadCredentials"):
                smtp.login("alice@example.test", "secret")
        line = child.line_with("C: AUTH")
        assert "***" in line
        assert "TLSv1" in line
        assert "(rule bad-credentials)" in child.line_with("S: 535")
        assert child.end() == 0


def test_rules_from_a_file_act(tmp_path: Path) -> None:
    rules, file = tmp_path / "rules.yaml", tmp_path / "endpoints.json"
    rules.write_text("rules:\n  - {name: full, at: smtp.mail, reply: 452 4.3.1 full}\n", encoding="utf-8")
    with serving("--rules", str(rules), "--endpoints", str(file)) as child:
        facts = endpoints(file, child)
        with smtplib.SMTP("localhost", facts["ports"]["smtp"], timeout=DEADLINE) as smtp:
            smtp.ehlo()
            assert smtp.mail("x@example.test") == (452, b"4.3.1 full")
        assert child.end() == 0


def test_an_old_endpoint_file_goes_first_and_a_port_in_use_is_said(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    file.write_text("{}", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving("--endpoints", str(file), "--port", f"imap={port}") as child:
            assert child.process.wait(DEADLINE) == 2
            errors = child.errors()
    assert errors.startswith(f"mailrig: imap: cannot listen on 127.0.0.1:{port}: ")
    assert "choose another with --port" in errors
    assert not file.exists()


def test_mail_is_kept_between_runs(tmp_path: Path) -> None:
    file, data = tmp_path / "endpoints.json", tmp_path / "mail"
    for run in (1, 2):
        with serving("--endpoints", str(file), "--data", str(data)) as child:
            facts = endpoints(file, child)
            with smtplib.SMTP("localhost", facts["ports"]["smtp"], timeout=DEADLINE) as smtp:
                smtp.sendmail("x@example.test", ["bob@example.test"], f"Subject: {run}\r\n\r\nHello.\r\n")
            with imaplib.IMAP4("localhost", facts["ports"]["imap"], timeout=DEADLINE) as imap:
                imap.login("bob@example.test", "secret")
                assert imap.select()[1] == [str(run).encode()]
                if run == 1:
                    imap.store("1", "+FLAGS", "(\\Seen)")
                else:
                    assert imap.search(None, "SEEN")[1] == [b"1"]
            assert child.end() == 0


def test_a_port_can_be_chosen(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving("--endpoints", str(file), "--port", f"pop3={port}") as child:
        assert endpoints(file, child)["ports"]["pop3"] == port
        assert child.end() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quirk", "nosuch"], 'mailrig: --quirk: unknown quirk of generic "nosuch"'),
        (["--port", "imap"], "mailrig: invalid value for '--port': 'imap' is not SERVICE=N"),
        (["--port", "imap=70000"], "mailrig: invalid value for '--port'"),
        (["gmail", "--port", "imap=0"], 'mailrig: --port: unknown service of gmail "imap": did you mean "imaps"?'),
        (["--port", "http=0"], "mailrig: --port http: that service is not built yet"),
        (["--user", "alice@example.test"], "mailrig: invalid value for '--user': 'alice@example.test' has no password"),
        (["--data", "/dev/null"], "mailrig: --data: /dev/null cannot be used: it is no folder"),
        (["--data", "x" * 5000], "mailrig: --data: "),
        (["--rules", "nosuch.yaml"], "mailrig: nosuch.yaml: cannot be read"),
    ],
)
def test_mistakes_are_said_before_anything_runs(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(["serve", *arguments]) == 2
    assert capsys.readouterr().err.startswith(message)


def test_a_bad_file_of_rules_is_told_with_line_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    text = "rules:\n  - {name: a, att: smtp.mail}\n  - {name: b, at: smtp.mail, handshake: stall}\n"
    Path("rules.yaml").write_text(text, encoding="utf-8")
    assert main(["serve", "--rules", "rules.yaml"]) == 2
    assert 'rules.yaml:2:15: unknown key "att": did you mean "at"?' in capsys.readouterr().err
    Path("rules.yaml").write_text(text.replace("att", "at"), encoding="utf-8")
    assert main(["serve", "--rules", "rules.yaml"]) == 2
    assert capsys.readouterr().err.startswith("rules.yaml:3:30: handshake acts only at a TLS handshake")


def test_an_endpoint_file_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main(["serve", "--endpoints", str(tmp_path)]) == 2
    assert "it is a folder" in capsys.readouterr().err
