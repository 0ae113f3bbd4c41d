"""One SMTP session without I/O: the stream cut into commands and message data, and the answers as actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fakeservers.actions import Action, StartTls, TlsFacts
from fakeservers.smtp.auth import AUTH_LINE_LIMIT, Authentication, mask_command
from fakeservers.smtp.extensions import NOTHING_OFFERED
from fakeservers.smtp.intake import Intake
from fakeservers.smtp.lines import KNOWN, line_limit, take_apart
from fakeservers.smtp.reading import parse_chunk
from fakeservers.smtp.replies import is_auth
from fakeservers.transcript import HEARD

if TYPE_CHECKING:
    from fakeservers.connection import Connection
    from fakeservers.mailstore import Account
    from fakeservers.smtp.lines import Verb

__all__ = ["SmtpSession"]

_START_TLS = StartTls()


class SmtpSession(Intake):
    """The server's side of one SMTP connection (RFC 5321), on aiosmtpd's commands and hooks."""

    __slots__ = (
        "_enter", "_head", "_kept", "_locked", "_overlong", "_shut", "_starting_tls", "authentication", "idle",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.idle = self.profile.idle
        self.authentication: Authentication | None = None
        """The SASL exchange under way."""
        self._enter = self.site.transcript.enter
        self._locked = False
        self._kept = self._head = b""
        self._overlong = 0
        self._shut = self._starting_tls = False

    # --- the seam to the wire, see `fakeservers.actions.Session`

    def connect(self) -> list[Action]:
        actions: list[Action] = []
        self.actions = actions
        self._locked = self.service.tls_required and self.connection.tls is None
        self.consult("smtp.connect")
        self._shut = self.refused
        self.say("greeting")
        return actions

    def receive(self, data: bytes) -> list[Action]:
        actions: list[Action] = []
        self.actions = actions
        if data.find(b"\n") == len(data) - 1 >= 0 and not (
            self._kept or self._data or self._chunk or self._overlong or self._over or self._starting_tls
        ):
            # One whole line, as clients send them that await each reply.
            self._line(data, crowded=False)
            return actions
        if self._kept:
            data = self._kept + data
            self._kept = b""
        position, end = 0, len(data)
        while position < end and not self._over and not self._starting_tls:
            if self._data is not None:
                position = self._read_data(self._data, data, position)
            elif self._chunk is not None:
                position = self._read_chunk(self._chunk, data, position)
            else:
                position = self._read_line(data, position)
        if self._starting_tls and position < end:
            dropped = end - position
            self.connection.event(
                f"dropped {dropped} octets in clear behind STARTTLS",
                {"event": "plaintext-after-starttls", "octets": dropped},
            )
        return actions

    def tls_started(self, facts: TlsFacts) -> list[Action]:
        """All that the client has said before is forgotten, its login too (RFC 3207 4.2)."""
        self._starting_tls = self._locked = False
        self._begin_anew()
        return []

    def _begin_anew(self) -> None:
        self.offered = NOTHING_OFFERED
        self.connection.ehlo = self.connection.mechanism = self.connection.claimed = None
        self.connection.release()
        self._commands.forget()

    def tls_skipped(self) -> list[Action]:
        self._starting_tls = False
        return []

    def stirred(self) -> list[Action]:
        return []

    def timed_out(self) -> list[Action]:
        actions: list[Action] = []
        self.actions = actions
        self._effect = None
        self.say("timeout")
        self.leave()
        return actions

    def closed(self) -> None:
        self.count_commands()
        self._commands.gone()
        if self._over:
            return
        body = b""
        if self._data is not None:
            body = self._data.partial
        elif self._chunk is not None:
            body = self._chunk.content
        if body:
            self.connection.heard(body, body=True)
        elif self._kept or self._head:
            self._hear(self._kept or self._head)

    # --- lines

    def _read_line(self, data: bytes, position: int) -> int:
        """Take one line from `data`; returns the position behind it, the end of `data` when it is not whole."""
        end = data.find(b"\n", position) + 1
        if not end:
            whole = len(data)
            if self._overlong:
                self._overlong += whole - position
            elif whole - position > max(AUTH_LINE_LIMIT, self.profile.line_limit):
                self._overlong = whole - position
                self._head = data[position : position + AUTH_LINE_LIMIT]
            else:
                self._kept = data[position:]
            return whole
        line = data[position:end]
        if self._overlong:
            octets, line = self._overlong + len(line), self._head
            self._overlong, self._head = 0, b""
            self._too_long(line, octets)
        else:
            self._line(line, crowded=end < len(data) and "pipelining" in self.checks)
        return end

    def _line(self, line: bytes, *, crowded: bool) -> None:
        """Answer one line; `crowded`: more stands behind it, which the server minds."""
        self._uncounted += 1
        self.overruled = self.refused = False
        if self.authentication is not None:
            self._answer(self.authentication, line)
            return
        command = KNOWN.get(line) or take_apart(line)
        verb, name, argument, fault, minded, secret = command
        limit = self.profile.line_limit
        if len(line) > limit and len(line) > line_limit(command, limit if "line-length" in self.checks else None):
            self._too_long(line, len(line))
            return
        if secret or verb is None:
            self._hear(line)
        else:
            self._enter(self.connection.where, HEARD, line)
        self.verb = name
        # A reply that repeats the argument must not repeat a password.
        self.argument = argument.partition(" ")[0] if secret else argument
        if fault is not None and (not minded or minded in self.checks):
            self.say(fault)
        elif crowded and not ("PIPELINING" in self.offered.names and verb is not None and verb.is_followed(argument)):
            self.say("pipelining")
        elif verb is None:
            self.consult("smtp.unknown", command=name.lower(), argument=argument)
            self.say("unknown" if name else "line")
        else:
            if self._rules.concerns(verb.point, self.connection, None if secret else argument):
                self.consult(verb.point, **self.command_facts(name, argument))
            if (self.refused or self._shut or self._locked) and (refusal := self._refusal(verb)) is not None:
                self._refuse(verb, argument, refusal)
            elif (coroutine := verb.method(self._commands, argument)) is not None:
                self._commands.run(coroutine)
            self._effect = None

    def _refusal(self, verb: Verb) -> str | None:
        """The reply key for a command that may not be now, whatever it says."""
        if self.refused:
            return "unknown"
        if self._shut and verb.name != "QUIT" and not self.overruled:
            return "sequence"
        return "tls.required" if self._locked and not verb.in_clear and not self.overruled else None

    def _refuse(self, verb: Verb, argument: str, refusal: str) -> None:
        """Say `refusal`; what follows BDAT is no command even so."""
        chunk = parse_chunk(argument) if verb.name == "BDAT" else None
        if chunk is None:
            self.say(refusal)
        else:
            self.begin_chunk(chunk[0], last=chunk[1], refusal=refusal)

    def _answer(self, authentication: Authentication, line: bytes) -> None:
        """A line of the SASL exchange under way."""
        authentication.hear(line)
        self.verb, self.argument = "AUTH", ""
        if len(line) > AUTH_LINE_LIMIT:
            self.authentication = None
            self.say("auth.line-length")
        elif line[-2:] != b"\r\n":
            self.authentication = None
            self.say("line.bare-lf")
        else:
            authentication.response(line[:-2])
        self._effect = None

    def _too_long(self, line: bytes, octets: int) -> None:
        """A line beyond its limit; `line` is at least its beginning."""
        exchange, self.authentication = self.authentication, None
        head = line[: self.profile.line_limit]
        if exchange is not None:
            exchange.hear(b"***")
        else:
            self._hear(head)
        self.connection.event(f"a line of {octets} octets", {"event": "line-too-long", "octets": octets})
        self.verb = self.argument = ""
        self.say("auth.line-length" if exchange is not None else "line.length")

    def _hear(self, line: bytes) -> None:
        if self.authentication is not None:
            self.authentication.hear(line)
        else:
            masked, kind = mask_command(line)
            self.connection.heard(masked, masked=masked is not line)
            if kind is not None:
                self.connection.secret(kind)

    # --- what commands do

    def speaks_for(self, attributes: Mapping[str, str | None]) -> None:
        """XCLIENT: the client is a proxy, and its client is another; the session begins anew."""
        connection = self.connection
        told = ", ".join(f"{name} {value}" for name, value in attributes.items())
        connection.event(f"speaks for another client: {told}", {"event": "xclient", **attributes})
        self._begin_anew()
        connection.client = attributes.get("ADDR") or connection.client
        connection.ehlo = self._commands.session.host_name = attributes.get("HELO")
        if login := attributes.get("LOGIN"):
            self.logged_in(self.site.store.account(login), "XCLIENT")

    def start_tls(self) -> None:
        if not self._over:
            self._starting_tls = True
            self.actions.append(_START_TLS)

    @property
    def auth_needs_tls(self) -> bool:
        """AUTH is not offered, but would be under TLS."""
        return self._hides_auth and any(is_auth(keyword) for keyword in self.profile.ehlo)

    @property
    def _hides_auth(self) -> bool:
        return self.profile.hides_auth_before_tls and self.connection.tls is None

    def keywords(self) -> tuple[str, ...]:
        """The profile's EHLO keywords as they stand now, before rules."""
        tls = self.connection.tls is not None
        starttls = not tls and self.service.starttls
        return self._replies.keywords(self.profile, starttls=starttls, auth=not self._hides_auth, tls=tls)

    def logged_in(self, account: Account | None, mechanism: str) -> None:
        self.count_commands()
        self._commands.session.authenticated = True
        if account is not None:
            self.connection.login(account, mechanism)
