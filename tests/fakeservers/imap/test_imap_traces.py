"""The dialogues of the RFCs, played word for word."""

from __future__ import annotations

from pathlib import Path

import pytest
from imap_dialogue import TRACES, play


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.trace")), ids=lambda path: path.stem)
def test_trace(path: Path) -> None:
    play(path)
