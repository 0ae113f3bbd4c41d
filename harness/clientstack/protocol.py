"""The client command protocol: JSON requests on standard input, one reply line each on standard output.

Start-up is what a harness pays again and again: everything beyond `hello` is imported when it is needed.
"""

from __future__ import annotations

import contextlib
import json
import sys
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from .errors import MailError

__all__ = ["FEATURES", "NAME", "PROTOCOL", "answer", "serve"]

PROTOCOL: Final = 1
NAME: Final = "reference"
FEATURES: Final = (
    "send",
    "queue",
    "rate-limit-memory",
    "fetch",
    "imap",
    "pop3",
    "starttls",
    "implicit-tls",
    "opportunistic-tls",
    "client-cert",
    "crl",
    "auth-plain",
    "auth-login",
    "auth-cram-md5",
    "auth-xoauth2",
    "auth-oauthbearer",
    "auth-scram",
    "auth-external",
    "smtputf8",
    "idle",
    "complete",
    "test-connection",
    "clock",
    "dial",
    "host-comma-port",
    "business-ping",
    "business-test-mail",
    "business-notify",
    "business-alert",
    "business-system-notification",
    "business-support-request",
    "business-error",
    "business-invite",
    "business-cancel",
    "business-apply-replies",
    "business-bounces",
    "business-auto-replies",
    "business-junk",
    "business-debug-files",
    "business-queue",
)


def serve(requests: IO[bytes], replies: IO[bytes]) -> int:
    """Answers requests until the input ends; returns the exit status."""
    for line in iter(requests.readline, b""):
        if not line.strip():
            continue
        # What a reply hands over is the reader's only once it was written: a kill before leaves it for the next one.
        with contextlib.ExitStack() as written:
            written.enter_context(_complaining())
            replies.write(_encoded(_answer_line(line, written)))
            replies.flush()
    return 0


@contextlib.contextmanager
def _complaining() -> Iterator[None]:
    """A disk that fails after the reply cannot change the reply any more."""
    from .errors import MailError

    try:
        yield
    except MailError as error:
        print(error, file=sys.stderr)  # noqa: T201


def _encoded(reply: dict[str, Any]) -> bytes:
    # ASCII only: no reader has to agree with us on an encoding, and no lone surrogate can break a line.
    return json.dumps(reply, separators=(",", ":")).encode("ascii") + b"\n"


def _answer_line(line: bytes, written: contextlib.ExitStack) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        from .errors import MailError

        return _refused({}, MailError("config", "the request is not a JSON object on one line"))
    return _answer(request, written)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request, as good as written. Never raises: what goes wrong is the reply's error."""
    with contextlib.ExitStack() as written:
        return _answer(request, written)


def _answer(request: dict[str, Any], written: contextlib.ExitStack) -> dict[str, Any]:
    """The reply; what may only happen after it was written is left on the stack."""
    if request.get("action") == "hello":
        return {
            "id": request.get("id", 0),
            "protocol": PROTOCOL,
            "name": NAME,
            "version": _version(),
            "features": list(FEATURES),
        }
    from .errors import MailError
    from .settings import secrets_in

    try:
        reply = _act(request, written)
    except MailError as error:
        reply = _refused(request, error)
    except Exception as error:  # noqa: BLE001
        # The last line of defence of a child that must always answer. Only the type goes out: the text of
        # an unforeseen exception may hold anything.
        print(f"internal error: {type(error).__name__}{_where(error)}", file=sys.stderr)  # noqa: T201
        reply = _refused(request, MailError("config", f"internal error: {type(error).__name__}"))
    redact = secrets_in(request.get("settings"))
    return {"id": request.get("id"), **_redacted(reply, redact)}


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    places = []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " at " + " < ".join(reversed(places[-4:])) if places else ""


def _version() -> str:
    from . import __version__

    return __version__


def _redacted(reply: dict[str, Any], redact: Any) -> dict[str, Any]:
    """The reply with secrets masked in every text but message bytes and the caller's own addresses."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: redact(inner) if key in ("text", "detail", "dialogue") and isinstance(inner, str) else walk(inner)
                for key, inner in value.items()
            }
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    return {key: walk(value) for key, value in reply.items()}


# -- actions -------------------------------------------------------------------------


def _act(request: dict[str, Any], written: contextlib.ExitStack) -> dict[str, Any]:
    from .errors import MailError

    actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "send": _send,
        "flush": _flush,
        "fetch": partial(_fetch, written=written),
        "test_outgoing": _test,
        "test_incoming": _test,
        "business": _business,
    }
    action = request.get("action")
    if not isinstance(action, str) or action not in actions:
        raise MailError("config", f"unknown action {action!r}; known: hello, {', '.join(actions)}")
    return actions[action](request)


def _send(request: dict[str, Any]) -> dict[str, Any]:
    from .outbox import Message, Outbox
    from .settings import Settings

    messages = [
        Message(name, sender, recipients, eml) for name, sender, recipients, eml in map(_message, _list(request))
    ]
    settings = Settings.from_json(request.get("settings"))
    with Outbox(settings, _state_dir(request), _now(request), _dial(request)) as outbox:
        return outbox.send(messages).as_json()


def _flush(request: dict[str, Any]) -> dict[str, Any]:
    from .outbox import Outbox
    from .settings import Settings

    settings = Settings.from_json(request.get("settings"))
    with Outbox(settings, _state_dir(request), _now(request), _dial(request)) as outbox:
        return outbox.flush().as_json()


def _fetch(request: dict[str, Any], written: contextlib.ExitStack) -> dict[str, Any]:
    import base64

    from .errors import MailError
    from .mailbox import Mailbox
    from .settings import Settings

    settings = Settings.from_json(request.get("settings"))
    mailbox = written.enter_context(Mailbox(settings, _state_dir(request), _now(request), _dial(request)))
    fetched = written.enter_context(mailbox.handing_over())
    error = fetched.error or (MailError("size", "; ".join(fetched.left)) if fetched.left else None)
    return {
        "messages": [{"eml_base64": base64.b64encode(message.raw).decode("ascii")} for message in fetched.messages],
        "error": error.as_json() if error else None,
    }


def _test(request: dict[str, Any]) -> dict[str, Any]:
    from .checks import check_incoming, check_outgoing
    from .errors import MailError
    from .settings import Settings

    settings = Settings.from_json(request.get("settings"))
    to = request.get("to")
    if to is not None and not isinstance(to, str):
        raise MailError("config", "to has to be an address or null")
    if request["action"] == "test_incoming":
        return check_incoming(settings, _now(request), dial=_dial(request)).as_json()
    return check_outgoing(settings, _state_dir(request), _now(request), to=to, dial=_dial(request)).as_json()


def _business(request: dict[str, Any]) -> dict[str, Any]:
    from .operations import Call, run_operation
    from .section import Section

    arguments = Section("arguments", request.get("arguments") or {})
    call = Call(request.get("settings"), _state_dir(request), _now(request), _dial(request), arguments)
    return run_operation(request.get("operation"), call)


# -- parts of a request ------------------------------------------------------------------


def _list(request: dict[str, Any]) -> list[Any]:
    from .errors import MailError

    messages = request.get("messages")
    if not isinstance(messages, list):
        raise MailError("config", "messages has to be a list")
    return messages


def _message(item: object) -> tuple[str, str | None, tuple[str, ...], bytes]:
    import base64
    import binascii

    from .errors import MailError

    if not isinstance(item, dict):
        raise MailError("config", "a message has to be an object")
    name, sender, to, encoded = item.get("id"), item.get("from"), item.get("to"), item.get("eml_base64")
    if not isinstance(name, str):
        raise MailError("config", "a message's id has to be text")
    if sender is not None and not isinstance(sender, str):
        raise MailError("config", f"message {name}: from has to be an address or null")
    if not isinstance(to, list) or not all(isinstance(address, str) for address in to):
        raise MailError("config", f"message {name}: to has to be a list of addresses")
    try:
        eml = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except (binascii.Error, ValueError):
        eml = None
    if eml is None:
        raise MailError("config", f"message {name}: eml_base64 has to be base64")
    return name, sender, tuple(to), eml


def _state_dir(request: dict[str, Any]) -> str:
    from .errors import MailError

    folder = request.get("state_dir")
    if not isinstance(folder, str) or not folder:
        raise MailError("config", "state_dir has to be a folder")
    return folder


def _now(request: dict[str, Any]) -> datetime:
    from datetime import UTC, datetime

    from .errors import MailError

    text = request.get("now")
    if text is None:
        return datetime.now(UTC)
    try:
        now = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise MailError("config", "now has to be an RFC 3339 time such as 2026-11-22T08:00:00Z") from None
    return now.astimezone(UTC) if now.tzinfo else now.replace(tzinfo=UTC)


def _dial(request: dict[str, Any]) -> dict[str, str]:
    from .errors import MailError

    dial = request.get("dial")
    if dial is None:
        return {}
    if not isinstance(dial, dict) or not all(isinstance(target, str) for target in dial.values()):
        raise MailError("config", "dial has to map host:port to host:port")
    return dial


def _refused(request: dict[str, Any], error: MailError) -> dict[str, Any]:
    """The reply of the action's own shape that says that it could not be done at all."""
    shown = error.as_json()
    action = request.get("action")
    if action in ("send", "flush"):
        return {"results": _refused_results(request, shown, error.outcome), "rate_limited_until": None, "error": shown}
    if action == "fetch":
        return {"messages": [], "error": shown}
    if action in ("test_outgoing", "test_incoming"):
        return {"ok": False, "error": shown, "stages": []}
    if action == "business":
        return {"ok": False, "value": None, "error": shown}
    return {"id": request.get("id"), "error": shown}


def _refused_results(request: dict[str, Any], error: dict[str, Any], outcome: str) -> list[dict[str, Any]]:
    messages = request.get("messages")
    results = []
    for item in messages if isinstance(messages, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            continue
        to = item.get("to")
        addresses = [each for each in to if isinstance(each, str)] if isinstance(to, list) else []
        results.append(
            {
                "message": item["id"],
                "outcome": outcome,
                "error": error,
                "retry_at": None,
                "recipients": {address: {"outcome": outcome, "error": error} for address in addresses},
            }
        )
    return results
