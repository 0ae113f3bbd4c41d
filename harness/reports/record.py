"""The record of one run: what reports are made from, and what a results file holds (CONTRACTS section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from harness.results import Result, summary

__all__ = ["RunRecord"]

VERDICTS = ("pass", "fail", "error", "skip")


@dataclass(slots=True)
class RunRecord:
    """One run. `started` is RFC 3339 in UTC, `seconds` how long it took; `shard` is "I/N" or None; `selected` the ids
    of all shards."""

    mailrig: str
    seed: int
    started: str
    seconds: float
    interrupted: bool = False
    shard: str | None = None
    selected: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "mailrig": self.mailrig,
            "seed": self.seed,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "shard": self.shard,
            "selected": self.selected,
            "results": [result.to_json() for result in self.results],
            "summary": summary(self.results),
        }

    @classmethod
    def from_json(cls, data: object) -> Self:
        """From a results file, ours or a later version's. Raises ValueError that names the part at fault."""
        top = _mapping(data, "the file")
        results = top.get("results")
        if not isinstance(results, list):
            raise ValueError('"results" is not a list')
        selected = top.get("selected")
        if not isinstance(selected, list) or not all(isinstance(name, str) for name in selected):
            raise ValueError('"selected" is not a list of ids')
        read = [_result(one, f"results[{index}]") for index, one in enumerate(results)]
        seconds, shard, seed = top.get("seconds", 0.0), top.get("shard"), top.get("seed", 0)
        return cls(
            mailrig=str(top.get("mailrig", "")),
            seed=seed if isinstance(seed, int) else 0,
            started=str(top.get("started", "")),
            seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
            interrupted=bool(top.get("interrupted", False)),
            shard=None if shard is None else str(shard),
            selected=list(selected),
            results=read,
        )


def _mapping(data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where} is not a JSON object")
    return data


def _result(data: object, where: str) -> Result:
    one = _mapping(data, where)
    for name in ("id", "provider", "client"):
        if not isinstance(one.get(name), str):
            raise ValueError(f"{where}: {name!r} is not a text")
    if one.get("verdict") not in VERDICTS:
        raise ValueError(f"{where}: verdict {one.get('verdict')!r} is none of {', '.join(VERDICTS)}")
    if not isinstance(one.get("seconds", 0), int | float):
        raise ValueError(f"{where}: 'seconds' is not a number")
    for name in ("tags", "failures", "warnings", "dialogue"):
        if not isinstance(one.get(name, []), list):
            raise ValueError(f"{where}: {name!r} is not a list")
    for name in ("failures", "warnings", "dialogue"):
        for index, item in enumerate(one.get(name, [])):
            _mapping(item, f"{where}.{name}[{index}]")
    return Result.from_json({"tags": [], "seconds": 0.0, **one})
