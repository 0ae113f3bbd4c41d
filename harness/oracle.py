"""The retry oracle: remembers what the server told the client, and judges what the client did next. Pure.

What it says holds in every scenario (CONTRACTS section 4, Rulings): nothing is called sent that was not accepted,
nothing is sent twice, a rate limit is kept, what failed for good is not tried again, what was deferred is not given up.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from harness.observations import Observations, SeenStep
from harness.transactions import Attempt, attempts, message_id

__all__ = ["Finding", "findings"]

LOGINS = 5
"""Refused logins in one step from which on an account is in danger of being locked."""


class Finding(NamedTuple):
    """What the client did wrong: the expectation's name, what should have been, what was seen, in which step."""

    expectation: str
    expected: Any
    observed: Any
    step: int
    grade: str = "must"


def findings(seen: Observations) -> Iterator[Finding]:
    steps = [step for step in seen.steps if step.action in ("send", "flush")]
    if not steps:
        return
    tried = attempts(seen.lines)
    ids = _message_ids(steps)
    yield from _claims(steps, tried, ids)
    yield from _too_early(steps, tried)
    if not any(step.action == "business" for step in seen.steps):
        # A person may order what a program must not do by itself: send again, forget.
        yield from _twice(seen, tried)
        yield from _tried_again(steps, tried, ids)
        yield from _given_up(steps, tried, ids)
    yield from _hammered(seen)


def _message_ids(steps: list[SeenStep]) -> dict[str, str]:
    """Message: its Message-ID, where the scenario gave one."""
    given = {
        name: message_id(raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        for step in steps
        for name, raw in step.sent.items()
    }
    return {name: value for name, value in given.items() if value is not None}


def _results(step: SeenStep) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = (step.reply or {}).get("results", [])
    return results


def _claims(steps: list[SeenStep], tried: list[Attempt], ids: dict[str, str]) -> Iterator[Finding]:
    """`sent`, of a message or of a recipient, is true only of what the server accepted."""
    for step in steps:
        for result in _results(step):
            known = ids.get(result["message"])
            if known is None or result["outcome"] != "sent":
                continue
            accepted = {
                address
                for one in tried
                if one.message_id == known and one.step <= step.number
                for address in one.accepted
            }
            if not accepted:
                yield Finding(
                    "claims-sent", "sent: the server accepted it", f"{result['message']}: never accepted", step.number
                )
            for address, one in (result.get("recipients") or {}).items():
                if accepted and one["outcome"] == "sent" and address.casefold() not in _both_forms(accepted):
                    told = f"{result['message']}: {address} was never accepted"
                    yield Finding("claims-sent", "sent: the server accepted the recipient", told, step.number)


def _both_forms(addresses: set[str]) -> set[str]:
    """Addresses with their domains as they travelled and as people write them (RFC 5890)."""
    forms = set(addresses)
    for address in addresses:
        local, _, domain = address.rpartition("@")
        try:
            forms.add(f"{local}@{domain.encode('ascii').decode('idna')}")
        except UnicodeError:
            continue
    return forms


def _twice(seen: Observations, tried: list[Attempt]) -> Iterator[Finding]:
    """A message whose acceptance the client saw does not go to the same recipient once more."""
    crashed = {step.number for step in seen.steps if step.crashed or step.silence is not None}
    known: set[tuple[str, str]] = set()
    for one in tried:
        if one.message_id is None:
            continue
        for address in one.accepted:
            if (one.message_id, address) in known:
                told = f"{one.message_id} to {address} on connection {one.connection}"
                yield Finding("sent-twice", "what was accepted is not sent again", told, one.step)
        if not one.ruled and one.step not in crashed:
            known |= {(one.message_id, address) for address in one.accepted}


def _too_early(steps: list[SeenStep], tried: list[Attempt]) -> Iterator[Finding]:
    """Until the time that the client itself states, the account sends nothing, not even on `flush`."""
    for step, later in pairwise(steps):
        until = (step.reply or {}).get("rate_limited_until")
        if until is None or later.account != step.account or later.now >= datetime.fromisoformat(until).timestamp():
            continue
        if any(one.step == later.number for one in tried):
            yield Finding("too-early", f"nothing is sent before {until}", "a transaction was begun", later.number)


def _tried_again(steps: list[SeenStep], tried: list[Attempt], ids: dict[str, str]) -> Iterator[Finding]:
    """What was reported as failed is over."""
    failed: dict[str, str] = {}
    for step in steps:
        for name in step.sent:
            failed.pop(ids.get(name, ""), None)
        for one in tried:
            if one.step == step.number and one.message_id in failed:
                told = f"{failed[one.message_id]} on connection {one.connection}"
                yield Finding("tried-again", "what failed for good is not tried again", told, step.number)
        for result in _results(step):
            if result["outcome"] == "failed" and result["message"] in ids:
                failed[ids[result["message"]]] = result["message"]


def _given_up(steps: list[SeenStep], tried: list[Attempt], ids: dict[str, str]) -> Iterator[Finding]:
    """`flush` reports what was deferred before."""
    for index, step in enumerate(steps):
        following = next((one for one in steps[index + 1 :] if one.action == "flush" and one.reply is not None), None)
        if following is None:
            continue
        between = [one for one in steps[index + 1 :] if one.number <= following.number]
        reported = {result["message"] for one in between for result in _results(one)}
        for result in _results(step):
            name = result["message"]
            if result["outcome"] != "deferred" or name in reported:
                continue
            delivered = any(
                one.message_id == ids.get(name) and one.accepted for one in tried if one.step <= following.number
            )
            if not delivered and not any(one.silence for one in between):
                yield Finding("given-up", "what was deferred is reported by flush", f"{name} is gone", following.number)


def _hammered(seen: Observations) -> Iterator[Finding]:
    """The same login is not tried again and again after a refusal."""
    refused: dict[int, int] = {}
    for line in seen.lines:
        if line.direction == "S" and line.data.startswith(b"535"):
            refused[line.step] = refused.get(line.step, 0) + 1
    for step, count in refused.items():
        if count > LOGINS:
            yield Finding("hammered", f"at most {LOGINS} refused logins in a step", count, step, "should")
