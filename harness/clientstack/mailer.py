"""Mail that a business product sends: notifications, alerts, support requests, error logs, invitations.

Who it is from, which server it takes and whether it goes at all is decided by the `business` settings; what cannot
be sent is kept in the queue with the reason.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from .business import Business, User
from .errorlog import ErrorMails
from .errors import MailError
from .identity import Identity, identity_of
from .itip import Meeting, write_calendar
from .meetings import Meetings
from .mime import Attachment, Draft, Person, write_message
from .outbox import Message, Outbox, Report, Result
from .queue import Queue
from .queued import NOT_WRITTEN
from .routing import account_of
from .settings import Settings

__all__ = ["Mailer", "Sending"]

_AUTOMATIC: Final = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}


@dataclass(frozen=True)
class Sending:
    """What became of a piece of mail. `outcome` is sent, deferred, failed, or skipped: nobody was to get it.

    `recipients` have the ERROR or the reason by the key that the caller used; `facts` is what else there is to say.
    """

    outcome: str
    error: dict[str, Any] | None
    recipients: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        return self.outcome in ("sent", "skipped")

    def as_json(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "recipients": dict(self.recipients), **self.facts}


@dataclass(frozen=True)
class _Plan:
    """One message to one recipient, or why there is none."""

    key: str
    message: Message | None = None
    skipped: str | None = None


class Mailer:
    """The product's mail. `now` and `dial` as for Outbox."""

    def __init__(
        self, settings: Settings, state_dir: str | Path, now: datetime, dial: Mapping[str, str] | None = None
    ) -> None:
        """Opens the state folder. Raises MailError `config`, or `unsupported` for Graph."""
        self._settings = settings
        self._business = settings.business or Business()
        self._now = now
        self.outbox = Outbox(settings, state_dir, now, dial)
        self.meetings = Meetings(self.outbox.store, now)
        self._errors = ErrorMails(self.outbox.store, now, self._business.error_log)

    def __enter__(self) -> Mailer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self.outbox.close()

    @property
    def queue(self) -> Queue:
        return self.outbox.queue

    # -- to users ----------------------------------------------------------------------

    def notify(
        self,
        to: Sequence[str],
        subject: str,
        text: str,
        *,
        html: str | None = None,
        link: str | None = None,
        kind: str = "notification",
        user: str | None = None,
        tenant: str = "",
        urgent: bool = False,
        attachments: Sequence[Attachment] = (),
        name: str | None = None,
    ) -> Sending:
        """Mails users (by id or address) one message each, as they wish it. `link` is a path of the product; `user`
        is who caused it; `name` makes a repeated request the same one. Urgent mail does not ask for wishes."""
        if link is not None:
            url = self._business.link(link)
            text = f"{text.rstrip()}\n\n{url}\n"
            html = f'{html}<p><a href="{_escaped(url)}">{_escaped(url)}</a></p>' if html is not None else None
        draft = Draft(Person("", ""), (), subject, text, html=html, attachments=tuple(attachments))
        plans = []
        for key in to:
            person = self._business.user(key)
            if not urgent and not person.wants(kind):
                plans.append(_Plan(key, skipped=f"{key} does not want mail of the kind {kind}"))
            else:
                plans.append(self._plan(draft, key, person, kind, self._acting(user), tenant, urgent, name))
        return self._send(plans)

    def support_request(
        self, subject: str, text: str, *, user: str | None = None, tenant: str = "", name: str | None = None
    ) -> Sending:
        """Mails the support address: the tenant's own one where it may have one."""
        support = self._business.support
        own = self._business.tenants.get(tenant) if support.tenant_may_override else None
        address = (own.support_address if own else "") or support.address
        if not address:
            raise MailError("config", "business.support.address is needed for support requests, and none is set")
        files = (self._system_information(),) if support.attach_system_information else ()
        draft = Draft(Person("", ""), (), subject, text, attachments=files)
        acting = self._acting(user)
        return self._send(
            [self._plan(draft, address, User(address, address=address), "support-request", acting, tenant, name=name)]
        )

    def _system_information(self) -> Attachment:
        import platform

        business = self._business
        facts = {
            "Product": business.product,
            "Version": business.version,
            "Licence": business.licence,
            "Platform": business.platform or platform.platform(),
        }
        lines = "".join(f"{name}: {value}\n" for name, value in facts.items() if value)
        return Attachment("system-information.txt", lines.encode(), "text/plain")

    # -- automatic ------------------------------------------------------------------------

    def alert(
        self, to: Sequence[str], subject: str, text: str, *, tenant: str = "", name: str | None = None
    ) -> Sending:
        """Mails an automatic alert, from the alert mailbox, whose bounces go to the mailbox for bounced alerts. An
        alert that fails for good is reported to the system notification mailbox."""
        draft = Draft(Person("", ""), (), subject, text, fields=_AUTOMATIC)
        plans = [self._plan(draft, key, self._business.user(key), "alert", None, tenant, name=name) for key in to]
        sending = self._send(plans)
        failed = {key: each for key, each in sending.recipients.items() if each["outcome"] == "failed"}
        if failed and self._business.system_notification:
            words = "".join(f"{key}: {(each['error'] or {}).get('text')}\n" for key, each in failed.items())
            self.system_notification(
                f"Alert not sent: {subject}", f"This alert could not be sent to\n\n{words}\n{text}"
            )
        return sending

    def system_notification(self, subject: str, text: str, *, name: str | None = None) -> Sending:
        """Mails those who run the system."""
        return self._to_operators(subject, text, "system-notification", name)

    def test_mail(self, to: str | None = None) -> Sending:
        """Mails a test message, to the system notification mailbox where no address is given."""
        text = "This is a test mail. The settings that sent it work.\n"
        return self._to_operators("Test mail", text, "test-mail", None, to)

    def _to_operators(self, subject: str, text: str, kind: str, name: str | None, to: str | None = None) -> Sending:
        address = to or self._business.system_notification
        if not address:
            raise MailError("config", "business.system_notification is needed for this mail, and none is set")
        draft = Draft(Person("", ""), (), subject, text, fields=_AUTOMATIC)
        return self._send([self._plan(draft, address, User(address, address=address), kind, None, "", name=name)])

    def report_error(self, text: str, times: int = 1) -> Sending:
        """Mails an error of the product to its makers; a flood is collected and becomes one digest when its window
        has passed."""
        sendings = [self._send_errors(batch) for batch in self._errors.add(text, times)]
        facts = {"mails": len(sendings), "collected": self._errors.collected}
        if not sendings:
            return Sending("skipped", None, {}, facts)
        worst = next((each for each in sendings if not each.ok), sendings[-1])
        return Sending(worst.outcome, worst.error, worst.recipients, facts)

    def _send_errors(self, batch: Any) -> Sending:
        address = self._business.error_log.to
        if not address:
            raise MailError("config", "business.error_log.to is needed for error mails, and none is set")
        draft = Draft(Person("", ""), (), batch.subject(self._business.product), batch.text, fields=_AUTOMATIC)
        sending = self._send([self._plan(draft, address, User(address, address=address), "error", None, "")])
        self._errors.mailed(batch)
        return sending

    # -- meetings ---------------------------------------------------------------------------

    def invite(self, meeting: Meeting, *, user: str | None = None, tenant: str = "") -> Sending:
        """Keeps a meeting and mails a REQUEST to its attendees. A known meeting gets the next sequence number. Where
        invitations are off nothing is mailed."""
        known = self.meetings.find(meeting.uid)
        if known is not None:
            meeting = meeting.with_sequence(max(meeting.sequence, known.sequence + 1))
        return self._calendar_mail(meeting, "REQUEST", user, tenant)

    def cancel(self, uid: str, *, user: str | None = None, tenant: str = "") -> Sending:
        """Mails a CANCEL to the attendees of a known meeting. Raises MailError `config` for an unknown one."""
        meeting = self.meetings.find(uid)
        if meeting is None:
            raise MailError("config", f"there is no meeting {uid!r}")
        return self._calendar_mail(meeting.with_sequence(meeting.sequence + 1), "CANCEL", user, tenant)

    def organizer(self, user: str | None, tenant: str = "") -> Person:
        """Who organizes meetings: the address whose mail this client reads, so that answers find their way back.
        Raises MailError `config`."""
        identity = self._identity("invitation", self._acting(user), tenant)
        reply_to = self._reply_to(tenant)
        return Person(identity.name, reply_to or identity.address)

    def _calendar_mail(self, meeting: Meeting, method: str, user: str | None, tenant: str) -> Sending:
        facts = {"uid": meeting.uid, "sequence": meeting.sequence}
        self.meetings.keep(meeting, "cancelled" if method == "CANCEL" else "confirmed")
        if not self._business.invites:
            reason = "invitations are set to never: no mail is sent"
            skipped = {person.address: _shown("skipped", None, reason) for person in meeting.attendees}
            return Sending("skipped", None, skipped, {**facts, "reason": reason})
        calendar = write_calendar(meeting, method, self._now)
        subject = f"{'Cancelled' if method == 'CANCEL' else 'Invitation'}: {meeting.summary}"
        when = f"{meeting.start:%Y-%m-%d %H:%M} - {meeting.end:%H:%M} {meeting.start.tzname()}"
        text = "\n".join(filter(None, (meeting.summary, when, meeting.location, "", meeting.description))) + "\n"
        draft = Draft(Person("", ""), (), subject, text, calendar=(method, calendar))
        acting = self._acting(user)
        plans = []
        for who in meeting.attendees:
            person = User(who.address, who.name, address=who.address if "@" in who.address else "")
            plans.append(self._plan(draft, who.address, person, "invitation", acting, tenant))
        sending = self._send(plans)
        return Sending(sending.outcome, sending.error, sending.recipients, facts)

    # -- what waits -----------------------------------------------------------------------------

    def flush(self) -> Report:
        """Tries everything that is pending, and mails a digest of errors that is due."""
        for batch in self._errors.due():
            self._send_errors(batch)
        return self.outbox.flush()

    # -- parts -------------------------------------------------------------------------------------

    def _acting(self, user: str | None) -> User | None:
        return self._business.user(user) if user else None

    def _reply_to(self, tenant: str) -> str:
        account = account_of(self._settings, tenant)
        return (account.reply_to if account else None) or ""

    def _identity(self, kind: str, acting: User | None, tenant: str) -> Identity:
        business, reply_to = self._business, self._reply_to(tenant)
        if kind == "alert" and business.alert_from:
            name = business.product if business.use_display_name else ""
            return Identity(name, business.alert_from, reply_to or business.alert_from)
        found = identity_of(business, reply_to, acting)
        return Identity("", found.address, found.reply_to) if kind == "error" else found

    def _plan(
        self,
        draft: Draft,
        key: str,
        person: User,
        kind: str,
        acting: User | None,
        tenant: str,
        urgent: bool = False,
        name: str | None = None,
    ) -> _Plan:
        """The message to one person; where there is nobody it could be from or go to, one that only keeps the reason.
        Raises MailError `config` for what cannot stand in a message."""
        label = f"{name}:{key}" if name else f"{kind}-{secrets.token_hex(8)}"
        address = person.address or person.id
        try:
            identity = self._identity(kind, acting, tenant)
        except MailError as error:
            eml = _kept(draft)
            return _Plan(key, Message(label, "", (address,), eml, urgent, tenant, kind, {address: error}))
        faults = {}
        if not person.address:
            faults[address] = MailError("config", f"the user {person.id} has no address")
        bounces = self._business.bounced_alerts if kind == "alert" else ""
        eml = write_message(
            Draft(
                Person(identity.name, identity.address),
                (Person(person.name, address),) if person.address else (),
                draft.subject,
                draft.text,
                identity.reply_to,
                draft.html,
                draft.calendar,
                draft.attachments,
                draft.fields,
            )
        )
        message = Message(label, identity.address, (address,), eml, urgent, tenant, kind, faults, bounces or None)
        return _Plan(key, message)

    def _send(self, plans: Iterable[_Plan]) -> Sending:
        plans = list(plans)
        messages = [plan.message for plan in plans if plan.message is not None]
        results = iter(self.outbox.send(messages).results if messages else ())
        recipients: dict[str, dict[str, Any]] = {}
        for plan in plans:
            if plan.message is None:
                recipients[plan.key] = _shown("skipped", None, plan.skipped)
            else:
                recipients[plan.key] = _of_result(next(results))
        outcomes = [each["outcome"] for each in recipients.values()]
        outcome = next((each for each in ("deferred", "failed", "sent") if each in outcomes), "skipped")
        error = next((each["error"] for each in recipients.values() if each["outcome"] == outcome), None)
        return Sending(outcome, error, recipients, {})


def _of_result(result: Result) -> dict[str, Any]:
    error = result.error
    return _shown(result.outcome, error, error["text"] if error else None)


def _shown(outcome: str, error: dict[str, Any] | None, reason: str | None) -> dict[str, Any]:
    return {"outcome": outcome, "error": error, "reason": reason}


def _kept(draft: Draft) -> bytes:
    """What is kept of a message that nothing can be sent of: enough to see what it was."""
    digest = hashlib.sha256(f"{draft.subject}\0{draft.text}".encode("utf-8", "replace")).hexdigest()[:16]
    return NOT_WRITTEN + f"{digest}\r\n\r\n{draft.text}".encode("utf-8", "replace")


def _escaped(text: str) -> str:
    import html

    return html.escape(text)
