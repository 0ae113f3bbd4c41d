"""Google's extension X-GM-EXT-1: message and thread numbers, labels, and the search of the web page.

https://developers.google.com/workspace/gmail/imap/imap-extensions. The label semantics are `fakeservers.labels`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from fakeservers.imap import texts, utf7
from fakeservers.imap.command import Answer, RefusedError
from fakeservers.imap.cursor import BadSyntaxError, Cursor
from fakeservers.imap.identity import email_id, thread_key
from fakeservers.imap.items import Item, ItemTable, plain
from fakeservers.imap.mime import Part, parse
from fakeservers.imap.selected import Selected
from fakeservers.imap.spelling import astring
from fakeservers.mailstore import Account, Mailbox, Message

if TYPE_CHECKING:
    from fakeservers.imap.search import Asked, Key, KeyTable, Reading, Test
    from fakeservers.imap.session import ImapSession

__all__ = ["ITEMS", "KEYS", "STORE_ITEM", "read_labels", "store_labels"]

CAPABILITY = "X-GM-EXT-1"
STORE_ITEM = "X-GM-LABELS"
_SYSTEM = {
    "\\Sent": "\\Sent", "\\Drafts": "\\Draft", "\\Flagged": "\\Starred", "\\Important": "\\Important",
    "\\Trash": "\\Trash", "\\Junk": "\\Spam",
}  # fmt: skip
"""Special use of a mailbox: the label."""
_SPELLINGS = {"\\drafts": "\\Draft", "\\junk": "\\Spam", "\\flagged": "\\Starred"}
_LABEL = re.compile(rb'\\?[^\x00-\x20(){%*"\\\x7f-\xff]+')


def label_of(mailbox: Mailbox) -> str | None:
    """What a mailbox is called as a label; None for All Mail, which every message is in."""
    if mailbox.name == "INBOX":
        return "\\Inbox"
    if "\\All" in mailbox.attributes:
        return None
    return next((label for use, label in _SYSTEM.items() if use in mailbox.attributes), mailbox.name)


def labels(account: Account, message: Message, selected: Mailbox | None) -> list[str]:
    """The message's labels; that of the selected mailbox goes without saying."""
    found = account.labels.having(message) if account.labels is not None else []
    return sorted(label for box in found if box is not selected and (label := label_of(box)) is not None)


# --- FETCH


def _message_id(message: Message) -> int:
    return email_id(message)


def _thread_id(account: Account | None, message: Message) -> int:
    key = thread_key(message)
    email_id(message)
    return key if account is None or account.labels is None else account.labels.thread(key, message)


def _read_thread(cursor: Cursor, session: ImapSession, name: str) -> Item:
    account = session.connection.account
    return Item(name, lambda view, message: b"X-GM-THRID %d" % _thread_id(account, message))


def _read_labels_item(cursor: Cursor, session: ImapSession, name: str) -> Item:
    account = session.connection.account
    assert account is not None
    return Item(name, lambda view, message: written(account, view, message))


def written(account: Account, view: Selected, message: Message) -> bytes:
    """X-GM-LABELS SP "(" [astring *(SP astring)] ")": system labels are quoted with their backslash doubled."""
    said = (
        astring(label.encode() if label[0] == "\\" else utf7.encode(label))
        for label in labels(account, message, view.mailbox)
    )
    return b"X-GM-LABELS (%b)" % b" ".join(said)


ITEMS: ItemTable = {
    "X-GM-MSGID": (CAPABILITY, plain("X-GM-MSGID", lambda view, message: b"X-GM-MSGID %d" % _message_id(message))),
    "X-GM-THRID": (CAPABILITY, _read_thread),
    "X-GM-LABELS": (CAPABILITY, _read_labels_item),
}


# --- STORE


def read_labels(cursor: Cursor) -> list[str]:
    """label-list = "(" [label *(SP label)] ")" / label"""
    return cursor.parenthesized(lambda: _label(cursor)) if cursor.peek(b"(") else [_label(cursor)]


def _label(cursor: Cursor) -> str:
    match = _LABEL.match(cursor.text, cursor.at)
    if match is not None:
        cursor.at = match.end()
        raw = match[0]
    else:
        raw = cursor.astring()
    name = cursor.mailbox_name(raw)
    return _SPELLINGS.get(name.lower(), name)


def store_labels(
    session: ImapSession, numbered: list[tuple[int, Message]], sign: str, names: list[str], *, silent: bool
) -> Answer:
    """STORE ["+" / "-"] X-GM-LABELS: labels that do not exist yet are made."""
    account = session.connection.account
    assert account is not None
    if account.labels is None:
        raise RefusedError("label.invalid")
    boxes = [_mailbox(session, account, name) for name in names]
    for _, message in numbered:
        if not sign:
            gone = [
                box for box in account.labels.having(message)
                if box not in boxes and not box.permanent and box is not _view_of(session).mailbox
            ]  # fmt: skip
            account.labels.unlabel(message, gone)
        if sign == "-":
            account.labels.unlabel(message, boxes)
        else:
            account.labels.label(message, boxes)
    if not silent:
        view = _view_of(session)
        there = {id(message) for message in view.present(message for _, message in numbered)}
        session.out += [
            b"* %d FETCH (UID %d %b)\r\n" % (seq, message.uid, written(account, view, message))
            for seq, message in numbered
            if id(message) in there
        ]
    return Answer("store.ok")


def _view_of(session: ImapSession) -> Selected:
    assert session.selected is not None
    return session.selected


def _mailbox(session: ImapSession, account: Account, label: str) -> Mailbox:
    from fakeservers.imap.commands.mailboxes import check_name, create_superiors

    for mailbox in account.mailboxes.values():
        known = label_of(mailbox)
        if known is not None and known.casefold() == label.casefold() and "\\Noselect" not in mailbox.attributes:
            return mailbox
    if label.startswith("\\"):
        raise RefusedError("label.invalid")
    check_name(session, label)
    create_superiors(session, account, label)
    return session.site.store.create(account, label, subscribe=False)


# --- SEARCH


def _number_key(thread: bool) -> Key:
    def read(reading: Reading) -> Test:
        """X-GM-MSGID / X-GM-THRID SP number"""
        from fakeservers.imap.search import Test

        reading.cursor.space()
        wanted = reading.cursor.number(2**64 - 1)
        account = reading.session.connection.account
        if thread:
            return Test(4, lambda seq, message: _thread_id(account, message) == wanted)
        return Test(4, lambda seq, message: _message_id(message) == wanted)

    return read


def _labels_key(reading: Reading) -> Test:
    """X-GM-LABELS SP label"""
    from fakeservers.imap.search import Test

    reading.cursor.space()
    return Test(2, _has_label(reading.session, _label(reading.cursor)))


def _has_label(session: ImapSession, label: str) -> Asked:
    account = session.connection.account
    assert account is not None
    folded = label.casefold()
    return lambda seq, message: any(known.casefold() == folded for known in labels(account, message, None))


def _raw_key(reading: Reading) -> Test:
    """X-GM-RAW SP string: words and `operator:value`, all of which must hold; `-` denies, OR joins two."""
    from fakeservers.imap.search import Test

    reading.cursor.space()
    asked = _query(reading.session, reading.text())
    return Test(6, asked)


KEYS: KeyTable = {
    "X-GM-MSGID": (CAPABILITY, _number_key(False)),
    "X-GM-THRID": (CAPABILITY, _number_key(True)),
    "X-GM-LABELS": (CAPABILITY, _labels_key),
    "X-GM-RAW": (CAPABILITY, _raw_key),
}

_TERM = re.compile(r'(-?)(?:(\w+):)?(?:"([^"]*)"|(\S+))')


def _query(session: ImapSession, text: str) -> Asked:
    groups: list[list[Asked]] = []
    join = False
    for minus, operator, quoted, bare in _TERM.findall(text):
        if bare == "OR" and not operator and groups:
            join = True
            continue
        asked = _term(session, operator.lower(), quoted or bare)
        if minus:
            asked = _denied(asked)
        if join:
            groups[-1].append(asked)
        else:
            groups.append([asked])
        join = False
    return lambda seq, message: all(any(ask(seq, message) for ask in group) for group in groups)


def _denied(asked: Asked) -> Asked:
    return lambda seq, message: not asked(seq, message)


_FIELDS = {"from": (b"from",), "to": (b"to", b"cc"), "cc": (b"cc",), "bcc": (b"bcc",), "subject": (b"subject",)}
_STATES = {
    "unread": ("\\Seen", False), "read": ("\\Seen", True), "starred": ("\\Flagged", True), "draft": ("\\Draft", True),
}  # fmt: skip
_PLACES = {
    "inbox": "\\Inbox", "sent": "\\Sent", "drafts": "\\Draft", "starred": "\\Starred", "important": "\\Important",
    "trash": "\\Trash", "spam": "\\Spam",
}  # fmt: skip


def _term(session: ImapSession, operator: str, value: str) -> Asked:
    if operator in _FIELDS:
        found = texts.finder(value, whole_words=True)
        names = _FIELDS[operator]
        return lambda seq, message: any(found(text) for name in names for text in texts.field_texts(message, name))
    match operator:
        case "is" | "in" if value.lower() in _STATES:
            flag, wanted = _STATES[value.lower()]
            return lambda seq, message: (flag in message.flags) == wanted
        case "in" if value.lower() == "anywhere":
            return lambda seq, message: True
        case "in" | "is" | "label":
            return _has_label(session, _PLACES.get(value.lower(), value))
        case "has" if value.lower() == "attachment":
            return lambda seq, message: _has_attachment(parse(message.raw))
        case "larger" | "size":
            return _size(value, larger=True)
        case "smaller":
            return _size(value, larger=False)
        case "after" | "before":
            return _date(value, after=operator == "after")
        case "rfc822msgid":
            found = texts.finder(value.strip("<>"), whole_words=False)
            return lambda seq, message: any(map(found, texts.field_texts(message, b"message-id")))
    words = texts.finder(f"{operator}:{value}" if operator else value, whole_words=True)

    def anywhere(seq: int, message: Message) -> bool:
        return words(texts.header_text(message)) or any(words(text) for text in texts.body_texts(message))

    return anywhere


def _has_attachment(part: Part) -> bool:
    if part.fields.get(b"content-disposition", b"").lower().startswith(b"attachment"):
        return True
    return any(map(_has_attachment, part.children))


def _size(value: str, *, larger: bool) -> Asked:
    match = re.fullmatch(r"(\d+)([kKmM]?)", value)
    if match is None:
        raise BadSyntaxError("expected a size like 5M")
    octets = int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[match[2].lower()]
    return lambda seq, message: (message.size > octets) == larger


def _date(value: str, *, after: bool) -> Callable[[int, Message], bool]:
    try:
        day = datetime.datetime.strptime(value.replace("-", "/"), "%Y/%m/%d").replace(tzinfo=datetime.UTC).timestamp()
    except ValueError:
        raise BadSyntaxError("expected a date like 2024/02/29") from None
    return lambda seq, message: (message.received >= day) == after
