"""The parts without a server: settings, composition, SASL, redaction, public names."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.clientstack as clientstack
from harness.clientstack import diagnosis, errors, sasl
from harness.clientstack.compose import complete, crlf, dot_stuffed, format_mailbox, header_section, parse_address
from harness.clientstack.debugfile import DebugFile
from harness.clientstack.errors import MailError
from harness.clientstack.redaction import MASK, Redactor
from harness.clientstack.section import split_host
from harness.clientstack.settings import Settings
from harness.clientstack.settingsfile import load_settings
from harness.clientstack.store import timestamp

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def finished(message: bytes) -> bytes:
    return complete(message, from_mailbox="A <a@b.test>", now=NOW, domain="b.test")


# -- names ------------------------------------------------------------------------------


def test_every_public_name_exists() -> None:
    assert clientstack.__all__ == sorted(clientstack.__all__)
    for name in clientstack.__all__:
        assert getattr(clientstack, name).__name__ == name


def test_every_category_has_a_diagnosis() -> None:
    for category in errors.CATEGORIES:
        assert diagnosis.diagnose(MailError(category, "x")).cause


# -- settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("mail.example.test", "mail.example.test", None),
        ("mail.example.test,2525", "mail.example.test", 2525),
        (" mail.example.test , 25 ", "mail.example.test", 25),
        ("[::1],25", "::1", 25),
        ("::1", "::1", None),
        ("bücher.test", "bücher.test", None),
    ],
)
def test_hosts(text: str, host: str, port: int | None) -> None:
    assert split_host(text) == (host, port)


@pytest.mark.parametrize("text", ["", ",25", "a,", "a,0", "a,70000", "a b", "a\r\nb", "http://a", "a,²"])
def test_wrong_hosts(text: str) -> None:
    with pytest.raises(MailError, match="host"):
        split_host(text)


@given(st.text())
def test_any_host_is_taken_or_refused(text: str) -> None:
    try:
        host, port = split_host(text)
    except MailError:
        return
    assert host
    assert port is None or 0 < port < 65536


@pytest.mark.parametrize(
    ("security", "port"), [("none", 25), ("opportunistic", 25), ("starttls", 587), ("implicit", 465)]
)
def test_default_ports(security: str, port: int) -> None:
    settings = Settings.from_json({"outgoing": {"host": "a.test", "security": security, "port": None}})
    assert settings.require_outgoing().port == port


def test_no_repr_shows_a_secret() -> None:
    section = {"host": "a.test", "username": "u", "password": "sesame", "access_token": "tok3n"}
    settings = Settings.from_json(
        {
            "outgoing": section,
            "incoming": section | {"protocol": "imap"},
            "graph": {"tenant_id": "", "client_id": "", "client_secret": "s3cret"},
        }
    )
    assert not {"sesame", "tok3n", "s3cret"} & set(repr(settings).replace("'", " ").split())


@pytest.mark.parametrize("name", ["a b", "x\r\nMAIL", "bad_*", "-"])
def test_wrong_ehlo_names(name: str) -> None:
    with pytest.raises(MailError, match="ehlo_name"):
        Settings.from_json({"outgoing": {"host": "a.test", "ehlo_name": name}})


def test_settings_files_take_secrets_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", "sesame")
    (tmp_path / "secret").write_text("open\n", encoding="utf-8")
    path = tmp_path / "s.toml"
    path.write_text(
        '[outgoing]\nhost = "a.test,25"\npassword_env = "MAIL_PASSWORD"\n'
        '[incoming]\nprotocol = "imap"\nhost = "a.test"\npassword_file = "secret"\n',
        encoding="utf-8",
    )
    settings = load_settings(path)
    assert settings.require_outgoing().credentials.password == "sesame"
    assert settings.require_incoming().credentials.password == "open"
    path.write_text('[outgoing]\nhost = "a.test"\npassword_env = "NO_SUCH_NAME"\n', encoding="utf-8")
    with pytest.raises(MailError, match="NO_SUCH_NAME"):
        load_settings(path)


# -- composition -------------------------------------------------------------------------


def test_absent_fields_are_added_and_bcc_is_removed() -> None:
    message = finished(b"Subject: x\nBcc: a@b.test,\n c@d.test\nTo: e@f.test\n\nBcc: stays\n")
    head, _, body = message.partition(b"\r\n\r\n")
    assert b"bcc" not in head.lower()
    assert b"c@d.test" not in head
    assert body == b"Bcc: stays\r\n"
    assert b"Date: Sun, 22 Nov 2026 08:00:00 +0000\r\n" in head
    assert b"From: A <a@b.test>\r\n" in head
    assert head.count(b"Message-ID: <") == 1


def test_a_complete_message_is_not_touched() -> None:
    message = b"Date: x\r\nFROM: y\r\nmessage-id: z\r\nX:" + b"l" * 5000 + b"\r\n\r\n\x00\xff" + b"y" * 5000
    assert finished(message) == message


@pytest.mark.parametrize(
    "message", [b"", b"\n", b"no header here\n", b"Subject: only", b"a b: c\n\nx\n", b"From x\nTo: y\n\nz"]
)
def test_odd_messages_get_a_header(message: bytes) -> None:
    done = finished(message)
    names = header_section(done).names()
    assert {b"date", b"message-id", b"from"} <= names
    assert crlf(message).lstrip(b"\r\n") in done or b"From x" in done


@given(st.binary())
def test_the_body_survives(data: bytes) -> None:
    body = crlf(data)
    message = b"Date: x\r\nSubject: s\r\n\r\n" + body
    assert finished(message).partition(b"\r\n\r\n")[2] == body


@given(st.binary(), st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_line_ends_are_crlf(data: bytes, end: bytes) -> None:
    done = crlf(data + end + b"." + data)
    assert done.replace(b"\r\n", b"").count(b"\r") == done.replace(b"\r\n", b"").count(b"\n") == 0
    assert crlf(done) == done


@given(st.binary())
def test_stuffing_can_be_undone(data: bytes) -> None:
    message = crlf(data)
    wire = dot_stuffed(message)
    assert wire.endswith(b"\r\n.\r\n") or wire == b"\r\n.\r\n"
    lines = wire[:-3].split(b"\r\n")
    back = b"\r\n".join(line.removeprefix(b".") for line in lines)
    assert back in (message, message + b"\r\n")
    assert b"." not in lines


@pytest.mark.parametrize(
    "text", ["", "@", "a@", "a b@c.test", "a@b.test>", "a\r\n@b.test", "a,b@c.test", '"a"b"@c.test', "<a@b.test>"]
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(MailError, match="address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("a@b.test", "a@b.test"),
        ("a@bücher.test", "a@xn--bcher-kva.test"),
        ('"a b"@c.test', '"a b"@c.test'),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("postmaster", "postmaster"),
        ("jörg@bücher.test", "jörg@bücher.test"),
    ],
)
def test_addresses(text: str, wire: str) -> None:
    assert parse_address(text).wire == wire


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=80))
def test_a_display_name_survives_and_never_injects(name: str) -> None:
    from email import message_from_bytes, policy

    line = format_mailbox(name, "a@b.test")
    message = message_from_bytes(f"From: {line}\r\nSubject: x\r\n\r\n".encode(), policy=policy.default)
    assert set(message.keys()) == {"From", "Subject"}
    assert message["From"].addresses[0].addr_spec == "a@b.test"


def test_a_header_cannot_be_injected_by_a_name() -> None:
    with pytest.raises(MailError, match="control"):
        format_mailbox("x\r\nBcc: y@z.test", "a@b.test")


# -- SASL -------------------------------------------------------------------------------


def test_cram_md5_example() -> None:
    # RFC 2195 2.
    mechanism = sasl.create("CRAM-MD5", sasl.Credentials("tim", "tanstaaftanstaaf"), "h", 1)
    answer = mechanism.answer(b"<1896.697170952@postoffice.reston.mci.net>")
    assert answer == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_oauthbearer_example() -> None:
    # RFC 7628 4.1.
    who = sasl.Credentials("user@example.com", access_token="vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    mechanism = sasl.create("OAUTHBEARER", who, "server.example.com", 143)
    assert base64.b64encode(mechanism.initial() or b"") == (
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52"
        b"YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert mechanism.answer(b'{"status":"invalid_token"}') == b"\x01"


@pytest.mark.parametrize("name", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_scram_needs_a_server_that_knows_the_password(name: str) -> None:
    from scramp import ScramMechanism

    maker = ScramMechanism(name)
    server = maker.make_server(lambda user: maker.make_auth_info("sesame"))
    mechanism = sasl.create(name, sasl.Credentials("alice", "sesame"), "h", 1)
    server.set_client_first((mechanism.initial() or b"").decode())
    server.set_client_final(mechanism.answer(server.get_server_first().encode()).decode())
    with pytest.raises(MailError, match="prove"):
        mechanism.finish()
    assert mechanism.answer(server.get_server_final().encode()) == b""
    mechanism.finish()


@pytest.mark.parametrize(
    ("setting", "offered", "allowed", "chosen"),
    [
        ("auto", ["LOGIN", "PLAIN", "CRAM-MD5", "SCRAM-SHA-1"], False, ["SCRAM-SHA-1", "CRAM-MD5"]),
        ("auto", ["LOGIN", "PLAIN"], True, ["PLAIN", "LOGIN"]),
        ("login", ["LOGIN", "PLAIN"], True, ["LOGIN"]),
    ],
)
def test_choice(setting: str, offered: list[str], allowed: bool, chosen: list[str]) -> None:
    assert sasl.choose(setting, offered, sasl.Credentials("a", "b"), secrets_allowed=allowed) == chosen


def test_no_common_mechanism_names_both_sides() -> None:
    with pytest.raises(MailError, match=r"NTLM, GSSAPI.*SCRAM-SHA-256"):
        sasl.choose("auto", ["NTLM", "GSSAPI"], sasl.Credentials("a", "b"), secrets_allowed=True)


# -- redaction and debug files ------------------------------------------------------------


@given(st.text(min_size=4, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_no_form_of_a_secret_survives(secret: str, before: str, after: str) -> None:
    encoded = base64.b64encode(f"\0alice\0{secret}".encode("utf-8", "surrogatepass")).decode()
    redact = Redactor([secret], ["alice"])
    for form in (secret, encoded):
        assert MASK in redact(f"{before} {form} {after}")
        assert encoded not in redact(f"{before} {form} {after}")


def test_a_debug_file_is_dated_and_redacted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for day in range(1, 20):
        (tmp_path / f"debug-2026-10-{day:02}.log").write_text("old", encoding="utf-8")
    debug = DebugFile(str(tmp_path / "debug.log"), NOW)
    debug("C: QUIT")
    assert (tmp_path / "debug-2026-11-22.log").read_text(encoding="utf-8") == "08:00:00 C: QUIT\n"
    assert len(list(tmp_path.glob("debug-*.log"))) == 15
    broken = DebugFile("/proc/nowhere/debug.log", NOW)
    broken("C: QUIT")
    assert broken.problem is not None
    assert "cannot be written" in capsys.readouterr().err


def test_times_are_never_promised_too_early() -> None:
    assert timestamp(NOW.timestamp() + 0.2) == "2026-11-22T08:00:01Z"
    assert json.dumps(timestamp(None)) == "null"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("550 \x1b[2J\x1b]0;owned\x07", "550 \\x1b[2J\\x1b]0;owned\\x07"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\x9b1m\x7f\0", "\\x9b1m\\x7f\\x00"),
        ("Größe\n\t収件人", "Größe\n\t収件人"),
    ],
)
def test_a_servers_words_steer_no_terminal(said: str, shown: str) -> None:
    assert MailError("temporary", said).text == shown
    assert shown in str(MailError("temporary", said))


@pytest.mark.parametrize("name", ["PLAIN", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"])
def test_a_mechanism_of_one_message_answers_one_reason_and_no_more(name: str) -> None:
    who = sasl.Credentials("alice@example.test", "secret", access_token="token", certificate=True)
    mechanism = sasl.create(name, who, "mail.example.test", 587)
    assert mechanism.initial()
    mechanism.answer(b"the reason")
    with pytest.raises(MailError, match="goes on asking"):
        mechanism.answer(b"the reason")
