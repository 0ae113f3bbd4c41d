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
SECURITY = pytest.mark.parametrize("security", ["starttls", "implicit"])


@SECURITY
@pytest.mark.parametrize("library", ["imapflow", "node-imap"])
def test_node(account: Account, program: Program, library: str, security: str) -> None:
    modules = node_modules(library)
    given = {
        "port": account.service("imap", security)[1], "security": security, "ca_file": account.ca_file,
        "user": account.user, "password": account.password, "name": NAME, "mail": base64.b64encode(MAIL).decode(),
    }  # fmt: skip
    program("node", str(SCRIPTS / f"{library}.cjs"), json.dumps(given), env={"NODE_PATH": modules})
    assert [message.splitlines()[0] for message in account.mail()] == [b"Subject: Second"]


JARS = ":".join(f"/usr/share/java/javax.{name}.jar" for name in ("mail", "activation"))
LIBRARIES = {
    "javamail": (["java", "-cp", JARS, "JavaMail.java"], ["javap", "-cp", JARS, "javax.mail.Store"], NAME),
    "mail-imapclient": (["perl", "mail-imapclient.pl"], ["perl", "-MMail::IMAPClient", "-e1"], WIRE_NAME),
    "net-imap": (["ruby", "net-imap.rb"], ["ruby", "-rnet/imap", "-e1"], WIRE_NAME),
    "php-imap": (["php", "php-imap.php"], ["php", "-r", "exit(extension_loaded('imap') ? 0 : 1);"], WIRE_NAME),
}
"""How a script is run, what its language is asked to find the library, and the mailbox's name for it."""


def round_trips(library: str, account: Account, program: Program, security: str, folder: Path) -> None:
    command, asked, name = LIBRARIES[library]
    if subprocess.run([which(asked[0]), *asked[1:]], capture_output=True, check=False).returncode:
        pytest.skip(f"{library} is not installed")
    (folder / "mail").write_bytes(MAIL)
    program(
        *command[:-1], str(SCRIPTS / command[-1]), str(account.service("imap", security)[1]), security, account.ca_file,
        account.user, account.password, name, "mail", env={"LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert [message.splitlines()[0] for message in account.mail()] == [b"Subject: Second"]


@SECURITY
# Java takes seconds to compile its script.
@pytest.mark.parametrize("library", ["mail-imapclient", "net-imap", pytest.param("javamail", marks=pytest.mark.full)])
def test_perl_ruby_java(account: Account, program: Program, tmp_path: Path, library: str, security: str) -> None:
    round_trips(library, account, program, security, tmp_path)


def test_php(account: Account, program: Program, tmp_path: Path) -> None:
    """c-client speaks TLS 1.0 alone behind STARTTLS."""
    round_trips("php-imap", account, program, "implicit", tmp_path)
