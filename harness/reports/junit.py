"""JUnit XML: one test suite per provider or theme, one test case per result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from harness.reports.atomic import write_whole
from harness.reports.record import RunRecord
from harness.reports.wording import failure_line, group
from harness.results import Result, summary

__all__ = ["render", "write"]

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(path: Path, record: RunRecord) -> None:
    """Raises CannotWrite."""
    write_whole(path, render(record))


def render(record: RunRecord) -> bytes:
    root = ElementTree.Element("testsuites", {"name": "mailrig", **_counts(record.results, record.seconds)})
    groups: dict[str, list[Result]] = {}
    for result in record.results:
        groups.setdefault(group(result.id, result.provider), []).append(result)
    for name, results in sorted(groups.items()):
        counts = _counts(results, sum(result.seconds for result in results))
        suite = ElementTree.SubElement(root, "testsuite", {"name": _legal(name), **counts})
        suite.set("timestamp", record.started.removesuffix("Z"))
        for result in results:
            suite.append(_case(result))
    ElementTree.indent(root, " ")
    octets: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return octets + b"\n"


def _counts(results: Sequence[Result], seconds: float) -> dict[str, str]:
    counts = summary(results)
    return {
        "tests": str(len(results)),
        "failures": str(counts["fail"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skip"]),
        "time": f"{seconds:.3f}",
    }


def _case(result: Result) -> ElementTree.Element:
    theme = group(result.id, result.provider)
    case = ElementTree.Element(
        "testcase",
        {"classname": _legal(f"{result.client}.{theme}"), "name": _legal(result.id), "time": f"{result.seconds:.3f}"},
    )
    if result.verdict == "skip":
        ElementTree.SubElement(case, "skipped", {"message": _legal(result.reason or "")})
    elif result.verdict in ("fail", "error"):
        message = failure_line(result.failures[0]) if result.failures else result.reason or result.verdict
        kind = "failure" if result.verdict == "fail" else "error"
        broken = ElementTree.SubElement(case, kind, {"message": _legal(message)[:500], "type": result.verdict})
        broken.text = _legal("\n".join(_story(result)))
    if result.warnings:
        ElementTree.SubElement(case, "system-out").text = _legal(
            "\n".join(f"warning: {failure_line(warning)}" for warning in result.warnings)
        )
    if result.complaints:
        ElementTree.SubElement(case, "system-err").text = _legal(result.complaints)
    return case


def _story(result: Result) -> list[str]:
    lines = [result.title, result.why, *([result.reason] if result.reason else [])]
    lines += [failure_line(failure) for failure in result.failures]
    if result.dialogue:
        lines += ["", "dialogue:", *map(_spoken, result.dialogue)]
    return [line for line in lines if line]


def _spoken(line: dict[str, Any]) -> str:
    return f"{line.get('step', '')} {line.get('direction', '')}: {line.get('text', '')}"


def _legal(text: str) -> str:
    """Without the characters that XML 1.0 cannot carry."""
    return _ILLEGAL.sub("", text)
