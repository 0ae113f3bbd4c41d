"""IMAP libraries of other languages: each script makes the whole round trip and dies where something is wrong."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from round_trip import MAIL, NAME, WIRE_NAME, Account, node_modules, which

SCRIPTS = Path(__file__).parent / "scripts"
Program = Callable[..., bytes]
pytestmark = pytest.mark.parametrize("security", ["starttls", "implicit"])


@pytest.mark.parametrize("library", ["imapflow", "node-imap"])
def test_node(account: Account, program: Program, library: str, security: str) -> None:
    modules = node_modules(library)
    given = {
        "port": account.service("imap", security)[1], "security": security, "ca_file": account.ca_file,
        "user": account.user, "password": account.password, "name": NAME, "mail": base64.b64encode(MAIL).decode(),
    }  # fmt: skip
    program("node", str(SCRIPTS / f"{library}.cjs"), json.dumps(given), env={"NODE_PATH": modules})
    assert [message.splitlines()[0] for message in account.mail()] == [b"Subject: Second"]


def test_mail_imapclient(account: Account, program: Program, tmp_path: Path, security: str) -> None:
    perl = which("perl")
    if subprocess.run([perl, "-MMail::IMAPClient", "-e1"], capture_output=True, check=False).returncode:
        pytest.skip("Mail::IMAPClient is not installed")
    (tmp_path / "mail").write_bytes(MAIL)
    port = str(account.service("imap", security)[1])
    program(
        "perl", str(SCRIPTS / "mail-imapclient.pl"), port, security, account.ca_file, account.user, account.password,
        WIRE_NAME, "mail",
    )  # fmt: skip
    assert [message.splitlines()[0] for message in account.mail()] == [b"Subject: Second"]
