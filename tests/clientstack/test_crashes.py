"""A process is killed at every point where it talks to disk or server: nothing is lost, nothing is sent twice unless it
is marked in doubt, nothing is handed over twice. And disks, files and clocks that fail."""

from __future__ import annotations

import base64
import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeMailHost
from fakeservers.mailstore import Message as StoredMail
from harness.clientstack import Mailbox, MailError, Message, Outbox, Queue, Settings
from harness.clientstack.store import Store

ROOT = Path(__file__).parents[2]
NOW = "2026-11-22T08:00:00Z"
MOMENT = datetime(2026, 11, 22, 8, tzinfo=UTC)
MESSAGES = 3


@pytest.fixture
def host() -> Iterator[FakeMailHost]:
    with FakeMailHost("generic") as running:
        yield running


def settings(host: FakeMailHost, incoming: str = "imap", **changes: Any) -> dict[str, Any]:
    ports = host.endpoints()["ports"]
    common = {"host": "127.0.0.1", "security": "none", "timeout": 5}
    reading = {"username": "alice@example.test", "password": "secret", "allow_cleartext": True, "completed": ""}
    return {
        "outgoing": {**common, "port": ports["smtp"], "from_address": "alice@example.test"},
        "incoming": {**common, **reading, "protocol": incoming, "port": ports[incoming], **changes},
    }


def eml(number: int) -> bytes:
    return f"From: a@b.test\r\nSubject: m{number}\r\nMessage-ID: <{number}@b.test>\r\n\r\nText {number}\r\n".encode()


def subject_of(raw: bytes) -> str:
    return raw.partition(b"Subject: ")[2].split()[0].decode()


def send_request(given: dict[str, Any], state: Path, count: int = MESSAGES) -> dict[str, Any]:
    messages = [
        {
            "id": f"m{number}",
            "from": "alice@example.test",
            "to": ["bob@example.test"],
            "eml_base64": base64.b64encode(eml(number)).decode(),
        }
        for number in range(count)
    ]
    return {"id": 1, "action": "send", "settings": given, "state_dir": str(state), "now": NOW, "messages": messages}


def fetch_request(given: dict[str, Any], state: Path) -> dict[str, Any]:
    return {"id": 1, "action": "fetch", "settings": given, "state_dir": str(state), "now": NOW}


def ask(at: int, request: dict[str, Any]) -> tuple[dict[str, Any] | None, int]:
    """The reply of a process that dies at a point, None where it died before; and how many points there were."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.clientstack.killed", str(at)],
        input=json.dumps(request).encode() + b"\n",
        capture_output=True,
        cwd=ROOT,
        timeout=50,
    )
    line = done.stdout.partition(b"\n")
    reply = json.loads(line[0]) if line[1] else None
    return reply, int(done.stderr.split()[-1]) if done.returncode == 0 else 0


def some(points: int, count: int, seed: int) -> list[int]:
    """Every point before and after which to die, or so many of them."""
    every = range(1, 2 * points + 1)
    return sorted(random.Random(seed).sample(every, min(count, len(every))))


def check_sending(host: FakeMailHost, state: Path, at: int, count: int = MESSAGES) -> None:
    given = settings(host)
    reply, _ = ask(at, send_request(given, state, count))
    doubtful = set()
    if (state / "mail.sqlite3").exists():
        with Store(state) as store:
            queue = Queue(store, MOMENT)
            doubtful = {row["message"] for row in queue.overview("in-doubt")}
            queued = {row["message"] for row in queue.overview()}
        # All or none were taken over: a caller without a reply asks again.
        assert queued in (set(), {f"m{number}" for number in range(count)}), at
    else:
        queued = set()
    again, _ = ask(
        0, send_request(given, state, count) if not queued else {**fetch_request(given, state), "action": "flush"}
    )
    assert again is not None, at
    arrived = Counter(map(subject_of, (message.raw for message in host.messages("bob@example.test"))))
    assert set(arrived) == {f"m{number}" for number in range(count)}, (at, arrived, reply)
    twice = {name for name, times in arrived.items() if times > 1}
    assert twice <= doubtful, (at, twice, doubtful)
    assert max(arrived.values()) <= 2


def check_reading(host: FakeMailHost, state: Path, at: int, protocol: str) -> None:
    given = settings(host, protocol)
    handed: list[str] = []
    unacknowledged: set[str] = set()
    for point in (at, 0, 0):
        reply, points = ask(point, fetch_request(given, state))
        if reply is not None:
            assert point == at or reply["error"] is None, (at, reply["error"])
            subjects = [subject_of(base64.b64decode(each["eml_base64"])) for each in reply["messages"]]
            handed += subjects
            if not points:
                # It died between writing its reply and noting so. Nobody can close that gap; it may only lead to
                # handing over again, never to losing.
                unacknowledged |= set(subjects)
    counts = Counter(handed)
    assert set(counts) == {f"m{number}" for number in range(MESSAGES)}, (at, counts)
    assert {name for name, count in counts.items() if count > 1} <= unacknowledged, (at, counts)


def with_mail(host: FakeMailHost) -> None:
    account = host.store.account("alice@example.test")
    assert account is not None
    inbox = account.mailbox("INBOX")
    assert inbox is not None
    for number in range(MESSAGES):
        inbox.add(StoredMail(eml(number), mail_from="carol@example.test", rcpt_to=("alice@example.test",)))


def points_of(request: Callable[[FakeMailHost, Path], dict[str, Any]], state: Path, *, mail: bool = False) -> int:
    with FakeMailHost("generic") as host:
        if mail:
            with_mail(host)
        reply, points = ask(0, request(host, state))
    assert reply is not None
    assert points > 20
    return points


def sending_points(tmp_path: Path) -> int:
    return points_of(lambda host, state: send_request(settings(host), state), tmp_path / "counted")


def reading_points(tmp_path: Path, protocol: str) -> int:
    return points_of(
        lambda host, state: fetch_request(settings(host, protocol), state), tmp_path / "counted", mail=True
    )


@pytest.mark.parametrize("seed", [1])
def test_killed_while_sending(seed: int, tmp_path: Path) -> None:
    for at in some(sending_points(tmp_path), 6, seed):
        with FakeMailHost("generic") as host:
            check_sending(host, tmp_path / str(at), at)


def test_killed_while_sending_in_groups(tmp_path: Path) -> None:
    many = 14
    points = points_of(lambda host, state: send_request(settings(host), state, many), tmp_path / "counted")
    for at in random.Random(3).sample(range(points, 2 * points), 4):
        with FakeMailHost("generic") as host:
            check_sending(host, tmp_path / str(at), at, many)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_killed_at_every_point_of_a_group(tmp_path: Path) -> None:
    many = 13
    points = points_of(lambda host, state: send_request(settings(host), state, many), tmp_path / "counted")
    for at in range(2 * points - 120, 2 * points + 1):
        with FakeMailHost("generic") as host:
            check_sending(host, tmp_path / str(at), at, many)


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_killed_while_reading(protocol: str, tmp_path: Path) -> None:
    for at in some(reading_points(tmp_path, protocol), 4, 2):
        with FakeMailHost("generic") as host:
            with_mail(host)
            check_reading(host, tmp_path / str(at), at, protocol)


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("what", ["send", "imap", "pop3"])
def test_killed_at_every_point(what: str, after: int, tmp_path: Path) -> None:
    points = sending_points(tmp_path) if what == "send" else reading_points(tmp_path, what)
    assert points >= 50, "the six of them are to be over 300 kills"
    for at in range(1 + after, 2 * points + 1, 2):
        with FakeMailHost("generic") as host:
            if what == "send":
                check_sending(host, tmp_path / str(at), at)
            else:
                with_mail(host)
                check_reading(host, tmp_path / str(at), at, what)


# -- disks, files and clocks -----------------------------------------------------------------


def message(name: str = "m1") -> Message:
    return Message(name, "alice@example.test", ("bob@example.test",), eml(1))


class FullDisk(sqlite3.Connection):
    """Takes so many changes, then none any more."""

    left = 0

    def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
        if statement.startswith(("INSERT", "UPDATE", "COMMIT")):
            FullDisk.left -= 1
            if FullDisk.left < 0:
                raise sqlite3.OperationalError("database or disk is full")
        return super().execute(statement, *args)


@pytest.mark.parametrize("left", range(12))
def test_a_full_disk_is_named_and_loses_nothing(
    left: int, host: FakeMailHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path).close()
    typed = Settings.from_json(settings(host))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, factory=FullDisk, **more))
    FullDisk.left = left
    with Outbox(typed, tmp_path, MOMENT) as outbox:
        try:
            outbox.send([message()])
            refused = False
        except MailError as error:
            refused = True
            words = str(error)
    if refused:
        assert "disk is full" in words
    monkeypatch.undo()
    with Outbox(typed, tmp_path, MOMENT) as outbox:
        outbox.send([message()])
    found = len(host.messages("bob@example.test"))
    # What was sent before the disk could say so is in doubt, and comes twice at most.
    assert 1 <= found <= 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_file_is_named(host: FakeMailHost, tmp_path: Path) -> None:
    Store(tmp_path).close()
    (tmp_path / "mail.sqlite3").chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with (
            pytest.raises(MailError, match="state file"),
            Outbox(Settings.from_json(settings(host)), tmp_path, MOMENT) as box,
        ):
            box.send([message()])
    finally:
        tmp_path.chmod(0o700)
    assert not host.messages("bob@example.test")


def test_a_file_that_cannot_be_written_is_named(
    host: FakeMailHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path).close()
    connect = sqlite3.connect

    def readonly(path: Any, **more: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(f"file:{path}?mode=ro", uri=True, **more)
        return opened

    monkeypatch.setattr(sqlite3, "connect", readonly)
    with (
        pytest.raises(MailError, match=r"cannot be (written|used)"),
        Outbox(Settings.from_json(settings(host)), tmp_path, MOMENT) as box,
    ):
        box.send([message()])
    assert not host.messages("bob@example.test")


def test_a_locked_database_is_named_and_loses_nothing(
    host: FakeMailHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path).close()
    typed = Settings.from_json(settings(host))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **more: connect(path, **{**more, "timeout": 0.05}))
    holder = connect(tmp_path / "mail.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Outbox(typed, tmp_path, MOMENT) as outbox, pytest.raises(MailError, match="locked"):
        outbox.send([message()])
    with Mailbox(typed, tmp_path, MOMENT) as mailbox:
        with_mail(host)
        fetched = mailbox.fetch()
    assert fetched.error is not None
    assert "locked" in fetched.error.text
    holder.execute("ROLLBACK")
    holder.close()
    with Outbox(typed, tmp_path, MOMENT) as outbox:
        assert [each.outcome for each in outbox.send([message()]).results] == ["sent"]
    with Mailbox(typed, tmp_path, MOMENT) as mailbox:
        assert len(mailbox.fetch().messages) == MESSAGES


def test_a_file_that_is_no_database_is_named_and_let_go(
    host: FakeMailHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mail.sqlite3").write_bytes(b"not a database, but long enough to look at" * 100)
    opened = sqlite3.connect(tmp_path / "mail.sqlite3")
    monkeypatch.setattr(sqlite3, "connect", lambda *where, **more: opened)
    with pytest.raises(MailError, match="state file"):
        Outbox(Settings.from_json(settings(host)), tmp_path, MOMENT)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened.execute("SELECT 1")


def test_a_clock_that_goes_back_keeps_nothing_waiting(host: FakeMailHost, tmp_path: Path) -> None:
    host.close_service("smtp")
    typed = Settings.from_json(settings(host))
    with Outbox(typed, tmp_path, MOMENT) as outbox:
        assert [each.outcome for each in outbox.send([message()]).results] == ["deferred"]
    with FakeMailHost("generic") as other:
        again = Settings.from_json(settings(other))
        with Outbox(again, tmp_path, MOMENT - timedelta(days=400)) as outbox:
            assert [each.outcome for each in outbox.flush().results] == ["sent"]
        assert len(other.messages("bob@example.test")) == 1
