"""A byte stream to a server with a deadline for every command, TLS, and a redacted dialogue.

One deadline covers a whole exchange, so a server that dribbles single bytes cannot hold the client
longer than one that is silent. Long data (a message on its way) gets a new one for every BLOCK octets
that really moved.
"""

from __future__ import annotations

import queue
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from .errors import MailError, printable
from .redaction import Redactor
from .tls import Trust, certificate_facts

__all__ = ["BLOCK", "LARGEST_READ", "Dialogue", "Wire", "ascii_host", "dialled", "is_address"]

BLOCK: Final = 64 * 1024
_MAX_LINE: Final = 64 * 1024
LARGEST_READ: Final = 256 * 1024 * 1024
"""More than any mail server takes or gives; what goes on past it will never end."""


class Dialogue:
    """The newest lines of a session as `C: ` and `S: ` lines, secrets masked.

    `stage` is told the name of each stage as it begins: resolve, connect, tls, greeting, ehlo, auth, ...
    """

    def __init__(self, redactor: Redactor, listener: Callable[[str], None] | None = None) -> None:
        self.redactor = redactor
        self.stage: Callable[[str], None] = lambda name: None
        self._listener = listener
        self._lines: deque[tuple[str, str]] = deque(maxlen=400)

    def add(self, side: str, text: str) -> None:
        self._lines.append((side, text))
        if self._listener is not None:
            self._listener(self._shown(side, text))

    @property
    def lines(self) -> list[str]:
        # Most dialogues are never looked at: what a person may see is made when somebody does.
        return [self._shown(side, text) for side, text in self._lines]

    def _shown(self, side: str, text: str) -> str:
        return f"{side}: {printable(self.redactor(text))}"


class Wire:
    """A connected socket. Everything that goes wrong on it is a MailError.

    Categories: `dns`, `connect`, `timeout`, `disconnected`, `tls-handshake`, `tls-certificate`, and
    `protocol` for a line that never ends.
    """

    def __init__(self, host: str, timeout: float, trust: Trust, dialogue: Dialogue) -> None:
        self.host = host
        self.timeout = timeout
        self.trust = trust
        self.dialogue = dialogue
        self.encrypted = False
        self.tls_facts: dict[str, Any] | None = None
        self._buffer = bytearray()
        self._deadline = time.monotonic() + timeout
        self._sock: socket.socket | None = None

    # -- opening and closing -------------------------------------------------

    def connect(self, port: int, dial: Mapping[str, str] | None = None) -> None:
        """Connects within the timeout, all addresses of the name together. `dial` maps host:port."""
        self.arm()
        target, target_port = dialled(self.host, port, dial or {})
        self.dialogue.stage("resolve")
        addresses = _resolve(target, target_port, self.timeout)
        problem: OSError | None = None
        self.dialogue.stage("connect")
        for index, (family, kind, proto, _, address) in enumerate(addresses):
            share = max(self._deadline - time.monotonic(), 0.001) / (len(addresses) - index)
            sock = socket.socket(family, kind, proto)
            try:
                sock.settimeout(share)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                problem = error
            else:
                self._sock = sock
                self.arm()
                return
        where = f"{self.host} port {port}"
        if isinstance(problem, TimeoutError):
            raise MailError("timeout", f"no connection to {where} within {self.timeout:g} s")
        detail = problem.strerror or str(problem) if problem else "no address"
        raise MailError("connect", f"no connection to {where}: {detail}")

    def start_tls(self) -> None:
        """The TLS handshake, now. Bytes the server sent before it are a fault (RFC 3207 4.2, 6)."""
        sock = self._connected()
        self.dialogue.stage("tls")
        if self._buffer:
            self._buffer.clear()
            self.close()
            raise MailError("protocol", "the server sent data between its STARTTLS reply and the TLS handshake")
        context = self.trust.context()
        try:
            sock.settimeout(self._remaining())
            tls = context.wrap_socket(sock, server_hostname=ascii_host(self.host))
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise MailError(
                "tls-certificate", f"the certificate of {self.host} is not good: {error.verify_message}"
            ) from None
        except TimeoutError:
            self.close()
            raise MailError("timeout", f"the TLS handshake took longer than {self.timeout:g} s") from None
        except (ssl.SSLError, OSError) as error:
            self.close()
            raise MailError("tls-handshake", f"the TLS handshake failed: {_tls_reason(error)}") from None
        self._sock = tls
        try:
            self.trust.verify_pin(tls)
        except MailError:
            self.close()
            raise
        self.encrypted = True
        self.tls_facts = certificate_facts(tls)
        self.dialogue.add("*", f"TLS started: {tls.version()}")
        self.arm()

    def close(self) -> None:
        """Closes the socket; may be called again."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    @property
    def closed(self) -> bool:
        return self._sock is None

    @property
    def local_address(self) -> str:
        """The address of our end, without an IPv6 zone."""
        return str(self._connected().getsockname()[0]).partition("%")[0]

    # -- bytes ----------------------------------------------------------------

    def arm(self) -> None:
        """Starts the deadline of the next exchange."""
        self._deadline = time.monotonic() + self.timeout

    def send(self, data: bytes, shown: str | None = None) -> None:
        """Sends all of `data` and starts the deadline of its reply. `shown` stands in the dialogue."""
        self.arm()
        self.dialogue.add("C", shown if shown is not None else data.decode("utf-8", "replace").rstrip("\r\n"))
        sock = self._connected()
        view = memoryview(data)
        try:
            for start in range(0, len(view), BLOCK):
                self.arm()
                sock.settimeout(self._remaining())
                sock.sendall(view[start : start + BLOCK])
        except TimeoutError:
            self.close()
            raise MailError("timeout", f"the server took no data for {self.timeout:g} s") from None
        except OSError as error:
            self.close()
            raise self._lost(error) from None
        self.arm()

    def read_line(self, limit: int = _MAX_LINE) -> bytes:
        """The next line with its line end. Raises MailError `protocol` past `limit` octets."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                return line
            searched = len(self._buffer)
            if searched > limit:
                self.close()
                raise MailError("protocol", "the server sent a line without an end")
            self._fill()

    def read_exact(self, size: int) -> bytes:
        """Exactly `size` octets; the deadline starts anew with every BLOCK of them."""
        if size > LARGEST_READ:
            self.close()
            raise MailError("size", f"the server announces {size} octets")
        mark = len(self._buffer) + BLOCK
        while len(self._buffer) < size:
            self._fill()
            if len(self._buffer) >= mark:
                self.arm()
                mark = len(self._buffer) + BLOCK
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def read_until(self, terminator: bytes, keep: int) -> bytes:
        """Everything up to and including `terminator`, of which the last `keep` octets are left out."""
        searched = 0
        mark = len(self._buffer) + BLOCK
        while True:
            found = self._buffer.find(terminator, searched)
            if found >= 0:
                end = found + len(terminator)
                data = bytes(self._buffer[: end - keep])
                del self._buffer[:end]
                return data
            searched = max(0, len(self._buffer) - len(terminator) + 1)
            if searched > LARGEST_READ:
                self.close()
                raise MailError("size", "the server sends a message without an end")
            self._fill()
            if len(self._buffer) >= mark:
                self.arm()
                mark = len(self._buffer) + BLOCK

    def starts_with(self, prefix: bytes) -> bool:
        """Whether the next octets are `prefix`; reads as many as it takes."""
        while len(self._buffer) < len(prefix) and prefix.startswith(bytes(self._buffer)):
            self._fill()
        return self._buffer.startswith(prefix)

    def wait_readable(self, seconds: float) -> bool:
        """Whether there is something to read within so long; the deadline of the next exchange starts then. Unlike a
        reply, silence is no error here."""
        sock = self._connected()
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        ready = bool(self._buffer) or pending or bool(select.select([sock], [], [], max(seconds, 0.0))[0])
        self.arm()
        return ready

    def _fill(self) -> None:
        sock = self._connected()
        try:
            sock.settimeout(self._remaining())
            data = sock.recv(BLOCK)
        except TimeoutError:
            self.close()
            raise MailError("timeout", f"no complete reply within {self.timeout:g} s") from None
        except OSError as error:
            self.close()
            raise self._lost(error) from None
        if not data:
            self.close()
            raise MailError("disconnected", "the server closed the connection")
        self._buffer += data

    def _lost(self, error: OSError) -> MailError:
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return MailError("disconnected", "the server closed the TLS session")
        if isinstance(error, ssl.SSLError):
            # In TLS 1.3 the server's verdict on our certificate arrives after our side of the handshake.
            return MailError("tls-handshake", f"the TLS session broke: {_tls_reason(error)}")
        return MailError("disconnected", f"the connection was lost: {error.strerror or error}")

    def _connected(self) -> socket.socket:
        if self._sock is None:
            raise MailError("disconnected", "the connection is closed")
        return self._sock

    def _remaining(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def ascii_host(host: str) -> str:
    """A host name as A-labels (RFC 5890); addresses stay. Raises MailError `config`."""
    if host.isascii():
        return host
    try:
        import idna

        return idna.encode(host, uts46=True).decode("ascii")
    except ImportError:
        pass
    except UnicodeError as error:
        raise MailError("config", f"{host!r} is not a valid host name: {error}") from None
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise MailError("config", f"{host!r} is not a valid host name: {error}") from None


def is_address(host: str) -> bool:
    """Whether `host` is an IPv4 or IPv6 address rather than a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


def dialled(host: str, port: int, dial: Mapping[str, str]) -> tuple[str, int]:
    """Where to connect for host:port: its entry in `dial`, else itself. Raises MailError `config`."""
    names = [host, host.lower(), ascii_host(host).lower()]
    for key in [f"{name}:{port}" for name in names] + [f"[{name}]:{port}" for name in names]:
        if key in dial:
            target, _, number = dial[key].rpartition(":")
            if not number.isdigit() or not target:
                raise MailError("config", f"dial: {dial[key]!r} is not of the form host:port")
            return target.removeprefix("[").removesuffix("]"), int(number)
    return ascii_host(host), port


def _resolve(host: str, port: int, timeout: float) -> list[Any]:
    if is_address(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    # getaddrinfo knows no timeout; the thread is left behind when it takes too long.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise MailError("timeout", f"no address of {host} within {timeout:g} s") from None
    if isinstance(answer, OSError):
        raise MailError("dns", f"no address of {host}: {answer.strerror or answer}")
    return answer


def _tls_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error) or "the connection was closed"
