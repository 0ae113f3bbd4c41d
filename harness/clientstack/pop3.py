"""A POP3 client session (RFC 1939, 2449, 2595, 5034): bytes of messages exactly as the server has them."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from . import sasl
from .errors import MailError
from .replies import login_error
from .session import MailSession
from .settings import Incoming

__all__ = ["Pop3Session"]

_TIMESTAMP: Final = re.compile(r"<[^<>\s]+@[^<>\s]+>|<\d+\.\d+[^<>\s]*>")


class Pop3Session(MailSession[Incoming]):
    """One connection to a maildrop. Use `open`, the commands, then `quit`, which makes deletions real, or `leave`."""

    capabilities: dict[str, str] | None = None
    """What CAPA said, None where the server does not know it."""
    octets: Mapping[int, int] = MappingProxyType({})
    """The size of each message-number, as far as the scan listing said it."""
    _greeting = ""
    _bare_line_feeds = False

    # -- AUTHORIZATION state ---------------------------------------------------------------

    def _take_greeting(self) -> None:
        good, text = self._read_status()
        if not good:
            error = login_error(text, self._now)
            if error.category == "authentication":
                error = MailError("connect", f"the server refuses to talk: {text}")
            raise self._redacted(error)
        self._greeting = text
        self._ask_capabilities()

    def secure(self) -> None:
        security = self._settings.security
        if security in ("none", "implicit"):
            return
        offered = self.capabilities is not None and "STLS" in self.capabilities
        # A server too old for CAPA may know STLS all the same; only who needs it asks.
        if not offered and (security != "starttls" or self.capabilities is not None):
            if security == "starttls":
                raise MailError("tls-required", "the server does not offer STLS, and the settings require it")
            return
        good, text = self.command("STLS")
        if not good:
            if security == "starttls":
                raise self._redacted(MailError("tls-required", f"the server refuses STLS: {text}"))
            return
        self.wire.start_tls()
        self._ask_capabilities()

    def authenticate(self) -> None:
        """Logs in once, by the mechanism set or the strongest offered."""
        self.wire.dialogue.stage("auth")
        settings = self._settings
        who = settings.credentials
        allowed = self.wire.encrypted or settings.allow_cleartext
        timestamp = _TIMESTAMP.search(self._greeting)
        if settings.auth == "apop":
            if timestamp is None:
                raise MailError("auth-mechanism", "the server does not offer APOP: its greeting has no timestamp")
            self._apop(timestamp.group(0))
            return
        capabilities = self.capabilities or {}
        offered = sasl.offered_names(capabilities.get("SASL", "").split())
        # CAPA may leave USER out where it must not be used (RFC 2449 6.3); without CAPA it is what there is.
        user = "USER" if self.capabilities is None or "USER" in capabilities or not offered else None
        try:
            names = sasl.choose(settings.auth, offered, who, secrets_allowed=allowed, plain_login=user)
        except MailError as error:
            if settings.auth == "auto" and error.category == "tls-required" and timestamp is not None:
                self._apop(timestamp.group(0))
                return
            raise
        name = names[0]
        if name == "USER":
            self._user()
        else:
            self._exchange(sasl.create(name, who, settings.host, settings.port))
        self.mechanism = name

    def _user(self) -> None:
        who = self._settings.credentials
        if not who.username:
            raise MailError("config", "a user name is needed to log in, and none is set")
        good, text = self.command(f"USER {who.username}")
        if good:
            good, text = self.command(f"PASS {who.password}", shown="PASS ********")
        if not good:
            raise self._redacted(login_error(text, self._now))

    def _apop(self, timestamp: str) -> None:
        who = self._settings.credentials
        if not who.username:
            raise MailError("config", "APOP needs a user name, and none is set")
        digest = hashlib.md5(timestamp.encode() + who.password.encode(), usedforsecurity=False).hexdigest()
        good, text = self.command(f"APOP {who.username} {digest}", shown=f"APOP {who.username} ********")
        if not good:
            raise self._redacted(login_error(text, self._now))
        self.mechanism = "APOP"

    def _exchange(self, mechanism: sasl.Mechanism) -> None:
        # Without an initial response: some servers take none, and a line may hold 255 octets only.
        self.wire.send(f"AUTH {mechanism.name}\r\n".encode())
        while True:
            line = self._read_line()
            if not line.startswith("+ ") and line != "+":
                good, text = self._status(line)
                if not good:
                    raise self._redacted(login_error(text, self._now))
                mechanism.finish()
                return
            try:
                response = mechanism.answer(base64.b64decode(line[2:].strip(), validate=True))
            except (MailError, binascii.Error) as error:
                with contextlib.suppress(MailError):
                    self.command("*")
                if isinstance(error, MailError):
                    raise
                raise MailError("protocol", "the server's challenge is not base64") from None
            self.wire.send(base64.b64encode(response) + b"\r\n", shown="********")

    def _ask_capabilities(self) -> None:
        good, _ = self.command("CAPA")
        if not good:
            self.capabilities = None
            return
        self.capabilities = {}
        for line in self._read_lines():
            keyword, _, parameters = line.strip().partition(" ")
            if keyword:
                self.capabilities[keyword.upper()] = parameters

    # -- TRANSACTION state ----------------------------------------------------------------------

    def message_numbers(self) -> list[int]:
        """The message-numbers of the scan listing (LIST), which also tells the `octets`. Raises MailError."""
        good, text = self.command("LIST")
        if not good:
            raise self._refused("LIST", text)
        listing = (line.split() for line in self._read_lines())
        numbers = [words for words in listing if words and words[0].isdecimal()]
        self.octets = {int(words[0]): int(words[1]) for words in numbers if words[1:] and words[1].isdecimal()}
        return [int(words[0]) for words in numbers]

    def unique_ids(self) -> dict[int, str] | None:
        """Each message-number's unique-id (UIDL), or None where the server has none or repeats them."""
        good, _ = self.command("UIDL")
        if not good:
            return None
        found: dict[int, str] = {}
        for line in self._read_lines():
            number, _, unique_id = line.strip().partition(" ")
            if not number.isdecimal() or not unique_id.strip():
                return None
            found[int(number)] = unique_id.strip()
        return found if len(set(found.values())) == len(found) else None

    def retrieve(self, number: int) -> bytes:
        """A whole message (RETR), byte-stuffing undone. Raises MailError."""
        good, text = self.command(f"RETR {number}")
        if not good:
            raise self._refused(f"RETR {number}", text)
        message = self._read_multiline()
        self.wire.dialogue.add("S", f"<message of {len(message)} octets>")
        return message

    def delete(self, number: int) -> None:
        """Marks a message as deleted (DELE); QUIT makes it real. Raises MailError."""
        good, text = self.command(f"DELE {number}")
        if not good:
            raise self._refused(f"DELE {number}", text)

    def quit(self) -> None:
        """QUIT: the UPDATE state. Raises MailError when the server does not confirm its deletions."""
        try:
            good, text = self.command("QUIT")
            if not good:
                raise self._refused("QUIT", text)
        finally:
            self.wire.close()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(MailError):
            self.command("QUIT")

    # -- commands and responses -------------------------------------------------------------------

    def command(self, line: str, shown: str | None = None) -> tuple[bool, str]:
        """Sends a command line; returns whether the response is +OK, and its text."""
        self.wire.send(line.encode("utf-8") + b"\r\n", shown=shown)
        return self._read_status()

    def _read_status(self) -> tuple[bool, str]:
        return self._status(self._read_line())

    def _read_line(self) -> str:
        raw = self.wire.read_line()
        self._bare_line_feeds = not raw.endswith(b"\r\n")
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        self.wire.dialogue.add("S", line)
        return line

    def _status(self, line: str) -> tuple[bool, str]:
        indicator, _, text = line.partition(" ")
        if indicator.upper() == "+OK":
            return True, text
        if indicator.upper() == "-ERR":
            return False, text
        self.wire.close()
        raise self._redacted(MailError("protocol", f"the server's response is not POP3: {line[:200]}"))

    def _read_lines(self) -> list[str]:
        lines = self._read_multiline().decode("utf-8", "replace").splitlines()
        for line in lines:
            self.wire.dialogue.add("S", line)
        return lines

    def _read_multiline(self) -> bytes:
        """RFC 1939 3: up to a line of one dot. A server that ends its status line with a bare line feed ends
        all lines so; for others only CRLF is a line end, whatever a message holds."""
        end = b"\n" if self._bare_line_feeds else b"\r\n"
        if self.wire.starts_with(b"." + end):
            self.wire.read_exact(1 + len(end))
            return b""
        data = self.wire.read_until(end + b"." + end, keep=1 + len(end))
        if data.startswith(b".."):
            data = data[1:]
        return data.replace(end + b"..", end + b".")

    def _refused(self, command: str, text: str) -> MailError:
        error = login_error(text, self._now)
        if error.category == "authentication":
            error = MailError("protocol", f"the server refuses {command}: {text}")
        return self._redacted(error)
