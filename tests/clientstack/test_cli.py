"""`mailrig client`: what a person sees, and that no traceback is part of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.clientstack.cli import client

from .scripted import ScriptedServer
from .test_mailbox import BYE, LOGIN
from .test_outbox import EML, ONE, OPEN, QUIT

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    def act(settings: dict[str, Any], *arguments: str) -> Result:
        path = tmp_path / "settings.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        options = ["--settings", str(path), "--state-dir", str(tmp_path / "state")]
        return CliRunner().invoke(client, [*arguments, *options])

    return act


def test_send_queue_and_flush(run: Callable[..., Result], outgoing: Make, tmp_path: Path) -> None:
    message = tmp_path / "m.eml"
    message.write_bytes(EML)
    with ScriptedServer("S: 421 Busy", OPEN + ONE + "S: 250 Ok" + QUIT) as server:
        settings = outgoing(server.port)
        first = run(settings, "send", "--to", "bobb@example.test", str(message))
        assert first.exit_code == 1
        assert "deferred  m.eml to bobb@example.test: temporary: Busy" in first.output
        edited = run(settings, "queue", "edit-address", "1", "bobb@example.test", "bob@example.test")
        assert edited.exit_code == 0
        assert run(settings, "flush").output == "sent      m.eml to bob@example.test\n"
    listed = json.loads(run(settings, "queue", "list", "--json").output)
    assert [(row["to"], row["state"]) for row in listed] == [("bob@example.test", "done")]


def test_the_test_commands_show_stages_and_dialogue(run: Callable[..., Result], outgoing: Make, incoming: Make) -> None:
    refused = "S: 220 Hi\nC: EHLO .*\nS: 250-Hi\nS: 250 AUTH PLAIN\nC: AUTH .*\nS: 535 5.7.8 No sesame\n"
    with ScriptedServer(refused + QUIT) as server:
        settings = outgoing(server.port, auth="plain", username="a", password="sesame", allow_cleartext=True)
        result = run(settings, "test-outgoing")
    assert result.exit_code == 1
    assert "FAIL auth" in result.output
    assert "who can fix it: mailbox-owner" in result.output
    assert "C: AUTH PLAIN ********" in result.output
    assert "sesame" not in result.output
    with ScriptedServer(LOGIN + "C: LIST\nS! +OK\\r\\n1 9\\r\\n.\\r\\n\n" + BYE) as server:
        result = run(incoming(server.port, "pop3"), "test-incoming")
    assert result.exit_code == 0
    assert "1 messages" in result.output
    assert "logged in with USER" in result.output


def test_a_test_mail(run: Callable[..., Result], outgoing: Make) -> None:
    with ScriptedServer(OPEN + ONE + "S: 250 Ok" + QUIT) as server:
        result = run(outgoing(server.port), "test-outgoing", "--to", "bob@example.test", "--json")
    assert [stage["stage"] for stage in json.loads(result.output)["stages"]] == [
        "resolve", "connect", "greeting", "ehlo", "mail", "rcpt", "data",
    ]  # fmt: skip


def test_ping_is_not_a_mail_test(run: Callable[..., Result], outgoing: Make) -> None:
    with ScriptedServer("S: nonsense") as server:
        assert run(outgoing(server.port), "ping").exit_code == 0
    failed = run(outgoing(1), "ping")
    assert failed.exit_code == 1
    assert "FAIL connect" in failed.output


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({}, ["flush"]),
        ({"outgoing": {"host": "a b"}}, ["queue", "list"]),
        ({"outgoing": {"host": "a.test"}}, ["queue", "resend", "7"]),
        ({"outgoing": {"host": "a.test"}}, ["fetch"]),
        ({"outgoing": {"host": "a.test", "timeout": "long"}}, ["ping"]),
    ],
)
def test_mistakes_are_words(settings: dict[str, Any], arguments: list[str], run: Callable[..., Result]) -> None:
    result = run(settings, *arguments)
    assert result.exit_code == 2
    assert result.output.startswith("error: config:")
    assert isinstance(result.exception, SystemExit)


def test_what_was_left_on_the_server_is_told(run: Callable[..., Result], incoming: Make) -> None:
    listing = "C: LIST\nS! +OK\\r\\n1 5000\\r\\n.\\r\\n\nC: UIDL\nS! +OK\\r\\n1 a1\\r\\n.\\r\\n\n"
    with ScriptedServer(LOGIN + listing + BYE) as server:
        settings = incoming(server.port, "pop3") | {"business": {"bounds": {"largest_message": 1000}}}
        result = run(settings, "fetch", "--json")
    told = json.loads(result.output)
    assert (result.exit_code, told["messages"], told["error"]) == (0, [], None)
    assert "stays on the server" in told["left_on_server"][0]
