"""Files that others read are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

__all__ = ["CannotWrite", "check_writable", "write_whole"]


class CannotWrite(Exception):
    """A file that was asked for cannot be written; the text says which and why."""


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a temporary file in the same folder, then rename it. Text becomes UTF-8 with LF; missing folders are made.
    What is no plain file (a pipe, /dev/stdout) is written in place. Raises CannotWrite."""
    octets = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(octets)
            return
        scratch, target = _scratch(path)
        try:
            scratch.write_bytes(octets)
            os.replace(scratch, target)
        finally:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from None


def check_writable(*paths: Path | None) -> None:
    """Find out early, before a long run, what cannot be written, or would be written over. Raises CannotWrite."""
    taken: set[Path] = set()
    for path in filter(None, paths):
        try:
            if path.exists() and not path.is_file() and not path.is_dir():
                continue
            scratch, target = _scratch(path)
            scratch.touch(exist_ok=False)
            scratch.unlink()
        except OSError as error:
            raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from None
        if target in taken:
            raise CannotWrite(f"cannot write {path} twice: give each report a file of its own")
        taken.add(target)


def _scratch(path: Path) -> tuple[Path, Path]:
    """A name for the temporary file, and the file to be replaced (behind a symbolic link: what it points to)."""
    if path.is_dir():
        raise IsADirectoryError(0, "it is a folder")
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp"), target
