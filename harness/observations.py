"""What was seen in one case: facts with no opinion, as plain data that survives JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from fakeservers.mailstore import MailStore
from fakeservers.transcript import Entry

__all__ = ["Line", "Observations", "SeenMailbox", "SeenMessage", "SeenStep", "seen_mailboxes"]


@dataclass(frozen=True, slots=True)
class Line:
    """One transcript entry, and the step (1-based) during which it came."""

    step: int
    connection: int
    service: str
    time: float
    elapsed: float
    direction: str
    data: bytes
    tls: str | None
    rule: str | None
    body: bool
    facts: dict[str, Any]

    @property
    def text(self) -> str:
        return Entry.text.fget(self)  # type: ignore[attr-defined, no-any-return]


@dataclass(frozen=True, slots=True)
class SeenStep:
    """One step of the client: what it was asked, and its reply; `silence` says how the reply failed to come, `invalid`
    what was wrong with it. `excused`: the server was silent, cut or hostile in this step by the scenario's will."""

    number: int
    action: str
    now: float
    reply: dict[str, Any] | None = None
    silence: str | None = None
    invalid: str | None = None
    crashed: bool = False
    excused: bool = False
    sent: dict[str, bytes] = field(default_factory=dict)
    """Message id: the octets given to the client (`send`)."""
    to: dict[str, list[str]] = field(default_factory=dict)
    """Message id: whom it is for."""
    account: str = ""
    """Who sends: user name and port of the outgoing settings."""


@dataclass(frozen=True, slots=True)
class SeenMessage:
    raw: bytes
    content: bytes
    """Without the trace fields that the server put in front."""
    mail_from: str | None
    rcpt_to: tuple[str, ...]
    flags: tuple[str, ...]
    parameters: tuple[str, ...]
    labelled: int = 0
    """Where mailboxes are labels: the same number for one message in each of them."""


@dataclass(frozen=True, slots=True)
class SeenMailbox:
    name: str
    messages: list[SeenMessage]


@dataclass(slots=True)
class Observations:
    """The record that a verdict is made of."""

    features: list[str]
    allow_cleartext: bool
    services: list[str]
    steps: list[SeenStep] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    mailboxes: dict[str, list[SeenMailbox]] = field(default_factory=dict)
    server_errors: list[str] = field(default_factory=list)
    all_mail: list[bytes] = field(default_factory=list)
    """Every message that ever lay in a mailbox, as the server would hand it over."""

    def to_json(self) -> dict[str, Any]:
        return _encode(asdict(self))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        plain = _decode(data)
        return cls(
            **{
                **plain,
                "steps": [SeenStep(**step) for step in plain["steps"]],
                "lines": [Line(**line) for line in plain["lines"]],
                "mailboxes": {
                    address: [SeenMailbox(box["name"], [_message(one) for one in box["messages"]]) for box in boxes]
                    for address, boxes in plain["mailboxes"].items()
                },
            }
        )


def _message(data: dict[str, Any]) -> SeenMessage:
    lists = {name: tuple(data[name]) for name in ("rcpt_to", "flags", "parameters")}
    return SeenMessage(**{**data, **lists})


Kind = Literal["bytes"]


def _encode(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"base64"}:
            return base64.b64decode(value["base64"])
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value


def lines_of(entries: Iterable[Entry], step: int) -> list[Line]:
    return [
        Line(
            step, entry.connection, entry.service, entry.time, entry.elapsed, entry.direction, entry.data, entry.tls,
            entry.rule, entry.body, dict(entry.facts),
        )
        for entry in entries
    ]  # fmt: skip


def seen_mailboxes(store: MailStore) -> dict[str, list[SeenMailbox]]:
    """Every account's mailboxes, and the mail kept for strangers as their INBOX."""
    seen = {
        account.address: [
            SeenMailbox(
                mailbox.name, [_seen(message, labelled=account.labels is not None) for message in mailbox.messages]
            )
            for mailbox in account.mailboxes.values()
        ]
        for account in store.accounts.values()
    }
    for address in store.strangers():
        seen[address] = [SeenMailbox("INBOX", [_seen(message) for message in store.messages(address)])]
    return seen


def _seen(message: Any, *, labelled: bool = False) -> SeenMessage:
    return SeenMessage(
        message.raw,
        message.content,
        message.mail_from,
        tuple(message.rcpt_to),
        tuple(sorted(message.flags)),
        tuple(message.parameters),
        message.object_id if labelled else 0,
    )
