"""A client's side of an SMTP session without sockets."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from fakeservers import FakeMailHost
from fakeservers.actions import Action, End, Send, StartTls, TlsFacts
from fakeservers.connection import Connection
from fakeservers.profile import Profile, load_profile
from fakeservers.rules import Rule
from fakeservers.smtp.session import SmtpSession
from fakeservers.transcript import Entry

TLS = TlsFacts(version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256")
ALICE, BOB, STRANGER = "alice@example.test", "bob@example.test", "carol@elsewhere.example"


def generic(**changes: Any) -> Profile:
    """The generic profile with other values in its `smtp` part."""
    profile = load_profile("generic")
    return profile.model_copy(update={"smtp": profile.smtp.model_copy(update=changes)})


def b64(text: bytes | str) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


class Dialogue:
    """One connection to `service`; `tls` as if the handshake of implicit TLS were done."""

    def __init__(
        self,
        provider: str | Profile = "generic",
        service: str = "smtp",
        *,
        tls: bool = False,
        rules: Iterable[dict[str, Any]] = (),
        **options: Any,
    ) -> None:
        self.host = FakeMailHost(provider, rules=[Rule.model_validate(rule) for rule in rules], **options)
        self.connection = Connection(self.host.site, 1, service, "smtp", "192.0.2.1")
        if tls or service == "smtps":
            self.connection.tls = TLS
        self.session = SmtpSession(self.connection)
        self.actions: list[Action] = self.session.connect()
        self.greeting = said(self.actions)

    def send(self, data: bytes) -> str:
        """The replies to `data`."""
        actions = self.session.receive(data)
        self.actions += actions
        return said(actions)

    def say(self, *lines: str) -> str:
        """The replies to lines, one after the other, without their last line end."""
        return "".join(self.send(line.encode() + b"\r\n") for line in lines).removesuffix("\r\n")

    def login(self, user: str = ALICE, password: str = "secret") -> str:
        return self.say("AUTH PLAIN " + b64(f"\0{user}\0{password}").decode())

    def mail(self, *recipients: str, sender: str = STRANGER) -> str:
        """MAIL, RCPT and DATA; the last reply."""
        self.say(f"MAIL FROM:<{sender}>")
        for recipient in recipients or (ALICE,):
            self.say(f"RCPT TO:<{recipient}>")
        return self.say("DATA")

    @property
    def ended(self) -> bool:
        return any(isinstance(action, End) for action in self.actions)

    @property
    def starts_tls(self) -> bool:
        return isinstance(self.actions[-1], StartTls)

    def contents(self, address: str = ALICE) -> list[bytes]:
        return [message.content for message in self.host.messages(address)]

    def events(self, name: str) -> list[Entry]:
        return [entry for entry in self.host.transcript if entry.facts.get("event") == name]

    def heard(self) -> list[bytes]:
        return [entry.data for entry in self.host.transcript if entry.direction == "C"]


def said(actions: Iterable[Action]) -> str:
    return b"".join(action.data for action in actions if isinstance(action, Send)).decode("utf-8", "surrogateescape")


def hello(*arguments: Any, **options: Any) -> Dialogue:
    """A dialogue after EHLO."""
    dialogue = Dialogue(*arguments, **options)
    dialogue.say("EHLO client.example")
    return dialogue
