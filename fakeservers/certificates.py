"""Certificates of a host: the right one and those with a defect, made when asked for from one CA per process."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import trustme

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

__all__ = [
    "DEFECTS", "ClientCertificates", "ServerContext", "Terms", "authority", "ca_file", "ca_pem", "ca_with_crl_file",
    "client_certificate", "client_files", "crl_file", "crl_pem", "defect_names", "nameless_context", "server_context",
]  # fmt: skip

ClientCertificates = Literal["none", "optional", "required"]
"""Whether a server asks for a client certificate, and whether it does without one. One of a CA that is not ours fails
the handshake in both cases."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
LEAF_LIFE = timedelta(days=397)
"""What public CAs may issue at most; some TLS libraries refuse more than 825 days."""
_lock = threading.RLock()


@cache
def authority() -> trustme.CA:
    """The CA that clients are told to trust."""
    return trustme.CA(organization_name="mailrig", organization_unit_name="test CA")


@cache
def stranger() -> trustme.CA:
    """A CA that no client trusts."""
    return trustme.CA(organization_name="Unknown", organization_unit_name="test CA nobody trusts")


def ca_pem() -> bytes:
    with _lock:
        return authority().cert_pem.bytes()


@cache
def ca_file() -> Path:
    """The CA certificate as a PEM file, kept for the life of the process."""
    folder = tempfile.mkdtemp(prefix="mailrig-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = Path(folder) / "ca.pem"
    file.write_bytes(ca_pem())
    return file


@cache
def revoked_serial() -> int:
    """The serial number of every revoked certificate of this process."""
    from cryptography import x509

    return x509.random_serial_number()


@cache
def crl_pem() -> bytes:
    """The CA's list of revoked certificates, PEM (RFC 5280 section 5)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    with _lock:
        ca = authority()
    certificate = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    key: Any = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
    yesterday = _now() - timedelta(days=1)
    revoked = x509.RevokedCertificateBuilder().serial_number(revoked_serial()).revocation_date(yesterday)
    builder = x509.CertificateRevocationListBuilder().issuer_name(certificate.subject).last_update(yesterday)
    builder = builder.next_update(yesterday + LEAF_LIFE).add_revoked_certificate(revoked.build())
    builder = builder.add_extension(x509.CRLNumber(1), critical=False)
    builder = builder.add_extension(_signed_by(_key_identifier(certificate)), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@cache
def crl_file() -> Path:
    """The revocation list beside `ca_file`, for clients that look at one."""
    return _kept("crl.pem", crl_pem())


@cache
def ca_with_crl_file() -> Path:
    """The CA and its revocation list in one file, as OpenSSL's clients take them."""
    return _kept("ca-with-crl.pem", ca_pem() + crl_pem())


@cache
def client_files(address: str, *, trusted: bool = True) -> tuple[Path, Path]:
    """A client certificate and its key as PEM files, kept for the life of the process."""
    certificate, key = client_certificate(address, trusted=trusted)
    stem = f"client-{len(list(ca_file().parent.iterdir()))}"
    return _kept(f"{stem}.pem", certificate), _kept(f"{stem}-key.pem", key)


def _kept(name: str, content: bytes) -> Path:
    file = ca_file().parent / name
    file.touch(mode=0o600)
    file.write_bytes(content)
    return file


@cache
def intermediate() -> trustme.CA:
    """A CA under ours, known to no client."""
    return authority().create_child_ca()


def client_certificate(address: str, *, trusted: bool = True) -> tuple[bytes, bytes]:
    """A client certificate (with its chain) that names `address` as rfc822Name and common name, and its key, both PEM.
    Not `trusted`: of a CA that our servers do not know."""
    with _lock:
        issuer = authority() if trusted else stranger()
        leaf = _issue(issuer, address, common_name=address)
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


Loader = Callable[[ssl.SSLContext, tuple[str, ...]], None]
"""Makes a certificate for names and puts it, with its key and chain, into the context."""


def _issue(
    ca: trustme.CA, *names: str, starts: timedelta = timedelta(days=-1), common_name: str | None = None
) -> trustme.LeafCert:
    start = _now() + starts
    return ca.issue_cert(*names, common_name=common_name, not_before=start, not_after=start + LEAF_LIFE)


def _right(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    # Old programs insist that there be a common name, though they go by the others.
    _issue(authority(), *names, common_name=names[0]).configure_cert(context)


def _wrong_host(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    _issue(authority(), "elsewhere.invalid").configure_cert(context)


def _unknown_ca(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    _issue(stranger(), *names).configure_cert(context)


def _expired(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    _issue(authority(), *names, starts=-LEAF_LIFE - timedelta(days=1)).configure_cert(context)


def _not_yet_valid(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    _issue(authority(), *names, starts=timedelta(days=1)).configure_cert(context)


def _missing_intermediate(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    leaf = _issue(intermediate(), *names)
    _load(context, leaf.cert_chain_pems[0].bytes() + leaf.private_key_pem.bytes())


def _self_signed(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    _made(context, names, names[:1], issuer=None)


def _cn_only(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    # Every name is there, for a client compares the common name with the name that it connected to.
    _made(context, (), names)


def _wildcard_too_deep(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    # RFC 6125 section 6.4.3: `*` stands for one label, so `*.test` is not `mail.example.test`.
    deep = [name.split(".", 2)[2] for name in names if not _is_address(name) and name.count(".") >= 2]
    _made(context, tuple(f"*.{parent}" for parent in dict.fromkeys(deep)) or ("*.invalid",), names[:1])


def _address_against_name(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    from cryptography import x509

    # RFC 9110 section 4.3.5 and RFC 6125 section 1.7.2: an address is matched with iPAddress alone.
    _made(context, (), ("address",), subjects=[x509.DNSName("127.0.0.1")])


def _wrong_key_usage(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    _made(context, names, names[:1], usage="client")


def _revoked(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    _made(context, names, names[:1], serial=revoked_serial())


def _rsa_1024(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    _made(context, names, names[:1], key=rsa.generate_private_key(65537, 1024))


def _sha1_signature(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    _made(context, names, names[:1], sha1=True)


DEFECTS: dict[str, Loader] = {
    "expired": _expired,
    "not-yet-valid": _not_yet_valid,
    "wrong-host": _wrong_host,
    "unknown-ca": _unknown_ca,
    "self-signed": _self_signed,
    "cn-only": _cn_only,
    "wildcard-too-deep": _wildcard_too_deep,
    "address-against-name": _address_against_name,
    "missing-intermediate": _missing_intermediate,
    "wrong-key-usage": _wrong_key_usage,
    "revoked": _revoked,
    "renewed": _right,
    "rsa-1024": _rsa_1024,
    "sha1-signature": _sha1_signature,
}
"""Defect: how a certificate that has it is made; what each means stands in `fakeservers.points`."""


def defect_names() -> list[str]:
    return sorted(DEFECTS)


class Terms(NamedTuple):
    """What a server insists on: versions of TLS, as `ssl.TLSVersion` names them, and OpenSSL's ciphers for TLS 1.2 and
    below. None: what a good server does."""

    minimum: str | None = None
    maximum: str | None = None
    ciphers: str | None = None


class ServerContext(ssl.SSLContext):
    """A context that knows the certificate that it shows."""

    certificate: bytes = b""
    """DER."""

    def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
        super().load_cert_chain(certfile, keyfile, password)
        pem, end, _ = Path(certfile).read_text("ascii").partition("-----END CERTIFICATE-----")
        self.certificate = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE-----") :] + end)


@lru_cache(maxsize=64)
def _context(names: tuple[str, ...], defect: str | None, clients: ClientCertificates, terms: Terms) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    (DEFECTS[defect] if defect else _right)(context, names)
    _insist(context, terms)
    if clients != "none":
        context.load_verify_locations(cadata=ca_pem().decode())
        context.verify_mode = ssl.CERT_OPTIONAL if clients == "optional" else ssl.CERT_REQUIRED
    return context


def _insist(context: ssl.SSLContext, terms: Terms) -> None:
    if terms.minimum in ("TLSv1", "TLSv1_1"):
        # The old versions need MD5 and SHA-1, which OpenSSL 3 has put below its first security level.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if terms.ciphers is not None:
        context.set_ciphers(terms.ciphers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if terms.minimum is not None:
            context.minimum_version = ssl.TLSVersion[terms.minimum]
        if terms.maximum is not None:
            context.maximum_version = ssl.TLSVersion[terms.maximum]


def server_context(
    names: tuple[str, ...],
    defect: str | None = None,
    clients: ClientCertificates = "none",
    terms: Terms = Terms(),  # noqa: B008 immutable
) -> ServerContext:
    """The TLS context for a host called `names` (loopback names are added). Raises KeyError for an unknown defect."""
    with _lock:
        return _context(tuple(dict.fromkeys((*names, *LOOPBACK))), defect, clients, terms)


@cache
def nameless_context() -> ServerContext:
    """What Gmail shows to a client that names no server: a certificate that says so, of nobody."""
    from cryptography import x509

    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    unit = x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "No SNI provided; please fix your client.")
    with _lock:
        _made(context, (), ("invalid2.invalid",), issuer=None, first=[unit])
    return context


def _made(
    context: ssl.SSLContext,
    names: tuple[str, ...],
    common_names: tuple[str, ...],
    *,
    subjects: list[x509.GeneralName] | None = None,
    issuer: Callable[[], trustme.CA] | None = authority,
    usage: Literal["server", "client"] = "server",
    serial: int | None = None,
    key: CertificateIssuerPrivateKeyTypes | None = None,
    sha1: bool = False,
    first: list[x509.NameAttribute[str]] | None = None,
) -> None:
    """Load a certificate that trustme would not make: its subjectAltName is `names` or `subjects` (left out when both
    are empty), its subject `common_names`. Without `issuer` it signs itself; `sha1` puts an RSA CA between."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [*(first or []), *(x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in common_names)]
    )
    alternatives = subjects if subjects is not None else [_general_name(name) for name in names]
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if usage == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    start = _now() - timedelta(days=1)
    ca = None if issuer is None else issuer()
    if sha1:
        ca = authority().create_child_ca(key_type=trustme.KeyType.RSA)
    ca_certificate = None if ca is None else x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder(
            subject if ca_certificate is None else ca_certificate.subject,
            subject,
            key.public_key(),
            serial or x509.random_serial_number(),
        )
        .not_valid_before(start)
        .not_valid_after(start + LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(own, critical=False)
        .add_extension(_signed_by(own if ca_certificate is None else _key_identifier(ca_certificate)), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    signer = key
    if ca is not None:
        loaded = serialization.load_pem_private_key(ca.private_key_pem.bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        signer = loaded
    certificate = builder.sign(signer, hashes.SHA256())
    chain = _signed_with_sha1(certificate, signer) if sha1 else _pem(certificate)
    if sha1 and ca is not None:
        chain += ca.cert_pem.bytes()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _load(context, chain + private)


def _key_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier:
    from cryptography import x509

    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value


def _signed_by(signer: x509.SubjectKeyIdentifier) -> x509.AuthorityKeyIdentifier:
    """RFC 5280 sections 4.2.1.1 and 5.2.1; strict clients, Python 3.13's for one, insist on it."""
    from cryptography import x509

    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer)


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _signed_with_sha1(certificate: x509.Certificate, signer: CertificateIssuerPrivateKeyTypes) -> bytes:
    """The same certificate, PEM, signed anew: cryptography makes no SHA-1 signature over a certificate, so its DER is
    put together here (RFC 5280 section 4.1: tbsCertificate, signatureAlgorithm, signature)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    assert isinstance(signer, rsa.RSAPrivateKey)
    rsa_oid = bytes.fromhex("06092a864886f70d0101")
    body = certificate.tbs_certificate_bytes.replace(rsa_oid + b"\x0b", rsa_oid + b"\x05")
    signature = signer.sign(body, padding.PKCS1v15(), hashes.SHA1())
    algorithm = _der(0x30, rsa_oid + b"\x05" + b"\x05\x00")
    return ssl.DER_cert_to_PEM_cert(_der(0x30, body + algorithm + _der(0x03, b"\0" + signature))).encode()


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 128 | len(octets))) + octets + content


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chain.pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    return x509.IPAddress(ip_address(name)) if _is_address(name) else x509.DNSName(name)


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _now() -> datetime:
    return datetime.now(UTC)
