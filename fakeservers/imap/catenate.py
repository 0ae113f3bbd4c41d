"""IMAP URLs of this server's own messages (RFC 5092), as CATENATE takes them (RFC 4469 4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_to_bytes

from fakeservers.imap.command import RefusedError
from fakeservers.imap.cursor import BadSyntaxError, Cursor

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession
    from fakeservers.mailstore import Mailbox

__all__ = ["resolve"]

_URL = re.compile(
    r"(?:imap://[^/]*)?(?:/(?P<mailbox>[^;]+?)(?:;UIDVALIDITY=(?P<validity>\d+))?/)?;UID=(?P<uid>\d+)"
    r"(?:/;SECTION=(?P<section>[^;/]+))?(?:/;PARTIAL=(?P<start>\d+)(?:\.(?P<length>\d+))?)?",
    re.IGNORECASE,
)
_SAYABLE = "".join(each for each in map(chr, range(0x20, 0x7F)) if each not in '"\\]')


def resolve(session: ImapSession, url: str) -> bytes:
    """The octets that an IMAP URL names: `/mailbox;UIDVALIDITY=n/;UID=n/;SECTION=s/;PARTIAL=a.b`, without the mailbox
    those of the selected one. Raises RefusedError with BADURL."""
    match = _URL.fullmatch(url)
    # A response code holds neither what ends a line nor what ends a quoted string or the code itself.
    shown = quote(url, safe=_SAYABLE)
    mailbox = _mailbox(session, match["mailbox"]) if match else None
    if match is None or mailbox is None or (match["validity"] and int(match["validity"]) != mailbox.uidvalidity):
        raise RefusedError("append.bad-url", url=shown)
    message = mailbox.by_uid(int(match["uid"]))
    octets = None if message is None else _section(match["section"], message.raw)
    if octets is None:
        raise RefusedError("append.bad-url", url=shown)
    start = int(match["start"] or 0)
    return octets[start : start + int(match["length"])] if match["length"] else octets[start:]


def _mailbox(session: ImapSession, name: str | None) -> Mailbox | None:
    if name is None:
        return None if session.selected is None else session.selected.mailbox
    account = session.connection.account
    return None if account is None else account.mailbox(unquote(name))


def _section(text: str | None, raw: bytes) -> bytes | None:
    from fakeservers.imap.fetch import read_section

    try:
        return raw if text is None else read_section(Cursor([b"[%b]" % unquote_to_bytes(text)])).cut(raw)
    except BadSyntaxError:
        return None
