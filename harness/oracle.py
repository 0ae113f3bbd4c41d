"""The retry oracle: remembers what the server told the client, and judges what the client did next. Pure.

What it says holds in every scenario (CONTRACTS section 4, Rulings): nothing is called sent that was not accepted,
nothing is sent twice, what failed for good is not tried again, what was deferred is not given up, and of a mixed reply
no recipient is lost. How fast the client comes back is judged in `harness.pacing`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from harness.observations import Observations, SeenStep
from harness.pacing import Finding, pacing
from harness.transactions import Attempt, attempts, identity, message_id

__all__ = ["Finding", "findings"]

DAY = 86400.0
"""Until then giving up is no choice of the client's (RFC 5321 4.5.4.1 speaks of four to five days)."""
FOR_GOOD = (550, 551, 553)
"""Refusals that no change of the command's parameters, and no smaller message, can cure."""
NOT_NOW = ("connect", "dns", "timeout", "tls-handshake", "disconnected", "temporary", "rate-limit")


def findings(seen: Observations) -> Iterator[Finding]:
    yield from pacing(seen)
    steps = [step for step in seen.steps if step.action in ("send", "flush")]
    if not steps:
        return
    tried = attempts(seen.lines)
    ids = _message_ids(steps)
    yield from _claims(steps, tried, ids)
    yield from _refused_again(steps, tried)
    yield from _called_failed(steps)
    yield from _new_identity(steps, tried)
    if not any(step.action == "business" for step in seen.steps):
        # A person may order what a program must not do by itself: send again, forget.
        yield from _twice(seen, tried)
        yield from _tried_again(steps, tried, ids)
        yield from _given_up(steps, tried, ids)
        yield from _not_tried(steps, seen)
        yield from _dropped(steps, tried, ids)


def _message_ids(steps: list[SeenStep]) -> dict[str, str]:
    """Message: its Message-ID, where the scenario gave one."""
    given = {name: _id_of(raw) for step in steps for name, raw in step.sent.items()}
    return {name: value for name, value in given.items() if value is not None}


def _id_of(raw: bytes) -> str | None:
    return message_id(raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


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
    """A message whose acceptance the client saw does not go to the same recipient once more; one in doubt does not
    in the same step, before anybody could look."""
    crashed = {step.number for step in seen.steps if step.crashed or step.silence is not None}
    known: set[tuple[str, str]] = set()
    doubt: set[tuple[int, bytes, str]] = set()
    for one in tried:
        if one.message_id is None or one.content is None:
            continue
        for address in one.accepted:
            if (one.message_id, address) in known:
                told = f"{one.message_id} to {address} on connection {one.connection}"
                yield Finding("sent-twice", "what was accepted is not sent again", told, one.step)
        taken = {(one.step, one.content, address) for address, code in one.recipients.items() if code and code < 300}
        if doubt & taken:
            told = f"{one.message_id} again on connection {one.connection}"
            yield Finding("sent-twice", "a message whose final reply was lost waits for the next time", told, one.step)
        if one.final is None or (one.ruled and one.accepted):
            doubt |= taken
        if not one.ruled and one.step not in crashed:
            known |= {(one.message_id, address) for address in one.accepted}


def _new_identity(steps: list[SeenStep], tried: list[Attempt]) -> Iterator[Finding]:
    """A message in doubt is sent again as the same message, also where the client gave it its Message-ID."""
    given = Counter(identity(raw) for step in steps for raw in step.sent.values())
    nameless = {identity(raw) for step in steps for raw in step.sent.values() if _id_of(raw) is None}
    doubt: dict[bytes, Attempt] = {}
    for one in tried:
        same = identity(one.content) if one.content is not None else None
        if same is None or same not in nameless or given[same] > 1:
            continue
        before = doubt.get(same)
        if before is not None and before.message_id != one.message_id and before.recipients.keys() & one.recipients:
            told = f"{before.message_id}, then {one.message_id}"
            yield Finding("sent-twice", "a message in doubt keeps its Message-ID", told, one.step)
        if one.final is None or one.ruled:
            doubt[same] = one


def _refused_again(steps: list[SeenStep], tried: list[Attempt]) -> Iterator[Finding]:
    """Within a step, too, a refusal for good is the last word: no more of them than there are messages to refuse."""
    whom: dict[str, list[str]] = {}
    told: dict[str, str] = {}
    for step in steps:
        whom |= step.to
        told = {name: outcome for name, outcome in told.items() if name not in step.to}
        pending = [whom[name] for name in whom if told.get(name) not in ("sent", "failed")]
        own = [one for one in tried if one.step == step.number and (one.refused or one.final is not None)]
        recipients = Counter(address for one in own for address, code in one.recipients.items() if code in FOR_GOOD)
        for address, count in recipients.items():
            asked = sum(any(each.casefold() in _both_forms({address}) for each in to) for to in pending)
            if count > asked > 0:
                observed = f"{address} refused {count} times"
                yield Finding("tried-again", "what was refused for good is not tried again", observed, step.number)
        senders = Counter(one.asked for one in own if one.mail in FOR_GOOD)
        for command, count in senders.items():
            if count > max(1, sum(map(len, pending))):
                observed = f"{command} refused {count} times"
                yield Finding("tried-again", "what was refused for good is not tried again", observed, step.number)
        contents = Counter((one.content, tuple(one.recipients)) for one in own if (one.final or 0) >= min(FOR_GOOD))
        for (content, _), count in contents.items():
            if content is not None and count > max(
                1, sum(_id_of(raw) == message_id(content) for raw in step.sent.values())
            ):
                observed = f"{message_id(content)} refused {count} times"
                yield Finding("tried-again", "what was refused for good is not tried again", observed, step.number)
        told |= {result["message"]: result["outcome"] for result in _results(step)}


def _tried_again(steps: list[SeenStep], tried: list[Attempt], ids: dict[str, str]) -> Iterator[Finding]:
    """What was reported as failed, of a message or of a recipient, is over."""
    whom: dict[str, list[str]] = {}
    failed: set[tuple[str, str]] = set()
    done: set[tuple[str, str]] = set()
    for step in steps:
        whom |= step.to
        failed = {(name, address) for name, address in failed if name not in step.to}
        done = {(name, address) for name, address in done if name not in step.to}
        for one in tried:
            if one.step != step.number:
                continue
            for address in one.recipients:
                forms = _both_forms({address})
                wanted = {
                    (name, each.casefold())
                    for name, to in whom.items()
                    for each in to
                    if each.casefold() in forms and one.message_id in (None, ids.get(name))
                }
                if wanted & failed and wanted <= failed | done:
                    told = f"{address} on connection {one.connection}"
                    yield Finding("tried-again", "what failed for good is not tried again", told, step.number)
            everything = {(name, each.casefold()) for name, to in whom.items() for each in to}
            if not one.recipients and failed and everything <= failed | done:
                told = f"{one.asked} on connection {one.connection}"
                yield Finding("tried-again", "what failed for good is not tried again", told, step.number)
        for result in _results(step):
            name = result["message"]
            each_told = {
                address.casefold(): one["outcome"] for address, one in (result.get("recipients") or {}).items()
            }
            for address in whom.get(name, []):
                outcome = each_told.get(address.casefold(), result["outcome"])
                if outcome == "failed":
                    failed.add((name, address.casefold()))
                elif outcome == "sent":
                    done.add((name, address.casefold()))


def _called_failed(steps: list[SeenStep]) -> Iterator[Finding]:
    """What a server refused for now is deferred, not failed (Rulings); after a day giving up is the client's choice."""
    begun: dict[str, float] = {}
    for step in steps:
        begun |= dict.fromkeys(step.to, step.now)
        for result in _results(step):
            if step.now - begun.get(result["message"], step.now) >= DAY:
                continue
            told = {result["message"]: result, **(result.get("recipients") or {})}
            for whose, one in told.items():
                if one["outcome"] == "failed" and _passes(one.get("error")):
                    observed = f"{whose}: {one['error']['category']}, {one['error'].get('code')}"
                    yield Finding("given-up", "a refusal for now is deferred", observed, step.number)


def _passes(error: dict[str, Any] | None) -> bool:
    """Whether an error is one of those that pass."""
    if error is None or error["category"] == "tls-required":
        return False
    code, category = error.get("code"), error["category"]
    if code is not None and 400 <= code < 500:
        return True
    return category in ("connect", "rate-limit") or (code is None and category in NOT_NOW)


def _dropped(steps: list[SeenStep], tried: list[Attempt], ids: dict[str, str]) -> Iterator[Finding]:
    """Of a message that is called sent, each recipient was accepted or is reported as failed."""
    whom: dict[str, list[str]] = {}
    failed: set[tuple[str, str]] = set()
    silent: set[str] = set()
    """What became of these was to be in a reply that never came."""
    for step in steps:
        whom |= step.to
        failed = {(name, address) for name, address in failed if name not in step.to}
        if step.reply is None:
            silent |= whom.keys()
        for result in _results(step):
            name = result["message"]
            for address, one in (result.get("recipients") or {}).items():
                if one["outcome"] == "failed":
                    failed |= {(name, form) for form in _both_forms({address.casefold()})}
            if result["outcome"] != "sent" or name not in ids or name in silent:
                continue
            accepted = {
                address
                for one in tried
                if one.message_id == ids[name] and one.step <= step.number
                for address in one.accepted
            }
            missing = [
                address
                for address in whom.get(name, [])
                if address.casefold() not in _both_forms(accepted) and (name, address.casefold()) not in failed
            ]
            if accepted and missing:
                observed = f"{name} is called sent, and nobody told of {', '.join(missing)}"
                yield Finding("dropped-recipients", "each recipient's fate is reported", observed, step.number)


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


def _not_tried(steps: list[SeenStep], seen: Observations) -> Iterator[Finding]:
    """`flush` tries what a server put off, whatever the back-off; only a rate limit keeps it from it (Rulings)."""
    limited = False
    for step in steps:
        results = _results(step)
        limited |= (step.reply or {}).get("rate_limited_until") is not None
        if step.action != "flush" or limited or not results or any(line.step == step.number for line in seen.lines):
            continue
        errors = [result.get("error") or {} for result in results if result["outcome"] == "deferred"]
        if len(errors) == len(results) and all(
            error.get("category") == "temporary" and error.get("code") is not None for error in errors
        ):
            yield Finding("given-up", "flush tries what was deferred", "no connection was made", step.number)
