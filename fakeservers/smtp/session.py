"""One SMTP session without I/O: the stream cut into commands and message data, and the answers as actions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fakeservers.actions import Action, End, Send, StartTls, TlsFacts
from fakeservers.smtp.auth import AUTH_LINE_LIMIT, Authentication, mask_command
from fakeservers.smtp.commands import Command, Commands
from fakeservers.smtp.extensions import NOTHING_OFFERED, offer
from fakeservers.smtp.facts import message_facts, message_id
from fakeservers.smtp.paths import parse_mail, parse_rcpt
from fakeservers.smtp.reading import ChunkReader, DataReader, irregularities
from fakeservers.smtp.replies import MISTAKES, Replies, encode, is_auth, pieces
from fakeservers.templates import placeholders
from fakeservers.transcript import HEARD

if TYPE_CHECKING:
    from fakeservers.connection import Connection
    from fakeservers.mailstore import Account
    from fakeservers.profile import SmtpProfile
    from fakeservers.rules import Act, Effect

__all__ = ["SmtpSession"]


class Verb(NamedTuple):
    """A command: its rule point and its coroutine function. `in_clear`: allowed before STARTTLS where TLS is required
    (RFC 3207 4, and what changes nothing)."""

    name: str
    point: str
    method: Command
    in_clear: bool


_IN_CLEAR = {"NOOP", "EHLO", "HELO", "STARTTLS", "QUIT", "RSET", "HELP"}
VERBS = {
    name.encode(): Verb(name, f"smtp.{name.lower()}", method, name in _IN_CLEAR)
    for name, method in Commands._smtp_methods.items()
}
IN_GROUPS = {"MAIL", "RCPT", "RSET", "BDAT"}
"""Commands that need not be the last of their group (RFC 2920 3.1, RFC 3030 4.2)."""
WITH_ADDRESS = {"MAIL", "RCPT", "VRFY", "EXPN", "AUTH"}
CACHED_LENGTH = 512
"""Octets of the longest line that is remembered taken apart."""
_LINE_ENDS = {"crlf": b"\r\n", "lf": b"\n", "cr": b"\r", "none": b""}
_CLOSE = End("close")
_QUIT = End("close", expected=True)
_START_TLS = StartTls()


class CommandLine(NamedTuple):
    """A line taken apart: its verb, None where nobody knows it; the name as it came or the verb's; the argument; the
    reply key that refuses the line whatever it says, or None; and the strictness
    that it is a matter of, empty for what is never taken."""

    verb: Verb | None
    name: str
    argument: str
    fault: str | None = None
    minded: str = ""


def _parsed(line: bytes) -> CommandLine:
    word, _, rest = line.rstrip(b"\r\n").partition(b" ")
    verb = VERBS.get(word.upper())
    name = verb.name if verb is not None else word.decode("utf-8", "replace")
    command = CommandLine(verb, name, rest.decode("utf-8", "surrogateescape").rstrip(" \t"))
    if b"\r" in line[:-2] or b"\0" in line:
        return command._replace(fault="line")
    if line[-2:] != b"\r\n":
        return command._replace(fault="line.bare-lf", minded="bare-lf")
    if verb is not None and name not in WITH_ADDRESS and not line.isascii():
        return command._replace(fault="line.eight-bit", minded="eight-bit")
    return command


_known = lru_cache(maxsize=1024)(_parsed)


class SmtpSession:
    """The server's side of one SMTP connection (RFC 5321), on aiosmtpd's commands and hooks."""

    __slots__ = (
        "_actions", "_argument", "_chunk", "_chunk_failed", "_chunk_refusal", "_chunks", "_commands", "_data",
        "_effect", "_fixed", "_head", "_kept", "_locked", "_mistakes", "_over", "_overlong", "_replies",
        "_rules", "_shut", "_size", "_starting_tls", "_timed", "_transcript", "_uncounted", "_verb", "authentication",
        "binary", "checks", "connection", "delivers", "host", "idle", "lmtp", "messages", "offered",
        "overruled", "profile", "refused", "service", "site", "transactions",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.site = site = connection.site
        self.profile = site.profile.smtp
        self.service = site.profile.services[connection.service]  # type: ignore[index]
        self.host = self.service.host
        self.idle = self.profile.idle
        self.authentication: Authentication | None = None
        """The SASL exchange under way."""
        self.lmtp = self.service.lmtp
        self.offered = NOTHING_OFFERED
        """What the last EHLO reply said."""
        self.binary = False
        """The transaction was opened with BODY=BINARYMIME."""
        self.overruled = False
        """A rule accepts this command: the server's own policy is silent."""
        self.refused = False
        """A rule refuses this command."""
        self.delivers = True
        self.messages = self.transactions = 0
        self._rules = site.rules
        self._transcript = site.transcript
        self._replies = _replies(self.profile, self.host)
        self.checks = self._replies.checks
        """What the server minds on this connection, see `fakeservers.points.STRICTNESS`."""
        self._locked = False
        self._actions: list[Action] = []
        self._effect: Effect | None = None
        self._fixed: dict[str, Send] = {}
        self._timed: tuple[str, int, Send] | None = None
        self._kept = b""
        self._head = b""
        self._overlong = 0
        self._data: DataReader | None = None
        self._chunk: ChunkReader | None = None
        self._chunks: list[bytes] = []
        self._chunk_refusal: str | None = None
        self._chunk_failed = False
        self._shut = self._over = self._starting_tls = False
        self._mistakes = self._uncounted = self._size = 0
        self._verb = self._argument = ""
        self._commands = Commands(self)

    # --- the seam to the wire, see `fakeservers.actions.Session`

    def connect(self) -> list[Action]:
        actions: list[Action] = []
        self._actions = actions
        self._locked = self.service.tls_required and self.connection.tls is None
        self.consult("smtp.connect")
        self._shut = self.refused
        self.say("greeting")
        return actions

    def receive(self, data: bytes) -> list[Action]:
        actions: list[Action] = []
        self._actions = actions
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
        self._actions = actions
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

    # --- reading

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
        # Credentials stand in no cache.
        command = (_parsed if line[:1] in b"Aa" or len(line) > CACHED_LENGTH else _known)(line)
        verb, argument = command.verb, command.argument
        is_auth = verb is not None and verb.name == "AUTH"
        if len(line) > (AUTH_LINE_LIMIT if is_auth or "line-length" not in self.checks else self.profile.line_limit):
            self._too_long(line, len(line))
            return
        if is_auth or verb is None:
            self._hear(line)
        else:
            self._transcript.enter(self.connection.where, HEARD, line)
        self._verb = command.name
        # A reply that repeats the argument must not repeat a password.
        self._argument = argument.partition(" ")[0] if is_auth else argument
        if command.fault is not None and (not command.minded or command.minded in self.checks):
            self.say(command.fault)
        elif crowded and (verb is None or verb.name not in IN_GROUPS or "PIPELINING" not in self.offered.names):
            self.say("pipelining")
        elif verb is None:
            self.consult("smtp.unknown", command=command.name.lower(), argument=argument)
            self.say("unknown" if command.name else "line")
        else:
            self._command(verb, argument)

    def _command(self, verb: Verb, argument: str) -> None:
        if verb.point in self._rules.points:
            self.consult(verb.point, **self._facts(verb.name, argument))
        if self.refused and verb.name != "BDAT":
            self.say("unknown")
        elif self._shut and verb.name != "QUIT" and not self.overruled:
            self.say("sequence")
        elif self._locked and not verb.in_clear and not self.overruled:
            self.say("tls.required")
        else:
            self._commands.run(verb.method(self._commands, argument))
        self._effect = None

    def _answer(self, authentication: Authentication, line: bytes) -> None:
        """A line of the SASL exchange under way."""
        authentication.hear(line)
        self._verb, self._argument = "AUTH", ""
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
        self._verb = self._argument = ""
        self.say("auth.line-length" if exchange is not None else "line.length")

    def _hear(self, line: bytes) -> None:
        if self.authentication is not None:
            self.authentication.hear(line)
        elif line[:4].upper() == b"AUTH":
            masked, kind = mask_command(line)
            self.connection.heard(masked, masked=masked is not line)
            if kind is not None:
                self.connection.secret(kind)
        else:
            self.connection.heard(line)

    def _read_data(self, reader: DataReader, data: bytes, position: int) -> int:
        position = reader.feed(data, position)
        if position < 0:
            return len(data)
        self._data = None
        self._verb, self._argument, self._size = "DATA", "", reader.octets
        if reader.too_big:
            self.connection.event(
                f"did not keep a message of {reader.octets} octets", {"event": "too-big", "octets": reader.octets}
            )
            recipients = len(self._commands.envelope.rcpt_tos) if self.lmtp else 1
            self._commands.transaction_over()
            for _ in range(recipients):
                self.say("data.size")
        else:
            self.connection.heard(reader.content, body=True)
            self._message(reader.content, "data.ok")
        return position

    def _read_chunk(self, reader: ChunkReader, data: bytes, position: int) -> int:
        position = reader.feed(data, position)
        if position < 0:
            return len(data)
        self._end_of_chunk(reader)
        return position

    # --- rules

    def consult(self, point: str, **facts: object) -> None:
        """Ask the rules: sets `refused` or `overruled` where one answers, and what goes around the next reply."""
        self.refused = self.overruled = False
        if point not in self._rules.points:
            return
        if self._rules.count_commands:
            self.count_commands()
        effect = self._rules.consult(point, self.connection, **facts)
        if effect is None:
            return
        self._effect = effect
        for act in effect.acts:
            if act.strict or act.lenient:
                self.checks = self.checks.union(act.strict).difference(act.lenient)
        answer = effect.reply
        if answer is not None:
            lines = (answer.reply or "").splitlines()
            accepts = bool(lines) and lines[-1][:1] in ("2", "3")
            self.overruled, self.refused = accepts, not accepts

    def _facts(self, verb: str, argument: str) -> dict[str, object]:
        """What rules are told about a command."""
        facts: dict[str, object] = {"command": verb.lower(), "argument": argument}
        match verb:
            case "EHLO" | "HELO":
                facts["ehlo"] = argument
            case "MAIL":
                mail = parse_mail(argument)
                facts |= {
                    "address": mail.address, "domain": mail.domain, "sender": mail.address, "size": mail.size,
                    "parameters": " ".join(mail.parameters), "smtputf8": "SMTPUTF8" in mail.values, "recipients": 0,
                }  # fmt: skip
            case "RCPT":
                rcpt = parse_rcpt(argument)
                envelope = self._commands.envelope
                facts |= {
                    "address": rcpt.address, "domain": rcpt.domain, "parameters": " ".join(rcpt.parameters),
                    "smtputf8": envelope.smtp_utf8, "recipients": len(envelope.rcpt_tos) + 1,
                }  # fmt: skip
            case "AUTH":
                facts["mechanism"] = argument.partition(" ")[0].upper() or None
            case "BDAT":
                size = argument.partition(" ")[0]
                facts["size"] = int(size) if size.isascii() and size.isdecimal() else None
        return facts

    def count_commands(self) -> None:
        """Commands are counted when somebody may look: one entry for all since the last time."""
        if self._uncounted:
            self.connection.count("commands", self._uncounted)
            self._uncounted = 0

    def lacks(self, what: str) -> None:
        """The client used what the provider offers and this server has not: the harness is at fault, not the client."""
        self.connection.event(f"mailrig lacks {what}", {"event": "unimplemented", "what": what})

    # --- saying

    def say(self, key: str, **values: object) -> None:
        """Reply with the text of `key`, or with what the rules at this point have put in its place."""
        effect = self._effect
        if key in MISTAKES and (effect is None or effect.reply is None):
            self._mistakes += 1
            self.connection.count("bad_commands")
            limit = self.profile.bad_commands
            if limit is not None and self._mistakes >= limit:
                key = "unknown.too-many"
        else:
            self._mistakes = 0
        if effect is None:
            self._actions.append(self._replies.ready.get(key) or self._fixed.get(key) or self._make(key, values))
        else:
            self._around(effect, b"" if effect.reply is not None else self._words(key, values))
        if key == "unknown.too-many":
            self.leave()

    def _make(self, key: str, values: dict[str, object]) -> Send:
        """A reply with its placeholders filled; kept where they stay as they are for the whole connection, or for the
        second that it names."""
        varying = self._replies.varying.get(key, frozenset())
        second = int(self.site.clock.now()) if "unix_time" in varying else 0
        if second and self._timed is not None and self._timed[:2] == (key, second):
            return self._timed[2]
        reply = Send(self._words(key, values))
        if varying:
            changing = varying - self.connection.variables.keys()
            if not changing:
                self._fixed[key] = reply
            elif changing == {"unix_time"}:
                self._timed = (key, second, reply)
        return reply

    def say_bytes(self, answer: bytes, *, secret: bool = False) -> None:
        """Reply with `answer` as it is, unless a rule has another."""
        self._mistakes = 0
        if self._effect is None:
            self._actions.append(Send(answer, secret=secret))
        else:
            self._around(self._effect, answer, secret=secret)

    def say_ehlo(self, keywords: list[str]) -> None:
        """The EHLO reply with what the rules make of `keywords`; what it offers is what the session then knows."""
        effect = self._effect
        if effect is not None:
            keywords = effect.capabilities(keywords)
            if effect.reply is not None:
                keywords = [line[4:] for line in (effect.reply.reply or "").splitlines()[1:]]
        self.offered = offer(tuple(keywords), tuple(self.profile.mechanisms))
        rest = self.offered.reply
        first = self._words("ehlo", {})
        if first[:4] in (b"250 ", b"250-"):
            first = first[4:]
        self.say_bytes((b"250-" if rest else b"250 ") + first + rest)

    def _around(self, effect: Effect, answer: bytes, *, secret: bool = False) -> None:
        self._effect = None
        if effect.reply is not None:
            answer, secret = self._rule_words(effect.reply), False
        if effect.untagged:
            answer = encode(self._text(line, {}) for line in effect.untagged) + answer
        self._actions += effect.around(answer, secret=secret)
        if effect.ending is not None:
            self._over = True

    def _rule_words(self, act: Act) -> bytes:
        lines = [self._text(line, {}) for line in (act.reply or "").splitlines()]
        if act.line_end == "none":
            return encode(lines)[:-2]
        return encode(lines, _LINE_ENDS[act.line_end])

    def _words(self, key: str, values: dict[str, object]) -> bytes:
        """The reply's octets; values cannot bring line ends with them."""
        parts = list(pieces(self._replies.texts.get(key, key)))
        variables = self.connection.variables
        for place in range(1, len(parts), 2):
            name = str(parts[place])
            word = values.get(name) or variables.get(name) or self._word(name)
            if word is None and (word := self.connection.word(name)) is None:
                word = f"{{{name}}}"
            text = str(word)
            if not text.isprintable():
                text = " ".join(text.splitlines())
            parts[place] = text.encode("utf-8", "surrogateescape")
        return b"".join(parts)  # type: ignore[arg-type]

    def _text(self, line: str, values: dict[str, object]) -> str:
        """One line of a template; values cannot bring line ends with them."""
        if "{" not in line:
            return line
        words = {name: word for name in placeholders(line) if (word := values.get(name, self._word(name))) is not None}
        return " ".join(self.connection.text(line, **words).splitlines())

    def _word(self, name: str) -> object:
        """A placeholder that this command fills, or None."""
        envelope = self._commands.envelope
        match name:
            case "arg":
                return self._argument
            case "command":
                return self._verb
            case "sender":
                return envelope.mail_from or ""
            case "size":
                return self._size
            case "count":
                return len(envelope.rcpt_tos)
            case "address":
                return (parse_mail if self._verb == "MAIL" else parse_rcpt)(self._argument).address
            case "message_id":
                return message_id(envelope.content or b"")
        return None

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

    def leave(self) -> None:
        """End the connection behind what was said."""
        if not self._over:
            self._over = True
            self._actions.append(_QUIT if self._verb == "QUIT" else _CLOSE)

    def start_tls(self) -> None:
        if not self._over:
            self._starting_tls = True
            self._actions.append(_START_TLS)

    @property
    def auth_needs_tls(self) -> bool:
        """AUTH is not offered, but would be under TLS."""
        return self._hides_auth and any(is_auth(keyword) for keyword in self.profile.ehlo)

    @property
    def _hides_auth(self) -> bool:
        return self.profile.hides_auth_before_tls and self.connection.tls is None

    def keywords(self) -> list[str]:
        """The profile's EHLO keywords as they stand now, before rules."""
        tls = self.connection.tls is not None
        starttls = not tls and self.service.starttls
        return list(self._replies.keywords(self.profile, starttls=starttls, auth=not self._hides_auth, tls=tls))

    def logged_in(self, account: Account | None, mechanism: str) -> None:
        self.count_commands()
        self._commands.session.authenticated = True
        if account is not None:
            self.connection.login(account, mechanism)

    def transaction_ended(self) -> None:
        """The mail transaction is over or was given up."""
        facts = self.connection.facts
        if facts:
            facts.pop("sender", None)
            facts.pop("recipients", None)
        self.binary = self._chunk_failed = False
        if self._chunks:
            self._chunks = []

    def begin_data(self) -> None:
        """Say 354 and read data; a rule that says 2xx leaves the client with nothing to send."""
        reply = self._effect.reply if self._effect is not None else None
        self.say("data.go")
        if reply is None or not (reply.reply or "").startswith("2"):
            self._data = DataReader(self.profile.size_limit)

    @property
    def _declared_8bit(self) -> bool:
        envelope = self._commands.envelope
        bodies = ("BODY=8BITMIME", "BODY=BINARYMIME")
        return envelope.smtp_utf8 or any(option.upper() in bodies for option in envelope.mail_options)

    @property
    def in_bdat(self) -> bool:
        return bool(self._chunks) or self._chunk_failed

    def begin_chunk(self, octets: int, *, last: bool) -> None:
        """Read a BDAT command's octets; they are read and dropped where the command is refused (RFC 3030 2)."""
        envelope = self._commands.envelope
        refusal = None
        if self.refused:
            refusal = "unknown"
        elif self._chunk_failed:
            refusal = "sequence"
        elif envelope.mail_from is None:
            refusal = "mail-first"
        elif not envelope.rcpt_tos:
            refusal = "rcpt-first"
        elif octets + sum(map(len, self._chunks)) > self.profile.size_limit:
            refusal = "data.size"
        self._chunk_refusal = refusal
        self._size = octets
        self._chunk = ChunkReader(octets, last=last, keep=refusal is None, effect=self._effect)
        self._effect = None
        if not octets:
            self._end_of_chunk(self._chunk)

    def _end_of_chunk(self, reader: ChunkReader) -> None:
        self._chunk = None
        self._effect = reader.effect
        self._verb, self._argument = "BDAT", ""
        if self._chunk_refusal is not None:
            self._chunk_failed = self._commands.envelope.mail_from is not None
            self._chunks = []
            self.say(self._chunk_refusal)
            return
        content = reader.content
        self.connection.heard(content, body=True)
        self._chunks.append(content)
        if not reader.last:
            self.say("bdat.chunk")
            return
        whole = content if len(self._chunks) == 1 else b"".join(self._chunks)
        self._message(whole, "bdat.ok")

    def _message(self, content: bytes, done: str) -> None:
        """The message is whole: rules, delivery, and only then the reply."""
        connection = self.connection
        found = irregularities(content)
        for name in found:
            connection.event(f"the message has a {name.replace('-', ' ')}", {"event": name})
        envelope = self._commands.envelope
        minded = [name for name in found if f"data-{name}" in self.checks]
        if not (content.isascii() or self._declared_8bit):
            connection.event("the message has octets over 127, and nobody said so", {"event": "undeclared-8bit"})
            if "data-eight-bit" in self.checks:
                minded.append("eight-bit")
        self.messages += 1
        self._size = len(content)
        recipients = envelope.rcpt_tos
        if minded:
            for _ in recipients if self.lmtp else (None,):
                self.say(f"data.{minded[0]}")
        elif self.lmtp:
            self._message_for_each(content, found, done)
        else:
            self._judge_message(content, found)
            self._commands.run(self._commands.message(content, done))
        if not minded and (self.delivers or not self.refused):
            connection.count_message(len(recipients), len(content))
        self._commands.transaction_over()
        self._effect = None

    def _judge_message(self, content: bytes, found: list[str], **more: object) -> None:
        """Ask the rules about a message: sets `delivers`, and what goes around the reply."""
        self.refused = False
        self.delivers = True
        if self._rules.has("smtp.message"):
            before = self._effect
            self.consult("smtp.message", **message_facts(content, self._commands.envelope, found), **more)
            if self._effect is not None and self._effect is not before:
                deliver = self._effect.deliver
                self.delivers = not self.refused if deliver is None else deliver

    def _message_for_each(self, content: bytes, found: list[str], done: str) -> None:
        """Every recipient is judged alone and has a reply of its own, in their order (RFC 2033 4.2)."""
        envelope = self._commands.envelope
        kept: list[str] = []
        effects: list[Effect | None] = []
        for address in envelope.rcpt_tos:
            self._effect = None
            self._judge_message(content, found, address=address, domain=address.rpartition("@")[2])
            if self.delivers:
                kept.append(address)
            effects.append(self._effect)
        envelope.rcpt_tos = kept
        self.delivers = bool(kept)
        self._commands.run(self._commands.message(content, None))
        for effect in effects:
            if not self._over:
                self._effect = effect
                self.say(done)


_compiled: dict[tuple[int, str], tuple[SmtpProfile, Replies]] = {}
_COMPILED_LIMIT = 64


def _replies(profile: SmtpProfile, host: str) -> Replies:
    """The profile's replies, made ready once for all connections to `host`."""
    known = _compiled.get((id(profile), host))
    if known is None or known[0] is not profile:
        if len(_compiled) >= _COMPILED_LIMIT:
            _compiled.clear()
        known = _compiled[id(profile), host] = (profile, Replies(profile.replies, host, frozenset(profile.strict)))
    return known[1]
