"""One IMAP connection (RFC 3501): bytes in, actions out. Reads commands, asks the rules, runs, answers."""

from __future__ import annotations

from itertools import islice

from fakeservers.actions import Action, Bulk, Cut, End, Inflate, More, Send, StartTls, TlsFacts
from fakeservers.connection import Connection
from fakeservers.imap import masking
from fakeservers.imap.command import Answer, Command, RefusedError
from fakeservers.imap.commands import LACKED, commands
from fakeservers.imap.cursor import BadSyntaxError, Cursor
from fakeservers.imap.reading import Reader, Refused, Stray, Wanted, Whole
from fakeservers.imap.ruled import status_words
from fakeservers.imap.speaking import Speaking
from fakeservers.pieces import Pieces
from fakeservers.transcript import NOTHING

__all__ = ["ImapSession"]

_PIECE = 512 * 1024
"""Octets of an answer that are made at once: a longer one is made while it is sent."""


class ImapSession(Speaking):
    """Implements `fakeservers.actions.Session`."""

    __slots__ = ("_cut", "_ended", "_reader", "_streaming", "_uncounted")

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._reader = Reader(connection, self.profile, self.offered)
        self._ended = False
        self._streaming = False
        """A long answer is under way; no command is read meanwhile."""
        self._cut: End | None = None
        """How the connection breaks once what has come is answered."""
        self._uncounted = 0
        """Commands that were not yet counted: those that come together are counted together."""

    # --- Session

    def connect(self) -> list[Action]:
        effect = self.connection.consult("connect")
        greeting = self.say("greeting", capabilities=" ".join(self.capabilities(effect)))
        if effect is None:
            return self._sealed([Send(b"* %b\r\n" % greeting.encode())])
        self._behave(effect)
        if "PREAUTH" in status_words(effect):
            # Who the client is was settled elsewhere (RFC 3501 7.1.4): here it is the host's first account.
            for account in islice(self.site.store.accounts.values(), 1):
                self.connection.login(account, "PREAUTH")
        return self._sealed(self._around(effect, [], f"* {greeting}", tag="*"))

    def receive(self, data: bytes) -> list[Action]:
        if self._ended:
            return []
        self._reader.feed(data)
        return self._read()

    def _read(self) -> list[Action]:
        """Answer what has come; what stands behind long answers waits until the client has taken them."""
        actions: list[Action] = []
        octets = 0
        while not (self._ended or self._streaming):
            more = self._advance()
            if more is None:
                break
            for action in self._sealed(more):
                actions.append(action)
                if type(action) is Send:
                    octets += len(action.data)
            if octets > _PIECE and not (self._ended or self._streaming):
                self._streaming = True
                actions.append(More(self._read_on))
        if self._cut is not None and not (self._ended or self._streaming):
            self._ended = True
            actions.append(self._cut)
        self._count()
        return actions

    def _read_on(self) -> list[Action]:
        self._streaming = False
        actions = self._read()
        if self.notifications is not None:
            self.connection.wake()
        return actions

    def _count(self) -> None:
        if self._uncounted:
            self.connection.count("commands", self._uncounted)
            self._uncounted = 0

    def tls_started(self, facts: TlsFacts) -> list[Action]:
        return []

    def tls_skipped(self) -> list[Action]:
        return []

    def stirred(self) -> list[Action]:
        if self._ended or self._streaming:
            return []
        if self.interlude is not None:
            return self._sealed(self.interlude.stirred(self))
        said = self.notifications.news() if self.notifications is not None else []
        return self._sealed([Send(b"".join(said))]) if said else []

    def timed_out(self) -> list[Action]:
        if self._ended:
            return []
        return self._sealed([Send(f"* {self.say('autologout')}\r\n".encode()), End("close")])

    def closed(self) -> None:
        self._ended = True
        self.deselect()
        if self.notifications is not None:
            self.notifications.leave()
        if len(self._reader):
            self.connection.event(
                f"{len(self._reader)} octets left unread", {"event": "unread", "octets": len(self._reader)}
            )

    # --- reading

    def _advance(self) -> list[Action] | None:
        """Take one command further; None when more must come first."""
        found = self._reader.next(strays=self.interlude is not None, announced_all=self.site.rules.has("imap.literal"))
        if type(found) is Whole:
            return self._command(found.parts)
        match found:
            case Wanted(size, waits):
                return self._go_ahead(size, waits=waits)
            case Refused(_, ""):
                return []
            case Refused(head, key):
                if key == "bad.line":
                    self.interlude = None
                return self._failed_command(
                    self._tag_of(head), key, reason="non-synchronizing literals are not offered"
                )
            case Stray(line):
                assert self.interlude is not None
                self.interlude.heard(self, line)
                return self.interlude.line(self, line.removesuffix(b"\n").removesuffix(b"\r"))
        return None

    def _go_ahead(self, size: int, *, waits: bool) -> list[Action]:
        """Ask for a literal that `waits` for it, unless a rule or the server's own manner refuses the command before it
        has come."""
        early = waits and self.manners.append_checks_first and masking.verb_of(self._reader.parts[0]) == b"APPEND"
        if not early and not self.site.rules.has("imap.literal"):
            return [Send(f"{self.say('literal.continue')}\r\n".encode())]
        self.effect, self.out, self._words = None, [], NOTHING
        cursor = Cursor(self._reader.parts, utf8=self.utf8)
        facts: dict[str, object] = {}
        try:
            self.tag = cursor.tag()
            cursor.space()
            self.verb = cursor.word()
            place = (cursor.part, cursor.at)
            if self.verb == "APPEND":
                cursor.space()
                facts["mailbox"] = mailbox = cursor.mailbox()
                account = self.connection.account
                if early and account is not None and account.mailbox(mailbox) is None:
                    raise RefusedError("target.missing", mailbox=mailbox)
            argument = cursor.whole(place)
            self.consult("literal", command=self.verb.lower(), argument=argument, size=size, **facts)
        except BadSyntaxError:
            self.effect = None
        except RefusedError as error:
            if waits:
                self._reader.forget()
            else:
                self._reader.swallow()
            return self.refuse(error)
        if not waits:
            effect, self.effect = self.effect, None
            return effect.around(b"") if effect is not None else []
        return self._carry_on(self.say("literal.continue"), secret=False)

    def _tag_of(self, text: bytes) -> str:
        try:
            return Cursor([text]).tag()
        except BadSyntaxError:
            return "*"

    # --- running

    def _command(self, parts: list[bytes]) -> list[Action]:
        cursor = Cursor(parts, utf8=self.utf8, saved="SEARCHRES" in self.offered)
        self.effect = None
        self.out = []
        self._words = NOTHING
        head = cursor.head()
        try:
            self.tag = cursor.tag() if head is None else head[0]
        except BadSyntaxError as error:
            return self._failed_command("*", "bad.tag", reason=str(error))
        try:
            if head is None:
                cursor.space()
            self.verb = cursor.word() if head is None else head[1]
            uid = self.verb == "UID"
            if uid:
                cursor.space()
                self.verb = cursor.word()
        except BadSyntaxError as error:
            return self._failed_command(self.tag, "bad.syntax", reason=str(error))
        self._uncounted += 1
        if self.connection.account is None or self.site.rules.count_commands:
            self._count()
        kind = COMMANDS.get(self.verb)
        if kind is None or (uid and not kind.has_uid_form) or not self._available(kind):
            return self._unknown(cursor, uid=uid)
        return self._run(kind(uid=uid), cursor)

    def _available(self, kind: type[Command]) -> bool:
        if kind.capability is None:
            return True
        words = kind.capability.split("|")
        return any(word in self.offered and word not in self.site.profile.unimplemented for word in words)

    def _unknown(self, cursor: Cursor, *, uid: bool) -> list[Action]:
        try:
            self.consult("unknown", command=self.verb.lower(), argument=_shown(cursor))
        except RefusedError:
            return self.finish("")
        lacked = LACKED.get(self.verb) or getattr(COMMANDS.get(self.verb), "capability", None)
        if lacked is not None:
            for word in lacked.split("|"):
                if word in self.offered:
                    return self.lacking(word)
        return self._failed_command(self.tag, "bad.unknown")

    def _run(self, command: Command, cursor: Cursor) -> list[Action]:
        problem: BadSyntaxError | RefusedError | None = None
        argument = (cursor.part, cursor.at)
        wrong_state = self.state not in command.states
        try:
            if not wrong_state:
                command.parse(cursor, self)
                cursor.end()
        except (BadSyntaxError, RefusedError) as error:
            problem = error
        try:
            rules = self.site.rules
            if rules.points:
                if command.uid and rules.has("imap.uid"):
                    self._consult_command("uid", command, cursor, argument, problem)
                point = command.name.lower()
                if rules.has(f"imap.{point}"):
                    self._consult_command(point, command, cursor, argument, problem)
            if wrong_state:
                return self._failed_command(self.tag, "bad.state")
            if problem is not None:
                raise problem
            answer = command.run(self)
        except BadSyntaxError as error:
            return self._failed_command(self.tag, "bad.syntax", reason=str(error))
        except RefusedError as error:
            return self.refuse(error, expunges=command.expunges)
        self._bad = 0
        return self.answer(answer, expunges=command.expunges, uid=command.uid)

    def _consult_command(
        self, point: str, command: Command, cursor: Cursor, argument: tuple[int, int], problem: Exception | None
    ) -> None:
        facts = command.facts(self) if problem is None and self.state in command.states else {}
        if "mailbox" not in facts and self.selected is not None:
            facts["mailbox"] = self.selected.mailbox.name
        cursor.part, cursor.at = argument
        self.consult(point, command=self.verb.lower(), argument=cursor.whole(argument), **facts)

    def answer(self, answer: Answer, *, expunges: bool = True, uid: bool = False) -> list[Action]:
        """Say what a command that ran has to say."""
        if answer.interlude is not None:
            self.interlude = answer.interlude
            return self._carry_on(answer.line, secret=answer.secret)
        if answer.stream is not None:
            return self._stream(answer, expunges=expunges, uid=uid)
        if not expunges and self.selected is not None and self.selected.outdated:
            # The client may want to ask for the EXPUNGE that may not be said here (RFC 5530 3).
            answer.values.setdefault("code", "[EXPUNGEISSUED] ")
        reply = self.say(answer.key, **answer.values)
        return self.finish(reply, expunges=expunges, uid=uid, then=answer.then)

    def _stream(self, answer: Answer, *, expunges: bool, uid: bool) -> list[Action]:
        """Take lines until they are enough for one piece, or all; the rest is made when this piece has left."""
        assert answer.stream is not None
        size = 0
        whole = self.effect is not None
        try:
            for line in answer.stream:
                if isinstance(line, bytes):
                    self.out.append(line)
                    size += len(line)
                else:
                    self.out += line
                    size += len(line[1])
                if size > _PIECE and not whole:
                    said, self.out = Pieces(self.out), []
                    self._streaming = True
                    piece = Bulk(said) if self._voice is None else Send(bytes(said), body=True)
                    return [piece, More(lambda: self._go_on(answer, expunges=expunges, uid=uid))]
        except RefusedError as error:
            self._streaming = False
            return self.refuse(error, expunges=expunges)
        self._streaming = False
        answer.stream = None
        return self.answer(answer, expunges=expunges, uid=uid)

    def _go_on(self, answer: Answer, *, expunges: bool, uid: bool) -> list[Action]:
        actions = self._sealed(self._stream(answer, expunges=expunges, uid=uid))
        return actions if self._streaming else actions + self._read_on()

    def _sealed(self, actions: list[Action]) -> list[Action]:
        """Stop reading behind an end; drop what was sent in clear behind STARTTLS (RFC 3501 6.2.1), and what a client
        has sent behind COMPRESS before it was answered."""
        if self._voice is not None:
            actions = [self._spoken_as_wanted(self._voice, action) for action in actions]
        for action in actions:
            if type(action) is Send:
                continue
            if isinstance(action, End):
                self._ended = True
            elif isinstance(action, Cut) and len(self._reader):
                return [each for each in actions if each is not action] + self._counted(action, len(self._reader))
            elif isinstance(action, Inflate):
                self._reader.drop()
            elif isinstance(action, StartTls) and (octets := self._reader.drop()):
                self.connection.event(
                    f"{octets} octets of plaintext behind STARTTLS dropped",
                    {"event": "plaintext-after-starttls", "octets": octets},
                )
        return actions

    def _counted(self, cut: Cut, octets: int) -> list[Action]:
        """What a client had sent behind a command when that was read counts as well."""
        if octets < cut.after:
            return [Cut(cut.after - octets, cut.how, cut.rule)]
        self._reader.keep(cut.after)
        self._cut = End(cut.how, cut.rule)
        return []


COMMANDS = commands()


def _shown(cursor: Cursor) -> str:
    return cursor.text[cursor.at :].strip().decode("utf-8", "replace")
