"""Defects in fetching."""

from __future__ import annotations

import base64
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from registry import mutant

NEVER = re.compile(rb"(?!)")


def part(name: str) -> Any:
    """A module of the reference client; loaded only for the mutant that is asked for."""
    return import_module(f"harness.clientstack.{name}")


def wrap(owner: Any, name: str, broken: Callable[..., Any]) -> None:
    """Put `broken` in the place of a function; it is given the right one before the arguments."""
    right = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: broken(right, *args, **kwargs))


def both_protocols(name: str, broken: Callable[..., Any]) -> None:
    """`wrap` for a method that the sessions of both protocols have."""
    for session in (part("imap").ImapSession, part("pop3").Pop3Session):
        wrap(session, name, broken)


def mailbox_settings(changed: Callable[[Any], dict[str, Any]]) -> None:
    """Reading uses the settings with what `changed` makes of them."""

    def made(right: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        right(self, *args, **kwargs)
        self._incoming = replace(self._incoming, **changed(self._incoming))

    wrap(part("mailbox").Mailbox, "__init__", made)


def mail_error(category: str, text: str) -> Exception:
    error: Exception = part("errors").MailError(category, text)
    return error


# --- what is read, and when it counts as read


@mutant
def imap_marks_seen_before_storing() -> None:
    """Mail is marked as seen before it is kept."""

    def fetch(right: Any, self: Any, uid: int) -> Any:
        raw = right(self, uid)
        self.mark_seen([uid])
        return raw

    wrap(part("imap").ImapSession, "fetch", fetch)


@mutant
def imap_reads_without_peek() -> None:
    """FETCH BODY[] marks mail as seen on the way."""

    def fetch(right: Any, self: Any, uid: int) -> Any:
        with self._mapped("FETCH"):
            body = self._client.fetch([uid], ["BODY[]"]).get(uid, {}).get(b"BODY[]")
        return None if body is None else bytes(body)

    wrap(part("imap").ImapSession, "fetch", fetch)


@mutant
def imap_never_marks_as_seen() -> None:
    """Mail that was handed over stays unread."""
    wrap(part("imap").ImapSession, "mark_seen", lambda right, self, uids: None)


@mutant
def reads_seen_mail_too() -> None:
    """Unread only is ignored."""
    mailbox_settings(lambda settings: {"unseen_only": False})


@mutant
def reads_unseen_mail_only() -> None:
    """Unread only cannot be switched off."""
    mailbox_settings(lambda settings: {"unseen_only": True})


@mutant
def reads_the_first_message_only() -> None:
    """One message a run."""
    wrap(part("imap").ImapSession, "search", lambda right, self, *criteria: right(self, *criteria)[:1])
    wrap(part("pop3").Pop3Session, "message_numbers", lambda right, self: right(self)[:1])


@mutant
def hands_over_twice() -> None:
    """Nobody remembers what was handed over."""
    wrap(part("ledger").Ledger, "handed_over", lambda right, self, messages: None)


@mutant
def forgets_what_was_read() -> None:
    """What was read is remembered in the process alone."""

    def made(right: Any, self: Any, settings: Any, state_dir: Any, *args: Any, **kwargs: Any) -> None:
        right(self, settings, Path(state_dir) / f"life-{os.getpid()}", *args, **kwargs)

    wrap(part("mailbox").Mailbox, "__init__", made)


@mutant
def ignores_uidvalidity() -> None:
    """UIDs are taken as good for ever."""

    def select(right: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        count = right(self, *args, **kwargs)
        self.validity = "1"
        return count

    wrap(part("imap").ImapSession, "select", select)


@mutant
def throws_away_what_was_read_before_a_fault() -> None:
    """A run that ends in an error hands nothing over, not in the next one either."""

    @contextmanager
    def handing_over(right: Any, self: Any) -> Iterator[Any]:
        with right(self) as fetched:
            yield fetched if fetched.error is None else replace(fetched, messages=())

    wrap(part("mailbox").Mailbox, "handing_over", handing_over)


@mutant
def stops_at_junk() -> None:
    """Mail that cannot be parsed ends the run."""

    def junk_reason(right: Any, raw: bytes) -> None:
        reason = right(raw)
        if reason is not None:
            raise mail_error("protocol", reason)

    wrap(part("setaside"), "junk_reason", junk_reason)


@mutant
def stops_at_a_refused_message() -> None:
    """One message that cannot be read ends the session."""

    def ends(right: Any, self: Any, which: int) -> Any:
        try:
            return right(self, which)
        except part("errors").MailError:
            self.wire.close()
            raise

    wrap(part("imap").ImapSession, "fetch", ends)
    wrap(part("pop3").Pop3Session, "retrieve", ends)


# --- contents


def altered(change: Callable[[bytes], bytes]) -> None:
    """Every message is changed on its way."""

    def read(right: Any, self: Any, which: int) -> Any:
        raw = right(self, which)
        return raw if raw is None else change(raw)

    wrap(part("imap").ImapSession, "fetch", read)
    wrap(part("pop3").Pop3Session, "retrieve", read)


@mutant
def strips_the_end() -> None:
    """Line ends at the end of a message are stripped."""
    altered(lambda raw: raw.rstrip(b"\r\n"))


@mutant
def reads_as_text() -> None:
    """Messages are decoded as ASCII text."""
    altered(lambda raw: raw.decode("ascii", "replace").encode())


@mutant
def drops_an_open_last_line() -> None:
    """A last line without a line end is lost."""
    altered(lambda raw: raw[: raw.rfind(b"\r\n") + 2])


@mutant
def pop3_keeps_stuffed_dots() -> None:
    """Byte-stuffing is not undone."""

    def read_multiline(right: Any, self: Any) -> bytes:
        if self.wire.starts_with(b".\r\n"):
            self.wire.read_exact(3)
            return b""
        return bytes(self.wire.read_until(b"\r\n.\r\n", keep=3))

    wrap(part("pop3").Pop3Session, "_read_multiline", read_multiline)


@mutant
def pop3_takes_a_segment_for_an_answer() -> None:
    """A multi-line answer ends where the segment ends."""

    def read_multiline(right: Any, self: Any) -> bytes:
        wire = self.wire
        if not wire._buffer:
            wire._fill()
        data = bytes(wire._buffer).removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
        wire._buffer.clear()
        return data

    wrap(part("pop3").Pop3Session, "_read_multiline", read_multiline)


@mutant
def pop3_takes_a_read_for_an_answer() -> None:
    """DELE commands are pipelined, and each read is taken for one answer: what came behind its first line is lost."""
    session = part("pop3").Pop3Session
    pipelined: list[int] = []

    def delete(right: Any, self: Any, number: int) -> None:
        pipelined.append(number)
        self.wire.send(f"DELE {number}\r\n".encode())

    def leave(right: Any, self: Any) -> None:
        while pipelined:
            pipelined.pop()
            self._read_status()
            self.wire._buffer.clear()
        right(self)

    wrap(session, "delete", delete)
    wrap(session, "quit", leave)


# --- filing


@mutant
def imap_expunges_everything() -> None:
    """EXPUNGE without UID takes other people's mail along."""

    def remove(right: Any, self: Any, uids: Any) -> None:
        with self._mapped("EXPUNGE"):
            self._client.add_flags(list(uids), [b"\\Deleted"], silent=True)
            self._client.expunge()

    wrap(part("imap").ImapSession, "remove", remove)


@mutant
def imap_never_expunges() -> None:
    """Without MOVE, filed mail stays in the INBOX, marked as deleted."""

    def remove(right: Any, self: Any, uids: Any) -> None:
        with self._mapped("STORE"):
            self._client.add_flags(list(uids), [b"\\Deleted"], silent=True)

    wrap(part("imap").ImapSession, "remove", remove)


@mutant
def imap_trips_over_auto_expunge() -> None:
    """Mail that is gone after \\Deleted is taken for a fault."""

    def remove(right: Any, self: Any, uids: Any) -> None:
        with self._mapped("STORE"):
            self._client.add_flags(list(uids), [b"\\Deleted"], silent=True)
        if self.present(list(uids)) != sorted(uids):
            raise mail_error("protocol", "the messages are gone before they were expunged")
        right(self, uids)

    wrap(part("imap").ImapSession, "remove", remove)


@mutant
def imap_files_by_copy_alone() -> None:
    """Filed mail also stays in the INBOX."""

    def move(right: Any, self: Any, uids: Any, mailbox: str) -> None:
        with self._mapped("COPY", mailbox):
            self._client.copy(list(uids), mailbox)

    wrap(part("imap").ImapSession, "move", move)


@mutant
def imap_removes_though_copying_failed() -> None:
    """Mail is deleted whether it was filed or not."""

    def move(right: Any, self: Any, uids: Any, mailbox: str) -> None:
        try:
            right(self, uids, mailbox)
        except part("errors").MailError:
            self.remove(uids)
            raise

    wrap(part("imap").ImapSession, "move", move)


@mutant
def imap_creates_no_mailbox() -> None:
    """The completion mailbox has to be there."""
    wrap(part("imap").ImapSession, "mailbox_for", lambda right, self, name: name)


@mutant
def imap_ignores_the_namespace() -> None:
    """The completion mailbox is made by its bare name."""
    wrap(part("imap").ImapSession, "_namespace", lambda right, self: ("", "/"))


@mutant
def files_in_processed() -> None:
    """The default completion mailbox has another name."""
    mailbox_settings(
        lambda settings: {"completed": "Processed" if settings.completed == "Completed" else settings.completed}
    )


@mutant
def pop3_deletes_before_storing() -> None:
    """Mail is kept only after QUIT has removed it from the server."""

    def read(right: Any, self: Any, dialogue: Any) -> None:
        session = part("pop3").Pop3Session(self._incoming, dialogue, dial=self._dial, now=self._now)
        session.open()
        names = session.unique_ids() or {}
        known = self.ledger.entries("")
        raws = {number: session.retrieve(number) for number, name in names.items() if name not in known}
        for number in names:
            session.delete(number)
        session.quit()
        for number, raw in raws.items():
            self.ledger.store("", names[number], raw)

    wrap(part("mailbox").Mailbox, "_read_pop3", read)


@mutant
def pop3_deletes_what_shall_stay() -> None:
    """Mail is deleted although it is to be left on the server."""
    mailbox_settings(lambda settings: {"completed": settings.completed or "Completed"})


@mutant
def pop3_sends_no_quit() -> None:
    """The connection is closed without QUIT, so nothing is deleted."""
    wrap(part("pop3").Pop3Session, "quit", lambda right, self: self.wire.close())


@mutant
def pop3_needs_uidl() -> None:
    """A server without unique-ids is refused."""

    def unique_ids(right: Any, self: Any) -> Any:
        found = right(self)
        if found is None:
            raise mail_error("protocol", "the server has no unique-ids")
        return found

    wrap(part("pop3").Pop3Session, "unique_ids", unique_ids)


# --- which mailbox


@mutant
def reads_inbox_whatever_is_set() -> None:
    """The INBOX name is ignored."""
    mailbox_settings(lambda settings: {"inbox": "INBOX"})


@mutant
def imap_falls_back_to_inbox() -> None:
    """A missing mailbox is replaced by INBOX."""

    def select(right: Any, self: Any, mailbox: str, **kwargs: Any) -> Any:
        try:
            return right(self, mailbox, **kwargs)
        except part("errors").MailError:
            return right(self, "INBOX", **kwargs)

    wrap(part("imap").ImapSession, "select", select)


@mutant
def imap_knows_no_modified_utf7() -> None:
    """Mailbox names go out as they are typed."""

    def made(right: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        right(self, *args, **kwargs)
        self.folder_encode = False

    wrap(part("imapwire").Client, "__init__", made)


# --- parsing


def imap_trips_over(pattern: bytes) -> None:
    """A line like this, with a mailbox selected, ends the session."""
    trap = re.compile(pattern)

    def readline(right: Any, self: Any) -> Any:
        line = right(self)
        if self.state == "SELECTED" and trap.match(line):
            self._wire.close()
            raise mail_error("protocol", "the answer is not the one that was expected")
        return line

    wrap(part("imapwire").Connection, "readline", readline)


@mutant
def imap_trips_over_untagged_data() -> None:
    """News of other sessions are taken for the answer."""
    imap_trips_over(rb"\* \d+ (?:EXISTS|RECENT|FETCH \(FLAGS)")


@mutant
def imap_trips_over_unknown_responses() -> None:
    """A response that is not in the RFC is a fault."""
    imap_trips_over(rb"\* (?:\d+ )?X")


@mutant
def imap_reads_a_literal_in_one_go() -> None:
    """A literal ends where the segment ends."""

    def read(right: Any, self: Any, size: int) -> bytes:
        wire = self._wire
        if not wire._buffer:
            wire._fill()
        data = bytes(wire._buffer[:size])
        del wire._buffer[:size]
        return data

    wrap(part("imapwire").Connection, "read", read)


@mutant
def imap_wants_capital_letters() -> None:
    """Responses in small letters are not understood."""
    part("imapwire")._KEYWORD = NEVER


@mutant
def imap_wants_text_behind_ok() -> None:
    """A reply without text is not understood."""
    part("imapwire")._TEXTLESS = NEVER


@mutant
def pop3_knows_one_greeting() -> None:
    """A greeting in other words than usual is refused."""

    def greet(right: Any, self: Any) -> None:
        right(self)
        if "tcpproxy" in self._greeting:
            self.wire.close()
            raise mail_error("protocol", f"not a greeting: {self._greeting}")

    wrap(part("pop3").Pop3Session, "greet", greet)


@mutant
def pop3_needs_capa() -> None:
    """A server that knows no CAPA is refused."""

    def ask(right: Any, self: Any) -> None:
        right(self)
        if self.capabilities is None:
            raise mail_error("protocol", "the server knows no CAPA")

    wrap(part("pop3").Pop3Session, "_ask_capabilities", ask)


# --- connecting and TLS


@mutant
def never_starts_tls() -> None:
    """STARTTLS and STLS are not used."""
    both_protocols("secure", lambda right, self: None)


@mutant
def falls_back_to_clear() -> None:
    """Reading goes on in clear where TLS is required and not to be had."""

    def secure(right: Any, self: Any) -> None:
        try:
            right(self)
        except part("errors").MailError as error:
            if error.category != "tls-required":
                raise

    both_protocols("secure", secure)


@mutant
def falls_back_after_broken_tls() -> None:
    """Opportunistic TLS goes on in clear after a bad certificate or a broken handshake."""

    def secure(right: Any, self: Any) -> None:
        try:
            right(self)
        except part("errors").MailError as error:
            if self._settings.security != "opportunistic" or not error.category.startswith("tls-"):
                raise
            self.wire._buffer.clear()
            self.connect()
            self.greet()

    both_protocols("secure", secure)


@mutant
def opportunistic_demands_tls() -> None:
    """Opportunistic is taken for required."""

    def secure(right: Any, self: Any) -> None:
        if self._settings.security == "opportunistic":
            self._settings = replace(self._settings, security="starttls")
        right(self)

    both_protocols("secure", secure)


def accept_any_certificate(session: Any) -> None:
    class Lax(part("tls").Trust):  # type: ignore[misc]
        def context(self) -> ssl.SSLContext:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context

    def made(right: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        right(self, *args, **kwargs)
        self.wire.trust = Lax()

    wrap(session, "__init__", made)


@mutant
def imap_accepts_any_certificate() -> None:
    """Certificates are not checked over IMAP."""
    accept_any_certificate(part("imap").ImapSession)


@mutant
def pop3_accepts_any_certificate() -> None:
    """Certificates are not checked over POP3."""
    accept_any_certificate(part("pop3").Pop3Session)


@mutant
def sends_no_server_name() -> None:
    """The TLS handshake does not say which host is meant."""

    def context(right: Any, self: Any) -> Any:
        made = right(self)
        made.check_hostname = False
        wrap_socket = made.wrap_socket
        made.wrap_socket = lambda sock, server_hostname: wrap_socket(sock)
        return made

    wrap(part("tls").Trust, "context", context)


@mutant
def keeps_plaintext_over_tls() -> None:
    """What came in clear before the handshake is read as if it came under TLS."""

    def start_tls(right: Any, self: Any) -> None:
        early = bytes(self._buffer)
        self._buffer.clear()
        right(self)
        self._buffer[:0] = early

    wrap(part("wire").Wire, "start_tls", start_tls)


@mutant
def imap_keeps_capabilities_over_starttls() -> None:
    """What was offered in clear is believed under TLS."""

    def secure(right: Any, self: Any) -> None:
        self._wire.start_tls()
        self._tls_established = True

    wrap(part("imapwire").Connection, "secure", secure)


@mutant
def implicit_tls_has_the_clear_port() -> None:
    """The default port of implicit TLS is that of clear text."""
    part("settings")._IMAP_PORTS["implicit"] = 143
    part("settings")._POP3_PORTS["implicit"] = 110


@mutant
def fetching_has_no_time_limit() -> None:
    """A silent server is waited for."""

    def arm(right: Any, self: Any) -> None:
        self._deadline = time.monotonic() + 3600

    wrap(part("wire").Wire, "arm", arm)


# --- logging in


@mutant
def fetching_shows_the_password() -> None:
    """Passwords go out without TLS."""

    def choose(right: Any, *args: Any, **kwargs: Any) -> Any:
        return right(*args, **{**kwargs, "secrets_allowed": True})

    wrap(part("sasl"), "choose", choose)


@mutant
def takes_the_mechanism_for_a_hint() -> None:
    """The strongest mechanism is used, whichever is set."""
    wrap(part("sasl"), "choose", lambda right, setting, *args, **kwargs: right("auto", *args, **kwargs))


@mutant
def refuses_challenge_response_in_clear() -> None:
    """No mechanism is used without TLS."""
    wrap(part("sasl"), "sends_secret", lambda right, name: True)


@mutant
def imap_ignores_logindisabled() -> None:
    """LOGIN is sent although the server forbids it."""
    wrap(
        part("imap").ImapSession,
        "_offers",
        lambda right, self, name: name != "LOGINDISABLED" and right(self, name),
    )


@mutant
def imap_gives_up_at_logindisabled() -> None:
    """LOGINDISABLED is taken for the end of all mechanisms."""

    def authenticate(right: Any, self: Any) -> None:
        if self._offers("LOGINDISABLED"):
            raise mail_error("auth-mechanism", "logging in is disabled")
        right(self)

    wrap(part("imap").ImapSession, "authenticate", authenticate)


@mutant
def imap_quotes_nothing() -> None:
    """User name and password stand in LOGIN as they are."""
    wrap(part("imapwire").Connection, "_quote", lambda right, self, text: f'"{text}"')


@mutant
def pop3_quotes_the_password() -> None:
    """The password of PASS is put between quotation marks where it has blanks."""

    def command(right: Any, self: Any, line: str, shown: str | None = None) -> Any:
        verb, _, rest = line.partition(" ")
        if verb == "PASS" and " " in rest:
            line = f'PASS "{rest}"'
        return right(self, line, shown)

    wrap(part("pop3").Pop3Session, "command", command)


@mutant
def resends_the_token() -> None:
    """The challenge of a refused token is answered with the token."""

    def answer(right: Any, self: Any, challenge: bytes) -> Any:
        if self._response is not None:
            self.sent = self._response
            self._response = None
        return self.sent

    wrap(part("sasl")._OneShot, "answer", answer)


@mutant
def pop3_sends_the_token_on_one_line() -> None:
    """AUTH has an initial response."""

    def exchange(right: Any, self: Any, mechanism: Any) -> None:
        first = mechanism.initial()
        if first is None:
            right(self, mechanism)
            return
        good, text = self.command(f"AUTH {mechanism.name} {base64.b64encode(first).decode()}", shown="AUTH ***")
        if not good:
            raise mail_error("authentication", text)

    wrap(part("pop3").Pop3Session, "_exchange", exchange)


@mutant
def fetching_retries_a_refused_login() -> None:
    """A refused password is tried again at once."""

    def authenticate(right: Any, self: Any) -> None:
        try:
            right(self)
        except part("errors").MailError as error:
            if error.category != "authentication":
                raise
            right(self)

    both_protocols("authenticate", authenticate)


# --- errors


def login_errors(broken: Callable[[Any], None]) -> None:
    """Every error of a refused login goes through `broken`."""

    def login_error(right: Any, *args: Any) -> Any:
        error = right(*args)
        broken(error)
        return error

    for module in (part("imap"), part("pop3")):
        wrap(module, "login_error", login_error)


@mutant
def calls_a_refused_login_temporary() -> None:
    """A wrong password is a passing fault."""

    def broken(error: Any) -> None:
        if error.category == "authentication":
            error.category = "temporary"

    login_errors(broken)


@mutant
def takes_every_refused_login_for_a_bad_password() -> None:
    """Limits and passing faults at the login are authentication errors."""

    def broken(error: Any) -> None:
        error.category = "authentication"

    login_errors(broken)


@mutant
def fetching_hides_the_servers_words() -> None:
    """Errors have a text of the client's own."""

    def redacted(right: Any, self: Any, error: Any) -> Any:
        error.text = "reading failed"
        return right(self, error)

    both_protocols("_redacted", redacted)


@mutant
def fetching_tells_no_faults_apart() -> None:
    """Every error is one category."""

    def read(right: Any, self: Any) -> Any:
        error = right(self)
        if error is not None:
            error.category = "unsupported"
        return error

    wrap(part("mailbox").Mailbox, "read", read)


# --- the check button


def checks_by(protocol: str, act: Callable[[Any, Any], None]) -> None:
    """The check button does `act` with its session before it counts."""

    def counting(right: Any, incoming: Any, *args: Any) -> Any:
        session, count = right(incoming, *args)

        def acting() -> str:
            act(session, incoming)
            return str(count())

        return (session, acting) if incoming.protocol == protocol else (session, count)

    wrap(part("checks"), "_counting", counting)


@mutant
def check_marks_as_seen() -> None:
    """The check opens the mailbox for writing and reads in it."""

    def mark(session: Any, incoming: Any) -> None:
        session.select(incoming.inbox)
        session.mark_seen(session.search("UNSEEN"))

    checks_by("imap", mark)


@mutant
def check_empties_the_maildrop() -> None:
    """The check reads and deletes."""

    def empty(session: Any, incoming: Any) -> None:
        for number in session.message_numbers():
            session.delete(number)

    checks_by("pop3", empty)


@mutant
def check_is_always_content() -> None:
    """The check says that all is well, whatever it met."""

    def check(right: Any, *args: Any, **kwargs: Any) -> Any:
        return replace(right(*args, **kwargs), ok=True, error=None)

    wrap(part("checks"), "check_incoming", check)


# --- servers of IMAP4rev2 or UTF-8 alone


@mutant
def imap_wants_rev1() -> None:
    """A server that does not offer IMAP4rev1 is turned away."""

    def take(right: Any, self: Any) -> None:
        right(self)
        if not self._offers("IMAP4REV1"):
            raise mail_error("protocol", "the server is not IMAP4 compliant")

    wrap(part("imap").ImapSession, "_take_greeting", take)


@mutant
def imap_knows_no_esearch() -> None:
    """The answer to SEARCH counts only as SEARCH."""
    part("imapwire")._ESEARCH = NEVER


@mutant
def imap_takes_the_list_of_select_for_another() -> None:
    """What LIST finds includes what SELECT said of INBOX."""

    def listed(right: Any, self: Any, pattern: str) -> Any:
        said = self._imap.untagged_responses.get("LIST", [])
        return [*right(self, pattern), *((frozenset(), "/", "INBOX") for _ in said)]

    wrap(part("imapwire").Client, "list_mailboxes", listed)


@mutant
def imap_always_writes_utf7() -> None:
    """Mailbox names are modified UTF-7 whatever the server speaks."""

    def speak(right: Any, self: Any) -> None:
        right(self)
        self.folder_encode = True

    wrap(part("imapwire").Client, "speak_utf8", speak)


@mutant
def imap_never_enables_utf8() -> None:
    """UTF8=ONLY is passed over."""
    wrap(part("imapwire").Client, "agree_on_utf8", lambda right, self: None)
