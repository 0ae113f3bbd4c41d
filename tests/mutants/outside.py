"""Mutants found by breaking clients that were built otherwise than the reference client."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from patching import instead
from registry import mutant

from harness.clientstack import smtp


@mutant
def takes_504_for_a_wrong_password() -> None:
    """A 504 at AUTH is reported as a refused password."""

    @instead(smtp, "smtp_error")
    def smtp_error(original: Any, reply: Any, command: str, now: Any) -> Any:
        if command == "AUTH" and reply.code == 504:
            return original(replace(reply, code=535), command, now)
        return original(reply, command, now)
