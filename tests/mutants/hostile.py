"""Defects that hostile servers, lines and logins bring to light, in sending and in fetching."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from patching import instead
from registry import mutant

from harness.clientstack import errors, sasl, smtp
from harness.clientstack.errors import MailError
from harness.clientstack.imap import ImapSession
from harness.clientstack.imapwire import Connection
from harness.clientstack.pop3 import Pop3Session
from harness.clientstack.replies import Reply
from harness.clientstack.smtp import SmtpSession
from harness.clientstack.tls import Trust
from harness.clientstack.wire import Wire

SESSIONS = (SmtpSession, ImapSession, Pop3Session)


def contexts(weaken: Callable[[ssl.SSLContext], None]) -> None:
    """Every TLS context of the client as `weaken` leaves it."""

    @instead(Trust, "context")
    def context(original: Any, trust: Trust) -> Any:
        made = original(trust)
        weaken(made)
        return made


# --- TLS


@mutant
def takes_old_versions_of_tls() -> None:
    """TLS 1.0 and 1.1 are good enough."""

    def weaken(context: ssl.SSLContext) -> None:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED

    contexts(weaken)


@mutant
def knows_one_version_of_tls() -> None:
    """TLS 1.2 is all there is."""

    def weaken(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    contexts(weaken)


@mutant
def offers_ciphers_that_encrypt_nothing() -> None:
    """Any cipher that makes the handshake work will do."""
    contexts(lambda context: context.set_ciphers("ALL:eNULL:@SECLEVEL=0"))


@mutant
def takes_weak_keys() -> None:
    """Keys and signatures that can be forged are accepted."""
    contexts(lambda context: context.set_ciphers("DEFAULT:@SECLEVEL=0"))


@mutant
def compares_no_names() -> None:
    """A certificate for anybody will do."""

    def weaken(context: ssl.SSLContext) -> None:
        context.check_hostname = False

    contexts(weaken)


def trust_nobody_checks(context: ssl.SSLContext) -> None:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE


@mutant
def reads_under_any_certificate() -> None:
    """No certificate is checked."""
    contexts(trust_nobody_checks)


@mutant
def checks_the_first_certificate_only() -> None:
    """A server that was right once is right for ever."""
    seen: list[bool] = []

    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        original(wire)
        if not seen:
            seen.append(True)
            contexts(trust_nobody_checks)


@mutant
def wants_the_same_certificate_again() -> None:
    """A renewed certificate is taken for an attack."""
    seen: list[bytes] = []

    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        original(wire)
        assert isinstance(wire._sock, ssl.SSLSocket)
        seen.append(wire._sock.getpeercert(binary_form=True) or b"")
        if seen[0] != seen[-1]:
            wire.close()
            raise MailError("tls-certificate", "the certificate has changed")


@mutant
def names_no_server() -> None:
    """The handshake does not say which server is meant."""

    @instead(Trust, "context")
    def context(original: Any, trust: Trust) -> Any:
        made = original(trust)
        made.check_hostname = False
        wrap_socket = made.wrap_socket
        made.wrap_socket = lambda sock, server_hostname: wrap_socket(sock)
        return made


@mutant
def loads_no_client_certificate() -> None:
    """The client certificate stays at home."""

    @instead(Trust, "context")
    def context(original: Any, trust: Trust) -> Any:
        return original(replace(trust, client_cert=None, client_key=None))


@mutant
def insists_on_close_notify() -> None:
    """A server that just hangs up has said nothing that counts."""

    @instead(Wire, "close")
    def close(original: Any, wire: Wire) -> None:
        sock = wire._sock
        if isinstance(sock, ssl.SSLSocket):
            try:
                sock.settimeout(2)
                sock.unwrap()
            except OSError:
                wire._sock = None
                raise MailError("disconnected", "the TLS session had no proper end") from None
        original(wire)


@mutant
def blames_the_certificate_for_any_handshake() -> None:
    """Every trouble in a handshake is one with the certificate."""

    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        try:
            original(wire)
        except MailError as error:
            raise MailError("tls-certificate", error.text) from None


@mutant
def takes_a_late_alert_for_a_wrong_password() -> None:
    """An alert behind the handshake is a refused login."""

    @instead(Wire, "_lost")
    def lost(original: Any, wire: Wire, error: OSError) -> MailError:
        if isinstance(error, ssl.SSLError):
            return MailError("authentication", str(error))
        made = original(wire, error)
        assert isinstance(made, MailError)
        return made


@mutant
def goes_in_clear_when_tls_fails() -> None:
    """After a broken handshake, or a connection lost over STARTTLS, the next one is in clear."""
    for session in SESSIONS:

        @instead(session, "open")
        def open_(original: Any, self: Any) -> None:
            try:
                original(self)
            except MailError as error:
                if error.category not in ("tls-handshake", "disconnected", "protocol", "timeout"):
                    raise
                self.wire._buffer.clear()
                self.wire.encrypted = False
                self._settings = replace(self._settings, security="none", allow_cleartext=True)
                original(self)


# --- STARTTLS


def keep_what_came_in_clear() -> None:
    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        early = bytes(wire._buffer)
        wire._buffer.clear()
        original(wire)
        wire._buffer[:0] = early


@mutant
def keeps_its_buffer_over_tls() -> None:
    """What came in clear behind the go-ahead is read as if it had come under TLS."""
    keep_what_came_in_clear()


@mutant
def takes_the_go_ahead_for_tls() -> None:
    """The server said that TLS may begin, so it is on."""

    @instead(Wire, "start_tls")
    def start_tls(original: Any, wire: Wire) -> None:
        wire.encrypted = True


@mutant
def believes_the_first_ehlo() -> None:
    """EHLO is sent again under TLS, and its answer is not read."""

    @instead(SmtpSession, "_ehlo")
    def ehlo(original: Any, session: SmtpSession) -> None:
        first = getattr(session, "first_keywords", None)
        original(session)
        session.first_keywords = first or dict(session.keywords)  # type: ignore[attr-defined]
        session.keywords = {**session.keywords, **session.first_keywords}  # type: ignore[attr-defined]


@mutant
def starts_tls_whenever_it_is_offered() -> None:
    """STARTTLS in an EHLO reply is asked for, whatever is on already."""

    @instead(SmtpSession, "secure")
    def secure(original: Any, session: SmtpSession) -> None:
        original(session)
        if "STARTTLS" in session.keywords and session.wire.encrypted:
            session.command("STARTTLS")


@mutant
def shows_the_servers_words_raw() -> None:
    """Control characters in what a server says go to the terminal."""
    errors.printable = lambda text: text


@mutant
def believes_imap_capabilities_of_before() -> None:
    """Over IMAP what was offered in clear counts under TLS."""

    @instead(Connection, "secure")
    def secure(original: Any, engine: Connection) -> None:
        engine._wire.start_tls()
        engine._tls_established = True


@mutant
def takes_mail_that_was_pushed() -> None:
    """A message that a server sends unasked is one of the mailbox, whenever it came."""
    keep_what_came_in_clear()
    pushed = re.compile(rb'\* \d+ FETCH \(UID (\d+) .*BODY\[\] "(.*)"\)')
    found: dict[int, bytes] = {}

    @instead(Connection, "readline")
    def readline(original: Any, engine: Connection) -> Any:
        line = original(engine)
        if match := pushed.match(line):
            found[int(match[1])] = match[2] + b"\r\n\r\n"
        return line

    @instead(ImapSession, "search")
    def search(original: Any, session: ImapSession, *criteria: str) -> Any:
        return sorted({*original(session, *criteria), *found})

    @instead(ImapSession, "fetch")
    def fetch(original: Any, session: ImapSession, uid: int) -> Any:
        return found.get(uid) or original(session, uid)


@mutant
def repeats_alerts_of_before() -> None:
    """An alert is shown with the next error, whoever said it."""
    alerts: list[str] = []

    @instead(Connection, "readline")
    def readline(original: Any, engine: Connection) -> Any:
        line = original(engine)
        if b"[ALERT]" in line:
            alerts.append(line.decode("utf-8", "replace").strip())
        return line

    @instead(ImapSession, "open")
    def open_(original: Any, session: ImapSession) -> None:
        try:
            original(session)
        except MailError as error:
            error.text = " ".join([*alerts, error.text])
            raise


@mutant
def believes_the_greeting_alone() -> None:
    """A greeting without STARTTLS says that there is none, and that is that."""

    @instead(ImapSession, "secure")
    def secure(original: Any, session: ImapSession) -> None:
        if b"STARTTLS" in session._client._imap.welcome:
            original(session)


@mutant
def follows_referrals() -> None:
    """A server that names another one is obeyed."""
    referral = re.compile(rb"REFERRAL imap://[^@\s]*@([\d.]+):(\d+)/")

    @instead(Connection, "readline")
    def readline(original: Any, engine: Connection) -> Any:
        line = original(engine)
        if match := referral.search(line):
            with socket.create_connection((match[1].decode(), int(match[2])), timeout=2) as there:
                there.recv(100)
        return line


@mutant
def asks_for_pop3_capabilities_once() -> None:
    """CAPA is not asked for again under TLS."""

    @instead(Pop3Session, "_ask_capabilities")
    def ask(original: Any, session: Pop3Session) -> None:
        if session.capabilities is None:
            original(session)


@mutant
def takes_a_goodbye_for_a_wrong_password() -> None:
    """A session that the server ended is a refused login."""

    @instead(ImapSession, "open")
    def open_(original: Any, session: ImapSession) -> None:
        try:
            original(session)
        except MailError as error:
            raise MailError("authentication", error.text) from None


# --- the line


@mutant
def gives_up_when_the_line_breaks() -> None:
    """A connection that is lost is a refusal for good."""
    judged: Any = MailError.__dict__["permanent"]

    def permanent(error: MailError) -> bool:
        return error.category in ("disconnected", "tls-handshake") or bool(judged.fget(error))

    MailError.permanent = property(permanent)  # type: ignore[method-assign,assignment]


@mutant
def takes_half_a_message_for_a_whole_one() -> None:
    """The end of the connection is the end of the message."""

    @instead(Wire, "read_exact", "read_until")
    def read(original: Any, wire: Wire, *arguments: Any, **named: Any) -> bytes:
        try:
            return bytes(original(wire, *arguments, **named))
        except MailError:
            partial = bytes(wire._buffer)
            wire._buffer.clear()
            if not partial:
                raise
            wire.partial = partial  # type: ignore[attr-defined]
            return partial

    @instead(ImapSession, "fetch")
    def fetch(original: Any, session: ImapSession, uid: int) -> Any:
        try:
            return original(session, uid)
        except MailError:
            partial = getattr(session.wire, "partial", None)
            if partial is None:
                raise
            return partial


@mutant
def takes_a_segment_for_a_line() -> None:
    """One read is one line."""

    @instead(Wire, "read_line")
    def read_line(original: Any, wire: Wire, *arguments: Any) -> bytes:
        if b"\n" not in wire._buffer:
            wire._fill()
        end = wire._buffer.find(b"\n") + 1 or len(wire._buffer)
        line = bytes(wire._buffer[:end])
        del wire._buffer[:end]
        return line


@mutant
def ends_lines_at_the_carriage_return() -> None:
    """CR ends a line; an LF that comes later begins the next one."""

    @instead(Wire, "read_line")
    def read_line(original: Any, wire: Wire, *arguments: Any) -> bytes:
        while not (match := re.search(rb"\r\n|\r$|\n", wire._buffer)):
            wire._fill()
        line = bytes(wire._buffer[: match.end()])
        del wire._buffer[: match.end()]
        return line


@mutant
def takes_silence_for_a_refusal() -> None:
    """A server that says nothing has a wrong address in the settings."""

    @instead(Wire, "_fill", "start_tls")
    def fill(original: Any, wire: Wire) -> None:
        try:
            original(wire)
        except MailError as error:
            raise MailError("config" if error.category == "timeout" else error.category, error.text) from None


@mutant
def has_no_patience() -> None:
    """A third of a second is enough for any answer, whatever the account says."""

    @instead(Wire, "__init__")
    def init(original: Any, wire: Wire, host: str, timeout: float, *rest: Any) -> None:
        original(wire, host, 0.3, *rest)


@mutant
def has_one_outcome_for_a_batch() -> None:
    """Behind the first message that was put off the others are put off too."""

    @instead(SmtpSession, "send")
    def send(original: Any, session: SmtpSession, envelope: Any, *rest: Any) -> Any:
        before: MailError | None = getattr(session, "before", None)
        if before is not None:
            return dict.fromkeys(envelope.recipients, before)
        outcomes = original(session, envelope, *rest)
        session.before = next((error for error in outcomes.values() if error), None)  # type: ignore[attr-defined]
        return outcomes


@mutant
def sends_the_last_message_again() -> None:
    """When the connection ends between two messages, the one before is sent once more."""
    last: list[Any] = []

    @instead(SmtpSession, "send")
    def send(original: Any, session: SmtpSession, *arguments: Any) -> Any:
        outcomes = original(session, *arguments)
        if any(error is not None for error in outcomes.values()) and last:
            session.wire._buffer.clear()
            session.open()
            original(session, *last.pop())
        else:
            last.append(arguments)
        return outcomes


@mutant
def takes_the_last_words_for_the_reply() -> None:
    """Whatever has arrived is one reply, and its last line decides."""

    @instead(SmtpSession, "_read_reply")
    def read(original: Any, session: SmtpSession) -> Any:
        reply = original(session)
        while b"\n" in session.wire._buffer:
            reply = original(session)
        return reply


# --- logins


@mutant
def reads_the_prompts_of_login() -> None:
    """LOGIN is answered where the prompt is the usual one."""

    @instead(sasl._Login, "answer")
    def answer(original: Any, mechanism: Any, challenge: bytes) -> Any:
        if challenge not in (b"Username:", b"Password:"):
            raise MailError("protocol", "the server asks for something unknown")
        return original(mechanism, challenge)


@mutant
def answers_any_challenge() -> None:
    """What cannot be decoded is answered all the same."""

    @instead(smtp, "_challenge")
    def challenge(original: Any, reply: Reply, *, as_it_is: bool) -> bytes:
        return reply.lines[-1].encode() or b"x"


@mutant
def answers_as_long_as_it_is_asked() -> None:
    """An exchange has no end but the server's."""
    sasl._OneShot.answer = lambda self, challenge: b""  # type: ignore[method-assign]
    sasl._Login.answer = lambda self, challenge: b"x"  # type: ignore[method-assign]
    sasl._CramMd5.answer = lambda self, challenge: b"x 00"  # type: ignore[method-assign]


@mutant
def wants_no_proof_of_the_server() -> None:
    """SCRAM is over when the server says so."""

    @instead(sasl._Scram, "answer")
    def answer(original: Any, mechanism: Any, challenge: bytes) -> Any:
        return b"" if mechanism._steps == 2 else original(mechanism, challenge)

    sasl._Scram.finish = lambda self: None  # type: ignore[method-assign]


@mutant
def tries_every_mechanism() -> None:
    """A refused login is tried by the next mechanism, down to the plain password."""

    @instead(SmtpSession, "_error")
    def error(original: Any, session: SmtpSession, reply: Reply, command: str) -> Any:
        made = original(session, reply, command)
        if command == "AUTH" and made.category == "authentication":
            made.category = "auth-mechanism"
        return made

    for session in (ImapSession, Pop3Session):

        @instead(session, "authenticate")
        def authenticate(original: Any, self: Any) -> None:
            try:
                original(self)
            except MailError as failure:
                if failure.category != "authentication":
                    raise
                self._settings = replace(self._settings, auth="plain")
                original(self)


@mutant
def tries_a_refused_login_three_times() -> None:
    """Perhaps the password is right the third time."""
    for session in SESSIONS:

        @instead(session, "authenticate")
        def authenticate(original: Any, self: Any) -> None:
            for attempt in range(4):
                try:
                    original(self)
                except MailError as failure:
                    if failure.category != "authentication" or attempt == 3:
                        raise
                else:
                    return


@mutant
def says_login_failed() -> None:
    """Whatever the server says of a login, the user reads the same two words."""

    @instead(MailError, "__init__")
    def init(original: Any, error: MailError, category: str, text: str, **named: Any) -> None:
        original(error, category, "login failed" if category == "authentication" else text, **named)


@mutant
def sends_the_token_to_the_reason() -> None:
    """The reason of a refusal is answered with the token once more."""

    @instead(sasl._OneShot, "initial")
    def initial(original: Any, mechanism: Any) -> Any:
        mechanism.kept = original(mechanism) or mechanism.kept
        return mechanism.kept

    @instead(sasl._OneShot, "answer")
    def answer(original: Any, mechanism: Any, challenge: bytes) -> Any:
        return mechanism.kept if challenge and hasattr(mechanism, "kept") else original(mechanism, challenge)


@mutant
def takes_the_first_mechanism_offered() -> None:
    """The first name in the server's list is used, known or not."""

    def choose(setting: str, offered: Any, credentials: Any, **rest: Any) -> list[str]:
        return [offered[0]]

    sasl.choose = choose


@mutant
def goes_anonymous() -> None:
    """Where nothing else is offered nobody logs in."""

    @instead(SmtpSession, "authenticate")
    def authenticate(original: Any, session: SmtpSession) -> None:
        try:
            original(session)
        except MailError as error:
            if error.category != "auth-mechanism" or "ANONYMOUS" not in session.keywords.get("AUTH", ""):
                raise
            session.command("AUTH ANONYMOUS bWFpbA==")


@mutant
def logs_in_for_each_message() -> None:
    """Every message begins with AUTH."""

    @instead(SmtpSession, "send")
    def send(original: Any, session: SmtpSession, envelope: Any, *rest: Any) -> Any:
        if session.accepted:
            try:
                session.authenticate()
            except MailError as error:
                return dict.fromkeys(envelope.recipients, error)
        return original(session, envelope, *rest)
