"""What POP3 costs: our server beside Dovecot, in one run, as ratios. It prints and gates nothing."""

from __future__ import annotations

import contextlib
import resource
import statistics
import time

from imap import SIZE, fill
from peers import Line, Peer, others, running, say

COUNT = 5000


def login(peer: Peer, *, tls: bool = False) -> Line:
    line = Line(peer.ports["pop3s" if tls else "pop3"], tls=tls)
    for command in (b"USER " + peer.user.encode(), b"PASS " + peer.password.encode()):
        line.sock.sendall(command + b"\r\n")
        assert line.until(b"\r\n").startswith(b"+OK")
    return line


def retr(peer: Peer) -> float:
    """RETR pipelined, MB a second"""
    line = login(peer)
    commands = [b"".join(b"RETR %d\r\n" % n for n in range(first, first + 100)) for first in range(1, COUNT + 1, 100)]
    octets = []
    for command in commands:
        # The first time each answer's length is learnt, so that the second time nobody looks for its end.
        line.sock.sendall(command)
        octets.append(sum(len(line.until(b"\r\n.\r\n")) for _ in range(100)))
    start = time.perf_counter()
    for command, size in zip(commands, octets, strict=True):
        line.sock.sendall(command)
        line.swallow(size)
    taken = time.perf_counter() - start
    _leave(line)
    return COUNT * SIZE / taken / 1e6


def one(peer: Peer) -> float:
    """RETR of one message, ms"""
    line = login(peer)
    each = []
    for number in range(1, 300):
        start = time.perf_counter()
        line.sock.sendall(b"RETR %d\r\n" % number)
        line.until(b"\r\n.\r\n")
        each.append(time.perf_counter() - start)
    _leave(line)
    return statistics.median(each) * 1000


def listing(peer: Peer) -> float:
    """login, LIST and UIDL, ms"""
    start = time.perf_counter()
    line = login(peer)
    for command in (b"LIST\r\n", b"UIDL\r\n"):
        line.sock.sendall(command)
        line.until(b"\r\n.\r\n")
    taken = time.perf_counter() - start
    _leave(line)
    return taken * 1000


def _leave(line: Line) -> None:
    line.sock.sendall(b"QUIT\r\n")
    line.until(b"\r\n")
    line.close()


def idle_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    for service, wanted, goal in (("pop3", 10_000, 4096), ("pop3s", 2_000, 60_000)):
        with running("mailrig") as peer:
            count = min(wanted, soft - 200)
            tls = service == "pop3s"
            for line in [Line(peer.ports[service], tls=tls) for _ in range(20)]:
                line.close()
            before = peer.memory()
            lines = [Line(peer.ports[service], tls=tls) for _ in range(count)]
            say(f"\n{count} idle on {service}: {(peer.memory() - before) / count:.0f} octets each (goal {goal})")
            for line in lines:
                line.close()


def main() -> None:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(running(name)) for name in ["mailrig", *others("pop3")]]
        for peer in peers:
            fill(peer, COUNT)
        for measure, higher, goal in ((retr, True, "1.5 x Dovecot"), (one, False, ""), (listing, False, "")):
            turns = [{peer.name: measure(peer) for peer in peers} for _ in range(3)]
            best = {name: (max if higher else min)(turn[name] for turn in turns) for name in turns[0]}
            say(f"\n{(measure.__doc__ or '').strip()}{f' (goal: {goal})' if goal else ''}")
            for name, figure in best.items():
                ratio = best["mailrig"] / figure if higher else figure / best["mailrig"]
                say(f"  {name:<11} {figure:12.2f}" + ("" if name == "mailrig" else f"   mailrig: {ratio:8.1f} x"))
    idle_connections()


if __name__ == "__main__":
    main()
