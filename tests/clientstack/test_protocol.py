"""The child process: its replies, its manners, and what a SIGKILL leaves behind."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.clientstack.protocol import FEATURES, answer

from .scripted import ScriptedServer
from .test_outbox import EML, ONE, OPEN, QUIT

Make = Callable[..., dict[str, Any]]
NOW = "2026-11-22T08:00:00Z"


class Child:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.clientstack"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        reply: dict[str, Any] = json.loads(self.process.stdout.readline())
        return reply

    def ask(self, **request: Any) -> dict[str, Any]:
        self.say(json.dumps(request).encode())
        return self.hear()

    def end(self, *, kill: bool = False) -> int:
        if kill:
            self.process.kill()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(10)


@pytest.fixture
def child() -> Iterator[Child]:
    started = Child()
    yield started
    if started.process.poll() is None:
        started.end(kill=True)


def request(settings: dict[str, Any], state: Path, action: str, **more: Any) -> dict[str, Any]:
    return {"id": 5, "action": action, "settings": settings, "state_dir": str(state), "now": NOW, **more}


def mail(name: str = "m1", eml: bytes = EML) -> dict[str, Any]:
    return {
        "id": name,
        "from": "alice@example.test",
        "to": ["bob@example.test"],
        "eml_base64": base64.b64encode(eml).decode(),
    }


def test_hello_then_end_of_input(child: Child) -> None:
    hello = child.ask(id=0, action="hello")
    assert (hello["id"], hello["protocol"], hello["name"]) == (0, 1, "reference")
    assert hello["features"] == list(FEATURES)
    assert child.end() == 0


def test_bad_requests_are_answered(child: Child) -> None:
    for line in (b"garbage", b"[]", b'{"id": 1}', b'{"id": 1, "action": ["send"]}', b"\xff", b"[" * 5000):
        child.say(line)
        assert child.hear()["error"]["category"] == "config"
    assert child.ask(id=9, action="hello")["id"] == 9


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": None},
        {"settings": {}},
        {"settings": {"outgoing": {"host": "x", "port": "many"}}},
        {"settings": {"outgoing": {"host": "x", "auth": "magic"}}},
        {"settings": {"outgoing": {"host": "a b"}}},
        {"now": "yesterday"},
        {"state_dir": None},
        {"state_dir": "/proc/nowhere"},
        {"dial": ["x"]},
        {"messages": None},
        {"messages": [{"id": "m1", "from": 1, "to": [], "eml_base64": ""}]},
        {"messages": [{"id": "m1", "from": "a@b.c", "to": ["d@e.f"], "eml_base64": "%%%"}]},
    ],
)
def test_wrong_values_are_config_errors(changes: dict[str, Any], outgoing: Make, tmp_path: Path) -> None:
    reply = answer(request(outgoing(1), tmp_path, "send", messages=[mail()]) | changes)
    assert reply["id"] == 5
    assert reply["error"]["category"] == "config"


def test_unknown_operations_and_graph_are_unsupported(outgoing: Make, tmp_path: Path) -> None:
    reply = answer(request(outgoing(1), tmp_path, "business", operation="juggle"))
    assert (reply["ok"], reply["error"]["category"]) == (False, "unsupported")
    settings = outgoing(1) | {"graph": {"tenant_id": "t", "client_id": "c", "client_secret": "s"}}
    results = answer(request(settings, tmp_path, "send", messages=[mail()]))["results"]
    assert (results[0]["outcome"], results[0]["error"]["category"]) == ("failed", "unsupported")


def test_dial_maps_host_and_default_port(outgoing: Make, tmp_path: Path) -> None:
    with ScriptedServer(OPEN + ONE + "S: 250 Ok" + QUIT) as server:
        settings = outgoing(25, host="mail.example.test")
        settings["outgoing"]["port"] = None
        dial = {"mail.example.test:25": f"127.0.0.1:{server.port}"}
        reply = answer(request(settings, tmp_path, "send", messages=[mail()], dial=dial))
    assert reply["results"][0]["outcome"] == "sent"


def test_a_port_after_a_comma_wins(outgoing: Make, tmp_path: Path) -> None:
    with ScriptedServer(OPEN + ONE + "S: 250 Ok" + QUIT) as server:
        settings = outgoing(1, host=f"127.0.0.1,{server.port}")
        reply = answer(request(settings, tmp_path, "send", messages=[mail()]))
    assert reply["results"][0]["outcome"] == "sent"


def test_a_long_line_is_taken(child: Child, outgoing: Make, tmp_path: Path) -> None:
    big = EML + b"x" * 3_000_000
    with ScriptedServer(OPEN.replace("SIZE 1000", "SIZE") + ONE + "S: 250 Ok" + QUIT) as server:
        reply = child.ask(**request(outgoing(server.port), tmp_path, "send", messages=[mail(eml=big)]))
    assert reply["results"][0]["outcome"] == "sent"


def test_secrets_are_masked_even_when_the_server_repeats_them(outgoing: Make, tmp_path: Path) -> None:
    script = (
        "S: 220 Hi\nC: EHLO .*\nS: 250-Hi\nS: 250 AUTH PLAIN\nC: AUTH .*\nS: 535 no AGFsaWNlAHNlc2FtZQ== for sesame\n"
    )
    with ScriptedServer(script + QUIT) as server:
        settings = outgoing(server.port, auth="plain", username="alice", password="sesame", allow_cleartext=True)
        reply = answer(request(settings, tmp_path, "test_outgoing", to=None))
    text = json.dumps(reply)
    assert reply["error"]["category"] == "authentication"
    assert "sesame" not in text
    assert "AGFsaWNlAHNlc2FtZQ" not in text


@pytest.mark.parametrize("at", ["MAIL", "DATA", "message"])
def test_a_killed_client_loses_nothing(at: str, child: Child, outgoing: Make, tmp_path: Path) -> None:
    steps = {"MAIL": "C: MAIL .*", "DATA": ONE.partition("S: 354")[0], "message": ONE}
    again = OPEN + ONE + "S: 250 Ok" + QUIT
    with ScriptedServer(OPEN + steps[at] + "\n!signal\n!hold", again) as server:
        asked = request(outgoing(server.port), tmp_path, "send", messages=[mail(eml=b"Subject: x\n\ny\n")])
        child.say(json.dumps(asked).encode())
        assert server.reached.wait(10)
        child.end(kill=True)
        reply = answer(request(outgoing(server.port), tmp_path, "flush"))
    assert [result["outcome"] for result in reply["results"]] == ["sent"]
    assert reply["results"][0]["message"] == "m1"
    assert len(set(server.data)) == 1


def test_what_was_sent_before_the_kill_is_not_sent_again(child: Child, outgoing: Make, tmp_path: Path) -> None:
    with ScriptedServer(
        OPEN + ONE + "S: 250 Ok\nC: MAIL .*\n!signal\n!hold", OPEN + ONE + "S: 250 Ok" + QUIT
    ) as server:
        asked = request(outgoing(server.port), tmp_path, "send", messages=[mail("m1"), mail("m2")])
        child.say(json.dumps(asked).encode())
        assert server.reached.wait(10)
        child.end(kill=True)
        reply = answer(request(outgoing(server.port), tmp_path, "flush"))
    assert [result["message"] for result in reply["results"]] == ["m2"]
    assert len(server.data) == 2
