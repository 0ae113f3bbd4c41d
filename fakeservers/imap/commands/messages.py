"""FETCH, STORE, COPY, MOVE (RFC 3501 6.4.5-6.4.7; UIDPLUS: RFC 4315, MOVE: RFC 6851, CONDSTORE, QRESYNC: RFC 7162)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from fakeservers.imap import gmail
from fakeservers.imap.command import SELECTED, Answer, Around, Command, RefusedError
from fakeservers.imap.commands.appending import known_flags, target
from fakeservers.imap.commands.mailboxes import account_of
from fakeservers.imap.commands.quota import check_room
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.fetch import Item, parse_items
from fakeservers.imap.resync import vanished_since
from fakeservers.imap.selected import Selected
from fakeservers.imap.sequence import Span, compact
from fakeservers.imap.spelling import textual
from fakeservers.mailstore import Mailbox, Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Copy", "Fetch", "Move", "Store"]


class _OnMessages(Command):
    """command SP sequence-set ..."""

    states = SELECTED
    has_uid_form = True

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.wanted = cursor.sequence_set()

    def found(self, session: ImapSession) -> tuple[Selected, list[Span]]:
        """The view, and the places of the messages meant. Raises RefusedError for a number no message has."""
        selected = session.selected
        assert selected is not None
        try:
            return selected, selected.spans(self.wanted, uid=self.uid)
        except ValueError as error:
            raise RefusedError("bad.sequence", reason=str(error)) from None


class Fetch(_OnMessages):
    """FETCH SP sequence-set SP items"""

    name = "FETCH"
    expunges = False

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        super().parse(cursor, session)
        cursor.space()
        start = cursor.at
        self.items: list[Item] = parse_items(cursor, session)
        self.written = cursor.text[start : cursor.at].decode("utf-8", "replace")
        self.changed_since: int | None = None
        self.vanished = False
        if cursor.more():
            self._modifiers(cursor, session)

    def _modifiers(self, cursor: Cursor, session: ImapSession) -> None:
        """ "(" "CHANGEDSINCE" SP mod-sequence-value [SP "VANISHED"] ")" (RFC 7162 3.1.4, 3.2.6)"""

        def modifier() -> None:
            word = cursor.word()
            if word == "VANISHED" and self.uid and "QRESYNC" in session.enabled:
                self.vanished = True
                return
            if word != "CHANGEDSINCE":
                cursor.fail("a known FETCH modifier")
            session.require(cursor, "CONDSTORE|QRESYNC", "a FETCH modifier")
            cursor.space()
            self.changed_since = cursor.number(2**63 - 1)
            session.enable("CONDSTORE")

        cursor.parenthesized(modifier)
        if self.vanished and self.changed_since is None:
            cursor.fail("CHANGEDSINCE beside VANISHED")

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"items": self.written}

    def run(self, session: ImapSession) -> Answer:
        view, spans = self.found(session)
        items = {item.name: item for item in self.items} if _plain(self.items) else None
        wanted = list(items.values()) if items is not None else self.items
        names = {item.name for item in wanted}
        writers = [item.write for item in wanted]
        if self.uid and "UID" not in names:
            writers.insert(0, lambda view, message: b"UID %d" % message.uid)
        always = session.condstore and session.manners.fetch_modseq_always
        if (self.changed_since is not None or always) and "MODSEQ" not in names:
            names.add("MODSEQ")
            writers.append(lambda view, message: b"MODSEQ (%d)" % message.modseq)
        seen: set[int] = set()
        if any(item.sees for item in wanted) and not view.read_only:
            unseen = [message for _, message in view.numbered(spans) if "\\Seen" not in message.flags]
            changed = view.set_flags(unseen, lambda flags: flags | {"\\Seen"})
            seen = {message.uid for message in changed}
        out = session.out
        since = self.changed_since or 0
        if self.vanished and (gone := vanished_since(view.mailbox, since, self.wanted)):
            out.append(b"* VANISHED (EARLIER) %b\r\n" % compact(gone))

        def became_seen(message: Message) -> Iterator[bytes]:
            if "FLAGS" not in names:
                yield b" FLAGS " + view.flags(message)
            if session.condstore and "MODSEQ" not in names:
                yield b" MODSEQ (%d)" % message.modseq
            if session.names_uids and not self.uid and "UID" not in names:
                yield b" UID %d" % message.uid

        whole = wanted[-1].whole if writers[-1] is wanted[-1].write else None
        if whole is not None:
            writers.pop()
            whole = b" " + whole if writers else whole

        def lines() -> Iterator[bytes | Around]:
            for seq, message in view.numbered(spans):
                if message.modseq <= since:
                    continue
                said = b" ".join([write(view, message) for write in writers]) if writers else b""
                end = b"%b)\r\n" % b"".join(became_seen(message)) if seen and message.uid in seen else b")\r\n"
                if whole is None:
                    yield b"* %d FETCH (%b%b" % (seq, said, end)
                else:
                    octets = message.raw if message.plain else _looked_through(message)
                    yield b"* %d FETCH (%b%b {%d}\r\n" % (seq, said, whole, len(octets)), octets, end

        return Answer("fetch.ok", stream=lines())


def _looked_through(message: Message) -> bytes:
    octets = message.raw
    message.plain = b"\0" not in octets
    return octets if message.plain else textual(octets)


def _plain(items: list[Item]) -> bool:
    """Whether items asked for twice can be said once: all but sections are told apart by their names."""
    return not any(item.name.endswith("[]") for item in items)


class Store(_OnMessages):
    """STORE SP sequence-set SP ["+" / "-"] "FLAGS" [".SILENT"] SP flags"""

    name = "STORE"
    expunges = False

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        super().parse(cursor, session)
        cursor.space()
        self.unchanged_since: int | None = None
        if cursor.take(b"("):
            if cursor.word() != "UNCHANGEDSINCE":
                cursor.fail("a known STORE modifier")
            session.require(cursor, "CONDSTORE|QRESYNC", "a STORE modifier")
            cursor.space()
            self.unchanged_since = cursor.number(2**63 - 1)
            cursor.expect(b")")
            cursor.space()
            session.enable("CONDSTORE")
        self.sign = "+" if cursor.take(b"+") else "-" if cursor.take(b"-") else ""
        self.item, dot, silent = cursor.word().partition(".SILENT")
        self.silent = bool(dot)
        if self.item not in ("FLAGS", gmail.STORE_ITEM) or silent:
            cursor.fail("FLAGS")
        cursor.space()
        self.flags: list[str] = []
        if self.item == "FLAGS":
            self.flags = cursor.flags()
        else:
            session.require(cursor, gmail.CAPABILITY, "a data item")
            self.flags = gmail.read_labels(cursor)

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"items": f"{self.sign}{self.item} ({' '.join(self.flags)})"}

    def run(self, session: ImapSession) -> Answer:
        """Messages that another session has expunged keep their flags and get no FETCH response. Who named one by its
        number and waits for that response has NO (RFC 2180 4.2); a UID that is not there is passed over."""
        view, spans = self.found(session)
        if view.read_only:
            raise RefusedError("read-only")
        lost = False
        if view.outdated:
            there = view.present(message for _, message in view.numbered(spans))
            lost = len(there) < sum(stop - start for start, stop in spans)
            spans = view.spans(tuple((message.uid, message.uid) for message in there), uid=True)
        answer = self._store(session, view, spans)
        if lost and not (self.silent or self.uid):
            answer.key = "store.expunged"
        return answer

    def _store(self, session: ImapSession, view: Selected, spans: list[Span]) -> Answer:
        if self.item == gmail.STORE_ITEM:
            return gmail.store_labels(session, list(view.numbered(spans)), self.sign, self.flags, silent=self.silent)
        flags = known_flags(view.mailbox, self.flags)
        if session.manners.no_keywords:
            flags = frozenset(flag for flag in flags if flag[0] == "\\")
        if self.silent and self.unchanged_since is None and not session.condstore:
            numbered: list[tuple[int, Message]] = []
            messages = [message for start, stop in spans for message in view.messages[start:stop]]
        else:
            numbered = list(view.numbered(spans))
            messages = [message for _, message in numbered]
        modified: list[int] = []
        if self.unchanged_since is not None:
            limit = self.unchanged_since
            modified = [message.uid if self.uid else seq for seq, message in numbered if message.modseq > limit]
            numbered = [(seq, message) for seq, message in numbered if message.modseq <= limit]
            messages = [message for _, message in numbered]
        changed = view.set_flags(messages, _change(self.sign, flags))
        session.out += view.keyword_news()
        if not self.silent:
            session.out += [session.describe(seq, message, uid=self.uid) for seq, message in numbered]
        elif session.condstore:
            uids = self.uid or session.names_uids
            session.out += [
                b"* %d FETCH (%bMODSEQ (%d))\r\n" % (seq, b"UID %d " % message.uid if uids else b"", message.modseq)
                for seq, message in numbered
            ]
        if session.manners.deleted_auto_expunge and "\\Deleted" in flags and self.sign != "-":
            view.mailbox.expunge(message for message in changed if "\\Deleted" in message.flags)
            session.out += session.news(expunges=True)
        if modified:
            return Answer("store.modified", {"code": f"[MODIFIED {compact(modified).decode()}] "})
        return Answer("store.ok")


def _change(sign: str, flags: frozenset[str]) -> Callable[[frozenset[str]], frozenset[str]]:
    match sign:
        case "+":
            return lambda old: old | flags
        case "-":
            return lambda old: old - flags
        case _:
            return lambda old: flags


class Copy(_OnMessages):
    """COPY SP sequence-set SP mailbox"""

    name = "COPY"
    moves = False

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        super().parse(cursor, session)
        cursor.space()
        self.mailbox = cursor.mailbox()

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox}

    def run(self, session: ImapSession) -> Answer:
        _, _, code = self.copy(session)
        return Answer("copy.ok", {"code": code, "mailbox": self.mailbox})

    def copy(self, session: ImapSession) -> tuple[Selected, list[Message], str]:
        """Copy all or nothing; returns the view, the originals, and the COPYUID code with its space. A message that
        another session has expunged does not come back: by its number it is refused (RFC 2180 4.4.1), by its UID it is
        passed over (RFC 3501 6.4.8)."""
        view, spans = self.found(session)
        mailbox = target(session, self.mailbox)
        originals = [message for start, stop in spans for message in view.messages[start:stop]]
        if view.outdated:
            there = view.present(originals)
            if len(there) < len(originals) and not self.uid:
                raise RefusedError("copy.expunged")
            originals = there
        if not self.moves and account_of(session).labels is None:
            check_room(session, sum(message.size for message in originals))
        now = session.site.clock.now()
        copies = [_copied(session, mailbox, message, now) for message in originals]
        if not copies or not session.offers("UIDPLUS"):
            return view, originals, ""
        old = compact(message.uid for message in originals).decode()
        new = compact(message.uid for message in copies).decode()
        return view, originals, f"[COPYUID {mailbox.uidvalidity} {old} {new}] "


def _copied(session: ImapSession, mailbox: Mailbox, message: Message, now: float) -> Message:
    """The copy of a message; where mailboxes are labels, the one that is there already."""
    labels = account_of(session).labels
    there = labels.copy_in(mailbox, message) if labels is not None else None
    if there is not None:
        return there
    copy = message.copy()
    copy.flags = known_flags(mailbox, list(message.flags))
    copy.saved = now if now != message.received else None
    return mailbox.add(copy)


class Move(Copy):
    """MOVE SP sequence-set SP mailbox"""

    name = "MOVE"
    moves = True
    capability = "MOVE|IMAP4REV2"

    def run(self, session: ImapSession) -> Answer:
        if session.selected is not None and session.selected.read_only:
            raise RefusedError("read-only")
        view, originals, code = self.copy(session)
        if code and not session.manners.copyuid_tagged_for_move:
            session.out.append(f"* OK {code}Moved UIDs\r\n".encode())
            code = ""
        view.mailbox.expunge(originals)
        return Answer("move.ok", {"code": code, "mailbox": self.mailbox})
