"""Results as others read them (CONTRACTS section 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Result", "exit_status", "summary"]

Word = Literal["pass", "fail", "error", "skip"]


@dataclass(slots=True)
class Result:
    """One case with one client. `failures` and `warnings` hold expectation, expected, observed, where, and may hold
    `ref` and `step`; `dialogue` holds the wire's last lines (secrets masked) of a case that did not pass, as far as the
    last step that failed where nothing but steps did."""

    id: str
    provider: str
    client: str
    tags: list[str]
    verdict: Word
    seconds: float
    reason: str | None = None
    warnings: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    title: str = ""
    why: str = ""
    file: str = ""
    dialogue: list[dict[str, Any]] = field(default_factory=list)
    complaints: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is empty and not in the contract is left out."""
        data = asdict(self)
        for name in ("title", "why", "file", "dialogue", "complaints"):
            if not data[name]:
                del data[name]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        """From a results file, ours or a later version's."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})


def summary(results: Iterable[Result]) -> dict[str, int]:
    counts = Counter(result.verdict for result in results)
    return {word: counts.get(word, 0) for word in ("pass", "fail", "error", "skip")}


def exit_status(results: Iterable[Result]) -> int:
    """0 all passed or skipped and at least one passed; 1 a failure, an error, or none passed."""
    counts = summary(results)
    return 0 if counts["pass"] and not (counts["fail"] or counts["error"]) else 1
