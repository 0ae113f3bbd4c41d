"""COMPRESS (RFC 4978)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.actions import Inflate
from fakeservers.imap.command import LOGGED_IN, Answer, Command, RefusedError
from fakeservers.imap.cursor import Cursor

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Compress"]


class Compress(Command):
    """COMPRESS SP algorithm: from behind the tagged OK on, both directions are raw DEFLATE."""

    name = "COMPRESS"
    states = LOGGED_IN
    capability = "COMPRESS=DEFLATE"

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.algorithm = cursor.word()

    def run(self, session: ImapSession) -> Answer:
        if session.compressed:
            raise RefusedError("compress.active")
        if self.algorithm != "DEFLATE":
            raise RefusedError("compress.mechanism")
        session.compressed = True
        return Answer("compress.ok", then=[Inflate()])
