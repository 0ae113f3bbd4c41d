"""`mailrig serve`: one provider's fake servers in the foreground."""

from __future__ import annotations

import errno
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fakeservers.host import FakeMailHost
    from fakeservers.rules import Rule
    from fakeservers.transcript import Entry

__all__ = ["serve"]


def _port(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    ports: dict[str, int] = {}
    for value in values:
        service, _, number = value.partition("=")
        if not (number.isascii() and number.isdigit() and int(number) <= 65535):
            raise click.BadParameter(f"{value!r} is not SERVICE=N, e.g. submission=2587")
        if service in ports:
            raise click.BadParameter(f"{service} is given twice")
        ports[service] = int(number)
    return ports


def _user(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    users: dict[str, str] = {}
    for value in values:
        address, _, password = value.partition(":")
        if not (address and password):
            shown = f"{address!r} has no password" if address else "the address is empty"
            raise click.BadParameter(f"{shown}: write ADDRESS:PASSWORD, e.g. alice@example.test:secret")
        users[address] = password
    return users


@click.command()
@click.argument("provider", default="generic")
@click.option(
    "--endpoints", type=click.Path(path_type=Path), metavar="FILE", help="Write ports, users and CA file here."
)
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Listen here (default: 127.0.0.1).")
@click.option(
    "--port", "ports", multiple=True, callback=_port, metavar="SERVICE=N", help="A fixed port (default: free)."
)
@click.option("--user", "users", multiple=True, callback=_user, metavar="ADDRESS:PASSWORD", help="An account.")
@click.option("--quirk", "quirks", multiple=True, metavar="NAME", help="Turn a quirk of the provider on.")
@click.option("--rules", "rules_file", type=click.Path(path_type=Path), metavar="FILE", help="YAML with `rules:`.")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Keep mail between runs.")
@click.option("--no-ui", is_flag=True, help="No web page.")
@click.option("-v", "--verbose", is_flag=True, help="Print the dialogue as it goes, secrets masked.")
def serve(
    provider: str,
    endpoints: Path | None,
    host: str,
    ports: dict[str, int],
    users: dict[str, str],
    quirks: tuple[str, ...],
    rules_file: Path | None,
    data: Path | None,
    no_ui: bool,
    verbose: bool,
) -> int:
    """Run one provider's fake servers (default: generic) until SIGINT or SIGTERM.

    `mailrig list providers` and `mailrig list quirks` show what there is.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if endpoints is not None:
        _prepare(endpoints)
    fake = _host(provider, host, ports, users, quirks, rules_file)
    with _kept(data, fake) as save:
        try:
            fake.start()
        except OSError as error:
            hint = " (choose another with --port, or leave it out)" if error.errno == errno.EADDRINUSE else ""
            raise click.ClickException(f"{error.strerror or error}{hint}") from None
        try:
            if verbose:
                fake.transcript.watchers.append(_say)
            if endpoints is not None:
                from harness.reports.atomic import write_whole

                write_whole(endpoints, json.dumps(fake.endpoints(), indent=1) + "\n")
            _print(fake, quirks)
            while not stop.wait(0.5):
                save()
        finally:
            if endpoints is not None:
                endpoints.unlink(missing_ok=True)
            fake.stop()
    return 0


@contextmanager
def _kept(folder: Path | None, fake: FakeMailHost) -> Iterator[Callable[[], None]]:
    """Puts the folder's mail into the mailboxes; gives what saves it while the host runs; saves it at the end."""
    if folder is None:
        yield lambda: None
        return
    from fakeservers.maildata import MailData, MailDataError

    try:
        with MailData(folder) as data:
            data.load(fake.store)
            yield lambda: data.save(fake.call(lambda: data.snapshot(fake.store)))
            data.save(data.snapshot(fake.store))
    except MailDataError as error:
        raise click.ClickException(f"--data: {error}") from None


def _prepare(endpoints: Path) -> None:
    """Nobody may take an old file for this run's."""
    from harness.reports.atomic import CannotWrite, check_writable

    check_writable(endpoints)
    try:
        endpoints.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot delete {endpoints}: {error.strerror or error}") from None


def _host(
    provider: str,
    host: str,
    ports: dict[str, int],
    users: dict[str, str],
    quirks: tuple[str, ...],
    rules_file: Path | None,
) -> FakeMailHost:
    from fakeservers.host import FakeMailHost
    from fakeservers.nearest import unknown
    from fakeservers.profile import load_profile

    profile = load_profile(provider)
    for service in ports:
        if service in ("http", "https"):
            raise click.UsageError(f"--port {service}: that service is not built yet")
        if service not in profile.services:
            raise click.UsageError(f"--port: {unknown(f'service of {profile.name}', service, profile.services)}")
    rules: list[Rule] = []
    if rules_file is not None:
        from harness.rulesfile import load_rules

        rules = load_rules(rules_file, profile)
    try:
        return FakeMailHost(profile, users=users or None, quirks=quirks, rules=rules, host=host, ports=ports)
    except ValueError as error:
        raise click.UsageError(f"--quirk: {error}") from None


def _print(fake: FakeMailHost, quirks: tuple[str, ...]) -> None:
    facts: dict[str, Any] = fake.endpoints()
    click.echo(f"{facts['provider']}: {fake.profile.title}")
    for service, port in facts["ports"].items():
        click.echo(f"  {service:<11} {facts['host']}:{port}")
    for user in facts["users"]:
        click.echo(f"  {'user':<11} {user['username']}  password {user['password']}")
    click.echo(f"  {'CA file':<11} {facts['ca_file']}")
    if quirks:
        click.echo(f"  {'quirks':<11} {', '.join(quirks)}")
    click.echo("Ctrl-C ends it.")
    sys.stdout.flush()


def _say(entry: Entry) -> None:
    rule = f"  (rule {entry.rule})" if entry.rule else ""
    line = f"{entry.connection} {entry.service} {entry.tls or 'clear'} {entry.direction}: {entry.text}{rule}"
    with suppress(OSError, ValueError):  # nobody listens any more; the servers go on
        click.echo(line)
