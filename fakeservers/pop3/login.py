"""POP3's AUTHORIZATION state: USER and PASS, APOP, AUTH, STLS, UTF8 (RFC 1939 sections 4 and 7, RFC 2595, RFC 5034)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from fakeservers.actions import Action, StartTls
from fakeservers.mailstore import Account
from fakeservers.pop3.answer import AUTHORIZATION, Answer, Command, merged
from fakeservers.pop3.lines import plain_credential
from fakeservers.pop3.maildrop import Maildrop
from fakeservers.pop3.replies import rule_lines
from fakeservers.pop3.update import messages_of
from fakeservers.rules import Effect
from fakeservers.sasl import (
    GOODBYE,
    Challenge,
    Context,
    Exchange,
    Outcome,
    answer,
    apop,
    begin,
    check_password,
    context_of,
)

if TYPE_CHECKING:
    from fakeservers.pop3.session import Pop3Session

__all__ = ["COMMANDS", "auth_line", "login_context"]

RECENT = "recent:"
_REFUSALS = {
    "in-use": "in-use", "login-delay": "login-delay", "expired": "auth-expired", "disabled": "auth-disabled",
}  # fmt: skip


def login_context(session: Pop3Session) -> Context:
    return context_of(
        session.connection,
        bearer_error=str(session.options["bearer_error"]),
        prompts=session.profile.login_prompts,
        prefix=RECENT if session.options["recent_prefix"] else "",
    )


def _begin(session: Pop3Session, mechanism: str) -> tuple[Answer | None, Effect | None]:
    """The rules' word at `auth`, and the refusal (theirs or for want of TLS) if there is one."""
    effect = session.connection.consult("auth", mechanism=mechanism, argument="")
    act = effect.reply if effect is not None else None
    if act is not None:
        said = rule_lines(session.connection, act)
        if not said.startswith(b"+"):
            return Answer(said, effect=effect, ruled=True), effect
    if session.tls_missing:
        return session.say("tls-required"), effect
    return None, effect


def _user(session: Pop3Session, argument: str) -> Answer:
    session.connection.claimed = login_context(session).account(argument)
    refusal, effect = _begin(session, "USER")
    if refusal is not None:
        return refusal
    session.user = argument
    said = session.say("user")
    said.effect = effect
    return said


def _pass(session: Pop3Session, argument: str) -> Answer:
    # RFC 1939 section 7: PASS is valid only right behind a USER that succeeded.
    user, session.user = session.user, None
    if user is None:
        return session.misused("wrong-state")
    return _conclude(session, check_password(login_context(session), user, argument), "USER", "pass")


def _apop(session: Pop3Session, argument: str) -> Answer:
    user, _, digest = argument.rpartition(" ")
    session.connection.claimed = login_context(session).account(user)
    refusal, effect = _begin(session, "APOP")
    if refusal is not None:
        return refusal
    proof = digest.encode("utf-8", "surrogateescape")
    outcome = apop(login_context(session), session.connection.site.secrets, session.banner, user, proof)
    said = _conclude(session, outcome, "APOP", "apop")
    said.effect = merged(said.effect, effect)
    return said


# --- SASL


def _auth(session: Pop3Session, argument: str) -> Answer:
    mechanism, _, initial = argument.partition(" ")
    mechanism = mechanism.upper()
    if session.tls_missing:
        return session.say("tls-required")
    if mechanism not in session.mechanisms:
        return session.say("auth-mechanism", arg=mechanism)
    exchange = begin(mechanism, login_context(session))
    if exchange is None:
        session.connection.event(
            f"AUTH {mechanism} is not built here", {"event": "unimplemented", "what": f"AUTH {mechanism}"}
        )
        return session.say("auth-mechanism", arg=mechanism)
    session.exchange = exchange
    if not initial:
        return _step(session, exchange.step(None))
    return _step(session, answer(exchange, initial.encode("utf-8", "surrogateescape"), initial=True))


def auth_line(session: Pop3Session, exchange: Exchange, text: bytes) -> list[Action]:
    """The client's next line in a SASL exchange."""
    connection = session.connection
    if text in (b"", b"*"):
        connection.heard(text + b"\r\n")
    else:
        connection.heard(b"***\r\n", masked=True)
        kind = plain_credential(exchange.mechanism)
        shown = text != base64.b64encode(GOODBYE)
        if shown and kind is not None and (exchange.mechanism != "LOGIN" or exchange.username):
            connection.secret(kind)
    effect = connection.consult("auth-step", command="auth", argument="", mechanism=exchange.mechanism)
    act = effect.reply if effect is not None else None
    if act is not None:
        said = rule_lines(connection, act)
        if not said.startswith(b"+"):
            session.exchange = None
            return session.said(Answer(said), effect)
        step = answer(exchange, text)
        if said.startswith(b"+OK") and isinstance(step, Challenge):
            # The rule lets the client in, whatever is still due.
            step = Outcome("right", exchange.username, login_context(session).account(exchange.username))
        elif said.startswith(b"+ ") and isinstance(step, Outcome) and step.result != "cancelled":
            # It goes on asking, though nothing is due.
            step = Challenge()
        own = _step(session, step)
        if not own.ruled:
            own.status, own.secret = said, False
        return session.said(own, effect)
    return session.said(_step(session, answer(exchange, text)), effect)


def _step(session: Pop3Session, said: Challenge | Outcome) -> Answer:
    assert session.exchange is not None
    if isinstance(said, Challenge):
        return Answer(b"+ " + base64.b64encode(said.data) + b"\r\n", secret=said.secret)
    mechanism = session.exchange.mechanism
    session.exchange = None
    return _conclude(session, said, mechanism, "auth")


# --- in or out


def _conclude(session: Pop3Session, outcome: Outcome, mechanism: str, key: str) -> Answer:
    """Log in or refuse, as the credentials and the rules want it."""
    if outcome.result == "cancelled":
        return session.say("auth-cancelled")
    if outcome.result == "malformed":
        return session.say("auth-malformed" if key == "auth" else f"{key}-refused")
    connection = session.connection
    connection.claimed = outcome.account
    effect = connection.consult(
        "credentials",
        credentials=outcome.result,
        mechanism=mechanism,
        username=outcome.username,
        command=key,
        argument="",
    )
    said: bytes | None = None
    accepted = outcome.result == "right"
    act = effect.reply if effect is not None else None
    if act is not None:
        said = rule_lines(connection, act)
        accepted = said.startswith(b"+OK") and outcome.account is not None
    if not accepted or outcome.account is None:
        _count_failure(session)
        if said is not None:
            return Answer(said, effect=effect, ruled=True)
        return _refuse(session, outcome.result if outcome.result in ("expired", "disabled") else key, effect)
    refusal = _open(session, outcome.account, outcome.username)
    if refusal is not None:
        return _refuse(session, refusal, effect)
    connection.login(outcome.account, mechanism)
    if said is None:
        said = session.say(key, **session.totals_for(key)).status
    return Answer(said, effect=effect, ruled=act is not None)


def _refuse(session: Pop3Session, key: str, effect: Effect | None) -> Answer:
    said = session.say(_REFUSALS.get(key, f"{key}-refused"))
    said.effect = effect
    return said


def _count_failure(session: Pop3Session) -> None:
    connection = session.connection
    connection.count("failed_logins")
    if connection.claimed is not None:
        connection.claimed.tally.add("failed_logins", connection.site.clock.now())


def _open(session: Pop3Session, account: Account, username: str) -> str | None:
    """Take the maildrop of `account`; the key of the refusal, or None."""
    now = session.connection.site.clock.now()
    options = session.options
    delay = float(options["login_delay"])
    if delay and account.tally.within("pop3_logins", now, delay):
        return "login-delay"
    if options["exclusive"] and not session.lock(account):
        return "in-use"
    if delay:
        account.tally.add("pop3_logins", now)
    session.recent = bool(options["recent_prefix"]) and username.startswith(RECENT)
    session.drop = Maildrop(messages_of(account, options, now, recent=session.recent), str(options["unique_id"]))
    session.state = "TRANSACTION"
    return None


# --- STLS and UTF8


def _stls(session: Pop3Session, argument: str) -> Answer:
    if session.connection.tls is not None:
        return session.say("stls-refused")
    said = session.say("stls")
    said.then = [StartTls()]
    return said


def _utf8(session: Pop3Session, argument: str) -> Answer:
    return session.say("utf8")


COMMANDS: dict[bytes, Command] = {
    b"USER": Command(AUTHORIZATION, 1, 99, _user, rest=True),
    b"PASS": Command(AUTHORIZATION, 0, 999, _pass, rest=True),
    b"APOP": Command(AUTHORIZATION, 2, 99, _apop, rest=True),
    b"AUTH": Command(AUTHORIZATION, 1, 2, _auth),
    b"STLS": Command(AUTHORIZATION, 0, 0, _stls),
    b"UTF8": Command(AUTHORIZATION, 0, 0, _utf8),
}
