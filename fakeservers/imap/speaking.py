"""An IMAP session's words: how a command's answer ends, and what rules put around it."""

from __future__ import annotations

from fakeservers.actions import Action, End, Send
from fakeservers.connection import Connection
from fakeservers.imap.command import RefusedError
from fakeservers.imap.context import SessionContext
from fakeservers.imap.ruled import refuses, spoken, status_words
from fakeservers.imap.voice import Voice
from fakeservers.rules import Effect

__all__ = ["Speaking"]


class Speaking(SessionContext):
    __slots__ = ("_bad",)

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._bad = 0
        """Commands in a row that could not be understood."""

    def finish(
        self, reply: str, *, expunges: bool = True, uid: bool = False, then: list[Action] | None = None
    ) -> list[Action]:
        """End the command under way with the tagged `reply`, its untagged data and news before it."""
        said, self.out = self.out, []
        effect, self.effect = self.effect, None
        # News that are not sent now must stay news: they are only asked for when they will go out.
        if self.selected is not None and not (effect is not None and refuses(effect)):
            said += self.news(expunges=expunges, uid=uid)
        tagged = f"{self.tag} {reply}"
        if effect is None:
            last = f"{tagged}\r\n".encode("utf-8", "surrogateescape")
            return [Send(b"".join([*said, last]) if said else last), *(then or ())]
        return self._around(effect, said, tagged, tag=self.tag, then=then)

    def _carry_on(self, line: str, *, secret: bool) -> list[Action]:
        """Say a continuation request, or a rule's word instead, while the command goes on."""
        said, self.out = self.out, []
        effect, self.effect = self.effect, None
        if effect is None:
            return [Send(b"".join(said) + line.encode() + b"\r\n", secret=secret)]
        return self._around(effect, said, line, tag=self.tag, secret=secret)

    def refuse(self, error: RefusedError, *, expunges: bool = True) -> list[Action]:
        """Answer a command that was refused by the server or by a rule."""
        if error.key == "rule":
            return self.finish("", expunges=expunges)
        reply = self.say(error.key, **error.values)
        if reply.startswith("BAD"):
            return self._failed_command(self.tag, error.key, **error.values)
        self._bad = 0
        return self.finish(reply, expunges=expunges)

    def _failed_command(self, tag: str, key: str, **values: object) -> list[Action]:
        """BAD for a command that could not be understood; too many in a row end the connection."""
        self.connection.count("bad_commands")
        self._bad += 1
        self.tag = tag
        actions = self.finish(self.say(key, **values), expunges=False)
        limit = self.profile.bad_commands
        if limit is not None and self._bad >= limit:
            actions += [Send(f"* {self.say('bad.too-many')}\r\n".encode()), End("close")]
        return actions

    def lacking(self, capability: str) -> list[Action]:
        """The profile offers what is not built here: the harness must see it, whatever the client makes of it."""
        self.note_lack(capability)
        return self.finish(self.say("bad.unimplemented", capability=capability))

    def _around(
        self,
        effect: Effect,
        said: list[bytes],
        line: str,
        *,
        tag: str,
        then: list[Action] | None = None,
        secret: bool = False,
    ) -> list[Action]:
        """Send the answer the way a rule wants it; a BYE in the rule's words ends the connection."""
        secret = secret and effect.reply is None
        words = {**self._words, "tag": tag, "command": self.verb}
        actions = effect.around(spoken(self.connection, effect, said, line, tag=tag, words=words), secret=secret)
        if effect.ending is not None:
            return actions
        if "BYE" in status_words(effect):
            return [*actions, End("close", effect.rule)]
        return actions + (then or [])

    def _spoken_as_wanted(self, voice: Voice, action: Action) -> Action:
        """What a rule says stays as it is."""
        if not isinstance(action, Send) or action.rule is not None:
            return action
        return voice.speak(action, self.selected.exists if self.selected is not None else None)
