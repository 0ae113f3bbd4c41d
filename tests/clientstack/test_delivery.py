"""Who sends when: one holder of the lease, urgent mail first, groups of commands, limits known beforehand."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.clientstack import Message, Outbox, Settings, limits, smtp

from .scripted import ScriptedServer
from .test_outbox import EML, ONE, OPEN, QUIT, flush, mail, outcomes, send

Make = Callable[..., dict[str, Any]]
TALKING = OPEN.replace("250-8BITMIME", "250-PIPELINING")


def urgent(name: str, to: str = "bob@example.test") -> Message:
    return Message(name, "alice@example.test", (to,), EML, urgent=True)


def accepted(to: str = "bob@example.test") -> str:
    return ONE.replace("bob@", to.partition("@")[0] + "@") + "S: 250 Ok\n"


# -- the lease ----------------------------------------------------------------------------


def test_another_sender_is_waited_for_in_vain(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    tmp_path.mkdir(exist_ok=True)
    with (tmp_path / "sender.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        report = send(outgoing(1, timeout=0.05), tmp_path, now)
    assert outcomes(report) == ["deferred"]
    assert report["results"][0]["error"]["text"] == "another process sends now"
    with ScriptedServer(OPEN + accepted() + QUIT) as server:
        assert outcomes(flush(outgoing(server.port), tmp_path, now)) == ["sent"]


def test_a_sender_that_was_killed_holds_nothing(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    code = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'ab')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "sender.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    holder.stdin.close()
    holder.stdout.close()
    with ScriptedServer(OPEN + accepted() + QUIT) as server:
        assert outcomes(send(outgoing(server.port), tmp_path, now)) == ["sent"]


def test_urgent_mail_of_another_process_goes_in_between(
    outgoing: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.clientstack.outbox._LOOK_FOR_URGENT", 0.0)
    first = OPEN + ONE + "!signal\nS: 250 Ok\n"
    with ScriptedServer(first + accepted("carol@example.test") + accepted() + QUIT) as server:
        settings = outgoing(server.port)

        def other() -> None:
            assert server.reached.wait(5)
            reports.append(send(settings, tmp_path, now, urgent("reset", "carol@example.test")))

        # The other one has to be in the queue before the first message is done: the server waits for it.
        reports: list[dict[str, Any]] = []
        slow = threading.Thread(target=other)
        real = smtp.SmtpSession.send

        def held_back(self: smtp.SmtpSession, *args: Any) -> Any:
            result = real(self, *args)
            with Outbox(Settings.from_json(settings), tmp_path, now) as outbox:
                while not outbox.queue.overview("not-done") or "reset" not in {
                    row["message"] for row in outbox.queue.overview()
                }:
                    threading.Event().wait(0.005)
            return result

        calls = iter([held_back])
        monkeypatch.setattr(smtp.SmtpSession, "send", lambda self, *args: next(calls, real)(self, *args))
        slow.start()
        report = send(settings, tmp_path, now, mail("m1"), mail("m2"))
        slow.join(10)
    assert outcomes(report) == ["sent", "sent"]
    assert outcomes(reports[0]) == ["sent"]


def test_urgent_mail_of_the_same_request_goes_first(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(OPEN + accepted("carol@example.test") + accepted() + QUIT) as server:
        report = send(outgoing(server.port), tmp_path, now, mail("m1"), urgent("reset", "carol@example.test"))
    assert [result["message"] for result in report["results"]] == ["m1", "reset"]
    assert outcomes(report) == ["sent", "sent"]


# -- groups of commands ---------------------------------------------------------------------

GROUP = "C: MAIL .*\nC: RCPT .*\nC: DATA\n"


def grouped(
    script: str, outgoing: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch, rest: str = QUIT
) -> dict[str, Any]:
    """The report of three messages, the second one sent in a group."""
    monkeypatch.setattr(smtp, "_TRUSTED_AFTER", 1)
    with ScriptedServer(TALKING + accepted() + GROUP + script + rest) as server:
        return send(outgoing(server.port), tmp_path, now, mail("m1"), mail("m2"), mail("m3"))


def test_a_group_is_sent(outgoing: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    all_well = "S: 250\nS: 250\nS: 354\n!data\nS: 250\n"
    assert outcomes(grouped(all_well + GROUP + all_well, outgoing, tmp_path, now, monkeypatch)) == ["sent"] * 3


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("S: 550 5.7.1 no\nS: 503\nS: 503\nC: RSET\nS: 250\n", ("failed", "sender-refused")),
        ("S: 250\nS: 550 5.1.1 no\nS: 503\nC: RSET\nS: 250\n", ("failed", "recipient-refused")),
        ("S: 250\nS: 451 later\nS: 354\nC: \\.\nS: 554\nC: RSET\nS: 250\n", ("deferred", "temporary")),
        ("S: 250\nS: 250\nS: 452 no space\nC: RSET\nS: 250\n", ("deferred", "temporary")),
        ("S: 250\nS: 250\nS: 354\n!data\nS: 554 no\nC: RSET\nS: 250\n", ("failed", "message-refused")),
    ],
)
def test_a_refusal_in_a_group(
    script: str,
    expected: tuple[str, str],
    outgoing: Make,
    tmp_path: Path,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rest = GROUP + "S: 250\nS: 250\nS: 354\n!data\nS: 250\n" + QUIT
    report = grouped(script, outgoing, tmp_path, now, monkeypatch, rest)
    assert outcomes(report) == ["sent", expected[0], "sent"]
    assert report["results"][1]["error"]["category"] == expected[1]


def test_a_connection_lost_in_a_group(
    outgoing: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "_TRUSTED_AFTER", 1)
    with ScriptedServer(
        TALKING + accepted() + GROUP + "S: 250\n!close", OPEN + accepted() + accepted() + QUIT
    ) as server:
        report = send(outgoing(server.port), tmp_path, now, mail("m1"), mail("m2"), mail("m3"))
    assert outcomes(report) == ["sent"] * 3


# -- limits known beforehand ------------------------------------------------------------------


def limited(monkeypatch: pytest.MonkeyPatch, **known: int) -> None:
    monkeypatch.setattr(limits, "known_limits", lambda host: limits.Known(**known))


def test_messages_per_connection(
    outgoing: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, per_connection=2)
    two = OPEN + accepted() * 2 + QUIT
    with ScriptedServer(two, two, OPEN + accepted() + QUIT) as server:
        report = send(outgoing(server.port), tmp_path, now, *(mail(f"m{number}") for number in range(5)))
    assert outcomes(report) == ["sent"] * 5


def test_messages_per_minute_outlive_the_process(
    outgoing: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, per_minute=2)
    with ScriptedServer(OPEN + accepted() + QUIT, OPEN + accepted() + QUIT, OPEN + accepted() + QUIT) as server:
        settings = outgoing(server.port)
        assert outcomes(send(settings, tmp_path, now, mail("m0"))) == ["sent"]
        later = now + timedelta(seconds=40)
        report = send(settings, tmp_path, later, mail("m1"), mail("m2"))
        assert outcomes(report) == ["sent", "deferred"]
        assert report["rate_limited_until"] == "2026-11-22T08:01:00Z"
        assert outcomes(flush(settings, tmp_path, later)) == ["deferred"]
        assert outcomes(flush(settings, tmp_path, now + timedelta(seconds=61))) == ["sent"]


def test_the_table_of_providers() -> None:
    assert limits.known_limits("SMTP.office365.com.").per_minute == 30
    assert limits.known_limits("mail.example.test") == limits.Known()
