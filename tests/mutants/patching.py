"""How a mutant replaces one function of the client."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

__all__ = ["instead"]


def instead(owner: Any, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates what stands in for `owner`'s functions of these names; it is given the original before their
    arguments."""

    def put(stand_in: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            original = getattr(owner, name)

            def call(*arguments: Any, _original: Callable[..., Any] = original, **named: Any) -> Any:
                return stand_in(_original, *arguments, **named)

            setattr(owner, name, wraps(original)(call))
        return stand_in

    return put
