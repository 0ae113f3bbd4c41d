"""`mailrig explain`: what a server's error means, who can fix it, and how."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.explain import Explanation

__all__ = ["explain"]

WHO = {
    "sender-settings": "whoever looks after the settings of the sending program",
    "mailbox-owner": "the owner of the mailbox",
    "tenant-admin": "the administrator of the organisation's mail",
    "recipient": "the recipient, or the recipient's administrator",
    "provider-wait": "nobody: it passes with time",
    "network": "whoever looks after the network",
    "client-software": "the makers of the mail program",
}


# No short options: a text may begin with -ERR.
@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("text", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def explain(text: tuple[str, ...], as_json: bool) -> int:
    """Say what a server's error TEXT means (`-`: read it from standard input), who can fix it and how.

    Exit status: 0 it is known, 1 it is not.
    """
    from harness.explain import explain as explained

    words = sys.stdin.buffer.read().decode("utf-8", "replace") if text == ("-",) else " ".join(text)
    if not words.strip():
        raise click.UsageError("the text is empty: paste what the server said")
    found = explained(words)
    if as_json:
        click.echo(json.dumps(found.to_json() if found else {"known": False}, ensure_ascii=False))
    elif found is None:
        click.echo("Nothing is known about this text.")
    else:
        _print(found)
    return 0 if found else 1


def _print(found: Explanation) -> None:
    code = " ".join(str(part) for part in (found.code, found.enhanced) if part)
    known_as = f", known as {found.quirk}" if found.quirk else f", said by {found.provider}" if found.provider else ""
    how = {"exact": "the text is known", "pattern": "a similar text is known", "class": "by its class alone"}
    click.echo(f"{found.category}{f' ({code})' if code else ''}{known_as} - {how[found.confidence]}")
    click.echo(textwrap.fill(found.meaning, 100))
    click.echo(f"\nWho can fix it: {WHO[found.fixed_by]} ({found.fixed_by})")
    for number, step in enumerate(found.steps, 1):
        click.echo(textwrap.fill(step, 100, initial_indent=f"  {number}. ", subsequent_indent="     "))
    if found.source:
        click.echo(f"\nSource: {found.source}")
    if found.scenario:
        click.echo(f"To see it: mailrig run '{found.scenario}'")
