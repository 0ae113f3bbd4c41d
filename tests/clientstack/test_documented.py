"""What the client can do, declares and documents is the same."""

from __future__ import annotations

from pathlib import Path

import harness.clientstack as clientstack
from harness.clientstack.operations import OPERATIONS
from harness.clientstack.protocol import FEATURES
from harness.clientstack.settings import KNOWN_KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "client-stack.md").read_text(encoding="utf-8")


def test_each_operation_is_a_feature() -> None:
    assert [name for name in FEATURES if name.startswith("business-")] == [f"business-{name}" for name in OPERATIONS]


def test_each_operation_setting_and_public_name_is_documented() -> None:
    names = [*OPERATIONS, *KNOWN_KEYS["business"], *clientstack.__all__]
    assert [name for name in names if f"`{name}`" not in PAGE] == []
