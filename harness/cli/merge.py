"""`mailrig merge`: the results of all shards as one."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["merge"]

SHOWN = 20


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="JSON...")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the results file.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the HTML report.")
@click.option("-q", "--quiet", is_flag=True, help="Only failures and the last line.")
def merge(
    files: tuple[Path, ...], json_file: Path | None, junit_file: Path | None, html_file: Path | None, quiet: bool
) -> int:
    """Merge the results files of all shards into one, and report on it as `run` does.

    Exit status: as `run`; 2 when a selected case is missing or stands twice.
    """
    from harness.reports import jsonfile, junit
    from harness.reports.atomic import check_writable
    from harness.reports.merging import merge as merged_of
    from harness.reports.text import TextReport, make_console
    from harness.results import exit_status

    if html_file is not None:
        raise click.UsageError("--html is not built yet: use --json or --junit")
    check_writable(json_file, junit_file)
    records = []
    for file in files:
        try:
            records.append(jsonfile.read(file))
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"{file} cannot be read: {error.strerror or error}") from None
    record, wrong = merged_of(records)
    if json_file is not None:
        jsonfile.write(json_file, record)
    if junit_file is not None:
        junit.write(junit_file, record)
    status = 2 if wrong else exit_status(record.results)
    report = TextReport(make_console(), len(record.results), quiet)
    report.finish(record.results, record.seconds, False, status)
    for message in wrong[:SHOWN]:
        click.echo(f"mailrig: {message}", err=True)
    if len(wrong) > SHOWN:
        click.echo(f"mailrig: and {len(wrong) - SHOWN} more", err=True)
    return status
