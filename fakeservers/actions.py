"""What a protocol core asks of the wire. Cores return these; `fakeservers.wire` carries them out in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fakeservers.pieces import Pieces

__all__ = [
    "Action",
    "Bulk",
    "Cut",
    "End",
    "Ending",
    "Inflate",
    "More",
    "Pace",
    "Send",
    "Session",
    "StartTls",
    "TlsFacts",
    "Wait",
]

Ending = Literal["close", "reset", "half-close", "stall", "abandon-tls"]
"""How a connection stops: FIN after all data, RST, FIN of our half only, silence with the socket open,
or FIN without TLS close_notify."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How bytes are cut into segments. `positions` are offsets; `step` cuts every so many bytes; `every` is the
    real pause in seconds between segments; `hold` keeps the bytes back so many real seconds at most, to leave with the
    next ones (infinity: until there are some)."""

    positions: tuple[int, ...] = ()
    step: int = 0
    every: float = 0.0
    hold: float = 0.0


@dataclass(slots=True)
class Send:
    """Nobody changes one, for many are shared; to be frozen would double what it costs to make them."""

    data: bytes
    pace: Pace | None = None
    rule: str | None = None
    secret: bool = False
    """The bytes prove a password (a SCRAM signature, a CRAM challenge's answer): the transcript masks them."""
    body: bool = False
    """The bytes are a message's: the transcript keeps them by reference, looks for no secrets and prints their size."""
    clean: bool = False
    """Who made it has seen to it that no secret is in it, and nobody needs to look again."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """Much of an answer: a message's octets among it, which nobody copies on their way to the socket."""

    pieces: Pieces


@dataclass(frozen=True, slots=True)
class Wait:
    """Real seconds in which nothing is read or sent."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StartTls:
    """Begin the TLS handshake as the server; the wire asks the rules at the point `tls` what goes wrong with it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection once the client has sent `after` more bytes."""

    after: int
    how: Ending = "reset"
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Inflate:
    """From here on both directions are raw DEFLATE (RFC 4978)."""


@dataclass(frozen=True, slots=True)
class End:
    how: Ending = "close"
    rule: str | None = None
    expected: bool = False
    """The client has asked for it and sends nothing more: nothing has to be swallowed for the last reply's sake."""


@dataclass(frozen=True, slots=True)
class More:
    """Ask the core to go on once what stands before it has left: an answer that is too large to be made at once."""

    proceed: Callable[[], Sequence[Action]]


Action = Send | Bulk | Wait | StartTls | Cut | Inflate | More | End


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the handshake settled: version (`TLSv1.3`), cipher name, SNI or None, client certificate (DER) or None,
    and the name of the server certificate's defect or None."""

    version: str
    cipher: str
    sni: str | None = None
    client_certificate: bytes | None = None
    certificate: str | None = None
    server_certificate: bytes | None = None
    """The certificate that was shown, DER."""


class Session(Protocol):
    """The seam between a protocol core and the wire. No method may block or touch a socket."""

    idle: float
    """Real seconds of silence after which `timed_out` is called."""

    def connect(self) -> list[Action]:
        """The connection stands, implicit TLS included: greet."""

    def receive(self, data: bytes) -> list[Action]:
        """Bytes from the client, cut anywhere. After a `StartTls` or `End` in the answer nothing more is read from
        what was already given: plaintext behind STARTTLS is dropped by the core."""

    def tls_started(self, facts: TlsFacts) -> list[Action]:
        """The handshake that the core asked for has succeeded."""

    def tls_skipped(self) -> list[Action]:
        """A rule wants no handshake after all: the connection goes on in clear, as if nothing had been said."""

    def stirred(self) -> list[Action]:
        """The mail store changed under this session (IDLE); only called after the session asked to be woken."""

    def timed_out(self) -> list[Action]:
        """The client was silent for `idle` seconds: say so and end."""

    def closed(self) -> None:
        """The connection is gone; release locks and record what was left unread."""
