"""The results file (`--json`)."""

from __future__ import annotations

import json
from pathlib import Path

from harness.reports.atomic import write_whole
from harness.reports.record import RunRecord

__all__ = ["read", "write"]


def write(path: Path, record: RunRecord) -> None:
    """Raises CannotWrite."""
    write_whole(path, json.dumps(record.to_json(), ensure_ascii=False, indent=1, default=str) + "\n")


def read(path: Path) -> RunRecord:
    """Raises ValueError with the file's name, and OSError."""
    try:
        return RunRecord.from_json(json.loads(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path} is no results file: {error}") from None
