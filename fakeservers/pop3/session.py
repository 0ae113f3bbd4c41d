"""The POP3 server's protocol core: bytes of a client in, actions for the wire out (RFC 1939, 2449, 2595, 5034, 6856).

What a rule's reply does here: one that begins `+OK` (or, in a SASL exchange, `+ `) lets the command have its effect,
anything else, and an empty reply, stops it. A one-line `+OK` takes the place of the status line only: the data of a
multi-line response follow; a reply of several lines is all that is said.
"""

from __future__ import annotations

import re
from typing import Any

from fakeservers.actions import Action, End, More, Send, StartTls, TlsFacts
from fakeservers.connection import Connection
from fakeservers.mailstore import Account
from fakeservers.pop3 import capabilities, login, transaction
from fakeservers.pop3.answer import Answer, Command, State, merged, printable
from fakeservers.pop3.lines import Lines, masked
from fakeservers.pop3.maildrop import Maildrop, as_data
from fakeservers.pop3.options import options_of
from fakeservers.pop3.replies import replies_of, rule_lines
from fakeservers.rules import Effect
from fakeservers.sasl import Exchange, timestamp

__all__ = ["COMMANDS", "Pop3Session"]

COMMANDS: dict[bytes, Command] = {**login.COMMANDS, **capabilities.COMMANDS, **transaction.COMMANDS}
_WITH_CREDENTIALS = frozenset({b"PASS", b"APOP", b"AUTH"})
_RETR = re.compile(rb"[Rr][Ee][Tt][Rr] (\d{1,10})\r\n")
_PIECE = 256 * 1024
"""Octets of answers that are made at once: commands behind them wait until the client has taken these."""


class Pop3Session:
    """One session. `receive` may be given bytes cut anywhere."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        site = connection.site
        self._rules = site.rules
        self.profile = site.profile.pop3
        self.service = site.profile.service(connection.service)
        self.idle = self.profile.idle
        self._replies = replies_of(self.profile.replies)
        self.options = options_of(self.profile.options)
        self.state: State = "AUTHORIZATION"
        self._lines = Lines(self.profile.line_limit)
        self._halted = False
        self._bad = 0
        self._uncounted = 0
        """Commands that were not yet counted: those that come together are counted together."""
        self.user: str | None = None
        """Whom a USER right before has named."""
        self.recent = False
        self.banner = b""
        self._exchange: Exchange | None = None
        self.mechanisms = self.profile.mechanisms
        self.effect: Effect | None = None
        """The rules' word on the command that is being carried out."""
        self.drop = Maildrop([], "")
        self._locked: Account | None = None

    # --- the seam (fakeservers.actions.Session)

    def connect(self) -> list[Action]:
        connection = self.connection
        if self.profile.apop:
            self.banner = timestamp(login.login_context(self))
        values = {"timestamp": self.banner.decode()}
        greeting = self._replies.say(connection, "greeting", **values)
        if self.banner and "{timestamp}" not in self._replies.template("greeting"):
            greeting = greeting.removesuffix(b"\r\n") + b" " + self.banner + b"\r\n"
        effect = connection.consult("connect")
        answer = Answer(greeting)
        act = effect.reply if effect is not None else None
        if act is not None:
            answer.status = rule_lines(connection, act, **values)
            if not answer.status.startswith(b"+OK"):
                answer.then = [End("close")] if answer.status else []
        actions = self.said(answer, effect)
        self._halted = any(isinstance(action, End) for action in actions)
        return actions

    def receive(self, data: bytes) -> list[Action]:
        if self._halted:
            return []
        self._lines.buffer += data
        return self._read()

    def tls_started(self, facts: TlsFacts) -> list[Action]:
        # RFC 2595 section 4: nothing that was learnt before TLS is kept.
        self._halted = False
        self.user = None
        self.mechanisms = self.profile.mechanisms
        self.connection.claimed = None
        return []

    def tls_skipped(self) -> list[Action]:
        self._halted = False
        return []

    def stirred(self) -> list[Action]:
        return []

    def timed_out(self) -> list[Action]:
        """RFC 1939 section 3: the connection is closed with no response, and nothing is removed."""
        self._halted = True
        return [End("close")]

    def closed(self) -> None:
        self._halted = True
        self.unlock()

    # --- what commands use

    @property
    def exchange(self) -> Exchange | None:
        """The SASL exchange under way."""
        return self._exchange

    @exchange.setter
    def exchange(self, exchange: Exchange | None) -> None:
        self._exchange = exchange
        self._lines.sasl = exchange is not None

    @property
    def tls_missing(self) -> bool:
        """No login before TLS."""
        return self.service.tls_required and self.connection.tls is None

    def lock(self, account: Account) -> bool:
        """Take the maildrop for this session alone, if nobody has it."""
        if account.maildrop_locked:
            return False
        account.maildrop_locked = True
        self._locked = account
        return True

    def unlock(self) -> None:
        if self._locked is not None:
            self._locked.maildrop_locked = False
            self._locked = None

    def totals(self) -> dict[str, Any]:
        return {"count": self.drop.count, "octets": self.drop.octets} if self.state == "TRANSACTION" else {}

    def totals_for(self, key: str) -> dict[str, Any]:
        """What there is in all, where the text for `key` may want to say it: it costs a look at each message."""
        return self.totals() if "{" in self._replies.template(key) else {}

    def say(self, key: str, data: bytes = b"", *, message: bool = False, **values: Any) -> Answer:
        return Answer(self._replies.say(self.connection, key, **values), data, message)

    def misused(self, key: str) -> Answer:
        answer = self.say(key)
        answer.bad = True
        return answer

    # --- reading

    def _read(self) -> list[Action]:
        """Answer what has come; what stands behind much that was asked for waits until that has left."""
        actions: list[Action] = []
        octets = 0
        while not self._halted:
            said = self._retrieved()
            if not said:
                line = self._lines.next()
                if line is None:
                    break
                said = self._too_long_line() if line == b"" else self._line(line)
            actions += said
            for action in said:
                if isinstance(action, Send):
                    octets += len(action.data)
                elif isinstance(action, End | StartTls):
                    self._halted = True
                    if isinstance(action, StartTls):
                        self._drop_plaintext()
            if octets > _PIECE:
                actions.append(More(self._read))
                break
        self._count()
        return actions

    def _retrieved(self) -> list[Action]:
        """The answers to RETR commands that come first, where no rule has a say: all that most clients do, most of the
        time. What is no plain RETR of a message that is there is left to the ordinary way."""
        if self.state != "TRANSACTION" or self._rules.has("pop3.retr") or self._rules.count_commands:
            return []
        lines, drop, heard = self._lines, self.drop, self.connection.heard
        actions: list[Action] = []
        at = octets = 0
        while octets <= _PIECE and (command := lines.starting(_RETR, at)) is not None:
            number = int(command[1])
            item = drop.get(number)
            if item is None or item.deleted:
                break
            drop.retrieved.add(number)
            # Nothing secret can stand there.
            heard(command[0], masked=True)
            size, data = as_data(item.message.raw)
            status = self._replies.say(self.connection, "retr", number=number, octets=size)
            actions += (Send(status, clean=True), Send(data, body=True))
            octets += size
            at = command.end()
        if at:
            self._bad = 0
            self._uncounted += len(actions) // 2
            lines.skip(at)
        return actions

    def _count(self) -> None:
        if self._uncounted:
            self.connection.count("commands", self._uncounted)
            self._uncounted = 0

    def _too_long_line(self) -> list[Action]:
        self.connection.event("a line that is too long", {"event": "line-too-long"})
        self.exchange = None
        return self._bad_command(self.say("line-too-long"), None)

    def _drop_plaintext(self) -> None:
        if octets := self._lines.drop():
            self.connection.event(
                f"{octets} octets of plaintext behind STLS are dropped",
                {"event": "plaintext-after-starttls", "octets": octets},
            )

    def _line(self, line: bytes) -> list[Action]:
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        self._uncounted += 1
        if self.connection.account is None or self._rules.count_commands:
            self._count()
        if self._exchange is not None:
            return login.auth_line(self, self._exchange, text)
        verb, _, argument = text.partition(b" ")
        name = verb.upper()
        command = COMMANDS.get(name)
        hidden = masked(line) if command is None or name in _WITH_CREDENTIALS else None
        if hidden is None:
            self.connection.heard(line)
        else:
            self.connection.heard(hidden[0], masked=True)
            if hidden[1] is not None:
                self.connection.secret(hidden[1])
        if command is None or not capabilities.known(self, name):
            shown = argument.decode("utf-8", "replace")
            effect = self.connection.consult("unknown", command=name.decode("ascii", "replace").lower(), argument=shown)
            return self._bad_command(self.say("unknown", arg=shown), effect)
        return self._command(name.decode().lower(), command, argument)

    # --- commands

    def _command(self, name: str, command: Command, argument: bytes) -> list[Action]:
        text = argument.decode("utf-8", "surrogateescape")
        shown = "" if name == "pass" else text
        if name == "auth":
            mechanism, space, response = text.partition(" ")
            shown = mechanism + space + "*" * len(response)
        elif name == "apop":
            shown = text.partition(" ")[0]
        if name == "auth":
            facts = {"mechanism": shown.partition(" ")[0].upper()}
            effect = self.connection.consult("auth", command=name, argument=shown, **facts)
        else:
            effect = self.connection.consult(name, command=name, argument=shown)
        act = effect.reply if effect is not None else None
        self.effect = effect
        if act is None:
            own = self._perform(command, text)
            if own.bad:
                return self._bad_command(own, effect)
            self._bad = 0
            return self.said(own, effect)
        said = rule_lines(self.connection, act, arg=printable(shown), command=name, **self.totals())
        if said.startswith((b"+OK", b"+ ")):
            own = self._perform(command, text)
            if own.ruled:
                return self.said(own, effect)
            own.status = said
            if said.count(b"\n") > 1:
                own.data = b""
            return self.said(own, effect)
        return self.said(Answer(said), effect)

    def _perform(self, command: Command, argument: str) -> Answer:
        if self.state not in command.states:
            return self.misused("wrong-state")
        arguments = argument.split()
        if not (command.least <= len(arguments) <= command.most):
            return self.misused("syntax")
        return command.run(self, argument if command.rest else " ".join(arguments))

    def _bad_command(self, answer: Answer, effect: Effect | None) -> list[Action]:
        """Answer a command that could not be understood; too many in a row end the session."""
        self._bad += 1
        self.connection.count("bad_commands")
        act = effect.reply if effect is not None else None
        if act is not None:
            answer = Answer(rule_lines(self.connection, act, **self.totals()))
        limit = self.profile.bad_commands
        if limit is not None and self._bad >= limit:
            answer.status += self._replies.say(self.connection, "too-many-bad")
            answer.then = [End("close")]
        return self.said(answer, effect)

    def said(self, answer: Answer, effect: Effect | None) -> list[Action]:
        """The actions that say `answer` as the rules want it."""
        effect = merged(answer.effect, effect)
        if effect is None:
            actions: list[Action] = [Send(answer.status, secret=answer.secret)]
            if answer.data:
                if answer.message:
                    actions.append(Send(answer.data, body=True))
                else:
                    actions = [Send(answer.status + answer.data)]
            return actions + answer.then
        before = b"".join(self.connection.text(line).encode() + b"\r\n" for line in effect.untagged)
        actions = effect.around(before + answer.status + answer.data, secret=answer.secret)
        if any(isinstance(action, End) for action in actions):
            return actions
        return actions + answer.then
