"""Transcript files, one a day, redacted. A file that cannot be written never stops mail."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Final

from .sasl import Credentials
from .settings import redactor_of
from .wire import Dialogue

__all__ = ["DebugFile", "dialogue_for", "written_lines"]

_KEPT_DAYS: Final = 14


class DebugFile:
    """Appends lines to `<stem>-YYYY-MM-DD<suffix>` beside the given path; the newest 14 days are kept.

    `problem` tells why nothing is written, None while all is well.
    """

    def __init__(self, path: str, now: datetime) -> None:
        self._path = Path(path)
        self._now = now
        self.problem: str | None = None
        self._file = self._path.with_name(f"{self._path.stem}-{now:%Y-%m-%d}{self._path.suffix or '.log'}")
        self._rotate()

    def __call__(self, line: str) -> None:
        if self.problem is None and self._append(f"{self._now:%H:%M:%S} {line}\n"):
            print(self.problem, file=sys.stderr)  # noqa: T201

    def check(self) -> str | None:
        """Why the file cannot be written, None when it can."""
        self._append("")
        return self.problem

    def _append(self, text: str) -> bool:
        """Whether it failed."""
        try:
            with self._file.open("a", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as error:
            self.problem = f"the debug file {self._file} cannot be written: {error.strerror or error}"
        return self.problem is not None

    def _rotate(self) -> None:
        pattern = f"{self._path.stem}-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]{self._path.suffix or '.log'}"
        try:
            days = sorted(self._path.parent.glob(pattern))
            for old in days[: -_KEPT_DAYS or None]:
                if old != self._file:
                    old.unlink()
        except OSError:
            # Old files that cannot be removed are no reason to stop; writing reports its own problem.
            return


def dialogue_for(
    credentials: Credentials, debug_file: str | None, now: datetime, folder: str | Path | None = None
) -> Dialogue:
    """A session's dialogue, copied to the account's debug file where one is set; a relative path starts at `folder`."""
    path = str(Path(folder or ".") / debug_file) if debug_file else None
    return Dialogue(redactor_of(credentials), DebugFile(path, now) if path else None)


def written_lines(debug_file: str, folder: str | Path) -> tuple[list[str], list[str]]:
    """The names of the transcript files that there are, the oldest first, and all their lines."""
    path = Path(folder) / debug_file
    files = sorted(path.parent.glob(f"{path.stem}-[0-9]*-[0-9]*-[0-9]*{path.suffix or '.log'}"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [file.name for file in files], lines
