"""Certificates of a host: the right one and those with a defect, made when asked for from one CA per process."""

from __future__ import annotations

import atexit
import shutil
import ssl
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from ipaddress import ip_address
from pathlib import Path

import trustme

__all__ = ["DEFECTS", "authority", "ca_file", "ca_pem", "defect_names", "server_context"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
LEAF_LIFE = timedelta(days=397)
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


def _right(names: tuple[str, ...]) -> trustme.LeafCert:
    return authority().issue_cert(*names, not_after=_now() + LEAF_LIFE)


def _expired(names: tuple[str, ...]) -> trustme.LeafCert:
    return authority().issue_cert(*names, not_before=_now() - timedelta(days=30), not_after=_now() - timedelta(days=1))


def _not_yet_valid(names: tuple[str, ...]) -> trustme.LeafCert:
    return authority().issue_cert(*names, not_before=_now() + timedelta(days=1), not_after=_now() + timedelta(days=30))


def _wrong_host(names: tuple[str, ...]) -> trustme.LeafCert:
    return authority().issue_cert("elsewhere.invalid", not_after=_now() + LEAF_LIFE)


def _unknown_ca(names: tuple[str, ...]) -> trustme.LeafCert:
    return stranger().issue_cert(*names, not_after=_now() + LEAF_LIFE)


DEFECTS: dict[str, Callable[[tuple[str, ...]], trustme.LeafCert]] = {
    "expired": _expired,
    "not-yet-valid": _not_yet_valid,
    "wrong-host": _wrong_host,
    "unknown-ca": _unknown_ca,
}
"""Defect: how a certificate that has it is made. `self-signed` is made without a CA, see `server_context`."""


def defect_names() -> list[str]:
    return sorted([*DEFECTS, "self-signed"])


@lru_cache(maxsize=64)
def _context(names: tuple[str, ...], defect: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if defect == "self-signed":
        _load_self_signed(context, names)
    else:
        (DEFECTS[defect] if defect else _right)(names).configure_cert(context)
    return context


def server_context(names: tuple[str, ...], defect: str | None = None) -> ssl.SSLContext:
    """The TLS context for a host called `names` (loopback names are added). Raises KeyError for an unknown defect."""
    with _lock:
        return _context(tuple(dict.fromkeys((*names, *LOOPBACK))), defect)


def _load_self_signed(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    subjects = [x509.IPAddress(ip_address(name)) if _is_address(name) else x509.DNSName(name) for name in names]
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(_now() - timedelta(days=1))
        .not_valid_after(_now() + LEAF_LIFE)
        .add_extension(x509.SubjectAlternativeName(subjects), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chain.pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _now() -> datetime:
    return datetime.now(UTC)
