"""Waiting for mail: by IDLE, by NOOP where it is not offered, and what a server may say meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from harness.clientstack import Mailbox, MailError, Settings

from .scripted import ScriptedServer
from .test_mailbox import BYE, IDS, LOGIN, OUT, TWO, imap, search, select

Make = Callable[..., dict[str, Any]]

EXAMINED = select().replace("SELECT", "EXAMINE")
NOTHING = search("\\(?UNSEEN\\)?", "")
IDLING = "C: \\S+ IDLE\nS: + idling\n"
DONE = "C: DONE\n"


def opened(capabilities: str = "IMAP4rev1 IDLE") -> str:
    return imap(capabilities) + EXAMINED + NOTHING


def wait(settings: dict[str, Any], state: Path, now: datetime, seconds: float = 5) -> bool:
    with Mailbox(Settings.from_json(settings), state, now) as mailbox:
        return mailbox.wait(seconds)


@pytest.mark.parametrize(
    ("said", "arrived"),
    [
        ("S: * 3 EXISTS\n", True),
        ("S: * OK still here\nS: * 1 EXPUNGE\nS: * 1 EXISTS\nS: * 2 EXISTS\n", True),
        ("S: * OK still here\nS: * 2 EXISTS\n", False),
    ],
)
def test_idle(said: str, arrived: bool, incoming: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(opened() + IDLING + said + DONE + "S: {tag} OK done\n" + OUT) as server:
        found = wait(incoming(server.port, "imap"), tmp_path, now, 5 if arrived else 0.3)
    assert found is arrived


def test_new_mail_is_there_at_once(incoming: Make, tmp_path: Path, now: datetime) -> None:
    script = imap("IMAP4rev1 IDLE") + EXAMINED + search("\\(?UNSEEN\\)?", " 4")
    with ScriptedServer(script + OUT) as server:
        assert wait(incoming(server.port, "imap"), tmp_path, now)


def test_a_refused_idle_is_an_error(incoming: Make, tmp_path: Path, now: datetime) -> None:
    script = opened() + "C: \\S+ IDLE\nS: {tag} NO not now\n" + OUT
    with ScriptedServer(script) as server, pytest.raises(MailError, match="not now"):
        wait(incoming(server.port, "imap"), tmp_path, now)


def test_a_server_that_leaves_while_idle(incoming: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(opened() + IDLING + "S: * BYE restart\n!close") as server, pytest.raises(MailError) as lost:
        wait(incoming(server.port, "imap"), tmp_path, now)
    assert lost.value.category == "disconnected"


def test_noop_where_idle_is_not_offered(
    incoming: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.clientstack.imap._POLL", 0.01)
    noop = "C: \\S+ NOOP\nS: {tag} OK done\nC: \\S+ NOOP\nS: * 3 EXISTS\nS: {tag} OK done\n"
    with ScriptedServer(opened("IMAP4rev1") + noop + OUT) as server:
        assert wait(incoming(server.port, "imap"), tmp_path, now)


def test_pop3_looks(incoming: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(LOGIN + TWO + IDS + BYE) as server:
        assert wait(incoming(server.port, "pop3"), tmp_path, now)
    with ScriptedServer(LOGIN + "C: LIST\nS! +OK\\r\\n.\\r\\n\n" + BYE) as server:
        assert not wait(incoming(server.port, "pop3"), tmp_path, now, 0.1)


def test_two_readers_take_turns(incoming: Make, tmp_path: Path, now: datetime) -> None:
    settings = Settings.from_json(incoming(1, "imap", timeout=0.05))
    with Mailbox(settings, tmp_path, now) as first, Mailbox(settings, tmp_path, now) as second:
        with first.handing_over() as fetched:
            assert fetched.error is not None
            assert fetched.error.category == "connect"
            busy = second.fetch()
        assert busy.error is not None
        assert busy.error.text == "another process reads now"
        again = second.fetch().error
    assert again is not None
    assert again.category == "connect"
