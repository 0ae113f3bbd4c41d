"""The heads of the retry oracle, each both ways: who does it is found, who is only built otherwise is not."""

from __future__ import annotations

from typing import Any

import pytest
from test_oracle import NOW, OTHER, RAW, dialogue, found, line, step

from harness.observations import Line, Observations, SeenStep
from harness.oracle import findings

NAMELESS = b"Subject: doubt\r\n\r\nhello\r\n"
LIMIT = b"450 4.7.1 Sending rate limit exceeded, try again in 2 hours\r\n"
HOUR = 3600.0


def judged(steps: list[SeenStep], *parts: list[Line], features: tuple[str, ...] = ("rate-limit-memory",)) -> list[str]:
    seen = Observations(list(features), False, ["smtp"], steps=steps, lines=[each for part in parts for each in part])
    return [f"{one.expectation}{'' if one.grade == 'must' else ' (should)'}" for one in findings(seen)]


def error(category: str, code: int | None, text: str = "") -> dict[str, Any]:
    return {"category": category, "code": code, "enhanced": None, "text": text}


def told(outcome: str, category: str | None = None, code: int | None = None, text: str = "") -> dict[str, Any]:
    return {"outcome": outcome, "error": error(category, code, text) if category else None}


def result(number: int, action: str, *results: dict[str, Any], **rest: Any) -> SeenStep:
    """A step whose reply has these results."""
    seen: SeenStep = step(number, None, action, **rest)
    assert seen.reply is not None
    seen.reply["results"] = list(results)
    return seen


def about(name: str, outcome: dict[str, Any], **recipients: dict[str, Any]) -> dict[str, Any]:
    return {"message": name, **outcome, "recipients": {f"{who}@x": one for who, one in recipients.items()}}


# --- came back too early


def limited(number: int, now: float, text: str = LIMIT.decode()[4:], until: str | None = None) -> SeenStep:
    """The client was told of the limit, and says so."""
    outcome = about("m1", told("deferred", "rate-limit", 450, text))
    return result(number, "send" if number == 1 else "flush", outcome, now=now, until=until)


def refused_at_mail(step: int = 1, connection: int = 1, times: int = 1, reply: bytes = LIMIT) -> list[Line]:
    lines = [
        line("*", b"connected", step, connection, facts={"event": "connect"}),
        line("S", b"220 hi\r\n", step, connection),
    ]
    for _ in range(times):
        lines += [line("C", b"MAIL FROM:<a@x>\r\n", step, connection), line("S", reply, step, connection)]
    return lines


@pytest.mark.parametrize(("after", "names"), [(1.9, ["too-early"]), (2.0, [])])
def test_the_time_that_the_server_stated_is_waited(after: float, names: list[str]) -> None:
    steps = [limited(1, NOW), limited(2, NOW + after * HOUR)]
    assert judged(steps, refused_at_mail(), refused_at_mail(2, 2)) == names


@pytest.mark.parametrize(
    ("words", "later", "names"),
    [
        ("Daily sending limit exceeded", 0, ["too-early"]),
        ("Daily sending limit exceeded", 1, []),
        ("Too many messages in this connection", 0, []),
    ],
)
def test_a_limit_without_a_time_is_kept_for_a_while(words: str, later: float, names: list[str]) -> None:
    steps = [limited(1, NOW, words), limited(2, NOW + later, words)]
    lines = [refused_at_mail(reply=b"450 no\r\n"), refused_at_mail(2, 2, reply=b"450 no\r\n")]
    assert judged(steps, *lines) == names
    assert judged(steps, *lines, features=()) == []


def test_a_stated_time_binds_who_says_it_can_remember_and_calls_it_a_limit() -> None:
    steps, lines = [limited(1, NOW), limited(2, NOW + 60)], [refused_at_mail(), refused_at_mail(2, 2)]
    assert judged(steps, *lines) == ["too-early"]
    assert judged(steps, *lines, features=("queue",)) == []
    greylisted = about("m1", told("deferred", "temporary", 450, LIMIT.decode()[4:]))
    assert judged([result(1, "send", greylisted), result(2, "flush", greylisted)], *lines) == []


def test_how_many_in_which_time_is_no_time_to_wait() -> None:
    words = b"450 4.7.1 More than 100 messages in 60 minutes, sending limit exceeded\r\n"
    steps = [limited(1, NOW, words.decode()[4:]), limited(2, NOW + 60, words.decode()[4:])]
    assert judged(steps, refused_at_mail(reply=words), refused_at_mail(2, 2, reply=words)) == []


def test_the_clients_own_time_holds_for_each_later_step_of_the_account() -> None:
    until = "1970-01-12T14:00:00Z"
    silent = result(2, "flush", about("m1", told("deferred", "rate-limit", 450, "limit")), now=NOW + 1)
    steps = [limited(1, NOW, "limit", until), silent, step(3, "sent", "flush", now=NOW + 60)]
    assert judged(steps, refused_at_mail(), dialogue(250, 250, 354, 250, step=3, connection=2)) == ["too-early"]
    other = step(3, "sent", "flush", now=NOW + 60)
    steps[2] = SeenStep(**{**{key: getattr(other, key) for key in other.__slots__}, "account": "b"})
    assert judged(steps, refused_at_mail(), dialogue(250, 250, 354, 250, step=3, connection=2)) == []


@pytest.mark.parametrize(("times", "names"), [(1, []), (2, []), (3, ["too-early"])])
def test_the_reply_that_states_a_limit_ends_the_batch(times: int, names: list[str]) -> None:
    """One more transaction may have been on its way."""
    assert judged([limited(1, NOW, until="1970-01-12T15:46:40Z")], refused_at_mail(times=times)) == names


def test_a_limit_of_one_connection_does_not_end_the_batch() -> None:
    words = b"421 4.7.0 Too many messages in this connection\r\n"
    parts = [refused_at_mail(connection=number, reply=words) for number in (1, 2, 3)]
    assert judged([limited(1, NOW, words.decode()[4:], "1970-01-12T13:50:00Z")], *parts) == []


# --- hammered


def vain(number: int, step: int = 1) -> list[Line]:
    return [line("*", b"connected", step, number, facts={"event": "connect"}), line("S", b"421 no\r\n", step, number)]


@pytest.mark.parametrize(("count", "names"), [(10, []), (11, ["hammered"])])
@pytest.mark.parametrize("action", ["send", "fetch", "test_outgoing"])
def test_a_server_that_says_no_is_not_hammered(action: str, count: int, names: list[str]) -> None:
    reply: dict[str, Any] = {"results": [], "messages": [], "ok": False, "error": None}
    asked = SeenStep(1, action, NOW, reply, sent={"m1": RAW}, to={"m1": ["b@x"]})
    assert judged([asked], *(vain(number) for number in range(count))) == names


def test_a_connection_for_each_message_and_recipient_is_no_hammering() -> None:
    to = {"m1": ["b@x", "c@x", "d@x"], "m2": ["b@x"]}
    assert judged([result(1, "send", to=to)], *(vain(number) for number in range(40))) == []
    assert judged([result(1, "send", to=to)], *(vain(number) for number in range(41))) == ["hammered"]
    many = [f"{number}@x" for number in range(50)]
    fine = [dialogue(250, 250, 354, 250, to=(who,), connection=number) for number, who in enumerate(many)]
    assert judged([step(1, "sent", to={"m1": many})], *fine) == []


# --- re-authenticated into a lockout

NO = b"535 5.7.8 Authentication failed\r\n"
LOCKED = b"454 4.7.0 Too many failures, account locked for 15 minutes\r\n"


def logins(*replies: bytes) -> list[Line]:
    return [each for reply in replies for each in (line("C", b"AUTH PLAIN ***\r\n"), line("S", reply))]


def test_a_refused_login_is_not_repeated_until_the_account_is_locked() -> None:
    assert judged([result(1, "send", sent={"m1": RAW})], logins(NO, NO, LOCKED)) == ["locked-out"]
    assert judged([result(1, "send", sent={"m1": RAW})], logins(NO, NO, NO)) == []
    assert judged([result(1, "send", sent={"m1": RAW})], logins(LOCKED, LOCKED, LOCKED)) == []
    busy = b"454 4.7.0 Temporary authentication failure\r\n"
    unknown = b"504 5.5.4 Unrecognized authentication type\r\n"
    for reply in (busy, unknown):
        assert judged([result(1, "send", sent={"m1": RAW})], logins(reply, reply, reply, LOCKED)) == []


def test_one_login_for_each_message_is_unwise_no_more() -> None:
    many = {f"m{number}": RAW for number in range(20)}
    assert judged([result(1, "send", sent=many)], logins(NO, NO, NO, LOCKED)) == ["locked-out (should)"]


@pytest.mark.parametrize(
    ("service", "command", "no", "locked"),
    [
        ("imaps", b"a1 LOGIN ***\r\n", b"a1 NO [AUTHENTICATIONFAILED] no\r\n", b"a1 NO [UNAVAILABLE] Locked\r\n"),
        ("pop3s", b"PASS ***\r\n", b"-ERR [AUTH] no\r\n", b"-ERR [SYS/TEMP] Account locked\r\n"),
    ],
)  # fmt: skip
def test_a_mailbox_is_not_locked_either(service: str, command: bytes, no: bytes, locked: bytes) -> None:
    def asked(*replies: bytes) -> list[Line]:
        return [
            each for one in replies for each in (line("C", command, service=service), line("S", one, service=service))
        ]

    reading = SeenStep(1, "fetch", NOW, {"messages": [], "error": None})
    assert judged([reading], asked(no, no, locked)) == ["locked-out"]
    assert judged([reading], asked(locked, locked, locked)) == []
    others = [line("C", b"a2 SELECT INBOX\r\n", service=service), line("S", b"a2 NO no\r\n", service=service)]
    assert judged([reading], others * 3, asked(locked)) == []


# --- sent twice after a lost reply


def test_a_message_in_doubt_waits_for_the_next_time() -> None:
    lost = dialogue(250, 250, 354)
    lost.append(line("C", RAW, body=True))
    again = dialogue(250, 250, 354, 250, connection=2)
    assert judged([step(1, "sent")], lost, again) == ["sent-twice"]
    later = dialogue(250, 250, 354, 250, step=2, connection=2)
    assert judged([step(1, "deferred"), step(2, "sent", "flush")], lost, later) == []
    for_another = dialogue(250, 250, 354, 250, to=("c@x",), connection=2)
    assert judged([step(1, "deferred", to={"m1": ["b@x", "c@x"]})], lost, for_another) == []


def test_a_message_that_did_not_arrive_whole_may_go_at_once() -> None:
    begun = [*dialogue(250, 250, 354), line("C", RAW[:20], body=True)]
    assert judged([step(1, "sent")], begun, dialogue(250, 250, 354, 250, connection=2)) == []
    cut = [*dialogue(250, 250, 354), line("*", b"", facts={"event": "end", "how": "reset"}), line("C", RAW, body=True)]
    assert judged([step(1, "sent")], cut, dialogue(250, 250, 354, 250, connection=2)) == []


def test_a_rules_reply_was_seen_where_the_dialogue_goes_on() -> None:
    seen = [*dialogue(250, 250, 354, 250, rule="words"), line("C", b"QUIT\r\n"), line("S", b"221 bye\r\n")]
    again = dialogue(250, 250, 354, 250, step=2, connection=2)
    assert judged([step(1, "sent"), step(2, "sent", "flush")], seen, again) == ["sent-twice"]


@pytest.mark.parametrize(("second", "names"), [(b"<1@c>", []), (b"<2@c>", ["sent-twice"])])
def test_a_message_in_doubt_keeps_the_message_id_that_the_client_gave_it(second: bytes, names: list[str]) -> None:
    def with_id(value: bytes) -> bytes:
        return b"Message-ID: " + value + b"\r\n" + NAMELESS

    lost = [*dialogue(250, 250, 354), line("C", with_id(b"<1@c>"), body=True)]
    again = dialogue(250, 250, 354, 250, raw=with_id(second), step=2, connection=2)
    steps = [step(1, "deferred", sent={"m1": NAMELESS}), step(2, "sent", "flush")]
    assert judged(steps, lost, again) == names
    alike = [step(1, "deferred", sent={"m1": NAMELESS, "m2": NAMELESS}), step(2, "sent", "flush")]
    assert judged(alike, lost, again) == []


# --- tried a permanent failure again


def test_a_recipient_that_is_gone_rests() -> None:
    both = ("b@x", "c@x")
    first = dialogue(250, 250, 550, 354, 451, to=both)
    gone = told("failed", "recipient-refused", 550)
    deferred = result(1, "send", about("m1", told("deferred", "temporary", 451), c=gone), to={"m1": [*both]})
    whole = [deferred, step(2, "sent", "flush")]
    again = dialogue(250, 250, 550, 354, 250, to=both, step=2, connection=2)
    assert judged(whole, first, again) == ["tried-again"]
    assert judged(whole, first, dialogue(250, 250, 354, 250, step=2, connection=2)) == []
    # Deferred as a whole, nobody called failed: a client that knows only messages.
    simple = [step(1, "deferred", to={"m1": [*both]}), step(2, "sent", "flush", recipients={"c@x": told("failed")})]
    assert judged(simple, first, again) == []


def test_a_recipient_that_is_gone_rests_though_no_content_follows() -> None:
    again = dialogue(250, 550, step=2, connection=2)
    alone = step(1, "failed", sent={"m1": RAW})
    assert judged([alone, step(2, None, "flush")], dialogue(250, 550), again) == ["tried-again"]
    other = [step(1, "failed", to={"m2": ["b@x"]}), step(2, None, "flush")]
    assert judged(other, dialogue(250, 550), again) == []


def test_a_refused_sender_is_not_tried_again() -> None:
    tries = [dialogue(550), dialogue(550, step=2, connection=2)]
    one = {"m1": RAW}
    assert judged([step(1, "failed", sent=one), step(2, None, "flush")], *tries) == ["tried-again"]
    assert judged([step(1, "failed"), step(2, "failed", "flush", name="m2")], *tries) == []


@pytest.mark.parametrize("codes", [(250, 550), (553,), (250, 250, 354, 554)])
def test_within_a_step_too_a_refusal_for_good_is_the_last_word(codes: tuple[int, ...]) -> None:
    once, again = dialogue(*codes), dialogue(*codes, connection=2)
    assert judged([step(1, "failed", sent={"m1": RAW})], once) == []
    assert judged([step(1, "failed", sent={"m1": RAW})], once, again) == ["tried-again"]
    if len(codes) < 4:
        assert judged([step(1, "failed", sent={"m1": RAW, "m2": OTHER})], once, again) == []


@pytest.mark.parametrize("codes", [(555,), (250, 501), (250, 503), (250, 250, 354, 500), (250, 451)])
def test_what_other_parameters_may_cure_may_be_tried_at_once(codes: tuple[int, ...]) -> None:
    parts = [dialogue(*codes, connection=number) for number in (1, 2, 3)]
    assert judged([step(1, "deferred", sent={"m1": RAW})], *parts) == []


def test_a_transaction_that_was_cut_may_be_repeated_as_it_was() -> None:
    both = ("b@x", "c@x")
    cut = dialogue(250, 550, 250, to=both)
    whole = dialogue(250, 550, 250, 354, 250, to=both, connection=2)
    refused = about("m1", told("sent"), b=told("failed", "recipient-refused", 550))
    assert judged([result(1, "send", refused, to={"m1": [*both]})], cut, whole) == []


# --- gave up a deferred message


@pytest.mark.parametrize(
    ("category", "code", "names"),
    [
        ("temporary", 451, ["given-up"]),
        ("authentication", 454, ["given-up"]),
        ("disconnected", None, ["given-up"]),
        ("connect", 554, ["given-up"]),
        ("rate-limit", 550, ["given-up"]),
        ("tls-required", 454, []),
        ("authentication", 535, []),
        ("protocol", 554, []),
        ("config", None, []),
    ],
)
def test_a_refusal_for_now_is_deferred(category: str, code: int | None, names: list[str]) -> None:
    assert judged([result(1, "send", about("m1", told("failed", category, code)))]) == names


def test_a_client_may_give_up_in_the_end() -> None:
    for later, names in ((60.0, ["given-up"]), (5 * 24 * HOUR, [])):
        last = result(2, "flush", about("m1", told("failed", "temporary", 451)), now=NOW + later)
        assert (
            judged([step(1, "deferred"), last], dialogue(250, 451), dialogue(250, 451, step=2, connection=2)) == names
        )


def test_flush_tries_what_was_deferred() -> None:
    stale = result(2, "flush", about("m1", told("deferred", "temporary", 451)))
    first = step(1, "deferred")
    assert judged([first, stale], dialogue(250, 451)) == ["given-up"]
    assert judged([first, stale], dialogue(250, 451), dialogue(250, 451, step=2, connection=2)) == []
    for category, code in (("connect", None), ("rate-limit", 450), ("temporary", None)):
        other = result(2, "flush", about("m1", told("deferred", category, code)))
        assert judged([first, other], dialogue(250, 451)) == []
    quiet = step(1, "deferred", until="1970-01-12T14:00:00Z")
    assert judged([quiet, stale], dialogue(250, 451)) == []


# --- dropped recipients of a mixed reply

BOTH = {"m1": ["b@x", "C@x"]}


@pytest.mark.parametrize("code", [451, 550])
def test_a_recipient_that_was_not_accepted_is_reported(code: int) -> None:
    mixed = dialogue(250, 250, code, 354, 250, to=("b@x", "c@x"))
    assert judged([result(1, "send", about("m1", told("sent")), to=BOTH)], mixed) == ["dropped-recipients"]
    only_accepted = about("m1", told("sent"), b=told("sent"))
    assert judged([result(1, "send", only_accepted, to=BOTH)], mixed) == ["dropped-recipients"]


def test_a_refused_recipient_is_reported_by_name() -> None:
    mixed = dialogue(250, 250, 550, 354, 250, to=("b@x", "c@x"))
    refused = about("m1", told("sent"), c=told("failed", "recipient-refused", 550))
    assert judged([result(1, "send", refused, to=BOTH)], mixed) == []


def test_a_recipient_that_was_never_asked_for_is_missed() -> None:
    assert judged([result(1, "send", about("m1", told("sent")), to=BOTH)], dialogue(250, 250, 354, 250)) == [
        "dropped-recipients"
    ]


def test_a_deferred_recipient_gets_its_mail_in_the_end() -> None:
    mixed = dialogue(250, 250, 451, 354, 250, to=("b@x", "c@x"))
    deferred = about("m1", told("deferred", "temporary", 451), c=told("deferred", "temporary", 451))
    steps = [result(1, "send", deferred, to=BOTH), result(2, "flush", about("m1", told("sent")))]
    alone = dialogue(250, 250, 354, 250, to=("c@x",), step=2, connection=2)
    assert judged(steps, mixed, alone) == []
    assert judged(steps, mixed) == ["dropped-recipients"]
    assert judged(steps, mixed, dialogue(250, 250, 250, 354, 250, to=("b@x", "c@x"), step=2, connection=2)) == [
        "sent-twice"
    ]


def test_a_message_for_each_recipient_is_fine() -> None:
    parts = [dialogue(250, 250, 354, 250, to=(who,), connection=number) for number, who in enumerate(("b@x", "c@x"))]
    assert judged([result(1, "send", about("m1", told("sent")), to=BOTH)], *parts) == []


def test_a_domain_is_the_same_in_both_its_forms() -> None:
    whom = {"m1": ["bob@b\u00fccher.example"]}
    accepted = dialogue(250, 250, 354, 250, to=("bob@xn--bcher-kva.example",))
    assert judged([result(1, "send", about("m1", told("sent")), to=whom)], accepted) == []
    mixed = dialogue(250, 250, 550, 354, 250, to=("b@x", "bob@xn--bcher-kva.example"))
    refused = {**about("m1", told("sent")), "recipients": {"bob@xn--bcher-kva.example": told("failed")}}
    assert judged([result(1, "send", refused, to={"m1": ["b@x", *whom["m1"]]})], mixed) == []


def test_who_reads_the_fate_in_a_reply_that_never_came_is_not_blamed() -> None:
    mixed = dialogue(250, 250, 550, 354, 250, to=("b@x", "c@x"))
    crashed = SeenStep(1, "send", NOW, None, silence="killed", crashed=True, sent={"m1": RAW}, to=BOTH)
    assert judged([crashed, result(2, "flush", about("m1", told("sent")))], mixed) == []
    assert found([crashed, result(2, "flush", about("m1", told("sent")))], mixed) == []
