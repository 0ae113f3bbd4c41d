"""Settings that a broken client has misread."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from patching import instead

from harness.clientstack.settings import Settings

__all__ = ["account_with"]


def account_with(**wrong: Any) -> None:
    """Settings of the account are not those that were given."""

    @instead(Settings, "from_json")
    def from_json(original: Any, data: Any) -> Any:
        given = original(data)
        return replace(given, outgoing=replace(given.outgoing, **wrong)) if given.outgoing else given
