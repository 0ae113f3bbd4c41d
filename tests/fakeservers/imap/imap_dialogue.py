"""A client's side of IMAP sessions without sockets, and a player of `C:`/`S:` traces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from imap_grammar import check

from fakeservers import FakeMailHost
from fakeservers.actions import Action, Bulk, End, More, Send, StartTls, TlsFacts
from fakeservers.clock import Clock
from fakeservers.connection import Connection
from fakeservers.imap.session import ImapSession
from fakeservers.mailstore import Mailbox, Message
from fakeservers.profile import Profile, load_profile
from fakeservers.rules import Rule
from fakeservers.transcript import Entry

TLS = TlsFacts(version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256")
ALICE, BOB = "alice@example.test", "bob@example.test"
NOON = 837_596_665.0
"""17-Jul-1996 09:44:25 UTC, the moment of RFC 3501's examples."""
TRACES = Path(__file__).parents[2] / "traces" / "imap"


@cache
def loaded(provider: str) -> Profile:
    return load_profile(provider)


def with_imap(provider: str = "generic", **changes: Any) -> Profile:
    """A profile with other values in its `imap` part."""
    profile = loaded(provider)
    return profile.model_copy(update={"imap": profile.imap.model_copy(update=changes)})


def offering(*capabilities: str, **options: Any) -> Profile:
    """The generic profile that offers more, with options."""
    profile = loaded("generic")
    return with_imap(capabilities=[*profile.imap.capabilities, *capabilities], options=options)


class Server:
    """A host that was not started, and its sessions."""

    def __init__(
        self, provider: str | Profile = "generic", *, rules: Iterable[dict[str, Any]] = (), quirks: Iterable[str] = ()
    ) -> None:
        self.host = FakeMailHost(
            provider, rules=[Rule.model_validate(rule) for rule in rules], quirks=list(quirks), clock=Clock(NOON)
        )
        self.sessions = 0
        self.plain = self.host.profile.name == "generic" and not (rules or quirks)
        """What is said has nobody's manners, and has to be right."""

    def session(self, service: str = "imap", *, tls: bool = False) -> Dialogue:
        self.sessions += 1
        return Dialogue(self, service, self.sessions, tls=tls)

    def login(self, mailbox: str | None = None) -> Dialogue:
        """A session of alice's, with a mailbox selected."""
        dialogue = self.session(tls=True)
        assert dialogue.ok(f"LOGIN {ALICE} secret")
        if mailbox is not None:
            assert dialogue.ok(f'SELECT "{mailbox}"')
        return dialogue

    def mailbox(self, name: str = "INBOX") -> Mailbox:
        account = self.host.store.account(ALICE)
        assert account is not None
        found = account.mailbox(name)
        assert found is not None, name
        return found

    def fill(self, *contents: bytes, mailbox: str = "INBOX", flags: Iterable[str] = ()) -> None:
        for content in contents:
            self.mailbox(mailbox).add(Message(content, flags=frozenset(flags), received=NOON))

    def events(self, kind: str) -> list[Entry]:
        return [entry for entry in self.host.transcript if entry.facts.get("event") == kind]

    def said_by_client(self) -> list[str]:
        return [entry.text for entry in self.host.transcript if entry.direction == "C"]


class Dialogue:
    """One connection; what the server says is gathered as bytes."""

    def __init__(self, server: Server, service: str, number: int, *, tls: bool) -> None:
        self.server = server
        self.connection = Connection(server.host.site, number, service, "imap", "127.0.0.1")
        self.connection.tls = TLS if tls else None
        self.woken = 0
        self.connection.wire = self
        self.session = ImapSession(self.connection)
        self.actions: list[Action] = []
        self.greeting = self._said(self.session.connect())
        self._tag = 0

    def stir(self) -> None:
        self.woken += 1

    def _said(self, actions: Sequence[Action]) -> bytes:
        said = b""
        for action in actions:
            self.actions.append(action)
            if isinstance(action, Send):
                said += action.data
            elif isinstance(action, Bulk):
                said += bytes(action.pieces)
            elif isinstance(action, More):
                said += self._said(action.proceed())
        return said

    def send(self, data: bytes | str) -> bytes:
        said = self._said(self.session.receive(data.encode() if isinstance(data, str) else data))
        if self.server.plain:
            check(said, utf8=self.session.utf8)
        return said

    def stirred(self) -> list[str]:
        """What an idling session is told, if it was woken."""
        woken, self.woken = self.woken, 0
        return lines(self._said(self.session.stirred())) if woken else []

    def command(self, command: str | bytes, *more: str | bytes) -> list[str]:
        """The lines of the answer; `more` are sent one by one after what came before was answered."""
        self._tag += 1
        tag = b"t%d " % self._tag
        said = self.send(tag + _octets(command) + b"\r\n")
        for part in more:
            said += self.send(_octets(part) + b"\r\n")
        return [line.removeprefix(tag.decode()) for line in lines(said)]

    def tagged(self, command: str | bytes, *more: str | bytes) -> str:
        return self.command(command, *more)[-1]

    def ok(self, command: str | bytes, *more: str | bytes) -> bool:
        return self.tagged(command, *more).startswith("OK")

    def data(self, command: str | bytes, *more: str | bytes) -> list[str]:
        """The untagged lines of an answer that is OK."""
        answer = self.command(command, *more)
        assert answer[-1].startswith("OK"), answer
        return answer[:-1]

    @property
    def ended(self) -> bool:
        return any(isinstance(action, End) for action in self.actions)

    @property
    def began_tls(self) -> bool:
        return any(isinstance(action, StartTls) for action in self.actions)


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def lines(said: bytes) -> list[str]:
    assert not said or said.endswith(b"\r\n"), said
    return said.decode("utf-8", "surrogateescape").split("\r\n")[:-1]


# --- traces


def play(path: Path) -> None:
    """Play a trace: `C:` lines are sent, `S:` lines expected; `C2:` and `S2:` are a second session's.

    Lines before the first of these are settings: `profile:`, `offers:` capabilities, `message:` an RFC 5322 file,
    `mailbox:`, `rule:` in JSON, `covers:` capabilities. In an `S:` line `<<...>>` holds a regular expression. Raises
    AssertionError with the trace's line. A STARTTLS that is accepted is followed by the handshake.
    """
    settings: dict[str, list[str]] = {}
    steps: list[tuple[int, str, str, str]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        step = re.match(r"([CS])(\d?): ?(.*)", line)
        if step:
            steps.append((number, step[1], step[2] or "1", step[3]))
        elif line and not line.startswith("#"):
            name, _, value = line.partition(":")
            settings.setdefault(name, []).append(value.strip())
    offered = " ".join(settings.get("offers", [])).split()
    rules = [json.loads(rule) for rule in settings.get("rule", [])]
    server = Server(offering(*offered) if offered else settings.get("profile", ["generic"])[0], rules=rules)
    for name in settings.get("mailbox", []):
        account = server.host.store.account(ALICE)
        assert account is not None
        server.host.store.create(account, name)
    for name in settings.get("message", []):
        mailbox, _, file = name.rpartition(" ")
        content = (TRACES / file).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        server.fill(content, mailbox=mailbox or "INBOX")
    said: dict[str, list[str]] = {}
    sessions: dict[str, Dialogue] = {}
    for number, who, which, text in steps:
        where = f"{path.name}:{number}"
        if which not in sessions:
            service = "imap" if "imap" in server.host.profile.services else "imaps"
            sessions[which] = server.session(service, tls=service == "imaps")
            said[which] = lines(sessions[which].greeting)
        session, waiting = sessions[which], said[which]
        if who == "C":
            assert not waiting, f"{where}: the server said more: {waiting}"
            waiting += lines(session.send(text + "\r\n"))
            if session.began_tls and session.connection.tls is None:
                session.connection.tls = TLS
                assert not session.session.tls_started(TLS)
            continue
        waiting += session.stirred()
        assert waiting, f"{where}: the server said nothing, expected {text}"
        came = waiting.pop(0)
        assert re.fullmatch(_pattern(text), came), f"{where}:\n  expected {text}\n  got      {came}"
    assert not any(said.values()), f"{path.name}: the server said more at the end: {said}"


def _pattern(text: str) -> str:
    parts = re.split(r"<<(.*?)>>", text)
    return "".join(part if index % 2 else re.escape(part) for index, part in enumerate(parts))
