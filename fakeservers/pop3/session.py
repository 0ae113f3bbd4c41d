"""The POP3 server's protocol core: bytes of a client in, actions for the wire out (RFC 1939, 2449, 2595, 5034, 6856).

What a rule's reply does here: one that begins `+OK` (or, in a SASL exchange, `+ `) lets the command have its effect,
anything else, and an empty reply, stops it. A one-line `+OK` takes the place of the status line only: the data of a
multi-line response follow; a reply of several lines is all that is said.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from fakeservers.actions import Action, End, Send, StartTls, TlsFacts
from fakeservers.connection import Connection
from fakeservers.mailstore import Account
from fakeservers.pop3.maildrop import DAYS_30, Item, Maildrop, all_mail, byte_stuffed, top
from fakeservers.pop3.options import options_of
from fakeservers.pop3.replies import replies_of, rule_lines
from fakeservers.rules import Effect
from fakeservers.sasl import (
    GOODBYE,
    Challenge,
    Context,
    Exchange,
    Outcome,
    answer,
    apop,
    begin,
    check_password,
    context_of,
    timestamp,
)

__all__ = ["Pop3Session"]

State = Literal["AUTHORIZATION", "TRANSACTION", "UPDATE"]

SASL_LINE_LIMIT = 12288
"""Octets of a line that carries SASL data, whatever the profile's line limit (RFC 5034 section 4)."""
RECENT = "recent:"
PLAINTEXT = {"PLAIN": "password", "LOGIN": "password", "XOAUTH2": "token", "OAUTHBEARER": "token"}
"""Mechanisms that send a credential as it is, and what it is."""

_WITH_CREDENTIALS = frozenset({b"PASS", b"APOP", b"AUTH"})
_OPTIONAL = frozenset({b"CAPA", b"TOP", b"UIDL", b"UTF8", b"LANG"})

_REFUSALS = {
    "in-use": "in-use", "login-delay": "login-delay", "expired": "auth-expired", "disabled": "auth-disabled",
}  # fmt: skip
_CREDENTIALS = re.compile(rb"[ \t]*(?:(PASS)|(APOP)|(AUTH))(?=[ \t]|$)", re.IGNORECASE)


@dataclass(slots=True)
class Answer:
    """What a command says: the status line, the data of a multi-line response with its terminating line, and what
    happens then. `effect` are rules met inside the command, and `ruled` says that the status line is one of theirs."""

    status: bytes
    data: bytes = b""
    message: bool = False
    """The data are a message's."""
    then: list[Action] = field(default_factory=list)
    effect: Effect | None = None
    ruled: bool = False
    secret: bool = False
    bad: bool = False
    """The command was not understood, or came when it may not."""


class Pop3Session:
    """One session. `receive` may be given bytes cut anywhere."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        site = connection.site
        self._profile = site.profile.pop3
        self._service = site.profile.services[connection.service]  # type: ignore[index]
        self.idle = self._profile.idle
        self._replies = replies_of(self._profile.replies)
        self._options = options_of(self._profile.options)
        self._state: State = "AUTHORIZATION"
        self._buffer = bytearray()
        self._scanned = 0
        self._too_long = False
        self._halted = False
        self._bad = 0
        self._user: str | None = None
        self._recent = False
        self._banner = b""
        self._exchange: Exchange | None = None
        self._mechanisms = self._profile.mechanisms
        self._effect: Effect | None = None
        """The rules' word on the command that is being carried out."""
        self._drop = Maildrop([], "")
        self._locked: Account | None = None

    # --- the seam (fakeservers.actions.Session)

    def connect(self) -> list[Action]:
        connection = self.connection
        if self._profile.apop:
            self._banner = timestamp(self._context())
        values = {"timestamp": self._banner.decode()}
        greeting = self._replies.say(connection, "greeting", **values)
        if self._banner and "{timestamp}" not in self._replies.template("greeting"):
            greeting = greeting.removesuffix(b"\r\n") + b" " + self._banner + b"\r\n"
        effect = connection.consult("connect")
        answer = Answer(greeting)
        act = effect.reply if effect is not None else None
        if act is not None:
            answer.status = rule_lines(connection, act, **values)
            if not answer.status.startswith(b"+OK"):
                answer.then = [End("close")] if answer.status else []
        actions = self._said(answer, effect)
        self._halted = any(isinstance(action, End) for action in actions)
        return actions

    def receive(self, data: bytes) -> list[Action]:
        if self._halted:
            return []
        self._buffer += data
        actions: list[Action] = []
        while not self._halted and (line := self._next_line()) is not None:
            said = self._too_long_line() if line == b"" else self._line(line)
            actions += said
            for action in said:
                if isinstance(action, End | StartTls):
                    self._halted = True
                    if isinstance(action, StartTls):
                        self._drop_plaintext()
        return actions

    def tls_started(self, facts: TlsFacts) -> list[Action]:
        # RFC 2595 section 4: nothing that was learnt before TLS is kept.
        self._halted = False
        self._user = None
        self._mechanisms = self._profile.mechanisms
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
        self._unlock()

    # --- lines

    def _next_line(self) -> bytes | None:
        """The next line with its end; empty for one that was too long; None when there is none yet."""
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            if self._too_long or len(self._buffer) > self._limit():
                # What is too long is thrown away as it comes; the reply waits for its end, as RFC order demands.
                self._too_long = True
                self._buffer.clear()
                self._scanned = 0
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._scanned = 0
        if self._too_long or len(line) > self._limit(line):
            self._too_long = False
            return b""
        return line

    def _limit(self, line: bytes | None = None) -> int:
        start = bytes(self._buffer[:5]) if line is None else line[:5]
        if self._exchange is not None or start.upper() == b"AUTH ":
            return max(SASL_LINE_LIMIT, self._profile.line_limit)
        return self._profile.line_limit

    def _too_long_line(self) -> list[Action]:
        self.connection.event("a line that is too long", {"event": "line-too-long"})
        self._exchange = None
        return self._bad_command(self._say("line-too-long"), None)

    def _drop_plaintext(self) -> None:
        if self._buffer:
            octets = len(self._buffer)
            self._buffer.clear()
            self._scanned = 0
            self.connection.event(
                f"{octets} octets of plaintext behind STLS are dropped",
                {"event": "plaintext-after-starttls", "octets": octets},
            )

    def _line(self, line: bytes) -> list[Action]:
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        self.connection.count("commands")
        if self._exchange is not None:
            return self._auth_line(self._exchange, text)
        verb, _, argument = text.partition(b" ")
        name = verb.upper()
        command = COMMANDS.get(name)
        if command is None or name in _WITH_CREDENTIALS:
            self._hear(line, text)
        else:
            self.connection.heard(line)
            if name == b"RETR" and self._state == "TRANSACTION" and not self.connection.site.rules.has("pop3.retr"):
                quick = self._retrieve(argument)
                if quick is not None:
                    return quick
        if command is None or not self._known(name):
            shown = argument.decode("utf-8", "replace")
            effect = self.connection.consult("unknown", command=name.decode("ascii", "replace").lower(), argument=shown)
            return self._bad_command(self._say("unknown", arg=shown), effect)
        return self._command(name.decode().lower(), command, argument)

    def _hear(self, line: bytes, text: bytes) -> None:
        """Note the line; credentials in it are masked by where they stand, known to the host or not."""
        found = _CREDENTIALS.match(text)
        if found is None or not text[found.end() :].strip():
            self.connection.heard(line)
            return
        head, rest = text[: found.end()], text[found.end() :]
        if found[1]:
            shown = b" ***"
        else:
            kept, space, hidden = rest.lstrip(b" \t").partition(b" ")
            shown = b" " + kept + (b" ***" if hidden else space)
        self.connection.heard(head + shown + line[len(text) :], masked=True)
        if found[1]:
            self.connection.secret("password")
        elif found[3] and hidden and kept.upper() != b"LOGIN" and (kind := _credential(kept)):
            # (LOGIN's initial response is a name.)
            self.connection.secret(kind)

    # --- commands

    def _known(self, name: bytes) -> bool:
        """Commands of an extension exist where the profile offers it."""
        if name == b"APOP":
            return self._profile.apop
        if name == b"AUTH":
            return bool(self._mechanisms)
        if name == b"STLS":
            return self._service.starttls
        if name not in _OPTIONAL:
            return True
        profile = self._profile
        lists = (profile.capabilities, profile.capabilities_tls or [], profile.capabilities_login or [])
        offered = {line.split(" ")[0].upper() for lines in lists for line in lines}
        if name in (b"TOP", b"UIDL"):
            # A server without CAPA has said nothing about them.
            return not offered or name.decode() in offered
        if name in (b"UTF8", b"LANG"):
            return name.decode() in offered
        return name != b"CAPA" or bool(offered)

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
        self._effect = effect
        if act is None:
            own = self._perform(command, text)
            if own.bad:
                return self._bad_command(own, effect)
            self._bad = 0
            return self._said(own, effect)
        said = rule_lines(self.connection, act, arg=_printable(shown), command=name, **self._totals())
        if said.startswith((b"+OK", b"+ ")):
            own = self._perform(command, text)
            if own.ruled:
                return self._said(own, effect)
            own.status = said
            if said.count(b"\n") > 1:
                own.data = b""
            return self._said(own, effect)
        return self._said(Answer(said), effect)

    def _perform(self, command: Command, argument: str) -> Answer:
        if self._state not in command.states:
            return self._misused("wrong-state")
        arguments = argument.split()
        if not (command.least <= len(arguments) <= command.most):
            return self._misused("syntax")
        return command.run(self, argument if command.rest else " ".join(arguments))

    def _misused(self, key: str) -> Answer:
        answer = self._say(key)
        answer.bad = True
        return answer

    def _bad_command(self, answer: Answer, effect: Effect | None) -> list[Action]:
        """Answer a command that could not be understood; too many in a row end the session."""
        self._bad += 1
        self.connection.count("bad_commands")
        act = effect.reply if effect is not None else None
        if act is not None:
            answer = Answer(rule_lines(self.connection, act, **self._totals()))
        limit = self._profile.bad_commands
        if limit is not None and self._bad >= limit:
            answer.status += self._replies.say(self.connection, "too-many-bad")
            answer.then = [End("close")]
        return self._said(answer, effect)

    def _say(self, key: str, data: bytes = b"", *, message: bool = False, **values: Any) -> Answer:
        return Answer(self._replies.say(self.connection, key, **values), data, message)

    def _said(self, answer: Answer, effect: Effect | None) -> list[Action]:
        """The actions that say `answer` as the rules want it."""
        effect = _merged(answer.effect, effect)
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

    # --- AUTHORIZATION

    def _context(self) -> Context:
        return context_of(
            self.connection,
            bearer_error=str(self._options["bearer_error"]),
            prompts=self._profile.login_prompts,
            prefix=RECENT if self._options["recent_prefix"] else "",
        )

    def _tls_missing(self) -> bool:
        return self._service.tls_required and self.connection.tls is None

    def _begin_login(self, mechanism: str) -> tuple[Answer | None, Effect | None]:
        """The rules' word at `auth`, and the refusal (theirs or for want of TLS) if there is one."""
        effect = self.connection.consult("auth", mechanism=mechanism, argument="")
        act = effect.reply if effect is not None else None
        if act is not None:
            said = rule_lines(self.connection, act)
            if not said.startswith(b"+"):
                return Answer(said, effect=effect, ruled=True), effect
        if self._tls_missing():
            return self._say("tls-required"), effect
        return None, effect

    def _do_user(self, argument: str) -> Answer:
        self.connection.claimed = self._context().account(argument)
        refusal, effect = self._begin_login("USER")
        if refusal is not None:
            return refusal
        self._user = argument
        answer = self._say("user")
        answer.effect = effect
        return answer

    def _do_pass(self, argument: str) -> Answer:
        # RFC 1939 section 7: PASS is valid only right behind a USER that succeeded.
        user, self._user = self._user, None
        if user is None:
            return self._misused("wrong-state")
        return self._conclude(check_password(self._context(), user, argument), "USER", "pass")

    def _do_apop(self, argument: str) -> Answer:
        user, _, digest = argument.rpartition(" ")
        self.connection.claimed = self._context().account(user)
        refusal, effect = self._begin_login("APOP")
        if refusal is not None:
            return refusal
        proof = digest.encode("utf-8", "surrogateescape")
        outcome = apop(self._context(), self.connection.site.secrets, self._banner, user, proof)
        answer = self._conclude(outcome, "APOP", "apop")
        answer.effect = _merged(answer.effect, effect)
        return answer

    def _do_auth(self, argument: str) -> Answer:
        mechanism, _, initial = argument.partition(" ")
        mechanism = mechanism.upper()
        if self._tls_missing():
            return self._say("tls-required")
        if mechanism not in self._mechanisms:
            return self._say("auth-mechanism", arg=mechanism)
        exchange = begin(mechanism, self._context())
        if exchange is None:
            self.connection.event(
                f"AUTH {mechanism} is not built here", {"event": "unimplemented", "what": f"AUTH {mechanism}"}
            )
            return self._say("auth-mechanism", arg=mechanism)
        self._exchange = exchange
        if not initial:
            return self._step(exchange.step(None))
        return self._step(answer(exchange, initial.encode("utf-8", "surrogateescape"), initial=True))

    def _auth_line(self, exchange: Exchange, text: bytes) -> list[Action]:
        """The client's next line in a SASL exchange."""
        connection = self.connection
        if text in (b"", b"*"):
            connection.heard(text + b"\r\n")
        else:
            connection.heard(b"***\r\n", masked=True)
            kind = PLAINTEXT.get(exchange.mechanism)
            shown = text != base64.b64encode(GOODBYE)
            if shown and kind is not None and (exchange.mechanism != "LOGIN" or exchange.username):
                connection.secret(kind)
        effect = connection.consult("auth-step", command="auth", argument="", mechanism=exchange.mechanism)
        act = effect.reply if effect is not None else None
        if act is not None:
            said = rule_lines(connection, act)
            if not said.startswith(b"+"):
                self._exchange = None
                return self._said(Answer(said), effect)
            step = answer(exchange, text)
            if said.startswith(b"+OK") and isinstance(step, Challenge):
                # The rule lets the client in, whatever is still due.
                step = Outcome("right", exchange.username, self._context().account(exchange.username))
            own = self._step(step)
            if not own.ruled:
                own.status, own.secret = said, False
            return self._said(own, effect)
        return self._said(self._step(answer(exchange, text)), effect)

    def _step(self, said: Challenge | Outcome) -> Answer:
        assert self._exchange is not None
        if isinstance(said, Challenge):
            return Answer(b"+ " + base64.b64encode(said.data) + b"\r\n", secret=said.secret)
        mechanism = self._exchange.mechanism
        self._exchange = None
        return self._conclude(said, mechanism, "auth")

    def _conclude(self, outcome: Outcome, mechanism: str, key: str) -> Answer:
        """Log in or refuse, as the credentials and the rules want it."""
        if outcome.result == "cancelled":
            return self._say("auth-cancelled")
        if outcome.result == "malformed":
            return self._say("auth-malformed" if key == "auth" else f"{key}-refused")
        connection = self.connection
        connection.claimed = outcome.account
        effect = connection.consult(
            "credentials",
            credentials=outcome.result,
            mechanism=mechanism,
            username=outcome.username,
            command=key,
            argument="",
        )
        said: bytes | None = None
        accepted = outcome.result == "right"
        act = effect.reply if effect is not None else None
        if act is not None:
            said = rule_lines(connection, act)
            accepted = said.startswith(b"+OK") and outcome.account is not None
        if not accepted or outcome.account is None:
            self._count_failure()
            if said is not None:
                return Answer(said, effect=effect, ruled=True)
            return self._refuse(outcome.result if outcome.result in ("expired", "disabled") else key, effect)
        refusal = self._open(outcome.account, outcome.username)
        if refusal is not None:
            return self._refuse(refusal, effect)
        connection.login(outcome.account, mechanism)
        if said is None:
            said = self._replies.say(connection, key, **self._totals() if "{" in self._replies.template(key) else {})
        return Answer(said, effect=effect, ruled=act is not None)

    def _refuse(self, key: str, effect: Effect | None) -> Answer:
        reply = _REFUSALS.get(key, f"{key}-refused")
        answer = self._say(reply)
        answer.effect = effect
        return answer

    def _count_failure(self) -> None:
        connection = self.connection
        connection.count("failed_logins")
        if connection.claimed is not None:
            connection.claimed.tally.add("failed_logins", connection.site.clock.now())

    def _open(self, account: Account, username: str) -> str | None:
        """Take the maildrop of `account`; the key of the refusal, or None."""
        now = self.connection.site.clock.now()
        options = self._options
        delay = float(options["login_delay"])
        if delay and account.tally.within("pop3_logins", now, delay):
            return "login-delay"
        if options["exclusive"]:
            if account.maildrop_locked:
                return "in-use"
            account.maildrop_locked = True
            self._locked = account
        if delay:
            account.tally.add("pop3_logins", now)
        self._recent = bool(options["recent_prefix"]) and username.startswith(RECENT)
        self._drop = Maildrop(self._messages(account), str(options["unique_id"]))
        self._state = "TRANSACTION"
        return None

    def _messages(self, account: Account) -> list[Item]:
        if self._recent:
            return all_mail(account, self.connection.site.clock.now() - DAYS_30)
        inbox = account.inbox
        popped = _popped(account) if self._options["gmail_popped"] else frozenset()
        items = [Item(message, inbox) for message in inbox.messages if message.uid not in popped]
        batch = int(self._options["batch"])
        return items[:batch] if batch else items

    def _unlock(self) -> None:
        if self._locked is not None:
            self._locked.maildrop_locked = False
            self._locked = None

    def _do_stls(self, argument: str) -> Answer:
        if self.connection.tls is not None:
            return self._say("stls-refused")
        answer = self._say("stls")
        answer.then = [StartTls()]
        return answer

    def _do_utf8(self, argument: str) -> Answer:
        return self._say("utf8")

    # --- any state

    def _do_capa(self, argument: str) -> Answer:
        profile, connection = self._profile, self.connection
        lines = profile.capabilities
        if connection.tls is not None and profile.capabilities_tls is not None:
            lines = profile.capabilities_tls
        if self._state == "TRANSACTION" and profile.capabilities_login is not None:
            lines = profile.capabilities_login
        offered = [line for line in map(self._capability, lines) if line is not None]
        if self._effect is not None:
            offered = self._effect.capabilities(offered)
            # What a rule offers instead is what works from here on.
            told = [line.split()[1:] for line in offered if line.split()[:1] == ["SASL"]]
            self._mechanisms = [name.upper() for names in told for name in names]
        return self._say("capa", _multi_line(offered))

    def _capability(self, line: str) -> str | None:
        match line.upper():
            case "STLS":
                offered = self.connection.tls is None and self._service.starttls and self._state == "AUTHORIZATION"
                return line if offered else None
            case "USER":
                return None if self._tls_missing() else line
            case "SASL":
                if self._tls_missing() or not self._profile.mechanisms:
                    return None
                return " ".join(["SASL", *self._profile.mechanisms])
        return line

    def _do_lang(self, argument: str) -> Answer:
        """RFC 6856 section 3, with English alone."""
        if not argument:
            return self._say("lang-list", b"en English\r\n.\r\n")
        if argument.lower() in ("en", "i-default", "*"):
            return self._say("lang", arg="i-default" if argument == "*" else argument)
        return self._say("lang-unknown", arg=argument)

    def _do_noop(self, argument: str) -> Answer:
        return self._say("noop")

    def _do_quit(self, argument: str) -> Answer:
        if self._state == "AUTHORIZATION":
            answer = self._say("quit")
        else:
            totals = self._totals() if "{" in self._replies.template("quit-update") else {}
            self._state = "UPDATE"
            self._update()
            answer = self._say("quit-update", **totals)
        answer.then = [End("close")]
        return answer

    # --- TRANSACTION

    def _totals(self) -> dict[str, Any]:
        return {"count": self._drop.count, "octets": self._drop.octets} if self._state == "TRANSACTION" else {}

    def _do_stat(self, argument: str) -> Answer:
        return self._say("stat", **self._totals())

    def _item(self, argument: str) -> tuple[int, Item] | Answer:
        """The message-number's item, or the refusal."""
        number = int(argument) if argument.isascii() and argument.isdigit() and len(argument) < 11 else 0
        item = self._drop.get(number)
        if item is None:
            return self._say("no-such-message", number=_printable(argument))
        if item.deleted:
            return self._say("already-deleted", number=number)
        return number, item

    def _do_list(self, argument: str) -> Answer:
        if not argument:
            data = b"".join([b"%d %d\r\n" % (number, item.size) for number, item in self._drop])
            return self._say("list", data + b".\r\n", **self._totals())
        found = self._item(argument)
        return found if isinstance(found, Answer) else self._say("list-one", number=found[0], octets=found[1].size)

    def _do_uidl(self, argument: str) -> Answer:
        drop = self._drop
        if not argument:
            totals = self._totals() if "{" in self._replies.template("uidl") else {}
            return self._say(
                "uidl", _multi_line([f"{number} {drop.unique_id(item)}" for number, item in drop]), **totals
            )
        found = self._item(argument)
        if isinstance(found, Answer):
            return found
        return self._say("uidl-one", number=found[0], unique_id=drop.unique_id(found[1]))

    def _do_retr(self, argument: str) -> Answer:
        found = self._item(argument)
        if isinstance(found, Answer):
            return found
        number, item = found
        self._drop.retrieved.add(number)
        return self._say("retr", byte_stuffed(item.message.raw), message=True, number=number, octets=item.size)

    def _retrieve(self, argument: bytes) -> list[Action] | None:
        """RETR where no rule has a say: all that most clients do, most of the time. None for a number that no message
        has; the ordinary way refuses it."""
        item = self._drop.get(int(argument)) if argument.isdigit() and len(argument) < 11 else None
        if item is None or item.deleted:
            return None
        number = int(argument)
        self._bad = 0
        self._effect = None
        self._drop.retrieved.add(number)
        status = self._replies.say(self.connection, "retr", number=number, octets=item.size)
        return [Send(status), Send(byte_stuffed(item.message.raw), body=True)]

    def _do_top(self, argument: str) -> Answer:
        number, _, lines = argument.partition(" ")
        if not (lines.isascii() and lines.isdigit() and len(lines) < 11):
            return self._misused("syntax")
        found = self._item(number)
        if isinstance(found, Answer):
            return found
        data = byte_stuffed(top(found[1].message.raw, int(lines)))
        return self._say("top", data, message=True, number=found[0], octets=found[1].size)

    def _do_dele(self, argument: str) -> Answer:
        found = self._item(argument)
        if isinstance(found, Answer):
            return found
        self._drop.delete(found[1])
        return self._say("dele", number=found[0])

    def _do_rset(self, argument: str) -> Answer:
        self._drop.reset()
        return self._say("rset", **self._totals())

    # --- UPDATE

    def _update(self) -> None:
        """Remove what was deleted, mark what was retrieved, and give the maildrop free (RFC 1939 section 6)."""
        account = self.connection.account
        if account is not None and not self._recent:
            if not self._options["dele_keeps"]:
                self._expunge(self._drop.deleted())
            if self._options["gmail_popped"]:
                items = [item for number in sorted(self._drop.retrieved) if (item := self._drop.get(number))]
                _popped(account).update(item.message.uid for item in items)
                self._after_download(account, items)
        self._unlock()

    def _expunge(self, items: list[Item]) -> None:
        if items:
            items[0].mailbox.expunge([item.message for item in items])

    def _after_download(self, account: Account, items: list[Item]) -> None:
        action = self._options["popped_action"]
        if action == "mark-read":
            account.inbox.set_flags([item.message for item in items], lambda flags: flags | {"\\Seen"})
        elif action in ("archive", "delete"):
            wanted = {"\\All", "\\Archive"} if action == "archive" else {"\\Trash"}
            target = next((box for box in account.mailboxes.values() if box.attributes & wanted), None)
            gone = account.inbox.expunge([item.message for item in items])
            if target is not None:
                for message in gone:
                    target.add(message)


def _merged(inner: Effect | None, outer: Effect | None) -> Effect | None:
    """Both words on one command; the inner one stands first."""
    if inner is None or outer is None:
        return inner or outer
    return Effect(f"{inner.rule}+{outer.rule}", [*inner.acts, *outer.acts])


def _popped(account: Account) -> set[int]:
    """UIDs of INBOX that Gmail's POP hides; kept with the account."""
    popped = account.properties.setdefault("popped", set())
    assert isinstance(popped, set)
    return popped


def _multi_line(lines: list[str]) -> bytes:
    """Lines as the data of a multi-line response."""
    return b"".join(b"." + line if line.startswith(b".") else line for line in (f"{x}\r\n".encode() for x in lines)) + (
        b".\r\n"
    )


def _credential(mechanism: bytes) -> str | None:
    """What `mechanism` sends as it is, if anything."""
    return PLAINTEXT.get(mechanism.decode("ascii", "replace").upper())


def _printable(text: str) -> str:
    """A client's own text as it may be said back: no line ends, no broken UTF-8."""
    return "".join(c if c.isprintable() else "?" for c in text)


@dataclass(frozen=True, slots=True)
class Command:
    """A command: in which states it is valid, the number of arguments (`rest`: all that follows is one), its code."""

    states: frozenset[State]
    least: int
    most: int
    run: Callable[[Pop3Session, str], Answer]
    rest: bool = False


AUTHORIZATION: frozenset[State] = frozenset({"AUTHORIZATION"})
TRANSACTION: frozenset[State] = frozenset({"TRANSACTION"})

COMMANDS: dict[bytes, Command] = {
    b"USER": Command(AUTHORIZATION, 1, 99, Pop3Session._do_user, rest=True),
    b"PASS": Command(AUTHORIZATION, 0, 999, Pop3Session._do_pass, rest=True),
    b"APOP": Command(AUTHORIZATION, 2, 99, Pop3Session._do_apop, rest=True),
    b"AUTH": Command(AUTHORIZATION, 1, 2, Pop3Session._do_auth),
    b"STLS": Command(AUTHORIZATION, 0, 0, Pop3Session._do_stls),
    b"UTF8": Command(AUTHORIZATION, 0, 0, Pop3Session._do_utf8),
    b"CAPA": Command(AUTHORIZATION | TRANSACTION, 0, 0, Pop3Session._do_capa),
    b"LANG": Command(AUTHORIZATION | TRANSACTION, 0, 1, Pop3Session._do_lang),
    b"QUIT": Command(AUTHORIZATION | TRANSACTION, 0, 0, Pop3Session._do_quit),
    b"NOOP": Command(TRANSACTION, 0, 0, Pop3Session._do_noop),
    b"STAT": Command(TRANSACTION, 0, 0, Pop3Session._do_stat),
    b"LIST": Command(TRANSACTION, 0, 1, Pop3Session._do_list),
    b"UIDL": Command(TRANSACTION, 0, 1, Pop3Session._do_uidl),
    b"RETR": Command(TRANSACTION, 1, 1, Pop3Session._do_retr),
    b"TOP": Command(TRANSACTION, 2, 2, Pop3Session._do_top),
    b"DELE": Command(TRANSACTION, 1, 1, Pop3Session._do_dele),
    b"RSET": Command(TRANSACTION, 0, 0, Pop3Session._do_rset),
}
"""Every command; NOOP is one of TRANSACTION alone (RFC 1939 section 5)."""
