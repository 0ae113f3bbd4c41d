"""One sender and one reader at a time on a state folder, across threads and processes.

The lease is a lock of the operating system on a file: it ends with its process, however that ends, so that nobody
has to guess from a clock whether a holder still lives.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from .errors import MailError

__all__ = ["READER", "SENDER", "Lease"]

SENDER: Final = "sender.lock"
READER: Final = "reader.lock"
_LOOK_AGAIN: Final = 0.02


class Lease:
    """The right to send from a state folder, or to read into it."""

    def __init__(self, folder: str | Path, name: str = SENDER) -> None:
        self._path = Path(folder) / name

    @contextlib.contextmanager
    def held(self, patience: float, no_more: Callable[[], bool]) -> Iterator[bool]:
        """Holds the lease for the block, and says whether it does: another holder is waited for up to `patience`
        seconds, or until `no_more` says that there is nothing left to send. Raises MailError `config`."""
        try:
            file = self._path.open("ab")
        except OSError as error:
            raise MailError("config", f"the lock file {self._path} cannot be used: {error.strerror}") from None
        with file:
            yield _wait(file, time.monotonic() + patience, no_more)


def _wait(file: IO[bytes], deadline: float, no_more: Callable[[], bool]) -> bool:
    pause = threading.Event()
    while not _locked(file):
        if time.monotonic() > deadline or no_more():
            return False
        pause.wait(_LOOK_AGAIN)
    return True


if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _locked(file: IO[bytes]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise MailError("config", f"the lock file cannot be locked: {error.strerror}") from None
        return True
