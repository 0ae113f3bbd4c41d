"""What starting costs: a host beside aiosmtpd's Controller, a process beside bare Python, a scenario beside its steps.

Run it as `python tests/benchmarks/starting.py`; it prints ratios of one run and gates nothing.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from fakeservers import FakeMailHost, load_profile
from harness.casefile import load_cases, scenario_files, shipped_folder
from harness.drivers import open_client
from harness.runner import run_case

ROUNDS = 30
SCENARIO = "generic/host-comma-port"


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of several rounds, after one that does not count."""
    work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return median(taken)


def controller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    one = Controller(Sink(), hostname="127.0.0.1", port=port, server_hostname="localhost")
    one.start()
    one.stop()


def host(profile: object) -> None:
    with FakeMailHost(profile):  # type: ignore[arg-type]
        pass


def process(code: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


def command(*arguments: str) -> Callable[[], object]:
    mailrig = Path(sys.executable).with_name("mailrig")
    return lambda: subprocess.run([mailrig, *arguments], check=True, capture_output=True)


def show(what: str, measured: float, beside: str, other: float) -> None:
    sys.stdout.write(
        f"{what:<52} {measured * 1000:8.2f} ms   {measured / other:6.2f} x {beside} ({other * 1000:.2f} ms)\n"
    )


def main() -> None:
    profile = load_profile("generic")
    one_port = seconds(controller)
    show("start and stop a host of seven listeners", seconds(lambda: host(profile)), "aiosmtpd Controller", one_port)

    bare = seconds(process("pass"), 5)
    listening = "from fakeservers import FakeMailHost\nwith FakeMailHost('gmail'): pass"
    show("process start to a listening gmail host, and out", seconds(process(listening), 5), "bare Python", bare)
    show("mailrig run ONE-ID", seconds(command("run", "-q", SCENARIO), 5), "bare Python", bare)

    client = open_client("reference")
    overheads, wholes = [], []
    for file in scenario_files(shipped_folder()):
        for case in load_cases(file):
            asked = 0.0
            ask = client.ask

            def timed(*arguments: object, ask: Callable[..., object] = ask) -> object:
                nonlocal asked
                started = time.perf_counter()
                try:
                    return ask(*arguments)
                finally:
                    asked += time.perf_counter() - started

            client.ask = timed  # type: ignore[method-assign,assignment]
            try:
                whole = run_case(case, client, now=float(int(time.time())), seed=1).seconds
            finally:
                client.ask = ask  # type: ignore[method-assign]
            overheads.append(whole - asked)
            wholes.append(whole)
    client.close()
    show("a scenario's own overhead, median", median(overheads), "the whole scenario", median(wholes))


if __name__ == "__main__":
    main()
