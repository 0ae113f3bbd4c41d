"""Mail servers to measure side by side, each a process of its own: ours, pymap, hoodiecrow-imap, Dovecot.

pymap is found as `pymap` on the PATH or as $PYMAP, hoodiecrow-imap through NODE_PATH, Dovecot as `dovecot` (root only).
CPU time and memory are read from /proc, so this needs Linux.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["USER", "Line", "Peer", "certificate", "others", "running", "say", "serve"]

_SINK = bytearray(1 << 18)
USER, PASSWORD = "alice@example.test", "secret"


@dataclass
class Peer:
    name: str
    pid: int
    ports: dict[str, int] = field(default_factory=dict)
    user: str = USER
    password: str = PASSWORD

    def memory(self) -> int:
        """Octets that are this process's own."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
        raise OSError("no Pss_Anon in smaps_rollup")


class Line:
    """One connection that speaks in lines."""

    def __init__(self, port: int, *, tls: bool = False) -> None:
        sock = socket.create_connection(("127.0.0.1", port), timeout=120)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        self.sock = sock
        self.buffer = bytearray()
        self.until(b"\r\n")

    def fill(self) -> None:
        data = self.sock.recv(1 << 18)
        assert data, bytes(self.buffer[-200:])
        self.buffer += data

    def until(self, end: bytes) -> bytes:
        """What comes, up to and with `end`."""
        searched = 0
        while (found := self.buffer.find(end, searched)) < 0:
            searched = max(0, len(self.buffer) - len(end))
            self.fill()
        taken = bytes(self.buffer[: found + len(end)])
        del self.buffer[: found + len(end)]
        return taken

    def ask(self, command: bytes, tag: bytes = b"t") -> bytes:
        """An IMAP command and its whole answer, which is OK."""
        self.sock.sendall(tag + b" " + command + b"\r\n")
        return self.answer(tag)

    def answer(self, tag: bytes) -> bytes:
        start = tag + b" "
        said = self.until(b"\r\n") if self.buffer.startswith(start) else b""
        if not said:
            while not self.buffer:
                self.fill()
            said = self.until(b"\r\n") if self.buffer.startswith(start) else self.until(b"\r\n" + start)
            if said.endswith(start):
                said += self.until(b"\r\n")
        last = said[:-2].rpartition(b"\n")[2]
        assert last.startswith(start + b"OK"), last
        return said

    def swallow(self, octets: int) -> None:
        """Take so many octets and forget them."""
        octets -= len(self.buffer)
        self.buffer.clear()
        while octets > 0:
            # Into one buffer: new ones each time would cost the client more than the server's answer.
            taken = self.sock.recv_into(_SINK, min(len(_SINK), octets))
            assert taken
            octets -= taken

    def close(self) -> None:
        self.sock.close()


def others(protocol: str) -> list[str]:
    """The peers that are installed."""
    found = []
    if protocol == "imap" and _pymap():
        found.append("pymap")
    if protocol == "imap" and shutil.which("node"):
        test = subprocess.run(["node", "-e", "require('hoodiecrow-imap')"], capture_output=True, check=False)
        if not test.returncode:
            found.append("hoodiecrow")
    if shutil.which("dovecot") and os.getuid() == 0:
        found.append("dovecot")
    return found


def _pymap() -> str | None:
    return os.environ.get("PYMAP") or shutil.which("pymap")


def certificate(folder: Path) -> Path:
    from trustme import CA

    file = folder / "server.pem"
    CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(file))
    return file


def serve() -> None:
    """Our server until standard input ends; its ports stand on the first line."""
    from fakeservers import FakeMailHost

    with FakeMailHost("generic", users={USER: PASSWORD}, services=["imap", "imaps", "pop3", "pop3s"]) as host:
        sys.stdout.write(json.dumps(host.endpoints()["ports"]) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
        assert not host.errors, host.errors[0]


@contextlib.contextmanager
def running(name: str) -> Iterator[Peer]:
    with tempfile.TemporaryDirectory(prefix="mailrig-peer-") as folder, _START[name](Path(folder)) as peer:
        yield peer


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def _ours(folder: Path) -> Iterator[Peer]:
    with _process([sys.executable, __file__]) as process:
        assert process.stdout is not None
        yield Peer("mailrig", process.pid, json.loads(process.stdout.readline()))


@contextlib.contextmanager
def _pymap_dict(folder: Path) -> Iterator[Peer]:
    port = _free_port()
    program = _pymap()
    assert program is not None
    command = [program, "--host", "127.0.0.1", "--port", str(port), "--no-tls", "--no-service", "admin", "dict"]
    with _process([*command, "--demo-data", "--demo-user", "alice", "--demo-password", PASSWORD]) as process:
        _await(port)
        yield Peer("pymap", process.pid, {"imap": port}, "alice")


_HOODIECROW = """
const server = require('hoodiecrow-imap')({
  plugins: ['ID', 'IDLE', 'LITERALPLUS', 'UIDPLUS', 'MOVE', 'NAMESPACE', 'SASL-IR', 'UNSELECT'],
  users: {alice: {password: 'secret'}}, storage: {INBOX: {messages: []}}});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({imap: server.server.address().port})));
"""


@contextlib.contextmanager
def _hoodiecrow(folder: Path) -> Iterator[Peer]:
    with _process(["node", "-e", _HOODIECROW]) as process:
        assert process.stdout is not None
        yield Peer("hoodiecrow", process.pid, json.loads(process.stdout.readline()), "alice")


_DOVECOT = """
protocols = imap pop3
base_dir = {folder}/base
log_path = {folder}/log
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%u
mail_max_userip_connections = 1000
first_valid_uid = 1
mail_fsync = never
passdb {{
 driver = static
 args = password=secret
}}
userdb {{
 driver = static
 args = uid=mail gid=mail home={folder}/mail/%u
}}
service imap-login {{
 inet_listener imap {{
 port = {imap}
 }}
 inet_listener imaps {{
 port = 0
 }}
}}
service pop3-login {{
 inet_listener pop3 {{
 port = {pop3}
 }}
 inet_listener pop3s {{
 port = 0
 }}
}}
"""


@contextlib.contextmanager
def _dovecot(folder: Path) -> Iterator[Peer]:
    ports = {"imap": _free_port(), "pop3": _free_port()}
    (folder / "mail").mkdir()
    folder.chmod(0o755)
    shutil.chown(folder / "mail", "mail", "mail")
    file = folder / "dovecot.conf"
    file.write_text(_DOVECOT.format(folder=folder, **ports), encoding="utf-8")
    with _process(["dovecot", "-F", "-c", str(file)]) as process:
        _await(ports["imap"])
        _await(ports["pop3"])
        yield Peer("dovecot", process.pid, ports, "alice")


_START = {"mailrig": _ours, "pymap": _pymap_dict, "hoodiecrow": _hoodiecrow, "dovecot": _dovecot}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _await(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)  # another process has to start
    raise OSError(f"nothing listens on port {port}")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
