"""A POP3 core without a socket: what it is told, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fakeservers import Clock, FakeMailHost, Profile, Rule, load_profile
from fakeservers.actions import Action, End, More, Send, StartTls, TlsFacts
from fakeservers.connection import Connection
from fakeservers.pop3.session import Pop3Session

ALICE = "alice@example.test"
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")


def profile(*, services: Mapping[str, Mapping[str, Any]] | None = None, **pop3: Any) -> Profile:
    """`generic` with other POP3 settings (and settings of its services)."""
    generic = load_profile("generic")
    made = {
        name: service.model_copy(update=(services or {}).get(name, {})) for name, service in generic.services.items()
    }
    return generic.model_copy(update={"pop3": generic.pop3.model_copy(update=pop3), "services": made})


def rule(**parts: Any) -> Rule:
    """A rule as a file would have it."""
    return Rule.model_validate({"name": "rule", **parts})


def fake_host(
    mail: Iterable[bytes] = (),
    *,
    rules: Iterable[Rule] = (),
    clock: Clock | None = None,
    provider: Profile | None = None,
    **pop3: Any,
) -> FakeMailHost:
    """A host that listens nowhere, with `mail` in Alice's INBOX."""
    host = FakeMailHost(provider or profile(**pop3), rules=rules, clock=clock or Clock(1_700_000_000.0))
    deliver(host, *mail)
    return host


def deliver(host: FakeMailHost, *mail: bytes) -> None:
    for content in mail:
        host.store.deliver(content, mail_from="bob@example.test", rcpt_to=(ALICE,))


class Dialogue:
    """One session of `host`. `actions` are all that the core has asked for so far."""

    def __init__(self, host: FakeMailHost, service: str = "pop3", *, tls: TlsFacts | None = None) -> None:
        self.host = host
        self.connection = Connection(host.site, next(host.connection_numbers), service, "pop3", "127.0.0.1")
        self.connection.tls = tls
        self.session = Pop3Session(self.connection)
        self.actions: list[Action] = []
        self.greeting = self._take(self.session.connect())

    def give(self, data: bytes) -> bytes:
        """Bytes in, bytes out."""
        return self._take(self.session.receive(data))

    def say(self, *lines: str) -> str:
        """Command lines in one segment; all that the server says to them."""
        return self.give("".join(f"{line}\r\n" for line in lines).encode()).decode("latin-1")

    def login(self, user: str = ALICE, password: str = "secret") -> Dialogue:
        said = self.say(f"USER {user}", f"PASS {password}")
        assert said.count("+OK") == 2, said
        return self

    def handshake(self) -> None:
        assert isinstance(self.actions[-1], StartTls)
        self.connection.tls = TLS
        assert self._take(self.session.tls_started(TLS)) == b""

    def drop(self) -> None:
        """The connection is gone."""
        self.session.closed()
        self.connection.release()

    def ended(self) -> bool:
        return any(isinstance(action, End) for action in self.actions)

    def _take(self, actions: Sequence[Action]) -> bytes:
        said = b""
        for action in actions:
            self.actions.append(action)
            if isinstance(action, Send):
                said += action.data
            elif isinstance(action, More):
                said += self._take(action.proceed())
        return said


def heard(host: FakeMailHost) -> list[str]:
    """The client's lines and the secrets noted, as the transcript has them."""
    return [
        entry.text for entry in host.transcript if entry.direction == "C" or entry.facts.get("event") == "secret"
    ]  # fmt: skip
