from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.drivers import ClientFailed, ClientSilent, command_words, open_client
from harness.drivers.command import SAVED_ENVIRONMENT, CommandClient

PROGRAM = str(Path(__file__).with_name("scripted_client.py"))
Opener = Callable[..., CommandClient]


@pytest.fixture
def opened() -> Iterator[Opener]:
    with ExitStack() as clients:

        def start(*arguments: str) -> CommandClient:
            client = CommandClient([sys.executable, PROGRAM, *arguments])
            clients.callback(client.close)
            return client

        yield start


def test_hello_tells_who_it_is(opened: Opener) -> None:
    client = opened()
    assert (client.name, client.version, client.features) == ("scripted", "1.2", ["send", "queue", "starttls"])


def test_requests_go_one_after_another_to_one_process(opened: Opener) -> None:
    client = opened()
    for _ in range(3):
        assert client.ask("send", {}, 10) == {"results": [], "rate_limited_until": None}


@pytest.mark.parametrize(
    ("manner", "error", "words"),
    [
        ("silent", ClientSilent, "no reply within 0.2 s"),
        ("dies", ClientSilent, "ended with status 3 without a reply"),
        ("not-json", ClientFailed, "not JSON: hello there"),
        ("wrong-id", ClientFailed, "does not repeat the request's id 1"),
        ("wrong-category", ClientFailed, r"results.0.error.category"),
    ],
)
def test_what_is_no_reply(opened: Opener, manner: str, error: type[Exception], words: str) -> None:
    limit = 0.2 if manner == "silent" else 10
    with pytest.raises(error, match=words):
        opened(manner).ask("send", {}, limit)


def test_it_goes_on_after_a_failed_reply(opened: Opener) -> None:
    client = opened("dies")
    for _ in range(2):
        with pytest.raises(ClientSilent):
            client.ask("send", {}, 10)


def test_a_reply_of_any_length(opened: Opener) -> None:
    assert len(opened("long").ask("send", {}, 10)["results"][0]["message"]) == 3_000_000


def test_a_program_that_ends_after_its_reply_is_started_again_but_not_greeted_again(
    opened: Opener, tmp_path: Path
) -> None:
    client = opened("twice-greeted", str(tmp_path / "mark"))
    for _ in range(3):
        assert client.ask("send", {}, 10)["results"] == []


@pytest.mark.parametrize("manner", ["leaves", "leaves-crossly"])
def test_how_it_left_after_a_reply_does_not_matter(opened: Opener, manner: str) -> None:
    client = opened(manner)
    for _ in range(4):
        assert client.ask("send", {}, 10)["results"] == []


def test_restart_and_kill_give_a_new_process(opened: Opener) -> None:
    client = opened()
    client.ask("send", {}, 10)
    client.restart()
    assert client.ask("send", {}, 10)["results"] == []
    client.kill()
    assert client.ask("send", {}, 10)["results"] == []


def test_a_kill_from_another_thread_ends_the_wait(opened: Opener) -> None:
    client = opened("silent")
    threading.Timer(0.1, client.kill).start()
    started = time.monotonic()
    with pytest.raises(ClientSilent, match="without a reply"):
        client.ask("send", {}, 30)
    assert time.monotonic() - started < 20


def test_complaints_are_kept(opened: Opener) -> None:
    client = opened("complains")
    client.ask("send", {}, 10)
    deadline = time.monotonic() + 10
    text = ""
    while "odd" not in text and time.monotonic() < deadline:
        text += client.complaints()
    assert text == "something is odd\n"


def test_the_client_gets_the_users_own_environment(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv(SAVED_ENVIRONMENT, json.dumps({"PYTHONSAFEPATH": None, "PYTEST_ADDOPTS": "-x"}))
    seen = json.loads(opened("environment").ask("send", {}, 10)["results"][0]["message"])
    assert "PYTHONSAFEPATH" not in seen
    assert SAVED_ENVIRONMENT not in seen
    assert seen["PYTEST_ADDOPTS"] == "-x"


def test_names_and_commands() -> None:
    with pytest.raises(ClientFailed, match='did you mean "reference"'):
        open_client("refrence")
    with pytest.raises(ClientFailed, match="there is no program"):
        open_client("reference", "/no/such/program --flag")
    assert command_words("python 'a b.py' --x") == ["python", "a b.py", "--x"]
    with pytest.raises(ValueError, match="empty"):
        command_words("  ")
