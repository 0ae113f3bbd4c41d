"""What IMAP costs: our server beside pymap, hoodiecrow-imap and Dovecot, in one run, as ratios.

Run it as `python tests/benchmarks/imap.py [ROW...]`; it prints and gates nothing, and takes some minutes beside all of
them. The best of three turns counts where a turn is short, and the servers take turns, so that a machine under load
slows them alike. All have the same 10,000 messages of 2 KB: pymap is half as fast with them as it is with some hundred.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

from peers import Line, Peer, others, running, say

HEAD = (
    b"From: Carol <carol@elsewhere.example>\r\nTo: alice@example.test\r\nSubject: benchmark %06d\r\n"
    b"Date: Mon, 4 Aug 2025 11:15:30 +0000\r\nMessage-ID: <%d@elsewhere.example>\r\n\r\n"
)
TEXT = b"0123456789 The quick brown fox jumps over the lazy dog; and again it does\r\n"
SIZE = 2048
MANY = 10_000
WINDOW = 20
"""APPENDs sent together; the next go out before the answers to these are read."""
METADATA = b"FETCH 1:* (UID FLAGS RFC822.SIZE ENVELOPE)"
Measures = dict[str, float]


def message(number: int) -> bytes:
    head = HEAD % (number, number)
    return (head + TEXT * (SIZE // len(TEXT) + 1))[: SIZE - 2] + b"\r\n"


def login(peer: Peer, *, tls: bool = False) -> Line:
    line = Line(peer.ports["imaps" if tls else "imap"], tls=tls)
    line.ask(b"LOGIN %b %b" % (peer.user.encode(), peer.password.encode()))
    return line


def selected(peer: Peer, *, tls: bool = False) -> Line:
    line = login(peer, tls=tls)
    line.ask(b"SELECT INBOX")
    return line


def filled(peer: Peer) -> Line:
    """A session in a mailbox that has all the messages."""
    missing = MANY - exists(peer)
    if missing > 0:
        fill(peer, missing)
    return selected(peer)


def fill(peer: Peer, count: int) -> float:
    """APPEND by non-synchronizing literals, pipelined; returns seconds."""
    line = login(peer)
    commands = [b"a APPEND INBOX {%d+}\r\n%b\r\n" % (SIZE, message(number)) for number in range(count)]
    batches = [commands[first : first + WINDOW] for first in range(0, count, WINDOW)]
    start = time.perf_counter()
    line.sock.sendall(b"".join(batches[0]))
    for batch, following in zip(batches, [*batches[1:], []], strict=True):
        line.sock.sendall(b"".join(following))
        for _ in batch:
            line.answer(b"a")
    taken = time.perf_counter() - start
    line.close()
    return taken


def exists(peer: Peer) -> int:
    line = login(peer)
    said = line.ask(b"STATUS INBOX (MESSAGES)")
    line.close()
    return int(said.partition(b"MESSAGES ")[2].partition(b")")[0])


def whole(line: Line, command: bytes, turns: int) -> float:
    """Seconds for a long answer, whose length is learnt first so that nobody looks for its end; the best turn."""
    octets = len(line.ask(command))

    def again() -> None:
        line.sock.sendall(b"t " + command + b"\r\n")
        line.swallow(octets)

    return min(timed(again) for _ in range(turns))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- rows: each gives its figure for one peer


def append(peer: Peer) -> float:
    """messages a second, each literal after its continuation request"""
    line = login(peer)
    contents = [message(number) for number in range(2000 if peer.name in ("mailrig", "dovecot") else 300)]
    start = time.perf_counter()
    for content in contents:
        line.sock.sendall(b"a APPEND INBOX {%d}\r\n" % len(content))
        line.until(b"\r\n")
        line.sock.sendall(content + b"\r\n")
        line.answer(b"a")
    taken = time.perf_counter() - start
    line.close()
    return len(contents) / taken


def append_pipelined(peer: Peer) -> float:
    """messages a second"""
    return MANY / fill(peer, MANY)


def metadata_first(peer: Peer) -> float:
    """messages a second, nobody has asked before"""
    line = filled(peer)
    count = exists(peer)
    taken = timed(lambda: line.ask(METADATA))
    line.close()
    return count / taken


def metadata_again(peer: Peer) -> float:
    """messages a second"""
    line = filled(peer)
    count = exists(peer)
    taken = whole(line, METADATA, 1 if peer.name == "pymap" else 6)
    line.close()
    return count / taken


def bodies(peer: Peer) -> float:
    """MB a second"""
    line = filled(peer)
    count = 5000
    taken = whole(line, b"FETCH 1:%d BODY.PEEK[]" % count, 2)
    line.close()
    return count * SIZE / taken / 1e6


def one_fetch(peer: Peer) -> float:
    """ms"""
    line = filled(peer)
    count = exists(peer)
    rounds = 20 if peer.name == "hoodiecrow" else 100
    each = [
        timed(partial(line.ask, b"FETCH %d (UID FLAGS BODY.PEEK[])" % (1 + number * 37 % count)))
        for number in range(rounds)
    ]
    line.close()
    return statistics.median(each) * 1000


def idle_notification(peer: Peer) -> float:
    """ms from APPEND to EXISTS in another session"""
    idler, other = selected(peer), login(peer)
    content = message(0)
    told = []
    for _ in range(5 if peer.name == "dovecot" else 30):
        idler.sock.sendall(b"i IDLE\r\n")
        idler.until(b"+ ")
        idler.until(b"\r\n")
        start = time.perf_counter()
        other.sock.sendall(b"a APPEND INBOX {%d+}\r\n%b\r\n" % (len(content), content))
        idler.until(b" EXISTS\r\n")
        told.append(time.perf_counter() - start)
        other.answer(b"a")
        idler.sock.sendall(b"DONE\r\n")
        idler.answer(b"i")
    idler.close()
    other.close()
    return statistics.median(told) * 1000


def logging_in(peer: Peer) -> float:
    """ms for LOGIN"""
    each = []
    for _ in range(30):
        line = Line(peer.ports["imap"])
        command = b"LOGIN %b %b" % (peer.user.encode(), peer.password.encode())
        each.append(timed(partial(line.ask, command)))
        line.close()
    return statistics.median(each) * 1000


HIGHER, LOWER = True, False
ROWS: list[tuple[str, Callable[[Peer], float], int, bool, str]] = [
    ("append-pipelined", append_pipelined, 1, HIGHER, "25 x pymap"),
    ("metadata-first", metadata_first, 1, HIGHER, "30 x pymap, 3 x hoodiecrow"),
    ("metadata-again", metadata_again, 3, HIGHER, "200 x pymap, 8 x hoodiecrow"),
    ("bodies", bodies, 3, HIGHER, "45 x pymap, 1.8 x Dovecot"),
    ("one-fetch", one_fetch, 3, LOWER, ""),
    ("idle", idle_notification, 3, LOWER, "1.5 ms"),
    ("login", logging_in, 3, LOWER, "1 ms"),
    ("append", append, 3, HIGHER, ""),
]
"""Name, what it does, turns, which figure is the better one, goal."""


def compare(wanted: list[str]) -> None:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(running(name)) for name in ["mailrig", *others("imap")]]
        for name, measure, turns, higher, goal in ROWS:
            if wanted and name not in wanted:
                continue
            best: Measures = {}
            for _ in range(turns):
                for peer in peers:
                    figure = measure(peer)
                    known = best.get(peer.name, figure)
                    best[peer.name] = max(known, figure) if higher else min(known, figure)
            say(f"\n{name}: {(measure.__doc__ or '').strip()}{f' (goal: {goal})' if goal else ''}")
            ours = best["mailrig"]
            for peer_name, figure in best.items():
                ratio = ours / figure if higher else figure / ours
                beside = "" if peer_name == "mailrig" else f"   mailrig: {ratio:8.1f} x"
                say(f"  {peer_name:<11} {figure:12.2f}{beside}")


# --- growth and memory: ours alone


def growth() -> None:
    """What one message costs in a mailbox of 1,000 and of 100,000, and a message of a whole-mailbox command."""
    found: dict[int, Measures] = {}
    for count in (1_000, 100_000):
        with running("mailrig") as peer:
            before = peer.memory()
            rate = count / fill(peer, count)
            used = peer.memory() - before
            line = selected(peer)
            say(f"\n{count} messages: APPEND {rate:.0f}/s, {used / count:.0f} octets each, {used / 1e6:.0f} MB in all")
            line.ask(METADATA if count <= 1000 else b"FETCH 1:1000 (UID FLAGS RFC822.SIZE ENVELOPE)")
            figures: Measures = {}
            for name, command in (
                ("SELECT", b"SELECT INBOX"),
                ("one FETCH", b"FETCH %d (UID FLAGS BODY.PEEK[])" % (count // 2)),
                ("one UID FETCH", b"UID FETCH %d (FLAGS)" % (count // 2)),
                ("STORE", b"STORE %d +FLAGS (\\Flagged)" % (count // 3)),
                ("STORE back", b"STORE %d -FLAGS (\\Flagged)" % (count // 3)),
            ):
                figures[name] = statistics.median(timed(partial(line.ask, command)) for _ in range(60)) * 1000
            figures["IDLE notification"] = idle_notification(peer)
            for name, command in (
                ("FETCH 1:* FLAGS", b"FETCH 1:* (UID FLAGS)"),
                ("SEARCH UNSEEN", b"SEARCH UNSEEN"),
                ("STORE 1:*", b"STORE 1:* +FLAGS.SILENT (\\Seen)"),
                ("FETCH bodies", b"FETCH 1:* BODY.PEEK[]"),
            ):
                line.ask(command)  # what is news is said once
                figures[name] = whole(line, command, 3) * 1e6 / count
            found[count] = figures
    say("\ngrowth (goal: 1.5 x in ms for one message, 1.3 x in us a message for whole mailboxes)")
    for name, small in found[1_000].items():
        large = found[100_000][name]
        say(f"  {name:<18} {small:9.3f} {large:9.3f}   {large / small:5.2f} x")


def idle_connections() -> None:
    """Octets that a connection in IDLE costs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    for tls, wanted, goal in ((False, 10_000, 4096), (True, 2_000, 60_000)):
        with running("mailrig") as peer:
            count = min(wanted, soft - 200)
            for line in [_idling(peer, tls) for _ in range(20)]:
                line.close()
            before = peer.memory()
            lines = [_idling(peer, tls) for _ in range(count)]
            each = (peer.memory() - before) / count
            kind = "with TLS" if tls else "in clear"
            say(f"\n{count} connections in IDLE {kind}: {each:.0f} octets each (goal {goal})")
            for line in lines:
                line.close()


def _idling(peer: Peer, tls: bool) -> Line:
    line = selected(peer, tls=tls)
    line.sock.sendall(b"i IDLE\r\n")
    line.until(b"+ ")
    line.until(b"\r\n")
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="rows wanted, and growth, idle-connections (default: all)")
    wanted = parser.parse_args().rows
    if not wanted or any(row in wanted for row, *_ in ROWS):
        compare(wanted)
    if not wanted or "growth" in wanted:
        growth()
    if not wanted or "idle-connections" in wanted:
        idle_connections()


if __name__ == "__main__":
    main()
