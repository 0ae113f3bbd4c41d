"""An IMAP client session on imapclient, over our own wire: its deadlines, its TLS, its redacted dialogue."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

from . import sasl
from .errors import MailError
from .imapwire import Client, Connection, astring, last_text, server_words
from .replies import login_error
from .session import MailSession
from .settings import Incoming

__all__ = ["ImapSession"]

_IDLE_RENEWAL: Final = 9 * 60.0
"""Seconds: some servers forget an idle client after ten minutes, all after thirty."""
_POLL: Final = 30.0


class ImapSession(MailSession[Incoming]):
    """One connection. Use `open` and `select`, the commands, then `leave`."""

    validity = ""
    """The UIDVALIDITY of the selected mailbox."""
    _exists_count = 0
    _optional_client: Client | None = None

    @property
    def _client(self) -> Any:
        if self._optional_client is None:
            raise MailError("disconnected", "the connection is closed")
        return self._optional_client

    # -- not authenticated -----------------------------------------------------------------

    def _take_greeting(self) -> None:
        port = self._settings.port
        with self._mapped("greeting"):
            self._optional_client = Client(lambda: Connection(self.wire, port), self._settings.host, port)

    def secure(self) -> None:
        security = self._settings.security
        if security in ("none", "implicit"):
            return
        engine = self._client._imap
        required = security == "starttls"
        if not self._offers("STARTTLS") or engine.state != "NONAUTH":
            if required:
                raise MailError("tls-required", "the server does not offer STARTTLS, and the settings require it")
            return
        try:
            with self._mapped("STARTTLS"):
                kind, data = engine._simple_command("STARTTLS")
        except MailError as error:
            # A tagged BAD arrives as an error; one that ended the connection cannot go on in clear.
            if self.wire.closed or error.category in ("disconnected", "timeout"):
                raise
            kind, data = "BAD", [error.text.encode()]
        if kind != "OK":
            if required:
                words = last_text(data)
                raise self._redacted(MailError("tls-required", f"the server refuses STARTTLS: {words}"))
            return
        with self._mapped("CAPABILITY"):
            engine.secure()
            self._client._cached_capabilities = None

    def authenticate(self) -> None:
        """Logs in once, by the mechanism set or the strongest offered; PREAUTH needs no login."""
        settings = self._settings
        who = settings.credentials
        engine = self._client._imap
        if engine.state == "AUTH":
            self._client._cached_capabilities = tuple(name.encode("ascii") for name in engine.capabilities)
            self._agree()
            return
        self.wire.dialogue.stage("auth")
        offered = [name[5:] for name in self._capabilities() if name.startswith("AUTH=")]
        names = sasl.choose(
            settings.auth,
            offered,
            who,
            secrets_allowed=self.wire.encrypted or settings.allow_cleartext,
            plain_login=None if self._offers("LOGINDISABLED") else "USER",
        )
        name = names[0]
        engine.masking = True
        try:
            with self._mapped("login"):
                if name == "USER":
                    self._login()
                else:
                    self._exchange(sasl.create(name, who, settings.host, settings.port))
        finally:
            engine.masking = False
        self.mechanism = "LOGIN" if name == "USER" else name
        # Now, while a capability response that came with the login is still at hand.
        self._client._cached_capabilities = None
        self._agree()

    def _agree(self) -> None:
        """Speaks as the server wants it: UTF-8 where it takes nothing else (RFC 6855 6, RFC 9051 5.1)."""
        offered = self._capabilities()
        if "UTF8=ONLY" in offered:
            with self._mapped("ENABLE"):
                self._client.agree_on_utf8()
        elif "IMAP4REV2" in offered and "IMAP4REV1" not in offered:
            self._client.speak_utf8()

    def _login(self) -> None:
        who = self._settings.credentials
        if not who.username:
            raise MailError("config", "a user name is needed to log in, and none is set")
        engine = self._client._imap
        if who.username.isascii() and who.password.isascii():
            kind, data = engine._simple_command("LOGIN", engine._quote(who.username), engine._quote(who.password))
        else:
            kind, data = self._client._raw_command(b"LOGIN", [astring(who.username), astring(who.password)], uid=False)
        if kind != "OK":
            raise IMAPClientError(last_text(data))
        engine.state = "AUTH"

    def _exchange(self, mechanism: sasl.Mechanism) -> None:
        problem: list[MailError] = []

        def answer(challenge: bytes | None) -> bytes | None:
            try:
                if challenge is None:
                    raise MailError("protocol", "the server's challenge is not base64")
                return mechanism.answer(challenge)
            except MailError as error:
                problem.append(error)
                return None

        try:
            self._client._imap.log_in(mechanism.name, answer)
        except IMAPClientError:
            if problem:
                raise problem[0] from None
            raise
        mechanism.finish()

    def _capabilities(self) -> list[str]:
        with self._mapped("CAPABILITY"):
            return [bytes(name).decode("ascii", "replace").upper() for name in self._client.capabilities()]

    def _offers(self, name: str) -> bool:
        return name in self._capabilities()

    # -- selected ------------------------------------------------------------------------------

    def select(self, mailbox: str, *, readonly: bool = False) -> int:
        """Opens a mailbox; returns how many messages it has. Sets `validity`."""
        with self._mapped("SELECT", mailbox):
            answer = self._client.select_folder(mailbox, readonly=readonly)
        self.validity = str(answer.get(b"UIDVALIDITY", ""))
        self._exists_count = int(answer.get(b"EXISTS", 0))
        self._client._imap.untagged_responses.pop("EXISTS", None)
        return self._exists_count

    def search(self, *criteria: str) -> list[int]:
        """UIDs that match, in ascending order, each once."""
        with self._mapped("SEARCH"):
            return sorted({int(uid) for uid in self._client.search(list(criteria))})

    def present(self, uids: Sequence[int]) -> list[int]:
        """Those of `uids` that are still in the mailbox."""
        return self.search("UID", _sequence_set(uids)) if uids else []

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """The octets of messages by their UID, of those that the server tells (RFC822.SIZE)."""
        with self._mapped("FETCH"):
            found = self._client.fetch(list(uids), ["RFC822.SIZE"])
        return {uid: int(items[b"RFC822.SIZE"]) for uid, items in found.items() if b"RFC822.SIZE" in items}

    def fetch(self, uid: int) -> bytes | None:
        """A whole message, left unseen (BODY.PEEK); None when it is gone."""
        with self._mapped("FETCH"):
            found = self._client.fetch([uid], ["BODY.PEEK[]"])
        body = found.get(uid, {}).get(b"BODY[]")
        return bytes(body) if body is not None else None

    def mark_seen(self, uids: Sequence[int]) -> None:
        with self._mapped("STORE"):
            self._client.add_flags(list(uids), [b"\\Seen"], silent=True)

    @property
    def moves(self) -> bool:
        """Whether filing is one atomic command (RFC 6851)."""
        return self._offers("MOVE")

    def move(self, uids: Sequence[int], mailbox: str) -> None:
        """Moves messages by MOVE, or by COPY and `remove`."""
        with self._mapped("MOVE", mailbox):
            if self.moves:
                self._client.move(list(uids), mailbox)
                return
            self._client.copy(list(uids), mailbox)
        self.remove(uids)

    def remove(self, uids: Sequence[int]) -> None:
        """Deletes messages and expunges just them: UID EXPUNGE (RFC 4315), else EXPUNGE where no other message
        is marked \\Deleted, else they stay marked."""
        mine = set(uids)
        with self._mapped("STORE"):
            self._client.add_flags(list(uids), [b"\\Deleted"], silent=True)
        if self._offers("UIDPLUS"):
            with self._mapped("EXPUNGE"):
                self._client.uid_expunge(list(uids))
        elif set(self.search("DELETED")) <= mine:
            with self._mapped("EXPUNGE"):
                self._client.expunge()

    def mailbox_for(self, name: str) -> str:
        """The server's name for a mailbox to file in, created if it is missing: in the personal namespace,
        with the server's hierarchy delimiter for `/`."""
        prefix, delimiter = self._namespace()
        if delimiter not in ("", "/") and "/" in name:
            name = name.replace("/", delimiter)
        candidates = [name]
        if prefix and not name.upper().startswith(prefix.upper()):
            candidates.append(prefix + name)
        for candidate in candidates:
            if self._exists(candidate):
                return candidate
        target = candidates[-1]
        try:
            with self._mapped("CREATE", target):
                self._client.create_folder(target)
        except MailError as error:
            if "ALREADYEXISTS" not in error.text.upper() and not self._exists(target):
                raise
        else:
            with contextlib.suppress(MailError), self._mapped("SUBSCRIBE"):
                self._client.subscribe_folder(target)
        return target

    def has_message(self, mailbox: str, message_id: str) -> bool:
        """Whether `mailbox` holds a message with this Message-ID; the INBOX has to be selected again after it."""
        self.select(mailbox, readonly=True)
        return bool(self.search("HEADER", "Message-ID", message_id))

    def _exists(self, mailbox: str) -> bool:
        with self._mapped("LIST"):
            found = self._client.list_mailboxes(mailbox.replace("*", "%"))
        return any(not {b"\\NonExistent", b"\\Noselect"} & attributes for attributes, _, _ in found)

    def _namespace(self) -> tuple[str, str]:
        if self._offers("NAMESPACE"):
            try:
                with self._mapped("NAMESPACE"):
                    personal: tuple[str, str] | None = self._client.personal_namespace()
            except MailError:
                if self.wire.closed:
                    raise
                personal = None
            if personal is not None:
                return personal
        with self._mapped("LIST"):
            found = self._client.list_mailboxes("")
        return "", found[0][1] if found else ""

    def idle(self, until: float) -> bool:
        """Waits in the selected mailbox until mail arrives, at most until the monotonic time `until`: by IDLE (RFC
        2177) where it is offered, begun anew before a server takes us for gone, else by NOOP. Returns if it came."""
        while (left := until - time.monotonic()) > 0:
            with self._mapped("IDLE"):
                arrived = self._idle_once(min(left, _IDLE_RENEWAL)) if self._offers("IDLE") else self._poll_once(left)
            if arrived:
                return True
        return False

    def _idle_once(self, seconds: float) -> bool:
        engine = self._client._imap
        tag = engine._command("IDLE")
        while engine._get_response():
            # Untagged responses before the continuation request; they count, too.
            if engine.tagged_commands.get(tag) is not None:
                raise IMAPClientError(last_text(engine._command_complete("IDLE", tag)[1]))
        until = time.monotonic() + seconds
        arrived = self._arrived()
        while not arrived and (left := until - time.monotonic()) > 0:
            if self.wire.wait_readable(left):
                engine._get_response()
                arrived = self._arrived()
        engine.send(b"DONE\r\n")
        kind, data = engine._command_complete("IDLE", tag)
        if kind != "OK":
            raise IMAPClientError(last_text(data))
        return arrived or self._arrived()

    def _poll_once(self, seconds: float) -> bool:
        self.wire.wait_readable(min(seconds, _POLL))
        self._client.noop()
        return self._arrived()

    def _arrived(self) -> bool:
        """Whether an EXISTS came since the last time, and said more than was known."""
        counts = [int(each) for each in self._client._imap.untagged_responses.pop("EXISTS", [])]
        grown = bool(counts) and max(counts) > self._exists_count
        self._exists_count = counts[-1] if counts else self._exists_count
        return grown

    def _say_goodbye(self) -> None:
        if self._optional_client is not None:
            with contextlib.suppress(MailError), self._mapped("LOGOUT"):
                self._client.logout()

    # -- errors --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _mapped(self, command: str, mailbox: str = "") -> Iterator[None]:
        """Whatever imapclient and imaplib raise, as a MailError."""
        try:
            yield
        except IMAPClientAbortError as error:
            self.wire.close()
            words = server_words(error)
            known = login_error(words, self._now)
            if known.category == "authentication":
                bye = self._optional_client is not None and "BYE" in self._optional_client._imap.untagged_responses
                lost = bye or "BYE" in str(error) or "EOF" in str(error) or "socket error" in str(error)
                known = MailError("disconnected" if lost else "protocol", f"{command}: {words}")
            raise self._redacted(known) from None
        except IMAPClientError as error:
            raise self._redacted(self._refused(command, mailbox, server_words(error))) from None
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError) as error:
            # Parsers of a library meet whatever a server invents.
            self.wire.close()
            raise self._redacted(
                MailError(
                    "protocol", f"the server's response to {command} cannot be understood ({type(error).__name__})"
                )
            ) from None

    def _refused(self, command: str, mailbox: str, words: str) -> MailError:
        error = login_error(words, self._now)
        if command == "login":
            return error
        if command == "greeting":
            return MailError("connect", words) if error.category == "authentication" else error
        if "[OVERQUOTA]" in words.upper() and command in ("MOVE", "CREATE"):
            return MailError("quota", words)
        if command == "SELECT" and (error.category == "authentication" or "NONEXISTENT" in words.upper()):
            return MailError("config", f"the mailbox {mailbox} cannot be opened: {words}")
        if error.category == "authentication":
            return MailError("protocol", f"{command}: {words}")
        return error


def _sequence_set(uids: Sequence[int]) -> str:
    return ",".join(str(uid) for uid in uids)
