"""The dialogue of a case on a terminal: the client on the left, the server on the right, events between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.reports.wording import safe

__all__ = ["dialogue"]

SHOWN_LINES = 24
MARGIN = 6
"""Columns on the left, for the step's number."""
Line = Mapping[str, Any]


def dialogue(lines: Sequence[Line], console: Console, *, shown: int = SHOWN_LINES) -> Iterator[Text]:
    """The last `shown` of `lines` (as in `Result.dialogue`), as lines of the console's width."""
    return _Page(console).lay_out(lines, shown)


class _Page:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._column = max(12, (console.width - MARGIN - 3) // 2)
        ascii_only = console.options.ascii_only
        self._bar = "|" if ascii_only else "\u2502"
        self._dash = "-" if ascii_only else "\u2500"

    def lay_out(self, lines: Sequence[Line], shown: int) -> Iterator[Text]:
        last = lines[-shown:]
        if len(last) < len(lines):
            yield Text(f"{' ' * MARGIN}({len(lines) - len(last)} earlier lines left out)", "dim")
        yield from self._row(" step ", Text("client", "dim"), Text("server", "dim"))
        connection: object = None
        step: object = None
        waiting: tuple[str, Text] | None = None
        for line in last:
            direction, text = line.get("direction"), Text(_lines(str(line.get("text", ""))))
            number = "" if line.get("step") == step else f"{line.get('step', ''):>5} "
            moved = line.get("connection") != connection
            if waiting is not None and (direction != "S" or number or moved):
                yield from self._row(*waiting, Text())
                waiting = None
            step, connection = line.get("step"), line.get("connection")
            if moved:
                yield self._between(safe(f"connection {connection}, {line.get('service', '')}"), self._dash)
            if direction == "C":
                waiting = number, text
            elif direction == "S":
                if line.get("rule"):
                    text.append(f"  (rule {safe(line['rule'])})", "dim")
                left = waiting or (number, Text())
                waiting = None
                yield from self._row(*left, text)
            else:
                yield from self._event(number, text)
        if waiting is not None:
            yield from self._row(*waiting, Text())

    def _row(self, number: str, client: Text, server: Text) -> Iterator[Text]:
        cells = (cell.wrap(self._console, self._column, overflow="fold") for cell in (client, server))
        for index, (left, right) in enumerate(zip_longest(*cells, fillvalue=Text())):
            left.rstrip()
            right.rstrip()
            bar = f" {self._bar} " if right.plain else f" {self._bar}"
            gap = " " * (self._column - left.cell_len)
            yield Text.assemble((f"{number if index == 0 else '':<{MARGIN}}", "dim"), left, gap, (bar, "dim"), right)

    def _event(self, number: str, words: Text) -> Iterator[Text]:
        for index, part in enumerate(words.wrap(self._console, 2 * self._column + 3, overflow="fold")):
            part.rstrip()
            line = self._between(part.plain, " ")
            yield Text.assemble((f"{number if index == 0 else '':<{MARGIN}}", "dim"), line[MARGIN:])

    def _between(self, words: str, fill: str) -> Text:
        side = fill * max(0, (2 * self._column + 1 - Text(words).cell_len) // 2)
        return Text(f"{' ' * MARGIN}{side} {words} {side}".rstrip(), "dim")


def _lines(text: str) -> str:
    """The lines of a reply under one another; the transcript writes the line ends between them as escapes."""
    return safe(text.replace("\\r\\n", "\n")).removesuffix("\n")
