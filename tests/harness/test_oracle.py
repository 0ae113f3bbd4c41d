"""The retry oracle alone: dialogues in, findings out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.observations import Line, Observations, SeenStep
from harness.oracle import findings
from harness.transactions import attempts, message_id

NOW = 1_000_000.0
RAW = b"Message-ID: <m1@x>\r\n\r\nhello\r\n"
OTHER = b"Message-ID: <m2@x>\r\n\r\nhello\r\n"


def line(direction: str, data: bytes, step: int = 1, connection: int = 1, **rest: Any) -> Line:
    given: dict[str, Any] = {
        "step": step, "connection": connection, "service": "smtp", "time": NOW, "elapsed": 0.0, "direction": direction,
        "data": data, "tls": None, "rule": None, "body": False, "facts": {}, **rest,
    }  # fmt: skip
    return Line(**given)


def dialogue(
    *codes: int,
    to: tuple[str, ...] = ("b@x",),
    raw: bytes = RAW,
    step: int = 1,
    connection: int = 1,
    rule: str | None = None,
) -> list[Line]:
    """One connection with one transaction: the codes answer MAIL, each RCPT, DATA and the message, if so many."""
    said = [b"MAIL FROM:<a@x>\r\n", *(f"RCPT TO:<{address}>\r\n".encode() for address in to), b"DATA\r\n", raw]
    lines = [line("S", b"220 hi\r\n", step, connection)]
    for index, code in enumerate(codes):
        last = index == len(said) - 1
        lines.append(line("C", said[index], step, connection, body=last))
        lines.append(line("S", b"%d text\r\n" % code, step, connection, rule=rule if last else None))
    return lines


def step(number: int, outcome: str | None, action: str = "send", *, name: str = "m1", **rest: Any) -> SeenStep:
    results = (
        [] if outcome is None else [{"message": name, "outcome": outcome, "recipients": rest.pop("recipients", {})}]
    )
    reply = {"results": results, "rate_limited_until": rest.pop("until", None)}
    sent = {"m1": RAW, "m2": OTHER} if action == "send" else {}
    sent = rest.pop("sent", sent)
    to = {name: ["b@x"] for name in sent} | rest.pop("to", {})
    return SeenStep(number, action, rest.pop("now", NOW), reply, sent=sent, to=to, account="a", **rest)


def found(steps: list[SeenStep], *parts: list[Line]) -> list[str]:
    observations = Observations(features=[], allow_cleartext=False, services=["smtp"])
    observations.steps = steps
    observations.lines = [line for part in parts for line in part]
    return [one.expectation for one in findings(observations)]


def test_an_honest_client_is_not_found_wanting() -> None:
    assert found([step(1, "sent")], dialogue(250, 250, 354, 250)) == []
    assert found([step(1, "failed")], dialogue(250, 550)) == []
    assert (
        found([step(1, "deferred"), step(2, "sent", "flush")], dialogue(451), dialogue(250, 250, 354, 250, step=2))
        == []
    )


@pytest.mark.parametrize("codes", [(250, 250, 354, 451), (250, 250, 354), (250, 550), ()])
def test_sent_is_true_only_of_what_was_accepted(codes: tuple[int, ...]) -> None:
    assert found([step(1, "sent")], dialogue(*codes)) == ["claims-sent"]


def test_sent_is_true_only_of_recipients_that_were_accepted() -> None:
    both = {"b@x": {"outcome": "sent"}, "C@x": {"outcome": "sent"}}
    assert found([step(1, "sent", recipients=both)], dialogue(250, 250, 550, 354, 250, to=("b@x", "c@x"))) == [
        "claims-sent"
    ]
    assert found([step(1, "sent", recipients=both)], dialogue(250, 250, 250, 354, 250, to=("b@x", "c@x"))) == []


def test_what_was_accepted_is_not_sent_again() -> None:
    again = [dialogue(250, 250, 354, 250), dialogue(250, 250, 354, 250, step=2, connection=2)]
    assert found([step(1, "sent"), step(2, "sent", "flush")], *again) == ["sent-twice"]
    lost = [dialogue(250, 250, 354, 250, rule="lost"), dialogue(250, 250, 354, 250, step=2, connection=2)]
    assert found([step(1, "deferred"), step(2, "sent", "flush")], *lost) == []
    crashed = [step(1, None, crashed=True, silence="killed"), step(2, "sent", "flush")]
    assert found(crashed, *again) == []


def test_a_rate_limit_that_the_client_states_is_kept() -> None:
    limited = step(1, "deferred", until="1970-01-12T14:00:00Z")
    assert found([limited, step(2, "deferred", "flush")], dialogue(450), dialogue(450, step=2, connection=2)) == [
        "too-early"
    ]
    later = step(2, "deferred", "flush", now=NOW + 3600)
    assert found([limited, later], dialogue(450), dialogue(450, step=2, connection=2)) == []


def test_what_failed_for_good_is_not_tried_again() -> None:
    tries = [dialogue(250, 250, 354, 550), dialogue(250, 250, 354, 550, step=2, connection=2)]
    assert found([step(1, "failed"), step(2, None, "flush")], *tries) == ["tried-again"]
    assert found([step(1, "failed"), step(2, "failed")], *tries) == []


def test_what_was_deferred_is_not_given_up() -> None:
    assert found([step(1, "deferred"), step(2, None, "flush")], dialogue(451)) == ["given-up"]
    assert found([step(1, "deferred"), step(2, "failed", "flush")], dialogue(451)) == []


def test_a_person_may_order_a_message_to_be_sent_again() -> None:
    again = [dialogue(250, 250, 354, 250), dialogue(250, 250, 354, 250, step=3, connection=2)]
    ordered = SeenStep(2, "business", NOW, {"ok": True, "value": None, "error": None})
    assert found([step(1, "sent"), ordered, step(3, "sent", "flush")], *again) == []


def test_a_login_is_not_hammered() -> None:
    refused = [line("S", b"535 5.7.8 no\r\n") for _ in range(6)]
    assert found([step(1, "failed")], refused) == ["hammered"]
    assert found([step(1, "failed")], refused[:5]) == []


def test_pipelined_commands_and_replies_belong_together() -> None:
    lines = [line("S", b"220-a\r\n220 b\r\n"), line("C", b"MAIL FROM:<a@x>\r\n"), line("C", b"RCPT TO:<b@x>\r\n")]
    lines += [line("C", b"RCPT TO:<c@x>\r\n"), line("C", b"DATA\r\n")]
    lines += [line("S", b"250 ok\r\n25"), line("S", b"0 ok\r\n550-no\r\n550 no\r\n354 go\r\n")]
    lines += [line("C", RAW, body=True), line("S", b"250 done\r\n")]
    (one,) = attempts(lines)
    assert (one.mail, one.recipients, one.final, one.message_id) == (250, {"b@x": 250, "c@x": 550}, 250, "<m1@x>")
    assert one.accepted == ["b@x"]


def test_chunks_are_one_message() -> None:
    lines = [
        line("S", b"220 a\r\n"),
        line("C", b"MAIL FROM:<a@x>\r\n"),
        line("S", b"250 a\r\n"),
        line("C", b"RCPT TO:<b@x>\r\n"),
    ]
    lines += [line("S", b"250 a\r\n"), line("C", b"BDAT 9\r\n"), line("C", RAW[:9], body=True), line("S", b"250 a\r\n")]
    lines += [line("C", b"BDAT 30 LAST\r\n"), line("C", RAW[9:], body=True), line("S", b"250 a\r\n")]
    (one,) = attempts(lines)
    assert (one.final, one.message_id) == (250, "<m1@x>")


def test_a_message_id_is_a_header_field() -> None:
    assert message_id(b"Subject: x\r\nmessage-id: <a@b>\r\n\r\n") == "<a@b>"
    assert message_id(b"Subject: x\r\n\r\nMessage-ID: <a@b>\r\n") is None


@given(st.lists(st.tuples(st.sampled_from("CS*"), st.binary(max_size=40), st.booleans())))
def test_no_dialogue_breaks_it(parts: list[tuple[str, bytes, bool]]) -> None:
    found([step(1, "sent")], [line(direction, data, body=body) for direction, data, body in parts])
