"""What an SMTP session says: replies by their key in the profile's words, and what rules put around them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fakeservers.actions import Action, End, Send
from fakeservers.smtp.commands import Commands
from fakeservers.smtp.extensions import NOTHING_OFFERED, offer
from fakeservers.smtp.facts import message_id
from fakeservers.smtp.paths import parse_mail, parse_rcpt
from fakeservers.smtp.replies import MISTAKES, Replies, encode, pieces
from fakeservers.templates import placeholders

if TYPE_CHECKING:
    from fakeservers.connection import Connection
    from fakeservers.profile import SmtpProfile
    from fakeservers.rules import Act, Effect

__all__ = ["Speaker"]

_LINE_ENDS = {"crlf": b"\r\n", "lf": b"\n", "cr": b"\r", "none": b""}
_CLOSE = End("close")
_QUIT = End("close", expected=True)


class Speaker:
    """The speaking half of a session. `actions` gathers what one call of the wire is answered with."""

    __slots__ = (
        "_commands", "_effect", "_fixed", "_mistakes", "_over", "_replies", "_rules", "_size", "_timed", "_uncounted",
        "actions", "argument", "checks", "connection", "host", "offered", "overruled", "profile",
        "refused", "service", "site", "verb",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.site = site = connection.site
        self.profile = site.profile.smtp
        self.service = site.profile.service(connection.service)
        self.host = self.service.host
        self.actions: list[Action] = []
        self.verb = self.argument = ""
        """The command under way, for texts that repeat it."""
        self.offered = NOTHING_OFFERED
        """What the last EHLO reply said."""
        self.overruled = False
        """A rule accepts this command: the server's own policy is silent."""
        self.refused = False
        """A rule refuses this command."""
        self._rules = site.rules
        self._replies = _replies(self.profile, self.host, site.profile.variables)
        self.checks = self._replies.checks
        """What the server minds on this connection, see `fakeservers.points.STRICTNESS`."""
        self._effect: Effect | None = None
        self._fixed: dict[str, Send] | None = None
        """Replies that stay as they are for the whole connection."""
        self._timed: tuple[str, int, Send] | None = None
        self._over = False
        self._mistakes = self._uncounted = self._size = 0
        self._commands = Commands(self)  # type: ignore[arg-type]

    # --- rules

    def consult(self, point: str, **facts: object) -> None:
        """Ask the rules: sets `refused` or `overruled` where one answers, and what goes around the next reply."""
        self.refused = self.overruled = False
        if not self._rules.has(point):
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

    def command_facts(self, verb: str, argument: str) -> dict[str, object]:
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
        if effect is None:
            known = self._replies.usual.get(key)
            if known is None and self._fixed is not None:
                known = self._fixed.get(key)
            if known is not None:
                self._mistakes = 0
                self.actions.append(known)
                return
        if key in MISTAKES and (effect is None or effect.reply is None):
            self._mistakes += 1
            self.connection.count("bad_commands")
            limit = self.profile.bad_commands
            if limit is not None and self._mistakes >= limit:
                key = "unknown.too-many"
        else:
            self._mistakes = 0
        if effect is None:
            self.actions.append(self._make(key, values))
        else:
            self._around(effect, b"" if effect.reply is not None else self._words(key, values))
        if key == "unknown.too-many":
            self.leave()

    def _make(self, key: str, values: dict[str, object]) -> Send:
        """A reply with its placeholders filled; kept where it stays as it is for the whole connection, or for the
        second that it names."""
        group = self._replies.lasting.get(key)
        if group is None or values:
            return Send(self._words(key, values))
        second = 0
        if group.timed:
            second = int(self.site.clock.now())
            if self._timed is not None and self._timed[:2] == (key, second):
                return self._timed[2]
        word = self.connection.word
        words = {name: _octets(word(name)) for name in group.ids}
        if group.timed:
            words["unix_time"] = b"%d" % second
        said = group.form % tuple(map(words.__getitem__, group.names))
        # What the server has made up itself is no secret; the text around it might hold one.
        clear = self.site.secrets.clears(group.literal)
        if group.timed:
            self._timed = (key, second, Send(said, None, None, False, False, clear))
            return self._timed[2]
        made = {
            each: Send(text, None, None, False, False, clear)
            for each, text in zip(group.keys, said.split(b"\0"), strict=True)
        }
        self._fixed = made if self._fixed is None else {**self._fixed, **made}
        return made[key]

    def say_bytes(self, answer: bytes, *, secret: bool = False) -> None:
        """Reply with `answer` as it is, unless a rule has another."""
        self._mistakes = 0
        if self._effect is None:
            self.actions.append(Send(answer, secret=secret))
        else:
            self._around(self._effect, answer, secret=secret)

    def say_ehlo(self, keywords: tuple[str, ...]) -> None:
        """The EHLO reply with what the rules make of `keywords`; what it offers is what the session then knows."""
        effect = self._effect
        if effect is not None:
            keywords = tuple(effect.capabilities(keywords))
            if effect.reply is not None:
                keywords = tuple(line[4:] for line in (effect.reply.reply or "").splitlines()[1:])
        self.offered = offer(keywords, self._replies.mechanisms)
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
        self.actions += effect.around(answer, secret=secret)
        if effect.ending is not None:
            self._over = True

    def _rule_words(self, act: Act) -> bytes:
        lines = [self._text(line, {}) for line in (act.reply or "").splitlines()]
        if act.line_end == "none":
            return encode(lines)[:-2]
        return encode(lines, _LINE_ENDS[act.line_end])

    def _words(self, key: str, values: dict[str, object]) -> bytes:
        """The reply's octets."""
        parts = list(pieces(self._replies.texts.get(key, key)))
        variables = self.connection.variables
        for place in range(1, len(parts), 2):
            name = str(parts[place])
            word = values.get(name) or variables.get(name) or self._word(name)
            if word is None and (word := self.connection.word(name)) is None:
                word = f"{{{name}}}"
            parts[place] = _octets(word)
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
                return self.argument
            case "command":
                return self.verb
            case "sender":
                return envelope.mail_from or ""
            case "size":
                return self._size
            case "count":
                return len(envelope.rcpt_tos)
            case "address":
                return (parse_mail if self.verb == "MAIL" else parse_rcpt)(self.argument).address
            case "message_id":
                return message_id(envelope.content or b"")
        return None

    def leave(self) -> None:
        """End the connection behind what was said."""
        if not self._over:
            self._over = True
            self.actions.append(_QUIT if self.verb == "QUIT" else _CLOSE)


def _octets(word: object) -> bytes:
    """A placeholder's value; it cannot bring line ends with it."""
    text = str(word)
    if not text.isprintable():
        text = " ".join(text.splitlines())
    return text.encode("utf-8", "surrogateescape")


_compiled: dict[tuple[int, str], tuple[SmtpProfile, Replies]] = {}
_COMPILED_LIMIT = 64


def _replies(profile: SmtpProfile, host: str, ids: Iterable[str]) -> Replies:
    """The profile's replies, made ready once for all connections to `host`; `ids` are the profile's variables."""
    known = _compiled.get((id(profile), host))
    if known is None or known[0] is not profile:
        if len(_compiled) >= _COMPILED_LIMIT:
            _compiled.clear()
        replies = Replies(profile.replies, host, frozenset(profile.strict), tuple(profile.mechanisms), frozenset(ids))
        known = _compiled[id(profile), host] = (profile, replies)
    return known[1]
