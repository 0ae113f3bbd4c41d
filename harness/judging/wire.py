"""Expectations of the wire: what a scenario names, and what holds in every one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.expectations import WireExpect, WirePattern
from harness.judging.failure import Failure, Path, number_shown, quote, shown
from harness.observations import Line, Observations

__all__ = ["everywhere", "wire_failures"]


def wire_failures(expect: WireExpect, seen: Observations, path: Path) -> Iterator[Failure]:
    name = expect.name or expect.kind
    if expect.saw is not None and not _find(expect.saw, seen):
        yield Failure(name, shown(expect.saw), "not seen", [*path, "saw"], expect.ref)
    if expect.never is not None and (found := _find(expect.never, seen)):
        yield Failure(
            name, {"never": shown(expect.never)}, quote(found[0]), [*path, "never"], expect.ref, found[0].step
        )
    if expect.count is not None and expect.of is not None:
        found = _find(expect.of, seen)
        if not expect.count.holds(len(found)):
            wanted = {"count": number_shown(expect.count), "of": shown(expect.of)}
            yield Failure(name, wanted, len(found), [*path, "count"], expect.ref)
    if expect.before is not None:
        first, second = expect.before
        earlier, later = _find(first, seen), _find(second, seen)
        lines = seen.lines
        if not earlier or not later or lines.index(earlier[0]) > lines.index(later[0]):
            order = {"first": shown(first), "then": shown(second)}
            observed = {
                "first": quote(earlier[0]) if earlier else "not seen",
                "then": quote(later[0]) if later else "not seen",
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


def everywhere(seen: Observations) -> Iterator[Failure]:
    if not seen.allow_cleartext:
        for line in seen.lines:
            if line.facts.get("event") == "secret" and line.facts.get("kind") in ("password", "token") and not line.tls:
                yield Failure(
                    "cleartext-credentials",
                    "a password or token goes out unencrypted only with allow_cleartext",
                    quote(line),
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
                    "line-ends", "lines of a message end with CRLF", quote(line), [], "RFC 5321 2.3.8", line.step
                )
                break
