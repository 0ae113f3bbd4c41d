"""Every certificate defect is one that a client which checks can see: Python's own TLS refuses it, and says why."""

from __future__ import annotations

import os
import poplib
import ssl
from pathlib import Path

import pytest

from fakeservers import FakeMailHost, Rule
from fakeservers.certificates import (
    DEFECTS,
    LEAF_LIFE,
    LOOPBACK,
    ClientCertificates,
    Terms,
    ca_file,
    ca_pem,
    client_certificate,
    client_files,
    crl_file,
    defect_names,
    server_context,
)
from fakeservers.points import CERTIFICATE_DEFECTS, HANDSHAKE_FAULTS
from fakeservers.tls import BROKEN_FLIGHTS
from fakeservers.tls import HANDSHAKE_FAULTS as FAULTS_CARRIED_OUT

HOST = "mail.example.test"


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_pem().decode())
    # As Python 3.13 does by itself: a certificate has the fault that it is named for, and no other (RFC 5280).
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    # Python falls back to the common name where there is no subjectAltName, against RFC 9525 section 6.3.
    context.hostname_checks_common_name = False
    return context


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str
) -> tuple[ssl.SSLObject, ssl.SSLObject]:  # fmt: skip
    """Both ends after the handshake, with no socket between; raises what the client or the server refuses with."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = {here, there}
    for _ in range(6):
        for end in (here, there):
            if end in waiting:
                try:
                    end.do_handshake()
                    waiting.discard(end)
                except ssl.SSLWantReadError:
                    pass
    assert not waiting
    return here, there


@pytest.mark.parametrize("name", [HOST, *LOOPBACK])
def test_the_right_certificate_names_the_host_and_the_loopback(name: str) -> None:
    here, _ = handshake(server_context((HOST,)), trusting(), name)
    certificate = here.getpeercert()
    assert certificate is not None
    start, end = (ssl.cert_time_to_seconds(str(certificate[key])) for key in ("notBefore", "notAfter"))
    assert end - start == LEAF_LIFE.total_seconds()


REFUSALS = {
    "expired": "certificate has expired",
    "not-yet-valid": "certificate is not yet valid",
    "wrong-host": "Hostname mismatch",
    "unknown-ca": "unable to get local issuer certificate|self-signed certificate in certificate chain",
    "self-signed": "self-signed certificate",
    "cn-only": "Hostname mismatch",
    "wildcard-too-deep": "Hostname mismatch",
    "address-against-name": "IP address mismatch|Hostname mismatch",
    "missing-intermediate": "unable to get local issuer certificate",
    "wrong-key-usage": "unsupported certificate purpose|unsuitable certificate purpose",
    "rsa-1024": "EE certificate key too weak|ee key too small",
    "sha1-signature": "CA signature digest algorithm too weak|ca md too weak",
}


@pytest.mark.parametrize("name", [HOST, "127.0.0.1"])
@pytest.mark.parametrize("defect", sorted(REFUSALS))
def test_a_client_that_checks_refuses_each_defect(defect: str, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=f"(?i){REFUSALS[defect]}|IP address mismatch"):
        handshake(server_context((HOST,), defect), trusting(), name)


@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_a_client_that_checks_nothing_takes_each_defect(defect: str) -> None:
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    careless.set_ciphers("DEFAULT:@SECLEVEL=0")
    here, _ = handshake(server_context((HOST,), defect), careless, HOST)
    assert here.version() == "TLSv1.3"


@pytest.mark.parametrize("defect", ["wrong-host", "cn-only", "wildcard-too-deep", "address-against-name"])
def test_name_defects_have_no_other_fault(defect: str) -> None:
    nameless = trusting()
    nameless.check_hostname = False
    handshake(server_context((HOST,), defect), nameless, HOST)


@pytest.mark.parametrize("name", [HOST, "localhost"])
def test_python_as_it_comes_accepts_common_names(name: str) -> None:
    as_it_comes = ssl.create_default_context(cadata=ca_pem().decode())
    handshake(server_context((HOST,), "cn-only"), as_it_comes, name)


def test_the_intermediate_is_all_that_is_missing(tmp_path: Path) -> None:
    from fakeservers.certificates import intermediate

    knowing = trusting()
    knowing.load_verify_locations(cadata=intermediate().cert_pem.bytes().decode())
    handshake(server_context((HOST,), "missing-intermediate"), knowing, HOST)


def test_contexts_are_made_once_and_an_unknown_defect_is_an_error() -> None:
    assert server_context((HOST,)) is server_context((HOST,))
    assert server_context((HOST,)) is not server_context((HOST,), "expired")
    with pytest.raises(KeyError):
        server_context((HOST,), "rusty")


def test_every_defect_and_fault_has_a_meaning_and_rules_know_no_others() -> None:
    assert defect_names() == sorted(CERTIFICATE_DEFECTS) == sorted({*REFUSALS, "revoked", "renewed"})
    assert sorted(HANDSHAKE_FAULTS) == sorted({*FAULTS_CARRIED_OUT, *BROKEN_FLIGHTS, "skipped"})
    with pytest.raises(ValueError, match='did you mean "expired"'):
        Rule(name="x", at="pop3.tls", certificate="expird")
    with pytest.raises(ValueError, match='did you mean "stall"'):
        Rule(name="x", at="pop3.tls", handshake="stal")


def test_a_client_with_the_revocation_list_sees_what_is_revoked() -> None:
    handshake(server_context((HOST,), "revoked"), trusting(), HOST)
    listed = trusting()
    listed.load_verify_locations(crl_file())
    listed.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    handshake(server_context((HOST,)), listed, HOST)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        handshake(server_context((HOST,), "revoked"), listed, HOST)


def test_a_renewed_certificate_is_right_and_another_one() -> None:
    shown = [handshake(server_context((HOST,), defect), trusting(), HOST)[0] for defect in (None, "renewed")]
    old, new = (each.getpeercert(binary_form=True) for each in shown)
    assert old != new


def test_a_context_knows_the_certificate_that_it_shows() -> None:
    for defect in (None, "missing-intermediate", "self-signed"):
        context = server_context((HOST,), defect)
        careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        careless.check_hostname = False
        careless.verify_mode = ssl.CERT_NONE
        here, _ = handshake(context, careless, HOST)
        assert here.getpeercert(binary_form=True) == context.certificate


@pytest.mark.parametrize(
    ("terms", "client", "version"),
    [
        (Terms(maximum="TLSv1_2"), {}, "TLSv1.2"),
        (Terms(minimum="TLSv1_3"), {}, "TLSv1.3"),
        (Terms(minimum="TLSv1_3"), {"maximum_version": ssl.TLSVersion.TLSv1_2}, None),
        (Terms(minimum="TLSv1", maximum="TLSv1_1"), {}, None),
        (Terms(maximum="TLSv1_2", ciphers="NULL-SHA256:@SECLEVEL=0"), {}, None),
    ],
)
def test_a_server_insists_on_versions_and_ciphers(
    terms: Terms, client: dict[str, ssl.TLSVersion], version: str | None
) -> None:
    asking = trusting()
    asking.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, value in client.items():
        setattr(asking, name, value)
    server = server_context((HOST,), None, "none", terms)
    if version is None:
        with pytest.raises(ssl.SSLError):
            handshake(server, asking, HOST)
    else:
        assert handshake(server, asking, HOST)[0].version() == version


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_a_server_of_yesterday(version: str) -> None:
    if not getattr(ssl, f"HAS_{version}"):
        pytest.skip(f"this OpenSSL has no {version}")
    asking = trusting()
    asking.set_ciphers("DEFAULT:@SECLEVEL=0")
    asking.minimum_version = ssl.TLSVersion[version]
    here, _ = handshake(server_context((HOST,), None, "none", Terms(version, version)), asking, HOST)
    assert here.version() == version.replace("_", ".")


def test_client_files_are_kept_apart() -> None:
    alice, bob = client_files("alice@example.test"), client_files("bob@example.test")
    assert len({*alice, *bob}) == 4
    assert alice == client_files("alice@example.test")
    if os.name == "posix":
        assert alice[1].stat().st_mode & 0o077 == 0


def test_the_ca_file_is_the_ca() -> None:
    assert ca_file().read_bytes() == ca_pem()
    assert ca_file().is_absolute()


# --- client certificates


def with_certificate(address: str, folder: Path, *, trusted: bool = True) -> ssl.SSLContext:
    certificate, key = client_certificate(address, trusted=trusted)
    file = folder / "client.pem"
    file.write_bytes(certificate + key)
    context = trusting()
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize("clients", ["optional", "required"])
def test_a_server_that_asks_gets_the_client_certificate(clients: ClientCertificates, tmp_path: Path) -> None:
    server = server_context((HOST,), None, clients)
    _, there = handshake(server, with_certificate("alice@example.test", tmp_path), HOST)
    assert there.getpeercert(binary_form=True)
    with pytest.raises(ssl.SSLError):
        handshake(server, with_certificate("alice@example.test", tmp_path, trusted=False), HOST)


def test_without_a_certificate_optional_goes_on_and_required_does_not() -> None:
    _, there = handshake(server_context((HOST,), None, "optional"), trusting(), HOST)
    assert there.getpeercert(binary_form=True) is None
    with pytest.raises(ssl.SSLError):
        handshake(server_context((HOST,), None, "required"), trusting(), HOST)


@pytest.mark.parametrize("service", ["pop3", "pop3s"])
@pytest.mark.parametrize(("certificate", "authzid", "expected"), [
    ("alice@example.test", b"=", "+OK"),
    ("alice@example.test", b"YWxpY2VAZXhhbXBsZS50ZXN0", "+OK"),
    ("alice@example.test", b"Ym9iQGV4YW1wbGUudGVzdA==", "-ERR"),
    ("nobody@example.test", b"=", "-ERR"),
])  # fmt: skip
def test_external_over_both_kinds_of_tls(
    service: str, certificate: str, authzid: bytes, expected: str, tmp_path: Path
) -> None:
    from fakeservers import load_profile

    generic = load_profile("generic")
    pop3 = generic.pop3.model_copy(update={"mechanisms": ["EXTERNAL"]})
    with FakeMailHost(generic.model_copy(update={"pop3": pop3}), services=["pop3", "pop3s"]) as host:
        context = with_certificate(certificate, tmp_path)
        port = host.endpoints()["ports"][service]
        client: poplib.POP3
        if service == "pop3s":
            client = poplib.POP3_SSL("localhost", port, context=context, timeout=10)
        else:
            client = poplib.POP3("localhost", port, timeout=10)
            client.stls(context)
        try:
            client.sock.sendall(b"AUTH EXTERNAL " + authzid + b"\r\n")
            line = client.file.readline()
            assert line.decode().startswith(expected)
        finally:
            client.close()
        assert not host.errors


def test_the_revocation_list_is_told_where_it_is_of_use() -> None:
    rule = Rule(name="x", at="pop3.tls", certificate="revoked")
    assert FakeMailHost(rules=[rule]).endpoints()["crl_file"] == str(crl_file())
    assert "crl_file" not in FakeMailHost().endpoints()
