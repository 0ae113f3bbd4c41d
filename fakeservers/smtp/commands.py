"""aiosmtpd's commands and hooks without its stream loop, and what of it is replaced, each with the reason.

The coroutines of `aiosmtpd.smtp.SMTP` never wait here, since `push` only collects: `Commands.run` drives one to its
end. MAIL, RCPT and DATA, of which a message is made, are plain functions: a coroutine costs as much as reading a line,
and every one nested in it (`_call_handler_hook` too) the same again. Replies are keys of `replies.REPLIES`; the few
texts that aiosmtpd has written into its code are turned into keys by `push`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, syntax

from fakeservers.smtp.auth import begin
from fakeservers.smtp.extensions import parse_xclient, schedule_error
from fakeservers.smtp.hooks import Hooks
from fakeservers.smtp.paths import parameter_error, parse_mail, parse_rcpt
from fakeservers.smtp.reading import parse_chunk

if TYPE_CHECKING:
    from fakeservers.smtp.session import SmtpSession

__all__ = ["Commands"]

AIOSMTPD_TEXTS = {
    "501 Syntax: HELO hostname": "helo.syntax",
    "501 Syntax: RSET": "argument",
    "501 Syntax: QUIT": "argument",
    "502 EXPN not implemented": "expn",
}

Command = Callable[..., "Coroutine[Any, Any, None] | None"]


class ClientSession:
    """aiosmtpd's `Session`, as far as the kept commands know it: its own takes three times the memory."""

    __slots__ = ("authenticated", "extended_smtp", "host_name")

    def __init__(self) -> None:
        self.host_name: str | None = None
        self.extended_smtp = self.authenticated = False


class Envelope:
    """aiosmtpd's `Envelope` likewise: every message has a new one."""

    __slots__ = ("content", "mail_from", "mail_options", "rcpt_options", "rcpt_tos", "smtp_utf8")

    def __init__(self) -> None:
        self.mail_from: str | None = None
        self.mail_options: tuple[str, ...] = ()
        self.smtp_utf8 = False
        self.content: bytes | None = None
        self.rcpt_tos: list[str] = []
        self.rcpt_options: tuple[str, ...] = ()


class _Leaving:
    """Stands for the transport and the client task, which QUIT closes and cancels."""

    __slots__ = ("_end",)

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def cancel(self) -> None:
        """There is no task: the stream is `SmtpSession`'s."""

    def close(self) -> None:
        self._end()


_hooks = Hooks()


class Commands(SMTP):
    """The command layer of one connection. `dialogue` says replies, knows the profile and moves the stream."""

    # __init__ makes a StreamReader, looks up hooks and commands by `dir`, asks the resolver for the host's name, clears
    # size limits that all connections share (EHLO adds to them) and inspects signatures, for a tenth of a millisecond.
    # What the kept commands read is set here, once for the class.
    event_handler = _hooks
    enable_SMTPUTF8 = True  # noqa: N815 aiosmtpd's name
    data_size_limit = None
    hostname = ""
    _handle_hooks: dict[str, Callable[..., Any]] = {  # noqa: RUF012 shared by all connections on purpose
        name.removeprefix("handle_"): getattr(_hooks, name) for name in dir(_hooks) if name.startswith("handle_")
    }
    _smtp_methods: dict[str, Any] = {}  # noqa: RUF012 as above; filled below

    def __init__(self, dialogue: SmtpSession) -> None:
        self.dialogue = dialogue
        self.session: Any = ClientSession()
        self.envelope: Any = Envelope()
        self.transport: Any = _Leaving(dialogue.leave)
        self._handler_coroutine: Any = self.transport

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Drive a command to its end; it has nothing to wait for."""
        try:
            coroutine.send(None)
        except StopIteration:
            return
        coroutine.close()
        raise RuntimeError("an SMTP command waited")

    def gone(self) -> None:
        """The connection is over: let go of what would keep all of it in a circle until the garbage collector comes."""
        self.transport = self._handler_coroutine = self.dialogue = None  # type: ignore[assignment]

    def forget(self) -> None:
        """Back to the state before EHLO (RFC 3207 4.2)."""
        self.session = ClientSession()
        self._set_rset_state()

    def transaction_over(self) -> None:
        """A new envelope: the message was kept or refused."""
        self._set_rset_state()

    # --- replies

    async def push(self, status: str | bytes) -> None:
        """Replies are collected as actions, under keys, so that profiles and rules can word them."""
        text = status.decode() if isinstance(status, bytes) else status
        self.dialogue.say(AIOSMTPD_TEXTS.get(text, text))

    async def check_helo_needed(self, helo: str = "HELO") -> bool:
        """503 has words of the profile's own, and a rule that accepts the command overrules it."""
        if self.session.host_name or self.dialogue.overruled:
            return False
        self.dialogue.say("ehlo-first")
        return True

    async def check_auth_needed(self, caller_method: str) -> bool:
        """Each listener of a host has its own mind about AUTH."""
        if self.session.authenticated or not self.dialogue.service.auth_required or self.dialogue.overruled:
            return False
        self.dialogue.say("auth.required")
        return True

    def _comes_too_early(self) -> bool:
        """Both checks for MAIL, RCPT and DATA, without a coroutine each."""
        session, dialogue = self.session, self.dialogue
        if dialogue.overruled:
            return False
        if not session.host_name and "ehlo" in dialogue.checks:
            dialogue.say("ehlo-first")
            return True
        if session.authenticated or not dialogue.service.auth_required:
            return False
        dialogue.say("auth.required")
        return True

    def _set_rset_state(self) -> None:
        """A new envelope; the session's own transaction ends with it."""
        self.envelope = Envelope()
        self.dialogue.transaction_ended()

    # --- commands

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, arg: str) -> None:
        """The keywords are the profile's, in its order; aiosmtpd adds to class-wide size limits at each EHLO, and
        never offers AUTH on implicit TLS unless AUTH is offered in clear too."""
        if self.dialogue.lmtp:
            self.dialogue.say("unknown")
        else:
            await self._hello(arg)

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str) -> None:
        """LMTP's EHLO (RFC 2033 4.1), which the one has and the other lacks."""
        if not self.dialogue.lmtp:
            self.dialogue.say("unknown")
        else:
            await self._hello(arg)

    async def _hello(self, arg: str) -> None:
        if not arg or len(arg.split()) != 1:
            self.dialogue.say("helo.syntax")
            return
        self._set_rset_state()
        self.session.extended_smtp = True
        self.dialogue.say_ehlo(self.event_handler.handle_EHLO(self, self.session, self.dialogue.keywords(), arg))

    @syntax("STARTTLS")
    async def smtp_STARTTLS(self, arg: str) -> None:
        """TLS is the wire's; aiosmtpd would exchange the protocol of a transport that is not there."""
        dialogue = self.dialogue
        if arg:
            dialogue.say("argument")
        elif dialogue.connection.tls is not None:
            dialogue.say("starttls.again")
        elif not dialogue.service.starttls:
            dialogue.say("unimplemented")
        else:
            dialogue.say("starttls.ok")
            dialogue.start_tls()

    @syntax("AUTH <mechanism>")
    async def smtp_AUTH(self, arg: str) -> None:
        """aiosmtpd refuses mechanism names in lower case and AUTH on implicit TLS, prints a deprecation warning at each
        AUTH, and knows PLAIN and LOGIN only."""
        dialogue = self.dialogue
        words = arg.split()
        if not self.session.extended_smtp:
            dialogue.say("ehlo-first")
        elif self.session.authenticated:
            dialogue.say("auth.twice")
        elif self.envelope.mail_from is not None:
            dialogue.say("auth.in-transaction")
        elif not 1 <= len(words) <= 2:
            dialogue.say("auth.syntax")
        else:
            begin(dialogue, words[0].upper(), words[1].encode("utf-8", "surrogateescape") if len(words) == 2 else None)

    @syntax("MAIL FROM: <address>", extended=" [SP <mail-parameters>]")
    def smtp_MAIL(self, arg: str) -> None:
        """aiosmtpd keeps `<>` as an address of that name, refuses `AUTH=<>`, and puts parameters into upper case, ENVID
        and AUTH values with them."""
        dialogue = self.dialogue
        envelope = self.envelope
        if self._comes_too_early():
            return
        if envelope.mail_from is not None and not dialogue.overruled:
            if "order" in dialogue.checks:
                dialogue.say("sequence")
                return
            self._set_rset_state()
            envelope = self.envelope
        mail = parse_mail(arg)
        error = mail.error
        if error is None and mail.values and not dialogue.overruled:
            error = parameter_error("MAIL", mail, dialogue.offered.names) or schedule_error(
                mail, dialogue.offered, dialogue.site.clock.now()
            )
        if error is None and not mail.address.isascii() and "SMTPUTF8" not in mail.values:
            error = "smtputf8.required"
        if error is not None:
            dialogue.say(error)
            return
        dialogue.say(self.event_handler.handle_MAIL(self, self.session, envelope, mail.address, mail))

    @syntax("RCPT TO: <address>", extended=" [SP <mail-parameters>]")
    def smtp_RCPT(self, arg: str) -> None:
        """aiosmtpd refuses every RCPT parameter, so DSN has no way through, and asks for a true reverse-path, which the
        null one is not."""
        dialogue = self.dialogue
        envelope = self.envelope
        if self._comes_too_early():
            return
        if envelope.mail_from is None and "order" not in dialogue.checks:
            envelope.mail_from = ""
        if envelope.mail_from is None or dialogue.in_bdat:
            dialogue.say("sequence" if dialogue.in_bdat else "mail-first")
            return
        rcpt = parse_rcpt(arg)
        error = rcpt.error
        if error is None and rcpt.values and not dialogue.overruled:
            error = parameter_error("RCPT", rcpt, dialogue.offered.names)
        if error is None and not arg.isascii() and not envelope.smtp_utf8:
            error = "smtputf8.required"
        if error is not None:
            dialogue.say(error)
            return
        dialogue.say(self.event_handler.handle_RCPT(self, self.session, envelope, rcpt.address, rcpt))

    @syntax("DATA")
    def smtp_DATA(self, arg: str) -> None:
        """aiosmtpd reads the message line by line, which takes 39 % of its time, and refuses lines over 1,001 octets.
        Here the stream's reader takes over until the final dot, and `message` follows."""
        dialogue = self.dialogue
        if self._comes_too_early():
            return
        if arg:
            dialogue.say("argument")
        elif not dialogue.overruled and not self.envelope.rcpt_tos and "order" in dialogue.checks:
            dialogue.say("mail-first" if self.envelope.mail_from is None else "rcpt-first")
        elif dialogue.in_bdat:
            dialogue.say("sequence")
        elif dialogue.binary and not dialogue.overruled:
            dialogue.say("data.binary")
        else:
            dialogue.begin_data()

    def message(self, content: bytes, done: str | None) -> None:
        """What follows the final dot: the DATA hook keeps the message before the reply (key `done`, None for none) is
        said."""
        self.envelope.content = content
        self.event_handler.handle_DATA(self, self.session, self.envelope)
        if done is not None:
            self.dialogue.say(done)

    @syntax("BDAT size [LAST]")
    async def smtp_BDAT(self, arg: str) -> None:
        """CHUNKING (RFC 3030) is not aiosmtpd's. Whatever the answer, the octets that follow are no commands."""
        dialogue = self.dialogue
        if "CHUNKING" not in dialogue.offered.names:
            dialogue.say("unimplemented")
        elif (chunk := parse_chunk(arg)) is None:
            dialogue.say("bdat.syntax")
        else:
            dialogue.begin_chunk(chunk[0], last=chunk[1])

    @syntax("VRFY string")
    async def smtp_VRFY(self, arg: str) -> None:
        """aiosmtpd takes addresses alone, but people are asked for by name too (RFC 5321 3.5.1), and a parameter may
        end the argument (RFC 6531 3.7.4.2)."""
        dialogue = self.dialogue
        text, _, parameter = arg.rpartition(" ")
        utf8 = bool(text) and parameter.upper() == "SMTPUTF8" and "SMTPUTF8" in dialogue.offered.names
        if await self.check_auth_needed("VRFY"):
            return
        if not utf8:
            text = arg
        dialogue.say(self.event_handler.handle_VRFY(self, text.strip(), utf8=utf8))

    @syntax("HELP [command]")
    async def smtp_HELP(self, arg: str) -> None:
        """RFC 5321 4.3.2 answers HELP with 211 or 214, and nobody has to log in for it."""
        dialogue = self.dialogue
        hidden = {name for name, keyword in _EXTENSIONS.items() if keyword not in dialogue.offered.names}
        hidden |= {"EHLO", "HELO"} if dialogue.lmtp else {"LHLO"}
        dialogue.say("help", commands=" ".join(sorted(self._smtp_methods.keys() - hidden)))

    @syntax("ETRN node")
    async def smtp_ETRN(self, arg: str) -> None:
        """RFC 1985: nothing is ever queued here, so there is nothing to send for a node that is ours."""
        dialogue = self.dialogue
        node = arg.lstrip("@")
        if "ETRN" not in dialogue.offered.names:
            dialogue.say("unimplemented")
        elif self._comes_too_early():
            return
        elif not node or len(node.split()) != 1:
            dialogue.say("etrn.syntax")
        elif self.envelope.mail_from is not None:
            dialogue.say("sequence")
        else:
            dialogue.say("etrn.ok" if node.casefold() in dialogue.site.store.domains else "etrn.refused")

    @syntax("XCLIENT attribute=value ...")
    async def smtp_XCLIENT(self, arg: str) -> None:
        """Postfix's word for a proxy that says who its client is; the session begins anew with the greeting."""
        dialogue = self.dialogue
        if "XCLIENT" not in dialogue.offered.names:
            dialogue.say("unimplemented")
        elif self.envelope.mail_from is not None:
            dialogue.say("sequence")
        elif (attributes := parse_xclient(arg, dialogue.offered.arguments["XCLIENT"])) is None:
            dialogue.say("xclient.syntax")
        else:
            dialogue.speaks_for(attributes)
            dialogue.say("greeting")


_EXTENSIONS = {"BDAT": "CHUNKING", "ETRN": "ETRN", "XCLIENT": "XCLIENT"}
"""Commands that are there where a keyword is offered."""
Commands._smtp_methods.update(
    {name.removeprefix("smtp_"): getattr(Commands, name) for name in dir(Commands) if name.startswith("smtp_")}
)
