"""Mutants found by breaking clients that were built otherwise than the reference client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from imapclient import imap_utf7
from outgoing_message import message_on_the_wire
from patching import instead
from registry import mutant

from harness.clientstack import compose, replies, sasl, smtp
from harness.clientstack.errors import MailError
from harness.clientstack.pop3 import Pop3Session
from harness.clientstack.redaction import Redactor
from harness.clientstack.session import MailSession
from harness.clientstack.smtp import SmtpSession


@mutant
def takes_504_for_a_wrong_password() -> None:
    """A 504 at AUTH is reported as a refused password."""

    @instead(smtp, "smtp_error")
    def smtp_error(original: Any, reply: Any, command: str, now: Any) -> Any:
        if command == "AUTH" and reply.code == 504:
            return original(replace(reply, code=535), command, now)
        return original(reply, command, now)


@mutant
def tells_passwords_in_errors() -> None:
    """The error of a refused login holds what was sent, and nothing takes it out."""
    Redactor.__call__ = lambda self, text: text  # type: ignore[method-assign]

    @instead(MailSession, "_redacted")
    def redacted(original: Any, session: Any, error: MailError) -> Any:
        made = original(session, error)
        made.text = f"{made.text} ({session._settings.credentials.username}:{session._settings.credentials.password})"
        return made


@mutant
def takes_any_scram_nonce() -> None:
    """A nonce that somebody else has begun is answered with a proof."""

    @instead(sasl._Scram, "answer")
    def answer(original: Any, mechanism: Any, challenge: bytes) -> Any:
        try:
            return original(mechanism, challenge)
        except MailError:
            return b"c=biws,r=chosen-by-the-server-alone,p=AAAA"


@mutant
def writes_scram_names_as_they_are() -> None:
    """An equals sign or a comma of the user name parts the attributes."""

    @instead(sasl._Scram, "initial")
    def initial(original: Any, mechanism: Any) -> Any:
        first: bytes = original(mechanism)
        return first.replace(b"=3D", b"=").replace(b"=2C", b",")


def paths(change: Callable[[str], str]) -> None:
    """`change` stands between an address and what MAIL and RCPT say."""
    written = vars(compose.Address)["wire"].func
    compose.Address.wire = property(lambda address: change(written(address)))  # type: ignore[assignment]


@mutant
def makes_addresses_lower_case() -> None:
    """The local part loses its capitals."""
    paths(str.lower)


@mutant
def takes_quotation_marks_off_addresses() -> None:
    """A quoted local part goes out without its quotation marks."""
    paths(lambda path: path.replace('"', ""))


@mutant
def knows_positive_codes_by_list() -> None:
    """A positive code that it has not heard of is no success."""
    known = (211, 214, 220, 221, 235, 250, 251, 252)
    replies.Reply.positive = property(lambda reply: reply.code in known)  # type: ignore[assignment,method-assign]


@mutant
def unfolds_header_fields() -> None:
    """A folded header field goes out as one line."""

    def unfolded(message: bytes) -> bytes:
        head, blank, body = message.partition(b"\r\n\r\n")
        return re.sub(rb"\r\n[ \t]+", b" ", head) + blank + body

    message_on_the_wire(unfolded)


@mutant
def quotes_from_lines() -> None:
    """A line that begins with From gets a >."""
    message_on_the_wire(lambda message: re.sub(rb"(?m)^From ", b">From ", message))


@mutant
def keeps_one_field_of_a_name() -> None:
    """Of header fields of one name the last is left."""

    def thinned(message: bytes) -> bytes:
        head, blank, body = message.partition(b"\r\n\r\n")
        fields = re.split(rb"\r\n(?![ \t])", head)
        return b"\r\n".join({field.partition(b":")[0].lower(): field for field in fields}.values()) + blank + body

    message_on_the_wire(thinned)


@mutant
def remembers_offers_of_before() -> None:
    """What was offered in clear holds under TLS as well, where it is not said anew."""
    before: dict[str, str] = {}

    @instead(SmtpSession, "_take_greeting")
    def take_greeting(original: Any, session: Any) -> Any:
        before.clear()
        return original(session)

    @instead(smtp, "_keywords")
    def keywords(original: Any, reply: Any) -> Any:
        before.update(original(reply))
        return dict(before)


@mutant
def encodes_domains_as_they_are() -> None:
    """Capitals and decomposed letters go into the A-label."""

    @instead(compose, "_ascii_domain")
    def ascii_domain(original: Any, domain: str) -> Any:
        labels = domain.split(".")
        return ".".join(one if one.isascii() else "xn--" + one.encode("punycode").decode() for one in labels)


@mutant
def remembers_message_numbers() -> None:
    """The number that a message has in this session is taken for its unique-id."""

    @instead(Pop3Session, "unique_ids")
    def unique_ids(original: Any, session: Any) -> Any:
        found = original(session)
        return found and {number: str(number) for number in found}


@mutant
def leaves_slashes_in_utf7() -> None:
    """The base64 in a mailbox name is that of MIME."""

    @instead(imap_utf7, "base64_utf7_encode")
    def encoded(original: Any, buffer: Any) -> Any:
        return original(buffer).replace(b",", b"/")


# --- business


def module(name: str) -> Any:
    """Of the reference client; loaded only for the mutant that is asked for."""
    return import_module(f"harness.clientstack.{name}")


@mutant
def knows_auto_replied_alone() -> None:
    """Auto-Submitted is read for one of its words."""

    @instead(module("inbound"), "automatic_reason")
    def automatic_reason(original: Any, raw: bytes) -> Any:
        reason = original(raw)
        return None if reason and "auto-replied" not in reason and reason.startswith("Auto-Submitted") else reason


@mutant
def answers_the_null_reverse_path() -> None:
    """Return-Path: <> does not mark a mail as automatic."""

    @instead(module("inbound"), "automatic_reason")
    def automatic_reason(original: Any, raw: bytes) -> Any:
        return original(raw.replace(b"Return-Path: <>", b"X-Path: none"))


@mutant
def overhears_auto_submitted_no() -> None:
    """What says that it is a person's is judged by its subject."""

    @instead(module("inbound"), "automatic_reason")
    def automatic_reason(original: Any, raw: bytes) -> Any:
        return original(raw.replace(b"Auto-Submitted: no", b"X-Submitted: no"))


def notifications(change: Callable[[Any], Any]) -> None:
    """`change` is made to every notification that is read."""

    @instead(module("inbound"), "read_notification")
    def read_notification(original: Any, raw: bytes) -> Any:
        found = original(raw)
        return found and change(found)


@mutant
def every_notification_is_a_bounce() -> None:
    """Delayed and delivered mail counts as returned."""
    notifications(
        lambda found: replace(found, recipients=tuple(replace(one, action="failed") for one in found.recipients))
    )


@mutant
def reads_one_recipient_of_a_notification() -> None:
    """The first block says what became of all."""
    notifications(lambda found: replace(found, recipients=found.recipients[:1]))


@mutant
def overlooks_the_status_field() -> None:
    """Only the other server's words are read."""
    notifications(lambda found: replace(found, recipients=tuple(replace(one, status="") for one in found.recipients)))


@mutant
def knows_returned_headers_alone() -> None:
    """A notification with the whole message in it is matched to nothing."""

    @instead(module("inbound"), "read_notification")
    def read_notification(original: Any, raw: bytes) -> Any:
        return original(raw.replace(b"message/rfc822\r\n", b"application/x-mail\r\n"))


def recorded(change: Callable[[Any], Any]) -> None:
    """`change` is made to every answer before it is recorded."""

    @instead(module("meetings").Meetings, "_apply")
    def apply(original: Any, meetings: Any, db: Any, answer: Any, sender: str) -> Any:
        return original(meetings, db, change(answer), sender)


@mutant
def last_answer_to_arrive_counts() -> None:
    """When an answer was given does not matter."""
    recorded(lambda answer: replace(answer, stamp=None))


@mutant
def tells_attendees_apart_by_capitals() -> None:
    """An attendee's address in capitals is a stranger's."""
    known = "bob@example.test"

    @instead(module("meetings").Meetings, "_apply")
    def apply(original: Any, meetings: Any, db: Any, answer: Any, sender: str) -> Any:
        other = answer.address != known and answer.address.casefold() == known
        return "not an attendee of the meeting" if other else original(meetings, db, answer, sender)


@mutant
def knows_three_answers() -> None:
    """DELEGATED is no answer."""
    del module("itip")._STATUS["DELEGATED"]


@mutant
def reads_calendars_as_utf8() -> None:
    """The charset parameter of a calendar part is overlooked."""

    @instead(module("itip"), "_utf8")
    def utf8(original: Any, payload: bytes, charset: str) -> Any:
        return original(payload, "utf-8")


@mutant
def takes_requests_for_answers() -> None:
    """The method of a calendar is overlooked."""

    @instead(module("inbound"), "read_answers")
    def read_answers(original: Any, raw: bytes) -> Any:
        return original(raw.replace(b"METHOD:REQUEST", b"METHOD:REPLY").replace(b"method=REQUEST", b"method=REPLY"))


@mutant
def cancelled_meetings_take_answers() -> None:
    """A meeting that was cancelled is kept as one that takes place."""

    @instead(module("meetings").Meetings, "keep")
    def keep(original: Any, meetings: Any, meeting: Any, status: str) -> Any:
        return original(meetings, meeting, "confirmed")


@mutant
def stamps_no_calendars() -> None:
    """DTSTAMP is left out."""

    @instead(module("mailer"), "write_calendar")
    def write_calendar(original: Any, *arguments: Any) -> Any:
        return re.sub(rb"DTSTAMP:\S+\r\n", b"", original(*arguments))


@mutant
def tenants_log_in_as_everybody() -> None:
    """A tenant's own server gets the global login where it has none."""
    module("business")._INHERITED = (*module("business")._INHERITED, "username", "password", "auth")


@mutant
def no_wishes_mean_everything() -> None:
    """An empty list of wanted kinds is no list."""

    @instead(module("business").User, "wants")
    def wants(original: Any, user: Any, kind: str) -> bool:
        return not user.notify or kind in user.notify


@mutant
def never_gives_up() -> None:
    """What was refused for now is tried for ever."""
    module("queue")._GIVE_UP_AFTER = float("inf")


@mutant
def forgets_the_limit_of_a_test() -> None:
    """A limit that the test button meets is shown, and not kept."""

    class Forgetful(module("checks").RateLimits):  # type: ignore[misc]
        def hit(self, *arguments: Any) -> None:
            pass

    module("checks").RateLimits = Forgetful


@mutant
def quotes_file_names_as_they_are() -> None:
    """Quotation marks and backslashes of a file name are not escaped."""

    @instead(module("mime"), "_name")
    def name(original: Any, message: Any, filename: str) -> None:
        part = list(message.iter_parts())[-1]
        del part["Content-Disposition"]
        part.set_raw("Content-Disposition", f'attachment; filename="{filename}"')


@mutant
def keeps_the_error_of_the_old_address() -> None:
    """What the server said of the old address stays with the new one."""

    @instead(module("queue").Queue, "edit_address")
    def edit_address(original: Any, queue: Any, message: int, old: str, new: str) -> None:
        said = [one.error for one in queue.message(message).recipients if one.address == old]
        original(queue, message, old, new)
        with queue._store.transaction() as db:
            db.execute(
                "UPDATE recipients SET error = ? WHERE message = ? AND address = ?", (json.dumps(said[0]), message, new)
            )


@mutant
def every_change_asks_anew() -> None:
    """The answers are forgotten with every change of a meeting."""

    @instead(module("meetings").Meetings, "keep")
    def keep(original: Any, meetings: Any, meeting: Any, status: str) -> None:
        original(meetings, meeting, status)
        with meetings._store.transaction() as db:
            db.execute("UPDATE attendees SET status = 'needs-action', answered = NULL WHERE uid = ?", (meeting.uid,))


def carried(change: Callable[[bytes], bytes]) -> None:
    """`change` is made to every message between its server and the store."""

    @instead(module("intake")._Intake, "_keep")
    def keep(original: Any, intake: Any, validity: str, unique_id: str, raw: bytes) -> Any:
        return original(intake, validity, unique_id, change(raw))


@mutant
def reads_mail_as_utf8() -> None:
    """Messages are text in UTF-8, and what is none is replaced."""
    carried(lambda raw: raw.decode("utf-8", "replace").encode())


@mutant
def recodes_latin_1() -> None:
    """What is no UTF-8 is taken for Latin-1 and becomes UTF-8."""

    def recoded(raw: bytes) -> bytes:
        try:
            raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1").encode()
        return raw

    carried(recoded)
