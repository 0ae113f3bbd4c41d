"""The judge alone: recorded observations in, a verdict out."""

from __future__ import annotations

from typing import Any

import pytest

from harness.observations import Line, Observations, SeenMailbox, SeenMessage, SeenStep
from harness.scenario import Scenario
from harness.verdict import Failure, Verdict, judge

NOW = 1_000_000.0


def scenario(*steps: dict[str, Any], **rest: Any) -> Scenario:
    return Scenario.model_validate({"title": "T", "why": "W", "provider": "generic", "steps": list(steps), **rest})


def seen(*replies: dict[str, Any] | None, **rest: Any) -> Observations:
    observations = Observations(features=[], allow_cleartext=False, services=["smtp"])
    for number, reply in enumerate(replies, 1):
        silence = None if reply is not None else "no reply within 1 s"
        observations.steps.append(SeenStep(number, "send", NOW, reply, silence, excused=True))
    for name, value in rest.items():
        setattr(observations, name, value)
    return observations


def line(direction: str, data: str, **rest: Any) -> Line:
    given: dict[str, Any] = {
        "step": 1, "connection": 1, "service": "smtp", "time": NOW, "elapsed": 0.0, "direction": direction,
        "data": data.encode(), "tls": None, "rule": None, "body": False, "facts": {}, **rest,
    }  # fmt: skip
    return Line(**given)


def result(outcome: str, message: str = "m1", **rest: Any) -> dict[str, Any]:
    return {"message": message, "outcome": outcome, "error": None, "retry_at": None, "recipients": {}, **rest}


def sent(*results: dict[str, Any], until: str | None = None) -> dict[str, Any]:
    return {"results": list(results), "rate_limited_until": until}


def names(verdict: Verdict) -> list[str]:
    return [failure.expectation for failure in verdict.failures]


@pytest.mark.parametrize(
    ("expect", "reply", "broken"),
    [
        ({"outcomes": "sent"}, sent(result("sent"), result("sent")), []),
        ({"outcomes": "sent"}, sent(result("sent"), result("failed")), ["outcomes"]),
        ({"outcomes": "sent"}, sent(), ["outcomes"]),
        ({"outcomes": ["sent", "deferred"]}, sent(result("sent"), result("deferred")), []),
        ({"outcomes": ["sent", "deferred"]}, sent(result("deferred"), result("sent")), ["outcomes"]),
        ({"outcomes": ["sent"]}, sent(result("sent"), result("sent")), ["outcomes"]),
        ({"outcomes": [["deferred", "failed"]]}, sent(result("failed")), []),
        ({"outcomes": [["deferred", "failed"]]}, sent(result("sent")), ["outcomes"]),
        ({"outcomes": {"m2": "failed"}}, sent(result("sent"), result("failed", "m2")), []),
        ({"outcomes": {"m3": "failed"}}, sent(result("failed")), ["outcomes"]),
        ({"results": 1}, sent(result("sent")), []),
        ({"results": {"at_most": 1}}, sent(result("sent"), result("sent")), ["results"]),
        ({"rate_limited": True}, sent(until="1970-01-12T14:00:00Z"), []),
        ({"rate_limited": False}, sent(until="1970-01-12T14:00:00Z"), ["rate_limited"]),
        ({"rate_limited": {"after": "1m", "before": "1h"}}, sent(until="1970-01-12T13:56:40Z"), []),
        ({"rate_limited": {"after": "1m", "before": "1h"}}, sent(until="1970-01-13T13:56:40Z"), ["rate_limited"]),
        ({"rate_limited": {"after": "1m"}}, sent(), ["rate_limited"]),
        ({"retry_at": {"after": 0}}, sent(result("deferred", retry_at="1970-01-12T13:46:39Z")), ["retry_at"]),
        ({"retry_at": {"after": 0}}, sent(result("deferred", retry_at="1970-01-12T13:46:41Z")), []),
    ],
)
def test_a_reply_to_send(expect: dict[str, Any], reply: dict[str, Any], broken: list[str]) -> None:
    verdict = judge(scenario({"send": {}, "expect": expect}), seen(reply))
    assert names(verdict) == broken
    assert verdict.verdict == ("fail" if broken else "pass")


@pytest.mark.parametrize(
    ("expect", "error", "broken"),
    [
        ({"category": "authentication"}, {"category": "authentication"}, []),
        ({"category": ["authentication", "config"]}, {"category": "config"}, []),
        ({"category": "authentication"}, {"category": "temporary"}, ["error.category"]),
        (
            {"code": 535, "enhanced": "5.7.8"},
            {"category": "temporary", "code": 535, "enhanced": "5.7.1"},
            ["error.enhanced"],
        ),
        ({"text": "not accepted"}, {"category": "temporary", "text": "Username NOT ACCEPTED"}, []),
        ({"text": "not accepted"}, {"category": "temporary", "text": ""}, ["error.text"]),
        ({"category": "config"}, None, ["error"]),
        ({"lacks": "[\x00-\x1f]"}, {"category": "size", "text": "too \x1b[1m big"}, ["error.lacks"]),
        ({"lacks": "[\x00-\x1f]"}, {"category": "size", "text": "too big"}, []),
    ],
)
def test_an_error(expect: dict[str, Any], error: dict[str, Any] | None, broken: list[str]) -> None:
    reply = sent(result("deferred", error=error))
    assert names(judge(scenario({"send": {}, "expect": {"error": expect}}), seen(reply))) == broken


def test_an_enhanced_code_that_is_not_taken_out_of_the_text_is_a_warning() -> None:
    reply = sent(result("failed", error={"category": "temporary", "code": 535, "enhanced": None}))
    verdict = judge(scenario({"send": {}, "expect": {"error": {"enhanced": "5.7.8"}}}), seen(reply))
    assert (verdict.verdict, [one.expectation for one in verdict.warnings]) == ("pass", ["error.enhanced"])


def test_an_error_is_missed_when_everything_was_sent() -> None:
    expect = {"error": {"category": "config"}}
    assert names(judge(scenario({"send": {}, "expect": expect}), seen(sent(result("sent"))))) == ["error"]


def test_errors_by_message_and_recipients() -> None:
    refused = {"outcome": "failed", "error": {"category": "recipient-refused", "code": 550}}
    reply = sent(result("sent", recipients={"A@x": {"outcome": "sent", "error": None}, "b@x": refused}))
    expect = {
        "errors": {"m1": None},
        "recipients": {"a@x": "sent", "b@x": "failed"},
        "recipient_errors": {"b@x": {"code": 550}},
    }
    assert judge(scenario({"send": {}, "expect": expect}), seen(reply)).verdict == "pass"
    expect = {"recipients": {"a@x": "failed"}, "recipient_errors": {"a@x": {"code": 550}}}
    assert names(judge(scenario({"send": {}, "expect": expect}), seen(reply))) == ["recipients", "recipient_errors"]


def fetched(*raws: bytes, error: Any = None) -> dict[str, Any]:
    return {"messages": list(raws), "error": error}


@pytest.mark.parametrize(
    ("expect", "reply", "broken"),
    [
        ({"messages": 1}, fetched(b"Subject: a\r\n\r\n"), []),
        ({"messages": 1}, fetched(), ["messages"]),
        ({"subjects": ["b", "a"]}, fetched(b"Subject: a\r\n\r\n", b"Subject: b\r\n\r\n"), []),
        ({"subjects": ["a"]}, fetched(b"Subject: a\r\n\r\n", b"Subject: a\r\n\r\n"), ["subjects"]),
        ({"contents": "unchanged"}, fetched(b"Subject: known\r\n\r\n"), []),
        ({"contents": "unchanged"}, fetched(b"Subject: known\n\n"), ["contents"]),
        ({"error": None}, fetched(error={"category": "connect"}), ["error"]),
        ({"error": {"category": "connect"}}, fetched(error={"category": "connect"}), []),
        ({"error": {"category": "connect"}}, fetched(), ["error"]),
    ],
)
def test_a_reply_to_fetch(expect: dict[str, Any], reply: dict[str, Any], broken: list[str]) -> None:
    observations = seen(reply, all_mail=[b"Subject: known\r\n\r\n"])
    assert names(judge(scenario({"fetch": {}, "expect": expect}), observations)) == broken


@pytest.mark.parametrize(("service", "broken"), [("pop3s", []), ("imaps", ["contents"])])
def test_pop3_ends_every_line(service: str, broken: list[str]) -> None:
    observations = seen(fetched(b"Subject: a\r\n\r\nb\r\n"), all_mail=[b"Subject: a\r\n\r\nb"])
    observations.lines = [line("C", "QUIT", service=service)]
    assert names(judge(scenario({"fetch": {}, "expect": {"contents": "unchanged"}}), observations)) == broken


@pytest.mark.parametrize(
    ("expect", "broken"),
    [
        ({"messages": 3}, []),
        ({"messages": 2}, ["handed-over"]),
        ({"subjects": ["b", "a", "a"]}, []),
        ({"subjects": ["a", "b"]}, ["handed-over"]),
        ({"once": ["b"]}, []),
        ({"once": ["a"]}, ["handed-over"]),
        ({"once": ["c"]}, ["handed-over"]),
    ],
)
def test_all_that_was_handed_over(expect: dict[str, Any], broken: list[str]) -> None:
    replies = fetched(b"Subject: a\r\n\r\n"), fetched(b"Subject: a\r\n\r\n", b"Subject: b\r\n\r\n")
    steps = [SeenStep(number, "fetch", NOW, reply) for number, reply in enumerate(replies, 1)]
    observations = seen(steps=steps)
    tried = scenario({"fetch": {}}, {"fetch": {}}, expect={"handed_over": expect})
    assert names(judge(tried, observations)) == broken


def test_a_reply_to_a_test() -> None:
    expect = {"ok": False, "error": {"category": "connect"}, "stages": {"resolve": True, "connect": False}}
    stages = [{"stage": "resolve", "ok": True}, {"stage": "connect", "ok": False}]
    reply = {"ok": False, "error": {"category": "connect"}, "stages": stages}
    assert judge(scenario({"test_outgoing": {}, "expect": expect}), seen(reply)).verdict == "pass"
    reply = {"ok": True, "error": None, "stages": [{"stage": "resolve", "ok": True}]}
    assert names(judge(scenario({"test_outgoing": {}, "expect": expect}), seen(reply))) == ["ok", "error", "stages"]
    without = {"ok": False, "error": {"category": "connect"}, "stages": None}
    assert judge(scenario({"test_outgoing": {}, "expect": expect}), seen(without)).verdict == "pass"


def stored(raw: bytes, **rest: Any) -> SeenMessage:
    given: dict[str, Any] = {
        "raw": raw, "content": raw, "mail_from": "a@x", "rcpt_to": ("b@x",), "flags": (), "parameters": (), **rest,
    }  # fmt: skip
    return SeenMessage(**given)


@pytest.mark.parametrize(
    ("expect", "broken"),
    [
        ({"to": "b@x"}, []),
        ({"to": "B@X", "count": 1, "mailbox": "inbox", "subject": "^Hi$"}, []),
        ({"to": "b@x", "count": 2}, ["stored"]),
        ({"to": "c@x", "name": "arrived"}, ["arrived"]),
        ({"to": "b@x", "content": "^Bye"}, []),
        ({"to": "b@x", "content": "^Hello"}, ["stored"]),
        ({"to": "b@x", "lacks": "Bcc:"}, []),
        ({"to": "b@x", "lacks": "Subject:"}, ["stored"]),
        ({"to": "b@x", "mail_from": "z@x"}, ["stored"]),
        ({"to": "b@x", "parameters": "SMTPUTF8"}, ["stored"]),
        ({"to": "b@x", "same_as": "m1"}, []),
        ({"to": "b@x", "same_as": "m2"}, ["stored", "stored"]),
        ({"to": "b@x", "same_as": "m9"}, ["stored"]),
    ],
)
def test_stored_mail(expect: dict[str, Any], broken: list[str]) -> None:
    observations = seen(sent(result("sent")))
    observations.mailboxes = {
        "b@x": [SeenMailbox("INBOX", [stored(b"Date: now\r\nSubject: Hi\r\n\r\n.Bye\r\nBye\r\n")])]
    }
    given = {"m1": b"Subject: Hi\nBcc: x@y\n\n.Bye\nBye\n", "m2": b"Subject: Ho\n\nBye\n"}
    observations.steps[0] = SeenStep(1, "send", NOW, sent(result("sent")), sent=given)
    assert names(judge(scenario({"send": {}}, expect={"stored": [expect]}), observations)) == broken


@pytest.mark.parametrize(
    ("expect", "broken"),
    [
        ({"messages": 2, "unseen": 1, "deleted": 0}, 0),
        ({"messages": 1, "unseen": 0, "deleted": 1}, 3),
        ({"all_have": ["\\Seen"]}, 1),
        ({"none_has": ["\\Seen"]}, 1),
        ({"exists": False}, 1),
    ],
)
def test_a_mailbox(expect: dict[str, Any], broken: int) -> None:
    observations = seen(sent(result("sent")))
    box = SeenMailbox("INBOX", [stored(b"1", flags=("\\Seen",)), stored(b"2")])
    observations.mailboxes = {"a@x": [box]}
    closing = {"mailboxes": {"a@x": {"INBOX": expect}}}
    assert names(judge(scenario({"fetch": {}}, expect=closing), observations)) == ["mailboxes"] * broken


EVENT = line("*", "password sent over clear", facts={"event": "secret", "kind": "password", "tls": False})


@pytest.mark.parametrize(
    ("expect", "broken"),
    [
        ({"saw": {"client": "^EHLO good"}}, []),
        ({"saw": {"client": "^HELO"}}, ["saw"]),
        ({"saw": {"client": "^EHLO", "connection": 2}}, ["saw"]),
        ({"saw": {"client": "^EHLO", "tls": True}}, ["saw"]),
        ({"saw": {"server": "^250", "service": "smtps"}}, ["saw"]),
        ({"saw": {"client": "^EHLO", "step": 2}}, ["saw"]),
        ({"never": {"client": "secret body"}}, []),
        ({"never": {"client": "^EHLO"}, "name": "no-greeting"}, ["no-greeting"]),
        ({"count": 1, "of": {"event": "secret", "kind": "password"}}, []),
        ({"count": {"at_most": 1}, "of": {"server": "^2"}}, ["count"]),
        ({"before": [{"client": "^EHLO"}, {"client": "^MAIL"}]}, []),
        ({"before": [{"client": "^MAIL"}, {"client": "^EHLO"}]}, ["before"]),
        ({"before": [{"client": "^EHLO"}, {"client": "^RSET"}]}, ["before"]),
    ],
)
def test_the_wire(expect: dict[str, Any], broken: list[str]) -> None:
    observations = seen(sent(result("sent")), allow_cleartext=True)
    observations.lines = [
        line("S", "220 hi\r\n"), line("C", "EHLO good\r\n"), line("S", "250-a\r\n250 b\r\n"), EVENT,
        line("C", "MAIL FROM:<a@x>\r\n"), line("C", "secret body\r\n", body=True),
    ]  # fmt: skip
    assert names(judge(scenario({"send": {}}, expect={"wire": [expect]}), observations)) == broken


def test_a_password_in_clear_fails_any_scenario_unless_allowed() -> None:
    plain = scenario({"send": {}, "expect": {"outcomes": "sent"}})
    assert names(judge(plain, seen(sent(result("sent")), lines=[EVENT]))) == ["cleartext-credentials"]
    assert judge(plain, seen(sent(result("sent")), lines=[EVENT], allow_cleartext=True)).verdict == "pass"


def test_bare_line_ends_in_a_sent_message_fail_any_scenario() -> None:
    plain = scenario({"send": {}, "expect": {"outcomes": "sent"}})
    bare = line("C", "a\nb\r\n", body=True)
    assert names(judge(plain, seen(sent(result("sent")), lines=[bare]))) == ["line-ends"]


def test_silence_is_a_failure_of_replies_where_the_server_was_hostile_and_an_error_elsewhere() -> None:
    plain = scenario({"send": {}, "expect": {"outcomes": "sent"}})
    assert names(judge(plain, seen(None))) == ["replies"]
    observations = seen(None)
    observations.steps[0] = SeenStep(1, "send", NOW, None, "no reply within 1 s")
    assert judge(plain, observations).verdict == "error"


def test_an_invalid_reply_a_broken_server_and_a_missing_feature_of_ours_are_errors() -> None:
    plain = scenario({"send": {}, "expect": {"outcomes": "sent"}})
    observations = seen(sent(result("sent")))
    observations.steps[0] = SeenStep(1, "send", NOW, None, None, "not JSON")
    assert judge(plain, observations).reason == "step 1 (send): not JSON"
    assert judge(plain, seen(sent(result("sent")), server_errors=["Traceback"])).verdict == "error"
    lacks = line("*", "", facts={"event": "unimplemented", "capability": "CHUNKING"})
    assert judge(plain, seen(sent(result("failed")), lines=[lacks])).reason == "mailrig lacks CHUNKING"


def test_should_is_a_warning() -> None:
    verdict = judge(
        scenario({"send": {}, "expect": {"outcomes": "sent", "grade": "should"}}), seen(sent(result("failed")))
    )
    assert (verdict.verdict, [failure.expectation for failure in verdict.warnings]) == ("pass", ["outcomes"])


def test_a_failure_names_its_place_and_step() -> None:
    failed = judge(
        scenario({"send": {}, "expect": {"outcomes": "sent", "ref": "RFC 1"}}), seen(sent(result("failed")))
    ).failures
    assert failed == [Failure("outcomes", "sent", ["failed"], ["steps", 0, "expect", "outcomes"], "RFC 1", 1)]


def test_observations_survive_json() -> None:
    import json

    observations = seen(
        sent(result("sent")), all_mail=[b"\x00\xff"], lines=[line("C", "EHLO a\r\n", facts={"event": "x"})]
    )
    observations.mailboxes = {"a@x": [SeenMailbox("INBOX", [stored(b"\xff", flags=("\\Seen",))])]}
    assert Observations.from_json(json.loads(json.dumps(observations.to_json()))) == observations
