from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

MESSAGE = b"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: by curl\r\n\r\n.dots\r\n..more\r\nlast\r\n"
Program = Callable[..., bytes]


def send(
    program: Program, at: dict[str, Any], service: str, *options: str, user: str | None = "alice@example.test"
) -> None:
    scheme = "smtps" if service == "smtps" else "smtp"
    login = ["--user", f"{user}:secret"] if user else []
    program(
        "curl", "-sS", "--url", f"{scheme}://localhost:{at['ports'][service]}/client.example.test",
        "--cacert", at["ca_file"], "--mail-from", "alice@example.test", "--mail-rcpt", "bob@example.test", *login,
        *options, "--upload-file", "-", given=MESSAGE,
    )  # fmt: skip


def read(program: Program, at: dict[str, Any], scheme: str, service: str, path: str, *options: str) -> bytes:
    url = f"{scheme}://localhost:{at['ports'][service]}/{path}"
    return program(
        "curl", "-sS", "--url", url, "--cacert", at["ca_file"], "--user", "bob@example.test:secret", *options
    )


@pytest.mark.parametrize(
    ("service", "options", "user"),
    [
        ("smtp", (), None),
        ("submission", ("--ssl-reqd",), "alice@example.test"),
        ("smtps", (), "alice@example.test"),
        ("smtps", ("--login-options", "AUTH=CRAM-MD5"), "alice@example.test"),
        ("smtps", ("--login-options", "AUTH=LOGIN"), "alice@example.test"),
    ],
)
def test_curl_sends_and_reads_it_back(
    served: dict[str, Any], program: Program, service: str, options: tuple[str, ...], user: str | None
) -> None:
    send(program, served, service, *options, user=user)
    assert read(program, served, "imaps", "imaps", "INBOX;MAILINDEX=1").endswith(MESSAGE)
    assert read(program, served, "pop3s", "pop3s", "1").endswith(MESSAGE)


def test_curl_reads_under_starttls_and_stls(served: dict[str, Any], program: Program) -> None:
    send(program, served, "smtp", user=None)
    assert read(program, served, "imap", "imap", "INBOX;UID=1", "--ssl-reqd").endswith(MESSAGE)
    assert read(program, served, "pop3", "pop3", "1", "--ssl-reqd").endswith(MESSAGE)


def test_curl_lists_searches_and_examines(served: dict[str, Any], program: Program) -> None:
    send(program, served, "smtp", user=None)
    assert b"INBOX" in read(program, served, "imaps", "imaps", "")
    assert read(program, served, "imaps", "imaps", "INBOX?SUBJECT%20curl").strip() == b"* SEARCH 1"
    assert b"EXISTS" in read(program, served, "imaps", "imaps", "", "-X", "EXAMINE INBOX")
    assert read(program, served, "pop3s", "pop3s", "").split()[0] == b"1"


def test_curl_trusts_only_the_ca_file(served: dict[str, Any], program: Program) -> None:
    with pytest.raises(AssertionError, match="certificate"):
        program(
            "curl",
            "-sS",
            "--url",
            f"imaps://localhost:{served['ports']['imaps']}/",
            "--user",
            "bob@example.test:secret",
        )
