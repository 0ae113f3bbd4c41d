"""The mail data of an SMTP session: DATA and BDAT, what rules and checks make of a message, delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakeservers.smtp.facts import message_facts
from fakeservers.smtp.reading import ChunkReader, DataReader, irregularities
from fakeservers.smtp.speaking import Speaker
from fakeservers.transcript import HEARD_BODY

if TYPE_CHECKING:
    from fakeservers.connection import Connection
    from fakeservers.rules import Effect

__all__ = ["Intake"]


class Intake(Speaker):
    """The half of a session that takes messages in."""

    __slots__ = (
        "_chunk", "_chunk_failed", "_chunk_refusal", "_chunks", "_data", "binary", "delivers", "lmtp", "messages",
        "transactions",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.lmtp = self.service.lmtp
        self.binary = False
        """The transaction was opened with BODY=BINARYMIME."""
        self.delivers = True
        self.messages = self.transactions = 0
        self._data: DataReader | None = None
        self._chunk: ChunkReader | None = None
        self._chunks: list[bytes] | None = None
        self._chunk_refusal: str | None = None
        self._chunk_failed = False

    def transaction_ended(self) -> None:
        """The mail transaction is over or was given up."""
        facts = self.connection.facts
        if facts:
            facts.pop("sender", None)
            facts.pop("recipients", None)
        self.binary = self._chunk_failed = False
        self._chunks = None

    # --- DATA

    def begin_data(self) -> None:
        """Say 354 and read data; a rule that says 2xx leaves the client with nothing to send."""
        reply = self._effect.reply if self._effect is not None else None
        self.say("data.go")
        if reply is None or not (reply.reply or "").startswith("2"):
            self._data = DataReader(self.profile.size_limit)

    def _read_data(self, reader: DataReader, data: bytes, position: int) -> int:
        position = reader.feed(data, position)
        if position < 0:
            return len(data)
        self._data = None
        self.verb, self.argument, self._size = "DATA", "", reader.octets
        if reader.too_big:
            self.connection.event(
                f"did not keep a message of {reader.octets} octets", {"event": "too-big", "octets": reader.octets}
            )
            recipients = len(self._commands.envelope.rcpt_tos) if self.lmtp else 1
            self._commands.transaction_over()
            for _ in range(recipients):
                self.say("data.size")
        else:
            self.site.transcript.enter(self.connection.where, HEARD_BODY, reader.content)
            self._message(reader.content, "data.ok")
        return position

    # --- BDAT

    @property
    def in_bdat(self) -> bool:
        return self._chunks is not None or self._chunk_failed

    def begin_chunk(self, octets: int, *, last: bool, refusal: str | None = None) -> None:
        """Read a BDAT command's octets; they are read and dropped where the command is refused (RFC 3030 2)."""
        envelope = self._commands.envelope
        if refusal is not None:
            pass
        elif self._chunk_failed:
            refusal = "sequence"
        elif envelope.mail_from is None:
            refusal = "mail-first"
        elif not envelope.rcpt_tos:
            refusal = "rcpt-first"
        elif octets + sum(map(len, self._chunks or ())) > self.profile.size_limit:
            refusal = "data.size"
        self._chunk_refusal = refusal
        self._size = octets
        self._chunk = ChunkReader(octets, last=last, keep=refusal is None, effect=self._effect)
        self._effect = None
        if not octets:
            self._end_of_chunk(self._chunk)

    def _read_chunk(self, reader: ChunkReader, data: bytes, position: int) -> int:
        position = reader.feed(data, position)
        if position < 0:
            return len(data)
        self._end_of_chunk(reader)
        return position

    def _end_of_chunk(self, reader: ChunkReader) -> None:
        self._chunk = None
        self._effect = reader.effect
        self.verb, self.argument = "BDAT", ""
        if self._chunk_refusal is not None:
            self._chunk_failed = self._commands.envelope.mail_from is not None
            self._chunks = None
            # LMTP's last chunk is answered for every recipient (RFC 2033 4.2).
            answers = len(self._commands.envelope.rcpt_tos) if self.lmtp and reader.last else 1
            for _ in range(max(1, answers)):
                if not self._over:
                    self._effect = reader.effect
                    self.say(self._chunk_refusal)
            return
        content = reader.content
        self.connection.heard(content, body=True)
        chunks = self._chunks = [*(self._chunks or ()), content]
        if not reader.last:
            self.say("bdat.chunk")
            return
        self._message(content if len(chunks) == 1 else b"".join(chunks), "bdat.ok")

    # --- messages

    @property
    def _declared_8bit(self) -> bool:
        envelope = self._commands.envelope
        bodies = ("BODY=8BITMIME", "BODY=BINARYMIME")
        return envelope.smtp_utf8 or any(option.upper() in bodies for option in envelope.mail_options)

    def _message(self, content: bytes, done: str) -> None:
        """The message is whole: rules, delivery, and only then the reply."""
        found = irregularities(content)
        minded = self._irregular(found, content)
        self.messages += 1
        self._size = len(content)
        recipients = self._commands.envelope.rcpt_tos
        if minded is not None:
            for _ in recipients if self.lmtp else (None,):
                self.say(minded)
        elif self.lmtp:
            self._message_for_each(content, found, done)
        else:
            self._judge_message(content, found)
            self._commands.message(content, done)
        if minded is None and (self.delivers or not self.refused):
            self.connection.count_message(len(recipients), len(content))
        self._commands.transaction_over()
        self._effect = None

    def _irregular(self, found: list[str], content: bytes) -> str | None:
        """Note what is irregular about a message; returns the reply key for the first thing that the server minds."""
        connection = self.connection
        minded = None
        for name in found:
            connection.event(f"the message has a {name.replace('-', ' ')}", {"event": name})
            if minded is None and f"data-{name}" in self.checks:
                minded = f"data.{name}"
        if not (content.isascii() or self._declared_8bit):
            connection.event("the message has octets over 127, and nobody said so", {"event": "undeclared-8bit"})
            if minded is None and "data-eight-bit" in self.checks:
                minded = "data.eight-bit"
        return minded

    def _judge_message(self, content: bytes, found: list[str], **more: object) -> None:
        """Ask the rules about a message: sets `delivers`, and what goes around the reply."""
        self.refused = False
        self.delivers = True
        if self._rules.concerns("smtp.message", self.connection):
            before = self._effect
            self.consult("smtp.message", **message_facts(content, self._commands.envelope, found), **more)
            if self._effect is not None and self._effect is not before:
                deliver = self._effect.deliver
                self.delivers = not self.refused if deliver is None else deliver

    def _message_for_each(self, content: bytes, found: list[str], done: str) -> None:
        """Every recipient is judged alone and has a reply of its own, in their order (RFC 2033 4.2)."""
        envelope = self._commands.envelope
        addresses: list[str] = envelope.rcpt_tos
        kept: list[str] = []
        effects: list[Effect | None] = []
        for address in addresses:
            self._effect = None
            self._judge_message(content, found, address=address, domain=address.rpartition("@")[2])
            if self.delivers:
                kept.append(address)
            effects.append(self._effect)
        envelope.rcpt_tos = kept
        self.delivers = bool(kept)
        self._commands.message(content, None)
        for address, effect in zip(addresses, effects, strict=True):
            if not self._over:
                self._effect = effect
                # Whom this reply is about.
                self.argument = f"TO:<{address}>"
                self.say(done)
        self.argument = ""
