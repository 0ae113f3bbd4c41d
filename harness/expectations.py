"""What may be expected, as data; an expectation that could not fail is refused when the file is read."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fakeservers.durations import Duration
from fakeservers.profile import ServiceName

__all__ = [
    "CATEGORIES", "OUTCOMES", "ClosingExpect", "ErrorExpect", "FetchExpect", "HandedOverExpect", "MailboxExpect",
    "Number", "SendExpect", "StoredExpect", "TestExpect", "TimeExpect", "WireExpect", "WirePattern",
]  # fmt: skip

Category = Literal[
    "connect", "dns", "timeout", "tls-handshake", "tls-certificate", "tls-required", "authentication", "auth-mechanism",
    "sender-refused", "recipient-refused", "message-refused", "size", "rate-limit", "quota", "temporary", "protocol",
    "disconnected", "unsupported", "config",
]  # fmt: skip
CATEGORIES: tuple[str, ...] = Category.__args__  # type: ignore[attr-defined]
Outcome = Literal["sent", "deferred", "failed"]
OUTCOMES: tuple[str, ...] = Outcome.__args__  # type: ignore[attr-defined]
Grade = Literal["must", "should"]


class Expect(BaseModel):
    """Common to all: `grade: should` turns a broken expectation into a warning; `ref` cites the paragraph."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grade: Grade = "must"
    ref: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Any:
        if not self.model_fields_set - {"grade", "ref", "name"}:
            raise ValueError("an empty expectation cannot fail: say what must be seen")
        return self


def _alternatives(value: Any, everything: tuple[str, ...]) -> Any:
    if isinstance(value, list) and set(value) >= set(everything):
        raise ValueError("alternatives that list every value cannot fail")
    if isinstance(value, list) and not value:
        raise ValueError("an empty list of alternatives can never hold")
    return value


OneOrMoreOutcomes = Annotated[
    Outcome | list[Outcome], Field(description="an outcome, or a list of those that are all right")
]


class Number(BaseModel):
    """A number, exact or within bounds: `3`, or `{at_least: 1, at_most: 3}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exactly: int | None = None
    at_least: int | None = None
    at_most: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"exactly": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _can_fail(self) -> Number:
        if self.exactly is None and self.at_most is None and (self.at_least is None or self.at_least <= 0):
            raise ValueError("cannot fail: every count is at least 0; use at_least: 1 or more, at_most, or a number")
        return self

    def holds(self, count: int) -> bool:
        return (
            (self.exactly is None or count == self.exactly)
            and (self.at_least is None or count >= self.at_least)
            and (self.at_most is None or count <= self.at_most)
        )


class TimeExpect(BaseModel):
    """A time the client states, relative to the scenario's clock at that step: `{after: 1h, before: 25h}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Duration | None = None
    before: Duration | None = None

    @model_validator(mode="after")
    def _bounded(self) -> TimeExpect:
        if self.after is None and self.before is None:
            raise ValueError("needs `after`, `before` or both")
        return self


class ErrorExpect(Expect):
    """What the error must say. A list of categories means that each of them is right."""

    category: Category | list[Category] | None = None
    code: int | list[int] | None = None
    enhanced: str | list[str] | None = None
    text: str | None = Field(default=None, description="a regular expression found in the error's text")
    lacks: str | None = Field(default=None, description="a regular expression that the error's text must not match")

    @field_validator("category")
    @classmethod
    def _narrow(cls, value: Any) -> Any:
        return _alternatives(value, CATEGORIES)

    @field_validator("text", "lacks")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        return checked_pattern(value)


class SendExpect(Expect):
    """On the reply to `send` or `flush`. Lists stand in the order of the messages; one value stands for all."""

    outcomes: Outcome | list[OneOrMoreOutcomes] | dict[str, OneOrMoreOutcomes] | None = Field(
        default=None,
        description="one for all messages, a list in their order, or by message id; a list inside means alternatives",
    )
    error: ErrorExpect | None = Field(default=None, description="of every message that was not sent")
    errors: dict[str, ErrorExpect | None] = Field(default={}, description="by message id; null: no error")
    recipients: dict[str, OneOrMoreOutcomes] | None = Field(default=None, description="outcome by recipient")
    recipient_errors: dict[str, ErrorExpect] | None = None
    results: Number | None = Field(default=None, description="how many messages are reported")
    rate_limited: bool | TimeExpect | None = Field(
        default=None, description="rate_limited_until is set (within bounds)"
    )
    retry_at: TimeExpect | None = Field(default=None, description="of every deferred message that states one")

    @field_validator("outcomes")
    @classmethod
    def _narrow(cls, value: Any) -> Any:
        if isinstance(value, list | dict):
            for one in value.values() if isinstance(value, dict) else value:
                _alternatives(one, OUTCOMES)
        return value


class FetchExpect(Expect):
    """On the reply to `fetch`."""

    messages: Number | None = None
    subjects: list[str] | None = Field(default=None, description="subjects handed over, in any order")
    contents: Literal["unchanged"] | None = Field(
        default=None, description="`unchanged`: each message is octet for octet one that the server has or had"
    )
    error: ErrorExpect | None = Field(default=None, description="null: no error")


class TestExpect(Expect):
    """On the reply to `test_outgoing`, `test_incoming` or `business`."""

    __test__ = False

    ok: bool | None = None
    error: ErrorExpect | None = None
    stages: dict[str, bool] | None = Field(default=None, description="stage: whether it went well")
    value: Any = None


class StoredExpect(Expect):
    """Mail that lies for one address at the end, in all mailboxes or in one."""

    name: str | None = None
    to: str
    mailbox: str | None = None
    subject: str | None = Field(default=None, description="only messages whose subject matches this pattern")
    count: Number = Number(at_least=1)
    content: str | None = Field(
        default=None, description="every such message matches this pattern (multi-line, dot matches all)"
    )
    lacks: str | None = Field(default=None, description="no such message matches this pattern")
    mail_from: str | None = Field(default=None, description="reverse-path of every such message")
    same_as: str | None = Field(
        default=None,
        description="the id of a sent message: header fields and body arrive as given, only additions allowed",
    )
    parameters: str | None = Field(default=None, description="MAIL or RCPT parameters match this pattern")

    @field_validator("content", "lacks", "subject", "parameters")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        return checked_pattern(value)


class MailboxExpect(Expect):
    """A mailbox at the end. Counts, and flags that every message has or lacks."""

    messages: Number | None = None
    unseen: Number | None = None
    deleted: Number | None = None
    exists: bool | None = None
    all_have: list[str] = []
    none_has: list[str] = []


class WirePattern(BaseModel):
    """Which entries of the transcript: all given parts must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client: str | None = Field(default=None, description="a regular expression on what the client says")
    server: str | None = Field(default=None, description="a regular expression on what the server says")
    event: str | None = Field(
        default=None, description="an event: connect, tls, tls-failed, login, secret, closed, bare-lf, ..."
    )
    service: ServiceName | None = None
    tls: bool | None = None
    connection: int | None = Field(default=None, ge=1, description="the nth connection of this scenario")
    step: int | None = Field(default=None, ge=1, description="the nth step of the scenario")
    kind: str | None = Field(default=None, description="of a `secret` event: password, token, proof")

    @field_validator("client", "server")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        return checked_pattern(value)

    @model_validator(mode="after")
    def _says_something(self) -> WirePattern:
        if self.client is None and self.server is None and self.event is None:
            raise ValueError("a pattern needs `client`, `server` or `event`")
        return self


class WireExpect(Expect):
    """On the dialogue. Exactly one of saw, never, count, before."""

    name: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$", description="how failures name it")
    saw: WirePattern | None = None
    never: WirePattern | None = None
    of: WirePattern | None = Field(default=None, description="with `count`: what is counted")
    count: Number | None = None
    before: tuple[WirePattern, WirePattern] | None = Field(default=None, description="both happen, the first one first")

    @model_validator(mode="after")
    def _one(self) -> WireExpect:
        given = [key for key in ("saw", "never", "count", "before") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of saw, never, count, before; found {', '.join(given) or 'none'}")
        if (self.count is None) != (self.of is None):
            raise ValueError("`count` and `of` go together")
        return self

    @property
    def kind(self) -> str:
        return next(key for key in ("saw", "never", "count", "before") if getattr(self, key) is not None)


class HandedOverExpect(Expect):
    """On all replies to `fetch` together, whichever of them brought a message."""

    messages: Number | None = None
    subjects: list[str] | None = Field(default=None, description="subjects handed over, in any order, no other ones")
    once: list[str] = Field(default=[], description="messages of these subjects were handed over, each exactly once")


class ClosingExpect(Expect):
    """After the last step: over fetched mail, mailboxes, stored mail and the wire."""

    handed_over: HandedOverExpect | None = None
    stored: list[StoredExpect] = []
    mailboxes: dict[str, dict[str, MailboxExpect]] = Field(default={}, description="address: mailbox: what it holds")
    wire: list[WireExpect] = []

    @model_validator(mode="after")
    def _not_empty(self) -> ClosingExpect:
        if not (self.handed_over or self.stored or self.mailboxes or self.wire):
            raise ValueError("an empty expectation cannot fail: say what must be seen")
        return self


def checked_pattern(value: str | None) -> str | None:
    """A regular expression that can fail. Raises ValueError."""
    if value is None:
        return None
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if pattern.search(""):
        raise ValueError(f'"{value}" matches the empty text, so it cannot fail')
    return value
