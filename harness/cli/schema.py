"""`mailrig schema`: the JSON Schema of scenario or profile files."""

from __future__ import annotations

import json

import click

__all__ = ["schema"]


@click.command()
@click.argument("kind", type=click.Choice(["scenario", "profile"]), metavar="scenario|profile")
def schema(kind: str) -> None:
    """Print the JSON Schema of scenario or profile files, for editors that complete and check them."""
    from harness.schema import schema as made

    click.echo(json.dumps(made(kind), indent=2))
