"""`python -m harness.clientstack`: the reference client as a child process."""

from __future__ import annotations

import sys

from .protocol import serve

if __name__ == "__main__":
    try:
        sys.exit(serve(sys.stdin.buffer, sys.stdout.buffer))
    except (BrokenPipeError, KeyboardInterrupt):
        # Nobody is there to read a reply any more.
        sys.stdout = None
        sys.exit(0)
