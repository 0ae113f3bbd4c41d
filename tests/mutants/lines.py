"""Defects in reading over bad lines and from odd servers."""

from __future__ import annotations

import base64
import socket
import ssl
from typing import Any

from patching import instead
from registry import mutant

from harness.clientstack import imapwire, intake, pop3
from harness.clientstack.errors import MailError
from harness.clientstack.imap import ImapSession
from harness.clientstack.wire import Wire


@mutant
def ticks_off_what_was_refused() -> None:
    """A message that could not be read once is counted as read."""

    @instead(intake._Intake, "_take")
    def take(original: Any, visit: Any, validity: str, unique_id: str, *rest: Any) -> Any:
        entry = original(visit, validity, unique_id, *rest)
        if entry is None:
            visit._ledger.leave(validity, unique_id, 1 << 40, "it could not be read")
        return entry


@mutant
def marks_mail_as_read_before_it_is() -> None:
    """What a search found is known from then on, read or not."""

    @instead(intake._Intake, "_take")
    def take(original: Any, visit: Any, validity: str, unique_id: str, *rest: Any) -> Any:
        try:
            return original(visit, validity, unique_id, *rest)
        except MailError:
            visit._ledger.leave(validity, unique_id, 1 << 40, "it is known")
            raise


@mutant
def times_the_first_octet_only() -> None:
    """The time limit is one for the beginning of an answer."""

    @instead(Wire, "_fill")
    def fill(original: Any, wire: Wire) -> None:
        if wire._buffer:
            assert wire._sock is not None
            wire._sock.settimeout(None)
            if more := wire._sock.recv(4096):
                wire._buffer += more
                return
        original(wire)


@mutant
def makes_something_of_any_challenge() -> None:
    """What is no base64 in a challenge is passed over, and the rest is answered."""

    def lenient(text: Any, **named: Any) -> bytes:
        return base64.b64decode(text + (b"====" if isinstance(text, bytes) else "====")) or b"x"

    class Lenient:
        b64decode = staticmethod(lenient)
        b64encode = staticmethod(base64.b64encode)

    for module in (pop3, imapwire):
        vars(module)["base64"] = Lenient


@mutant
def wants_a_proper_end_of_tls_over_imap() -> None:
    """Where LOGOUT is followed by the end of the TCP connection alone, the mail of the session does not count."""

    @instead(ImapSession, "leave")
    def leave(original: Any, session: ImapSession) -> None:
        sock = session.wire._sock

        @instead(socket.socket, "close")
        def close(real: Any, closed: Any) -> None:
            if closed is sock and isinstance(sock, ssl.SSLSocket) and sock.fileno() >= 0:
                proper = True
                try:
                    sock.settimeout(2)
                    sock.unwrap()
                except OSError:
                    proper = False
                real(closed)
                if not proper:
                    raise AbruptEndError
            else:
                real(closed)

        try:
            original(session)
        except AbruptEndError:
            raise MailError("disconnected", "the TLS session had no proper end") from None


class AbruptEndError(BaseException):
    pass
