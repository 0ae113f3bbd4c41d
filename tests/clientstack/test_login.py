"""TLS and logging in over each protocol, trust, and hostile beginnings."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from harness.clientstack import MailError, Settings, check_incoming, check_outgoing

from .scripted import ScriptedServer
from .test_mailbox import BYE, OUT, select
from .test_outbox import QUIT

Make = Callable[..., dict[str, Any]]
MakeContext = Callable[..., ssl.SSLContext]

CAPA = "C: CAPA\nS! +OK\\r\\n{}\\r\\n.\\r\\n\n"
EMPTY = "C: LIST\nS! +OK\\r\\n.\\r\\n\n"
NO_MAIL = select().replace("SELECT", "EXAMINE") + "C: \\S+ UID SEARCH .*\nS: * SEARCH\nS: {tag} OK\n" + OUT


def capability(names: str) -> str:
    return f"C: \\S+ CAPABILITY\nS: * CAPABILITY IMAP4rev1 {names}\nS: {{tag}} OK\n"


def read(settings: dict[str, Any], now: datetime) -> MailError | None:
    return check_incoming(Settings.from_json(settings), now).error


# -- POP3 -------------------------------------------------------------------------------


def test_pop3_stls_and_sasl(incoming: Make, now: datetime, server_context: MakeContext) -> None:
    script = "S: +OK\n" + CAPA.format("STLS\\r\\nUSER") + "C: STLS\nS: +OK\n!tls\n" + CAPA.format("SASL PLAIN")
    script += "C: AUTH PLAIN\nS: +\nC: AGFsaWNlQGV4YW1wbGUudGVzdABzZXNhbWUtb3Blbg==\nS: +OK\n" + EMPTY + BYE
    with ScriptedServer(script, context=server_context()) as server:
        settings = incoming(server.port, "pop3", security="opportunistic", auth="auto", allow_cleartext=False)
        assert read(settings, now) is None


def test_pop3_cram_md5_in_clear(incoming: Make, now: datetime) -> None:
    script = (
        "S: +OK\n" + CAPA.format("USER\\r\\nSASL PLAIN CRAM-MD5") + "C: AUTH CRAM-MD5\nS: + PDFAeD4=\nC: \\S+\nS: +OK\n"
    )
    with ScriptedServer(script + EMPTY + BYE) as server:
        assert read(incoming(server.port, "pop3", auth="auto", allow_cleartext=False), now) is None


@pytest.mark.parametrize(
    ("capa", "auth", "category"),
    [("USER", "auto", "tls-required"), ("SASL XOAUTH2", "auto", "auth-mechanism"), ("USER", "apop", "auth-mechanism")],
)
def test_pop3_without_a_way_to_log_in(capa: str, auth: str, category: str, incoming: Make, now: datetime) -> None:
    with ScriptedServer("S: +OK\n" + CAPA.format(capa) + BYE) as server:
        error = read(incoming(server.port, "pop3", auth=auth, allow_cleartext=False), now)
    assert error is not None
    assert error.category == category


# -- IMAP -------------------------------------------------------------------------------


def test_imap_starttls_and_authenticate(incoming: Make, now: datetime, server_context: MakeContext) -> None:
    script = "S: * OK\n" + capability("STARTTLS LOGINDISABLED") + "C: \\S+ STARTTLS\nS: {tag} OK\n!tls\n"
    script += capability("AUTH=PLAIN LOGINDISABLED") + "C: \\S+ AUTHENTICATE PLAIN\nS: +\n"
    script += "C: AGFsaWNlQGV4YW1wbGUudGVzdABzZXNhbWUtb3Blbg==\nS! {tag} OK\\r\\n"
    with ScriptedServer(script.replace("S! {tag}", "S: {tag}") + "!hold", context=server_context()) as server:
        settings = incoming(server.port, "imap", security="starttls", auth="auto", allow_cleartext=False, timeout=0.5)
        error = read(settings, now)
        server.forgiving = True
    assert [line.split()[1] for line in server.heard[0] if " " in line] == [
        "CAPABILITY", "STARTTLS", "CAPABILITY", "AUTHENTICATE",
    ]  # fmt: skip
    assert error is not None


@pytest.mark.parametrize(
    ("capabilities", "security", "category"),
    [
        ("LOGINDISABLED", "none", "auth-mechanism"),
        ("AUTH=PLAIN LOGINDISABLED", "none", "tls-required"),
        ("", "starttls", "tls-required"),
        ("AUTH=NTLM LOGINDISABLED", "none", "auth-mechanism"),
    ],
)
def test_imap_without_a_way_to_log_in(
    capabilities: str, security: str, category: str, incoming: Make, now: datetime
) -> None:
    with ScriptedServer("S: * OK\n" + capability(capabilities) + OUT) as server:
        settings = incoming(server.port, "imap", security=security, auth="auto", allow_cleartext=False)
        error = read(settings, now)
    assert error is not None
    assert error.category == category


def test_imap_preauth_needs_no_login(incoming: Make, now: datetime) -> None:
    with ScriptedServer("S: * PREAUTH hi\n" + capability("UIDPLUS") + NO_MAIL) as server:
        error = read(incoming(server.port, "imap"), now)
    assert error is None


def test_imap_passwords_beyond_ascii_are_literals(incoming: Make, now: datetime) -> None:
    script = "S: * OK\n" + capability("") + 'C: \\S+ LOGIN "alice@example.test" \\{7\\}\nS: + go\nC: sésam"\n'
    with ScriptedServer(script.replace('sésam"', "sésame") + "S: {tag} NO no\n!quit") as server:
        error = read(incoming(server.port, "imap", password="sésame"), now)
        server.forgiving = True
    assert server.heard[0][-1] == "sésame"
    assert error is not None


def test_a_mailbox_that_does_not_exist_is_a_setting(incoming: Make, now: datetime) -> None:
    script = (
        "S: * PREAUTH hi\n" + capability("") + "C: \\S+ EXAMINE .*\nS: {tag} NO [NONEXISTENT] Unknown Mailbox\n" + OUT
    )
    with ScriptedServer(script) as server:
        error = read(incoming(server.port, "imap", inbox="Nope"), now)
    assert error is not None
    assert error.category == "config"


# -- trust ------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
@pytest.mark.parametrize("fault", ["name", "authority", "plain"])
def test_implicit_tls_with_a_fault(
    protocol: str,
    fault: str,
    outgoing: Make,
    incoming: Make,
    now: datetime,
    server_context: MakeContext,
    tmp_path: Path,
) -> None:
    changes: dict[str, Any] = {"security": "implicit"}
    if fault == "authority":
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
        changes["ca_file"] = str(tmp_path / "other.pem")
    context = server_context("other.test") if fault == "name" else server_context()
    with ScriptedServer("S: 220 plain\n!hold" if fault == "plain" else "!tls", context=context) as server:
        if protocol == "smtp":
            error = check_outgoing(Settings.from_json(outgoing(server.port, **changes)), None, now).error
        else:
            error = read(incoming(server.port, protocol, **changes), now)
        server.forgiving = True
    assert error is not None
    assert error.category == ("tls-handshake" if fault == "plain" else "tls-certificate")


@pytest.mark.parametrize("right", [True, False])
def test_a_pinned_certificate(right: bool, outgoing: Make, now: datetime, authority: trustme.CA) -> None:
    leaf = authority.issue_cert("somebody.else.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    pin = hashlib.sha256(der).hexdigest() if right else "00" * 32
    script = "!tls\nS: 220 Hi\nC: EHLO .*\nS: 250 Hi\n" + QUIT
    with ScriptedServer(script, context=context) as server:
        settings = Settings.from_json(outgoing(server.port, security="implicit", pinned_sha256=pin))
        error = check_outgoing(settings, None, now).error
        server.forgiving = True
    assert (error is None) == right
    assert right or (error is not None and error.category == "tls-certificate")


def test_a_client_certificate_and_external(
    outgoing: Make, now: datetime, authority: trustme.CA, server_context: MakeContext, tmp_path: Path
) -> None:
    mine = authority.issue_cert("alice@example.test")
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "me.pem"))
    context = server_context()
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    script = "!tls\nS: 220 Hi\nC: EHLO .*\nS: 250-Hi\nS: 250 AUTH PLAIN EXTERNAL\nC: AUTH EXTERNAL =\nS: 235 Ok\n"
    with ScriptedServer(script + QUIT, context=context) as server:
        changes = {"security": "implicit", "auth": "external", "client_cert": str(tmp_path / "me.pem")}
        check = check_outgoing(Settings.from_json(outgoing(server.port, **changes)), None, now)
    assert check.error is None
    tls = next(stage for stage in check.stages if stage.stage == "tls")
    assert "127.0.0.1" in tls.detail
