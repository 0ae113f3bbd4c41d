"""The fake mail host: one provider's servers on loopback ports of one background event loop."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from fakeservers.actions import Session
from fakeservers.certificates import ca_file, crl_file
from fakeservers.clock import Clock
from fakeservers.connection import Connection
from fakeservers.mailstore import MailStore, Message
from fakeservers.profile import SERVICES, Profile, load_profile, quirk_rules
from fakeservers.rules import Rule, RuleBook
from fakeservers.site import Site
from fakeservers.tcp import Acceptor, Poller
from fakeservers.transcript import Secrets, Transcript
from fakeservers.wire import Wire

__all__ = ["DEFAULT_USERS", "FakeMailHost", "Listener"]

T = TypeVar("T")

DEFAULT_USERS: Mapping[str, str] = {"alice@example.test": "secret", "bob@example.test": "secret"}
IDLE_SWEEP = 1.0


def _session_factory(protocol: str) -> Callable[[Connection], Session]:
    match protocol:
        case "smtp":
            from fakeservers.smtp.session import SmtpSession

            return SmtpSession
        case "imap":
            from fakeservers.imap.session import ImapSession

            return ImapSession
        case _:
            from fakeservers.pop3.session import Pop3Session

            return Pop3Session


class _Loop:
    """The event loop that carries all hosts of the process, in a daemon thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._poller: Poller | None = None
        self._pid = 0

    def poller(self) -> Poller:
        with self._lock:
            if self._poller is None or self._pid != os.getpid():
                self._poller = Poller()
                self._pid = os.getpid()
                threading.Thread(target=self._poller.loop.run_forever, name="mailrig", daemon=True).start()
            return self._poller

    def get(self) -> asyncio.AbstractEventLoop:
        return self.poller().loop

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self.get()).result()


_loop = _Loop()


class Listener:
    """One service of a host: its socket, and what a new connection needs."""

    def __init__(self, host: FakeMailHost, service: str, sock: socket.socket) -> None:
        self.host = host
        self.site = host.site
        self.service = service
        self.protocol, _, self.implicit_tls = SERVICES[service]
        self.accept_point = f"{self.protocol}.accept"
        self.proxied = host.profile.service(service).proxy_protocol
        self.takes_client_certificates = "EXTERNAL" in getattr(host.profile, self.protocol).mechanisms
        self.port: int = sock.getsockname()[1]
        self.enter = host.site.transcript.enter
        self._sock = sock
        self._acceptor: Acceptor | None = None

    @cached_property
    def session(self) -> Callable[[Connection], Session]:
        """Makes a session; a protocol's core is imported when its first client comes."""
        return _session_factory(self.protocol)

    def start(self, poller: Poller) -> None:
        def made(sock: socket.socket, client: str) -> None:
            try:
                Wire(self, poller, sock, client)
            except Exception:  # noqa: BLE001 as in the wire: a defect of ours is the host's error
                sock.close()
                self.failed(traceback.format_exc())

        self._acceptor = Acceptor(poller, self._sock, made)

    def stop(self) -> None:
        """Stop listening: a new connection is refused. Open ones stay."""
        if self._acceptor is not None:
            self._acceptor.close()

    def next_connection(self) -> int:
        return next(self.host.connection_numbers)

    def opened(self, wire: Wire) -> None:
        self.host.wires.add(wire)
        self.site.sessions += 1
        wire.connection.count("connections")

    def gone(self, wire: Wire) -> None:
        self.host.wires.discard(wire)
        self.site.sessions -= 1

    def failed(self, trace: str) -> None:
        self.host.errors.append(trace)


class FakeMailHost:
    """A provider's fake servers, in process.

    `provider` is a profile's name, the path of a profile file, or a `Profile`. `users` maps address to password
    (default: alice and bob at example.test). `quirks` and `rules` act before the profile's own rules. A `clock` that
    stands still makes limits testable without waiting. `services` names those to start (default: all that the
    provider has); `ports` gives fixed ports, the others are free ones. Use it as a context manager, sync or async.

    Raises `FileError` for a bad profile, ValueError for an unknown quirk, OSError for a port in use.
    """

    def __init__(
        self,
        provider: str | Path | Profile = "generic",
        *,
        users: Mapping[str, str] | None = None,
        quirks: Sequence[str] = (),
        rules: Iterable[Rule] = (),
        clock: Clock | None = None,
        seed: int = 0,
        services: Iterable[str] | None = None,
        host: str = "127.0.0.1",
        ports: Mapping[str, int] | None = None,
        keep_connections: int | None = 1000,
        keep_bytes: int | None = 64 << 20,
    ) -> None:
        profile = provider if isinstance(provider, Profile) else load_profile(provider)
        chosen, properties, options = quirk_rules(profile, list(quirks))
        self.profile = _with_options(profile, options)
        self.host = host
        self._ports = dict(ports or {})
        self._services = list(services) if services is not None else list(self.profile.services)
        self.clock = clock or Clock()
        random = Random(seed)
        secrets = Secrets()
        imap = self.profile.imap
        store = MailStore(
            self.clock,
            delimiter=imap.delimiter,
            mailboxes=[(name, frozenset(attributes)) for name, attributes in imap.mailboxes.items()],
            labels=imap.labels,
        )
        self.site = Site(
            profile=self.profile,
            rules=RuleBook([*rules, *chosen, *self.profile.rules], random),
            store=store,
            clock=self.clock,
            secrets=secrets,
            transcript=Transcript(self.clock, secrets, keep_connections=keep_connections, keep_bytes=keep_bytes),
            random=random,
        )
        self.site.rules.advance = self.clock.advance
        self.connection_numbers = itertools.count(1)
        self.wires: set[Wire] = set()
        self.errors: list[str] = []
        """Tracebacks of defects of the fake servers themselves; a harness must look here."""
        self._listeners: dict[str, Listener] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        for address, password in (self.profile.users or DEFAULT_USERS if users is None else users).items():
            self.add_user(address, password, **properties)

    # --- life

    def start(self) -> Self:
        sockets = {}
        try:
            for service in self._services:
                sockets[service] = _bind(self.host, self._ports.get(service, 0), service)
        except OSError:
            for sock in sockets.values():
                sock.close()
            raise
        self._listeners = {service: Listener(self, service, sock) for service, sock in sockets.items()}
        self.site.ports = {service: listener.port for service, listener in self._listeners.items()}
        _loop.run(self._start())
        return self

    def stop(self) -> None:
        if self._listeners:
            _loop.run(self._stop())
            self._listeners = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    async def _start(self) -> None:
        for listener in self._listeners.values():
            listener.start(_loop.poller())
        self._sweep()

    async def _stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for listener in self._listeners.values():
            listener.stop()
        for wire in tuple(self.wires):
            wire.cut()
        while self.wires:
            await asyncio.sleep(0)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for wire in tuple(self.wires):
            wire.check_idle(now)
        self._sweeper = loop.call_later(IDLE_SWEEP, self._sweep)

    # --- what users of a host need

    def endpoints(self) -> dict[str, Any]:
        """Host, provider, ports, CA file and users, as CONTRACTS section 3 has them; where a rule shows a revoked
        certificate also `crl_file`, the list that it stands in."""
        acts = [act for rule in self.site.rules.rules for act in (rule, *rule.in_turn)]
        revoked = any(act.certificate == "revoked" for act in acts)
        return {
            "host": self.host,
            "provider": self.profile.name,
            "pid": os.getpid(),
            "ports": {service: listener.port for service, listener in self._listeners.items()},
            "ca_file": str(ca_file()),
            **({"crl_file": str(crl_file())} if revoked else {}),
            "users": [
                {"username": account.address, "password": account.password} for account in self.store.accounts.values()
            ],
        }

    def messages(self, address: str) -> list[Message]:
        """All messages of an account, or kept for a stranger, oldest first."""
        return self.site.store.messages(address)

    @property
    def transcript(self) -> Transcript:
        return self.site.transcript

    @property
    def store(self) -> MailStore:
        return self.site.store

    def add_user(self, address: str, password: str, **properties: Any) -> None:
        self.site.secrets.add(password, user=address)
        self.site.store.add_account(address, password, **properties)

    # --- changes while it runs

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` on the host's loop, so that mailboxes and rules change between two commands of a client."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 handed to the caller
                done.set_exception(error)

        _loop.get().call_soon_threadsafe(run)
        return done.result()

    def add_rules(self, rules: Iterable[Rule]) -> None:
        self.call(lambda: self.site.rules.add(rules))

    def remove_rule(self, name: str) -> None:
        self.call(lambda: self.site.rules.remove(name))

    def drop_connections(self) -> None:
        """Cut every open connection."""
        self.call(self.abort_connections)

    def stop_service(self, service: str) -> None:
        """Close one listener: connections to its port are refused from here on."""
        self.call(lambda: self.close_service(service))

    def settle(self) -> None:
        """Wait until the loop has dealt with all that has reached it so far."""
        self.call(lambda: None)

    def abort_connections(self) -> None:
        """As `drop_connections`, for code that is on the loop already."""
        for wire in tuple(self.wires):
            wire.cut()

    def close_service(self, service: str) -> None:
        """As `stop_service`, for code that is on the loop already."""
        self._listeners[service].stop()


def _bind(host: str, port: int, service: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it: with Nagle's algorithm a greeting behind a handshake would wait 40 ms.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((host, port))
        sock.listen(512)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{service}: cannot listen on {host}:{port}: {error.strerror}") from None
    sock.setblocking(False)
    return sock


def _with_options(profile: Profile, options: Mapping[str, Any]) -> Profile:
    """The profile with `imap.x` and `pop3.x` options of chosen quirks put in."""
    for part in ("imap", "pop3"):
        chosen = {name.partition(".")[2]: value for name, value in options.items() if name.startswith(f"{part}.")}
        if chosen:
            section = getattr(profile, part)
            section = section.model_copy(update={"options": {**section.options, **chosen}})
            profile = profile.model_copy(update={part: section})
    return profile
