"""An SMTP client session (RFC 5321, 3207, 4954, 6531): bytes out, replies in, one outcome per recipient."""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from . import sasl
from .compose import Address, dot_stuffed, header_section
from .errors import MailError, printable
from .replies import Reply, smtp_error
from .session import MailSession
from .settings import Outgoing

__all__ = ["Envelope", "SmtpSession"]

_MAX_LINES: Final = 1000
_LONGEST_AUTH_LINE: Final = 500
_HELO_CODES: Final = frozenset({500, 502, 504})
_TRUSTED_AFTER: Final = 10
"""Messages that a connection has to carry, one command at a time, before commands go out in groups."""


@dataclass(frozen=True)
class Envelope:
    """Who a message is from (None: the null reverse-path) and whom it goes to, keyed by the address as the
    caller wrote it."""

    sender: Address | None
    recipients: Mapping[str, Address]


class SmtpSession(MailSession[Outgoing]):
    """One connection. Use `open`, then `send` for each message while `usable`, then `leave`."""

    keywords: Mapping[str, str] = MappingProxyType({})
    """What EHLO offered, with parameters."""
    accepted = 0
    """Messages that the server took over this connection."""
    said = ""
    """Its words when it took the last one."""

    @property
    def usable(self) -> bool:
        return not self.wire.closed

    @property
    def groups(self) -> bool:
        """Whether the commands of a message to one recipient go out in one go (RFC 2920)."""
        return self.accepted >= _TRUSTED_AFTER and "PIPELINING" in self.keywords

    # -- opening -------------------------------------------------------------------

    def _take_greeting(self) -> None:
        reply = self._read_reply()
        if not reply.positive:
            raise self._error(reply, "greeting")
        self._ehlo()

    def secure(self) -> None:
        security = self._settings.security
        if security in ("none", "implicit"):
            return
        if "STARTTLS" not in self.keywords:
            if security == "starttls":
                raise MailError("tls-required", "the server does not offer STARTTLS, and the settings require it")
            return
        self.wire.dialogue.stage("tls")
        reply = self.command("STARTTLS")
        if reply.code != 220:
            if security == "starttls" or reply.closing or not 400 <= reply.code < 600:
                raise self._error(reply, "STARTTLS")
            return
        self.wire.start_tls()
        # What the server said before belongs to nobody in particular (RFC 3207 4.2).
        self.keywords = {}
        self._ehlo()

    def authenticate(self) -> None:
        """Logs in as the settings say: one attempt; only 504 lets the next offered mechanism try."""
        settings = self._settings
        who = settings.credentials
        offered = sasl.offered_names(self.keywords.get("AUTH", "").replace("=", " ").split())
        if settings.auth == "none":
            return
        if settings.auth == "auto" and not who.present and not (who.certificate and "EXTERNAL" in offered):
            return
        self.wire.dialogue.stage("auth")
        names = sasl.choose(
            settings.auth, offered, who, secrets_allowed=self.wire.encrypted or settings.allow_cleartext
        )
        for name in names:
            reply = self._exchange(sasl.create(name, who, settings.host, settings.port))
            if reply.code == 235:
                self.mechanism = name
                return
            error = self._error(reply, "AUTH")
            if error.category != "auth-mechanism" or name == names[-1]:
                raise error

    def _exchange(self, mechanism: sasl.Mechanism) -> Reply:
        command = f"AUTH {mechanism.name}"
        initial = mechanism.initial()
        pending: bytes | None = None
        if initial is None:
            reply = self.command(command)
        else:
            encoded = base64.b64encode(initial).decode() or "="
            if len(command) + len(encoded) + 1 > _LONGEST_AUTH_LINE:
                pending = initial
                reply = self.command(command)
            else:
                reply = self.command(f"{command} {encoded}", shown=f"{command} ********")
        while 300 <= reply.code < 400:
            if reply.code != 334:
                raise self._error(reply, "AUTH")
            try:
                if pending is not None:
                    response, pending = pending, None
                else:
                    response = mechanism.answer(_challenge(reply, as_it_is=mechanism.name == "LOGIN"))
            except MailError:
                self._cancel()
                raise
            reply = self.command(base64.b64encode(response).decode(), shown="********")
        if reply.code == 235:
            mechanism.finish()
        return reply

    def _cancel(self) -> None:
        with contextlib.suppress(MailError):
            self.command("*")

    def _ehlo(self) -> None:
        self.wire.dialogue.stage("ehlo")
        name = self._settings.ehlo_name or _address_literal(self.wire.local_address)
        reply = self.command(f"EHLO {name}")
        if reply.positive:
            self.keywords = _keywords(reply)
            return
        if reply.code not in _HELO_CODES:
            raise self._error(reply, "EHLO")
        reply = self.command(f"HELO {name}")
        if not reply.positive:
            raise self._error(reply, "HELO")
        self.keywords = {}

    # -- sending ---------------------------------------------------------------------

    def send(
        self, envelope: Envelope, message: bytes, before_data: Callable[[Sequence[str]], None]
    ) -> dict[str, MailError | None]:
        """Sends one message with CRLF line ends; returns each recipient's error, None where accepted.

        `before_data` is called with the accepted recipients just before the message itself goes out: from
        then on, until the final reply, nobody can know whether the server has it (error.in_doubt).
        Never raises MailError; `usable` tells whether the connection can go on.
        """
        outcomes: dict[str, MailError | None] = {}
        try:
            self._transaction(envelope, message, outcomes, before_data)
        except MailError as error:
            for recipient in envelope.recipients:
                if outcomes.get(recipient) is None:
                    outcomes[recipient] = error
            if error.category in ("protocol", "timeout", "disconnected") and error.code is None:
                self.wire.close()
        if any(outcome is None for outcome in outcomes.values()):
            self.accepted += 1
        return outcomes

    def _transaction(
        self,
        envelope: Envelope,
        message: bytes,
        outcomes: dict[str, MailError | None],
        before_data: Callable[[Sequence[str]], None],
    ) -> None:
        utf8 = self._utf8(envelope, message, outcomes)
        recipients = {key: value for key, value in envelope.recipients.items() if key not in outcomes}
        if not recipients:
            return
        self.wire.dialogue.stage("mail")
        mail = self._mail(envelope.sender, message, utf8)
        if len(recipients) == 1 and self.groups:
            accepted = self._group(mail, next(iter(recipients.items())), outcomes, before_data)
        else:
            accepted = self._one_by_one(mail, recipients, outcomes)
            if accepted:
                before_data(accepted)
        if not accepted:
            return
        # Octets that could not be sent include the final dot: only the reply can leave a doubt.
        self.wire.send(dot_stuffed(message), shown=f"<message of {len(message)} octets>")
        try:
            reply = self._read_reply()
        except MailError as error:
            error.in_doubt = True
            raise
        if not reply.positive:
            if not 400 <= reply.code < 600:
                raise MailError("protocol", f"the server answered {reply.code} to the message", in_doubt=True)
            self._failed_transaction(reply, "message")
        self.said = printable(self.wire.dialogue.redactor(" ".join((str(reply.code), *reply.lines))))

    def _one_by_one(
        self, mail: str, recipients: Mapping[str, Address], outcomes: dict[str, MailError | None]
    ) -> list[str]:
        """MAIL, each RCPT and DATA, each after the reply to the one before. Returns the accepted recipients; none: the
        transaction is over."""
        reply = self.command(mail)
        if not reply.positive:
            raise self._error(reply, "MAIL")
        self.wire.dialogue.stage("rcpt")
        for recipient, address in recipients.items():
            reply = self.command(f"RCPT TO:<{address.wire}>")
            outcomes[recipient] = None if reply.positive else self._error(reply, "RCPT")
            if reply.closing:
                raise self._error(reply, "RCPT")
            if (error := outcomes[recipient]) and error.category == "rate-limit" and error.scope is None:
                # Asking for more recipients is what the server just told us to stop.
                for rest in recipients:
                    outcomes.setdefault(rest, error)
                break
        accepted = [recipient for recipient, error in outcomes.items() if error is None]
        if not accepted:
            self.reset()
            return []
        self.wire.dialogue.stage("data")
        reply = self.command("DATA")
        if reply.code != 354:
            self._failed_transaction(reply, "DATA")
        return accepted

    def _group(
        self,
        mail: str,
        recipient: tuple[str, Address],
        outcomes: dict[str, MailError | None],
        before_data: Callable[[Sequence[str]], None],
    ) -> list[str]:
        """The same for one recipient, in one go (RFC 2920 3.1), `before_data` included: there is time for it now."""
        key, address = recipient
        lines = (mail, f"RCPT TO:<{address.wire}>", "DATA")
        for line in lines[:-1]:
            self.wire.dialogue.add("C", line)
        self.wire.send("".join(f"{line}\r\n" for line in lines).encode(), shown=lines[-1])
        before_data([key])
        error: MailError | None = None
        for command in ("MAIL", "RCPT"):
            self.wire.dialogue.stage(command.lower())
            reply = self._read_reply()
            if not reply.positive:
                error = error or self._error(reply, command)
            if reply.closing:
                raise self._error(reply, command)
        self.wire.dialogue.stage("data")
        reply = self._read_reply()
        if error is None:
            if reply.code != 354:
                self._failed_transaction(reply, "DATA")
            outcomes[key] = None
            return [key]
        outcomes[key] = error
        if reply.code == 354:
            # A server that wants the message for nobody gets an empty one.
            self.command(".")
        if self.usable:
            self.reset()
        return []

    def _utf8(self, envelope: Envelope, message: bytes, outcomes: dict[str, MailError | None]) -> bool:
        """Whether this transaction asks for SMTPUTF8 (RFC 6531 3.3). Where the server lacks it, the recipients
        that need it get their error; raises MailError `unsupported` when the sender or the header does."""
        needing = [key for key, address in envelope.recipients.items() if address.needs_utf8]
        of_all = bool(envelope.sender and envelope.sender.needs_utf8)
        if self._settings.smtputf8 and not message.isascii():
            of_all = of_all or not message[: header_section(message).end].isascii()
        if not needing and not of_all:
            return False
        if "SMTPUTF8" in self.keywords:
            return True
        error = MailError(
            "unsupported", "the message needs SMTPUTF8 (an address or a header field in UTF-8); the server lacks it"
        )
        if of_all:
            raise error
        outcomes.update(dict.fromkeys(needing, error))
        return False

    def _failed_transaction(self, reply: Reply, command: str) -> None:
        error = self._error(reply, command)
        if not reply.closing:
            self.reset()
        raise error

    def _mail(self, sender: Address | None, message: bytes, utf8: bool) -> str:
        parts = [f"MAIL FROM:<{sender.wire if sender else ''}>"]
        if "SIZE" in self.keywords:
            limit = self.keywords["SIZE"].strip()
            if limit.isdigit() and 0 < int(limit) < len(message):
                raise MailError("size", f"the message has {len(message)} octets, and the server takes {limit}")
            parts.append(f"SIZE={len(message)}")
        if "8BITMIME" in self.keywords and not message.isascii():
            parts.append("BODY=8BITMIME")
        if utf8:
            parts.append("SMTPUTF8")
        return " ".join(parts)

    def reset(self) -> None:
        """RSET; a server that does not even take that is left."""
        with contextlib.suppress(MailError):
            if self.command("RSET").positive:
                return
        self.wire.close()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(MailError):
            self.command("QUIT")

    # -- commands and replies ---------------------------------------------------------

    def command(self, line: str, shown: str | None = None) -> Reply:
        """Sends one command line and returns its reply; after a 421 the connection is closed."""
        self.wire.send(line.encode("utf-8") + b"\r\n", shown=shown)
        return self._read_reply()

    def _read_reply(self) -> Reply:
        lines: list[str] = []
        while len(lines) < _MAX_LINES:
            raw = self.wire.read_line()
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            self.wire.dialogue.add("S", text)
            if not _is_reply_line(text):
                if not lines:
                    self.wire.close()
                    raise MailError("protocol", f"the server's reply is not SMTP: {text[:200]}")
                # A continuation line without its code: its words still belong to the reply.
                lines.append(text)
                continue
            lines.append(text[4:])
            if text[3:4] != "-":
                reply = Reply(int(text[:3]), tuple(lines))
                if reply.closing:
                    self.wire.close()
                return reply
        self.wire.close()
        raise MailError("protocol", "the server's reply has no end")

    def _error(self, reply: Reply, command: str) -> MailError:
        return self._redacted(smtp_error(reply, command, self._now))


def _is_reply_line(text: str) -> bool:
    """A code from 200 to 599, then nothing, a blank or a hyphen (RFC 5321 4.2)."""
    code = text[:3]
    return (
        len(code) == 3 and code.isascii() and code.isdigit() and "2" <= code[0] <= "5" and text[3:4] in ("", " ", "-")
    )


def _challenge(reply: Reply, *, as_it_is: bool) -> bytes:
    text = reply.lines[-1].strip() if reply.lines else ""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        if not as_it_is:
            raise MailError("protocol", f"the server's challenge is not base64: {text[:200]}") from None
        # Some servers write the prompts of LOGIN in clear, and their words do not matter.
        return text.encode()


def _keywords(reply: Reply) -> dict[str, str]:
    """EHLO keywords in capitals with their parameters; the parameters of repeated ones are joined.

    The old form `AUTH=LOGIN` counts as AUTH.
    """
    keywords: dict[str, str] = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = line.strip().replace("AUTH=", "AUTH ", 1).partition(" ")
        name = keyword.upper()
        if name:
            keywords[name] = f"{keywords.get(name, '')} {parameters}".strip()
    return keywords


def _address_literal(address: str) -> str:
    """RFC 5321 4.1.3: a valid EHLO argument of a client without a name. Never `localhost`."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
