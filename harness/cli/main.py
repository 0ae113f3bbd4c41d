"""The command `mailrig`: finds the subcommand, and turns every mistake of its user into a message and exit status 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("harness.cli.run:run", "Run the conformance suite against a client."),
    "serve": ("harness.cli.serve:serve", "Run one provider's fake servers until interrupted."),
    "list": ("harness.cli.listing:listing", "List scenarios, providers, clients or quirks."),
    "check": ("harness.cli.check:check", "Validate scenario and profile files."),
    "schema": ("harness.cli.schema:schema", "Print the JSON Schema of scenario or profile files."),
    "explain": ("harness.cli.explain:explain", "Say what a server's error means and who can fix it."),
    "reproduce": ("", "Turn a customer's log into a scenario file (not built yet)."),
    "record": ("", "Record a real session as a scenario (not built yet)."),
    "merge": ("harness.cli.merge:merge", "Merge the results of all shards into one."),
    "client": ("harness.clientstack.cli:client", "Use the reference client by hand."),
}
"""Command: where its click object is, imported only when it is used, and a line for the overview."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        home, short = COMMANDS[cmd_name]
        if not home:
            return _unbuilt(cmd_name, short)
        module, _, name = home.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f'did you mean "{near[0]}"? ' if near else ""
            raise click.UsageError(f'unknown command "{args[0]}": {hint}(known: {", ".join(COMMANDS)})', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in COMMANDS.items()])


def _unbuilt(name: str, short: str) -> click.Command:
    def refuse(**_: object) -> None:
        raise click.ClickException(f"`mailrig {name}` is not built yet")

    anything = click.Argument(["anything"], nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(
        name, callback=refuse, params=[anything], help=short, context_settings=settings, add_help_option=False
    )


def _print_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from harness.version import version

        click.echo(f"mailrig {version()}")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print the version."
)
def mailrig() -> None:
    """Proves mail clients against mail servers as they really behave."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. A mistake of the user is a message on standard error and 2."""
    _print_anything()
    try:
        status = mailrig.main(list(sys.argv[1:] if argv is None else argv), prog_name="mailrig", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        return _refuse(_sentence(error.format_message()), error.ctx)
    except click.ClickException as error:
        return _refuse(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return 130
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else _refuse(error.code)
    except BrokenPipeError:
        # The reader (`| head`) has enough; nothing more can be said, not even while the interpreter ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        status = _refuse_file(error)
        if status is None:
            raise
    return status if isinstance(status, int) else 0


def _refuse(message: str, context: click.Context | None = None) -> int:
    click.echo(f"mailrig: {message}", err=True)
    if context is not None:
        click.echo(f"Try '{context.command_path} --help'.", err=True)
    return 2


def _sentence(message: str) -> str:
    """Click's messages in the tone of ours: no capital, no full stop."""
    first, rest = message[:1], message[1:]
    return (first.lower() if rest[:1].islower() else first) + rest.removesuffix(".")


def _refuse_file(error: Exception) -> int | None:
    """A file that cannot be used or written; None for anything else."""
    from fakeservers.yamlfile import FileError
    from harness.reports.atomic import CannotWrite

    if isinstance(error, CannotWrite):
        return _refuse(str(error))
    if not isinstance(error, FileError):
        return None
    for problem in error.all:
        click.echo(str(problem) if problem.line else f"mailrig: {problem}", err=True)
    return 2


def _print_anything() -> None:
    """A character that the terminal's encoding lacks is escaped, never an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and (getattr(stream, "encoding", None) or "").lower().replace("-", "") != "utf8":
            reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
