"""`mailrig list`: what there is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fakeservers.profile import ImapProfile, Pop3Profile

__all__ = ["listing"]

Rows = list[dict[str, Any]]


@click.command("list")
@click.argument(
    "what",
    type=click.Choice(["scenarios", "providers", "clients", "quirks"]),
    metavar="scenarios|providers|clients|quirks",
)
@click.option("--coverage", is_flag=True, help="With scenarios: each row of the client stack, and what proves it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def listing(what: str, coverage: bool, as_json: bool) -> int:
    """List scenarios, providers, clients or quirks."""
    broken: list[Exception] = []
    if coverage and what != "scenarios":
        raise click.UsageError("--coverage goes with scenarios")
    if coverage:
        return _coverage(as_json)
    rows = {"scenarios": _scenarios, "providers": _providers, "clients": _clients, "quirks": _quirks}[what](broken)
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif what == "providers":
        for row in rows:
            _print_provider(row)
    else:
        _print_table(rows, _COLUMNS[what])
    for error in broken:
        click.echo(str(error), err=True)
    return 2 if broken else 0


_COLUMNS = {
    "scenarios": ("id", "title", "tags", "covers"),
    "clients": ("name", "about"),
    "quirks": ("quirk", "title", "category", "fixed_by", "confidence"),
}


def _scenarios(broken: list[Exception]) -> Rows:
    from fakeservers.yamlfile import FileError
    from harness.casefile import load_cases, scenario_files, shipped_folder

    rows: Rows = []
    for file in scenario_files(shipped_folder()):
        try:
            cases = load_cases(file)
        except FileError as error:
            broken += error.all
            continue
        for case in cases:
            one = case.scenario
            row = {"id": case.id, "title": one.title, "provider": one.provider, "tags": one.tags, "covers": one.covers}
            rows.append({**row, "file": case.shown})
    return rows


def _profiles(broken: list[Exception]) -> list[Any]:
    from fakeservers.profile import load_profile, profile_names
    from fakeservers.yamlfile import FileError

    loaded = []
    for name in profile_names():
        try:
            loaded.append(load_profile(name))
        except FileError as error:
            broken += error.all
    return loaded


def _providers(broken: list[Exception]) -> Rows:
    from fakeservers.profile import SERVICES

    rows: Rows = []
    for profile in _profiles(broken):
        services = {
            name: {"host": service.host, "port": service.port, "protocol": SERVICES[name][0]}
            for name, service in profile.services.items()
        }
        protocols = {SERVICES[name][0] for name in profile.services}
        offered = {
            "smtp": {"ehlo": profile.smtp.ehlo, "mechanisms": profile.smtp.mechanisms},
            "imap": _in_each_state(profile.imap),
            "pop3": _in_each_state(profile.pop3),
        }
        rows.append(
            {
                "name": profile.name,
                "title": profile.title,
                "about": profile.about,
                "services": services,
                "advertised": {name: offer for name, offer in offered.items() if name in protocols},
                "unimplemented": profile.unimplemented,
                "quirks": len(profile.quirks),
            }
        )
    return rows


def _quirks(broken: list[Exception]) -> Rows:
    return [
        {
            "quirk": f"{profile.name}/{name}",
            "title": quirk.title,
            "category": quirk.category,
            "fixed_by": quirk.fixed_by,
            "confidence": quirk.confidence,
            "source": quirk.source,
        }
        for profile in _profiles(broken)
        for name, quirk in profile.quirks.items()
    ]


def _clients(broken: list[Exception]) -> Rows:
    from harness.drivers import client_names

    return [{"name": name, "about": about} for name, about in client_names().items()]


def _coverage(as_json: bool) -> int:
    from harness.coverage import ROWS, coverage

    found, broken = coverage()
    if as_json:
        rows = {row: {"about": ROWS[row], "scenarios": found[row]} for row in ROWS}
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for row, about in ROWS.items():
            click.echo(f"{row}: {about}")
            for scenario, mutants in found[row].items():
                click.echo(f"    {scenario}: {', '.join(mutants) or 'no mutant'}")
            if not found[row]:
                click.echo("    no scenario")
    for error in broken:
        click.echo(str(error), err=True)
    return 2 if broken else 0


# --- printing


def _print_table(rows: Rows, columns: Sequence[str]) -> None:
    """Columns of the width of their longest cell; the lines are not wrapped, so that they can be searched."""
    table = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = (
        [max(map(len, (name, *column))) for name, column in zip(columns, zip(*table, strict=True), strict=True)]
        if table
        else []
    )
    for cells in [list(columns), *table] if table else []:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        click.echo(line.rstrip())


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)


def _in_each_state(part: ImapProfile | Pop3Profile) -> dict[str, list[str]]:
    """What is advertised before TLS, under TLS and after login, where these differ."""
    states = {name: getattr(part, name) for name in ("capabilities", "capabilities_tls", "capabilities_login")}
    return {name: words for name, words in states.items() if words is not None} | {"mechanisms": part.mechanisms}


def _print_provider(row: dict[str, Any]) -> None:
    click.echo(f"{row['name']}: {row['title']}")
    for name, service in row["services"].items():
        click.echo(f"  {name:<11} {service['host']}:{service['port']}")
    for protocol, offer in row["advertised"].items():
        for what, words in offer.items():
            click.echo(f"  {protocol} {what}: {', '.join(words)}")
    if row["unimplemented"]:
        click.echo(f"  advertised, but not built here: {', '.join(row['unimplemented'])}")
    click.echo(f"  quirks: {row['quirks']}\n")
