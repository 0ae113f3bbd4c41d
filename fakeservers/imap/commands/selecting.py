"""Opening and closing a mailbox, and removing messages (RFC 3501 6.3.1, 6.4.1-6.4.3, UNSELECT: RFC 3691)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.imap.command import LOGGED_IN, SELECTED, Answer, Command, RefusedError
from fakeservers.imap.commands.listing import list_line
from fakeservers.imap.cursor import Cursor
from fakeservers.imap.identity import mailbox_id
from fakeservers.imap.resync import Known, read_known, resynchronize
from fakeservers.imap.selected import Selected
from fakeservers.imap.sequence import SequenceSet
from fakeservers.mailstore import Mailbox, Message

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Check", "Close", "Examine", "Expunge", "Select", "Unselect"]


class Select(Command):
    """SELECT SP mailbox [SP "(" parameter *(SP parameter) ")"]"""

    name = "SELECT"
    states = LOGGED_IN
    read_only = False

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.mailbox = cursor.mailbox()
        self.known: Known | None = None
        self.condstore = False
        if cursor.more() and not cursor.parenthesized(lambda: self._parameter(cursor, session)):
            cursor.fail("a SELECT parameter")

    def _parameter(self, cursor: Cursor, session: ImapSession) -> None:
        """ "CONDSTORE" / "QRESYNC" SP "(" ... ")" (RFC 7162 3.1.8, 3.2.5)"""
        word = cursor.word()
        if word == "CONDSTORE":
            session.require(cursor, "CONDSTORE|QRESYNC", "a SELECT parameter")
            self.condstore = True
        elif word == "QRESYNC" and "QRESYNC" in session.enabled:
            self.known = read_known(cursor)
        else:
            cursor.fail("a known SELECT parameter")

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mailbox": self.mailbox}

    def run(self, session: ImapSession) -> Answer:
        # A failed SELECT leaves no mailbox selected (RFC 3501 6.3.1).
        if session.selected is not None and (session.rev2 or "QRESYNC" in session.enabled):
            session.out.append(b"* OK [CLOSED] Previous mailbox is closed\r\n")
        session.deselect()
        account = session.connection.account
        assert account is not None
        mailbox = account.mailbox(self.mailbox)
        if mailbox is None:
            raise RefusedError("select.missing", mailbox=self.mailbox)
        if "\\Noselect" in mailbox.attributes:
            raise RefusedError("select.noselect", mailbox=self.mailbox)
        if self.condstore:
            session.enable("CONDSTORE")
        manners = session.manners
        selected = Selected(
            mailbox,
            read_only=self.read_only,
            recent_never=manners.recent_never,
            rev2=session.rev2,
            stirred=session.stir,
        )
        session.select(selected)
        session.connection.facts["mailbox"] = mailbox.name
        counts = [b"* %d EXISTS\r\n" % selected.exists]
        if not session.rev2:
            counts.append(b"* %d RECENT\r\n" % selected.recent())
        flags = selected.flag_lines(keywords=not manners.no_keywords)
        session.out += counts + flags if manners.exists_first else flags + counts
        if not (manners.no_unseen_code or session.rev2) and (unseen := mailbox.first_unseen()) is not None:
            session.out.append(b"* OK [UNSEEN %d] First unseen\r\n" % (unseen + 1))
        session.out.append(
            b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] Predicted next UID\r\n"
            % (mailbox.uidvalidity, mailbox.uidnext)
        )
        if session.offers("CONDSTORE") or session.offers("QRESYNC"):
            text = b"" if manners.bare_highestmodseq else b" Highest"
            session.out.append(b"* OK [HIGHESTMODSEQ %d]%b\r\n" % (mailbox.highestmodseq, text))
        if session.offers("OBJECTID"):
            session.out.append(f"* OK [MAILBOXID ({mailbox_id(mailbox)})] Stays when it is renamed\r\n".encode())
        if session.rev2:
            session.out.append(list_line(session, mailbox))
        if self.known is not None:
            session.out += resynchronize(session, selected, self.known)
        code = "[READ-ONLY] " if self.read_only else "[READ-WRITE] "
        key = "examine.ok" if self.read_only and session.has_own("examine.ok") else "select.ok"
        return Answer(key, {"code": code, "mailbox": self.mailbox})


class Examine(Select):
    name = "EXAMINE"
    read_only = True


class Check(Command):
    name = "CHECK"
    states = SELECTED


def expunge(session: ImapSession, messages: list[Message]) -> None:
    """Remove messages from the selected mailbox; the session hears of it like all others."""
    assert session.selected is not None
    session.selected.mailbox.expunge(messages)


class Close(Command):
    """Removes what is \\Deleted without telling this session (RFC 3501 6.4.2)."""

    name = "CLOSE"
    states = SELECTED

    def run(self, session: ImapSession) -> Answer:
        selected = session.selected
        assert selected is not None
        session.deselect()
        mailbox = selected.mailbox
        if not selected.read_only and mailbox.deleted:
            seen = selected.messages[: selected.exists]
            mailbox.expunge([message for message in seen if "\\Deleted" in message.flags])
        return Answer("close.ok", _highest(session, mailbox))


def _highest(session: ImapSession, mailbox: Mailbox) -> dict[str, object]:
    """The response code that a client with QRESYNC learns the new mod-sequence from (RFC 7162 3.2.7, 3.2.8)."""
    return {"code": f"[HIGHESTMODSEQ {mailbox.highestmodseq}] " if "QRESYNC" in session.enabled else ""}


class Unselect(Command):
    name = "UNSELECT"
    states = SELECTED
    capability = "UNSELECT|IMAP4REV2"

    def run(self, session: ImapSession) -> Answer:
        session.deselect()
        return Answer("unselect.ok")


class Expunge(Command):
    """EXPUNGE / UID EXPUNGE SP sequence-set (RFC 4315 2.1)"""

    name = "EXPUNGE"
    states = SELECTED
    has_uid_form = True

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        self.wanted: SequenceSet | None = None
        if self.uid:
            if not session.offers("UIDPLUS"):
                cursor.fail("EXPUNGE without UID")
            cursor.space()
            self.wanted = cursor.sequence_set()

    def run(self, session: ImapSession) -> Answer:
        selected = session.selected
        assert selected is not None
        if selected.read_only:
            raise RefusedError("read-only")
        if selected.mailbox.deleted:
            spans = [(0, selected.exists)] if self.wanted is None else selected.spans(self.wanted, uid=True)
            expunge(session, [m for _, m in selected.numbered(spans) if "\\Deleted" in m.flags])
        return Answer("expunge.ok", _highest(session, selected.mailbox))
