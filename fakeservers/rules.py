"""The one mechanism: at a point of a dialogue, under conditions, act.

A provider's quirks, a scenario's faults and `serve --rules` are all rules. Rules at a point are read in order: every
rule whose conditions hold acts, and the first that answers (a reply, or an end of the connection) ends the reading.
A reply that accepts (2xx, 3xx, OK, +OK) lets the command have its effect; one that refuses, and an empty one, stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import TYPE_CHECKING

from fakeservers.acts import Act, Capabilities, Rule
from fakeservers.conditions import SCOPES, Condition, fact_names
from fakeservers.effects import Effect, unescape
from fakeservers.nearest import unknown
from fakeservers.points import POINTS

if TYPE_CHECKING:
    from fakeservers.connection import Connection

__all__ = [
    "Act",
    "Capabilities",
    "Condition",
    "Effect",
    "Moment",
    "Rule",
    "RuleBook",
    "fact_names",
    "unescape",
    "unknown",
]


@dataclass(slots=True)
class Moment:
    """What the server knows when a point is reached: the connection, and the facts of this command. A fact that costs
    something to find is a function, called when a condition asks; `header` is one of a header field's name."""

    connection: Connection
    facts: dict[str, object] = field(default_factory=dict)

    def value(self, key: str, within: float | None) -> object:
        if key in self.facts:
            fact = self.facts[key]
            return fact() if callable(fact) else fact
        if key.startswith("header."):
            header = self.facts.get("header")
            return header(key.removeprefix("header.")) if callable(header) else None
        return self.connection.fact(key, within)


_CONCERNED_LIMIT, _CONCERNED_LENGTH = 1024, 512


class _Compiled:
    """One rule ready to run: plain conditions first, then probability, then the count."""

    __slots__ = ("fired", "needs_account", "nth", "plain", "probability", "rule", "seen")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.plain: list[tuple[str, Callable[[object], bool], float | None, tuple[str, str] | None]] = []
        for key, condition in rule.when.items():
            scope, _, name = key.partition(".")
            if key != "probability" and scope != "nth":
                scoped = (scope, name) if scope in SCOPES and name else None
                self.plain.append((key, condition.compiled(), condition.within, scoped))
        self.needs_account = any(
            scoped is not None and scoped[0] == "account" and not test(None) for _, test, _, scoped in self.plain
        )
        chance = rule.when.get("probability")
        self.probability = None if chance is None else float(chance.equals)  # type: ignore[arg-type]
        self.nth = [(key.partition(".")[2], cond) for key, cond in rule.when.items() if key.startswith("nth.")]
        self.seen: dict[object, int] = {}
        self.fired = 0

    def holds(self, moment: Moment, random: Random) -> bool:
        for key, test, within, scoped in self.plain:
            if not test(moment.value(key, within) if scoped is None else moment.connection.scoped(*scoped, within)):
                return False
        if self.probability is not None and random.random() >= self.probability:
            return False
        counts = [(condition, self._count(scope, moment)) for scope, condition in self.nth]
        return all(condition.test(count) for condition, count in counts)

    def may_hold(self, argument: str) -> bool:
        """No condition on the command's argument fails."""
        return all(test(argument) for key, test, _, _ in self.plain if key == "argument")

    def _count(self, scope: str, moment: Moment) -> int:
        key: object = scope
        if scope == "connection":
            # Kept by the connection, so that it goes when the connection goes.
            name = f"rule {id(self)}"
            moment.connection.tally.add(name, 0.0)
            return moment.connection.tally.total(name)
        if scope == "account" and (account := moment.connection.account or moment.connection.claimed) is not None:
            key = ("account", account.address)
        self.seen[key] = self.seen.get(key, 0) + 1
        return self.seen[key]

    def act(self) -> list[Act]:
        acts: list[Act] = [self.rule]
        if self.rule.in_turn:
            acts.insert(0, self.rule.in_turn[min(self.fired, len(self.rule.in_turn) - 1)])
        self.fired += 1
        return acts


class RuleBook:
    """The rules of one host, sorted by point. A point without rules costs one dictionary look-up."""

    def __init__(self, rules: Iterable[Rule], random: Random) -> None:
        self._random = random
        self.points: dict[str, list[_Compiled]] = {}
        self._nobody: dict[str, list[_Compiled]] = {}
        """Those that may hold where nobody has logged in or says who he is: conditions on the account fail there."""
        self._concerned: dict[tuple[str, str], bool] = {}
        """Whether some rule at a point may hold for a command with such an argument."""
        self.advance: Callable[[float], None] = lambda seconds: None
        self.on_fire: dict[str, Callable[[], None]] = {}
        """Rule name: called on the loop each time that rule fires."""
        self.rules: list[Rule] = []
        self.count_commands = False
        """A rule looks at how many commands there were."""
        for rule in rules:
            self._enter(rule, first=False)

    def add(self, rules: Iterable[Rule]) -> None:
        """Put rules before those that stand, while the host runs."""
        for rule in reversed(list(rules)):
            self._enter(rule, first=True)

    def remove(self, name: str) -> None:
        self._concerned.clear()
        self.rules = [rule for rule in self.rules if rule.name != name]
        for book in (self.points, self._nobody):
            for point, compiled in tuple(book.items()):
                compiled[:] = [one for one in compiled if one.rule.name != name]
                if not compiled:
                    del book[point]

    def _enter(self, rule: Rule, *, first: bool) -> None:
        compiled = _Compiled(rule)
        self._concerned.clear()
        self.count_commands |= any(key.endswith(".commands") for key in rule.when)
        self.rules.insert(0 if first else len(self.rules), rule)
        for point in rule.points:
            for each in POINTS if point == "*" else [p for p in POINTS if fnmatchcase(p, point)]:
                for book in (self.points,) if compiled.needs_account else (self.points, self._nobody):
                    at = book.setdefault(each, [])
                    at.insert(0 if first else len(at), compiled)

    def has(self, point: str) -> bool:
        return point in self.points

    def concerns(self, point: str, connection: Connection, argument: str | None = None) -> bool:
        """There is a rule at `point` that may hold on this connection, for a command with `argument` where that is
        given: it is remembered, so it should be no secret."""
        nobody = connection.account is None and connection.claimed is None
        if point not in (self._nobody if nobody else self.points):
            return False
        if argument is None or len(argument) > _CONCERNED_LENGTH:
            return True
        known = self._concerned.get((point, argument))
        if known is None:
            if len(self._concerned) >= _CONCERNED_LIMIT:
                self._concerned.clear()
            known = self._concerned[point, argument] = any(one.may_hold(argument) for one in self.points[point])
        return known

    def consult(self, point: str, connection: Connection, /, **facts: object) -> Effect | None:
        """What the rules want at `point`, or None: the server does as it would."""
        anybody = connection.account is not None or connection.claimed is not None
        compiled = (self.points if anybody else self._nobody).get(point)
        if compiled is None:
            return None
        facts.setdefault("command", point.partition(".")[2])
        moment = Moment(connection, facts)
        acts: list[Act] = []
        names = []
        for one in compiled:
            if not one.holds(moment, self._random):
                continue
            fired = one.act()
            acts += fired
            names.append(one.rule.name)
            if self.on_fire and (told := self.on_fire.get(one.rule.name)):
                told()
            for act in fired:
                if act.set and (account := connection.account or connection.claimed) is not None:
                    account.properties.update(act.set)
                if act.advance is not None:
                    self.advance(act.advance)
            if any(act.answers for act in fired):
                break
        return Effect("+".join(names), acts) if acts else None
