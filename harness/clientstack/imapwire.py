"""imaplib and imapclient over our own wire, and where they read servers too narrowly, set right."""

from __future__ import annotations

import base64
import binascii
import imaplib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError
from imapclient.imap_utf7 import decode as decode_utf7
from imapclient.response_parser import parse_response

from .errors import MailError
from .wire import Wire

__all__ = ["Client", "Connection", "astring", "last_text", "server_words"]

_LONGEST_LINE: Final = 16 * 1024 * 1024
_MOST_FOUND: Final = 1_000_000
_TEXTLESS: Final = re.compile(rb"\S+ (?:OK|NO|BAD|BYE|PREAUTH)")
_KEYWORD: Final = re.compile(rb"(?:\*|[A-Za-z0-9]+) (?:\d+ )?([A-Za-z-]+)")
_ESEARCH: Final = re.compile(rb'\* ESEARCH(?: \(TAG (?:"[^"]*"|[^ )]+)\))?(?: UID)?((?: .*)?)', re.IGNORECASE)
_ALL: Final = re.compile(rb" ALL ([\d:,]+)", re.IGNORECASE)
_IN_REV2: Final = (b"NAMESPACE", b"UNSELECT", b"UIDPLUS", b"ESEARCH", b"ENABLE", b"IDLE", b"MOVE")
"""What a server of IMAP4rev2 alone need not name (RFC 9051 appendix E), as far as this client uses it."""


class Connection(imaplib.IMAP4):
    """imaplib's protocol engine reading and writing through a connected Wire."""

    def __init__(self, wire: Wire, port: int) -> None:
        self._wire = wire
        self.masking = False
        super().__init__(wire.host, port)

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.host = host
        self.port = port

    def read(self, size: int) -> bytes:
        data = self._wire.read_exact(size)
        self._wire.dialogue.add("S", f"<{size} octets>")
        return data

    def readline(self) -> bytes:
        line = self._wire.read_line(_LONGEST_LINE)
        self._wire.dialogue.add("S", line.decode("utf-8", "replace").rstrip("\r\n"))
        # imaplib gives up on a bare line feed, on small letters and on a response without text; there is no reason to.
        text = line.rstrip(b"\r\n")
        if found := _KEYWORD.match(text):
            text = text[: found.start(1)] + found[1].upper() + text[found.end(1) :]
        if found := _ESEARCH.fullmatch(text):
            # Neither library reads the answer of IMAP4rev2 (RFC 9051 7.3.4).
            text = b"* SEARCH" + b"".join(b" %d" % number for number in _found(found[1]))
        return (text + b" " if _TEXTLESS.fullmatch(text) else text) + b"\r\n"

    def send(self, data: Any) -> None:
        self._wire.send(bytes(data), shown="********" if self.masking else None)

    def shutdown(self) -> None:
        self._wire.close()

    def log_in(self, mechanism: str, answer: Callable[[bytes | None], bytes | None]) -> None:
        """imaplib's `authenticate`, but `answer` is given None for a challenge that is no base64 (RFC 4648 3.3):
        imaplib makes something of any."""
        answers: Any = _Challenges(answer).process
        self.literal = answers
        kind, data = self._simple_command("AUTHENTICATE", mechanism)
        if kind != "OK":
            raise self.error(last_text(data))
        self.state = "AUTH"

    def socket(self) -> Any:
        return None

    def _get_capabilities(self) -> None:
        super()._get_capabilities()  # type: ignore[misc]
        if "IMAP4REV2" in self.capabilities:
            # imaplib turns away a server that offers neither of the versions it knows.
            self.capabilities = (*self.capabilities, "IMAP4")

    def secure(self) -> None:
        """STARTTLS was accepted: the handshake, and capabilities anew (RFC 9051 6.2.1). Whatever was said in clear,
        messages among it, is nobody's word: imaplib would keep it for the next command that asks for such data."""
        self._wire.start_tls()
        self._tls_established = True
        self.untagged_responses.clear()
        self._get_capabilities()


class _Challenges(imaplib._Authenticator):
    def decode(self, inp: Any) -> Any:
        try:
            return base64.b64decode(inp or b"", validate=True)
        except binascii.Error:
            return None


def _found(results: bytes) -> Iterator[int]:
    """The numbers behind ALL in the results of an ESEARCH response."""
    for each in _ALL.findall(results):
        for part in each.split(b","):
            first, _, last = part.partition(b":")
            numbers = sorted((int(first), int(last or first)))
            if numbers[1] - numbers[0] > _MOST_FOUND:
                raise MailError("protocol", "the server's response to SEARCH names more messages than there can be")
            yield from range(numbers[0], numbers[1] + 1)


class Client(IMAPClient):  # type: ignore[misc]
    """imapclient's commands on a Connection."""

    def __init__(self, connect: Callable[[], Connection], host: str, port: int) -> None:
        self._connect = connect
        super().__init__(host, port, ssl=False)
        # Its debug log would show what the dialogue masks.
        self._imap.debug = 0

    def _create_IMAP4(self) -> Connection:  # noqa: N802
        return self._connect()

    def _set_read_timeout(self) -> None:
        return

    def capabilities(self) -> tuple[bytes, ...]:
        named: tuple[bytes, ...] = super().capabilities()
        return (*named, *_IN_REV2) if b"IMAP4REV2" in named and b"IMAP4REV1" not in named else named

    # -- UTF-8 ---------------------------------------------------------------------------------

    def agree_on_utf8(self) -> None:
        """ENABLE UTF8=ACCEPT: a server of UTF8=ONLY serves nobody without it (RFC 6855 6). Raises IMAPClientError."""
        enabled = self._raw_command_untagged(
            b"ENABLE", [b"UTF8=ACCEPT"], uid=False, response_name="ENABLED", unpack=True
        )
        if b"UTF8=ACCEPT" not in (enabled or b"").upper().split():
            raise IMAPClientError("the server wants UTF8=ACCEPT and does not enable it")
        self.speak_utf8()

    def speak_utf8(self) -> None:
        """Mailbox names are UTF-8 from here on, not modified UTF-7."""
        self._imap._mode_utf8()
        self.folder_encode = False

    def _name(self, said: Any) -> str:
        # A quoted number is read as one.
        if isinstance(said, int):
            return str(said)
        return decode_utf7(said) if self.folder_encode else bytes(said).decode("utf-8", "replace")

    # -- mailboxes -----------------------------------------------------------------------------

    def list_mailboxes(self, pattern: str) -> list[tuple[frozenset[bytes], str, str]]:
        """Attributes, hierarchy delimiter and name of what LIST finds; what may stand behind them (RFC 9051 7.3.1) is
        left out."""
        # IMAP4rev2 says LIST in answer to SELECT, too.
        self._imap.untagged_responses.pop("LIST", None)
        kind, data = self._imap._simple_command("LIST", '""', self._normalise_folder(pattern))
        self._checkok("LIST", kind, data)
        _, data = self._imap._untagged_response(kind, data, "LIST")
        found = []
        for each in _responses(data):
            attributes, delimiter, name = parse_response(each)[:3]
            found.append((frozenset(attributes), (delimiter or b"").decode("ascii", "replace"), self._name(name)))
        return found

    def personal_namespace(self) -> tuple[str, str] | None:
        """Prefix and hierarchy delimiter of the first personal namespace; parameters may stand behind them, which
        imapclient's own `namespace` takes for a fault (RFC 2342 5)."""
        personal, *_ = parse_response(self._command_and_check("namespace"))
        if not personal:
            return None
        prefix, delimiter = personal[0][:2]
        return self._name(prefix), (delimiter or b"").decode("ascii", "replace")


def _responses(data: Iterable[Any]) -> Iterator[list[Any]]:
    """imaplib's items, those of one response together: behind each literal comes the rest of its line."""
    items = iter(data)
    for item in items:
        response = [item]
        while isinstance(response[-1], tuple):
            response.append(next(items, b""))
        if item:
            yield [part for part in response if part]


# -- words -------------------------------------------------------------------------------------


def astring(text: str) -> bytes:
    """An argument for a raw command: imapclient sends those with 8-bit octets as literals, others as they are."""
    data = text.encode("utf-8")
    return data if not text.isascii() else b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def last_text(data: Any) -> str:
    """The text of imaplib's data, or of the last item of it."""
    last = data[-1] if isinstance(data, list | tuple) and data else data
    return bytes(last).decode("utf-8", "replace") if isinstance(last, bytes) else str(last or "")


def server_words(error: Exception) -> str:
    """The server's words in an exception of imaplib or imapclient, which wrap them in their own."""
    text = str(error.args[0]) if error.args else str(error)
    if error.args and isinstance(error.args[0], bytes):
        text = error.args[0].decode("utf-8", "replace")
    match = re.search(r"\[b(['\"])(.*)\1\]$", text, re.DOTALL)
    if match:
        text = match.group(2)
    text = re.sub(r"^b(['\"])(.*)\1$", r"\2", text, flags=re.DOTALL)
    text = re.sub(r"^(?:command: \w+ => )?(?:\w+ failed: |\w+ command error: )?", "", text)
    return re.sub(r"^\* (?:BYE|NO|BAD) ", "", text).strip()
