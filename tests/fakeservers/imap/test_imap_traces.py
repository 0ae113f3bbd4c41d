"""The dialogues of the RFCs, played word for word."""

from __future__ import annotations

from pathlib import Path

import pytest
from imap_dialogue import TRACES, play

from fakeservers.profile import load_profile


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.trace")), ids=lambda path: path.stem)
def test_trace(path: Path) -> None:
    play(path)


def test_whatever_generic_offers_has_a_dialogue() -> None:
    covered = {
        word
        for path in TRACES.glob("*.trace")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("covers:")
        for word in line.split()[1:]
    }
    # STARTTLS needs a socket: test_imap_clients.
    offered = {word.upper() for word in load_profile("generic").imap.capabilities} - {"STARTTLS"}
    assert [word for word in sorted(offered) if not {word, word.partition("=")[0]} & covered] == []
