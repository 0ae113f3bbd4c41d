"""The texts of responses by key; a profile's `imap.replies` override them.

A text begins with OK, NO, BAD, BYE or `+`. `{code}` is the response code that the server has to say there, with its
space behind, or nothing. `ok` stands for every `*.ok` that a profile leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from fakeservers.templates import format_of, placeholders

if TYPE_CHECKING:
    from fakeservers.connection import Connection

__all__ = ["DEFAULTS", "REPLY_KEYS", "Replies", "check_reply_keys", "replies_of"]

DEFAULTS: Mapping[str, str] = {
    "greeting": "OK [CAPABILITY {capabilities}] {host} IMAP4rev1 ready",
    "ok": "OK {code}{command} completed",
    # logging in and out
    "login.ok": "OK {code}Logged in",
    "login.failed": "NO [AUTHENTICATIONFAILED] Authentication failed",
    "login.expired": "NO [EXPIRED] Password or token has expired",
    "login.account-disabled": "NO [CONTACTADMIN] Account is disabled",
    "login.disabled": "NO [PRIVACYREQUIRED] Login is not allowed without TLS",
    "login.off": "NO [CANNOT] LOGIN is disabled",
    "authenticate.ok": "OK {code}Logged in",
    "authenticate.failed": "NO [AUTHENTICATIONFAILED] Authentication failed",
    "authenticate.mechanism": "NO [CANNOT] Mechanism not supported",
    "authenticate.malformed": "BAD Invalid SASL response",
    "authenticate.cancelled": "BAD Authentication cancelled",
    "starttls.ok": "OK Begin TLS negotiation now",
    "starttls.refused": "BAD STARTTLS is not available",
    "logout.bye": "BYE Logging out",
    "logout.ok": "OK LOGOUT completed",
    "autologout": "BYE Autologout; idle for too long",
    # mailboxes
    "select.ok": "OK {code}{command} completed",
    "select.missing": "NO [NONEXISTENT] Mailbox does not exist",
    "select.noselect": "NO [CANNOT] Mailbox cannot be selected",
    "status.missing": "NO [NONEXISTENT] Mailbox does not exist",
    "mailbox.missing": "NO [NONEXISTENT] Mailbox does not exist",
    "mailbox.exists": "NO [ALREADYEXISTS] Mailbox exists already",
    "mailbox.invalid": "NO [CANNOT] Not a name for a mailbox",
    "mailbox.inferiors": "NO [HASCHILDREN] Mailbox has inferiors and holds no messages",
    "mailbox.inbox": "NO [CANNOT] INBOX stays",
    "target.missing": "NO [TRYCREATE] Mailbox does not exist",
    "read-only": "NO [READ-ONLY] Mailbox was opened read-only",
    "close.ok": "OK {code}CLOSE completed",
    "unselect.ok": "OK UNSELECT completed",
    # messages
    "append.ok": "OK {code}APPEND completed",
    "append.too-big": "NO [TOOBIG] Literal is too big",
    "append.malformed": "BAD Lines of the message must end in CRLF",
    "literal.continue": "+ Ready for literal data",
    "copy.ok": "OK {code}COPY completed",
    "copy.expunged": "NO [EXPUNGEISSUED] Some of the messages no longer exist",
    "move.ok": "OK {code}MOVE completed",
    "append.unknown-cte": "NO [UNKNOWN-CTE] Transfer encoding not known",
    "append.bad-url": 'NO [BADURL "{url}"] Nothing there',
    "fetch.unknown-cte": "NO [UNKNOWN-CTE] Transfer encoding not known",
    "label.invalid": "BAD Invalid label",
    "search.charset": "NO [BADCHARSET (US-ASCII UTF-8)] Charset not supported",
    "search.ok": "OK {code}SEARCH completed",
    "fetch.ok": "OK {code}FETCH completed",
    "store.ok": "OK {code}STORE completed",
    "store.modified": "OK {code}Conditional STORE failed",
    "store.expunged": "NO {code}Some of the messages no longer exist",
    "idle.continue": "+ idling",
    "idle.ok": "OK IDLE terminated",
    "idle.bad": "BAD Expected DONE",
    # what cannot be done
    "bad.syntax": "BAD Syntax error: {reason}",
    "bad.tag": "BAD Syntax error: {reason}",
    "bad.unknown": "BAD Unknown command",
    "bad.state": "BAD Command is not allowed in this state",
    "bad.unimplemented": "BAD mailrig lacks {capability}",
    "bad.too-many": "BYE Too many bad commands",
    "bad.line": "BAD Command line is too long",
    "bad.sequence": "BAD Invalid message sequence number",
    "create.use": "NO [USEATTR] Special use not supported",
    "acl.set": "NO [NOPERM] Rights cannot be changed",
    "metadata.entry": "BAD Not an entry name",
    "metadata.too-big": "NO [METADATA MAXSIZE {size}] Value is too big",
    "metadata.too-many": "NO [METADATA TOOMANY] Too many entries",
    "compress.active": "NO [COMPRESSIONACTIVE] DEFLATE is active already",
    "compress.mechanism": "NO Compression not supported",
    "notify.events": "NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)] Unknown",
    "quota.root": "NO [NONEXISTENT] No such quota root",
    "quota.set": "NO [NOPERM] Quotas cannot be changed",
    "quota.exceeded": "NO [OVERQUOTA] Mailbox is full",
}
_COMMANDS = (
    "append", "authenticate", "capability", "check", "close", "compress", "copy", "create", "delete", "enable",
    "examine", "expunge", "fetch", "getacl", "getmetadata", "getquota", "getquotaroot", "id", "idle", "list",
    "listrights", "login", "logout", "lsub", "move", "myrights", "namespace", "noop", "notify", "rename", "rlist",
    "rlsub", "search", "select", "setmetadata", "setquota", "sort", "starttls", "status", "store", "subscribe",
    "thread", "unselect", "unsubscribe", "xlist",
)  # fmt: skip
_BROADER: Mapping[str, tuple[str, ...]] = {
    "bad.sequence": ("bad.syntax",),
    "label.invalid": ("bad.syntax",),
    "metadata.entry": ("bad.syntax",),
    "store.modified": ("store.ok", "ok"),
}
"""Keys whose place a profile's word of a broader sense takes when it has none of their own."""
REPLY_KEYS = frozenset(DEFAULTS) | {f"{command}.ok" for command in _COMMANDS}
"""Every key that `imap.replies` may have."""


def check_reply_keys(replies: Mapping[str, str]) -> None:
    """Raises ValueError, naming the nearest, for a key that this server never says."""
    from fakeservers.rules import unknown

    for key in replies:
        if key not in REPLY_KEYS:
            raise ValueError(unknown("reply", key, REPLY_KEYS))


@lru_cache(64)
def _replies(own: tuple[tuple[str, str], ...]) -> Replies:
    return Replies(dict(own))


def replies_of(own: Mapping[str, str]) -> Replies:
    """The texts of a profile, the same object for all its sessions."""
    return _replies(tuple(own.items()))


class Replies:
    """A profile's texts, looked at once: which placeholders each one has."""

    __slots__ = ("_own", "_ready")

    def __init__(self, own: Mapping[str, str]) -> None:
        self._own = own
        self._ready: dict[str, tuple[str, frozenset[str], str]] = {}

    def say(self, connection: Connection, key: str, values: Mapping[str, object]) -> str:
        """The text for `key`. A key `x.ok` that nobody wrote is the text of `ok`."""
        ready = self._ready.get(key)
        if ready is None:
            text = self._find(key)
            ready = self._ready[key] = (text, frozenset(placeholders(text)), format_of(text))
        text, names, form = ready
        if not names:
            return text
        if names <= values.keys():
            return form % values
        return connection.text(text, **values)

    def _find(self, key: str) -> str:
        if key in self._own:
            return self._own[key]
        broader = _BROADER.get(key)
        if broader is not None and any(each in self._own for each in broader):
            return next(self._own[each] for each in broader if each in self._own)
        if key.endswith(".ok"):
            return self._own.get("ok") or DEFAULTS.get(key) or DEFAULTS["ok"]
        return DEFAULTS[key]
