"""The queue by hand, and what it says of attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.clientstack import MailError, Outbox, Settings, check_outgoing
from harness.clientstack.queue import Queue
from harness.clientstack.queued import DONE, IN_DOUBT, IN_ERROR, NOT_DONE, NOT_WRITTEN, NewMessage
from harness.clientstack.store import Store

from .scripted import ScriptedServer
from .test_delivery import GROUP, accepted, grouped
from .test_outbox import ONE, OPEN, QUIT, error_of, flush, outcomes, send

Make = Callable[..., dict[str, Any]]
BOB, CAROL, DAN = "bob@example.test", "carol@example.test", "dan@example.test"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as opened:
        yield opened


def queued(queue: Queue, *recipients: str) -> int:
    new = NewMessage("m1", "alice@example.test", dict.fromkeys(recipients), b"Subject: x\r\n\r\n", "digest")
    return queue.add_all([new])[0]


def record(queue: Queue, number: int, error: MailError | None, *addresses: str, attempted: bool = True) -> None:
    queue.record(queue.message(number), dict.fromkeys(addresses, error), attempted=attempted, not_before=None)


def states(queue: Queue, number: int) -> dict[str, str]:
    return {recipient.address: recipient.state for recipient in queue.recipients(number)}


def test_back_off_doubles_from_a_minute_to_four_hours(store: Store, now: datetime) -> None:
    number = queued(Queue(store, now), BOB)
    waits = []
    for _ in range(10):
        record(Queue(store, now), number, MailError("temporary", "later", code=450), BOB)
        retry_at = Queue(store, now).recipients(number)[0].retry_at
        assert retry_at is not None
        waits.append(retry_at - now.timestamp())
    assert waits == [60, 120, 240, 480, 960, 1920, 3840, 7680, 14400, 14400]


def test_the_server_says_when(store: Store, now: datetime) -> None:
    queue = Queue(store, now)
    number = queued(queue, BOB)
    record(queue, number, MailError("temporary", "later", code=450, retry_after=7.0), BOB)
    assert queue.recipients(number)[0].retry_at == now.timestamp() + 7


@pytest.mark.parametrize(
    ("age", "category", "state"),
    [
        (timedelta(days=5), "temporary", NOT_DONE),
        (timedelta(days=5, seconds=1), "temporary", IN_ERROR),
        (timedelta(days=9), "rate-limit", NOT_DONE),
    ],
)
def test_temporary_refusals_end_after_five_days_but_limits_do_not(
    age: timedelta, category: str, state: str, store: Store, now: datetime
) -> None:
    number = queued(Queue(store, now), BOB)
    queue = Queue(store, now + age)
    record(queue, number, MailError(category, "later", code=450), BOB)
    assert states(queue, number) == {BOB: state}


def test_resend_takes_up_all_but_the_done_ones_or_the_one_that_is_named(store: Store, now: datetime) -> None:
    queue = Queue(store, now)
    number = queued(queue, BOB, CAROL, DAN)
    record(queue, number, None, BOB)
    record(queue, number, MailError("recipient-refused", "no", code=550), CAROL, DAN)
    assert queue.resend(number, DAN) == 1
    assert states(queue, number) == {BOB: DONE, CAROL: IN_ERROR, DAN: NOT_DONE}
    assert queue.resend(number) == 2
    assert states(queue, number) == {BOB: DONE, CAROL: NOT_DONE, DAN: NOT_DONE}
    assert queue.resend(number, BOB) == 1
    assert states(queue, number)[BOB] == NOT_DONE
    assert [recipient.attempts for recipient in queue.recipients(number)] == [0, 0, 0]
    with pytest.raises(MailError, match="has no such recipient"):
        queue.resend(number, "nobody@example.test")


def test_mark_done_ends_what_is_open(store: Store, now: datetime) -> None:
    queue = Queue(store, now)
    number = queued(queue, BOB, CAROL)
    queue.sending(number, [BOB])
    assert states(queue, number) == {BOB: IN_DOUBT, CAROL: NOT_DONE}
    assert queue.mark_done(number, CAROL) == 1
    assert states(queue, number) == {BOB: IN_DOUBT, CAROL: DONE}
    assert queue.history(number)[-1]["words"] == "marked done by hand"
    assert queue.mark_done(number) == 1
    assert queue.pending_ids() == []
    with pytest.raises(MailError, match="has no such recipient"):
        queue.mark_done(number, BOB)


def test_what_became_of_one_message_is_kept_as_the_next_one_leaves(store: Store, now: datetime) -> None:
    queue = Queue(store, now)
    first, second = queued(queue, BOB, CAROL), queued(queue, BOB, DAN)
    queue.record_and_send(queue.message(first), {BOB: None}, "250 Ok", second, [BOB, DAN])
    assert states(queue, first) == {BOB: DONE, CAROL: NOT_DONE}
    assert states(queue, second) == {BOB: IN_DOUBT, DAN: IN_DOUBT}
    assert queue.history(first)[-1]["words"] == "accepted: 250 Ok"
    record(queue, second, MailError("temporary", "later", code=450), BOB)
    # A doubt once raised stays: a later refusal says nothing about the earlier attempt.
    assert states(queue, second) == {BOB: IN_DOUBT, DAN: IN_DOUBT}


def test_only_an_open_recipient_gets_another_address(store: Store, now: datetime) -> None:
    queue = Queue(store, now)
    number = queued(queue, BOB, CAROL)
    record(queue, number, None, BOB)
    record(queue, number, MailError("recipient-refused", "no", code=550), CAROL)
    for old, new, words in (
        (BOB, DAN, "no open recipient bob"),
        (DAN, "eve@example.test", "no open recipient dan"),
        (CAROL, BOB, "already has the recipient bob"),
        (CAROL, "no address", "address"),
    ):
        with pytest.raises(MailError, match=words):
            queue.edit_address(number, old, new)
    queue.edit_address(number, CAROL, DAN)
    assert states(queue, number) == {BOB: DONE, DAN: NOT_DONE}
    assert [(each["to"], each["state"], each["words"]) for each in queue.history(number)] == [
        (BOB, NOT_DONE, "queued"),
        (CAROL, NOT_DONE, "queued"),
        (BOB, DONE, "accepted"),
        (CAROL, IN_ERROR, "recipient-refused: 550 no"),
        (DAN, NOT_DONE, f"address changed from {CAROL}"),
    ]
    with pytest.raises(MailError, match="no message 9 in this queue"):
        queue.edit_address(9, BOB, DAN)


def test_what_was_never_written_cannot_be_resent(store: Store, now: datetime) -> None:
    queue = Queue(store, now)
    nobody = MailError("config", "nobody to be from")
    [number] = queue.add_all([NewMessage("m1", "", {BOB: nobody}, NOT_WRITTEN + b"no sender", "digest")])
    with pytest.raises(MailError, match="was never written: cause it again"):
        queue.resend(number)
    assert states(queue, number) == {BOB: IN_ERROR}


def attempts(settings: dict[str, Any], state: Path, now: datetime) -> list[int]:
    with Outbox(Settings.from_json(settings), state, now) as outbox:
        return [row["attempts"] for row in reversed(outbox.queue.overview())]


def test_an_attempt_counts_whether_commands_go_in_groups_or_not(
    outgoing: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = "S: 250\nS: 250\nS: 354\n!data\nS: 250\n"
    assert outcomes(grouped(well + GROUP + well, outgoing, tmp_path, now, monkeypatch)) == ["sent"] * 3
    assert attempts(outgoing(1), tmp_path, now) == [1, 1, 1]


def test_waiting_for_a_limit_is_no_attempt_but_a_server_that_is_away_makes_one(
    outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    limited = "C: MAIL FROM:.*\nS: 454 4.7.0 Too many messages, try again in 10 minutes\n"
    with ScriptedServer(OPEN + limited + QUIT) as server:
        settings = outgoing(server.port)
        send(settings, tmp_path, now)
        flush(settings, tmp_path, now + timedelta(minutes=5))
        assert attempts(settings, tmp_path, now) == [1]
    flush(settings, tmp_path, now + timedelta(minutes=11))
    assert attempts(settings, tmp_path, now) == [2]


def test_a_connection_lost_with_the_first_message_is_not_replaced_at_once(
    outgoing: Make, tmp_path: Path, now: datetime
) -> None:
    """It took nothing: another one would fare no better."""
    with ScriptedServer(OPEN + "C: MAIL FROM:.*\n!close") as server:
        report = send(outgoing(server.port), tmp_path, now)
    assert outcomes(report) == ["deferred"]
    assert error_of(report)["category"] == "disconnected"


def test_a_test_mail_needs_an_address_to_be_from(outgoing: Make, now: datetime) -> None:
    error = check_outgoing(Settings.from_json(outgoing(1, from_address="")), None, now, to=BOB).error
    assert error is not None
    assert (error.category, error.text) == ("config", "outgoing.from_address is needed to send a test mail")


def test_what_cannot_be_kept_is_not_sent_nor_held_against_the_message(
    outgoing: Make, tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MailError("config", "the state file cannot be written: the disk is full")

    begun = ONE.replace("!data", "!signal")
    with ScriptedServer(OPEN + begun + "!hold", OPEN + accepted() + QUIT) as server:
        settings = outgoing(server.port, timeout=0.5)
        with monkeypatch.context() as broken:
            broken.setattr(Queue, "sending", full)
            with pytest.raises(MailError, match="the disk is full"):
                send(settings, tmp_path, now)
        assert server.reached.is_set()
        assert outcomes(flush(settings, tmp_path, now)) == ["sent"]
        assert len(server.data) == 1
