"""The judge: a scenario and what was seen in, a verdict out. Pure: no server, no clock, no file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from harness.judging import endstate
from harness.judging.failure import Failure, Path
from harness.judging.replies import reply_failures, unparsed
from harness.judging.wire import everywhere, wire_failures
from harness.observations import Observations
from harness.oracle import findings
from harness.scenario import Scenario

__all__ = ["Failure", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Verdict:
    verdict: Literal["pass", "fail", "error"]
    failures: list[Failure] = field(default_factory=list)
    warnings: list[Failure] = field(default_factory=list)
    reason: str | None = None


def judge(scenario: Scenario, seen: Observations) -> Verdict:
    """Every expectation of the scenario, and those that hold everywhere, against what was seen."""
    if seen.server_errors:
        return Verdict("error", reason="a fake server broke:\n" + "\n".join(seen.server_errors))
    for line in seen.lines:
        if line.facts.get("event") == "unimplemented":
            return Verdict("error", reason=f"mailrig lacks {line.facts.get('capability')}")
    for step in seen.steps:
        if step.invalid is not None:
            return Verdict("error", reason=f"step {step.number} ({step.action}): {step.invalid}")
        if step.silence is not None and not (step.excused or step.crashed):
            return Verdict("error", reason=f"step {step.number} ({step.action}): {step.silence}")
    must: list[Failure] = []
    should: list[Failure] = []
    for grade, failure in _check(scenario, seen):
        (must if grade == "must" else should).append(failure)
    return Verdict("fail" if must else "pass", must, should)


def _check(scenario: Scenario, seen: Observations) -> Iterator[tuple[str, Failure]]:
    by_number = {step.number: step for step in seen.steps}
    for index, declared in enumerate(scenario.steps):
        step = by_number.get(index + 1)
        if step is None or step.crashed:
            continue
        if step.silence is not None:
            yield "must", Failure("replies", "a reply in time", step.silence, ["steps", index], step=step.number)
            continue
        expect = getattr(declared, "expect", None)
        if expect is not None and step.reply is not None:
            path: Path = ["steps", index, "expect"]
            for failure in reply_failures(expect, step, path, seen):
                yield "should" if unparsed(failure) else expect.grade, failure
    closing = scenario.expect
    if closing is not None:
        if closing.handed_over is not None:
            for failure in endstate.handed_over(closing.handed_over, seen, ["expect", "handed_over"]):
                yield closing.handed_over.grade, failure
        for index, stored in enumerate(closing.stored):
            for failure in endstate.stored(stored, seen, ["expect", "stored", index]):
                yield stored.grade, failure
        for address, boxes in closing.mailboxes.items():
            for name, box in boxes.items():
                for failure in endstate.mailbox(box, address, name, seen, ["expect", "mailboxes", address, name]):
                    yield box.grade, failure
        for index, wire in enumerate(closing.wire):
            for failure in wire_failures(wire, seen, ["expect", "wire", index]):
                yield wire.grade, failure
    for failure in everywhere(seen):
        yield "must", failure
    for found in findings(seen):
        yield found.grade, Failure(found.expectation, found.expected, found.observed, [], step=found.step)
