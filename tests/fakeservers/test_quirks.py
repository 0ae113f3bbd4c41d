"""Every quirk speaks over the wire once it is chosen, and keeps silent until then."""

from __future__ import annotations

import base64
import imaplib
import poplib
import smtplib
import ssl
from collections.abc import Callable
from functools import partial

import pytest

from fakeservers import Clock, FakeMailHost, load_profile
from fakeservers.mailstore import Account

USER, PASSWORD = "alice@example.test", "secret"
START = 1_795_600_000.0
MESSAGE = (
    b"From: <alice@example.test>\r\nTo: <bob@example.test>\r\nMessage-ID: <m1@example.test>\r\n"
    b"Subject: Hi\r\n\r\nHi\r\n"
)

Provoke = Callable[[FakeMailHost], str]
"""Goes through a dialogue and returns what the server said at the place in question."""


def trust(host: FakeMailHost) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=host.endpoints()["ca_file"])


def token(user: str) -> str:
    return base64.b64encode(f"user={user}\x01auth=Bearer t0ken\x01\x01".encode()).decode()


# --- SMTP


def smtp(
    host: FakeMailHost,
    until: str,
    *,
    service: str = "submission",
    tls: bool = True,
    login: bool = True,
    ehlo: str = "client.example.org",
    size: bool = False,
    mechanism: str | None = None,
    nth: int = 1,
) -> str:
    """The reply to the command `until`, in its `nth` transaction or at its `nth` time."""
    client = smtplib.SMTP(timeout=10)
    try:
        return _smtp(host, client, until, service, tls, login, ehlo, size, mechanism, nth)
    finally:
        client.close()


def _smtp(
    host: FakeMailHost, client: smtplib.SMTP, until: str, service: str, tls: bool, login: bool, ehlo: str, size: bool,
    mechanism: str | None, nth: int,
) -> str:  # fmt: skip
    said = client.connect("127.0.0.1", host.endpoints()["ports"][service])
    if until == "greeting":
        return text(said)
    client._host = "127.0.0.1"  # type: ignore[attr-defined]
    if tls:
        client.ehlo("client.example.org")
        client.starttls(context=trust(host))
    said = client.ehlo(ehlo)
    if until == "ehlo":
        return text(said)
    if login:
        said = logged_in(client, mechanism)
        if until == "auth":
            return text(said)
    options = [f"SIZE={len(MESSAGE)}"] if size else []
    for last in [False] * (nth - 1) + [True] if until == "mail" else [True]:
        said = client.mail(USER, options)
        if not last:
            client.rset()
    if until == "mail":
        return text(said)
    for number in range(nth if until == "rcpt" else 1):
        said = client.rcpt(f"bob{number}@elsewhere.test")
    if until == "rcpt":
        return text(said)
    if nth > 1:
        client.rcpt("carol@elsewhere.test")
    said = client.docmd("DATA")
    if until == "data" or said[0] != 354:
        return text(said)
    client.send(MESSAGE + b".\r\n")
    return text(client.getreply())


def text(reply: tuple[int, bytes]) -> str:
    return f"{reply[0]} {reply[1].decode()}"


def logged_in(client: smtplib.SMTP, mechanism: str | None) -> tuple[int, bytes]:
    if mechanism == "XOAUTH2":
        said = client.docmd("AUTH", f"XOAUTH2 {token(USER)}")
        return client.docmd("") if said[0] == 334 else said
    try:
        return client.login(USER, PASSWORD)
    except smtplib.SMTPAuthenticationError as error:
        return error.smtp_code, bytes(error.smtp_error)  # type: ignore[arg-type]


# --- IMAP and POP3


def imap(host: FakeMailHost, until: str, *, mechanism: str = "LOGIN") -> str:
    """What the command `until` ended with: its tagged answer's text, or that of the exception."""
    client = imaplib.IMAP4_SSL("127.0.0.1", host.endpoints()["ports"]["imaps"], ssl_context=trust(host), timeout=10)
    try:
        return _imap(client, until, mechanism)
    except imaplib.IMAP4.error as error:
        return str(error)
    finally:
        client.shutdown()


def _imap(client: imaplib.IMAP4, until: str, mechanism: str) -> str:
    if mechanism == "XOAUTH2":
        answers = iter([base64.b64decode(token(USER)), b""])
        client.authenticate("XOAUTH2", lambda challenge: next(answers))
    else:
        client.login(USER, PASSWORD)
    if until == "login":
        return "in"
    if until == "append":
        return words(client.append("INBOX", "", "", MESSAGE))
    said = client.select("INBOX")
    if until == "select" or said[0] != "OK":
        return words(said)
    if until == "search":
        return words(client.search("UTF-8", "ALL"))
    return words(client.fetch("1", "(FLAGS)"))


def words(answer: tuple[str, object]) -> str:
    return f"{answer[0]} {answer[1]}"


def pop3(host: FakeMailHost, until: str) -> str:
    client = None
    try:
        client = poplib.POP3_SSL("127.0.0.1", host.endpoints()["ports"]["pop3s"], context=trust(host), timeout=10)
        if until == "greeting":
            return client.getwelcome().decode()
        if until in ("xoauth2", "one-line"):
            return _pop3_token(client, one_line=until == "one-line")
        client.user(USER)
        said = client.pass_(PASSWORD)
        if until == "pass":
            return said.decode()
        count, _ = client.stat()
        assert count
        return client.retr(1)[0].decode()
    except poplib.error_proto as error:
        return str(error)
    finally:
        if client is not None:
            client.close()


def _pop3_token(client: poplib.POP3, *, one_line: bool) -> str:
    if one_line:
        said = client._shortcmd(f"AUTH XOAUTH2 {token(USER)}")  # type: ignore[attr-defined]
    else:
        client._shortcmd("AUTH XOAUTH2")  # type: ignore[attr-defined]
        said = client._shortcmd(token(USER))  # type: ignore[attr-defined]
    if said.startswith(b"+ "):
        said = client._shortcmd("")  # type: ignore[attr-defined]
    return str(said, "ascii")


auth = partial(smtp, until="auth")
mail = partial(smtp, until="mail")
rcpt = partial(smtp, until="rcpt")
data = partial(smtp, until="data")
message = partial(smtp, until="message")
in_clear = partial(smtp, until="mail", tls=False, login=False)

HOW: dict[str, Provoke] = {
    "greeting": partial(smtp, until="greeting"),
    "ehlo": partial(smtp, until="ehlo"),
    "ehlo-localhost": partial(smtp, until="ehlo", ehlo="localhost"),
    "ehlo-printer": partial(smtp, until="ehlo", ehlo="printer"),
    "ehlo-literal": partial(smtp, until="ehlo", ehlo="[127.0.0.1]"),
    "auth": auth,
    "smtp-token": partial(auth, mechanism="XOAUTH2"),
    "mail": mail,
    "mail-2": partial(mail, nth=2),
    "mail-size": partial(mail, size=True),
    "rcpt": rcpt,
    "rcpt-2": partial(rcpt, nth=2),
    "relayed": partial(rcpt, service="smtp", login=False, tls=False),
    "data": data,
    "message": message,
    "message-2": partial(message, nth=2),
    **{f"imap-{until}": partial(imap, until=until) for until in ("login", "select", "fetch", "append")},
    "imap-token": partial(imap, until="login", mechanism="XOAUTH2"),
    **{f"pop3-{until}": partial(pop3, until=until) for until in ("greeting", "pass", "retr", "one-line")},
    "pop3-token": partial(pop3, until="xoauth2"),
}
"""Ways to provoke a quirk. `-2`: the second transaction's MAIL, the second recipient, a message to two."""

TABLE = """
gmail/app-password-required               auth           534 5.7.9 Application-specific password required.
gmail/bad-credentials                     auth           535 5.7.8 Username and Password not accepted. For more
gmail/bad-credentials-old                 auth           535 5.7.8 Username and Password not accepted. Learn more at
gmail/web-login-required                  auth           <https://accounts.google.com/signin/continue?sarp=1&scc=1
gmail/web-login-required-short            auth           534 5.7.9 Please log in with your web browser
gmail/too-many-login-attempts             auth           454 4.7.0 Too many login attempts, please try again later.
gmail/auth-temporary                      auth           454 4.7.0 Cannot authenticate due to a temporary system
gmail/xoauth2-fail                        smtp-token     535 5.7.8 Username and Password not accepted.
gmail/auth-required                       mail           530 5.7.0 Authentication Required.
gmail/daily-limit                         data           550 5.4.5 Daily user sending limit exceeded.
gmail/daily-limit-old                     data           550 5.4.5 Daily sending quota exceeded.
gmail/too-many-recipients                 rcpt-2         452 4.5.3 Your message has too many recipients.
gmail/too-many-recipients-permanent       rcpt-2         550 5.5.3 Too many recipients for this sender.
gmail/message-too-large                   mail-size      552 5.2.3 Your message exceeded Google's message size
gmail/message-too-large                   message        552 5.2.3 Your message exceeded Google's message size
gmail/server-busy                         greeting       421 4.4.5 Server busy, try again later.
gmail/temporary-system-problem            data           421 4.3.0 Temporary System Problem.  Try again later (10).
gmail/temporary-system-problem-2018       data           421 4.7.0 Temporary System Problem.  Try again later (10).
gmail/connection-expired                  mail-2         421 4.7.0 Connection expired, try reconnecting.
gmail/idle-timeout                        mail-2         451 4.4.2 Timeout - closing connection.
gmail/blocked-content                     message        552 5.7.0 This message was blocked because its content
gmail/policy-prohibited                   message        550 5.7.1 The user or domain that you are sending to (or
gmail/malformed                           message        554 5.6.0 Mail message is malformed. Not accepted.
google-relay/ehlo-required                ehlo-localhost 421 4.7.0 Try again later, closing connection. (EHLO)
google-relay/ehlo-required                ehlo-printer   421 4.7.0 Try again later, closing connection. (EHLO)
google-relay/ehlo-required-old            ehlo-literal   421 4.7.0 Try again later, closing connection. (EHLO)
google-relay/relay-denied                 relayed        550 5.7.0 Mail relay denied [127.0.0.1].
google-relay/relay-denied                 relayed        one of the domains in: client.example.org (as
google-relay/invalid-credentials-relay    relayed        550 5.7.1 Invalid credentials for relay [127.0.0.1].
google-relay/sending-denied               rcpt           550 5.7.0 Mail Sending denied.
google-relay/daily-limit-customer         rcpt           550 5.7.1 Daily SMTP relay limit exceeded for customer.
google-relay/daily-limit-user             rcpt           550 5.4.5 Daily SMTP relay limit exceeded for user.
google-relay/peak-rate                    rcpt           450 4.2.1 Peak SMTP relay limit exceeded for customer.
google-relay/too-many-recipients          rcpt-2         452 4.5.3 Your message has too many recipients.
google-relay/server-busy                  greeting       421 4.4.5 Server busy, try again later.
google-relay/temporary-system-problem     data           421 4.3.0 Temporary System Problem.
google-relay/policy-prohibited            message        550 5.7.1 The user or domain that you are sending to (or
office365/smtp-auth-disabled-tenant       auth           SmtpClientAuthentication is disabled for the Tenant.
office365/smtp-auth-disabled-tenant       mail           530 5.7.57 Client not authenticated to send mail. Error:
office365/smtp-auth-disabled-mailbox      auth           SmtpClientAuthentication is disabled for the Mailbox.
office365/smtp-auth-disabled-mailbox      mail           530 5.7.57 Client not authenticated to send mail. Error:
office365/basic-auth-retired              auth           550 5.7.30 Basic authentication is not supported for
office365/basic-auth-retired              pop3-pass      -ERR Logon failure: unknown user name or bad password.
office365/basic-auth-disabled             auth           535 5.7.139 Authentication unsuccessful, basic
office365/security-defaults               auth           535 5.7.139 Authentication unsuccessful, user is locked by
office365/conditional-access              auth           535 5.7.139 Authentication unsuccessful, the request did
office365/federation-unreachable          auth           535 5.7.139 Authentication unsuccessful, federated STS
office365/wrong-password                  auth           535 5.7.139 Authentication unsuccessful, the user
office365/authentication-unsuccessful     auth           535 5.7.3 Authentication unsuccessful [
office365/xoauth2-fail                    smtp-token     535 5.7.3 Authentication unsuccessful [
office365/mailbox-cannot-be-accessed      auth           550 5.2.1 Mailbox cannot be accessed [
office365/temporary-auth-failure          auth           454 4.7.0 Temporary authentication failure [
office365/tls-12-required                 ehlo           421 4.7.66 TLS 1.0 and 1.1 are not supported.
office365/auth-required                   mail           530 5.7.57 Client not authenticated to send mail. [
office365/send-as-denied                  message        554 5.2.252 SendAsDenied; alice@example.test not allowed
office365/send-as-denied-at-mail          mail           550 5.7.60 SMTP; Client does not have permissions to send
office365/concurrent-connections          message        432 4.3.2 Concurrent connections limit exceeded.
office365/sender-thread-limit             message        432 4.3.2 STOREDRV.ClientSubmit; sender thread limit
office365/throttled                       mail           421 4.4.2 Message submission rate for this client has
office365/daily-recipient-limit           message        554 5.2.0
office365/recipients-per-message          rcpt-2         452 4.5.3 Too many recipients
office365/recipients-per-message-permanent message-2      550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients
office365/mailbox-full                    message        554 5.2.2 mailbox full;
office365/message-too-large               mail-size      552 5.3.4 Message size exceeds fixed maximum message size
office365/message-too-large               message        552 5.3.4 Message size exceeds fixed maximum message size
office365/header-too-large                message        552 5.3.4 Header size exceeds fixed maximum size
office365/service-not-active              mail           421 4.3.2 Service not active
office365/temporary-server-error          message        451 4.7.0 Temporary server error. Please try again later.
office365/temporary-server-error-attr18   message        451 4.4.3 Temporary server error. Please try again later
office365/connection-timed-out            mail-2         421 4.4.1 Connection timed out
office365/connection-dropped              data           421 4.4.2 Connection dropped
gmail/imap-bad-credentials                imap-login     [AUTHENTICATIONFAILED] Invalid credentials (Failure)
gmail/imap-app-password                   imap-login     [ALERT] Application-specific password required: https://
gmail/imap-web-login                      imap-login     [ALERT] Please log in via your web browser: https://
gmail/imap-disabled                       imap-login     [ALERT] Your account is not enabled for IMAP use.
gmail/imap-disabled-domain                imap-login     [ALERT] IMAP access is disabled for your domain.
gmail/imap-too-many-connections           imap-login     [ALERT] Too many simultaneous connections. (Failure)
gmail/xoauth2-fail                        imap-token     [AUTHENTICATIONFAILED] Invalid credentials (Failure)
gmail/imap-lookup-failed                  imap-token     Lookup failed
gmail/imap-overquota                      imap-fetch     [OVERQUOTA] Account exceeded command or bandwidth limits.
gmail/imap-session-expired                imap-fetch     Session expired, please login again.
gmail/imap-system-error                   imap-fetch     System Error (Failure)
gmail/imap-bye-system-error               imap-select    System Error
office365/basic-auth-retired              imap-login     Basic authentication is disabled.
office365/imap-login-failed               imap-login     LOGIN failed.
office365/imap-disabled                   imap-select    User is authenticated but not connected.
office365/imap-throttled                  imap-select    Request is throttled. Suggested Backoff Time: 92415
office365/imap-server-unavailable         imap-select    Server Unavailable. 15
office365/imap-server-unavailable-at-login imap-login     Server Unavailable. 15
office365/imap-session-closed             imap-fetch     Connection is closed. 13
office365/imap-append-rejected            imap-append    Command Argument Error. 11
gmail/pop-disabled                        pop3-retr      -ERR [SYS/PERM] Your account is not enabled for POP access.
gmail/pop-disabled-at-login               pop3-pass      -ERR [SYS/PERM] Your account is not enabled for POP access.
gmail/pop-bad-password                    pop3-pass      -ERR [AUTH] Username and password not accepted.
gmail/pop-app-password                    pop3-pass      -ERR [AUTH] Application-specific password required:
gmail/pop-web-login                       pop3-pass      -ERR [AUTH] Web login required:
gmail/pop-temp                            pop3-pass      -ERR [SYS/TEMP] Temporary system problem. Please try again
gmail/xoauth2-fail                        pop3-token     -ERR [AUTH] Username and password not accepted.
office365/pop-wrong-password              pop3-pass      -ERR Logon failure: unknown user name or bad password.
office365/pop-disabled                    pop3-pass      -ERR Logon failure: unknown user name or bad password.
office365/xoauth2-fail                    pop3-token     -ERR Authentication failure: unknown user name or bad
office365/pop-server-unavailable          pop3-retr      -ERR Server Unavailable. 21
office365/pop-xoauth2-one-line            pop3-one-line  -ERR Protocol error. Connection is closed. 10
office365/pop-tcpproxy-greeting           pop3-greeting  +OK Microsoft Exchange POP3 server ready (tcpproxy/
"""
QUIRKS = [tuple(row.split(maxsplit=2)) for row in TABLE.strip().splitlines()]
"""(quirk, how to provoke it, words that come over the wire)"""

NOT_HERE = {
    "gmail/must-issue-starttls": "the plain profile says the same",
    "gmail/must-issue-starttls-old": "below",
    "office365/must-issue-starttls": "the plain profile says the same",
    "google-relay/ehlo-flaky": "below",
    "office365/message-rate-limit": "below",
    "office365/tarpit": "it takes five real seconds",
    "office365/imap-idle-drop": "below",
}


def account_of(host: FakeMailHost) -> Account:
    account = host.store.account(USER)
    assert account is not None
    return account


def host_of(name: str, *quirks: str, clock: Clock | None = None) -> FakeMailHost:
    host = FakeMailHost(name, quirks=quirks, clock=clock or Clock(START))
    account_of(host).tokens.add("t0ken")
    host.store.deliver(MESSAGE, mail_from="bob@example.test", rcpt_to=(USER,))
    return host


@pytest.mark.parametrize(("name", "how", "expected"), QUIRKS, ids=[f"{name}-{how}" for name, how, _ in QUIRKS])
def test_quirk_speaks_only_when_chosen(name: str, how: str, expected: str) -> None:
    provoke = HOW[how]
    provider, _, quirk = name.partition("/")
    with host_of(provider, quirk) as host:
        assert expected in provoke(host)
        assert host.errors == []
    with host_of(provider) as host:
        assert expected not in provoke(host)
        assert host.errors == []


def test_every_quirk_is_tried() -> None:
    tried = {name for name, _, _ in QUIRKS} | set(NOT_HERE)
    for provider in ("gmail", "google-relay", "office365"):
        assert {f"{provider}/{quirk}" for quirk in load_profile(provider).quirks} <= tried


@pytest.mark.parametrize(
    ("provider", "expected"),
    [("gmail", "530 5.7.0 Must issue a STARTTLS command first. For"), ("office365", "451 5.7.3 STARTTLS is required")],
)
def test_tls_is_demanded_with_and_without_the_quirk(provider: str, expected: str) -> None:
    for quirks in ([], ["must-issue-starttls"]):
        with host_of(provider, *quirks) as host:
            assert expected in in_clear(host)


@pytest.mark.parametrize(
    ("name", "provoke", "passes", "seconds"),
    [
        ("gmail/daily-limit", data, "354", 86400),
        ("google-relay/daily-limit-customer", rcpt, "250", 86400),
        ("office365/daily-recipient-limit", message, "250", 86400),
        ("office365/throttled", mail, "250", 60),
        ("gmail/imap-overquota", partial(imap, until="fetch"), "OK", 86400),
        ("office365/imap-throttled", partial(imap, until="select"), "OK", 93),
    ],
)
def test_limits_end_with_time(name: str, provoke: Provoke, passes: str, seconds: float) -> None:
    provider, _, quirk = name.partition("/")
    clock = Clock(START)
    with host_of(provider, quirk, clock=clock) as host:
        clock.advance(seconds - 1)
        assert not provoke(host).startswith(passes)
        clock.advance(1)
        assert provoke(host).startswith(passes)


def test_the_older_demand_for_tls_is_one_line() -> None:
    with host_of("gmail", "must-issue-starttls-old") as host:
        said = in_clear(host)
        assert said.startswith("530 5.7.0 Must issue a STARTTLS command first. ")
        assert said.endswith(" - gsmtp")
        assert "\n" not in said


def test_generic_ehlo_names_fail_from_the_second_connection_on() -> None:
    with host_of("google-relay", "ehlo-flaky") as host:
        hello = partial(smtp, host, "ehlo", ehlo="localhost", tls=False)
        assert hello().startswith("250")
        assert hello().startswith("421")
        assert smtp(host, "ehlo", ehlo="mail.example.org", tls=False).startswith("250")


def test_the_31st_message_of_a_minute_is_refused() -> None:
    clock = Clock(START)
    with host_of("office365", "message-rate-limit", clock=clock) as host:
        account = account_of(host)
        account.tally.add("messages", clock.now(), 29)
        assert message(host).startswith("250")
        assert mail(host).startswith("421 4.4.2")
        clock.advance(60)
        assert message(host).startswith("250")


def test_a_mailbox_that_cannot_be_opened_ends_the_connection_at_the_second_try() -> None:
    with host_of("office365", "imap-disabled") as host:
        client = imaplib.IMAP4_SSL("127.0.0.1", host.endpoints()["ports"]["imaps"], ssl_context=trust(host), timeout=10)
        try:
            client.login(USER, PASSWORD)
            client.send(b'a LIST "" *\r\nb SELECT INBOX\r\n')
            assert client.readline() == b"a BAD User is authenticated but not connected.\r\n"
            assert client.readline() == b"b BAD User is authenticated but not connected.\r\n"
            assert client.readline() == b"* BYE Connection closed. 14\r\n"
            assert client.readline() == b""
        finally:
            client.shutdown()


def test_retired_passwords_are_not_offered_over_imap_and_pop3() -> None:
    with host_of("office365", "basic-auth-retired") as host:
        ports, context = host.endpoints()["ports"], trust(host)
        client = imaplib.IMAP4_SSL("127.0.0.1", ports["imaps"], ssl_context=context, timeout=10)
        assert {"AUTH=XOAUTH2", "LOGINDISABLED"} <= set(client.capabilities)
        assert "AUTH=PLAIN" not in client.capabilities
        client.logout()
        maildrop = poplib.POP3_SSL("127.0.0.1", ports["pop3s"], context=context, timeout=10)
        assert maildrop.capa()["SASL"] == ["XOAUTH2"]
        maildrop.quit()
        assert imap(host, "login", mechanism="XOAUTH2") == "in"
        assert pop3(host, "xoauth2") == "+OK User successfully authenticated."
        assert smtp(host, "auth", mechanism="XOAUTH2") == "235 2.7.0 Authentication successful"


def test_idle_is_dropped_without_a_word() -> None:
    with host_of("office365", "imap-idle-drop") as host:
        client = imaplib.IMAP4_SSL("127.0.0.1", host.endpoints()["ports"]["imaps"], ssl_context=trust(host), timeout=10)
        try:
            client.login(USER, PASSWORD)
            client.select("INBOX")
            client.send(b"x IDLE\r\n")
            assert client.readline() == b"+ IDLE accepted, awaiting DONE command.\r\n"
            assert client.readline() == b""
        finally:
            client.shutdown()


@pytest.mark.parametrize(("provider", "challenged"), [("gmail", True), ("office365", False)])
def test_only_gmail_names_the_reason_in_a_challenge(provider: str, challenged: bool) -> None:
    reason = base64.b64encode(b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}')
    with host_of(provider, "xoauth2-fail") as host:
        smtp(host, "auth", mechanism="XOAUTH2")
        imap(host, "login", mechanism="XOAUTH2")
        pop3(host, "xoauth2")
        said = {entry.service for entry in host.transcript if entry.direction == "S" and reason in entry.data}
    assert said == ({"submission", "imaps", "pop3s"} if challenged else set())


# --- what is always on


@pytest.mark.parametrize(
    ("kind", "limit", "passes", "refused"),
    [(None, 500, 499, 500), ("consumer", 500, 499, 500), ("workspace", 2000, 1999, 2000)],
)
def test_gmail_daily_limit_by_kind_of_account(kind: str | None, limit: int, passes: int, refused: int) -> None:
    clock = Clock(START)
    with host_of("gmail", clock=clock) as host:
        account = account_of(host)
        if kind is not None:
            account.properties["account_type"] = kind
        account.tally.add("messages", clock.now(), passes)
        assert message(host).startswith("250 2.0.0 OK  ")
        assert account.tally.total("messages") == refused == limit
        assert data(host).startswith("550 5.4.5 Daily user sending limit exceeded.")
        clock.advance(86400)
        assert data(host).startswith("354")


@pytest.mark.parametrize(
    ("ehlo", "expected"),
    [
        ("client.example.org", "250 "),
        ("[192.0.2.1]", "250 "),
        ("mantis.*", '501 5.5.4 HELO/EHLO argument "mantis.*" invalid, closing connection.'),
        ("PhpStorm 9.0.3", '501 5.5.4 HELO/EHLO argument "PhpStorm 9.0.3" invalid, closing connection.'),
    ],
)
def test_gmail_looks_at_the_ehlo_name(ehlo: str, expected: str) -> None:
    with host_of("gmail") as host:
        assert smtp(host, "ehlo", ehlo=ehlo, tls=False).startswith(expected)


@pytest.mark.parametrize("ehlo", ["mylaptopname.", "MacBook..", "my_host"])
def test_office365_looks_at_the_ehlo_name(ehlo: str) -> None:
    with host_of("office365") as host:
        assert smtp(host, "ehlo", ehlo=ehlo, tls=False).startswith("501 5.5.4 Invalid domain name [")


@pytest.mark.parametrize(
    ("others", "expected"),
    [(2, "250 2.0.0 OK <m1@example.test> [Hostname="), (3, "432 4.3.2 Concurrent connections limit exceeded.")],
)
def test_office365_takes_three_submitting_connections(others: int, expected: str) -> None:
    with host_of("office365") as host:
        account_of(host).sessions["smtp"] = others
        assert message(host).startswith(expected)


@pytest.mark.parametrize(("others", "expected"), [(14, "in"), (15, "Too many simultaneous connections.")])
def test_gmail_takes_fifteen_imap_connections(others: int, expected: str) -> None:
    with host_of("gmail") as host:
        account_of(host).sessions["imap"] = others
        assert expected in imap(host, "login")


def test_office365_searches_in_ascii_only() -> None:
    with host_of("office365") as host:
        assert "[BADCHARSET (US-ASCII)]" in imap(host, "search")


def test_the_relay_takes_mail_for_the_world_without_a_login() -> None:
    with host_of("google-relay") as host:
        assert message(host, service="smtp", login=False, tls=False).startswith("250 2.0.0 OK  ")
        assert host.messages("bob0@elsewhere.test")


def test_office365_greets_with_an_unpadded_date() -> None:
    with host_of("office365", clock=Clock(1_754_306_130)) as host:
        assert " Microsoft ESMTP MAIL Service ready at Mon, 4 Aug 2025 11:15:30 +0000 [08D" in smtp(host, "greeting")


def test_office365_names_one_session_in_greeting_and_errors() -> None:
    with host_of("office365") as host:
        client = smtplib.SMTP(timeout=10)
        _, greeting = client.connect("127.0.0.1", host.endpoints()["ports"]["submission"])
        session = greeting.decode().rpartition("[")[2].removesuffix("]")
        client.ehlo("client.example.org")
        code, refusal = client.mail(USER)
        client.close()
        assert code == 451
        assert refusal.decode().endswith(f" {session}]")
        assert refusal.decode().partition("[")[2].split(".")[0] == greeting.decode().split(".")[0]
