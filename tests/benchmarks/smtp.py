"""What SMTP costs: our server beside bare aiosmtpd, in one run, as ratios of the CPU time that the servers took.

Run it as `python tests/benchmarks/smtp.py [ROW...]`; it prints and gates nothing. Every server is a process of its
own and this one is the client; rounds of the servers take turns, so that a machine under load slows them alike, and the
least of some turns counts. `bare` is no server but the same replies on asyncio's transport: the floor. CPU time and
memory are read from /proc, so it needs Linux. smtp-server (nodemailer) and smtp-sink (Postfix) join in where
they are installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakeservers import FakeMailHost, load_profile
from fakeservers.connection import Connection
from fakeservers.profile import Service
from fakeservers.site import Site
from fakeservers.smtp.session import SmtpSession

SENDER, RECIPIENT = b"carol@elsewhere.example", b"alice@example.test"
TEXT = b"Subject: benchmark\r\nFrom: carol@elsewhere.example\r\nTo: alice@example.test\r\n\r\n"
LINE = b"0123456789 The quick brown fox jumps over the lazy dog; and again it does\r\n"
SMALL = TEXT + LINE * ((2048 - len(TEXT)) // len(LINE))
LARGE = TEXT + LINE * (1_000_000 // len(LINE))
CONNECTIONS = 8
ENVELOPE = [b"MAIL FROM:<%s>\r\n" % SENDER, b"RCPT TO:<%s>\r\n" % RECIPIENT, b"DATA\r\n"]
Sockets = Sequence[socket.socket]


# --- servers


def serve(role: str, certificate: str) -> None:
    """Run one server until standard input ends; its port and its service with implicit TLS stand on the first line."""
    if role == "aiosmtpd":
        from aiosmtpd.controller import Controller
        from aiosmtpd.handlers import Sink

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        port = _free_port()
        controller = Controller(
            Sink(), hostname="127.0.0.1", port=port, server_hostname="localhost", tls_context=context
        )
        controller.start()
        _tell(port, 0)
        controller.stop()
        return
    if role == "bare":
        asyncio.run(_bare())
        return
    with our_host(role) as host:
        ports = host.endpoints()["ports"]
        _tell(ports["smtp"], ports["smtps"])
        assert not host.errors, host.errors[0]


class _Bare(asyncio.BufferedProtocol):
    """The same dialogue and nothing else: what asyncio's own transport and the system take, and no server can beat
    by much."""

    _buffer = memoryview(bytearray(1 << 18))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._in_data, self._kept = False, b""
        transport.write(b"220 bare\r\n")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data, said = self._kept + self._buffer[:nbytes].tobytes(), b""
        while data:
            end = data.find(b"\r\n.\r\n" if self._in_data else b"\n")
            if end < 0:
                data = data[-4:] if self._in_data else data
                break
            verb, data = data[:4], data[end + (5 if self._in_data else 1) :]
            ended, self._in_data = self._in_data, not self._in_data and verb == b"DATA"
            said += b"354 go on\r\n" if self._in_data else b"250 2.0.0 OK\r\n"
            if verb == b"QUIT" and not ended:
                self._transport.write(said)
                self._transport.close()
                return
        self._kept = data
        if said:
            self._transport.write(said)


async def _bare() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Bare, "127.0.0.1", 0, backlog=512)
    async with server:
        await loop.run_in_executor(None, _tell, server.sockets[0].getsockname()[1], 0)


def our_host(provider: str) -> FakeMailHost:
    """Gmail has no port 25; with one, without a login and its limits, both profiles do the same work."""
    profile = load_profile(provider)
    plain = Service(host=profile.services["submission"].host, port=25)
    profile = profile.model_copy(update={"services": {**profile.services, "smtp": plain}})
    return FakeMailHost(profile, users={RECIPIENT.decode(): "secret"}, services=["smtp", "smtps"])


def _tell(plain: int, tls: int) -> None:
    sys.stdout.write(json.dumps([plain, tls]) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


@dataclass
class Server:
    name: str
    pid: int
    port: int
    tls_port: int = 0

    def cpu(self) -> float:
        """Seconds of CPU that all threads have had."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9

    def memory(self) -> int:
        """Octets that are this process's own."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
        raise OSError("no Pss_Anon in smaps_rollup")


@contextlib.contextmanager
def running(role: str, certificate: str = "") -> Iterator[Server]:
    command = [sys.executable, __file__, "--serve", role, "--certificate", certificate]
    if role == "smtp-sink":
        port = _free_port()
        command = ["smtp-sink", f"127.0.0.1:{port}", "512"]
    elif role == "smtp-server":
        command = ["node", "-e", NODE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if role == "smtp-sink":
                _await(port)
                yield Server(role, process.pid, port)
            else:
                yield Server(role, process.pid, *json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            if role in ("smtp-sink", "smtp-server"):
                process.terminate()
            process.wait(20)


NODE = """
const {SMTPServer} = require('smtp-server');
const server = new SMTPServer({authOptional: true, disabledCommands: ['STARTTLS'], disableReverseLookup: true,
  onData(stream, session, done) { stream.on('data', () => {}); stream.on('end', done); }});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify([server.server.address().port, 0])));
"""


def others() -> list[str]:
    found = []
    if shutil.which("node") and subprocess.run(
        ["node", "-e", "require('smtp-server')"], capture_output=True, check=False
    ).returncode == 0:  # fmt: skip
        found.append("smtp-server")
    if shutil.which("smtp-sink"):
        found.append("smtp-sink")
    return found


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _await(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)


# --- the client: some sockets in step, so that the server always has work


def connect(port: int, count: int) -> list[socket.socket]:
    sockets = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets.append(sock)
    replies(sockets, b"220")
    return sockets


def replies(sockets: Sockets, code: bytes, count: int = 1) -> None:
    """Take `count` replies, the last with `code`, from each."""
    for sock in sockets:
        text = b""
        while not text.endswith(b"\r\n") or _whole(text) < count:
            chunk = sock.recv(65536)
            assert chunk, text
            text += chunk
        assert text.rsplit(b"\r\n", 2)[-2].startswith(code), text


def _whole(text: bytes) -> int:
    return sum(line[3:4] == b" " for line in text.split(b"\r\n"))


def ask(sockets: Sockets, line: bytes, code: bytes = b"2") -> None:
    for sock in sockets:
        sock.sendall(line)
    replies(sockets, code)


def message(sockets: Sockets, content: bytes) -> None:
    ask(sockets, ENVELOPE[0])
    ask(sockets, ENVELOPE[1])
    ask(sockets, ENVELOPE[2], b"354")
    ask(sockets, content + b".\r\n")


def close(sockets: Sockets) -> None:
    for sock in sockets:
        sock.close()


def many(server: Server, rounds: int, content: bytes = SMALL) -> None:
    sockets = connect(server.port, CONNECTIONS)
    ask(sockets, b"EHLO client.example\r\n")
    for _ in range(rounds):
        message(sockets, content)
    ask(sockets, b"QUIT\r\n")
    close(sockets)


def large(server: Server, rounds: int) -> None:
    many(server, rounds, LARGE)


def one(server: Server, rounds: int) -> None:
    for _ in range(rounds):
        sockets = connect(server.port, CONNECTIONS)
        ask(sockets, b"EHLO client.example\r\n")
        message(sockets, SMALL)
        ask(sockets, b"QUIT\r\n")
        close(sockets)


def starttls(server: Server, rounds: int) -> None:
    sockets = connect(server.port, CONNECTIONS)
    ask(sockets, b"EHLO client.example\r\n")
    ask(sockets, b"STARTTLS\r\n")
    sockets = [_secured(sock) for sock in sockets]
    ask(sockets, b"EHLO client.example\r\n")
    for _ in range(rounds):
        message(sockets, SMALL)
    ask(sockets, b"QUIT\r\n")
    close(sockets)


def pipelined(server: Server, rounds: int) -> None:
    """The envelope in one segment (RFC 2920), each message's end with the envelope of the next."""
    sockets = connect(server.port, CONNECTIONS)
    ask(sockets, b"EHLO client.example\r\n")
    envelope = b"".join(ENVELOPE)
    for number in range(rounds):
        for sock in sockets:
            sock.sendall((SMALL + b".\r\n" if number else b"") + envelope)
        replies(sockets, b"354", 4 if number else 3)
    ask(sockets, SMALL + b".\r\n")
    ask(sockets, b"QUIT\r\n")
    close(sockets)


def _secured(sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


# --- rows


@dataclass
class Row:
    name: str
    load: Callable[[Server, int], None]
    rounds: int
    goal: float
    """So many times bare aiosmtpd's messages for the same CPU time."""


ROWS = [
    Row("many per connection, 2 KB", many, 150, 4),
    Row("one per connection, 2 KB", one, 60, 3),
    Row("STARTTLS, many per connection, 2 KB", starttls, 100, 2),
    Row("many per connection, 1 MB", large, 3, 4),
    Row("pipelined, 2 KB", pipelined, 150, 4),
]
TURNS = 9
STARTTLS = ("aiosmtpd", "generic", "gmail")
"""Servers that have it here."""


def speed(rows: Sequence[Row], certificate: str) -> None:
    with contextlib.ExitStack() as stack:
        names = ["aiosmtpd", "bare", "generic", "gmail", *others()]
        servers = {name: stack.enter_context(running(name, certificate)) for name in names}
        for row in rows:
            _measure(row, servers)


def _measure(row: Row, servers: dict[str, Server]) -> None:
    able = [name for name in servers if row.load is not starttls or name in STARTTLS]
    best: dict[str, tuple[float, float]] = {}
    for name in able:
        row.load(servers[name], 2)
    for _ in range(TURNS):
        for name in able:
            server = servers[name]
            used, clock = server.cpu(), time.perf_counter()
            row.load(server, row.rounds)
            spent = (time.perf_counter() - clock, server.cpu() - used)
            best[name] = min(best.get(name, spent), spent, key=lambda pair: pair[1])
    count = row.rounds * CONNECTIONS
    bare = best["aiosmtpd"][1]
    say(f"\n{row.name} (goal: {row.goal:g} x aiosmtpd; gmail at most 1.15 x generic)")
    for name in able:
        wall, cpu = best[name]
        line = f"  {name:<12} {cpu / count * 1e6:8.1f} us CPU a message {bare / cpu:6.2f} x   {count / wall:7.0f}/s"
        if name == "gmail":
            line += f"   costs {cpu / best['generic'][1]:.2f} x generic"
        say(line)


def core() -> None:
    """The protocol core alone: no socket, no loop."""
    say("\nthe core alone, 2 KB")
    for name in ("generic", "gmail"):
        site = our_host(name).site
        sessions = 1000
        opened = _least(lambda site=site: _open_session(site), sessions)  # type: ignore[misc]
        talk = _open_session(site)
        parts = [*ENVELOPE, SMALL + b".\r\n"]
        each = _least(lambda talk=talk, parts=parts: [talk.receive(part) for part in parts], 1000)  # type: ignore[misc]
        say(f"  {name:<12} {each * 1e6:8.1f} us a message {opened * 1e6:8.1f} us a new session with EHLO")


def _least(work: Callable[[], object], times: int) -> float:
    """Seconds of CPU for one call, the best of some rounds."""
    taken = []
    for _ in range(5):
        used = time.process_time()
        for _ in range(times):
            work()
        taken.append((time.process_time() - used) / times)
    return min(taken)


def _open_session(site: Site) -> SmtpSession:
    session = SmtpSession(Connection(site, 1, "smtp", "smtp", "127.0.0.1"))
    session.connect()
    session.receive(b"EHLO client.example\r\n")
    return session


# --- memory


def memory(certificate: str, tls_connections: int) -> None:
    say("\nmemory")
    with running("generic") as server:
        many(server, 50)
        rounds = 2500
        before = server.memory()
        many(server, rounds)
        count = rounds * CONNECTIONS
        say(f"  a kept 2 KB message   {(server.memory() - before) / count:8.0f} octets (goal 3300; {count} messages)")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    for name in ("aiosmtpd", "generic"):
        with running(name, certificate) as server:
            _idle(server, min(10_000 if name == "generic" else 1_000, soft - 200), 8000)
    with running("generic") as server:
        _idle(server, min(tls_connections, soft - 200), 60_000, tls=True)


def _idle(server: Server, count: int, goal: int, *, tls: bool = False) -> None:
    close(_open(server, 50, tls=tls))
    time.sleep(0.2)
    before = server.memory()
    sockets = _open(server, count, tls=tls)
    each = (server.memory() - before) / count
    kind = "TLS" if tls else "plain"
    say(f"  an idle connection    {each:8.0f} octets (goal {goal}; {count} {kind} to {server.name})")
    close(sockets)


def _open(server: Server, count: int, *, tls: bool) -> list[socket.socket]:
    if not tls:
        return connect(server.port, count)
    sockets: list[socket.socket] = []
    for _ in range(count):
        sock = _secured(socket.create_connection(("127.0.0.1", server.tls_port), timeout=30))
        replies([sock], b"220")
        sockets.append(sock)
    return sockets


def start() -> None:
    """A host of seven ports beside a Controller of one."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Sink

    profile = load_profile("generic")

    def ours() -> None:
        with FakeMailHost(profile):
            pass

    port = _free_port()

    def theirs() -> None:
        controller = Controller(Sink(), hostname="127.0.0.1", port=port, server_hostname="localhost")
        controller.start()
        controller.stop()

    taken = {}
    for work in (ours, theirs):
        work()
        used = time.perf_counter()
        for _ in range(30):
            work()
        taken[work] = (time.perf_counter() - used) / 30
    ratio = taken[ours] / taken[theirs]
    say(f"\nstart and stop: seven ports {taken[ours] * 1000:.2f} ms, {ratio:.2f} x a Controller (goal 1.00)")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="words of the rows wanted, and core, memory, start (default: all)")
    parser.add_argument("--tls-connections", type=int, default=2_000, help="idle ones (10000 take a minute)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve, chosen.certificate)
        return
    import tempfile

    from trustme import CA

    with tempfile.TemporaryDirectory() as folder:
        certificate = str(Path(folder) / "server.pem")
        CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        rows = [row for row in ROWS if not chosen.rows or any(word in row.name for word in chosen.rows)]
        if rows:
            speed(rows, certificate)
        if not chosen.rows or "core" in chosen.rows:
            core()
        if not chosen.rows or "memory" in chosen.rows:
            memory(certificate, chosen.tls_connections)
        if not chosen.rows or "start" in chosen.rows:
            start()


if __name__ == "__main__":
    main()
