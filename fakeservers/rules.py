"""The one mechanism: at a point of a dialogue, under conditions, act.

A provider's quirks, a scenario's faults and `serve --rules` are all rules. Rules at a point are read in order: every
rule whose conditions hold acts, and the first that answers (a reply, or an end of the connection) ends the reading.
A reply that accepts (2xx, 3xx, OK, +OK) lets the command have its effect; one that refuses, and an empty one, stops it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fakeservers.actions import Action, Cut, End, Ending, Pace, Send, Wait
from fakeservers.durations import Duration
from fakeservers.points import CERTIFICATE_DEFECTS, HANDSHAKE_FAULTS, POINTS, known_point, known_strictness
from fakeservers.templates import placeholders

if TYPE_CHECKING:
    from fakeservers.connection import Connection

__all__ = ["Act", "Capabilities", "Condition", "Effect", "Moment", "Rule", "RuleBook", "fact_names"]

Scalar = str | int | float | bool | None

FACTS: Mapping[str, str] = {
    "tls": "true under TLS, or the version as text (`TLSv1.2`)",
    "service": "smtp, submission, smtps, imap, imaps, pop3, pop3s",
    "command": "the command's name in lower case",
    "argument": "what follows the command, without the line end",
    "ehlo": "the name given in EHLO or HELO; null before",
    "authenticated": "true after a successful login",
    "mechanism": "the SASL mechanism in upper case, or `LOGIN` / `USER` / `APOP` for the plain commands",
    "username": "the name that the client claims",
    "credentials": "right, wrong, unknown-user, expired, disabled, revoked or wrong-audience (at `*.credentials`)",
    "address": "the address in MAIL or RCPT, without brackets; empty for the null reverse-path",
    "domain": "its domain",
    "sender": "the reverse-path of this transaction",
    "parameters": "MAIL or RCPT parameters as one text",
    "recipients": "recipients of this transaction, this one included at `smtp.rcpt`",
    "size": "octets: declared at MAIL, real at `message`, of the literal at APPEND",
    "smtputf8": "true when the transaction uses it",
    "eight_bit": "true when the message has octets over 127",
    "bare_lf": "true when the message has LF without CR, or CR without LF",
    "from_header": "the addr-spec of the message's From",
    "subject": "the message's Subject, decoded",
    "mailbox": "the mailbox that the command names or has selected",
    "items": "FETCH items or the SEARCH program as they came",
    "client": "the client's IP address",
    "sni": "the server name of the TLS handshake, or null",
    "elapsed": "seconds that the host's clock has moved since the host was made",
}
SCOPES = ("connection", "account", "host")
COUNTERS = (
    "messages",
    "recipients",
    "connections",
    "sessions",
    "logins",
    "failed_logins",
    "commands",
    "bad_commands",
    "octets",
)


def fact_names() -> dict[str, str]:
    """Every plain condition key with its meaning."""
    return dict(FACTS)


class Condition(BaseModel):
    """A test on one fact: all given parts must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    equals: Scalar | list[Scalar] = None
    not_: Scalar | list[Scalar] = Field(default=None, alias="not")
    glob: str | None = None
    regex: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    every: int | None = Field(default=None, gt=0, description="true for each multiple of this number")
    within: Duration | None = Field(default=None, description="counters: the window, e.g. 24h")
    present: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return value if isinstance(value, dict | Condition) else {"equals": value}

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return value

    def compiled(self) -> Callable[[object], bool]:
        """`test`, made short for the conditions that stand at every message."""
        given = self.model_fields_set - {"within"}
        if given == {"equals"}:
            equals = self.equals
            return lambda value: _among(value, equals)
        if given == {"not_"}:
            unwanted = self.not_
            return lambda value: not _among(value, unwanted)
        if given == {"regex"} and self.regex is not None:
            search = re.compile(self.regex, re.IGNORECASE).search
            return lambda value: search("" if value is None else str(value)) is not None
        if given == {"at_least"} and self.at_least is not None:
            least = self.at_least
            return lambda value: isinstance(value, int | float) and value >= least
        return self.test

    def test(self, value: object) -> bool:
        """Texts are compared without case; a list means any of them."""
        given = self.model_fields_set
        if "present" in given and (value is not None) != self.present:
            return False
        if "equals" in given and not _among(value, self.equals):
            return False
        if "not_" in given and _among(value, self.not_):
            return False
        text = "" if value is None else str(value)
        if self.glob is not None and not fnmatchcase(text.lower(), self.glob.lower()):
            return False
        if self.regex is not None and not re.search(self.regex, text, re.IGNORECASE):
            return False
        if self.at_least is None and self.at_most is None and self.every is None:
            return True
        if not isinstance(value, int | float):
            return False
        if self.at_least is not None and value < self.at_least:
            return False
        if self.at_most is not None and value > self.at_most:
            return False
        return self.every is None or value % self.every == 0


def _among(value: object, wanted: Scalar | list[Scalar]) -> bool:
    if isinstance(wanted, list):
        return any(_among(value, one) for one in wanted)
    if isinstance(wanted, bool) or wanted is None:
        return bool(value) == wanted if isinstance(wanted, bool) else value is None
    if isinstance(wanted, str):
        return value is not None and str(value).casefold() == wanted.casefold()
    return value == wanted


class Capabilities(BaseModel):
    """A change of what is advertised: EHLO keywords, IMAP capabilities, CAPA lines (matched by their first word, or
    `AUTH=X` whole)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    add: list[str] = []
    remove: list[str] = []
    only: list[str] | None = None

    def apply(self, offered: Sequence[str]) -> list[str]:
        kept = list(offered) if self.only is None else list(self.only)
        gone = {word.upper() for word in self.remove}
        kept = [line for line in kept if line.upper() not in gone and line.upper().split(" ")[0] not in gone]
        return kept + [line for line in self.add if line not in kept]


TlsVersion = Literal["TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"]


class TlsTerms(BaseModel):
    """What the server insists on in a handshake."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: TlsVersion | None = Field(default=None, description="lowest version")
    maximum: TlsVersion | None = Field(default=None, description="highest version")
    ciphers: str | None = Field(
        default=None, description="an OpenSSL cipher string for TLS 1.2 and below; without a maximum it is TLSv1_2"
    )
    sni: Literal["required"] | None = Field(
        default=None, description="a client that names no server gets a certificate that says so, of nobody"
    )
    at_once: bool | None = Field(
        default=None, description="at `*.accept`: whether TLS comes first, whatever the port is for"
    )

    @model_validator(mode="before")
    @classmethod
    def _ciphers_below(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("ciphers") and "maximum" not in value:
            return {**value, "maximum": "TLSv1_2"}
        return value


class Broken(BaseModel):
    """The connection breaks, `how`, once the client has sent `after` more octets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: int = Field(ge=0)
    how: Ending = "reset"


class Act(BaseModel):
    """What a rule does. Every part is optional; several may stand together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reply: str | None = Field(
        default=None,
        description="said instead of the server's own answer, line by line; for IMAP `OK`, `NO`, `BAD` lines get the "
        "command's tag, `*` and `+` lines stay; empty: nothing is said and the command has no effect (with `truncate: "
        "0` instead it has its effect in silence)",
    )
    line_end: Literal["crlf", "lf", "cr", "none"] = "crlf"
    untagged: str | None = Field(default=None, description="lines sent before the answer")
    append: str | None = Field(
        default=None, description="bytes right behind the answer in one segment; escapes as \\r\\n"
    )
    capabilities: Capabilities | None = None
    delay: Annotated[float, Field(ge=0, le=120)] = Field(default=0, description="real seconds before the answer")
    split: list[int] | Literal["lines", "octets"] | None = Field(
        default=None, description="where to cut into segments; a negative number counts from the end"
    )
    bandwidth: int | None = Field(
        default=None, ge=20, description="at `*.accept`: octets a second that the server sends on this connection"
    )
    every: Annotated[float, Field(ge=0, le=60)] = Field(default=0, description="real seconds between segments")
    hold: bool = Field(default=False, description="keep the answer back and send it with the next one")
    truncate: int | None = Field(default=None, ge=0, description="send only so many octets of the answer")
    cut: Annotated[int, Field(ge=0)] | Broken | None = Field(
        default=None, description="break the connection after so many more octets from the client"
    )
    then: Literal["continue"] | Ending = "continue"
    certificate: str | None = Field(default=None, description="the defect of the certificate shown (at `*.tls`)")
    handshake: str | None = Field(default=None, description="what goes wrong with the handshake (at `*.tls`)")
    tls: TlsTerms | None = Field(default=None, description="what the server insists on (at `*.tls`)")
    client_certificate: Literal["optional", "required"] | None = Field(
        default=None, description="whether the client is asked for its certificate (at `*.tls`)"
    )
    deliver: bool | None = Field(
        default=None, description="at `smtp.message`: store the message or not, whatever the reply"
    )
    strict: list[str] = Field(
        default=[], description="SMTP: what this connection's server minds from here on, see `STRICTNESS`"
    )
    lenient: list[str] = Field(default=[], description="SMTP: what it does not mind any more")
    manners: dict[str, bool | str | int] = Field(
        default={}, description="IMAP: options of the profile, as `say_case: lower`, for the rest of the connection"
    )
    set: dict[str, Scalar] = Field(default={}, description="account properties to set")
    advance: Duration | None = Field(default=None, description="move the host's clock")

    @field_validator("certificate")
    @classmethod
    def _defect(cls, value: str | None) -> str | None:
        if value is not None and value not in CERTIFICATE_DEFECTS:
            raise ValueError(unknown("certificate defect", value, CERTIFICATE_DEFECTS))
        return value

    @field_validator("handshake")
    @classmethod
    def _fault(cls, value: str | None) -> str | None:
        if value is not None and value not in HANDSHAKE_FAULTS:
            raise ValueError(unknown("handshake fault", value, HANDSHAKE_FAULTS))
        return value

    @field_validator("strict", "lenient")
    @classmethod
    def _strictness(cls, value: list[str]) -> list[str]:
        return known_strictness(value)

    @field_validator("manners")
    @classmethod
    def _known_manners(cls, value: dict[str, bool | str | int]) -> dict[str, bool | str | int]:
        if value:
            from fakeservers.imap.options import check_options

            check_options(value)
        return value

    @property
    def answers(self) -> bool:
        return self.reply is not None or self.then != "continue"


class Rule(Act):
    """A point, conditions, and what happens there."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    at: str | list[str] = Field(description="one point or several, e.g. smtp.mail")
    when: dict[str, Condition] = {}
    in_turn: list[Act] = Field(
        default=[], description="the nth time this rule fires it does the nth of these; the last repeats"
    )
    source: str | None = None

    @field_validator("at")
    @classmethod
    def _point(cls, value: str | list[str]) -> str | list[str]:
        for point in [value] if isinstance(value, str) else value:
            known_point(point)
        return value

    @field_validator("when")
    @classmethod
    def _facts(cls, value: dict[str, Condition]) -> dict[str, Condition]:
        for key, condition in value.items():
            known_fact(key)
            if key == "probability":
                chance = condition.equals
                if not isinstance(chance, int | float) or isinstance(chance, bool) or not 0 <= chance <= 1:
                    raise ValueError("probability: expected a number from 0 to 1")
        return value

    @field_validator("reply", "untagged")
    @classmethod
    def _placeholders(cls, value: str | None) -> str | None:
        if value is not None:
            placeholders(value)
        return value

    @property
    def points(self) -> list[str]:
        return [self.at] if isinstance(self.at, str) else self.at


def known_fact(key: str) -> None:
    """Raises ValueError, naming what there is, for a condition key that no core could ever set."""
    scope, dot, name = key.partition(".")
    if key in FACTS or key == "probability" or (dot and scope == "header"):
        return
    if dot and scope == "nth" and name in SCOPES:
        return
    if dot and scope == "account" and name:
        return
    if dot and scope in SCOPES and name in COUNTERS:
        return
    known = [*FACTS, "probability", "header.<name>", *(f"nth.{s}" for s in SCOPES), "account.<property>",
             *(f"{s}.{c}" for s in SCOPES for c in COUNTERS)]  # fmt: skip
    raise ValueError(unknown("condition", key, known))


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist: with the nearest one, and the list."""
    from difflib import get_close_matches

    names = sorted(known)
    if not names:
        return f'unknown {what} "{given}": there is none'
    near = get_close_matches(given, names, n=1)
    hint = f'did you mean "{near[0]}"? ' if near else ""
    most = 8 if near else 40
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f'unknown {what} "{given}": {hint}(known: {shown})'


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


@dataclass(slots=True)
class Effect:
    """What the matching rules want at this point, merged; an earlier rule's word stands."""

    rule: str
    acts: list[Act]

    @property
    def reply(self) -> Act | None:
        """The act that says something instead of the server, if any."""
        return next((act for act in self.acts if act.reply is not None), None)

    @property
    def ending(self) -> Ending | None:
        return next((act.then for act in self.acts if act.then != "continue"), None)

    @property
    def deliver(self) -> bool | None:
        return next((act.deliver for act in self.acts if act.deliver is not None), None)

    @property
    def certificate(self) -> str | None:
        return next((act.certificate for act in self.acts if act.certificate is not None), None)

    @property
    def handshake(self) -> str | None:
        return next((act.handshake for act in self.acts if act.handshake is not None), None)

    @property
    def tls(self) -> TlsTerms | None:
        return next((act.tls for act in self.acts if act.tls is not None), None)

    @property
    def bandwidth(self) -> int | None:
        return next((act.bandwidth for act in self.acts if act.bandwidth is not None), None)

    @property
    def client_certificate(self) -> Literal["optional", "required"] | None:
        return next((act.client_certificate for act in self.acts if act.client_certificate is not None), None)

    @property
    def manners(self) -> dict[str, bool | str | int]:
        return {name: value for act in reversed(self.acts) for name, value in act.manners.items()}

    @property
    def untagged(self) -> list[str]:
        return [line for act in self.acts if act.untagged is not None for line in act.untagged.splitlines()]

    def capabilities(self, offered: Sequence[str]) -> list[str]:
        for act in self.acts:
            if act.capabilities is not None:
                offered = act.capabilities.apply(offered)
        return list(offered)

    def around(self, answer: bytes, *, secret: bool = False) -> list[Action]:
        """The actions that send `answer` the way the rules want it: waits, segments, truncation, and the end."""
        actions: list[Action] = []
        delay = sum(act.delay for act in self.acts)
        if delay:
            actions.append(Wait(delay))
        for act in self.acts:
            if act.append is not None:
                answer += unescape(act.append)
            if act.truncate is not None:
                answer = answer[: act.truncate]
        if answer:
            actions.append(Send(answer, self._segments(answer), self.rule, secret))
        for act in self.acts:
            if act.cut is not None:
                broken = act.cut if isinstance(act.cut, Broken) else Broken(after=act.cut)
                actions.append(Cut(broken.after, broken.how, self.rule))
        if self.ending is not None:
            actions.append(End(self.ending, self.rule))
        return actions

    def _segments(self, answer: bytes) -> Pace | None:
        for act in self.acts:
            if act.split is not None or act.hold or act.every:
                positions: tuple[int, ...] = ()
                if isinstance(act.split, list):
                    positions = tuple(cut if cut >= 0 else len(answer) + cut for cut in act.split)
                elif act.split == "lines":
                    positions = tuple(match.end() for match in re.finditer(rb"\n", answer))
                step = 1 if act.split == "octets" or (act.split is None and act.every) else 0
                return Pace(positions, step, act.every, act.hold)
        return None


def unescape(text: str) -> bytes:
    r"""Bytes of a text with \r, \n, \t, \0, \xNN and \\ escapes."""
    simple = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    out = bytearray()
    for plain, escape, code in re.findall(r"([^\\]+)|\\(?:x([0-9a-fA-F]{2})|(.))", text, re.DOTALL):
        if plain:
            out += plain.encode()
        elif escape:
            out.append(int(escape, 16))
        else:
            out += simple.get(code, b"\\" + code.encode())
    return bytes(out)


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
        self.rules = [rule for rule in self.rules if rule.name != name]
        for book in (self.points, self._nobody):
            for point, compiled in tuple(book.items()):
                compiled[:] = [one for one in compiled if one.rule.name != name]
                if not compiled:
                    del book[point]

    def _enter(self, rule: Rule, *, first: bool) -> None:
        compiled = _Compiled(rule)
        self.count_commands |= any(key.endswith(".commands") for key in rule.when)
        self.rules.insert(0 if first else len(self.rules), rule)
        for point in rule.points:
            for each in POINTS if point == "*" else [p for p in POINTS if fnmatchcase(p, point)]:
                for book in (self.points,) if compiled.needs_account else (self.points, self._nobody):
                    at = book.setdefault(each, [])
                    at.insert(0 if first else len(at), compiled)

    def has(self, point: str) -> bool:
        return point in self.points

    def concerns(self, point: str, connection: Connection) -> bool:
        """There is a rule at `point` that may hold on this connection."""
        if connection.account is None and connection.claimed is None:
            return point in self._nobody
        return point in self.points

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
