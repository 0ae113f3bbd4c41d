"""Defects in what only business software does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from registry import mutant


def part(name: str) -> Any:
    """A module of the reference client; loaded only for the mutant that is asked for."""
    return import_module(f"harness.clientstack.{name}")


def wrap(owner: Any, name: str, broken: Callable[..., Any]) -> None:
    """Put `broken` in the place of a function; it is given the right one before the arguments."""
    right = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: broken(right, *args, **kwargs))


def business_settings(**changed: Any) -> None:
    """The business section is read as if it said this."""
    wrap(part("business"), "read_business", lambda right, *args: replace(right(*args), **changed))


# --- the server


@mutant
def ping_waits_for_the_greeting() -> None:
    """The reachability test says EHLO as well."""

    def talks(right: Any, self: Any, *args: Any) -> None:
        right(self, *args)
        self.send(b"EHLO x\r\n")

    wrap(part("wire").Wire, "connect", talks)


@mutant
def ping_is_always_content() -> None:
    """The reachability test calls every server reachable."""

    def content(right: Any, *args: Any) -> Any:
        check = right(*args)
        check.ok, check.error = True, None
        return check

    wrap(part("checks"), "ping", content)


# --- who mail is from


@mutant
def identity_is_always_the_system() -> None:
    """The acting user never shows in From."""
    business_settings(use_system_reply=True)


@mutant
def identity_is_always_the_user() -> None:
    """Mail that should be from the system is from the user."""
    business_settings(use_system_reply=False)


@mutant
def identity_without_display_name() -> None:
    """From is always the bare address."""
    business_settings(use_display_name=False)


@mutant
def identity_with_display_name() -> None:
    """From always has a display name."""
    business_settings(use_display_name=True)


@mutant
def identity_forgets_the_product() -> None:
    """A user's display name lacks the product."""
    wrap(part("identity"), "identity_of", lambda right, business, *args: right(replace(business, product=""), *args))
    part("mailer").identity_of = part("identity").identity_of


@mutant
def identity_without_users_address() -> None:
    """The user's name is shown, and the system's address with it."""

    def shared(right: Any, business: Any, reply_to: str, user: Any) -> Any:
        return right(business, reply_to, user and replace(user, address=""))

    wrap(part("mailer"), "identity_of", shared)


@mutant
def reply_to_is_always_the_system() -> None:
    """Answers to a user's mail go to the system."""

    def system(right: Any, business: Any, reply_to: str, user: Any) -> Any:
        return replace(right(business, reply_to, user), reply_to=reply_to)

    wrap(part("mailer"), "identity_of", system)


@mutant
def mail_from_nobody() -> None:
    """Without any address mail is sent from one that is made up."""

    def made_up(right: Any, business: Any, reply_to: str, user: Any) -> Any:
        return right(business, reply_to or "nobody@shop.example", user)

    wrap(part("mailer"), "identity_of", made_up)


@mutant
def no_default_sender_for_users() -> None:
    """A user without an address cannot cause mail."""
    wrap(part("mailer"), "identity_of", lambda right, business, reply_to, user: right(business, "", user))


@mutant
def reason_is_not_kept() -> None:
    """What cannot be written is not kept in the queue either."""

    def dropped(right: Any, self: Any, messages: Any) -> Any:
        return right(self, [message for message in messages if not message.faults])

    wrap(part("outbox").Outbox, "_queued", dropped)


# --- mailboxes with a purpose


@mutant
def alerts_from_the_reply_to_address() -> None:
    """Alerts have no sender of their own."""
    business_settings(alert_from="")


@mutant
def alerts_do_not_say_that_they_are_automatic() -> None:
    """Automatic mail lacks Auto-Submitted."""
    part("mailer")._AUTOMATIC = {}


@mutant
def system_notifications_to_the_error_log() -> None:
    """System notifications go to another mailbox."""
    business_settings(system_notification="bob@example.test")


@mutant
def failed_alerts_are_not_reported() -> None:
    """An alert that could not be sent is forgotten."""

    def silent(right: Any, self: Any, subject: str, text: str, **rest: Any) -> Any:
        return None if subject.startswith("Alert not sent") else right(self, subject, text, **rest)

    wrap(part("mailer").Mailer, "system_notification", silent)


@mutant
def alerts_bounce_to_everybody() -> None:
    """Alerts have no return path of their own."""
    business_settings(bounced_alerts="")


@mutant
def all_mail_bounces_to_alerts() -> None:
    """The mailbox for bounced alerts is the return path of all mail."""

    def same(right: Any, self: Any, message: Any) -> Any:
        return right(self, replace(message, return_path=self._settings.business.bounced_alerts or None))

    wrap(part("outbox").Outbox, "_entry", same)


@mutant
def bounces_are_not_matched() -> None:
    """A bounce never finds the message that it is about."""
    part("queue").Queue.find_sent = lambda self, message_id: None


@mutant
def bounces_change_nothing() -> None:
    """A message that came back stays done."""
    part("queue").Queue.bounced = lambda self, db, message, address, error: address


@mutant
def bounces_are_taken_for_mail() -> None:
    """Delivery status notifications are not recognised."""
    part("inbound").read_notification = lambda raw: None


@mutant
def support_address_of_the_tenant_always() -> None:
    """A tenant's own support address is used where it may not have one."""

    def free(right: Any, *args: Any) -> Any:
        business = right(*args)
        return replace(business, support=replace(business.support, tenant_may_override=True))

    wrap(part("business"), "read_business", free)


@mutant
def support_address_of_the_tenant_never() -> None:
    """A tenant's own support address is not used."""

    def fixed(right: Any, *args: Any) -> Any:
        business = right(*args)
        return replace(business, support=replace(business.support, tenant_may_override=False))

    wrap(part("business"), "read_business", fixed)


@mutant
def support_without_details() -> None:
    """System information is never attached."""

    def bare(right: Any, *args: Any) -> Any:
        business = right(*args)
        return replace(business, support=replace(business.support, attach_system_information=False))

    wrap(part("business"), "read_business", bare)


@mutant
def support_always_with_details() -> None:
    """System information is attached where it must not be."""

    def full(right: Any, *args: Any) -> Any:
        business = right(*args)
        return replace(business, support=replace(business.support, attach_system_information=True))

    wrap(part("business"), "read_business", full)


@mutant
def support_details_unreadable() -> None:
    """System information is attached as an unreadable blob."""
    wrap(
        part("mailer").Mailer,
        "_system_information",
        lambda right, self: replace(right(self), content_type="application/octet-stream"),
    )


@mutant
def every_error_is_mailed() -> None:
    """A flood of errors becomes a flood of mail."""

    def flood(right: Any, *args: Any) -> Any:
        business = right(*args)
        return replace(business, error_log=replace(business.error_log, limit=10_000))

    wrap(part("business"), "read_business", flood)


@mutant
def collected_errors_are_lost() -> None:
    """The digest never comes."""
    part("errorlog").ErrorMails.due = lambda self: iter(())


@mutant
def error_mail_with_a_display_name() -> None:
    """Error mail is from the product's name."""

    def named(right: Any, self: Any, kind: str, *args: Any) -> Any:
        return right(self, "other" if kind == "error" else kind, *args)

    wrap(part("mailer").Mailer, "_identity", named)


@mutant
def links_lose_the_path() -> None:
    """Links are joined as a browser would: the base's own path is lost."""
    from urllib.parse import urljoin

    part("business").Business.link = lambda self, path: urljoin(self.base_url, path)


@mutant
def wishes_are_ignored() -> None:
    """Everybody gets everything."""
    part("business").User.wants = lambda self, kind: True


@mutant
def wishes_hold_back_urgent_mail() -> None:
    """A password reset needs the recipient's wish."""

    def asked(right: Any, self: Any, to: Any, subject: str, text: str, **rest: Any) -> Any:
        return right(self, to, subject, text, **{**rest, "urgent": False})

    wrap(part("mailer").Mailer, "notify", asked)


@mutant
def no_address_is_no_error() -> None:
    """Who has no address is skipped without a word."""

    def skipped(right: Any, self: Any, draft: Any, key: str, person: Any, *args: Any, **rest: Any) -> Any:
        if not person.address:
            return part("mailer")._Plan(key, skipped="nothing")
        return right(self, draft, key, person, *args, **rest)

    wrap(part("mailer").Mailer, "_plan", skipped)


# --- which server


@mutant
def switch_is_ignored() -> None:
    """Mail leaves although the global mail server is off."""
    part("routing").held_back = lambda settings: None


@mutant
def switch_holds_only_the_global_server() -> None:
    """A tenant's own server sends although the global one is off or absent."""
    routing = part("routing")

    def own_first(right: Any, settings: Any, tenant: str) -> Any:
        account = routing.account_of(settings, tenant)
        return account if account is not None and account is not settings.outgoing else right(settings, tenant)

    wrap(routing, "route", own_first)
    part("outbox").route = routing.route


@mutant
def held_mail_is_dropped() -> None:
    """Mail that may not leave now is in error for good."""

    def dropped(right: Any, self: Any, message: Any, reason: Any) -> None:
        error = part("errors").MailError("config", reason.text)
        self.record(message, dict.fromkeys(message.pending, error), attempted=False, not_before=None)

    wrap(part("queue").Queue, "hold", dropped)


@mutant
def tenants_share_the_global_server() -> None:
    """A tenant's own server is not used."""
    routing = part("routing")
    routing.account_of = lambda settings, tenant: settings.outgoing
    part("outbox").account_of = part("mailer").account_of = routing.account_of


@mutant
def everybody_uses_the_first_tenants_server() -> None:
    """One tenant's server serves all."""
    routing = part("routing")

    def first(settings: Any, tenant: str) -> Any:
        own = [each.outgoing for each in settings.business.tenants.values() if each.outgoing]
        return own[0] if own else settings.outgoing

    routing.account_of = first
    part("outbox").account_of = part("mailer").account_of = first


# --- meetings


@mutant
def invitations_without_method() -> None:
    """The calendar part's Content-Type does not say what it is for."""
    wrap(
        part("mailer"),
        "write_message",
        lambda right, draft: right(draft).replace(b'; method="REQUEST"', b"").replace(b'; method="CANCEL"', b""),
    )


@mutant
def invitations_without_sequence() -> None:
    """A changed meeting keeps its sequence number."""
    part("itip").Meeting.with_sequence = lambda self, sequence: self


@mutant
def cancellation_is_a_request() -> None:
    """A cancelled meeting is sent as a request."""
    wrap(part("mailer"), "write_calendar", lambda right, meeting, method, now: right(meeting, "REQUEST", now))


@mutant
def windows_zones_are_unknown() -> None:
    """The Windows name of a time zone is taken for UTC."""
    from datetime import UTC, datetime

    def utc(right: Any, text: str, zone: str) -> Any:
        return right(text, zone) if "/" in zone else datetime.fromisoformat(text).replace(tzinfo=UTC)

    wrap(part("itip"), "local_time", utc)


@mutant
def invitations_are_always_mailed() -> None:
    """Invitations go out although they are set to never."""
    business_settings(invites=True)


@mutant
def answers_in_the_first_form_only() -> None:
    """Addresses of answers are read from `mailto:` in small letters only."""

    def strict(right: Any, value: str, parameters: Any) -> str:
        return value.removeprefix("mailto:") if value.startswith("mailto:") else ""

    wrap(part("itip"), "_address", strict)
    # Nor does the sender of the mail help.
    part("inbound")._sender = lambda raw: ""


@mutant
def answers_only_as_plain_calendars() -> None:
    """A calendar part counts only where it is encoded in seven bits."""

    def plain(right: Any, message: Any) -> Any:
        parts = [part for part in message.walk() if part.get("Content-Transfer-Encoding", "7bit") != "7bit"]
        return iter(()) if parts else right(message)

    wrap(part("itip"), "_calendars", plain)


@mutant
def answers_are_not_recorded() -> None:
    """An answer is read, and the attendee stays as they were."""
    part("meetings").Meetings._apply = lambda self, db, answer, sender: None


@mutant
def answers_with_wrong_zone() -> None:
    """Times of answers are taken as they stand, whatever their zone."""
    from datetime import UTC

    wrap(
        part("itip"),
        "_moment",
        lambda right, value: value.dt.replace(tzinfo=UTC) if hasattr(getattr(value, "dt", None), "hour") else None,
    )


@mutant
def strangers_answer_for_attendees() -> None:
    """Whoever answers, the first attendee has answered."""

    def anybody(right: Any, self: Any, db: Any, answer: Any, sender: str) -> Any:
        row = db.execute("SELECT address FROM attendees WHERE uid = ?", (answer.uid,)).fetchone()
        return right(self, db, replace(answer, address=row["address"]) if row else answer, sender)

    wrap(part("meetings").Meetings, "_apply", anybody)


@mutant
def outdated_answers_count() -> None:
    """An answer to an earlier version of a meeting counts for the later one."""
    wrap(
        part("meetings").Meetings,
        "_apply",
        lambda right, self, db, answer, sender: right(self, db, replace(answer, sequence=99), sender),
    )


@mutant
def answers_to_unknown_meetings_are_errors() -> None:
    """Any answer is taken for one to the newest meeting."""

    def newest(right: Any, self: Any, db: Any, answer: Any, sender: str) -> Any:
        uid = db.execute("SELECT max(uid) AS uid FROM events").fetchone()["uid"]
        return right(self, db, replace(answer, uid=uid), sender)

    wrap(part("meetings").Meetings, "_apply", newest)


# --- what no person wrote


@mutant
def automatic_replies_are_mail() -> None:
    """Automatic replies are not recognised."""
    part("inbound").automatic_reason = lambda raw: None


@mutant
def automatic_replies_by_field_only() -> None:
    """Only Auto-Submitted marks an automatic reply."""
    import re

    part("autoreply")._SUBJECT = re.compile("(?!)")
    part("autoreply")._BULK = ()


@mutant
def answers_of_people_are_automatic() -> None:
    """Whoever writes about an automatic reply is taken for one, whatever Auto-Submitted says."""
    wrap(part("inbound"), "automatic_reason", lambda right, raw: right(raw.replace(b": no\r\n", b": auto\r\n")))


@mutant
def junk_stops_the_rest() -> None:
    """A message that cannot be read ends the run."""

    def fragile(right: Any, self: Any, message: Any) -> Any:
        kind, facts, act = right(self, message)
        if kind == "junk":
            raise part("errors").MailError("protocol", "cannot be read")
        return kind, facts, act

    wrap(part("inbound").Inbound, "_understood", fragile)


@mutant
def junk_is_thrown_away() -> None:
    """Mail that cannot be read is gone."""

    def gone(right: Any, self: Any, db: Any, message: Any, kind: str, facts: Any) -> None:
        right(self, db, message, kind, facts)
        db.execute("UPDATE incoming SET handed_over = 1 WHERE id = ?", (message.id,))

    wrap(part("inbound").Inbound, "_note", gone)


# --- the queue


@mutant
def queue_forgets_the_servers_words() -> None:
    """The history lacks what the server said."""
    wrap(
        part("queue").Queue,
        "_remember",
        lambda right, self, db, message, address, state, words: right(self, db, message, address, state, state),
    )


@mutant
def edited_address_is_not_used() -> None:
    """An address that was put right is kept for display only."""
    part("queue").Queue.edit_address = lambda self, message, old, new: None


@mutant
def marked_done_is_sent() -> None:
    """What was marked done by hand is sent all the same."""
    part("queue").Queue.mark_done = lambda self, message, address=None: 1


@mutant
def resend_does_nothing() -> None:
    """What is done cannot be sent again."""
    part("queue").Queue.resend = lambda self, message, address=None: 1


@mutant
def urgent_mail_waits_its_turn() -> None:
    """Urgent mail stands in the queue behind what came before it."""

    wrap(
        part("queue").Queue,
        "add_all",
        lambda right, self, messages: right(self, [replace(new, urgent=False) for new in messages]),
    )


@mutant
def known_limits_are_ignored() -> None:
    """A provider's limit is kept only once the provider states it."""
    limits = part("limits")
    limits.known_limits = lambda host: limits.Known()


# --- transcripts


@mutant
def debug_file_is_one_for_all_days() -> None:
    """Transcripts are not dated."""

    def fixed(right: Any, self: Any, path: str, now: Any) -> None:
        right(self, path, now.replace(year=2026, month=1, day=1))

    wrap(part("debugfile").DebugFile, "__init__", fixed)


@mutant
def debug_file_is_not_written() -> None:
    """A transcript is asked for, and none is kept."""
    part("debugfile").DebugFile.__call__ = lambda self, line: None


@mutant
def debug_file_stops_mail() -> None:
    """A transcript that cannot be written stops the mail."""

    def strict(right: Any, self: Any, line: str) -> None:
        right(self, line)
        if self.problem:
            raise part("errors").MailError("config", self.problem)

    wrap(part("debugfile").DebugFile, "__call__", strict)


@mutant
def debug_file_shows_passwords() -> None:
    """The transcript is not redacted."""

    def naked(right: Any, self: Any, line: str, shown: Any = None) -> Any:
        return right(self, line, None)

    wrap(part("smtp").SmtpSession, "command", naked)
    part("debugfile").redactor_of = lambda credentials: part("redaction").Redactor()


@mutant
def forgets_the_words_of_acceptance() -> None:
    """The history says that a message was sent, not what the server said to it."""
    wrap(
        part("queue").Queue,
        "record",
        lambda right, self, message, outcomes, said="", **more: right(self, message, outcomes, **more),
    )


# --- the bounds of incoming mail


@mutant
def fetches_whatever_the_size() -> None:
    """A message is fetched before its size is looked at."""
    part("intake").left_on_server = lambda octets, bounds: None


@mutant
def oversized_mail_stops_the_rest() -> None:
    """A message that is too large ends the run."""

    def left(right: Any, octets: int, bounds: Any) -> Any:
        if reason := right(octets, bounds):
            raise part("errors").MailError("size", reason)

    wrap(part("intake"), "left_on_server", left)


@mutant
def files_what_was_left() -> None:
    """A message that was not fetched counts as read."""

    def leave(right: Any, self: Any, *args: Any) -> Any:
        entry = right(self, *args)
        self.mark([entry], "stored")
        return entry

    wrap(part("ledger").Ledger, "leave", leave)


@mutant
def leaves_oversized_mail_in_silence() -> None:
    """Nobody is told that a message was left on the server."""
    wrap(part("ledger").Ledger, "waiting", lambda right, self: [each for each in right(self) if not each.left])


@mutant
def takes_any_message_apart() -> None:
    """Neither the number nor the size nor the depth of parts is bounded."""
    part("setaside")._excess = lambda raw, bounds: None


@mutant
def throws_away_what_is_beyond_bounds() -> None:
    """A message of too many parts is not kept."""

    def keep(right: Any, self: Any, validity: str, unique_id: str, raw: bytes) -> Any:
        beyond = part("setaside")._excess(raw, self._settings.bounds)
        return right(self, validity, unique_id, b"Subject: \r\n\r\n" if beyond else raw)

    wrap(part("intake")._Intake, "_keep", keep)


# --- what users type


@mutant
def leaves_file_names_to_the_library() -> None:
    """The email package writes file names: it decodes an encoded-word in one, line ends and all."""

    def name(right: Any, message: Any, filename: str) -> None:
        attached = list(message.iter_parts())[-1]
        del attached["Content-Disposition"]
        attached["Content-Disposition"] = f'attachment; filename="{filename}"'

    wrap(part("mime"), "_name", name)


@mutant
def writes_subjects_as_they_are_typed() -> None:
    """A header field is written without a look at its value."""
    wrap(part("mime"), "_unstructured", lambda right, name, value: value)
