"""The terminal report: progress while a run goes on, then a table, what went wrong, and a last line."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from harness.reports.dialogue import dialogue
from harness.reports.wording import failure_line, group, plain, safe
from harness.results import Result, exit_status, summary

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["TextReport", "make_console"]

STYLES = {"pass": "green", "fail": "bold red", "error": "bold magenta", "skip": "yellow"}
LETTERS = {"pass": ".", "fail": "F", "error": "E", "skip": "s"}
ROW = 60
SLOW = 1.0
"""Seconds from which a case may be listed among the slowest."""
COMPLAINT_LINES = 12


def make_console(**options: Any) -> Console:
    """A console on which texts mean nothing but themselves."""
    return Console(markup=False, highlight=False, emoji=False, **options)


class TextReport:
    """Told of a run as it goes: `start`, `result` for each case, `finish`. `total` is the number of cases that will
    run; with `quiet` only failures and the last line are printed. `close` takes the progress line away early."""

    def __init__(self, console: Console, total: int, quiet: bool = False) -> None:
        self._console = console
        self._total = total
        self._quiet = quiet
        self._done = 0
        self._counts = dict.fromkeys(LETTERS, 0)
        self._current = ""
        self._began = time.monotonic()
        self._live: Live | None = None
        self._column = 0

    # --- while it runs

    def start(self, selected: int, clients: Sequence[str], seed: int, workers: int | str) -> None:
        self._began = time.monotonic()
        if self._quiet:
            return
        many = "" if str(workers) in ("0", "1") else f", {workers} workers"
        cases = f"{selected} case{'' if selected == 1 else 's'}"
        self._say(f"mailrig: {cases}, client {', '.join(clients)}, seed {seed}{many}")
        if self._console.is_terminal and self._total > 1:
            from rich.live import Live

            self._live = Live(
                console=self._console,
                get_renderable=self._progress,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def begin(self, name: str) -> None:
        """A case begins (optional; shown in the progress line)."""
        self._current = name

    def result(self, result: Result, done: int) -> None:
        self._done = done
        self._counts[result.verdict] += 1
        self._current = result.id
        if self._quiet:
            return
        if self._live is not None:
            if result.verdict in ("fail", "error"):
                self._console.print(_headline(result), soft_wrap=True)
        elif not self._console.is_terminal:
            self._letter(LETTERS[result.verdict])

    def _letter(self, letter: str) -> None:
        self._console.file.write(letter)
        self._column += 1
        if self._column == ROW or self._done == self._total:
            width = len(str(self._total))
            pad = " " * (ROW - self._column) if self._total > ROW else ""
            self._console.file.write(f"{pad} {self._done:>{width}}/{self._total}\n")
            self._column = 0
        self._console.file.flush()

    def _progress(self) -> RenderableType:
        counts = self._counts
        seconds = time.monotonic() - self._began
        line = Text(f"{self._done}/{self._total}  ", no_wrap=True, overflow="ellipsis")
        line.append(f"{counts['pass']} passed", STYLES["pass"])
        for verdict, words in (("fail", "failed"), ("error", "in error"), ("skip", "skipped")):
            if counts[verdict]:
                line.append(", ")
                line.append(f"{counts[verdict]} {words}", STYLES[verdict])
        line.append(f"  {seconds:.0f} s  ", "dim")
        line.append(safe(self._current), "dim")
        return line

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._column:
            self._console.file.write("\n")
            self._column = 0

    # --- afterwards

    def finish(self, results: Sequence[Result], seconds: float, interrupted: bool, status: int | None = None) -> None:
        """`status` is the exit status if it is not the one that the results alone give."""
        self.close()
        clients = list(dict.fromkeys(result.client for result in results))
        if not self._quiet and results:
            self._say("")
            self._console.print(_table(results, len(clients) > 1))
        for result in results:
            if result.verdict in ("fail", "error"):
                self._story(result, len(clients) > 1)
        if not self._quiet:
            for lines in (_warnings(results), _skips(results), _slowest(results)):
                self._block(lines)
        self._last(results, seconds, interrupted, status)

    def _story(self, result: Result, with_client: bool) -> None:
        """One case that did not pass, told in full."""
        console = self._console
        console.print()
        console.print(_headline(result, with_client), soft_wrap=True)
        self._paragraph(result.title, 2, "bold")
        self._paragraph(result.why, 2)
        if result.reason:
            console.print()
            self._paragraph(result.reason, 2, STYLES[result.verdict])
        if result.file and not any(failure.get("where") for failure in result.failures):
            self._say(f"  {safe(result.file)}", "dim")
        for failure in result.failures:
            self._failure(failure)
        if result.dialogue:
            self._say("")
            for text in dialogue(result.dialogue, console):
                console.print(text, soft_wrap=True)
        complaints = result.complaints.strip().splitlines()
        if complaints:
            self._say("")
            self._say("  the client wrote to standard error:", "dim")
            self._paragraph("\n".join(complaints[-COMPLAINT_LINES:]), 4)

    def _failure(self, failure: dict[str, Any]) -> None:
        notes = [f"step {failure['step']}"] if failure.get("step") else []
        notes += [safe(failure[name]) for name in ("where", "ref") if failure.get(name)]
        head = Text.assemble((f"\n  {safe(failure.get('expectation'))}", "bold"), (f"  {'  '.join(notes)}", "dim"))
        self._console.print(head, soft_wrap=True)
        for name, style in (("expected", "green"), ("observed", "red")):
            self._paragraph(plain(failure.get(name)), 14, style, Text(f"    {name}  ", "dim"))

    def _paragraph(self, words: str, indent: int, style: str = "", head: Text | None = None) -> None:
        """Wrapped words, every line indented; `head` stands in the first line's indentation."""
        width = max(20, self._console.width - indent)
        for line in Text(safe(words).strip(), style).wrap(self._console, width, overflow="fold"):
            line.rstrip()
            self._console.print(Text.assemble(head or " " * indent, line), soft_wrap=True)
            head = None

    def _block(self, lines: Iterable[tuple[str, str]]) -> None:
        for index, (line, style) in enumerate(lines):
            if index == 0:
                self._say("")
            self._paragraph(line, 0 if index == 0 else 2, style)

    def _last(self, results: Sequence[Result], seconds: float, interrupted: bool, status: int | None) -> None:
        counts = summary(results)
        line = Text()
        line.append(f"{counts['pass']} passed", STYLES["pass"] if counts["pass"] else "")
        for verdict, words in (("fail", "failed"), ("error", "in error"), ("skip", "skipped")):
            line.append(", ")
            line.append(f"{counts[verdict]} {words}", STYLES[verdict] if counts[verdict] else "")
        missing = self._total - len(results)
        if missing > 0:
            line.append(f", {missing} not run", STYLES["error"])
        line.append(f" in {_seconds(seconds)}: {_meaning(results, interrupted, status)}")
        if not self._quiet:
            self._say("")
        self._console.print(line, soft_wrap=True)

    def _say(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style), soft_wrap=True)


def _headline(result: Result, with_client: bool = False) -> Text:
    client = f"  {safe(result.client)}" if with_client else ""
    return Text.assemble(
        (f"{result.verdict:<5} ", STYLES[result.verdict]),
        (safe(result.id), "bold"),
        (f"{client}  {_seconds(result.seconds)}", "dim"),
    )


def _table(results: Sequence[Result], by_client: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", overflow="fold")
    if by_client:
        table.add_column("client", overflow="fold")
    for name in ("pass", "fail", "error", "skip", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        key = (group(result.id, result.provider), result.client if by_client else "")
        groups.setdefault(key, []).append(result)
    for (name, client), members in sorted(groups.items()):
        table.add_row(Text(safe(name)), *([Text(safe(client))] if by_client else []), *_cells(members))
    if len(groups) > 1:
        table.add_row(Text("all", "bold"), *([Text("")] if by_client else []), *_cells(results))
    return table


def _cells(results: Sequence[Result]) -> list[Text]:
    counts = summary(results)
    cells = [Text(str(counts[verdict] or "-"), STYLES[verdict] if counts[verdict] else "dim") for verdict in counts]
    return [*cells, Text(f"{sum(result.seconds for result in results):.2f}", "dim")]


def _warnings(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    found = [(result.id, warning) for result in results for warning in result.warnings]
    if found:
        yield f"{_many(len(found), 'warning')} (what should hold, but need not)", STYLES["skip"]
    for name, warning in found:
        yield f"{safe(name)}: {failure_line(warning)}", ""


def _skips(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    reasons: dict[str, list[str]] = {}
    for result in results:
        if result.verdict == "skip":
            reasons.setdefault(result.reason or "no reason given", []).append(result.id)
    if reasons:
        yield f"{sum(map(len, reasons.values()))} skipped", STYLES["skip"]
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{len(names)}: {safe(reason)} ({safe(', '.join(names[:3]))}{more})", ""


def _slowest(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    slow = sorted((result for result in results if result.seconds > SLOW), key=lambda result: -result.seconds)[:5]
    if slow:
        yield "slowest", "dim"
    for result in slow:
        yield f"{result.seconds:.2f} s  {safe(result.id)}", "dim"


def _meaning(results: Sequence[Result], interrupted: bool, status: int | None) -> str:
    if interrupted:
        return f"interrupted (exit {status or '130 or 143'})"
    status = exit_status(results) if status is None else status
    counts = summary(results)
    if status == 0:
        words = "the client does what it must"
    elif counts["fail"] or counts["error"]:
        broken = {"fail": "an expectation did not hold", "error": "a case could not be judged"}
        words = " and ".join(text for verdict, text in broken.items() if counts[verdict])
    else:
        words = "nothing passed" if status == 1 else "results are missing"
    return f"{words} (exit {status})"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
