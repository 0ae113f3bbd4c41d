"""`mailrig check`: validates scenario and profile files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fakeservers.yamlfile import FileError

__all__ = ["check"]


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE...]")
def check(files: tuple[Path, ...]) -> int:
    """Validate scenario and profile files, or folders of them (default: all that mailrig brings).

    Each error is a line `file:line:column: message`. Exit status: 0 all are fine, 2 an error.
    """
    chosen = _chosen(files)
    errors = [error for file in chosen for error in _errors(file)]
    for error in errors:
        click.echo(str(error))
    many = f"{len(chosen)} file{'' if len(chosen) == 1 else 's'}"
    if errors:
        wrong = len({error.file for error in errors})
        click.echo(f"mailrig: {len(errors)} error{'' if len(errors) == 1 else 's'} in {wrong} of {many}", err=True)
        return 2
    click.echo(f"{many} {'is' if len(chosen) == 1 else 'are'} fine")
    return 0


def _chosen(files: Sequence[Path]) -> list[Path]:
    from fakeservers.profile import PROFILES
    from harness.casefile import scenario_files, shipped_folder

    if not files:
        return [*scenario_files(shipped_folder()), *scenario_files(PROFILES)]
    chosen: dict[Path, None] = {}
    for file in files:
        if os.path.isdir(file):  # Path.is_dir raises for what cannot be looked at
            found = sorted(path for path in file.rglob("*") if path.suffix in (".yaml", ".yml") and path.is_file())
            if not found:
                raise click.UsageError(f"no files *.yaml in the folder {file}")
            chosen |= dict.fromkeys(found)
        else:
            chosen[file] = None
    return list(chosen)


def _errors(file: Path) -> Iterator[FileError]:
    from fakeservers.yamlfile import FileError

    try:
        yield from _profile_errors(file) if _is_profile(file) else _scenario_errors(file)
    except FileError as error:
        yield from error.all


def _is_profile(file: Path) -> bool:
    from fakeservers.profile import PROFILES
    from fakeservers.yamlfile import load_text, parse

    data = parse(load_text(file), str(file))
    if file.resolve().parent == PROFILES.resolve():
        return True
    return isinstance(data, dict) and "services" in data and "steps" not in data


def _scenario_errors(file: Path) -> Iterator[FileError]:
    from harness.casefile import load_cases
    from harness.scenariocheck import problems

    seen: set[str] = set()
    for case in load_cases(file):
        for problem in problems(case):
            if str(problem) not in seen:  # the cases of a matrix share their mistakes
                seen.add(str(problem))
                yield problem


def _profile_errors(file: Path) -> Iterator[FileError]:
    from fakeservers.profile import Profile
    from fakeservers.yamlfile import load_model, load_text
    from harness.scenariocheck import located, profile_problems

    profile = load_model(file, Profile)
    text = ""
    for where, message in profile_problems(profile):
        text = text or load_text(file)
        yield located(str(file), text, where, message)
    if profile.name != file.stem:
        message = f'the file of the profile "{profile.name}" has to be called {profile.name}.yaml'
        yield located(str(file), load_text(file), ["name"], message)
