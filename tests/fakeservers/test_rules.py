"""The one mechanism: points, conditions, counting, and what an effect makes of an answer."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fakeservers import Clock, FakeMailHost
from fakeservers.actions import Cut, End, Pace, Send, Wait
from fakeservers.connection import Connection
from fakeservers.points import POINTS
from fakeservers.rules import Act, Capabilities, Condition, Effect, Rule, RuleBook, fact_names, unescape

ALICE = "alice@example.test"


def rule(**parts: Any) -> Rule:
    return Rule.model_validate({"name": "rule", "at": "pop3.noop", **parts})


def host(*rules: Rule, clock: Clock | None = None) -> FakeMailHost:
    return FakeMailHost("generic", rules=rules, clock=clock or Clock(1_700_000_000.0))


def connection(of: FakeMailHost, service: str = "pop3") -> Connection:
    return Connection(of.site, next(of.connection_numbers), service, "pop3", "127.0.0.1")


def fires(one: Rule, facts: dict[str, object] | None = None, *, account: str | None = None) -> bool:
    where = connection(host(one))
    if account is not None:
        where.account = where.site.store.account(account)
    return where.consult("noop", **(facts or {})) is not None


# --- conditions


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("x", "X", True),
        ("x", None, False),
        (["a", "b"], "B", True),
        (["a", "b"], "c", False),
        (None, None, True),
        (None, "x", False),
        (True, "TLSv1.3", True),
        (False, None, True),
        (True, None, False),
        ("TLSv1.2", "TLSv1.3", False),
        (5, 5, True),
        ({"not": "x"}, "X", False),
        ({"not": ["x", "y"]}, "z", True),
        ({"not": True}, None, True),
        ({"glob": "*@Example.test"}, "a@example.TEST", True),
        ({"glob": "*@example.test"}, "a@example.test.evil", False),
        ({"regex": "^a+$"}, "AAA", True),
        ({"regex": "^a+$"}, None, False),
        ({"regex": "^0$"}, 0, True),
        ({"at_least": 5}, 5, True),
        ({"at_least": 5}, 4, False),
        ({"at_least": 5}, None, False),
        ({"at_most": 5}, 6, False),
        ({"at_least": 2, "at_most": 3}, 3, True),
        ({"every": 3}, 6, True),
        ({"every": 3}, 7, False),
        ({"present": True}, "", True),
        ({"present": False}, None, True),
        ({"present": True}, None, False),
    ],
)
def test_conditions(condition: Any, value: object, expected: bool) -> None:
    assert Condition.model_validate(condition).test(value) is expected


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_condition_and_its_opposite_never_agree(wanted: str, value: str) -> None:
    same = Condition.model_validate(wanted).test(value)
    assert Condition.model_validate({"not": wanted}).test(value) is not same


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"at": "smtp.mial"}, 'did you mean "smtp.mail"'),
        ({"at": "nonsense.*"}, "unknown point"),
        ({"when": {"adress": "x"}}, 'did you mean "address"'),
        ({"when": {"account.": 1}}, "unknown condition"),
        ({"when": {"host.missages": 1}}, "host.messages"),
        ({"when": {"argument": {"regex": "("}}}, "not a regular expression"),
        ({"when": {"probability": {"at_least": 0.5}}}, "a number from 0 to 1"),
        ({"when": {"probability": 2}}, "a number from 0 to 1"),
        ({"when": {"account.messages": {"at_least": 1, "within": "soon"}}}, "is not a duration"),
        ({"name": "Capital"}, "pattern"),
        ({"replay": "x"}, "Extra inputs"),
        ({"delay": -1}, "greater than or equal"),
        ({"then": "explode"}, "'reset'"),
    ],
)
def test_mistakes_are_named(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        rule(**parts)


def test_every_fact_and_point_has_a_meaning() -> None:
    assert all(fact_names().values())
    assert all(POINTS.values())


def test_all_conditions_must_hold() -> None:
    both = rule(when={"argument": "x", "service": "pop3"})
    assert fires(both, {"argument": "x"})
    assert not fires(both, {"argument": "y"})
    assert not fires(rule(when={"service": "pop3s"}))


def test_facts_of_the_command_account_and_connection() -> None:
    assert fires(rule(when={"command": "noop", "authenticated": False, "tls": False, "client": "127.0.0.1"}))
    assert fires(rule(when={"username": ALICE, "authenticated": True}), account=ALICE)
    assert not fires(rule(when={"account.special": True}), account=ALICE)
    where = host(rule(when={"account.special": True}))
    where.store.accounts[ALICE].properties["special"] = True
    one = connection(where)
    assert one.consult("noop") is None, "nobody is logged in"
    one.claimed = where.store.accounts[ALICE]
    assert one.consult("noop") is not None, "a login under way counts"


def test_a_fact_may_bear_the_name_of_a_parameter() -> None:
    assert fires(rule(when={"command": "other"}), {"command": "other"})


# --- counting


def test_nth_counts_for_the_connection_the_account_and_the_host() -> None:
    for scope, expected in (("connection", [0, 1, 0, 1]), ("host", [0, 1, 0, 0]), ("account", [0, 1, 0, 0])):
        where = host(rule(when={f"nth.{scope}": 2}))
        seen = []
        for _ in range(2):
            one = connection(where)
            one.account = where.store.accounts[ALICE]
            seen += [int(one.consult("noop") is not None) for _ in range(2)]
        assert seen == expected, scope


def test_nth_counts_an_account_that_is_only_claimed() -> None:
    where = host(rule(when={"nth.account": {"at_least": 2}}))
    fired = []
    for name in (ALICE, "bob@example.test", ALICE):
        one = connection(where)
        one.claimed = where.store.accounts[name]
        fired.append(one.consult("noop") is not None)
    assert fired == [False, False, True]


def test_nth_counts_only_when_the_other_conditions_hold() -> None:
    where = host(rule(when={"argument": "x", "nth.host": 2}))
    one = connection(where)
    assert [one.consult("noop", argument=a) is not None for a in ("y", "x", "y", "x")] == [False, False, False, True]


def test_counters_over_a_window_on_the_hosts_clock() -> None:
    clock = Clock(0.0)
    where = host(rule(when={"account.messages": {"at_least": 2, "within": "24h"}}), clock=clock)
    one = connection(where)
    one.account = where.store.accounts[ALICE]
    one.count("messages", 2)
    assert one.consult("noop") is not None
    clock.advance(86400)
    assert one.consult("noop") is None


def test_probability_is_seeded() -> None:
    def run(seed: int) -> list[bool]:
        where = FakeMailHost("generic", rules=[rule(when={"probability": 0.5})], seed=seed)
        one = connection(where)
        return [one.consult("noop") is not None for _ in range(64)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 10 < sum(run(1)) < 54
    assert not any(fires(rule(when={"probability": 0})) for _ in range(20))
    assert all(fires(rule(when={"probability": 1})) for _ in range(20))


# --- order


def test_rules_act_in_order_until_one_answers() -> None:
    where = host(
        rule(name="slow", delay=1),
        rule(name="first", reply="+OK first"),
        rule(name="second", reply="+OK second", delay=9),
    )
    effect = connection(where).consult("noop")
    assert effect is not None
    assert effect.rule == "slow+first"
    assert effect.reply is not None
    assert effect.reply.reply == "+OK first"
    assert effect.around(b"x") == [Wait(1), Send(b"x", None, "slow+first")]


def test_in_turn_the_last_repeats() -> None:
    where = host(rule(in_turn=[{"reply": "-ERR 1"}, {"reply": "-ERR 2"}, {"then": "close"}]))
    said = []
    for _ in range(4):
        effect = connection(where).consult("noop")
        assert effect is not None
        said.append(effect.reply.reply if effect.reply else effect.ending)
    assert said == ["-ERR 1", "-ERR 2", "close", "close"]


def test_patterns_and_several_points() -> None:
    book = RuleBook([rule(at=["pop3.st*", "imap.noop"]), rule(name="all", at="*")], Random(0))
    assert book.has("pop3.stat")
    assert book.has("pop3.stls")
    assert book.has("smtp.mail")
    assert not RuleBook([rule(at="pop3.st*")], Random(0)).has("pop3.retr")


def test_rules_come_and_go_while_the_host_runs() -> None:
    where = host(rule(name="standing", reply="+OK standing"))
    one = connection(where)
    where.site.rules.add([rule(name="new", reply="+OK new"), rule(name="newer", reply="+OK newer")])
    effect = one.consult("noop")
    assert effect is not None
    assert effect.rule == "new", "added rules stand first, in their own order"
    where.site.rules.remove("new")
    where.site.rules.remove("newer")
    effect = one.consult("noop")
    assert effect is not None
    assert effect.rule == "standing"


def test_properties_are_set_and_the_clock_is_moved() -> None:
    clock = Clock(0.0)
    where = host(rule(set={"locked": True}, advance="1h"), clock=clock)
    one = connection(where)
    one.claimed = where.store.accounts[ALICE]
    one.consult("noop")
    assert where.store.accounts[ALICE].properties["locked"] is True
    assert clock.now() == 3600


# --- effects


def effect(**act: Any) -> Effect:
    return Effect("rule", [Act.model_validate(act)])


def test_what_an_effect_makes_of_an_answer() -> None:
    assert effect().around(b"abc") == [Send(b"abc", None, "rule")]
    assert effect(truncate=2, append="x").around(b"abc") == [Send(b"ab", None, "rule")]
    assert effect(truncate=0, then="reset").around(b"abc") == [End("reset", "rule")]
    assert effect(append="\\r\\n250 injected\\r\\n").around(b"a") == [Send(b"a\r\n250 injected\r\n", None, "rule")]
    assert effect(cut=5).around(b"a") == [Send(b"a", None, "rule"), Cut(5, "reset", "rule")]
    assert effect(split="lines").around(b"a\r\nb\r\n") == [Send(b"a\r\nb\r\n", Pace((3, 6)), "rule")]
    assert effect(split=[1, 2], every=0.5).around(b"abc") == [Send(b"abc", Pace((1, 2), 0, 0.5), "rule")]
    assert effect(every=0.5).around(b"abc") == [Send(b"abc", Pace((), 1, 0.5), "rule")]
    assert effect(split="octets").around(b"abc") == [Send(b"abc", Pace((), 1), "rule")]
    assert effect(hold=True).around(b"abc") == [Send(b"abc", Pace(hold=inf), "rule")]
    assert effect(hold=0.5).around(b"abc") == [Send(b"abc", Pace(hold=0.5), "rule")]
    assert effect(delay=2).around(b"a", secret=True) == [Wait(2), Send(b"a", None, "rule", True)]


def test_capabilities() -> None:
    offered = ["STLS", "SASL PLAIN", "AUTH=PLAIN", "AUTH=LOGIN"]
    change = Capabilities(remove=["sasl", "auth=login"], add=["X", "STLS"])
    assert change.apply(offered) == ["STLS", "AUTH=PLAIN", "X"]
    assert Capabilities(only=["A"], add=["B"]).apply(offered) == ["A", "B"]
    assert effect(capabilities={"only": []}).capabilities(offered) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\\r\\n", b"a\r\n"), ("\\x00\\xfF", b"\0\xff"), ("\\\\r", b"\\r"), ("\\q", b"\\q"), ("\u00e4", b"\xc3\xa4"),
     ("a\nb", b"a\nb"), ("\\0", b"\0"), ("\\t", b"\t"), ("", b"")],
)  # fmt: skip
def test_escapes(text: str, expected: bytes) -> None:
    assert unescape(text) == expected


@given(st.binary())
def test_every_octet_can_be_written(octets: bytes) -> None:
    assert unescape("".join(f"\\x{octet:02x}" for octet in octets)) == octets


@given(st.sampled_from(["x", "xy", "z", ""]), st.booleans())
def test_who_is_told_that_no_rule_concerns_a_command_misses_none(argument: str, known: bool) -> None:
    book = RuleBook(
        [
            rule(name="named", when={"argument": {"regex": "^x"}}),
            rule(name="owned", when={"argument": "z", "account.frozen": True}),
        ],
        Random(0),
    )
    where = connection(host())
    if known:
        where.account = where.site.store.account(ALICE)
        assert where.account is not None
        where.account.properties["frozen"] = True
    concerned = book.concerns("pop3.noop", where, argument)
    assert concerned or book.consult("pop3.noop", where, argument=argument) is None
    assert book.concerns("pop3.noop", where), "without an argument nothing is ruled out"
    assert not book.concerns("pop3.stat", where, argument)


def test_what_concerns_a_command_changes_with_the_rules() -> None:
    book, where = RuleBook([rule(name="one", when={"argument": "x"})], Random(0)), connection(host())
    assert not book.concerns("pop3.noop", where, "y")
    book.add([rule(name="two", when={"argument": "y"})])
    assert book.concerns("pop3.noop", where, "y")
    book.remove("two")
    assert not book.concerns("pop3.noop", where, "y")
    book.remove("one")
    assert not book.has("pop3.noop")


def test_conditions_on_the_account_wait_for_one() -> None:
    book, where = RuleBook([rule(when={"account.messages": {"at_least": 0}})], Random(0)), connection(host())
    assert not book.concerns("pop3.noop", where)
    assert book.consult("pop3.noop", where) is None
    where.claimed = where.site.store.account(ALICE)
    assert book.concerns("pop3.noop", where)
    assert book.consult("pop3.noop", where) is not None
    absent = RuleBook([rule(when={"account.plan": {"present": False}})], Random(0))
    assert absent.consult("pop3.noop", connection(host())) is not None, "what nobody has is absent"
