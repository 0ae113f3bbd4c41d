"""Ways to break the reference client: each patches one thing before the client starts to listen."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["MUTANTS", "mutant"]

MUTANTS: dict[str, Callable[[], None]] = {}
"""Name: what puts the defect in. The docstring of the function says what is broken, in one line."""


def mutant(patch: Callable[[], None]) -> Callable[[], None]:
    """Register a defect under its function's name, underscores as hyphens."""
    name = patch.__name__.replace("_", "-")
    assert name not in MUTANTS, f"two mutants are called {name}"
    assert patch.__doc__, f"the mutant {name} has no docstring"
    MUTANTS[name] = patch
    return patch
