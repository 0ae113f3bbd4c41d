"""LOGIN, AUTHENTICATE, STARTTLS (RFC 3501 6.2), SASL-IR (RFC 4959)."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from fakeservers import sasl
from fakeservers.actions import Action, StartTls
from fakeservers.imap.capabilities import login_needs_tls
from fakeservers.imap.command import NOT_LOGGED_IN, Answer, Command, Interlude, RefusedError
from fakeservers.imap.cursor import Cursor
from fakeservers.mailstore import Account

if TYPE_CHECKING:
    from fakeservers.imap.session import ImapSession

__all__ = ["Authenticate", "Login", "StartTlsCommand"]


_PLAINTEXT = {"PLAIN": "password", "LOGIN": "password", "XOAUTH2": "token", "OAUTHBEARER": "token"}
"""Mechanisms that send the credential as it is, and what it is."""
_REFUSALS = {"expired": "login.expired", "disabled": "login.account-disabled"}
"""Replies to credentials that are right and of no use."""


def _failed(session: ImapSession, claimed: Account | None) -> None:
    session.connection.count("failed_logins")
    if claimed is not None:
        claimed.tally.add("failed_logins", session.site.clock.now())


def _logged_in(session: ImapSession, account: Account, mechanism: str, key: str) -> Answer:
    """The session is the account's from here on; how capabilities are told is the server's manner."""
    session.connection.login(account, mechanism)
    words = " ".join(session.capabilities())
    if session.manners.caps_silent_after_login:
        return Answer(key)
    if session.manners.caps_untagged_after_login:
        session.out.append(f"* CAPABILITY {words}\r\n".encode())
        return Answer(key)
    return Answer(key, {"code": f"[CAPABILITY {words}] "})


class Login(Command):
    """LOGIN SP userid SP password"""

    name = "LOGIN"
    states = NOT_LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.username = cursor.astring().decode("utf-8", "replace")
        cursor.space()
        self.password = cursor.astring().decode("utf-8", "replace")
        session.connection.claimed = session.site.store.account(self.username)

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"username": self.username, "mechanism": "LOGIN"}

    def run(self, session: ImapSession) -> Answer:
        connection = session.connection
        account = connection.claimed
        facts = {"username": self.username, "mechanism": "LOGIN"}
        session.consult("auth", command="login", **facts)
        if login_needs_tls(connection):
            raise RefusedError("login.disabled")
        if "LOGINDISABLED" in session.capabilities():
            raise RefusedError("login.off")
        result = sasl.check_password(session.site.store, self.username, self.password).result
        try:
            effect = session.consult("credentials", command="login", credentials=result, **facts)
        except RefusedError:
            _failed(session, account)
            raise
        accepted = effect is not None and effect.reply is not None
        if account is not None and (result == "right" or accepted):
            return _logged_in(session, account, "LOGIN", "login.ok")
        _failed(session, account)
        raise RefusedError(_REFUSALS.get(result, "login.failed"))


class Authenticate(Command):
    """AUTHENTICATE SP auth-type [SP (base64 / "=")]"""

    name = "AUTHENTICATE"
    states = NOT_LOGGED_IN

    def parse(self, cursor: Cursor, session: ImapSession) -> None:
        cursor.space()
        self.mechanism = cursor.atom().decode().upper()
        self.initial: bytes | None = cursor.rest().strip(b" ") if cursor.more() else None

    def facts(self, session: ImapSession) -> dict[str, object]:
        return {"mechanism": self.mechanism}

    def run(self, session: ImapSession) -> Answer:
        connection = session.connection
        connection.claimed = None
        session.consult("auth", command="authenticate", mechanism=self.mechanism, argument=self.mechanism)
        if login_needs_tls(connection):
            raise RefusedError("login.disabled")
        offered = session.capabilities()
        exchange = None
        if f"AUTH={self.mechanism}" in offered:
            profile = session.profile
            context = sasl.context_of(connection, bearer_error=profile.bearer_error, prompts=profile.login_prompts)
            exchange = sasl.begin(self.mechanism, context)
            if exchange is None:
                facts = {"event": "unimplemented", "capability": self.mechanism}
                connection.event(f"mailrig lacks {self.mechanism}", facts)
        if exchange is None:
            raise RefusedError("authenticate.mechanism")
        interlude = _Exchange(exchange)
        if self.initial is None:
            return interlude.proceed(session, None)
        response = interlude.decode(session, self.initial)
        return interlude.proceed(session, response)


class _Exchange(Interlude):
    """The client's answers are base64, one a line; `*` cancels (RFC 3501 6.2.2)."""

    def __init__(self, exchange: sasl.Exchange) -> None:
        self.exchange = exchange
        self.responses = 0

    def heard(self, session: ImapSession, line: bytes) -> None:
        hidden = line.strip() not in (b"", b"*", b"=")
        session.connection.heard(b"***\r\n" if hidden else line, masked=hidden)

    def decode(self, session: ImapSession, text: bytes) -> bytes:
        """Raises RefusedError for what is no base64."""
        self.responses += 1
        if text == b"=":
            return b""
        try:
            response = b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise RefusedError("authenticate.malformed") from None
        kind = _PLAINTEXT.get(self.exchange.mechanism)
        shown = response not in (b"", sasl.GOODBYE)
        if shown and kind is not None and (self.exchange.mechanism != "LOGIN" or self.responses > 1):
            session.connection.secret(kind)
        return response

    def line(self, session: ImapSession, line: bytes) -> list[Action]:
        session.interlude = None
        try:
            effect = session.consult("auth-step", command="authenticate", mechanism=self.exchange.mechanism)
            if line == b"*":
                raise RefusedError("authenticate.cancelled")
            act = effect.reply if effect is not None else None
            said = (act.reply or "")[:1] if act is not None else ""
            answer = self.proceed(session, self.decode(session, line), granted=said == "O", asked=said == "+")
        except RefusedError as error:
            return session.refuse(error)
        return session.answer(answer)

    def proceed(
        self, session: ImapSession, response: bytes | None, *, granted: bool = False, asked: bool = False
    ) -> Answer:
        """Raises RefusedError when the client is not let in. `granted`: a rule lets it in, whatever is still due;
        `asked`: a rule goes on asking, though nothing is."""
        step = self.exchange.step(response)
        if granted and isinstance(step, sasl.Challenge):
            step = sasl.Outcome("right", self.exchange.username, session.site.store.account(self.exchange.username))
        elif asked and isinstance(step, sasl.Outcome):
            step = sasl.Challenge()
        if isinstance(step, sasl.Challenge):
            challenge = b64encode(step.data).decode("ascii")
            return Answer("", interlude=self, line=f"+ {challenge}", secret=step.secret)
        return self._over(session, step)

    def _over(self, session: ImapSession, outcome: sasl.Outcome) -> Answer:
        connection = session.connection
        mechanism = self.exchange.mechanism
        connection.claimed = outcome.account or session.site.store.account(outcome.username)
        if outcome.result in ("malformed", "cancelled"):
            raise RefusedError(f"authenticate.{outcome.result}")
        try:
            effect = session.consult(
                "credentials",
                command="authenticate",
                credentials=outcome.result,
                username=outcome.username,
                mechanism=mechanism,
            )
        except RefusedError:
            _failed(session, connection.claimed)
            raise
        accepted = effect is not None and effect.reply is not None
        if connection.claimed is not None and (outcome.result == "right" or accepted):
            return _logged_in(session, connection.claimed, mechanism, "authenticate.ok")
        _failed(session, connection.claimed)
        raise RefusedError(_REFUSALS.get(outcome.result, "authenticate.failed"))


class StartTlsCommand(Command):
    name = "STARTTLS"
    states = NOT_LOGGED_IN

    def run(self, session: ImapSession) -> Answer:
        if session.connection.tls is not None or "STARTTLS" not in session.capabilities():
            raise RefusedError("starttls.refused")
        return Answer("starttls.ok", then=[StartTls()])
