"""One failed case as plain text: what was expected, what was seen, where, and the last lines of the dialogue."""

from __future__ import annotations

import json
from typing import Any

from harness.results import Result

__all__ = ["failure_text", "shown_value"]

LAST_LINES = 24


def shown_value(value: Any) -> str:
    """Plain data on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def failure_text(result: Result) -> str:
    """Several lines, without colour."""
    lines = [f"{result.id}: {result.verdict}" + (f" ({result.reason})" if result.reason else ""), result.title]
    for failure in result.failures:
        lines += [
            "",
            f"  {failure['expectation']}   {failure['where']}" + (f"   [{failure['ref']}]" if "ref" in failure else ""),
            f"    expected  {shown_value(failure['expected'])}",
            f"    observed  {shown_value(failure['observed'])}",
        ]
    if result.dialogue:
        lines += ["", "  the last lines of the dialogue:"]
        lines += [
            f"    {line['connection']:>3} {line['service']:<10} {line['direction']} {line['text']}"
            for line in result.dialogue[-LAST_LINES:]
        ]
    if result.complaints:
        lines += [
            "",
            "  the client's standard error:",
            *(f"    {line}" for line in result.complaints.splitlines()[-12:]),
        ]
    return "\n".join(lines)
