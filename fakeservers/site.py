"""What all connections of one host share."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from random import Random
from typing import TYPE_CHECKING

from fakeservers.clock import Clock
from fakeservers.mailstore import MailStore
from fakeservers.profile import Profile
from fakeservers.rules import RuleBook
from fakeservers.tally import Tally
from fakeservers.templates import generate, placeholders, render
from fakeservers.transcript import Secrets, Transcript

if TYPE_CHECKING:
    from fakeservers.connection import Connection

__all__ = ["Site"]


@dataclass(slots=True, eq=False)
class Site:
    """Profile, rules, store, clock and transcript of one host; `random` is seeded, so runs repeat."""

    profile: Profile
    rules: RuleBook
    store: MailStore
    clock: Clock
    secrets: Secrets
    transcript: Transcript
    random: Random
    tally: Tally = field(default_factory=Tally)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Service: the port on which it listens; `{port_imap}` in a text."""
    sessions: int = 0
    """Connections open now."""
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock.now()

    def host_name(self, service: str) -> str:
        return self.profile.service(service).host

    def variable(self, name: str, made: dict[str, str]) -> str | None:
        """A connection's own id in the form that the profile gives, None where it gives none; a form may hold the ids
        before it. `made` are those that the connection has, and the new one comes to them."""
        patterns = self.profile.variables
        if name not in patterns:
            return None
        text = generate(patterns[name], self.random)
        if "{" in text:
            before = set(itertools.takewhile(lambda each: each != name, patterns))
            for each in before.intersection(placeholders(text)) - made.keys():
                self.variable(each, made)
            text = render(text, {each: made[each] for each in before & made.keys()})
        made[name] = text
        return text

    def word(self, connection: Connection, name: str) -> object:
        """A placeholder that every text may use, None for another; cores add their command's own. Each is made only
        where a text has it: dates cost more than all else in a reply."""
        match name:
            case "client_ip":
                return connection.client
            case "host":
                return self.host_name(connection.service)
            case "user":
                return connection.fact("username", None) or ""
            case "arg":
                return ""
            case "ehlo":
                return connection.ehlo or ""
            case "size_limit":
                return self.profile.smtp.size_limit
            case "unix_time":
                return int(self.clock.now())
            case "date":
                return format_datetime(self.clock.date())
            case "date_unpadded":
                return format_datetime(self.clock.date()).replace(", 0", ", ", 1)
            case "iso_time":
                date = self.clock.date()
                return date.strftime("%Y-%m-%dT%H:%M:%S.") + f"{date.microsecond // 1000:03d}Z"
            case "sp":
                return " "
        if name.startswith("port_"):
            return self.ports.get(name.removeprefix("port_"))
        return None
