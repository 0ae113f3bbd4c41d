"""`mailrig run`: the conformance suite against a client."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.reports.record import RunRecord
    from harness.selection import Selection

__all__ = ["run"]

HELLO = '{"id": 0, "action": "hello"}'
WORTH_WORKERS = 60
"""So many cases take longer than it takes to start worker processes."""


def _shard(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    index, slash, count = value.partition("/")
    if not (slash and index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise click.BadParameter(f"{value!r} is not I/N with 1 <= I <= N, e.g. 2/4")
    return int(index), int(count)


def _workers(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and value != "auto" and not value.isdigit():
        raise click.BadParameter(f"{value!r} is neither a number nor auto")
    return value


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO...]")
@click.option("--client", "clients", multiple=True, metavar="NAME", help="Client under test (default: reference).")
@click.option("--client-command", metavar="CMD", help="Any program that speaks the client command protocol.")
@click.option("--provider", "providers", multiple=True, metavar="NAME", help="Only scenarios of this provider.")
@click.option(
    "-k", "expression", metavar="EXPR", help="Only ids, tags and providers that match, e.g. 'limit and not imap'."
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only scenarios with this tag.")
@click.option(
    "-n",
    "workers",
    callback=_workers,
    metavar="WORKERS|auto",
    help="Worker processes (default: by the number of cases).",
)
@click.option("--shard", callback=_shard, metavar="I/N", help="The Ith of N parts of the suite.")
@click.option("--times", type=click.Path(path_type=Path), metavar="FILE", help="Results file that balances the shards.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the results file.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the HTML report.")
@click.option("--seed", type=int, metavar="N", help="Makes a run repeatable (default: a new one, shown).")
@click.option("-q", "--quiet", is_flag=True, help="Only failures and the last line.")
def run(
    scenarios: tuple[str, ...],
    clients: tuple[str, ...],
    client_command: str | None,
    providers: tuple[str, ...],
    expression: str | None,
    tags: tuple[str, ...],
    workers: str | None,
    shard: tuple[int, int] | None,
    times: Path | None,
    json_file: Path | None,
    junit_file: Path | None,
    html_file: Path | None,
    seed: int | None,
    quiet: bool,
) -> None:
    """Run scenarios (ids, files or folders; default: all that are shipped) against a client.

    Exit status: 0 all passed or skipped and at least one passed, 1 a failure, an error or none passed, 2 bad usage.
    """
    from harness.drivers import check_client
    from harness.scenariocheck import problems
    from harness.selection import SelectionError, read_times, select

    if html_file is not None:
        raise click.UsageError("--html is not built yet: use --json or --junit")
    if client_command is not None and clients:
        raise click.UsageError("--client and --client-command exclude each other")
    names = list(dict.fromkeys(clients)) or ["reference"]
    for name in names:
        try:
            check_client(name, client_command)
        except ValueError as error:
            hint = "--client" if client_command is None else "--client-command"
            raise click.BadParameter(str(error), param_hint=hint) from None
    try:
        selection = select(
            scenarios,
            providers=providers,
            tags=tags,
            expression=expression,
            shard=shard,
            times=read_times(times) if times else None,
        )
    except SelectionError as error:
        raise click.UsageError(str(error)) from None
    broken = selection.broken + [problem for case in selection.cases for problem in problems(case)]
    if broken:
        for problem in dict.fromkeys(map(str, broken)):  # the cases of a matrix share their mistakes
            click.echo(problem, err=True)
        raise SystemExit(2)
    if not selection.ids:
        raise click.UsageError("nothing is selected: no scenario meets all conditions")
    _run(selection, names, client_command, workers, shard, seed, quiet, json_file, junit_file)


def _run(
    selection: Selection,
    names: list[str],
    command: str | None,
    workers: str | None,
    shard: tuple[int, int] | None,
    seed: int | None,
    quiet: bool,
    json_file: Path | None,
    junit_file: Path | None,
) -> None:
    from harness.drivers import ClientPool

    total = len(selection.cases) * len(names)
    if workers is None:
        # One more than there are cores: a case that waits for a stalled server leaves its core idle.
        workers = str((os.cpu_count() or 1) + 1) if total >= WORTH_WORKERS else "0"
    pool = ClientPool(command)
    if workers == "0":
        pool.open_ahead(names[0])

    from harness.collector import RunFacts, by_file
    from harness.reports.atomic import check_writable
    from harness.reports.record import RunRecord as Record
    from harness.reports.text import TextReport, make_console
    from harness.results import Result, exit_status
    from harness.session import run_cases

    check_writable(json_file, junit_file)
    began = time.time()
    seed = SystemRandom().randrange(1_000_000) if seed is None else seed
    facts = RunFacts(names, command, seed, float(int(began)), by_file(selection.cases))
    report = TextReport(make_console(), total, quiet)
    report.start(total, [command] if command else names, seed, workers)
    done = 0

    def on_result(result: Result) -> None:
        nonlocal done
        done += 1
        report.result(result, done)

    outcome = run_cases(selection.cases, facts, pool, workers=workers, on_result=on_result)
    seconds = time.time() - began
    order = {name: index for index, name in enumerate(selection.ids)}
    outcome.results.sort(key=lambda result: order.get(result.id, 0))
    status = exit_status(outcome.results) if outcome.signal is None else 128 + outcome.signal
    if outcome.unusable is None:
        report.finish(outcome.results, seconds, outcome.signal is not None, status)
    else:
        report.close()
    record = Record(
        mailrig=_version(),
        seed=seed,
        started=datetime.fromtimestamp(int(began), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(seconds, 3),
        interrupted=outcome.signal is not None,
        shard=f"{shard[0]}/{shard[1]}" if shard else None,
        selected=selection.ids,
        results=outcome.results,
    )
    _write(record, json_file, junit_file)
    if outcome.unusable is not None:
        click.echo(f"mailrig: {_no_client(outcome.unusable, command)}", err=True)
    sys.exit(status)


def _no_client(why: str, command: str | None) -> str:
    if command is None:
        return why
    hint = f"""no scenario was run; see what it answers to the first request: echo '{HELLO}' | {command}"""
    return f"--client-command: {why}\n{hint}"


def _write(record: RunRecord, json_file: Path | None, junit_file: Path | None) -> None:
    if json_file is not None:
        from harness.reports import jsonfile

        jsonfile.write(json_file, record)
    if junit_file is not None:
        from harness.reports import junit

        junit.write(junit_file, record)


def _version() -> str:
    from importlib.metadata import version

    return version("mailrig")
