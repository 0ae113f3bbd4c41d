"""What went over the wire, with every known secret masked before it is kept."""

from __future__ import annotations

import base64
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote, quote_plus

from fakeservers.clock import Clock

__all__ = ["Entry", "Secrets", "Transcript"]

MASK = b"***"
CLEAN_LINES, CLEAN_LENGTH = 2048, 256
"""How many lines without a secret are remembered, and how long they may be."""
NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Entry:
    """One unit of the dialogue.

    `direction` is "C" (the client said it), "S" (the server did) or "*" (an event: `data` says it in words and `facts`
    for the judge). `time` is the host clock in seconds since 1970, `elapsed` real seconds since the host started.
    `tls` is the TLS version the bytes travelled under, None in clear. `rule` is the rule that made the server speak.
    `body` marks message content, which is kept by reference and never printed whole.
    """

    connection: int
    service: str
    time: float
    elapsed: float
    direction: Literal["C", "S", "*"]
    data: bytes
    tls: str | None = None
    rule: str | None = None
    body: bool = False
    facts: Mapping[str, object] = field(default_factory=lambda: NOTHING)

    @property
    def text(self) -> str:
        """The entry as a person reads it: one line, control characters escaped, a message body by its size."""
        if self.body:
            return f"<message of {len(self.data)} octets>"
        line = self.data.decode("utf-8", "backslashreplace").removesuffix("\r\n")
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class Secrets:
    """The passwords and tokens of a host in all the forms in which they travel."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}
        # Proofs are good for one connection: the newest are enough, and a long life does not make masking slow.
        self._proofs: deque[tuple[bytes, str]] = deque(maxlen=64)
        self._ordered: list[tuple[bytes, str]] = []
        self._clean: dict[bytes, bytes] = {}

    def add(self, secret: str, *, user: str = "", kind: str = "password") -> None:
        """Know `secret`: raw, quoted as IMAP, JSON and URLs do, base64 at any alignment, in SASL messages."""
        if not secret:
            return
        raw = secret.encode()
        sasl = [
            raw,
            f"\0{user}\0{secret}".encode(),
            f"{user}\0{user}\0{secret}".encode(),
            f"user={user}\x01auth=Bearer {secret}\x01\x01".encode(),
        ]
        escaped = {
            raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"'),
            json.dumps(secret)[1:-1].encode(),
            quote(secret, safe="").encode(),
            quote_plus(secret).encode(),
        }
        forms = {raw, *escaped, *(base64.b64encode(form) for form in sasl)}
        if not raw.isascii():
            # Some clients still send Latin-1.
            with suppress(UnicodeEncodeError):
                latin = secret.encode("latin-1")
                forms |= {latin, base64.b64encode(latin)}
        if len(raw) >= 6:
            forms |= _aligned(raw)
        for form in forms:
            self._forms[form] = kind
        self._sort()

    def add_proof(self, proof: bytes, kind: str = "proof") -> None:
        """Know a digest or signature computed from a secret (CRAM-MD5, APOP, SCRAM)."""
        self._proofs.append((proof, kind))
        self._sort()

    def mask(self, data: bytes) -> tuple[bytes, str | None]:
        """`data` with every known secret replaced, and the kind of the first one found or None. Short lines come again
        and again: those without a secret are remembered, and shared."""
        clean = self._clean.get(data)
        if clean is not None:
            return clean, None
        found = None
        given = data
        for form, kind in self._ordered:
            if form in data:
                data = data.replace(form, MASK)
                found = found or kind
        if found is None and len(given) <= CLEAN_LENGTH:
            if len(self._clean) >= CLEAN_LINES:
                self._clean.clear()
            self._clean[given] = given
        return data, found

    def _sort(self) -> None:
        """The longest form first: a secret may be a part of another."""
        self._ordered = sorted([*self._forms.items(), *self._proofs], key=lambda item: -len(item[0]))
        self._clean.clear()


def _aligned(raw: bytes) -> set[bytes]:
    """The part of base64 that does not depend on what stands before and after `raw`, for each alignment."""
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        head = (0, 2, 3)[shift]
        tail = len(encoded) - (0, 3, 2)[(shift + len(raw)) % 3]
        forms.add(encoded[head:tail])
    return forms


class Transcript:
    """All entries of a host, oldest first. `keep_connections` and `keep_bytes` bound a long-lived host; None is all."""

    def __init__(
        self,
        clock: Clock,
        secrets: Secrets,
        *,
        keep_connections: int | None = None,
        keep_bytes: int | None = None,
    ) -> None:
        self.clock = clock
        self.secrets = secrets
        self._entries: deque[Entry] = deque()
        self._keep_connections = keep_connections
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self._started = time.monotonic()
        self.watchers: list[Callable[[Entry], None]] = []
        """Called on the host's loop with each new entry; must not raise."""

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Entry:
        return self._entries[index]

    def add(
        self,
        connection: int,
        service: str,
        direction: Literal["C", "S", "*"],
        data: bytes,
        *,
        tls: str | None = None,
        rule: str | None = None,
        body: bool = False,
        masked: bool = False,
        facts: Mapping[str, object] = NOTHING,
    ) -> None:
        """Keep one unit; unless it is a body or already masked, known secrets in it are masked, and a secret that
        the client sent is followed by an event that says over which channel."""
        found = None
        if not (body or masked):
            data, found = self.secrets.mask(data)
        elapsed = time.monotonic() - self._started
        now = self.clock.now()
        self._keep(Entry(connection, service, now, elapsed, direction, data, tls, rule, body, facts))
        if found and direction == "C":
            self.secret_seen(connection, service, tls, found)

    def secret_seen(self, connection: int, service: str, tls: str | None, kind: str) -> None:
        channel = tls or "clear"
        self.add(
            connection, service, "*", f"{kind} sent over {channel}".encode(),
            tls=tls, masked=True, facts={"event": "secret", "kind": kind, "tls": tls is not None},
        )  # fmt: skip

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def _keep(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._bytes += len(entry.data)
        for watcher in self.watchers:
            watcher(entry)
        if self._keep_bytes is not None:
            while self._bytes > self._keep_bytes and len(self._entries) > 1:
                self._bytes -= len(self._entries.popleft().data)
        if self._keep_connections is not None:
            oldest = entry.connection - self._keep_connections
            while self._entries[0].connection <= oldest:
                self._bytes -= len(self._entries.popleft().data)
