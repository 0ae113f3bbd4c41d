"""Expectations of a client's replies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from harness.expectations import ErrorExpect, FetchExpect, SendExpect, TestExpect, TimeExpect
from harness.judging.failure import Failure, Path, among, number_shown, shown, subject_of
from harness.observations import Observations, SeenStep

__all__ = ["reply_failures", "unparsed"]


def unparsed(failure: Failure) -> bool:
    """The enhanced code may be null: a client need not take it out of the text."""
    observed = failure.observed
    return failure.expectation.endswith(".enhanced") and isinstance(observed, dict) and observed.get("enhanced") is None


def reply_failures(expect: Any, step: SeenStep, path: Path, seen: Observations) -> Iterator[Failure]:
    if isinstance(expect, SendExpect):
        found = _send(expect, step, path)
    elif isinstance(expect, FetchExpect):
        found = _fetch(expect, step, path, seen)
    else:
        found = _test(expect, step, path)
    for failure in found:
        yield Failure(failure.expectation, failure.expected, failure.observed, failure.path, expect.ref, step.number)


def _send(expect: SendExpect, step: SeenStep, path: Path) -> Iterator[Failure]:
    assert step.reply is not None
    results: list[dict[str, Any]] = step.reply["results"]
    outcomes = [result["outcome"] for result in results]
    if expect.results is not None and not expect.results.holds(len(results)):
        yield Failure("results", number_shown(expect.results), len(results), [*path, "results"])
    wanted = expect.outcomes
    if isinstance(wanted, str):
        if not results or any(outcome != wanted for outcome in outcomes):
            yield Failure("outcomes", wanted, outcomes, [*path, "outcomes"])
    elif isinstance(wanted, list):
        if len(wanted) != len(outcomes) or not all(map(among, outcomes, wanted)):
            yield Failure("outcomes", wanted, outcomes, [*path, "outcomes"])
    elif isinstance(wanted, dict):
        by_id = {result["message"]: result["outcome"] for result in results}
        if not all(name in by_id and among(by_id[name], one) for name, one in wanted.items()):
            yield Failure("outcomes", wanted, by_id, [*path, "outcomes"])
    unsent = [result for result in results if result["outcome"] != "sent"]
    if expect.error is not None:
        if not unsent and wanted is None:
            yield Failure("error", shown(expect.error), "every message was sent", [*path, "error"])
        for result in unsent:
            yield from _error(expect.error, result.get("error"), [*path, "error"])
    for name, error in expect.errors.items():
        found = next((result for result in results if result["message"] == name), None)
        observed = found.get("error") if found else f"no result for {name}"
        if error is None:
            if observed is not None:
                yield Failure("errors", None, observed, [*path, "errors", name])
        else:
            yield from _error(error, observed, [*path, "errors", name], "errors")
    yield from _recipients(expect, results, path)
    yield from _times(expect, step, results, path)


def _recipients(expect: SendExpect, results: list[dict[str, Any]], path: Path) -> Iterator[Failure]:
    reported: dict[str, Any] = {}
    for result in results:
        for address, one in (result.get("recipients") or {}).items():
            reported[address.casefold()] = one
    for address, wanted in (expect.recipients or {}).items():
        observed = (reported.get(address.casefold()) or {}).get("outcome")
        if not among(observed, wanted):
            yield Failure("recipients", {address: wanted}, {address: observed}, [*path, "recipients", address])
    for address, error in (expect.recipient_errors or {}).items():
        observed = (reported.get(address.casefold()) or {}).get("error")
        yield from _error(error, observed, [*path, "recipient_errors", address], "recipient_errors")


def _times(expect: SendExpect, step: SeenStep, results: list[dict[str, Any]], path: Path) -> Iterator[Failure]:
    assert step.reply is not None
    until = step.reply.get("rate_limited_until")
    limited = expect.rate_limited
    if isinstance(limited, bool) and (until is not None) != limited:
        yield Failure("rate_limited", limited, until, [*path, "rate_limited"])
    if isinstance(limited, TimeExpect) and not _within(limited, until, step.now):
        yield Failure("rate_limited", shown(limited), until, [*path, "rate_limited"])
    if expect.retry_at is not None:
        for result in results:
            at = result.get("retry_at")
            if result["outcome"] == "deferred" and at is not None and not _within(expect.retry_at, at, step.now):
                yield Failure("retry_at", shown(expect.retry_at), at, [*path, "retry_at"])


def _within(wanted: TimeExpect, stated: str | None, now: float) -> bool:
    if stated is None:
        return False
    distance = datetime.fromisoformat(stated).timestamp() - now
    return (wanted.after is None or distance >= wanted.after) and (wanted.before is None or distance <= wanted.before)


def _error(expect: ErrorExpect, observed: Any, path: Path, name: str = "error") -> Iterator[Failure]:
    if not isinstance(observed, Mapping):
        yield Failure(name, shown(expect), observed, path)
        return
    parts: list[tuple[str, Any, Callable[[Any, Any], bool]]] = [
        ("category", expect.category, among),
        ("code", expect.code, among),
        ("enhanced", expect.enhanced, among),
        ("text", expect.text, lambda text, pattern: re.search(pattern, str(text or ""), re.IGNORECASE) is not None),
        ("lacks", expect.lacks, lambda text, pattern: re.search(pattern, str(text or "")) is None),
    ]
    for part, wanted, holds in parts:
        if wanted is not None and not holds(observed.get("text" if part == "lacks" else part), wanted):
            yield Failure(f"{name}.{part}", wanted, dict(observed), [*path, part])


def _fetch(expect: FetchExpect, step: SeenStep, path: Path, seen: Observations) -> Iterator[Failure]:
    assert step.reply is not None
    raws: list[bytes] = step.reply["messages"]
    if expect.messages is not None and not expect.messages.holds(len(raws)):
        yield Failure("messages", number_shown(expect.messages), len(raws), [*path, "messages"])
    if expect.subjects is not None:
        subjects = sorted(subject_of(raw) for raw in raws)
        if subjects != sorted(expect.subjects):
            yield Failure("subjects", sorted(expect.subjects), subjects, [*path, "subjects"])
    if expect.contents == "unchanged":
        known = set(seen.all_mail)
        if any(line.step == step.number and line.service in ("pop3", "pop3s") for line in seen.lines):
            # Every line that RETR sends ends with CRLF, the last one too (RFC 1939 3).
            known |= {raw + b"\r\n" for raw in known if not raw.endswith(b"\r\n")}
        for raw in raws:
            if raw not in known:
                head = raw[:200].decode("utf-8", "replace")
                yield Failure("contents", "the octets that the server has", head, [*path, "contents"])
    error = step.reply.get("error")
    if expect.error is not None:
        yield from _error(expect.error, error, [*path, "error"])
    elif "error" in expect.model_fields_set and error is not None:
        yield Failure("error", None, error, [*path, "error"])


def _test(expect: TestExpect, step: SeenStep, path: Path) -> Iterator[Failure]:
    assert step.reply is not None
    reply = step.reply
    if expect.ok is not None and reply["ok"] != expect.ok:
        yield Failure("ok", expect.ok, {"ok": reply["ok"], "error": reply.get("error")}, [*path, "ok"])
    if expect.error is not None:
        yield from _error(expect.error, reply.get("error"), [*path, "error"])
    stages = {stage.get("stage"): stage.get("ok") for stage in reply.get("stages") or []}
    for name, ok in (expect.stages or {}).items() if stages else ():
        if stages.get(name) != ok:
            yield Failure("stages", {name: ok}, stages, [*path, "stages", name])
    if "value" in expect.model_fields_set and not _fits(reply.get("value"), expect.value):
        yield Failure("value", expect.value, reply.get("value"), [*path, "value"])


def _fits(observed: Any, wanted: Any) -> bool:
    """Equal; where mappings are, the observed one may have more keys, as any writer may add some."""
    if isinstance(wanted, Mapping):
        return isinstance(observed, Mapping) and all(
            key in observed and _fits(observed[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        same = isinstance(observed, list) and len(observed) == len(wanted)
        return same and all(map(_fits, observed, wanted))
    return bool(observed == wanted) and isinstance(observed, bool) == isinstance(wanted, bool)
