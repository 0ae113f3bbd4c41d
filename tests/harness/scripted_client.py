"""A client under test whose manners are given on its command line, for tests of the driver."""

from __future__ import annotations

import json
import os
import sys
import time

MANNER = sys.argv[1] if len(sys.argv) > 1 else "good"
HELLO = {"protocol": 1, "name": "scripted", "version": "1.2", "features": ["send", "queue", "starttls"]}


def say(reply: object) -> None:
    sys.stdout.write((reply if isinstance(reply, str) else json.dumps(reply)) + "\n")
    sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if request["action"] == "hello":
            if MANNER == "twice-greeted" and os.path.exists(sys.argv[2]):
                sys.exit("greeted twice")
            if MANNER == "twice-greeted":
                with open(sys.argv[2], "w", encoding="utf-8") as mark:
                    mark.write("greeted")
            say({"id": request["id"], **HELLO, "unknown": True})
            continue
        reply: dict[str, object] = {"id": request["id"], "results": [], "rate_limited_until": None, "pid": os.getpid()}
        match MANNER:
            case "hangs":
                with open(sys.argv[2], "w", encoding="utf-8"):
                    time.sleep(600)
            case "silent":
                time.sleep(600)
            case "dies":
                sys.exit(3)
            case "not-json":
                say("hello there")
            case "wrong-id":
                say({**reply, "id": 99})
            case "wrong-category":
                error = {"category": "unhappy", "text": ""}
                say({**reply, "results": [{"message": "m1", "outcome": "failed", "error": error}]})
            case "long":
                say({**reply, "results": [{"message": "m" * 3_000_000, "outcome": "sent"}]})
            case "complains":
                sys.stderr.write("something is odd\n")
                sys.stderr.flush()
                say(reply)
            case "environment":
                say({**reply, "results": [{"message": json.dumps(dict(os.environ)), "outcome": "sent"}]})
            case _:
                say(reply)
        if MANNER in ("leaves", "twice-greeted"):
            sys.exit(0)
        if MANNER == "leaves-crossly":
            sys.exit(7)


main()
