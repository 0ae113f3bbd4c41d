"""A broken expectation as data, and how what was expected and seen is shown in it."""

from __future__ import annotations

from dataclasses import dataclass
from email import policy
from email.parser import BytesParser
from typing import Any

from harness.expectations import Number
from harness.observations import Line

__all__ = ["Failure", "Path", "among", "number_shown", "quote", "shown", "subject_of"]

Path = list[str | int]


@dataclass(frozen=True, slots=True)
class Failure:
    """A broken expectation: its name, what was expected and what was seen (plain data), the path of the expectation
    in the scenario, the paragraph it cites, and the step (1-based) it is about."""

    expectation: str
    expected: Any
    observed: Any
    path: Path
    ref: str | None = None
    step: int | None = None


def among(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list) else value == wanted


def shown(model: Any) -> Any:
    return model.model_dump(exclude_unset=True, exclude={"grade", "ref"}, mode="json")


def number_shown(number: Number) -> Any:
    return number.exactly if number.exactly is not None else shown(number)


def quote(line: Line) -> str:
    return f"{line.direction}: {line.text[:300]}"


def subject_of(raw: bytes) -> str:
    return str(BytesParser(policy=policy.default).parsebytes(raw, headersonly=True).get("Subject", ""))
