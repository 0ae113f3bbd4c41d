"""What the client costs: a queue of 100,000 messages, and 10,000 messages sent beside a bare smtplib loop.

Run it as `python tests/benchmarks/client.py [MESSAGES]`; it prints figures and ratios of one run and gates nothing.
"""

from __future__ import annotations

import resource
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from harness.clientstack import Message, Outbox, Queue, Settings
from harness.clientstack.queued import NewMessage
from harness.clientstack.store import Store

NOW = datetime.now(UTC)
QUEUED = 100_000
HOST = """
import sys
from fakeservers import FakeMailHost
with FakeMailHost("generic", keep_connections=1, keep_bytes=1) as host:
    print(host.endpoints()["ports"]["smtp"], flush=True)
    sys.stdin.read()
"""


@contextmanager
def host() -> Iterator[int]:
    """A generic host in another process; gives its port 25."""
    process = subprocess.Popen([sys.executable, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin:
        yield int(process.stdout.readline())


def eml(number: int) -> bytes:
    head = (
        f"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: {number}\r\n"
        f"Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{number}@example.test>\r\n\r\n"
    )
    return (head + ("x" * 76 + "\r\n") * 24).encode()


def milliseconds(work: Callable[[], object], rounds: int = 25) -> float:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return median(taken)


def show(what: str, value: str) -> None:
    sys.stdout.write(f"{what:<60} {value}\n")
    sys.stdout.flush()


def queue_of_many() -> None:
    with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
        queue = Queue(store, NOW)
        started = time.perf_counter()
        for start in range(0, QUEUED, 10_000):
            queue.add_all(
                [
                    NewMessage(f"m{number}", "alice@example.test", {"bob@example.test": None}, eml(number), str(number))
                    for number in range(start, start + 10_000)
                ]
            )
        show(f"queueing {QUEUED:,} messages", f"{time.perf_counter() - started:8.2f} s")
        show("  listing the newest 100", f"{milliseconds(lambda: queue.overview(limit=100)):8.2f} ms")
        show("  listing 100 of one state", f"{milliseconds(lambda: queue.overview('not-done', 100)):8.2f} ms")
        show("  picking the next", f"{milliseconds(queue.next_pending):8.2f} ms")
        number = queue.next_pending() or 0
        show("  reading it", f"{milliseconds(lambda: queue.message(number)):8.2f} ms")
        message = queue.message(number)
        show("  marking it as on its way", f"{milliseconds(lambda: queue.sending(number, message.pending)):8.2f} ms")

        def record() -> None:
            queue.record(message, {"bob@example.test": None}, attempted=True, not_before=None)

        show("  recording its outcome", f"{milliseconds(record):8.2f} ms")


def bare(port: int, count: int) -> float:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test") as client:
        client.ehlo_or_helo_if_needed()
        started = time.perf_counter()
        for number in range(count):
            client.sendmail("alice@example.test", ["bob@example.test"], eml(number))
        return time.perf_counter() - started


def ours(port: int, count: int) -> float:
    settings = Settings.from_json({"outgoing": {"host": "127.0.0.1", "port": port, "security": "none"}})
    with tempfile.TemporaryDirectory() as folder, Outbox(settings, Path(folder), NOW) as outbox:
        messages = [Message(f"m{n}", "alice@example.test", ("bob@example.test",), eml(n)) for n in range(count)]
        started = time.perf_counter()
        report = outbox.send(messages)
        taken = time.perf_counter() - started
    assert all(result.outcome == "sent" for result in report.results)
    return taken


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with host() as port:
        bare(port, 200)
        share = count // 4
        alone = together = 0.0
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(4):
            # In turns, so that a busy moment of the machine meets both.
            alone += bare(port, share)
            together += ours(port, share)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    show(f"{count:,} messages of 2 KB by a bare smtplib loop", f"{count / alone:8.0f} a second")
    ratio = alone / together
    show("the same through queue and history", f"{count / together:8.0f} a second, {ratio:.2f} of that")
    show("memory that sending added at its peak", f"{(after - before) / 1024:8.1f} MB")
    # Last, as it needs more memory than all before it.
    queue_of_many()


if __name__ == "__main__":
    main()
