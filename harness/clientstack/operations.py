"""The operations of the `business` action: arguments in, a value as JSON out. Thin over Mailer, Inbound and Queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from .errors import MailError
from .section import Section
from .settings import Settings

__all__ = ["OPERATIONS", "Call", "run_operation"]


@dataclass(frozen=True)
class Call:
    """A request: the raw `settings`, where the state is, the clock, and the operation's arguments."""

    settings: Any
    state_dir: str
    now: datetime
    dial: Mapping[str, str]
    arguments: Section

    @property
    def typed(self) -> Settings:
        return Settings.from_json(self.settings)


def run_operation(name: object, call: Call) -> dict[str, Any]:
    """The reply: {"ok", "value", "error"}. Raises MailError for what cannot be done at all."""
    if not isinstance(name, str) or name not in OPERATIONS:
        raise MailError("unsupported", f"the operation {name!r} is not known; known: {', '.join(OPERATIONS)}")
    return OPERATIONS[name](call)


def _reply(value: Any, error: dict[str, Any] | None = None, *, ok: bool | None = None) -> dict[str, Any]:
    return {"ok": error is None if ok is None else ok, "value": value, "error": error}


# -- arguments ---------------------------------------------------------------------------


def _texts(section: Section, key: str) -> list[str]:
    """A list of texts; one text alone is a list of one."""
    value = section.raw(key)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise section.wrong(key, "a text or a list of texts")
    return list(value)


def _required(section: Section, key: str) -> str:
    value = section.text(key)
    if not value:
        raise section.wrong(key, "a text")
    return value


def _optional(section: Section, key: str) -> str | None:
    return section.text(key) or None


def _attachments(section: Section) -> list[Any]:
    import base64
    import binascii

    from .mime import Attachment

    given = section.raw("attachments")
    if given is None:
        return []
    if not isinstance(given, list):
        raise section.wrong("attachments", "a list of {filename, content_base64 or text, content_type}")
    found = []
    for index, each in enumerate(given):
        one = Section(f"{section.name}.attachments[{index}]", each)
        try:
            content = one.text("text").encode() or base64.b64decode(one.text("content_base64"), validate=True)
        except (binascii.Error, ValueError):
            raise one.wrong("content_base64", "base64") from None
        found.append(Attachment(_required(one, "filename"), content, one.text("content_type", "text/plain")))
    return found


# -- sending -------------------------------------------------------------------------------


def _mailer(call: Call) -> Any:
    from .mailer import Mailer

    return Mailer(call.typed, call.state_dir, call.now, call.dial)


def _sent(call: Call, act: Callable[[Any], Any]) -> dict[str, Any]:
    with _mailer(call) as mailer:
        sending = act(mailer)
    return _reply(sending.as_json(), sending.error, ok=sending.ok)


def _notify(call: Call) -> dict[str, Any]:
    given = call.arguments
    return _sent(
        call,
        lambda mailer: mailer.notify(
            _texts(given, "to"),
            given.text("subject"),
            given.text("text"),
            html=_optional(given, "html"),
            link=_optional(given, "link"),
            kind=given.text("kind", "notification"),
            user=_optional(given, "user"),
            tenant=given.text("tenant"),
            urgent=given.flag("urgent", False),
            attachments=_attachments(given),
            name=_optional(given, "name"),
        ),
    )


def _alert(call: Call) -> dict[str, Any]:
    given = call.arguments
    return _sent(
        call,
        lambda mailer: mailer.alert(
            _texts(given, "to"),
            given.text("subject"),
            given.text("text"),
            tenant=given.text("tenant"),
            name=_optional(given, "name"),
        ),
    )


def _system_notification(call: Call) -> dict[str, Any]:
    given = call.arguments
    return _sent(
        call,
        lambda mailer: mailer.system_notification(
            given.text("subject"), given.text("text"), name=_optional(given, "name")
        ),
    )


def _test_mail(call: Call) -> dict[str, Any]:
    return _sent(call, lambda mailer: mailer.test_mail(_optional(call.arguments, "to")))


def _support_request(call: Call) -> dict[str, Any]:
    given = call.arguments
    return _sent(
        call,
        lambda mailer: mailer.support_request(
            given.text("subject"),
            given.text("text"),
            user=_optional(given, "user"),
            tenant=given.text("tenant"),
            name=_optional(given, "name"),
        ),
    )


def _error(call: Call) -> dict[str, Any]:
    given = call.arguments
    return _sent(call, lambda mailer: mailer.report_error(_required(given, "text"), given.count("times", 1)))


# -- meetings ------------------------------------------------------------------------------


def _invite(call: Call) -> dict[str, Any]:
    import secrets

    from .itip import Meeting, local_time
    from .mime import Person

    given = call.arguments
    zone = given.text("time_zone", "UTC")
    start = local_time(_required(given, "start"), zone)
    ends = given.text("end")
    with _mailer(call) as mailer:
        user, tenant = _optional(given, "user"), given.text("tenant")
        business = call.typed.business
        people = []
        for key in _texts(given, "attendees"):
            known = business.user(key) if business else None
            people.append(Person(known.name if known else "", (known.address if known else key) or key))
        meeting = Meeting(
            uid=given.text("uid") or f"{secrets.token_hex(16)}@mailrig",
            sequence=0,
            summary=_required(given, "summary"),
            start=start,
            end=local_time(ends, zone) if ends else start + timedelta(hours=1),
            organizer=mailer.organizer(user, tenant),
            attendees=tuple(people),
            location=given.text("location"),
            description=given.text("description"),
        )
        sending = mailer.invite(meeting, user=user, tenant=tenant)
    return _reply(sending.as_json(), sending.error, ok=sending.ok)


def _cancel(call: Call) -> dict[str, Any]:
    given = call.arguments
    return _sent(
        call,
        lambda mailer: mailer.cancel(
            _required(given, "uid"), user=_optional(given, "user"), tenant=given.text("tenant")
        ),
    )


def _apply_replies(call: Call) -> dict[str, Any]:
    from .inbound import ANSWER, Inbound

    with Inbound(call.typed, call.state_dir, call.now, call.dial) as inbound:
        error = inbound.process()
        value = {
            "replies": inbound.found(ANSWER),
            "attendees": inbound.meetings.answers(_optional(call.arguments, "uid")),
        }
    return _reply(value, error.as_json() if error else None)


# -- what came back --------------------------------------------------------------------------


def _found(name: str, kind: str) -> Callable[[Call], dict[str, Any]]:
    def act(call: Call) -> dict[str, Any]:
        from .inbound import Inbound

        with Inbound(call.typed, call.state_dir, call.now, call.dial) as inbound:
            error = inbound.process()
            value = {name: inbound.found(kind)}
        return _reply(value, error.as_json() if error else None)

    return act


# -- the server and the queue ------------------------------------------------------------------


def _ping(call: Call) -> dict[str, Any]:
    from .checks import ping

    settings = call.typed
    which = call.arguments.choice("which", ("outgoing", "incoming"), "outgoing")
    account = settings.require_incoming() if which == "incoming" else settings.require_outgoing()
    check = ping(account.host, account.port, account.timeout, call.dial)
    seconds = round(sum(stage.seconds for stage in check.stages), 4)
    stages = [stage.stage for stage in check.stages]
    return _reply({"reachable": check.ok, "seconds": seconds, "stages": stages}, _json(check.error))


def _json(error: MailError | None) -> dict[str, Any] | None:
    return error.as_json() if error else None


def _debug_files(call: Call) -> dict[str, Any]:
    """The transcript files, how many of their lines match `find`, and whether they can be written."""
    import re

    from .debugfile import DebugFile, written_lines

    business = Section("business", Section("settings", call.settings).raw("business") or {})
    path = _required(business, "debug_file")
    try:
        pattern = re.compile(call.arguments.text("find", "$"))
        names, lines = written_lines(path, call.state_dir)
    except (re.error, OSError) as error:
        raise MailError("config", f"the debug files cannot be searched: {error}") from None
    problem = DebugFile(str(Path(call.state_dir) / path), call.now).check()
    value = {"files": names, "days": len(names), "matches": sum(map(bool, map(pattern.search, lines)))}
    return _reply(value, MailError("config", problem).as_json() if problem else None)


def _queue(call: Call) -> dict[str, Any]:
    from .queue import Queue
    from .store import Store

    given = call.arguments
    command = given.choice("command", ("list", "history", "resend", "mark-done", "edit-address"), "list")
    with Store(call.state_dir) as store:
        queue = Queue(store, call.now)
        if command == "list":
            state = _optional(given, "state")
            return _reply({"messages": queue.overview(state, given.count("limit", 1000))})
        number = _number(queue, given)
        if command == "history":
            return _reply({"changes": queue.history(number)})
        if command == "edit-address":
            queue.edit_address(number, _required(given, "old"), _required(given, "new"))
            return _reply({"changed": 1})
        change = queue.resend if command == "resend" else queue.mark_done
        return _reply({"changed": change(number, _optional(given, "to"))})


def _number(queue: Any, given: Section) -> int:
    """The message that an argument names: by its number in the queue, or by the id it was sent with."""
    message = given.raw("message")
    if isinstance(message, str):
        found: int | None = queue.find_named(message)
        if found is None:
            raise MailError("config", f"there is no message {message!r} in this queue")
        return found
    if message is None:
        raise given.wrong("message", "a message's number or id")
    return given.count("message", 0)


OPERATIONS: Final[Mapping[str, Callable[[Call], dict[str, Any]]]] = {
    "ping": _ping,
    "test-mail": _test_mail,
    "notify": _notify,
    "alert": _alert,
    "system-notification": _system_notification,
    "support-request": _support_request,
    "error": _error,
    "invite": _invite,
    "cancel": _cancel,
    "apply-replies": _apply_replies,
    "bounces": _found("bounces", "bounce"),
    "auto-replies": _found("messages", "automatic"),
    "junk": _found("messages", "junk"),
    "debug-files": _debug_files,
    "queue": _queue,
}
"""Operation: what does it. Each one is the feature `business-<operation>`."""
