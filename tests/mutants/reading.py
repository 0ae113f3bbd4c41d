"""Defects in reading over IMAP and POP3 that show in the odder answers of servers."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.header import Header
from importlib import import_module
from pathlib import Path
from typing import Any

from patching import instead
from registry import mutant

SECRET_FILE = "remembered"


def part(name: str) -> Any:
    """A module of the reference client; loaded only for the mutant that is asked for."""
    return import_module(f"harness.clientstack.{name}")


def imap() -> Any:
    return part("imap").ImapSession


def pop3() -> Any:
    return part("pop3").Pop3Session


def mail_error(category: str, text: str) -> Exception:
    error: Exception = part("errors").MailError(category, text)
    return error


def altered(change: Callable[[bytes], bytes]) -> None:
    """Every message is changed on its way."""

    @instead(imap(), "fetch")
    @instead(pop3(), "retrieve")
    def read(right: Any, self: Any, which: int) -> Any:
        raw = right(self, which)
        return raw if raw is None else change(raw)


def handed_over(choose: Callable[[list[Any]], list[Any]]) -> None:
    """The caller gets what `choose` leaves of the messages."""

    @instead(part("mailbox").Mailbox, "handing_over")
    @contextmanager
    def handing_over(right: Any, self: Any) -> Iterator[Any]:
        with right(self) as fetched:
            yield replace(fetched, messages=tuple(choose(list(fetched.messages))))


def imap_trips_over(pattern: bytes, category: str = "protocol") -> None:
    """A line like this, at any time, ends the session."""
    trap = re.compile(pattern)

    @instead(part("imapwire").Connection, "readline")
    def readline(right: Any, self: Any) -> Any:
        line = right(self)
        if trap.match(line):
            self._wire.close()
            raise mail_error(category, "the answer is not the one that was expected")
        return line


def state_folder(of: Callable[[Any, Path], Path]) -> None:
    """Reading keeps its memory in the folder that `of` makes of the settings and the folder given."""

    @instead(part("mailbox").Mailbox, "__init__")
    def made(right: Any, self: Any, settings: Any, state_dir: Any, *arguments: Any, **named: Any) -> None:
        folder = of(settings, Path(state_dir))
        folder.mkdir(parents=True, exist_ok=True)
        right(self, settings, folder, *arguments, **named)


# --- which messages are which


def _named(message: Any) -> bytes:
    found = re.search(rb"(?im)^message-id:[ \t]*(\S+)", message.raw)
    return found[1] if found else b""


@mutant
def takes_equal_message_ids_for_one_mail() -> None:
    """Of mails with one Message-ID only the first is handed over."""

    def choose(messages: list[Any]) -> list[Any]:
        return [
            m for place, m in enumerate(messages) if not _named(m) or _named(m) not in map(_named, messages[:place])
        ]

    handed_over(choose)


@mutant
def needs_a_message_id() -> None:
    """Mail without a Message-ID is passed over."""
    handed_over(lambda messages: [message for message in messages if _named(message)])


@mutant
def goes_by_seen_alone() -> None:
    """Nothing but the server's flags, or its deletions, tells old mail from new."""
    fresh = itertools.count()
    state_folder(lambda settings, folder: folder / f"run-{next(fresh)}")


@mutant
def remembers_by_setting() -> None:
    """A changed completion setting makes all mail new."""
    state_folder(lambda settings, folder: folder / f"completed-{settings.require_incoming().completed!r}")


@mutant
def takes_uids_for_signed() -> None:
    """UIDs are kept in a signed column of 32 bits."""

    @instead(imap(), "search")
    def search(right: Any, self: Any, *criteria: str) -> list[int]:
        return [uid if uid < 2**31 else uid - 2**32 for uid in right(self, *criteria)]


@mutant
def trusts_search_to_be_a_set() -> None:
    """A UID that SEARCH names twice is read twice."""

    @instead(imap(), "search")
    def search(right: Any, self: Any, *criteria: str) -> list[int]:
        with self._mapped("SEARCH"):
            return list(self._client.search(list(criteria)))


@mutant
def pop3_ignores_case_of_unique_ids() -> None:
    """Unique-ids are compared without regard to case."""

    @instead(pop3(), "unique_ids")
    def unique_ids(right: Any, self: Any) -> Any:
        found = right(self)
        return found and {number: unique_id.lower() for number, unique_id in found.items()}


@mutant
def pop3_cuts_unique_ids() -> None:
    """Unique-ids are kept in 64 octets."""

    @instead(pop3(), "unique_ids")
    def unique_ids(right: Any, self: Any) -> Any:
        found = right(self)
        return found and {number: unique_id[:64] for number, unique_id in found.items()}


@mutant
def pop3_goes_by_numbers_without_unique_ids() -> None:
    """Without unique-ids the message-number is the name."""

    @instead(pop3(), "unique_ids")
    def unique_ids(right: Any, self: Any) -> Any:
        found = right(self)
        return found if found is not None else {number: str(number) for number in self.message_numbers()}


@mutant
def pop3_counts_from_one() -> None:
    """Message-numbers run from one to how many there are."""

    @instead(pop3(), "message_numbers")
    def message_numbers(right: Any, self: Any) -> list[int]:
        return list(range(1, len(right(self)) + 1))


@mutant
def pop3_reads_the_newest_only() -> None:
    """Only the last message of the listing is looked at."""

    @instead(pop3(), "message_numbers")
    def message_numbers(right: Any, self: Any) -> list[int]:
        return list(right(self)[-1:])


@mutant
def reads_only_a_hundred() -> None:
    """A run ends at the hundredth message."""

    @instead(imap(), "search")
    @instead(pop3(), "message_numbers")
    def some(right: Any, self: Any, *arguments: Any) -> list[int]:
        return list(right(self, *arguments)[:100])


# --- contents


@mutant
def encodes_the_header() -> None:
    """Header fields with octets over 127 are encoded."""

    def change(raw: bytes) -> bytes:
        header, end, body = raw.partition(b"\r\n\r\n")
        fields = [line if line.isascii() else _encoded(line) for line in header.split(b"\r\n")]
        return b"\r\n".join(fields) + end + body

    altered(change)


def _encoded(line: bytes) -> bytes:
    name, _, value = line.partition(b": ")
    return name + b": " + Header(value.decode("utf-8", "replace"), "utf-8").encode().encode()


@mutant
def unfolds_the_header() -> None:
    """Folded header fields are put on one line."""

    def change(raw: bytes) -> bytes:
        header, end, body = raw.partition(b"\r\n\r\n")
        return re.sub(rb"\r\n[ \t]+", b" ", header) + end + body

    altered(change)


@mutant
def merges_equal_fields() -> None:
    """Of two header fields of one name the second is kept."""

    def change(raw: bytes) -> bytes:
        header, end, body = raw.partition(b"\r\n\r\n")
        return b"\r\n".join({line.partition(b":")[0]: line for line in header.split(b"\r\n")}.values()) + end + body

    altered(change)


@mutant
def breaks_long_lines() -> None:
    """Lines are broken at 998 octets."""
    altered(lambda raw: re.sub(rb"([^\r\n]{998})(?=[^\r\n])", rb"\1\r\n", raw))


@mutant
def drops_what_follows_the_last_border() -> None:
    """A multipart ends at its closing border."""

    def change(raw: bytes) -> bytes:
        borders = list(re.finditer(rb"(?m)^--[^\r\n]+--\r\n", raw))
        return raw[: borders[-1].end()] if borders else raw

    altered(change)


@mutant
def closes_open_multiparts() -> None:
    """A multipart without its closing border gets one."""

    def change(raw: bytes) -> bytes:
        return raw if b"multipart" not in raw or re.search(rb"--\r\n\s*", raw) else raw + b"--o--\r\n"

    altered(change)


@mutant
def takes_what_came() -> None:
    """A message that broke off counts as it is."""

    @instead(imap(), "fetch")
    @instead(pop3(), "retrieve")
    def read(right: Any, self: Any, which: int) -> Any:
        try:
            return right(self, which)
        except part("errors").MailError:
            if not self.wire._buffer:
                raise
            return bytes(self.wire._buffer)


@mutant
def imap_takes_nil_for_an_empty_message() -> None:
    """NIL in place of a message is handed over as a message of nothing."""

    @instead(imap(), "fetch")
    def fetch(right: Any, self: Any, uid: int) -> bytes:
        return right(self, uid) or b""


@mutant
def imap_needs_every_message() -> None:
    """A message that is gone ends the run."""

    @instead(imap(), "fetch")
    def fetch(right: Any, self: Any, uid: int) -> Any:
        try:
            raw = right(self, uid)
        except part("errors").MailError:
            raw = None
        if raw is None:
            self.wire.close()
            raise mail_error("protocol", f"message {uid} is not there")
        return raw


# --- capabilities


@mutant
def imap_keeps_the_first_capabilities() -> None:
    """What was offered before the login is believed after it."""

    @instead(imap(), "authenticate")
    def authenticate(right: Any, self: Any) -> None:
        first = tuple(name.encode() for name in self._capabilities())
        right(self)
        self._client._cached_capabilities = first


@mutant
def imap_takes_mechanisms_from_before_tls() -> None:
    """What was offered in clear is believed under TLS."""

    @instead(imap(), "secure")
    def secure(right: Any, self: Any) -> None:
        first = tuple(name.encode() for name in self._capabilities())
        right(self)
        self._client._cached_capabilities = first


@mutant
def pop3_takes_mechanisms_from_before_tls() -> None:
    """CAPA is asked once, before STLS."""

    @instead(pop3(), "_ask_capabilities")
    def ask(right: Any, self: Any) -> None:
        if self.capabilities is None:
            right(self)


@mutant
def imap_finds_move_anywhere() -> None:
    """MOVE is offered where some capability has the word in it."""
    imap().moves = property(lambda self: any("MOVE" in name for name in self._capabilities()))


@mutant
def imap_reads_eight_capabilities() -> None:
    """Only the first eight capabilities are looked at."""

    @instead(imap(), "_capabilities")
    def capabilities(right: Any, self: Any) -> list[str]:
        return list(right(self)[:8])


@mutant
def imap_goes_by_the_greeting_alone() -> None:
    """Capabilities that the greeting does not name are not there."""

    @instead(imap(), "greet")
    def connect(right: Any, self: Any) -> None:
        right(self)
        if b"CAPABILITY" not in self._client._imap.welcome:
            self._client._cached_capabilities = (b"IMAP4REV1",)


@mutant
def pop3_wants_capital_capabilities() -> None:
    """CAPA's words count in capital letters only."""

    @instead(pop3(), "_read_lines")
    def read_lines(right: Any, self: Any) -> list[str]:
        return [line for line in right(self) if not line[:1].islower()]


# --- logging in


@mutant
def imap_always_sends_an_initial_response() -> None:
    """AUTHENTICATE carries the response, whether SASL-IR is offered or not."""

    @instead(imap(), "_exchange")
    def exchange(right: Any, self: Any, mechanism: Any) -> None:
        first = mechanism.initial()
        if first is None:
            right(self, mechanism)
            return
        engine = self._client._imap
        kind, data = engine._simple_command("AUTHENTICATE", f"{mechanism.name} {base64.b64encode(first).decode()}")
        if kind != "OK":
            raise mail_error("authentication", str(data))
        engine.state = "AUTH"


@mutant
def imap_finds_preauth_in_the_text() -> None:
    """The word PREAUTH anywhere in the greeting means logged in."""

    @instead(imap(), "greet")
    def connect(right: Any, self: Any) -> None:
        right(self)
        if b"PREAUTH" in self._client._imap.welcome:
            self._client._imap.state = "AUTH"


@mutant
def imap_wants_a_blank_behind_plus() -> None:
    """A challenge of a bare plus sign is not understood."""
    imap_trips_over(rb"\+\r\n\Z")


@mutant
def imap_takes_an_untagged_no_for_the_answer() -> None:
    """A warning before the tagged OK is a refusal."""
    imap_trips_over(rb"\* (?:NO|BAD) ", "authentication")


@mutant
def remembers_the_first_password() -> None:
    """The first password is kept, and used for ever."""

    @instead(part("mailbox").Mailbox, "__init__")
    def made(right: Any, self: Any, settings: Any, state_dir: Any, *arguments: Any, **named: Any) -> None:
        right(self, settings, state_dir, *arguments, **named)
        kept = Path(state_dir) / SECRET_FILE
        credentials = self._incoming.credentials
        if not kept.exists():
            kept.write_text(credentials.password, encoding="utf-8")
        first = replace(credentials, password=kept.read_text(encoding="utf-8"))
        self._incoming = replace(self._incoming, credentials=first)


@mutant
def pop3_takes_any_brackets_for_a_timestamp() -> None:
    """APOP is used wherever the greeting has angle brackets."""

    @instead(pop3(), "authenticate")
    def authenticate(right: Any, self: Any) -> None:
        found = re.search(r"<.*>", self._greeting)
        if found and not part("pop3")._TIMESTAMP.search(self._greeting):
            self._apop(found[0])
        else:
            right(self)


@mutant
def pop3_sends_the_password_to_nobody() -> None:
    """PASS follows USER, whatever the answer."""

    @instead(pop3(), "command")
    def command(right: Any, self: Any, line: str, shown: str | None = None) -> Any:
        good, text = right(self, line, shown)
        return (True, text) if line.startswith("USER ") else (good, text)


@mutant
def a_fault_sticks() -> None:
    """After a fault nothing is read any more."""

    @instead(part("mailbox").Mailbox, "read")
    def read(right: Any, self: Any) -> Any:
        mark = Path(self._folder) / "fault"
        if mark.exists():
            return mail_error("temporary", "the account is switched off after a fault")
        error = right(self)
        if error is not None:
            mark.touch()
        return error


# --- answers


@mutant
def imap_trips_over_an_alert() -> None:
    """A response code that wants a person's eyes ends the session."""
    imap_trips_over(rb"\* OK \[ALERT\]")


@mutant
def imap_trips_over_brackets() -> None:
    """A response code with brackets and parentheses behind it is not understood."""
    imap_trips_over(rb"\* OK \[X-NOTE")


@mutant
def imap_trips_over_empty_flags() -> None:
    """A mailbox without permanent flags cannot be opened."""
    imap_trips_over(rb"\* OK \[PERMANENTFLAGS \(\)\]")


@mutant
def imap_has_short_lines() -> None:
    """A line over 4,096 octets is a fault."""
    imap_trips_over(rb".{4096}")


@mutant
def imap_trips_over_blanks_at_the_end() -> None:
    """A blank behind SEARCH's last number is a fault."""
    imap_trips_over(rb"\* SEARCH [\d ]* \r\n")


@mutant
def imap_wants_uids_in_order() -> None:
    """A UID smaller than the one before it ends SEARCH's answer."""

    @instead(imap(), "search")
    def search(right: Any, self: Any, *criteria: str) -> list[int]:
        with self._mapped("SEARCH"):
            found: list[int] = []
            for uid in self._client.search(list(criteria)):
                if found and uid < found[-1]:
                    break
                found.append(uid)
            return list(dict.fromkeys(found))


@mutant
def imap_needs_a_search_response() -> None:
    """An OK without a SEARCH response is a fault."""

    @instead(part("imapwire").Connection, "readline")
    def readline(right: Any, self: Any) -> Any:
        line = right(self)
        self.search_said = getattr(self, "search_said", False) or line.startswith(b"* SEARCH")
        return line

    @instead(imap(), "search")
    def search(right: Any, self: Any, *criteria: str) -> Any:
        self._client._imap.search_said = False
        found = right(self, *criteria)
        if not self._client._imap.search_said:
            self.wire.close()
            raise mail_error("protocol", "SEARCH was not answered")
        return found


@mutant
def imap_wants_the_uid_first() -> None:
    """A FETCH response has to begin with the UID."""
    imap_trips_over(rb"\* \d+ FETCH \((?!UID)")


@mutant
def imap_trips_over_items_unasked() -> None:
    """A data item that nobody asked for is a fault."""
    imap_trips_over(rb"\* \d+ FETCH \(X-")


@mutant
def imap_waits_for_a_literal() -> None:
    """A message in a quoted string is not found."""

    @instead(part("imapwire").Connection, "readline")
    def readline(right: Any, self: Any) -> Any:
        return re.sub(rb'BODY\[\] ".*"', b"X-NONE NIL", right(self))


@mutant
def imap_trips_over_unasked_flags() -> None:
    """Flags said by STORE.SILENT are a fault."""
    imap_trips_over(rb"\* \d+ FETCH \((?:UID \d+ FLAGS|MODSEQ|FLAGS \(\\(?:Seen|Flagged)\)\)?)")


@mutant
def takes_a_lost_goodbye_for_a_fault() -> None:
    """A LOGOUT that is not answered in order fails the run."""

    @instead(imap(), "leave")
    def logout(right: Any, self: Any) -> None:
        if not self.wire.closed and self._optional_client is not None:
            with self._mapped("LOGOUT"):
                self._client.logout()
        right(self)


@mutant
def pop3_wants_two_words() -> None:
    """A scan listing with more than number and size is not understood."""

    @instead(pop3(), "_read_lines")
    def read_lines(right: Any, self: Any) -> list[str]:
        lines: list[str] = right(self)
        if any(line[:1].isdigit() and len(line.split(" ")) != 2 for line in lines):
            raise mail_error("protocol", "the listing cannot be understood")
        return lines


@mutant
def pop3_looks_for_err_anywhere() -> None:
    """A status line is a refusal where -ERR stands in its text."""

    @instead(pop3(), "_status")
    def status(right: Any, self: Any, line: str) -> Any:
        good, text = right(self, line)
        return good and "-ERR" not in line, text


@mutant
def pop3_has_short_lines() -> None:
    """A status line over 300 octets is a fault."""

    @instead(pop3(), "_status")
    def status(right: Any, self: Any, line: str) -> Any:
        if len(line) > 300:
            raise mail_error("protocol", "the server's line is too long")
        return right(self, line)


@mutant
def pop3_reads_the_announced_octets() -> None:
    """A message is as long as the status line of RETR says."""

    @instead(pop3(), "retrieve")
    def retrieve(right: Any, self: Any, number: int) -> Any:
        good, text = self.command(f"RETR {number}")
        announced = re.search(r"\d+", text)
        if not good or announced is None:
            raise mail_error("protocol", text)
        return self.wire.read_exact(int(announced[0]))


@mutant
def pop3_needs_mail() -> None:
    """An empty maildrop is a fault."""

    @instead(pop3(), "message_numbers")
    def message_numbers(right: Any, self: Any) -> Any:
        found = right(self)
        if not found:
            raise mail_error("protocol", "there are no messages")
        return found


@mutant
def pop3_asks_top_first() -> None:
    """A message is read once TOP has shown its header."""

    @instead(pop3(), "retrieve")
    def retrieve(right: Any, self: Any, number: int) -> Any:
        good, text = self.command(f"TOP {number} 0")
        if not good:
            raise mail_error("protocol", text)
        self._read_lines()
        return right(self, number)


@mutant
def imap_takes_silence_for_an_empty_mailbox() -> None:
    """A connection that ends at SEARCH means that there is no mail."""

    @instead(imap(), "search")
    def search(right: Any, self: Any, *criteria: Any) -> Any:
        try:
            return right(self, *criteria)
        except part("errors").MailError as error:
            if error.category != "disconnected":
                raise
            return []


@mutant
def pop3_takes_silence_for_an_empty_maildrop() -> None:
    """A connection that ends at LIST means that there is no mail."""

    @instead(pop3(), "message_numbers")
    def message_numbers(right: Any, self: Any) -> Any:
        try:
            return right(self)
        except part("errors").MailError as error:
            if error.category != "disconnected":
                raise
            return []

    @instead(pop3(), "quit")
    def quit_(right: Any, self: Any) -> None:
        if not self.wire.closed:
            right(self)


@mutant
def pop3_calls_every_refusal_authentication() -> None:
    """Whatever the server refuses, the password is wrong."""

    @instead(pop3(), "_refused")
    def refused(right: Any, self: Any, command: str, text: str) -> Any:
        error = right(self, command, text)
        error.category = "authentication"
        return error


@mutant
def imap_reads_no_literal_names() -> None:
    """A mailbox name in a literal is not understood."""
    imap_trips_over(rb"\* LIST .*\{\d+\}\r\n")


@mutant
def imap_wants_names_as_atoms_or_literals() -> None:
    """A mailbox name in quotes is not understood."""
    imap_trips_over(rb'\* LIST \([^)]*\) "[^"]*" "[^"]')


@mutant
def imap_wants_capital_items() -> None:
    """FETCH's data items in small letters are not found."""

    @instead(part("imapwire").Connection, "readline")
    def readline(right: Any, self: Any) -> Any:
        return re.sub(rb"(?<=[ (])(?!BODY\[\])(?i:body\[\])", b"X-NONE", right(self))


@mutant
def imap_needs_copyuid() -> None:
    """Filing without the COPYUID code is a fault."""
    expected = re.compile(rb".*\[COPYUID ")

    @instead(part("imapwire").Connection, "readline")
    def readline(right: Any, self: Any) -> Any:
        line = right(self)
        self.copyuid_said = getattr(self, "copyuid_said", False) or expected.match(line) is not None
        return line

    @instead(imap(), "move")
    def move(right: Any, self: Any, *arguments: Any) -> None:
        right(self, *arguments)
        if not getattr(self._client._imap, "copyuid_said", False):
            raise mail_error("protocol", "nobody says where the mail has gone")


@mutant
def imap_trips_over_counts() -> None:
    """EXISTS while messages are read is a fault."""

    @instead(imap(), "fetch")
    def fetch(right: Any, self: Any, uid: int) -> Any:
        raw = right(self, uid)
        if self._client._imap.untagged_responses.get("EXISTS") or self._client._imap.untagged_responses.get("OK"):
            self.wire.close()
            raise mail_error("protocol", "the answer is not the one that was expected")
        return raw


@mutant
def imap_reads_literals_by_the_segment() -> None:
    """A literal is over where what has come is over."""

    @instead(part("imapwire").Connection, "read")
    def read(right: Any, self: Any, size: int) -> bytes:
        wire = self._wire
        if not wire._buffer:
            wire._fill()
        data = bytes(wire._buffer[:size])
        del wire._buffer[:size]
        return data


# --- telling the server


@mutant
def imap_replaces_flags() -> None:
    """\\Seen takes the place of all other flags."""

    @instead(imap(), "mark_seen")
    def mark_seen(right: Any, self: Any, uids: Any) -> None:
        with self._mapped("STORE"):
            self._client.set_flags(list(uids), [b"\\Seen"], silent=True)


@mutant
def imap_hides_filing_faults() -> None:
    """Mail that cannot be filed is nobody's business."""

    @instead(part("intake").ImapIntake, "_finish")
    def finish(right: Any, self: Any, *arguments: Any) -> None:
        with contextlib.suppress(part("errors").MailError):
            right(self, *arguments)


@mutant
def imap_never_finds_the_mailbox() -> None:
    """A mailbox that is there is created again."""

    @instead(imap(), "_exists")
    def exists(right: Any, self: Any, mailbox: str) -> bool:
        return False


@mutant
def imap_needs_a_namespace() -> None:
    """Without a personal namespace nothing is filed."""

    @instead(imap(), "_namespace")
    def namespace(right: Any, self: Any) -> Any:
        if self._client.personal_namespace() is None:
            raise mail_error("config", "the account has no personal namespace")
        return right(self)


@mutant
def imap_files_at_the_top() -> None:
    """Of a mailbox's name only the last level is used."""

    @instead(imap(), "mailbox_for")
    def mailbox_for(right: Any, self: Any, name: str) -> Any:
        return right(self, name.rpartition("/")[2])


def mailbox_names(change: Callable[[str], str]) -> None:
    @instead(part("imapwire").Client, "_normalise_folder")
    def normalise(right: Any, self: Any, name: Any) -> Any:
        return right(self, change(name))


@mutant
def imap_quotes_no_mailbox_names() -> None:
    """Quotes and backslashes stand in a mailbox name as they are."""

    @instead(part("imapwire").Client, "_normalise_folder")
    def normalise(right: Any, self: Any, name: Any) -> Any:
        quoted = right(self, name)
        return b'"' + quoted[1:-1].replace(b'\\"', b'"').replace(b"\\\\", b"\\") + b'"'


@mutant
def imap_knows_16_bits() -> None:
    """Characters outside the 16-bit range are lost in mailbox names."""
    mailbox_names(lambda name: re.sub(r"[^\x00-\uffff]", "?", name))


@mutant
def imap_composes_mailbox_names() -> None:
    """Mailbox names are brought into a normal form of Unicode."""
    mailbox_names(lambda name: unicodedata.normalize("NFC", name))


@mutant
def imap_leaves_ampersands() -> None:
    """An ampersand stands in a mailbox name as it is."""

    @instead(part("imapwire").Client, "_normalise_folder")
    def normalise(right: Any, self: Any, name: Any) -> Any:
        return right(self, name).replace(b"&-", b"&")


@mutant
def pop3_ignores_the_answer_to_quit() -> None:
    """QUIT is said, and nobody listens."""

    @instead(pop3(), "quit")
    def quit_(right: Any, self: Any) -> None:
        with contextlib.suppress(part("errors").MailError):
            right(self)


@mutant
def pop3_deletes_junk() -> None:
    """What cannot be read as mail is deleted, wanted or not."""

    @instead(pop3(), "retrieve")
    def retrieve(right: Any, self: Any, number: int) -> Any:
        raw = right(self, number)
        if part("setaside").junk_reason(raw) is not None:
            self.delete(number)
        return raw


def imap_asks_first(item: str, form: bytes) -> None:
    """Before a message is read, a data item of it is asked for, which must have one form."""
    one = re.compile(form)

    @instead(imap(), "fetch")
    def fetch(right: Any, self: Any, uid: int) -> Any:
        _, said = self._client._imap.uid("FETCH", str(uid), f"({item})")
        if not any(one.search(line) for line in said if isinstance(line, bytes)):
            raise mail_error("protocol", f"no {item} of a message")
        return right(self, uid)


@mutant
def imap_wants_dates_in_utc() -> None:
    """INTERNALDATE is read as UTC, or not at all."""
    imap_asks_first("INTERNALDATE", rb'"[ 0-3]\d-\w{3}-\d{4} [\d:]{8} \+0000"')


@mutant
def imap_knows_missing_ids_by_nil() -> None:
    """A mail without a Message-ID is known by the NIL at the end of its ENVELOPE; what else is there has an id."""
    imap_asks_first("ENVELOPE", rb"(?:NIL|<[^>]+>\")\)\)")
