from __future__ import annotations

import imaplib
import os
import shutil
import ssl
import subprocess
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


@pytest.mark.parametrize("auth", ["plain", "login", "cram-md5"])
@pytest.mark.parametrize("service", ["submission", "smtps"])
def test_s_nail(served: dict[str, Any], program: Program, service: str, auth: str) -> None:
    scheme = "smtps" if service == "smtps" else "smtp"
    mta = f"{scheme}://alice%40example.test:secret@localhost:{served['ports'][service]}"
    program(
        "s-nail", "-:/", "-Sv15-compat", f"-Smta={mta}", f"-Ssmtp-auth={auth}", "-Ssmtp-use-starttls",
        f"-Stls-ca-file={served['ca_file']}", "-Stls-ca-no-defaults", "-Stls-verify=strict",
        "-Shostname=client.example.test", "-Sfrom=alice@example.test", "-shello", "bob@example.test",
        given=b".dots\nlast\n",
    )  # fmt: skip
    assert b".dots\r\nlast" in arrived(served)


PERL = r"""
use strict; use warnings; use Net::SMTP;
my ($port, $ca, $security, $mechanism) = @ARGV;
my $mail = do { local $/; <STDIN> };
my %tls = (SSL_ca_file => $ca, SSL_verify_mode => 1, SSL_verifycn_name => 'localhost');
my $smtp = Net::SMTP->new('localhost', Port => $port, Hello => 'client.example.test', Timeout => 20,
    $security eq 'ssl' ? (SSL => 1, %tls) : ()) or die "connect: $@";
$smtp->starttls(%tls) or die 'starttls: ' . $smtp->message if $security eq 'starttls';
my $sasl = Authen::SASL->new(mechanism => $mechanism, callback =>
    {user => 'alice@example.test', pass => 'secret', authname => 'alice@example.test'});
$smtp->auth($sasl) or die 'auth: ' . $smtp->message;
$smtp->mail('alice@example.test') and $smtp->to('bob@example.test') or die $smtp->message;
$smtp->data($mail) or die $smtp->message;
$smtp->quit;
"""


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize(("service", "security"), [("submission", "starttls"), ("smtps", "ssl")])
def test_perl_net_smtp(served: dict[str, Any], program: Program, service: str, security: str, mechanism: str) -> None:
    try:
        program("perl", "-MAuthen::SASL", "-MIO::Socket::SSL", "-e", "1")
    except AssertionError:
        pytest.skip("Perl has no Authen::SASL or IO::Socket::SSL")
    port = str(served["ports"][service])
    program("perl", "-MAuthen::SASL", "-e", PERL, port, served["ca_file"], security, mechanism, given=MESSAGE)
    assert b".dots\r\nlast" in arrived(served)


NODE = r"""
const { createRequire } = require('node:module'), { readFileSync } = require('node:fs');
const nodemailer = createRequire(process.env.NODE_PATH + '/')('nodemailer');
const [port, ca, secure, authMethod] = process.argv.slice(1);
nodemailer.createTransport({ host: 'localhost', port, secure: secure === 'ssl', requireTLS: true, authMethod,
  name: 'client.example.test', tls: { ca: readFileSync(ca) }, auth: { user: 'alice@example.test', pass: 'secret' } })
  .sendMail({ envelope: { from: 'alice@example.test', to: 'bob@example.test' }, raw: readFileSync(0) })
  .catch((error) => { console.error(error.message); process.exit(1); });
"""


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize(("service", "security"), [("submission", "starttls"), ("smtps", "ssl")])
def test_nodemailer(served: dict[str, Any], service: str, security: str, mechanism: str) -> None:
    modules = os.environ.get("NODE_PATH", "")
    node = shutil.which("node")
    if node is None or not (Path(modules) / "nodemailer").is_dir():
        pytest.skip("nodemailer is not installed (NODE_PATH)")
    words = [node, "-e", NODE, str(served["ports"][service]), served["ca_file"], security, mechanism]
    done = subprocess.run(words, input=MESSAGE, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert b".dots\r\nlast" in arrived(served)
