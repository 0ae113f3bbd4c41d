"""IDLE (RFC 2177) and ENABLE (RFC 5161)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.actions import Action, Send
from fakeservers.imap.command import LOGGED_IN, Answer, Command, Interlude, RefusedError
from fakeservers.imap.cursor import Cursor

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Enable", "Idle"]


_ENABLED = {each.upper(): each for each in ("CONDSTORE", "IMAP4rev2", "QRESYNC", "UTF8=ACCEPT")}


class Idle(Command):
    name = "IDLE"
    states = LOGGED_IN
    capability = "IDLE|IMAP4REV2"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        if session.manners.idle_strict and cursor.peek(b" "):
            cursor.fail("the end of the command")

    def run(self, session: ImapSession) -> Answer:
        session.out += session.news(expunges=True)
        return Answer("", interlude=_Idling(), line=session.say("idle.continue"))


class _Idling(Interlude):
    def line(self, session: ImapSession, line: bytes) -> list[Action]:
        session.interlude = None
        try:
            session.consult("done", command="done", argument=line.decode("utf-8", "replace"))
            if line.strip().upper() != b"DONE":
                raise RefusedError("idle.bad")
        except RefusedError as error:
            return session.refuse(error)
        return session.answer(Answer("idle.ok"))

    def stirred(self, session: ImapSession) -> list[Action]:
        news = session.news(expunges=True)
        return [Send(b"".join(news))] if news else []


class Enable(Command):
    """ENABLE 1*(SP capability)"""

    name = "ENABLE"
    states = LOGGED_IN
    capability = "ENABLE|IMAP4REV2"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.words = [cursor.atom().decode().upper()]
        while cursor.more():
            self.words.append(cursor.atom().decode().upper())

    def run(self, session: ImapSession) -> Answer:
        known = [word for word in self.words if word in _ENABLED and session.built(word)]
        session.enable(*known)
        if "QRESYNC" in known:
            # Who wants QRESYNC has CONDSTORE with it (RFC 7162 3.2.3).
            session.enable("CONDSTORE")
        session.out.append(" ".join(["* ENABLED", *(_ENABLED[word] for word in known)]).encode() + b"\r\n")
        return Answer("enable.ok")
