"""`mailrig client ...`: the client stack at the command line. Thin: each command calls one public function."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click

from .errors import MailError

if TYPE_CHECKING:
    from .checks import Check
    from .outbox import Outbox, Report
    from .queue import Queue
    from .settings import Settings

__all__ = ["client"]

P = ParamSpec("P")


class _Context:
    """What the options common to all commands say."""

    def __init__(self, settings_file: str | None, state_dir: str, as_json: bool) -> None:
        self._settings_file = settings_file
        self.state_dir = Path(state_dir)
        self.as_json = as_json
        self.now = datetime.now(UTC)

    @property
    def settings(self) -> Settings:
        from .settingsfile import load_settings

        return load_settings(self._settings_file)

    def outbox(self) -> Outbox:
        from .outbox import Outbox

        return Outbox(self.settings, self.state_dir, self.now)

    def show(self, value: Any, lines: list[str]) -> None:
        click.echo(json.dumps(value, ensure_ascii=False, indent=2) if self.as_json else "\n".join(lines))


def _options(command: Callable[Concatenate[_Context, P], int]) -> Callable[..., None]:
    """The common options; errors of the user or the server as words; the returned status as exit status."""

    @click.option(
        "--settings",
        "settings_file",
        metavar="FILE",
        help="TOML or JSON file with the account; without it the variables MAILRIG_CLIENT_*.",
    )
    @click.option(
        "--state-dir",
        default="mailrig-client",
        show_default=True,
        metavar="DIR",
        help="Where queue and ledger are kept.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @wraps(command)
    def run(settings_file: str | None, state_dir: str, as_json: bool, *args: P.args, **kwargs: P.kwargs) -> None:
        context = _Context(settings_file, state_dir, as_json)
        try:
            status = command(context, *args, **kwargs)
        except MailError as error:
            context.show({"error": error.as_json(), "diagnosis": asdict(_diagnosis(error))}, _explained(error))
            sys.exit(2 if error.category == "config" else 1)
        sys.exit(status)

    return run


def _diagnosis(error: MailError) -> Any:
    from .diagnosis import diagnose

    return diagnose(error)


def _explained(error: MailError) -> list[str]:
    diagnosis = _diagnosis(error)
    return [
        f"error: {error}",
        f"cause: {diagnosis.cause}",
        f"who can fix it: {diagnosis.fixed_by}",
        f"next step: {diagnosis.next_step}",
    ]


@click.group()
def client() -> None:
    """Send and read mail with the reference client."""


# -- tests -----------------------------------------------------------------------------


@client.command("test-outgoing")
@click.option("--to", metavar="ADDRESS", help="Send a test mail there; without it only log in.")
@_options
def test_outgoing(context: _Context, to: str | None) -> int:
    """Test the outgoing account, stage by stage."""
    from .checks import check_outgoing

    return _show_check(context, check_outgoing(context.settings, context.state_dir, context.now, to=to))


@client.command("test-incoming")
@_options
def test_incoming(context: _Context) -> int:
    """Check the incoming account; everything stays as it was."""
    from .checks import check_incoming

    return _show_check(context, check_incoming(context.settings, context.now))


@client.command("ping")
@click.option("--incoming", is_flag=True, help="The incoming server instead of the outgoing one.")
@_options
def ping_command(context: _Context, incoming: bool) -> int:
    """Open a TCP connection to the server and nothing more."""
    from .checks import ping

    settings = context.settings
    account = settings.require_incoming() if incoming else settings.require_outgoing()
    return _show_check(context, ping(account.host, account.port, account.timeout))


def _show_check(context: _Context, check: Check) -> int:
    lines = [
        f"{'ok  ' if stage.ok else 'FAIL'} {stage.stage:<10} {stage.seconds:7.3f} s  {stage.detail}".rstrip()
        for stage in check.stages
    ]
    value = check.as_json()
    if check.error is not None:
        value["diagnosis"] = asdict(_diagnosis(check.error))
        lines += ["", *_explained(check.error)]
        if check.dialogue:
            lines += ["", *check.dialogue]
    context.show(value, lines)
    return 0 if check.ok else 1


# -- sending ---------------------------------------------------------------------------


@client.command("send")
@click.option("--from", "sender", metavar="ADDRESS", help="Envelope sender; default: the settings' address.")
@click.option("--to", "recipients", multiple=True, required=True, metavar="ADDRESS", help="Repeatable.")
@click.option("--urgent", is_flag=True, help="Before everything that waits.")
@click.argument("message", type=click.File("rb"))
@_options
def send(context: _Context, sender: str | None, recipients: tuple[str, ...], urgent: bool, message: Any) -> int:
    """Queue a message file (- for standard input) and try to send it."""
    from .outbox import Message

    with context.outbox() as outbox:
        report = outbox.send([Message(Path(message.name).name, sender, recipients, message.read(), urgent)])
    return _show_report(context, report)


@client.command("flush")
@_options
def flush(context: _Context) -> int:
    """Try all queued mail now; a rate limit still holds."""
    settings = context.settings
    if settings.business is None:
        with context.outbox() as outbox:
            return _show_report(context, outbox.flush())
    from .mailer import Mailer

    with Mailer(settings, context.state_dir, context.now) as mailer:
        return _show_report(context, mailer.flush())


def _show_report(context: _Context, report: Report) -> int:
    value = report.as_json()
    lines = []
    for result in value["results"]:
        for address, each in result["recipients"].items():
            words = f": {each['error']['category']}: {each['error']['text']}" if each["error"] else ""
            lines.append(f"{each['outcome']:<9} {result['message']} to {address}{words}")
    if value["rate_limited_until"]:
        lines.append(f"rate limited until {value['rate_limited_until']}")
    context.show(value, lines or ["nothing to send"])
    return 0 if all(result["outcome"] == "sent" for result in value["results"]) else 1


# -- reading ---------------------------------------------------------------------------


@client.command("fetch")
@click.option("--into", default=".", show_default=True, metavar="DIR", help="Folder for the message files.")
@_options
def fetch(context: _Context, into: str) -> int:
    """Read new mail into files, each message once."""
    from .mailbox import Mailbox

    folder = Path(into)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MailError("config", f"the folder {folder} cannot be used: {error.strerror}") from None
    names = []
    with Mailbox(context.settings, context.state_dir, context.now) as mailbox, mailbox.handing_over() as fetched:
        for number, message in enumerate(fetched.messages, 1):
            path = folder / f"{context.now:%Y%m%dT%H%M%S%f}-{number:04}{'.junk' if message.junk else '.eml'}"
            try:
                path.write_bytes(message.raw)
            except OSError as error:
                raise MailError("config", f"the file {path} cannot be written: {error.strerror}") from None
            names.append(str(path))
    problem = fetched.error
    value = {"messages": names, "left_on_server": fetched.left, "error": problem.as_json() if problem else None}
    context.show(value, [*names, *fetched.left, *(_explained(problem) if problem else [])] or ["no new mail"])
    return 1 if problem else 0


# -- the queue -------------------------------------------------------------------------


@client.group("queue")
def queue() -> None:
    """Look at the queue and change it."""


@queue.command("list")
@click.option("--state", type=click.Choice(["not-done", "in-doubt", "done", "in-error"]))
@_options
def queue_list(context: _Context, state: str | None) -> int:
    """List recipients, the newest message first."""
    from .store import timestamp

    with context.outbox() as outbox:
        rows = outbox.queue.overview(state)
        limited = timestamp(outbox.rate_limited_until)
    lines = [
        f"{row['id']:>6} {row['state']:<8} {row['message']} to {row['to']}"
        + (f": {row['error']['category']}: {row['error']['text']}" if row["error"] else "")
        for row in rows
    ]
    if limited:
        lines.append(f"rate limited until {limited}")
    context.show(rows, lines or ["the queue is empty"])
    return 0


@queue.command("history")
@click.argument("message", type=int)
@_options
def queue_history(context: _Context, message: int) -> int:
    """Show what happened to a message, with the server's words."""
    with context.outbox() as outbox:
        changes = outbox.queue.history(message)
    lines = [f"{change['at']} {change['to']} {change['state']}: {change['words']}" for change in changes]
    context.show(changes, lines or [f"there is no message {message} in this queue"])
    return 0 if changes else 1


def _changing(command: Callable[..., int]) -> Callable[..., None]:
    """A command on a message's recipients, or on one of them."""
    only = click.option("--to", metavar="ADDRESS", help="Only this recipient, even if it is done.")
    return click.argument("message", type=int)(only(_options(command)))


@queue.command("resend")
@_changing
def queue_resend(context: _Context, message: int, to: str | None) -> int:
    """Make a message's recipients not done again; flush sends them."""
    return _show_change(context, lambda queue: queue.resend(message, to), "will be sent to again")


@queue.command("mark-done")
@_changing
def queue_mark_done(context: _Context, message: int, to: str | None) -> int:
    """Take a message's recipients as done without sending."""
    return _show_change(context, lambda queue: queue.mark_done(message, to), "are done")


def _show_change(context: _Context, change: Callable[[Queue], int], words: str) -> int:
    with context.outbox() as outbox:
        count = change(outbox.queue)
    context.show({"changed": count}, [f"{count} recipients {words}"])
    return 0


@queue.command("edit-address")
@click.argument("message", type=int)
@click.argument("old")
@click.argument("new")
@_options
def queue_edit_address(context: _Context, message: int, old: str, new: str) -> int:
    """Replace a recipient's address; flush sends to the new one."""
    with context.outbox() as outbox:
        outbox.queue.edit_address(message, old, new)
    context.show({"changed": 1}, [f"message {message} goes to {new} instead of {old}"])
    return 0
