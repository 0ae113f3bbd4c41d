"""A scenario: what is given, what the client does step by step, and what must be seen. Data only."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from fakeservers.durations import Duration
from fakeservers.profile import ServiceName
from fakeservers.rules import Rule
from harness.expectations import ClosingExpect, FetchExpect, SendExpect, TestExpect

__all__ = [
    "FEATURES", "Change", "ChangeStep", "ClientStep", "Crash", "CrashStep", "Given", "Mail", "OutgoingMessage",
    "RestartStep", "Scenario", "Send", "SendStep", "Step", "WaitStep",
]  # fmt: skip

Features = Literal[
    "send", "queue", "rate-limit-memory", "fetch", "imap", "pop3", "starttls", "implicit-tls", "opportunistic-tls",
    "client-cert", "crl", "auth-plain", "auth-login", "auth-cram-md5", "auth-xoauth2", "auth-oauthbearer", "auth-scram",
    "auth-external", "graph", "smtputf8", "idle", "complete", "test-connection", "clock", "dial", "host-comma-port",
]  # fmt: skip
FEATURES: tuple[str, ...] = Features.__args__  # type: ignore[attr-defined]
Feature = Features | Annotated[str, Field(pattern=r"^business-[a-z0-9-]+$")]
Row = Annotated[str, Field(pattern=r"^[A-E]\d{1,2}$")]
Section = Literal["outgoing", "incoming", "graph", "business"]
Scalar = str | int | float | bool | None


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mail(Part):
    """Mail that lies in a mailbox before the client comes, or arrives later (`change`)."""

    to: str = "alice@example.test"
    mailbox: str = "INBOX"
    subject: str = "A message"
    sender: str = "carol@example.test"
    body: str = "Hello.\n"
    flags: list[str] = []
    eml: str | None = Field(
        default=None, description="the whole message instead of subject, sender and body; LF becomes CRLF"
    )
    charset: Literal["utf-8", "latin-1"] = Field(
        default="utf-8", description="of `eml`; with latin-1 each character U+0000 to U+00FF is the octet of its number"
    )
    octets: int | None = Field(default=None, ge=1, le=40_000_000, description="pad the body to about so many octets")
    count: int = Field(default=1, ge=1, le=10_000, description="so many; `{n}` in subject and body is the number")

    @model_validator(mode="after")
    def _encodable(self) -> Mail:
        if self.charset == "latin-1":
            if self.eml is None:
                raise ValueError("charset: latin-1 is for `eml`, which is missing")
            strange = next((char for char in self.eml if char > "\xff"), None)
            if strange is not None:
                raise ValueError(f"charset: latin-1 has no {strange!r} (U+{ord(strange):04X})")
        return self


class Account(Part):
    password: str = "secret"
    token: str | None = None
    properties: dict[str, Scalar] = {}
    mailboxes: list[str] = []
    """Mailboxes to create beside those of the profile."""


class Given(Part):
    """The world before the first step. Without `accounts` there are alice and bob at example.test."""

    accounts: dict[str, Account] = {}
    mail: list[Mail] = []
    quirks: list[str] = []
    rules: list[Rule] = []


class OutgoingMessage(Part):
    """One message to send. `eml` is the whole message; otherwise one is made of `subject` and `body`."""

    id: str | None = None
    sender: str | None = Field(default="alice@example.test", alias="from")
    to: list[str] = ["bob@example.test"]
    subject: str = "A message"
    body: str = "Hello.\n"
    eml: str | None = None
    octets: int | None = Field(default=None, ge=1, le=40_000_000, description="pad the body to about so many octets")


class Send(Part):
    """`messages`, or `count` copies of the plain one (ids m1, m2, ...)."""

    messages: list[OutgoingMessage] = []
    count: int = Field(default=1, ge=1, le=20_000)
    to: list[str] = ["bob@example.test"]


class Probe(Part):
    to: str | None = None


class Business(Part):
    operation: str
    arguments: dict[str, Any] = {}


EMPTY = BeforeValidator(lambda value: {} if value is None else value)

Nothing = Annotated[dict[str, Any], Field(max_length=0), EMPTY]
"""A key whose value says nothing more: `flush:` or `flush: {}`."""


class Crash(Part):
    """Kill the client: now, or in the next step when the server reaches `at` for the nth time. The command has no
    effect; with `stored` it has its effect (at `smtp.message`: the message is stored), and the client never hears of
    it."""

    at: str | None = None
    nth: int = Field(default=1, ge=1)
    stored: bool = False


class Change(Part):
    """The server changes between two steps."""

    rules: list[Rule] = []
    remove_rules: list[str] = []
    mail: list[Mail] = []
    accounts: dict[str, dict[str, Scalar]] = Field(default={}, description="address: properties to set")
    passwords: dict[str, str] = {}
    uidvalidity: list[str] = Field(default=[], description="`address/MAILBOX` that get a new UIDVALIDITY and new UIDs")
    stop: list[ServiceName] = Field(default=[], description="services that refuse connections from here on")
    drop_connections: bool = False


class _Act(Part):
    settings: dict[Section, dict[str, Any]] = Field(default={}, description="overrides from this step on")
    limit: Duration | None = Field(default=None, description="real seconds in which the reply must come")

    @property
    def action(self) -> str:
        return next(iter(type(self).model_fields.keys() & ACTIONS.keys()))


class SendStep(_Act):
    send: Annotated[Send, EMPTY]
    expect: SendExpect | None = None


class FlushStep(_Act):
    flush: Nothing
    expect: SendExpect | None = None


class FetchStep(_Act):
    fetch: Nothing
    expect: FetchExpect | None = None


class TestOutgoingStep(_Act):
    __test__ = False

    test_outgoing: Annotated[Probe, EMPTY]
    expect: TestExpect | None = None


class TestIncomingStep(_Act):
    __test__ = False

    test_incoming: Annotated[Probe, EMPTY]
    expect: TestExpect | None = None


class BusinessStep(_Act):
    business: Business
    expect: TestExpect | None = None


class WaitStep(Part):
    """The scenario's clock moves; no real time passes."""

    wait: Duration

    @property
    def action(self) -> str:
        return "wait"


class RestartStep(Part):
    """The client ends in good order and is started again."""

    restart: Nothing

    @property
    def action(self) -> str:
        return "restart"


class CrashStep(Part):
    crash: Annotated[Crash, EMPTY]

    @property
    def action(self) -> str:
        return "crash"


class ChangeStep(Part):
    change: Change

    @property
    def action(self) -> str:
        return "change"


ACTIONS: dict[str, type[Part]] = {
    "send": SendStep,
    "flush": FlushStep,
    "fetch": FetchStep,
    "test_outgoing": TestOutgoingStep,
    "test_incoming": TestIncomingStep,
    "business": BusinessStep,
    "wait": WaitStep,
    "restart": RestartStep,
    "crash": CrashStep,
    "change": ChangeStep,
}


def _tag(value: Any) -> str | None:
    given = [key for key in ACTIONS if (key in value if isinstance(value, dict) else hasattr(value, key))]
    return f"a {given[0]} step" if len(given) == 1 else None


ONE_ACTION = f"a step has exactly one of the keys {', '.join(ACTIONS)}"


def _one_action(value: Any) -> Any:
    if isinstance(value, dict) and not any(key in value for key in ACTIONS):
        for key in value:
            if near := get_close_matches(key, ACTIONS, n=1):
                raise ValueError(f'{ONE_ACTION}: did you mean "{near[0]}" by "{key}"?')
    return value


Step = Annotated[
    Annotated[SendStep, Tag("a send step")]
    | Annotated[FlushStep, Tag("a flush step")]
    | Annotated[FetchStep, Tag("a fetch step")]
    | Annotated[TestOutgoingStep, Tag("a test_outgoing step")]
    | Annotated[TestIncomingStep, Tag("a test_incoming step")]
    | Annotated[BusinessStep, Tag("a business step")]
    | Annotated[WaitStep, Tag("a wait step")]
    | Annotated[RestartStep, Tag("a restart step")]
    | Annotated[CrashStep, Tag("a crash step")]
    | Annotated[ChangeStep, Tag("a change step")],
    Discriminator(_tag, custom_error_type="step", custom_error_message=ONE_ACTION),
    BeforeValidator(_one_action),
]
ClientStep = SendStep | FlushStep | FetchStep | TestOutgoingStep | TestIncomingStep | BusinessStep


class Scenario(Part):
    """One case, its matrix already filled in."""

    title: str
    why: str = Field(description="the real incident, or the rule of the RFC, for which it stands")
    provider: str
    tags: list[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]] = []
    source: str | list[str] | None = None
    covers: list[Row] = Field(default=[], description="rows of the client stack that it proves")
    needs: list[Feature] = Field(default=[], description="features beyond those that steps and settings imply")
    given: Given = Given()
    settings: dict[Section, dict[str, Any]] = Field(default={}, description="over the profile's recommended ones")
    limit: Duration | None = Field(default=None, description="real seconds in which each reply must come")
    steps: list[Step] = Field(min_length=1)
    expect: ClosingExpect | None = None

    @model_validator(mode="after")
    def _can_fail(self) -> Scenario:
        if self.expect is None and not any(getattr(step, "expect", None) for step in self.steps):
            raise ValueError('no "expect" anywhere: a scenario that expects nothing cannot fail')
        return self

    def actions(self) -> list[str]:
        return [step.action for step in self.steps]
