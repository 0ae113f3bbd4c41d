"""What went over the wire, with every known secret masked before it is kept."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote, quote_plus

from fakeservers.clock import Clock
from fakeservers.pieces import Pieces

__all__ = ["Entry", "Secrets", "Transcript", "What", "Where"]

MASK = b"***"
CLEAN_LINES, CLEAN_LENGTH = 2048, 512
"""How many lines without a secret are remembered, and how long they may be."""
NOTHING: Mapping[str, object] = MappingProxyType({})
FIELDS = 5
SAME_MOMENT = 0.0002
"""Seconds for which entries share one reading of the clocks."""


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
        self._any: re.Pattern[bytes] | None = None
        """Finds whether there is a form at all, in a fifth of the time of a search for each; made when it is needed."""
        self.clean: dict[bytes, bytes] = {}
        """Short lines seen that hold no secret, by themselves."""
        self._clear: dict[bytes, bool] = {}

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
        self._any = None
        self._sort()

    def add_proof(self, proof: bytes, kind: str = "proof") -> None:
        """Know a digest or signature computed from a secret (CRAM-MD5, APOP, SCRAM)."""
        self._proofs.append((proof, kind))
        self._sort()

    def mask(self, data: bytes) -> tuple[bytes, str | None]:
        """`data` with every known secret replaced, and the kind of the first one found or None. Short lines come again
        and again: those without a secret are remembered, and shared."""
        clean = self.clean.get(data)
        if clean is not None:
            return clean, None
        if self._any is None:
            self._any = re.compile(b"|".join(map(re.escape, self._forms)) or b"(?!)")
        if self._any.search(data) is None and not any(proof in data for proof, _ in self._proofs):
            if len(data) <= CLEAN_LENGTH:
                if len(self.clean) >= CLEAN_LINES:
                    self.clean.clear()
                self.clean[data] = data
            return data, None
        found = None
        for form, kind in self._ordered:
            if form in data:
                data = data.replace(form, MASK)
                found = found or kind
        return data, found

    def clears(self, text: bytes) -> bool:
        """There is no secret in a text of the server's own, which comes again and again."""
        clear = self._clear.get(text)
        if clear is None:
            if len(self._clear) >= CLEAN_LINES:
                self._clear.clear()
            clear = self._clear[text] = self.mask(text)[1] is None
        return clear

    def _sort(self) -> None:
        """The longest form first: a secret may be a part of another."""
        self._ordered = sorted([*self._forms.items(), *self._proofs], key=lambda item: -len(item[0]))
        self.clean.clear()
        self._clear.clear()


def _aligned(raw: bytes) -> set[bytes]:
    """The part of base64 that does not depend on what stands before and after `raw`, for each alignment."""
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        head = (0, 2, 3)[shift]
        tail = len(encoded) - (0, 3, 2)[(shift + len(raw)) % 3]
        forms.add(encoded[head:tail])
    return forms


Where = tuple[int, str, str | None]
"""The connection's number, the service, and the TLS version or None."""
What = tuple[Literal["C", "S", "*"], str | None, bool, Mapping[str, object]]
"""Direction, rule, whether it is a body, and facts."""
HEARD: What = ("C", None, False, NOTHING)
HEARD_BODY: What = ("C", None, True, NOTHING)
SAID: What = ("S", None, False, NOTHING)
SAID_BODY: What = ("S", None, True, NOTHING)


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
        # An entry is FIELDS values in a row, of which most are shared, and becomes an `Entry` when somebody looks: a
        # message makes nine, and as objects they took a third of its time and of its memory.
        self._flat: deque[Any] = deque()
        self._extend, self._clean = self._flat.extend, secrets.clean.get
        self._keep_connections = keep_connections
        self._newest = 0
        self._keep_bytes = sys.maxsize if keep_bytes is None else keep_bytes
        self._room = self._keep_bytes
        """Octets that may come yet."""
        self._started = monotonic()
        self._until = self._elapsed = self._now = self._moved = -1.0
        self.watchers: list[Callable[[Entry], None]] = []
        """Called on the host's loop with each new entry; must not raise."""

    def __iter__(self) -> Iterator[Entry]:
        values = iter(list(self._flat))
        return map(_entry, *[values] * FIELDS)

    def __len__(self) -> int:
        return len(self._flat) // FIELDS

    def __getitem__(self, index: int) -> Entry:
        start = range(0, len(self._flat), FIELDS)[index]
        return _entry(*(self._flat[start + field] for field in range(FIELDS)))

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
        self.enter((connection, service, tls), (direction, rule, body, facts), data, masked=masked)

    def enter(self, where: Where, what: What, data: bytes | Pieces, masked: bool = False) -> None:
        """As `add`, for who has `where` and `what` ready. `Pieces` are a body and stay as they are."""
        found = None
        if not (masked or what[2] or isinstance(data, Pieces)):
            clean = self._clean(data)
            if clean is None:
                data, found = self.secrets.mask(data)
            else:
                data = clean
        read = monotonic()
        if read > self._until or self._moved != self.clock.moved:
            self._until, self._elapsed = read + SAME_MOMENT, read - self._started
            self._now, self._moved = self.clock.now(), self.clock.moved
        self._extend((where, what, self._now, self._elapsed, data))
        self._room -= len(data)
        if self._room < 0 or where[0] > self._newest:
            self._bound(where[0])
        if self.watchers:
            self._tell()
        if found and what[0] == "C":
            self.secret_seen(*where, found)

    def secret_seen(self, connection: int, service: str, tls: str | None, kind: str) -> None:
        channel = tls or "clear"
        self.add(
            connection, service, "*", f"{kind} sent over {channel}".encode(),
            tls=tls, masked=True, facts={"event": "secret", "kind": kind, "tls": tls is not None},
        )  # fmt: skip

    def clear(self) -> None:
        self._flat.clear()
        self._room = self._keep_bytes

    def _tell(self) -> None:
        entry = self[-1]
        for watcher in self.watchers:
            watcher(entry)

    def _bound(self, connection: int) -> None:
        """Forget the oldest entries that are beyond what is to be kept."""
        flat, room = self._flat, self._room
        popleft = flat.popleft
        oldest = -1
        if connection > self._newest:
            self._newest = connection
            if self._keep_connections is not None:
                oldest = connection - self._keep_connections
        while (room < 0 and len(flat) > FIELDS) or flat[0][0] <= oldest:
            popleft(), popleft(), popleft(), popleft()
            room += len(popleft())
        self._room = room


def _entry(where: Where, what: What, now: float, elapsed: float, data: bytes | Pieces) -> Entry:
    connection, service, tls = where
    direction, rule, body, facts = what
    return Entry(connection, service, now, elapsed, direction, bytes(data), tls, rule, body, facts)
