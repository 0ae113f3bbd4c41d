"""A broken client as a program: `python tests/mutants/mutant.py NAME` speaks the client command protocol.

`python tests/mutants/mutant.py --list` prints each mutant with the scenarios that catch it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import business
import hostile
import incoming
import lines
import outgoing
import outside
import reading
import retrying
import trusting
from registry import MUTANTS

PARTS = (outgoing, incoming, business, hostile, reading, retrying, trusting, lines, outside)


def listing() -> str:
    from ruamel.yaml import YAML

    catalogue = YAML(typ="safe", pure=True).load(Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8"))
    lines = []
    for name, patch in MUTANTS.items():
        lines.append(f"{name}: {(patch.__doc__ or '').strip().splitlines()[0]}")
        lines += [f"    {scenario}  breaks  {broken}" for scenario, broken in catalogue.get(name, {}).items()]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    if arguments == ["--list"]:
        sys.stdout.write(listing() + "\n")
        return 0
    if len(arguments) != 1 or arguments[0] not in MUTANTS:
        sys.stderr.write(f"name one of: {', '.join(MUTANTS)}\n")
        return 2
    MUTANTS[arguments[0]]()
    from harness.clientstack.protocol import serve

    return serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
