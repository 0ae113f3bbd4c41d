from __future__ import annotations

import imaplib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MESSAGE = b"From: alice@example.test\nTo: bob@example.test\nSubject: hello\n\n.dots\nlast\n"
Program = Callable[..., bytes]


def arrived(at: dict[str, Any]) -> bytes:
    context = ssl.create_default_context(cafile=at["ca_file"])
    with imaplib.IMAP4_SSL("localhost", at["ports"]["imaps"], ssl_context=context, timeout=10) as imap:
        imap.login("bob@example.test", "secret")
        assert imap.select("INBOX") == ("OK", [b"1"])
        part = imap.fetch("1", "(BODY.PEEK[])")[1][0]
        assert isinstance(part, tuple)
        return part[1]


@pytest.mark.parametrize(
    ("service", "options"),
    [
        ("smtp", ()),
        ("submission", ("-tls", "--auth", "PLAIN")),
        ("submission", ("-tls", "--auth", "LOGIN")),
        ("submission", ("-tls", "--auth", "CRAM-MD5")),
        ("smtps", ("-tlsc", "--auth", "PLAIN")),
    ],
)
def test_swaks(served: dict[str, Any], program: Program, service: str, options: tuple[str, ...]) -> None:
    login = ("--auth-user", "alice@example.test", "--auth-password", "secret") if "--auth" in options else ()
    program(
        "swaks", "--server", "localhost", "--port", str(served["ports"][service]), "--from", "alice@example.test",
        "--to", "bob@example.test", "--helo", "client.example.test", "--tls-verify", "--tls-ca-path", served["ca_file"],
        "--data", "-", *options, *login, given=MESSAGE,
    )  # fmt: skip
    assert b".dots\r\nlast" in arrived(served)


@pytest.mark.parametrize(
    ("service", "tls", "auth"),
    [
        ("submission", "tls_starttls on", "scram-sha-256"),
        ("submission", "tls_starttls on", "plain"),
        ("smtps", "tls_starttls off", "cram-md5"),
    ],
)
def test_msmtp(served: dict[str, Any], program: Program, tmp_path: Path, service: str, tls: str, auth: str) -> None:
    rc = tmp_path / "msmtprc"
    rc.write_text(
        f"account default\nhost localhost\nport {served['ports'][service]}\ndomain client.example.test\ntls on\n{tls}\n"
        f"tls_trust_file {served['ca_file']}\nauth {auth}\nuser alice@example.test\npassword secret\n"
        "from alice@example.test\n",
        encoding="utf-8",
    )
    rc.chmod(0o600)
    program("msmtp", "-C", str(rc), "bob@example.test", given=MESSAGE)
    assert b"\r\n.dots\r\nlast" in arrived(served)
