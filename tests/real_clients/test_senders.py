"""Programs that send: in clear, under STARTTLS and under implicit TLS, by every mechanism that they and we know.

The server offers the one mechanism of the case, on the plain port in clear too. What is missing below the programs do
not have: Debian's curl has no SCRAM, Go's net/smtp PLAIN and CRAM-MD5 alone, swaks no OAuth, and NTLM with one more
Perl module only; our servers refuse DIGEST-MD5 and GSSAPI. EXTERNAL needs TLS everywhere, and what s-nail calls
OAUTHBEARER, and has under TLS alone, is XOAUTH2. mailutils looks at no certificate.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from round_trip import node_modules, which

from fakeservers import FakeMailHost
from fakeservers.certificates import ca_file, client_files
from fakeservers.profile import ServiceName, load_profile

BODY = b".dots\r\n..more\r\n" + b"x" * 900 + b"\r\nlast\r\n"
SENDER, RECIPIENT, TOKEN = "sender@example.test", "recipient@example.test", "ya29.token"
MESSAGE = f"From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: hello\r\n\r\n".encode() + BODY
Program = Callable[..., bytes]
SCRIPTS = Path(__file__).parent / "scripts"
MECHANISMS = {
    "curl": "PLAIN LOGIN CRAM-MD5 NTLM XOAUTH2 OAUTHBEARER EXTERNAL",
    "git-send-email": "PLAIN LOGIN CRAM-MD5",
    "go-net-smtp": "PLAIN CRAM-MD5",
    "mailutils": "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256",
    "msmtp": "PLAIN LOGIN CRAM-MD5 NTLM SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER EXTERNAL",
    "mutt": "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER",
    "neomutt": "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 XOAUTH2 OAUTHBEARER",
    "nodemailer": "PLAIN LOGIN CRAM-MD5 XOAUTH2",
    "perl-net-smtp": "PLAIN LOGIN CRAM-MD5 EXTERNAL",
    "phpmailer": "PLAIN LOGIN CRAM-MD5 XOAUTH2",
    "ruby-net-smtp": "PLAIN LOGIN CRAM-MD5",
    "s-nail": "PLAIN LOGIN CRAM-MD5 XOAUTH2 EXTERNAL",
    "swaks": "PLAIN LOGIN CRAM-MD5",
}
OPPORTUNISTIC = "curl", "nodemailer", "phpmailer", "ruby-net-smtp", "swaks"
"""They take TLS where it is offered, and do without it where it is not."""
MAKE_THE_HEADER = "git-send-email", "mailutils", "mutt", "neomutt", "phpmailer", "s-nail"
SERVICES: dict[str, ServiceName] = {
    "none": "smtp",
    "starttls": "submission",
    "implicit": "smtps",
    "opportunistic": "smtp",
}


@dataclass(frozen=True)
class Errand:
    """All that a program is told; the mechanism is empty where it does not log in."""

    port: int
    security: str
    ca_file: str
    mechanism: str
    certificate: str
    key: str
    sender: str = SENDER
    to: str = RECIPIENT
    user: str = SENDER
    password: str = "secret"
    token: str = TOKEN

    @property
    def secret(self) -> str:
        return self.token if self.mechanism in ("XOAUTH2", "OAUTHBEARER") else self.password


def curl(errand: Errand, program: Program, folder: Path) -> None:
    login = ["--login-options", f"AUTH={errand.mechanism}", "--user", f"{errand.user}:{errand.password}"]
    if errand.secret == errand.token:
        login[-1] = errand.user
        login += ["--oauth2-bearer", errand.token]
    client = ["--cert", errand.certificate, "--key", errand.key] if errand.certificate else []
    if errand.mechanism == "EXTERNAL":
        login[-1] = f"{errand.user}:"
    url = f"smtp{'s' * (errand.security == 'implicit')}://localhost:{errand.port}/client.example.test"
    program(
        "curl", "-sS", "--url", url, "--cacert", errand.ca_file, "--mail-from", errand.sender, "--mail-rcpt", errand.to,
        *{"starttls": ["--ssl-reqd"], "opportunistic": ["--ssl"]}.get(errand.security, []),
        *(login if errand.mechanism else []), *client,
        "--upload-file", "-", given=MESSAGE,
    )  # fmt: skip


def git_send_email(errand: Errand, program: Program, folder: Path) -> None:
    if not (Path(program("git", "--exec-path").decode().strip()) / "git-send-email").exists():
        pytest.skip("git send-email is not installed")
    perl_has(program, "Authen::SASL", "IO::Socket::SSL")
    (folder / "mail").write_bytes(b"From x Mon Sep 17 00:00:00 2001\n" + MESSAGE.replace(b"\r\n", b"\n"))
    encryption = {"starttls": "tls", "implicit": "ssl"}.get(errand.security, "none")
    login = (f"--smtp-auth={errand.mechanism}", f"--smtp-user={errand.user}", f"--smtp-pass={errand.password}")
    person = {f"GIT_{who}_{what}": errand.sender for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    program(
        "git", "send-email", "--smtp-server=localhost", f"--smtp-server-port={errand.port}",
        f"--smtp-encryption={encryption}", f"--smtp-ssl-cert-path={errand.ca_file}",
        *(login if errand.mechanism else ("--smtp-auth=none",)), f"--from={errand.sender}", f"--to={errand.to}",
        f"--envelope-sender={errand.sender}", "--smtp-domain=client.example.test", "--suppress-cc=all",
        "--confirm=never", "--no-thread", "mail", env=person,
    )  # fmt: skip


def mailutils(errand: Errand, program: Program, folder: Path) -> None:
    login = f"{errand.user.replace('@', '%40')}:{errand.secret};AUTH={errand.mechanism}@" if errand.mechanism else ""
    scheme, options = ("smtps" if errand.security == "implicit" else "smtp"), ";notls" * (errand.security == "none")
    program(
        "mail.mailutils", "--no-config", "-E", f'set sendmail="{scheme}://{login}localhost:{errand.port}{options}"',
        "-s", "hello", "-r", errand.sender, errand.to, given=BODY.replace(b"\r\n", b"\n"),
    )  # fmt: skip


def msmtp(errand: Errand, program: Program, folder: Path) -> None:
    tls = f"tls on\ntls_starttls {'on' if errand.security == 'starttls' else 'off'}\ntls_trust_file {errand.ca_file}\n"
    client = f"tls_cert_file {errand.certificate}\ntls_key_file {errand.key}\n" if errand.certificate else ""
    login = f"auth {errand.mechanism.lower()}\nuser {errand.user}\npassword {errand.secret}\n"
    rc = folder / "msmtprc"
    rc.touch(0o600)
    rc.write_text(
        f"account default\nhost localhost\nport {errand.port}\ndomain client.example.test\nfrom {errand.sender}\n"
        + (tls + client if errand.security != "none" else "tls off\n") + (login if errand.mechanism else "auth off\n"),
        encoding="utf-8",
    )  # fmt: skip
    program("msmtp", "-C", str(rc), errand.to, given=MESSAGE.replace(b"\r\n", b"\n"))


def mutt(errand: Errand, program: Program, folder: Path, name: str = "mutt") -> None:
    login = f"{errand.user.replace('@', '%40')}@" if errand.mechanism else ""
    (folder / "muttrc").write_text(
        f"set smtp_url='smtp{'s' * (errand.security == 'implicit')}://{login}localhost:{errand.port}'\n"
        f"set smtp_pass='{errand.password}'\nset smtp_oauth_refresh_command='echo {errand.token}'\n"
        f"set smtp_authenticators='{errand.mechanism.lower()}'\nset certificate_file='{errand.ca_file}'\n"
        f"set ssl_starttls={'yes' if errand.security == 'starttls' else 'no'}\n"
        f"set ssl_force_tls={'no' if errand.security == 'none' else 'yes'}\n"
        f"set from='{errand.sender}'\nset use_envelope_from=yes\nset hostname=client.example.test\nset copy=no\n",
        encoding="utf-8",
    )
    program(name, "-n", "-F", "muttrc", "-s", "hello", "--", errand.to, given=BODY.replace(b"\r\n", b"\n"))


def s_nail(errand: Errand, program: Program, folder: Path) -> None:
    user, host = errand.user.replace("@", "%40"), f"localhost:{errand.port}"
    login = f"{user}:{errand.secret}@" if errand.mechanism else ""
    auth = {"": "none", "EXTERNAL": "externanon", "XOAUTH2": "oauthbearer"}.get(errand.mechanism, errand.mechanism)
    client = f"-Stls-config-pairs=Certificate={errand.certificate},PrivateKey={errand.key}"
    program(
        "s-nail", "-:/", "-Sv15-compat", f"-Smta=smtp{'s' * (errand.security == 'implicit')}://{login}{host}",
        f"-Ssmtp-auth={auth.lower()}", *(["-Ssmtp-use-starttls"] if errand.security == "starttls" else []),
        f"-Stls-ca-file={errand.ca_file}", "-Stls-ca-no-defaults", "-Stls-verify=strict",
        *([client] if errand.certificate else []), "-Shostname=client.example.test", f"-Sfrom={errand.sender}",
        "-Smime-encoding=8bit", "-shello", errand.to, given=BODY.replace(b"\r\n", b"\n"),
    )  # fmt: skip


def swaks(errand: Errand, program: Program, folder: Path) -> None:
    # It adds a line end.
    tls = {"none": (), "starttls": ("-tls",), "implicit": ("-tlsc",), "opportunistic": ("-tlso",)}[errand.security]
    login = ("--auth", errand.mechanism, "--auth-user", errand.user, "--auth-password", errand.password)
    program(
        "swaks", "--server", "localhost", "--port", str(errand.port), "--from", errand.sender, "--to", errand.to,
        "--helo", "client.example.test", *tls, *(("--tls-verify", "--tls-ca-path", errand.ca_file) if tls else ()),
        *(login if errand.mechanism else ()), "--data", "-", given=MESSAGE.replace(b"\r\n", b"\n")[:-1],
    )  # fmt: skip


def go_net_smtp(errand: Errand, program: Program, folder: Path) -> None:
    built = folder.parent / "net-smtp"  # once for all tests of this process
    if not built.exists():
        # Nothing is fetched; the cache is for the next run.
        environment = {"GO111MODULE": "off", "GOPROXY": "off", "GOCACHE": str(Path.home() / ".cache/mailrig-go")}
        program("go", "build", "-o", str(built), str(SCRIPTS / "net-smtp.go"), env=environment)
    program(str(built), json.dumps(asdict(errand)), given=MESSAGE)


def nodemailer(errand: Errand, program: Program, folder: Path) -> None:
    environment = {"NODE_PATH": node_modules("nodemailer")}
    program("node", str(SCRIPTS / "nodemailer.cjs"), json.dumps(asdict(errand)), given=MESSAGE, env=environment)


def ruby_net_smtp(errand: Errand, program: Program, folder: Path) -> None:
    program("ruby", str(SCRIPTS / "net-smtp.rb"), json.dumps(asdict(errand)), given=MESSAGE)


def perl_net_smtp(errand: Errand, program: Program, folder: Path) -> None:
    perl_has(program, "Authen::SASL", "IO::Socket::SSL")
    program("perl", str(SCRIPTS / "net-smtp.pl"), json.dumps(asdict(errand)), given=MESSAGE)


def phpmailer(errand: Errand, program: Program, folder: Path) -> None:
    if not Path("/usr/share/php/libphp-phpmailer").is_dir():
        pytest.skip("PHPMailer is not installed")
    program("php", str(SCRIPTS / "phpmailer.php"), json.dumps(asdict(errand)), given=BODY)


def perl_has(program: Program, *modules: str) -> None:
    if subprocess.run([which("perl"), *(f"-M{name}" for name in modules), "-e1"], capture_output=True).returncode:
        pytest.skip(f"Perl has no {' or no '.join(modules)}")


SEND: dict[str, Callable[[Errand, Program, Path], None]] = {
    "curl": curl, "git-send-email": git_send_email, "go-net-smtp": go_net_smtp, "mailutils": mailutils, "msmtp": msmtp,
    "mutt": mutt, "neomutt": partial(mutt, name="neomutt"), "nodemailer": nodemailer, "perl-net-smtp": perl_net_smtp,
    "phpmailer": phpmailer, "ruby-net-smtp": ruby_net_smtp, "s-nail": s_nail, "swaks": swaks,
}  # fmt: skip


def errands() -> Iterator[tuple[str, str, str]]:
    for name, mechanisms in MECHANISMS.items():
        yield name, "none", ""
        for mechanism, security in product(mechanisms.split(), ("none", "starttls", "implicit")):
            if security != "none" or not (mechanism == "EXTERNAL" or (name, mechanism) == ("s-nail", "XOAUTH2")):
                yield name, security, mechanism


Send = Callable[..., bool]


@pytest.fixture
def send(start_mail_host: Callable[..., FakeMailHost], program: Program, tmp_path: Path) -> Send:
    """Has a program send, and looks at what arrived, and how; returns whether it came under TLS."""

    def run(name: str, security: str, mechanism: str, *, offers_tls: bool = True) -> bool:
        generic, service = load_profile("generic"), SERVICES[security]
        offer = {"mechanisms": [mechanism] if mechanism else generic.smtp.mechanisms, "hides_auth_before_tls": False}
        listener = generic.services[service].model_copy(update={"starttls": offers_tls})
        changed = {"smtp": generic.smtp.model_copy(update=offer), "services": {service: listener}}
        host = start_mail_host(
            generic.model_copy(update=changed), services=[service], users={SENDER: "secret", RECIPIENT: "secret"}
        )
        host.store.accounts[SENDER].tokens.add(TOKEN)
        files = map(str, client_files(SENDER) if mechanism == "EXTERNAL" else ("", ""))
        errand = Errand(host.endpoints()["ports"][service], security, str(ca_file()), mechanism, *files)
        SEND[name](errand, program, tmp_path)
        [message] = host.messages(RECIPIENT)
        if name in MAKE_THE_HEADER:
            # They make the header themselves, and PHPMailer puts an empty line behind every body.
            assert message.raw.partition(b"\r\n\r\n")[2] == BODY + b"\r\n" * (name == "phpmailer")
        else:
            assert message.raw.endswith(b"\r\n" + MESSAGE)
        assert message.mail_from == SENDER
        logins = [entry for entry in host.transcript if entry.facts.get("event") == "login"]
        assert [entry.facts["mechanism"] for entry in logins] == ([mechanism] if mechanism else [])
        return any(entry.body and entry.tls for entry in host.transcript)

    return run


@pytest.mark.parametrize(("name", "security", "mechanism"), list(errands()))
def test_sends(send: Send, name: str, security: str, mechanism: str) -> None:
    assert send(name, security, mechanism) == (security != "none")


@pytest.mark.parametrize("offered", [True, False])
@pytest.mark.parametrize("name", OPPORTUNISTIC)
def test_takes_tls_where_it_is_offered(send: Send, name: str, offered: bool) -> None:
    assert send(name, "opportunistic", "CRAM-MD5", offers_tls=offered) == offered
