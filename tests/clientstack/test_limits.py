"""What an account remembers of a server's limits, and what makes it forget."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.clientstack import MailError, Settings, check_outgoing
from harness.clientstack.ratelimit import RateLimits
from harness.clientstack.store import Store

from .scripted import ScriptedServer
from .test_outbox import ONE, OPEN, QUIT, flush, mail, outcomes, send

Make = Callable[..., dict[str, Any]]

LIMITED = """
C: MAIL FROM:.*
S: 454 4.7.0 Too many messages
C: QUIT
S: 221 Bye
"""


def limited_until(report: dict[str, Any], now: datetime) -> float:
    """Seconds from `now`."""
    return (datetime.fromisoformat(report["rate_limited_until"]) - now).total_seconds()


def test_limits_without_a_time_wait_twice_as_long_each_time_up_to_four_hours(tmp_path: Path, now: datetime) -> None:
    waits = []
    with Store(tmp_path) as store:
        for _ in range(7):
            limit = RateLimits(store, now).hit("account", MailError("rate-limit", "slow down"))
            waits.append(limit.until - now.timestamp())
            now = datetime.fromtimestamp(limit.until, now.tzinfo)
    assert waits == [300, 600, 1200, 2400, 4800, 9600, 14400]


def test_a_limit_holds_to_its_end_and_not_beyond_and_only_for_its_account(tmp_path: Path, now: datetime) -> None:
    with Store(tmp_path) as store:
        RateLimits(store, now).hit("account", MailError("rate-limit", "slow down", retry_after=60.0))
        just_before = RateLimits(store, now + timedelta(seconds=59.9))
        assert just_before.active("account") is not None
        assert just_before.active("another") is None
        over = RateLimits(store, now + timedelta(seconds=60))
        assert over.active("account") is None
        assert over.known("account")
        over.cleared("account")
        assert not over.known("account")


@pytest.mark.parametrize(("to", "wait"), [("bob@example.test", 300.0), (None, 600.0)])
def test_only_a_test_mail_that_arrives_ends_the_back_off(
    to: str | None, wait: float, outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    """A login alone says nothing of a limit on messages."""
    tested = OPEN + (ONE + "S: 250 Ok" if to else "") + QUIT
    with ScriptedServer(OPEN + LIMITED, tested, OPEN + LIMITED) as server:
        settings = outgoing(server.port)
        first = send(settings, tmp_path, now)
        assert limited_until(first, now) == 300.0
        now += timedelta(seconds=300)
        assert check_outgoing(Settings.from_json(settings), tmp_path, now, to=to).ok
        second = flush(settings, tmp_path, now)
    assert limited_until(second, now) == wait


def test_a_test_mail_that_meets_the_limit_sets_it(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(OPEN + LIMITED) as server:
        settings = outgoing(server.port)
        check = check_outgoing(Settings.from_json(settings), tmp_path, now, to="bob@example.test")
        assert check.error is not None
        assert check.error.category == "rate-limit"
        report = send(settings, tmp_path, now)
        assert (outcomes(report), limited_until(report, now)) == (["deferred"], 300.0)
        again = check_outgoing(Settings.from_json(settings), tmp_path, now, to="bob@example.test")
        assert [(stage.stage, stage.ok) for stage in again.stages] == [("rate-limit", False)]
        assert again.error is not None
        assert again.error.text.startswith("rate limited until 2026-11-22T08:05:00Z: ")
        assert server.connections == 1


def test_another_refusal_of_the_test_mail_sets_no_limit(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    refused = "C: MAIL FROM:.*\nS: 550 5.7.1 No\n"
    with ScriptedServer(OPEN + refused + QUIT, OPEN + ONE + "S: 250 Ok" + QUIT) as server:
        settings = outgoing(server.port)
        assert not check_outgoing(Settings.from_json(settings), tmp_path, now, to="bob@example.test").ok
        report = send(settings, tmp_path, now)
    assert (outcomes(report), report["rate_limited_until"]) == (["sent"], None)


def test_success_after_the_limit_ends_the_back_off(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    with ScriptedServer(OPEN + LIMITED, OPEN + ONE + "S: 250 Ok" + QUIT, OPEN + LIMITED) as server:
        settings = outgoing(server.port)
        send(settings, tmp_path, now)
        now += timedelta(seconds=300)
        assert outcomes(flush(settings, tmp_path, now)) == ["sent"]
        assert limited_until(send(settings, tmp_path, now), now) == 300.0


def test_a_limit_met_on_the_way_outlives_the_success_of_the_same_message(
    outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    script = ONE.replace(
        "C: DATA", "C: RCPT TO:<carol@example.test>\nS: 454 4.7.0 Too many messages, try again in 10 minutes\nC: DATA"
    )
    with ScriptedServer(OPEN + script + "S: 250 Ok" + QUIT) as server:
        settings = outgoing(server.port)
        report = send(settings, tmp_path, now, mail("m1", "bob@example.test", "carol@example.test"))
        recipients = report["results"][0]["recipients"]
        assert [each["outcome"] for each in recipients.values()] == ["sent", "deferred"]
        assert limited_until(report, now) == 600.0
        assert limited_until(flush(settings, tmp_path, now + timedelta(minutes=9)), now) == 600.0
        assert server.connections == 1


SPENT = "C: MAIL FROM:.*\nS: 451 4.7.0 Too many messages in this connection\n"


def test_a_spent_connection_is_replaced_and_sets_no_limit(outgoing: Make, tmp_path: Path, now: datetime) -> None:
    one = OPEN + ONE + "S: 250 Ok\n"
    with ScriptedServer(one + SPENT + QUIT, one + SPENT + QUIT, one + QUIT) as server:
        report = send(outgoing(server.port), tmp_path, now, mail("m1"), mail("m2"), mail("m3"))
    assert (outcomes(report), report["rate_limited_until"]) == (["sent"] * 3, None)


def test_a_connection_that_is_spent_before_it_took_anything_is_a_limit(
    outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    """Another one would say the same, and so on for ever."""
    with ScriptedServer(OPEN + SPENT + QUIT) as server:
        report = send(outgoing(server.port), tmp_path, now)
    assert (outcomes(report), limited_until(report, now)) == (["deferred"], 300.0)
