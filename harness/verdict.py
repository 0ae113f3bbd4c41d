"""The judge: a scenario and what was seen in, a verdict out. Pure: no server, no clock, no file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email import policy
from email.parser import BytesParser
from typing import Any, Literal

from harness.expectations import (
    ErrorExpect,
    FetchExpect,
    HandedOverExpect,
    MailboxExpect,
    Number,
    SendExpect,
    StoredExpect,
    TestExpect,
    TimeExpect,
    WireExpect,
    WirePattern,
)
from harness.observations import Line, Observations, SeenMailbox, SeenMessage, SeenStep
from harness.oracle import findings
from harness.scenario import Scenario

__all__ = ["Failure", "Verdict", "judge"]

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
            for failure in _reply(expect, step, path, seen):
                yield "should" if _unparsed(failure) else expect.grade, failure
    closing = scenario.expect
    if closing is not None:
        if closing.handed_over is not None:
            for failure in _handed_over(closing.handed_over, seen, ["expect", "handed_over"]):
                yield closing.handed_over.grade, failure
        for index, stored in enumerate(closing.stored):
            for failure in _stored(stored, seen, ["expect", "stored", index]):
                yield stored.grade, failure
        for address, boxes in closing.mailboxes.items():
            for name, box in boxes.items():
                for failure in _mailbox(box, address, name, seen, ["expect", "mailboxes", address, name]):
                    yield box.grade, failure
        for index, wire in enumerate(closing.wire):
            for failure in _wire(wire, seen, ["expect", "wire", index]):
                yield wire.grade, failure
    for failure in _everywhere(seen):
        yield "must", failure
    for found in findings(seen):
        yield found.grade, Failure(found.expectation, found.expected, found.observed, [], step=found.step)


# --- replies


def _unparsed(failure: Failure) -> bool:
    """The enhanced code may be null: a client need not take it out of the text."""
    observed = failure.observed
    return failure.expectation.endswith(".enhanced") and isinstance(observed, dict) and observed.get("enhanced") is None


def _reply(expect: Any, step: SeenStep, path: Path, seen: Observations) -> Iterator[Failure]:
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
        yield Failure("results", _number(expect.results), len(results), [*path, "results"])
    wanted = expect.outcomes
    if isinstance(wanted, str):
        if not results or any(outcome != wanted for outcome in outcomes):
            yield Failure("outcomes", wanted, outcomes, [*path, "outcomes"])
    elif isinstance(wanted, list):
        if len(wanted) != len(outcomes) or not all(map(_among, outcomes, wanted)):
            yield Failure("outcomes", wanted, outcomes, [*path, "outcomes"])
    elif isinstance(wanted, dict):
        by_id = {result["message"]: result["outcome"] for result in results}
        if not all(name in by_id and _among(by_id[name], one) for name, one in wanted.items()):
            yield Failure("outcomes", wanted, by_id, [*path, "outcomes"])
    unsent = [result for result in results if result["outcome"] != "sent"]
    if expect.error is not None:
        if not unsent and wanted is None:
            yield Failure("error", _shown(expect.error), "every message was sent", [*path, "error"])
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
        if not _among(observed, wanted):
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
        yield Failure("rate_limited", _shown(limited), until, [*path, "rate_limited"])
    if expect.retry_at is not None:
        for result in results:
            at = result.get("retry_at")
            if result["outcome"] == "deferred" and at is not None and not _within(expect.retry_at, at, step.now):
                yield Failure("retry_at", _shown(expect.retry_at), at, [*path, "retry_at"])


def _within(wanted: TimeExpect, stated: str | None, now: float) -> bool:
    if stated is None:
        return False
    distance = datetime.fromisoformat(stated).timestamp() - now
    return (wanted.after is None or distance >= wanted.after) and (wanted.before is None or distance <= wanted.before)


def _error(expect: ErrorExpect, observed: Any, path: Path, name: str = "error") -> Iterator[Failure]:
    if not isinstance(observed, Mapping):
        yield Failure(name, _shown(expect), observed, path)
        return
    parts: list[tuple[str, Any, Callable[[Any, Any], bool]]] = [
        ("category", expect.category, _among),
        ("code", expect.code, _among),
        ("enhanced", expect.enhanced, _among),
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
        yield Failure("messages", _number(expect.messages), len(raws), [*path, "messages"])
    if expect.subjects is not None:
        subjects = sorted(_subject(raw) for raw in raws)
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


# --- the end state


def _handed_over(expect: HandedOverExpect, seen: Observations, path: Path) -> Iterator[Failure]:
    replies = [step.reply for step in seen.steps if step.action == "fetch" and step.reply is not None]
    subjects = sorted(_subject(raw) for reply in replies for raw in reply["messages"])
    if expect.messages is not None and not expect.messages.holds(len(subjects)):
        yield Failure("handed-over", _number(expect.messages), len(subjects), [*path, "messages"], expect.ref)
    if expect.subjects is not None and subjects != sorted(expect.subjects):
        yield Failure("handed-over", sorted(expect.subjects), subjects, [*path, "subjects"], expect.ref)
    if any(subjects.count(subject) != 1 for subject in expect.once):
        yield Failure("handed-over", {"each once": expect.once}, subjects, [*path, "once"], expect.ref)


def _stored(expect: StoredExpect, seen: Observations, path: Path) -> Iterator[Failure]:
    name = expect.name or "stored"
    boxes = _boxes(seen, expect.to)
    messages = [
        message
        for box in boxes
        if expect.mailbox is None or _same_name(box.name, expect.mailbox)
        for message in box.messages
        if expect.subject is None or re.search(expect.subject, _subject(message.raw))
    ]
    if expect.mailbox is None:
        messages = _each_once(messages)
    if not expect.count.holds(len(messages)):
        yield Failure(name, {expect.to: _number(expect.count)}, len(messages), [*path, "count"], expect.ref)
    for message in messages:
        text = message.raw.decode("utf-8", "replace").replace("\r\n", "\n")
        if expect.content is not None and not re.search(expect.content, text, re.DOTALL | re.MULTILINE):
            yield Failure(name, {"content": expect.content}, text[:400], [*path, "content"], expect.ref)
        if expect.lacks is not None and (match := re.search(expect.lacks, text, re.DOTALL | re.MULTILINE)):
            yield Failure(name, {"lacks": expect.lacks}, match[0][:200], [*path, "lacks"], expect.ref)
        if expect.mail_from is not None and message.mail_from != expect.mail_from:
            yield Failure(name, {"mail_from": expect.mail_from}, message.mail_from, [*path, "mail_from"], expect.ref)
        parameters = " ".join(message.parameters)
        if expect.parameters is not None and not re.search(expect.parameters, parameters, re.IGNORECASE):
            yield Failure(name, {"parameters": expect.parameters}, parameters, [*path, "parameters"], expect.ref)
        if expect.same_as is not None:
            yield from _same(expect, message, seen, path, name)


def _each_once(messages: list[SeenMessage]) -> list[SeenMessage]:
    """A message with several labels lies in several mailboxes, and is one."""
    kept = {message.labelled or -place: message for place, message in enumerate(messages, 1)}
    return list(kept.values())


def _same(expect: StoredExpect, message: SeenMessage, seen: Observations, path: Path, name: str) -> Iterator[Failure]:
    given = next((step.sent[expect.same_as] for step in seen.steps if expect.same_as in step.sent), None)
    if given is None:
        yield Failure(name, {"same_as": expect.same_as}, "no such message was sent", [*path, "same_as"], expect.ref)
        return
    head, _, body = _crlf(given).partition(b"\r\n\r\n")
    stored_head, _, stored_body = message.content.partition(b"\r\n\r\n")
    if body != stored_body:
        at = next(
            (i for i, (a, b) in enumerate(zip(body, stored_body, strict=False)) if a != b),
            min(len(body), len(stored_body)),
        )
        around = slice(max(0, at - 30), at + 30)
        observed = {"octets": len(stored_body), "differs_at": at, "stored": repr(stored_body[around])}
        yield Failure(
            name, {"octets": len(body), "given": repr(body[around])}, observed, [*path, "same_as"], expect.ref
        )
    stored_fields = _fields(stored_head)
    for one in _fields(head):
        if not one.lower().startswith(b"bcc:") and one not in stored_fields:
            missing = one.decode("utf-8", "replace")
            yield Failure(name, {"header field": missing}, "not there as given", [*path, "same_as"], expect.ref)


def _crlf(raw: bytes) -> bytes:
    return re.sub(rb"\r\n|\r|\n", b"\r\n", raw)


def _fields(head: bytes) -> list[bytes]:
    """Header fields, unfolded to single spaces."""
    return [re.sub(rb"\s+", b" ", one).strip() for one in re.split(rb"\r\n(?![ \t])", head) if one]


def _mailbox(expect: MailboxExpect, address: str, name: str, seen: Observations, path: Path) -> Iterator[Failure]:
    box = next((box for box in _boxes(seen, address) if _same_name(box.name, name)), None)
    if expect.exists is not None and (box is not None) != expect.exists:
        yield Failure("mailboxes", {name: {"exists": expect.exists}}, box is not None, [*path, "exists"], expect.ref)
    messages = box.messages if box else []
    counts: list[tuple[str, Number | None, int]] = [
        ("messages", expect.messages, len(messages)),
        ("unseen", expect.unseen, sum("\\Seen" not in message.flags for message in messages)),
        ("deleted", expect.deleted, sum("\\Deleted" in message.flags for message in messages)),
    ]
    for key, wanted, count in counts:
        if wanted is not None and not wanted.holds(count):
            yield Failure("mailboxes", {name: {key: _number(wanted)}}, count, [*path, key], expect.ref)
    for flag in expect.all_have:
        if any(flag not in message.flags for message in messages):
            yield Failure(
                "mailboxes", {name: {"all_have": flag}}, [m.flags for m in messages], [*path, "all_have"], expect.ref
            )
    for flag in expect.none_has:
        if any(flag in message.flags for message in messages):
            yield Failure(
                "mailboxes", {name: {"none_has": flag}}, [m.flags for m in messages], [*path, "none_has"], expect.ref
            )


def _boxes(seen: Observations, address: str) -> list[SeenMailbox]:
    return next((boxes for known, boxes in seen.mailboxes.items() if known.casefold() == address.casefold()), [])


def _same_name(one: str, other: str) -> bool:
    return one == other or (one.upper() == other.upper() == "INBOX")


# --- the wire


def _wire(expect: WireExpect, seen: Observations, path: Path) -> Iterator[Failure]:
    name = expect.name or expect.kind
    if expect.saw is not None and not _find(expect.saw, seen):
        yield Failure(name, _shown(expect.saw), "not seen", [*path, "saw"], expect.ref)
    if expect.never is not None and (found := _find(expect.never, seen)):
        yield Failure(
            name, {"never": _shown(expect.never)}, _quote(found[0]), [*path, "never"], expect.ref, found[0].step
        )
    if expect.count is not None and expect.of is not None:
        found = _find(expect.of, seen)
        if not expect.count.holds(len(found)):
            wanted = {"count": _number(expect.count), "of": _shown(expect.of)}
            yield Failure(name, wanted, len(found), [*path, "count"], expect.ref)
    if expect.before is not None:
        first, second = expect.before
        earlier, later = _find(first, seen), _find(second, seen)
        lines = seen.lines
        if not earlier or not later or lines.index(earlier[0]) > lines.index(later[0]):
            order = {"first": _shown(first), "then": _shown(second)}
            observed = {
                "first": _quote(earlier[0]) if earlier else "not seen",
                "then": _quote(later[0]) if later else "not seen",
            }
            yield Failure(name, order, observed, [*path, "before"], expect.ref)


def _find(pattern: WirePattern, seen: Observations) -> list[Line]:
    numbers = list(dict.fromkeys(line.connection for line in seen.lines))
    wanted = None
    if pattern.connection is not None:
        if pattern.connection > len(numbers):
            return []
        wanted = numbers[pattern.connection - 1]
    return [line for line in seen.lines if (wanted is None or line.connection == wanted) and _matches(pattern, line)]


def _matches(pattern: WirePattern, line: Line) -> bool:
    if pattern.service is not None and line.service != pattern.service:
        return False
    if pattern.step is not None and line.step != pattern.step:
        return False
    if pattern.tls is not None and (line.tls is not None) != pattern.tls:
        return False
    if pattern.event is not None:
        return (
            line.direction == "*"
            and line.facts.get("event") == pattern.event
            and (pattern.kind is None or line.facts.get("kind") == pattern.kind)
        )
    wanted = pattern.client if line.direction == "C" else pattern.server if line.direction == "S" else None
    if wanted is None or (line.body and line.direction == "C"):
        return False
    text = line.data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").removesuffix("\n")
    return re.search(wanted, text, re.IGNORECASE | re.MULTILINE) is not None


# --- what holds in every scenario


def _everywhere(seen: Observations) -> Iterator[Failure]:
    if not seen.allow_cleartext:
        for line in seen.lines:
            if line.facts.get("event") == "secret" and line.facts.get("kind") in ("password", "token") and not line.tls:
                yield Failure(
                    "cleartext-credentials",
                    "a password or token goes out unencrypted only with allow_cleartext",
                    _quote(line),
                    [],
                    "RFC 8314 4.1",
                    line.step,
                )
                break
    for line in seen.lines:
        if line.direction == "C" and line.body and line.service in ("smtp", "submission", "smtps"):
            bare = re.search(rb"(?<!\r)\n|\r(?!\n)", line.data)
            if bare is not None:
                yield Failure(
                    "line-ends", "lines of a message end with CRLF", _quote(line), [], "RFC 5321 2.3.8", line.step
                )
                break


# --- showing


def _among(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, list) else value == wanted


def _shown(model: Any) -> Any:
    return model.model_dump(exclude_unset=True, exclude={"grade", "ref"}, mode="json")


def _number(number: Number) -> Any:
    return number.exactly if number.exactly is not None else _shown(number)


def _quote(line: Line) -> str:
    return f"{line.direction}: {line.text[:300]}"


def _subject(raw: bytes) -> str:
    return str(BytesParser(policy=policy.default).parsebytes(raw, headersonly=True).get("Subject", ""))
