"""Fake mail servers that take on a provider's manners: `FakeMailHost` and what it is given and gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakeservers.clock import Clock
    from fakeservers.host import FakeMailHost
    from fakeservers.profile import Profile, load_profile
    from fakeservers.rules import Rule

__all__ = ["Clock", "FakeMailHost", "Profile", "Rule", "load_profile"]

_HOMES = {
    "Clock": "fakeservers.clock",
    "FakeMailHost": "fakeservers.host",
    "Profile": "fakeservers.profile",
    "Rule": "fakeservers.rules",
    "load_profile": "fakeservers.profile",
}


def __getattr__(name: str) -> object:
    # Loaded on first use: pytest imports this package in every session in which mailrig is installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
