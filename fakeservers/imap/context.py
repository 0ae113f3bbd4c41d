"""One IMAP session as its commands see it: its state, what is offered and enabled, the rules, the selected mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fakeservers.connection import Connection
from fakeservers.imap.capabilities import advertised, offered_ever
from fakeservers.imap.command import Interlude, RefusedError, State
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.options import Manners, manners_of
from fakeservers.imap.replies import replies_of
from fakeservers.imap.ruled import refuses
from fakeservers.imap.selected import Selected
from fakeservers.imap.sequence import compact
from fakeservers.imap.voice import voice_of
from fakeservers.mailstore import Message
from fakeservers.profile import ImapProfile
from fakeservers.rules import Effect
from fakeservers.transcript import NOTHING

if TYPE_CHECKING:
    from fakeservers.imap.commands.notifying import Notifications

__all__ = ["SessionContext"]

_NOTHING_ENABLED: frozenset[str] = frozenset()


class SessionContext:
    __slots__ = (
        "_replies", "_voice", "_words", "compressed", "connection", "effect", "enabled", "idle", "interlude", "manners",
        "notifications", "offered", "out", "profile", "rev2", "selected", "site", "tag", "utf8", "verb",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.site = connection.site
        self.profile: ImapProfile = connection.site.profile.imap
        self.manners: Manners = manners_of(self.profile.options)
        self.idle: float = self.profile.idle
        self.selected: Selected | None = None
        self.enabled: frozenset[str] = _NOTHING_ENABLED
        """Extensions that the client has turned on."""
        self.out: list[bytes] = []
        """Untagged responses of the command under way, whole lines."""
        self.interlude: Interlude | None = None
        self._voice = voice_of(self.manners, connection.site.random)
        self.notifications: Notifications | None = None
        """What the client wants to be told unasked (RFC 5465)."""
        self.compressed = False
        """The client has turned on COMPRESS (RFC 4978)."""
        self.effect: Effect | None = None
        """What the rules want of the command under way."""
        self._words: Mapping[str, object] = NOTHING
        """Placeholders of rules' texts that the command under way has filled."""
        self.tag = ""
        self.verb = ""
        self.offered = offered_ever(connection)
        self.rev2 = "IMAP4REV2" in self.offered and "IMAP4REV1" not in self.offered
        """IMAP4rev2 was enabled, or the server speaks nothing else (RFC 9051 6.3.1)."""
        self.utf8 = self.rev2
        """Quoted strings and mailbox names are UTF-8 (RFC 6855 3, RFC 9051 5.1)."""
        self._replies = replies_of(self.profile.replies)

    # --- state and capabilities

    @property
    def state(self) -> State:
        if self.connection.account is None:
            return State.NOT_AUTHENTICATED
        return State.AUTHENTICATED if self.selected is None else State.SELECTED

    @property
    def condstore(self) -> bool:
        return "CONDSTORE" in self.enabled

    @property
    def names_uids(self) -> bool:
        """A server of QRESYNC says the UID with every change once CONDSTORE is enabled (RFC 7162 3.2.4)."""
        return "QRESYNC" in self.enabled or (self.condstore and self.built("QRESYNC"))

    def enable(self, *capabilities: str) -> None:
        self.enabled |= frozenset(capabilities)
        self.rev2 = self.rev2 or "IMAP4REV2" in capabilities
        self.utf8 = self.rev2 or "UTF8=ACCEPT" in self.enabled

    def offers(self, capability: str) -> bool:
        return capability in self.offered

    def built(self, capability: str) -> bool:
        """Whether a capability is offered and works; otherwise a profile says that it is not implemented here."""
        return capability in self.offered and capability not in self.site.profile.unimplemented

    def require(self, cursor: Cursor, capability: str, what: str) -> None:
        """Something in a command that belongs to an extension: a syntax error where none of `capability` (words with
        `|` between) is offered; where it is offered and not built, RefusedError and an event."""
        words = [word for word in capability.split("|") if word in self.offered]
        if not words:
            cursor.fail(f"{what} that this server knows")
        lacked = self.site.profile.unimplemented
        if all(word in lacked for word in words):
            self.note_lack(words[0])
            raise RefusedError("bad.unimplemented", capability=words[0])

    def note_lack(self, capability: str) -> None:
        self.connection.event(f"mailrig lacks {capability}", {"event": "unimplemented", "capability": capability})

    # --- rules and words

    def has_own(self, key: str) -> bool:
        return key in self.profile.replies

    def say(self, key: str, **values: object) -> str:
        """A reply's text by its key."""
        return self._replies.say(self.connection, key, {"tag": self.tag, "command": self.verb, "code": "", **values})

    def capabilities(self, effect: Effect | None = None) -> list[str]:
        """What is advertised now, as the rules at this point change it."""
        offered = advertised(self.connection)
        effect = effect or self.effect
        return offered if effect is None else effect.capabilities(offered)

    def consult(self, point: str, **facts: object) -> Effect | None:
        """Ask the rules; what they want is added to what they already want of this command. Raises RefusedError with
        the key `rule` when they refuse."""
        effect = self.connection.consult(point, **facts)
        if effect is not None:
            self._behave(effect)
            told = {name: value for name, value in facts.items() if name in ("mailbox", "size")}
            self._words = {"arg": facts.get("argument", ""), "mailbox": "", **self._words, **told}
            if self.effect is not None:
                effect = Effect(f"{self.effect.rule}+{effect.rule}", [*effect.acts, *self.effect.acts])
            self.effect = effect
            if refuses(effect):
                raise RefusedError("rule")
        return effect

    def _behave(self, effect: Effect) -> None:
        """Take on the manners that a rule gives."""
        if effect.manners:
            self.manners = replace(self.manners, **effect.manners)  # type: ignore[arg-type]
            self._voice = voice_of(self.manners, self.site.random)

    # --- the selected mailbox

    def select(self, selected: Selected) -> None:
        self.deselect()
        self.selected = selected

    def deselect(self) -> None:
        if self.selected is not None:
            self.selected.leave()
            self.selected = None
            self.connection.facts.pop("mailbox", None)

    def stir(self) -> None:
        """The selected mailbox has changed; said at once only in IDLE and to who asked for it with NOTIFY."""
        if self.interlude is not None or (self.notifications is not None and self.notifications.immediate):
            self.connection.wake()

    def describe(self, seq: int, message: Message, *, uid: bool = False) -> bytes:
        """An untagged FETCH with the message's flags, as other sessions' changes are told."""
        assert self.selected is not None
        more = b"UID %d " % message.uid if uid or self.names_uids else b""
        modseq = b" MODSEQ (%d)" % message.modseq if self.condstore else b""
        return b"* %d FETCH (%bFLAGS %b%b)\r\n" % (seq, more, self.selected.flags(message), modseq)

    def news(self, *, expunges: bool, uid: bool = False) -> list[bytes]:
        """Untagged responses about what changed in the selected mailbox."""
        selected = self.selected
        if selected is None:
            return []
        vanished: list[bytes] = []
        if expunges and "QRESYNC" in self.enabled and (uids := selected.vanished()):
            vanished = [b"* VANISHED %b\r\n" % compact(uids)]
        return vanished + selected.news(
            expunges=expunges, describe=lambda seq, message: self.describe(seq, message, uid=uid)
        )
