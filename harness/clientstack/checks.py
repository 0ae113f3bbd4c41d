"""The test buttons: send a test mail, check an incoming account, ping. Stage by stage, with the dialogue."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from .compose import complete, format_mailbox, parse_address
from .debugfile import dialogue_for
from .errors import MailError
from .pop3 import Pop3Session
from .ratelimit import RateLimits
from .redaction import Redactor
from .session import MailSession
from .settings import Incoming, Outgoing, Settings
from .smtp import Envelope, SmtpSession
from .store import Store, timestamp
from .tls import Trust
from .transport import check_transport
from .wire import Dialogue, Wire

__all__ = ["Check", "Stage", "check_incoming", "check_outgoing", "ping"]

_TEST_TEXT: Final = "This is a test mail. The account that sent it works.\r\n"


@dataclass
class Stage:
    """One step of a check: resolve, connect, tls, greeting, ehlo, auth, mail, rcpt, data, mailbox, ..."""

    stage: str
    ok: bool = True
    seconds: float = 0.0
    detail: str = ""


@dataclass
class Check:
    """What a check found. `dialogue` has the `C: ` and `S: ` lines, secrets masked."""

    ok: bool
    error: MailError | None = None
    stages: list[Stage] = field(default_factory=list)
    dialogue: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The reply object of the client command protocol, with the dialogue beside it."""
        return {
            "ok": self.ok,
            "error": self.error.as_json() if self.error else None,
            "stages": [vars(stage) for stage in self.stages],
            "dialogue": self.dialogue,
        }


class _Recorder:
    """Times the stages that a dialogue announces."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        dialogue.stage = self.begin
        self.stages: list[Stage] = []
        self._began = time.monotonic()

    def begin(self, name: str) -> None:
        if self.stages and self.stages[-1].stage == name:
            return
        self._close()
        self.stages.append(Stage(name))

    def detail(self, text: str) -> None:
        if self.stages:
            self.stages[-1].detail = text

    def run(self, act: Callable[[], None]) -> Check:
        """The check that `act` is."""
        error: MailError | None = None
        try:
            act()
        except MailError as problem:
            error = problem
        self._close()
        if error is not None and self.stages:
            self.stages[-1].ok = False
            self.stages[-1].detail = str(error)
        return Check(error is None, error, self.stages, self._dialogue.lines)

    def _close(self) -> None:
        now = time.monotonic()
        if self.stages:
            self.stages[-1].seconds = round(now - self._began, 4)
        self._began = now


def check_outgoing(
    settings: Settings,
    state_dir: str | Path | None,
    now: datetime,
    *,
    to: str | None = None,
    dial: Mapping[str, str] | None = None,
) -> Check:
    """Connects, secures, greets and logs in; with `to`, sends a test mail there as well.

    While a rate limit of the account holds, nothing is tried. Raises MailError `config` or `unsupported` for
    settings that cannot be used.
    """
    check_transport(settings)
    outgoing = settings.require_outgoing()
    dialogue = dialogue_for(outgoing.credentials, outgoing.debug_file, now, state_dir)
    store: AbstractContextManager[Store | None] = (
        Store(state_dir, settings.durability) if state_dir is not None else nullcontext()
    )
    with store as opened:
        limits = RateLimits(opened, now) if opened else None
        limit = limits.active(outgoing.account) if limits else None
        if limit is not None:
            until = timestamp(limit.until)
            error = limit.error
            error.text = f"rate limited until {until}: {error.text}"
            return Check(False, error, [Stage("rate-limit", False, 0.0, str(error))])
        check = _try_outgoing(outgoing, dialogue, now, to, dial)
        if limits is not None and check.error is not None and check.error.category == "rate-limit":
            limits.hit(outgoing.account, check.error)
        elif limits is not None and check.ok and to:
            limits.cleared(outgoing.account)
        return check


def _try_outgoing(
    outgoing: Outgoing, dialogue: Dialogue, now: datetime, to: str | None, dial: Mapping[str, str] | None
) -> Check:
    recorder = _Recorder(dialogue)
    session = SmtpSession(outgoing, dialogue, dial=dial, now=now)

    def act() -> None:
        envelope, message = _test_mail(outgoing, to, now) if to else (None, b"")
        session.connect()
        session.greet()
        session.secure()
        _tls_detail(recorder, session.wire)
        session.authenticate()
        if session.mechanism:
            recorder.detail(f"logged in with {session.mechanism}")
        if envelope is not None:
            for error in session.send(envelope, message, lambda recipients: None).values():
                if error is not None:
                    raise error

    try:
        return recorder.run(act)
    finally:
        session.leave()


def _test_mail(outgoing: Outgoing, to: str, now: datetime) -> tuple[Envelope, bytes]:
    author = outgoing.from_address or outgoing.credentials.username
    if "@" not in author:
        raise MailError("config", "outgoing.from_address is needed to send a test mail")
    sender = parse_address(outgoing.bounce_address or author)
    recipient = parse_address(to)
    for address in (sender, recipient):
        if address.needs_utf8 and not outgoing.smtputf8:
            raise MailError("unsupported", f"{address.wire} needs SMTPUTF8, and the settings have it off")
    mailbox = format_mailbox(outgoing.from_name, author)
    head = f"To: {format_mailbox('', to)}\r\nSubject: Test mail\r\nAuto-Submitted: auto-generated\r\n\r\n"
    message = complete(
        (head + _TEST_TEXT).encode("utf-8"),
        from_mailbox=mailbox,
        now=now,
        domain=parse_address(author).wire.rpartition("@")[2],
    )
    return Envelope(sender, {to: recipient}), message


def check_incoming(settings: Settings, now: datetime, *, dial: Mapping[str, str] | None = None) -> Check:
    """Connects, logs in, opens the mailbox read-only and counts; leaves everything as it was.

    Raises MailError `config` for settings that cannot be used.
    """
    incoming = settings.require_incoming()
    if incoming.protocol == "none":
        raise MailError("config", "incoming.protocol is none: there is nothing to check")
    dialogue = dialogue_for(incoming.credentials, incoming.debug_file, now)
    recorder = _Recorder(dialogue)
    session, count = _counting(incoming, dialogue, now, dial)

    def act() -> None:
        session.open()
        _tls_detail(recorder, session.wire)
        if session.mechanism:
            recorder.detail(f"logged in with {session.mechanism}")
        try:
            recorder.begin("mailbox")
            recorder.detail(count())
        finally:
            session.leave()

    return recorder.run(act)


def _counting(
    incoming: Incoming, dialogue: Dialogue, now: datetime, dial: Mapping[str, str] | None
) -> tuple[MailSession[Incoming], Callable[[], str]]:
    """A session with the server, and what counts its mail in words."""
    if incoming.protocol == "pop3":
        pop3 = Pop3Session(incoming, dialogue, dial=dial, now=now)
        return pop3, lambda: f"{len(pop3.message_numbers())} messages"
    from .imap import ImapSession

    imap = ImapSession(incoming, dialogue, dial=dial, now=now)

    def count() -> str:
        messages = imap.select(incoming.inbox, readonly=True)
        return f"{messages} messages, {len(imap.search('UNSEEN'))} of them unseen"

    return imap, count


def ping(host: str, port: int, timeout: float = 10.0, dial: Mapping[str, str] | None = None) -> Check:
    """A TCP connection and nothing more: tells a network fault from a mail fault."""
    dialogue = Dialogue(Redactor())
    recorder = _Recorder(dialogue)
    wire = Wire(host, timeout, Trust(), dialogue)
    try:
        return recorder.run(lambda: wire.connect(port, dial))
    finally:
        wire.close()


def _tls_detail(recorder: _Recorder, wire: Wire) -> None:
    facts = wire.tls_facts
    if facts is None:
        return
    words = f"{facts['version']}, {facts['cipher']}, certificate SHA-256 {facts['sha256']}"
    if facts.get("names"):
        words += f", for {', '.join(facts['names'])}, until {facts['not_after']}, issued by {facts['issuer']}"
    for stage in recorder.stages:
        if stage.stage == "tls":
            stage.detail = words
